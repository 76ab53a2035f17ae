"""Which of a user's passwords a server is told first: during a rotation it may not have the newest yet. Pure."""

from __future__ import annotations

import hashlib

from tasks.catalogue.acl_rules import OPERATOR
from tasks.catalogue.secret import Secret, all_of
from tasks.desired.host import Passwords
from tasks.desired.paths import acl_file
from tasks.observed.state import PASSWORD_DIGITS, Observed


def with_logins(passwords: Passwords, observed: Observed) -> Passwords:
    """The passwords of a host's roles, the operator's in the order to try them."""
    return {
        role: {**users, OPERATOR: operator_login(role, users[OPERATOR], observed)} if OPERATOR in users else users
        for role, users in passwords.items()
    }


def operator_login(role: str, password: str | None, observed: Observed) -> str | None:
    """The operator's passwords: first those that the role's ACL file has, and of these the newest.

    A refused login would stand in the log of the server, and count as somebody's who guesses.
    """
    several = all_of(password)
    if len(several) < 2:
        return password
    begins = {
        begin
        for user in observed.acl_users.get(acl_file(role), ())
        if user.name == OPERATOR
        for begin in user.passwords
    }
    first, *others = sorted(several, key=lambda item: _begin(item) not in begins)  # a stable order
    return Secret(first, others)


def _begin(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()[:PASSWORD_DIGITS]

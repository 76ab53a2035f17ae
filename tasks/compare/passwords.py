"""Passwords that an established instance has and the secrets file does not: never replaced without being told. Pure.

A lost, empty or copied secrets file looks like a wish for new passwords, and every service of the tier would be locked
out. `--data new_passwords=ROLE` is that wish. A user that the instance lacks gets its password without it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from tasks.catalogue.acl_rules import OPERATOR
from tasks.compare.difference import ByHand
from tasks.compare.unknown import LOCKED_OUT
from tasks.desired.host import Host, Instance, User, sha256
from tasks.desired.paths import acl_file
from tasks.desired.rendering import acl_text
from tasks.observed.state import Observed

Pair = tuple[str, str]  # role, user


def other_password(user: User, found: Mapping[str, object]) -> bool:
    """Whether a user in the server has other passwords than the wanted one, so far as that is known."""
    return user.password_sha256 is not None and found.get("passwords", []) != [user.password_sha256]


def may_replace(instance: Instance, observed: Observed) -> bool:
    """Whether a password that a running server has may be made that of the secrets file.

    So too where its ACL file has that one: the next start would load it, somebody has changed the server alone.
    """
    file = observed.files.get(acl_file(instance.name))
    text = acl_text(instance.users)
    return instance.new_passwords or (file is not None and bool(text) and file.content == sha256(text))


def password_problems(desired: Host, observed: Observed, file: str, made_up: Collection[Pair]) -> Iterator[str]:
    """Why the deploy would take passwords from a role's services that it has not been told to take.

    `file`: where the passwords come from; `made_up`: those that it lacks, and that this run has generated.
    """
    for instance in desired.instances:
        if not instance.new_passwords:
            new = [user for user in instance.users if (instance.name, user.name) in made_up]
            yield from _problems(instance, observed, file, new)


def _problems(instance: Instance, observed: Observed, file: str, new: Iterable[User]) -> Iterator[str]:
    path, server = acl_file(instance.name), observed.servers.get(instance.name)
    users = server.users if server is not None else {}
    there = observed.acl_users.get(path, frozenset()) | users.keys()
    lost = [user.name for user in new if user.name in there]
    if lost:
        yield (
            f"{instance.name}: {file} has no password for {', '.join(lost)}, and the instance has one "
            f"({path}), expected the same in both: {keep_password(instance).advice}"
        )
        return
    refusal = server.refusal if server is not None else None
    if refusal is not None and refusal.cause in LOCKED_OUT:
        yield (
            f"{instance.name}: {OPERATOR}: the running server refuses the password of {file} ({refusal}), expected "
            f"that it takes it: {keep_password(instance).advice}"
        )
    others = [user.name for user in instance.users if user.name in users and other_password(user, users[user.name])]
    if others and not may_replace(instance, observed):
        yield (
            f"{instance.name}: {', '.join(others)}: the running server has another password than {file}, expected the "
            f"same: {keep_password(instance).advice}"
        )


def keep_password(instance: Instance) -> ByHand:
    """What a person does about a password that the deploy does not replace by itself."""
    return ByHand(
        "bring the secrets file back that it was deployed with (its backup, another checkout, redis_secrets_file); to "
        f"replace the passwords: --data new_passwords={instance.name}"
    )

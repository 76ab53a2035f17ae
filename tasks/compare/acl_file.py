"""What the ACL file of an instance says, which its next start loads: its users, and whose passwords they have. Pure.

Of a password's hash only the beginning is known here (PASSWORD_DIGITS): enough to see that it is another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tasks.catalogue.acl_rules import DEFAULT, DEFAULT_RULES
from tasks.compare.difference import Difference, Remedy
from tasks.desired.host import Host, Instance, User
from tasks.desired.paths import acl_file
from tasks.observed.state import PASSWORD_DIGITS, FileUser, Observed


def users_in_file(instance: Instance, observed: Observed) -> dict[str, FileUser]:
    """The users that an instance's ACL file names, by name; of one that it names twice the last."""
    return {user.name: user for user in observed.acl_users.get(acl_file(instance.name), ())}


def repeated(instance: Instance, observed: Observed) -> list[str]:
    """Users that an ACL file names more than once, which no start accepts (Redis 7.0 and newer)."""
    counts = Counter(user.name for user in observed.acl_users.get(acl_file(instance.name), ()))
    return sorted(name for name, count in counts.items() if count > 1)


def has_its_password(user: User, found: FileUser) -> bool:
    """Whether a user in an ACL file has a wanted password, and none that is not wanted: it may lack new ones."""
    return bool(found.passwords) and set(found.passwords) <= {item[:PASSWORD_DIGITS] for item in user.passwords_sha256}


def has_newest(user: User, found: FileUser) -> bool:
    """Whether a user in an ACL file has the password that is handed out."""
    return user.newest_sha256 is not None and user.newest_sha256[:PASSWORD_DIGITS] in found.passwords


def others_in_file(instance: Instance, observed: Observed) -> list[str]:
    """Users to whom a file as it is wanted would deny a password that they have, so far as those are known.

    Not those whose older ones an operator drops, while the newest is there.
    """
    found = users_in_file(instance, observed)
    known = [user for user in instance.users if user.passwords_sha256 and user.name in found]
    return [
        user.name
        for user in known
        if not has_its_password(user, found[user.name])
        and not (user.name in instance.finishing and has_newest(user, found[user.name]))
    ]


def is_in_file(instance: Instance, name: str, observed: Observed) -> bool:
    """Whether an ACL file gives the user `name` a wanted password and no other: the next start would load it."""
    found = users_in_file(instance, observed).get(name)
    return found is not None and any(user.name == name and has_its_password(user, found) for user in instance.users)


def has_all_users(desired: Host, observed: Observed, path: str) -> bool:
    """Whether an ACL file of which the passwords are not known lacks no user: unknown.py says so then.

    None is there twice, and nobody asks for other passwords.
    """
    for item in desired.instances:
        if acl_file(item.name) == path and not item.new_passwords and not repeated(item, observed):
            users = item.users
            known = {user.name for user in users} <= users_in_file(item, observed).keys()
            return known and not any(user.awaits for user in users)
    return False


def replay_differences(desired: Host, observed: Observed) -> Iterator[Difference]:
    """An ACL file with which the next start would drop what was written in transactions and by scripts."""
    for instance in desired.instances:
        path = acl_file(instance.name)
        if path not in observed.files or observed.files[path].kind not in ("file", "link"):
            continue
        found = ""
        if path not in observed.replayable:
            found = "may not replay the log: a start would drop what transactions and scripts wrote"
        elif DEFAULT in repeated(instance, observed):
            found = "named twice: no start would take the file"
        if found:
            yield Difference(
                instance.name, "acl", f"{DEFAULT} in {path}", f"off, {DEFAULT_RULES}", found, Remedy.REPLAY
            )

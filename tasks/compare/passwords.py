"""Passwords that an established instance has and the secrets file does not: never replaced without being told. Pure.

A lost, empty or copied secrets file looks like a wish for new passwords, and every service of the tier would be locked
out. `--data new_passwords=ROLE` is that wish. A user that the instance lacks gets its password without it.

A server that answers says itself what it has; of every other one, stopped or not, its ACL file is what it has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from tasks.catalogue.acl_rules import OPERATOR
from tasks.compare.acl_file import is_in_file, others_in_file, users_in_file
from tasks.compare.backups import lost_repository_passwords
from tasks.compare.difference import ByHand
from tasks.compare.rotation_record import begun
from tasks.compare.unknown import LOCKED_OUT, load_its_file
from tasks.desired.host import Host, Instance, User
from tasks.desired.paths import acl_file
from tasks.observed.refusal import Refusal
from tasks.observed.state import Observed

Pair = tuple[str, str]  # role, user
MORE = "has other passwords, too"


def other_password(user: User, found: Mapping[str, object], replaced: bool = False) -> str:
    """In words, how the passwords of a user in the server are not the wanted ones; empty where they are, or unknown.

    `replaced`: whether one that is not known here is about to be made up (a run that only looks makes none).
    """
    wanted, has = set(user.passwords_sha256), _hashes(found)
    if not wanted:
        return "has another password" if replaced else ""
    if has == wanted and not user.awaits:
        return ""
    if has and has <= wanted:
        return "lacks a password"
    return MORE if has > wanted and user.newest_sha256 in has else "has another password"


def _hashes(found: Mapping[str, object]) -> set[str]:
    known = found.get("passwords", [])
    return {str(item) for item in known} if isinstance(known, list) else set()


def may_replace(instance: Instance, user: User, found: Mapping[str, object], observed: Observed) -> bool:
    """Whether the passwords that a running server has may be made those of the secrets file.

    Nobody is locked out by one more, nor unasked by one less. So too where its ACL file has them: the next start would
    load it, somebody has changed the server alone. Not of a user that was rotated from here, or that its host says is
    amid a rotation, where the server has one of them and others beside it: so has one whose rotation was cut off before
    its file, and services may use those.
    """
    has, wanted = _hashes(found), set(user.passwords_sha256)
    adds = bool(has) and has <= wanted
    drops = user.name in instance.finishing and user.newest_sha256 in has
    cut_off = bool(has & wanted) and user.name in instance.rotated | begun(instance, observed)
    changed_alone = not cut_off and is_in_file(instance, user.name, observed)
    return instance.new_passwords or adds or drops or changed_alone


def keeps_other_passwords(instance: Instance, observed: Observed) -> list[str]:
    """Users of an instance that does not answer, whose passwords a new ACL file would replace unasked."""
    server = observed.servers.get(instance.name)
    if instance.new_passwords or (server is not None and server.refusal is None):
        return []
    return others_in_file(instance, observed)


def password_problems(desired: Host, observed: Observed, file: str, lacking: Collection[Pair]) -> Iterator[str]:
    """Why the deploy would take passwords from a role's services that it has not been told to take.

    `file`: where the passwords come from; `lacking`: those that it has not, and that a deploy makes up.
    """
    yield from lost_repository_passwords(desired, observed, file, lacking)
    for instance in desired.instances:
        if not instance.new_passwords:
            new = [user for user in instance.users if (instance.name, user.name) in lacking]
            yield from _problems(instance, observed, file, new)


def _problems(instance: Instance, observed: Observed, file: str, new: Iterable[User]) -> Iterator[str]:
    server = observed.servers.get(instance.name)
    users = server.users if server is not None else {}
    there = users_in_file(instance, observed).keys() | users.keys()
    lost = [user.name for user in new if user.name in there]
    if lost:
        yield (
            f"{instance.name}: {file} has no password for {', '.join(lost)}, and the instance has one "
            f"({acl_file(instance.name)}), expected the same in both: {keep_password(instance).advice}"
        )
        return
    if server is not None and server.refusal is not None and server.refusal.cause in LOCKED_OUT:
        yield _locked_out(instance, observed, file, server.refusal)
        return
    others = keeps_other_passwords(instance, observed)
    if others:
        yield (
            f"{instance.name}: {', '.join(others)}: {acl_file(instance.name)} has another password than {file}, "
            f"expected the same: {keep_password(instance).advice}"
        )
    yield from _in_the_server(instance, users, observed, file)


def _in_the_server(
    instance: Instance, users: Mapping[str, Mapping[str, object]], observed: Observed, file: str
) -> Iterator[str]:
    """Passwords of a running server that are not those of the file and that nobody has asked to replace."""
    said: dict[str, list[str]] = {}
    for user in instance.users:
        found = users.get(user.name)
        words = other_password(user, found) if found is not None else ""
        if words and found is not None and not may_replace(instance, user, found, observed):
            said.setdefault(words, []).append(user.name)
    for words, names in said.items():
        if words == MORE:
            yield (
                f"{instance.name}: {', '.join(names)}: the running server takes passwords that {file} has no more, "
                f"expected the same: {end_rotation(instance).advice}"
            )
        else:
            yield (
                f"{instance.name}: {', '.join(names)}: the running server has another password than {file}, expected "
                f"the same: {keep_password(instance).advice}"
            )


def _locked_out(instance: Instance, observed: Observed, file: str, refusal: Refusal) -> str:
    """A server that does not take the operator's password: the file is another one, or the server was changed."""
    words = f"{instance.name}: {OPERATOR}: the running server refuses the password of {file} ({refusal})"
    if is_in_file(instance, OPERATOR, observed):
        path = acl_file(instance.name)
        return f"{words}, which {path} has, expected the same in both: {load_its_file(instance)}"
    return f"{words}, expected that it takes it: {keep_password(instance).advice}"


def keep_password(instance: Instance) -> ByHand:
    """What a person does about a password that the deploy does not replace by itself."""
    return ByHand(
        "bring the secrets file back that it was deployed with (its backup, another checkout, redis_secrets_file); to "
        f"replace the passwords: --data new_passwords={instance.name}"
    )


def end_rotation(instance: Instance) -> ByHand:
    """What a person does about older passwords that a server still takes."""
    return ByHand(
        f"bring the secrets file back if it is older than the server; to take them into the file: --data "
        f"rotate_undo={instance.name} after a finish, else by hand, behind the first; to drop those, when no service "
        f"has them: --data rotate_finish={instance.name}"
    )


def what_to_do(instance: Instance, words: str) -> ByHand:
    """What a person does about passwords that differ, by how they do."""
    return end_rotation(instance) if MORE in words else keep_password(instance)

"""Passwords of the tier: read from, completed in and written to secrets/<inventory>.yaml on the controller.

Only SHA-256 hashes of them leave the controller. The file is `ROLE: {USER: PASSWORD}`, mode 0600; in the place of a
password a list of them may stand, newest first. Beside it a second one has what users had before the last step of a
rotation.
"""

from __future__ import annotations

import fcntl
import math
import os
import secrets
import string
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from tasks.catalogue.acl_rules import OPERATOR
from tasks.catalogue.backup import PASSWORD, READER
from tasks.catalogue.private_files import exposed, write_private
from tasks.catalogue.requested import FINISH, ROTATE
from tasks.catalogue.roles import Role
from tasks.catalogue.rotation import Edit
from tasks.catalogue.secret import Secret, all_of, revealed
from tasks.catalogue.secrets_yaml import load_passwords

Passwords = dict[str, dict[str, str]]  # role → user → password, a Secret where others are valid beside it


def users_of(role: Role) -> tuple[str, ...]:
    """Every ACL user of a role that has a password."""
    return (*role.services, OPERATOR, *([READER] if role.backed_up else []))


def entries_of(role: Role) -> tuple[str, ...]:
    """Every entry of a role in the secrets file: of its users, and the password of its repository of backups."""
    return (*users_of(role), *([PASSWORD] if role.backed_up else []))


def read_passwords(path: Path) -> tuple[Passwords, list[str]]:
    """The passwords in `path`, empty when there is no such file, and what is wrong with the file."""
    try:
        if problem := exposed(path):
            return {}, [problem]
        if not path.exists():
            return {}, []
        text = path.read_bytes()
    except OSError as error:
        return {}, [f"{path}: cannot be read: {error.strerror}: expected a file of this user's, mode 0600"]
    return parse_passwords(str(path), text)


def parse_passwords(source: str, text: bytes) -> tuple[Passwords, list[str]]:
    """The passwords in a text of `source`, and what is wrong with it; shows none of it."""
    data, wrong = load_passwords(source, text)
    problems = [wrong] if wrong else list(_malformed(source, data))
    if problems:
        return {}, problems
    return {role: _listed(users) for role, users in cast(dict[str, dict[str, Any]], data).items()}, []


def _listed(users: Mapping[str, str | list[str]]) -> dict[str, str]:
    """The passwords of a role's users; the first of a list has the others beside it."""
    return {user: item if isinstance(item, str) else Secret(item[0], item[1:]) for user, item in users.items()}


def _malformed(path: str, data: object) -> Iterable[str]:
    if not isinstance(data, dict):
        yield f"{path}: expected ROLE: {{USER: PASSWORD}}, observed {type(data).__name__}"
        return
    for role, users in data.items():
        if not isinstance(users, dict):
            yield f"{path}: {role}: expected {{USER: PASSWORD}}, observed {type(users).__name__}"
            continue
        for user, password in users.items():
            several = password if isinstance(password, list) and password else [password]
            if wrong := _wrong(several):
                yield f"{path}: {role}: {user}: {wrong}"


def _wrong(passwords: Sequence[object]) -> str:
    """What is wrong with the passwords of one user, with none of them in it; empty when nothing is."""
    texts = [item for item in passwords if isinstance(item, str) and item and not set(item) & set("\r\n")]
    if len(texts) < len(passwords):
        return "expected a password in quotes, or a list of them: correct or remove it"
    if PLACEHOLDER in texts:
        return f"expected a password in the place of {PLACEHOLDER}: put one there"
    if not all(map(is_text, texts)):
        return "its password is no text of Unicode: put another there"
    if len(set(texts)) < len(texts):
        return "a password is in its list twice, expected each once: remove one"
    return f"{len(texts)} passwords, expected {MOST} at most: remove the last ones" if len(texts) > MOST else ""


def is_text(password: str) -> bool:
    """Whether it has bytes: YAML can say half a character."""
    try:
        password.encode()
    except UnicodeEncodeError:
        return False
    return True


MOST = 8  # passwords of one user: each is tried at a login, and one more way in

# Redis refuses a wrong password in ten microseconds and counts none: whoever reaches a port tries 10^5 a second.
GUESSED = 32  # bits that last half a day so
STRONG = 128  # bits that a password made by this tool has at least; nobody tries them out


def bits(password: str) -> float:
    """How many bits a password has at most, by its length and the kinds of characters in it; one again counts nothing.

    Words and names have far fewer: this is no praise.
    """
    kinds = [string.ascii_lowercase, string.ascii_uppercase, string.digits, string.punctuation + " "]
    size = sum(len(kind) for kind in kinds if any(char in kind for char in password))
    size += 100 * any(not any(char in kind for kind in kinds) for char in password)  # letters of other languages
    length = sum(1 for before, char in zip(["", *password], password, strict=False) if char != before)
    return length * math.log2(size) if size else 0.0


def judge(
    path: object, passwords: Mapping[str, Mapping[str, str]], roles: Iterable[Role]
) -> tuple[list[str], list[str]]:
    """Passwords of these roles' users that can be guessed, and a note on those that might be; says none of them.

    The password for `default` is that of an old server: nobody here has chosen it.
    """
    weak: list[str] = []
    notes: list[str] = []
    for role in sorted(roles, key=lambda role: role.name):
        for user in users_of(role):
            password, *older = all_of(passwords.get(role.name, {}).get(user)) or (None,)
            if password is None:
                continue
            if any(bits(item) < STRONG for item in older):  # about to go, and what goes is not refused
                notes.append(
                    f"{path}: {role.name}: {user}: an older password of its list has fewer than {STRONG} bits: once "
                    f"nobody uses it, deploy with --data {FINISH}={role.name}:{user}"
                )
            if bits(password) >= STRONG:
                continue
            guessed = bits(password) < GUESSED
            change = f"put a long one before it, as {user}: [NEW, PRESENT], and deploy (README, Two passwords)"
            limit, found = (GUESSED, weak) if guessed else (STRONG, notes)
            found.append(
                f"{path}: {role.name}: {user}: its password has fewer than {limit} bits by its length and characters, "
                f"expected {STRONG}: {change}"
            )
    return weak, notes


def missing(passwords: Mapping[str, Mapping[str, str]], roles: Iterable[Role]) -> list[tuple[str, str]]:
    """(role, user) of every password that these roles need and the file does not have."""
    return [
        (role.name, user)
        for role in sorted(roles, key=lambda role: role.name)
        for user in entries_of(role)
        if user not in passwords.get(role.name, {})
    ]


PLACEHOLDER = "PASSWORD"


def lacking_problem(source: str, lacking: Sequence[tuple[str, str]]) -> str:
    """What is wrong with a source that is only read: `lacking` of it; `to_paste` has the lines."""
    several = f"{len(lacking)} passwords" if len(lacking) > 1 else "a password"
    return (
        f"{source}: lacks {several}, and none is made up beside a command: add the lines below to what it prints, "
        f"with another password in each place of {PLACEHOLDER} (docs/secrets.md)"
    )


def to_paste(source: str, lacking: Iterable[tuple[str, str]]) -> list[str]:
    """What a source that is only read lacks, as YAML to be pasted there; with no password in it."""
    users: dict[str, list[str]] = {}
    for role, user in lacking:
        users.setdefault(role, []).append(user)
    return [
        f"# {source} lacks:",
        *(f"{role}: {{{', '.join(f'{user}: {PLACEHOLDER}' for user in names)}}}" for role, names in users.items()),
    ]


def generate() -> str:
    """A new password of 256 random bits, in letters that need no quoting anywhere."""
    return secrets.token_urlsafe(32)


def before_rotation(path: Path) -> Path:
    """Where it is kept what users had before the last step of their rotation, so that it can be undone."""
    return path.with_name(f"{path.name}.before")


def save_passwords(path: Path, added: Mapping[tuple[str, str], str], changed: Collection[Edit] = ()) -> bool:
    """`path` holds its passwords and the `added` ones, whole or not at all, readable by its owner only.

    Those of `changed` users are as a step of a rotation leaves them; what they were is kept in `before_rotation(path)`
    first.

    What another deploy wrote meanwhile stays and wins: False then, and `added` must not be used.
    Raises OSError when the directory cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)  # one deploy at a time reads, completes and writes
        passwords = _readable(path)
        if not all(
            all_of(passwords.get(item.role, {}).get(item.user)) in (item.before, item.after) for item in changed
        ):
            return False
        _keep_before(path, [item for item in changed if item.word in (ROTATE, FINISH)], passwords)
        for (role, user), password in added.items():
            passwords.setdefault(role, {}).setdefault(user, password)
        for item in changed:
            passwords[item.role][item.user] = Secret(item.after[0], item.after[1:])
        _write(path, passwords, HEAD)
    finally:
        fcntl.flock(directory, fcntl.LOCK_UN)  # gevent closes a descriptor some time later
        os.close(directory)
    return all(passwords[role][user] == password for (role, user), password in added.items())


def _readable(path: Path) -> Passwords:
    passwords, problems = read_passwords(path)
    if problems:
        raise OSError("; ".join(problems))
    return passwords


def _keep_before(path: Path, changed: Collection[Edit], passwords: Passwords) -> None:
    """What these users have now is kept; not again where the step was done before and is repeated."""
    due = [item for item in changed if all_of(passwords.get(item.role, {}).get(item.user)) == item.before]
    if due:
        kept = _readable(before_rotation(path))
        for item in due:
            kept.setdefault(item.role, {})[item.user] = Secret(item.before[0], item.before[1:])
        _write(before_rotation(path), kept, HEAD_BEFORE)


HEAD = "# Passwords of the Redis users, by role. Written by deploy.py; never commit this file."
HEAD_BEFORE = (
    "# What Redis users had before the last step of their rotation, for --data rotate_undo. Written by deploy.py;\n"
    "# never commit this file. When no step is to be undone any more it may be deleted."
)


def _write(path: Path, passwords: Passwords, head: str) -> None:
    plain = {role: {user: _plain(password) for user, password in users.items()} for role, users in passwords.items()}
    write_private(path, f"{head}\n{yaml.safe_dump(plain, sort_keys=True)}")


def _plain(password: str) -> str | list[str]:
    several = [revealed(item) if isinstance(item, Secret) else item for item in all_of(password)]
    return several if len(several) > 1 else several[0]

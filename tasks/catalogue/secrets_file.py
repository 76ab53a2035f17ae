"""Passwords of the tier: read from, completed in and written to secrets/<inventory>.yaml on the controller.

Only SHA-256 hashes of them leave the controller. The file is `ROLE: {USER: PASSWORD}`, mode 0600.
"""

from __future__ import annotations

import fcntl
import math
import os
import secrets
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import yaml

from tasks.catalogue.acl_rules import OPERATOR
from tasks.catalogue.private_files import exposed, write_private
from tasks.catalogue.roles import Role
from tasks.catalogue.secrets_yaml import load_passwords

Passwords = dict[str, dict[str, str]]


def users_of(role: Role) -> tuple[str, ...]:
    """Every ACL user of a role that has a password."""
    return (*role.services, OPERATOR)


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
    return ({} if problems else cast(Passwords, data)), problems


def _malformed(path: str, data: object) -> Iterable[str]:
    if not isinstance(data, dict):
        yield f"{path}: expected ROLE: {{USER: PASSWORD}}, observed {type(data).__name__}"
        return
    for role, users in data.items():
        if not isinstance(users, dict):
            yield f"{path}: {role}: expected {{USER: PASSWORD}}, observed {type(users).__name__}"
            continue
        for user, password in users.items():
            if not isinstance(password, str) or not password or any(mark in password for mark in "\r\n"):
                yield f"{path}: {role}: {user}: expected a password in quotes: correct it or remove the line"
            elif password == PLACEHOLDER:
                yield f"{path}: {role}: {user}: expected a password in the place of {PLACEHOLDER}: put one there"
            elif not is_text(password):
                yield f"{path}: {role}: {user}: its password is no text of Unicode: put another there"


def is_text(password: str) -> bool:
    """Whether it has bytes: YAML can say half a character."""
    try:
        password.encode()
    except UnicodeEncodeError:
        return False
    return True


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
            password = passwords.get(role.name, {}).get(user)
            if password is None or bits(password) >= STRONG:
                continue
            change = (
                f"remove the line and deploy with --data new_passwords={role.name}, which makes a new one"
                if isinstance(path, Path)
                else f"put another there and deploy with --data new_passwords={role.name}"
            )
            guessed = bits(password) < GUESSED
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
        for user in users_of(role)
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


def save_passwords(path: Path, added: Mapping[tuple[str, str], str]) -> bool:
    """`path` holds its passwords and the `added` ones, whole or not at all, readable by its owner only.

    What another deploy wrote meanwhile stays and wins: False then, and `added` must not be used.
    Raises OSError when the directory cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)  # one deploy at a time reads, completes and writes
        passwords, problems = read_passwords(path)
        if problems:
            raise OSError("; ".join(problems))
        for (role, user), password in added.items():
            passwords.setdefault(role, {}).setdefault(user, password)
        _write(path, passwords)
    finally:
        fcntl.flock(directory, fcntl.LOCK_UN)  # gevent closes a descriptor some time later
        os.close(directory)
    return all(passwords[role][user] == password for (role, user), password in added.items())


def _write(path: Path, passwords: Passwords) -> None:
    text = yaml.safe_dump(passwords, sort_keys=True)
    write_private(
        path, f"# Passwords of the Redis users, by role. Written by deploy.py; never commit this file.\n{text}"
    )

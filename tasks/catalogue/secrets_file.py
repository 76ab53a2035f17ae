"""Passwords of the tier: read from, completed in and written to secrets/<inventory>.yaml on the controller.

Only SHA-256 hashes of them leave the controller. The file is `ROLE: {USER: PASSWORD}`, mode 0600; in the place of a
password a list of them may stand, newest first. Beside it a second one has what users had before the last step of a
rotation, and when that was.
"""

from __future__ import annotations

import fcntl
import math
import os
import secrets
import string
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from tasks.catalogue.backup import PASSWORD
from tasks.catalogue.moments import from_utc, in_utc
from tasks.catalogue.private_files import exposed, write_private
from tasks.catalogue.requested import FINISH, ROTATE
from tasks.catalogue.roles import Role
from tasks.catalogue.rotation import Edit, Kept
from tasks.catalogue.secret import Secret, all_of
from tasks.catalogue.secrets_text import PLACEHOLDER, Passwords, Secrets, as_yaml, parse_secrets
from tasks.catalogue.users import users_of


def entries_of(role: Role) -> tuple[str, ...]:
    """Every entry of a role in the secrets file: of its users, and the password of its repository of backups."""
    return (*users_of(role), *([PASSWORD] if role.backed_up else []))


def read_passwords(path: Path) -> tuple[Passwords, list[str]]:
    """The passwords in `path`, empty when there is no such file, and what is wrong with the file."""
    found, problems = read_secrets(path)
    return found.passwords, problems


def read_secrets(path: Path) -> tuple[Secrets, list[str]]:
    """All that is in `path`, nothing when there is no such file, and what is wrong with the file."""
    text, problems = _text(path)
    return (Secrets(), problems) if text is None else parse_secrets(str(path), text)


def _text(path: Path) -> tuple[bytes | None, list[str]]:
    try:
        if problem := exposed(path):
            return None, [problem]
        return (path.read_bytes(), []) if path.exists() else (None, [])
    except OSError as error:
        return None, [f"{path}: cannot be read: {error.strerror}: expected a file of this user's, mode 0600"]


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


STEPS = "STEPS"  # in the place of a role's name, which has no capitals: when those steps were


def read_kept(path: Path) -> tuple[Kept, list[str]]:
    """What users in `path` had before the last step of their rotation, and what is wrong with the file that says it."""
    file = before_rotation(path)
    text, problems = _text(file)
    if text is None:
        return Kept(), problems
    found, problems = parse_secrets(str(file), text, beside=STEPS)
    steps = found.beside if isinstance(found.beside, dict) else {}
    when = {
        role: {user: from_utc(users.get(user)) for user in passwords}
        for role, passwords in found.passwords.items()
        if isinstance(users := steps.get(role), dict)
    }
    return Kept(found.passwords, when), problems


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
        secrets, problems = read_secrets(path)
        _require_sound(problems)
        passwords = secrets.passwords
        if not all(
            all_of(passwords.get(item.role, {}).get(item.user)) in (item.before, item.after) for item in changed
        ):
            return False
        _keep_before(path, [item for item in changed if item.word in (ROTATE, FINISH)], passwords)
        for (role, user), password in added.items():
            passwords.setdefault(role, {}).setdefault(user, password)
        for item in changed:
            passwords[item.role][item.user] = Secret(item.after[0], item.after[1:])
        write_private(path, f"{HEAD}\n{as_yaml(secrets)}")
    finally:
        fcntl.flock(directory, fcntl.LOCK_UN)  # gevent closes a descriptor some time later
        os.close(directory)
    return all(passwords[role][user] == password for (role, user), password in added.items())


def _require_sound(problems: Sequence[str]) -> None:
    if problems:
        raise OSError("; ".join(problems))


def _keep_before(path: Path, changed: Collection[Edit], passwords: Passwords) -> None:
    """What these users have now is kept; not again where the step was done before and is repeated."""
    due = [item for item in changed if all_of(passwords.get(item.role, {}).get(item.user)) == item.before]
    if due:
        kept, problems = read_kept(path)
        _require_sound(problems)
        known = {role: dict(users) for role, users in kept.passwords.items()}
        when = {role: {user: in_utc(time) for user, time in users.items() if time} for role, users in kept.when.items()}
        for item in due:
            known.setdefault(item.role, {})[item.user] = Secret(item.before[0], item.before[1:])
            when.setdefault(item.role, {})[item.user] = in_utc(item.when)
        text = as_yaml(Secrets(known), {STEPS: when})
        write_private(before_rotation(path), f"{HEAD_BEFORE}\n{text}")


HEAD = "# Passwords of the Redis users, by role. Written by deploy.py; never commit this file."
HEAD_BEFORE = (
    "# What Redis users had before the last step of their rotation, for --data rotate_undo. Written by deploy.py;\n"
    "# never commit this file. When no step is to be undone any more it may be deleted."
)

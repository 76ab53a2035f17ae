"""The text of a source of secrets, a file's or what a command prints: parsed, with nothing of it in what is said. Pure.

`ROLE: {USER: PASSWORD}`; in the place of a password a list of them may stand, newest first, and beside the users what a
role's TLS takes from here (tasks/catalogue/given_tls.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

from tasks.catalogue.given_tls import TLS, GivenTls, given_tls, malformed_tls
from tasks.catalogue.secret import MOST, Secret, all_of, revealed
from tasks.catalogue.secrets_yaml import load_passwords

Passwords = dict[str, dict[str, str]]  # role → user → password, a Secret where others are valid beside it
PLACEHOLDER = "PASSWORD"


@dataclass(frozen=True)
class Secrets:
    """What a source has."""

    passwords: Passwords = field(default_factory=dict, repr=False)
    tls: Mapping[str, GivenTls] = field(default_factory=dict)  # role → what its TLS takes from here
    beside: object = None  # a block of another kind, of that name


def parse_secrets(source: str, text: bytes, beside: str = "") -> tuple[Secrets, list[str]]:
    """The secrets in a text of `source`, and what is wrong with it; shows none of it.

    `beside`: the name of a block that may be there, too.
    """
    data, wrong = load_passwords(source, text)
    other = data.pop(beside, None) if beside and isinstance(data, dict) else None
    problems = [wrong] if wrong else list(_malformed(source, data))
    if problems:
        return Secrets(), problems
    roles = cast(dict[str, dict[str, Any]], data)
    given = {role: given_tls(users[TLS]) for role, users in roles.items() if TLS in users}
    return Secrets({role: _listed(users) for role, users in roles.items()}, given, other), []


def as_yaml(secrets: Secrets, more: Mapping[str, object] | None = None) -> str:
    """The text that has them; `more`: blocks of another kind."""
    data: dict[str, object] = {
        role: {user: _plain(password) for user, password in users.items()} for role, users in secrets.passwords.items()
    }
    for role, given in secrets.tls.items():
        data[role] = {**cast(dict[str, object], data.get(role, {})), TLS: given.as_data()}
    return yaml.dump({**data, **(more or {})}, Dumper=_Readable, sort_keys=True)


class _Readable(yaml.SafeDumper):
    """A text of several lines, as a key, stays one."""


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _plain(password: str) -> str | list[str]:
    several = [revealed(item) if isinstance(item, Secret) else item for item in all_of(password)]
    return several if len(several) > 1 else several[0]


def _listed(users: Mapping[str, Any]) -> dict[str, str]:
    """The passwords of a role's users; the first of a list has the others beside it."""
    return {
        user: item if isinstance(item, str) else Secret(item[0], item[1:])
        for user, item in users.items()
        if user != TLS
    }


def _malformed(path: str, data: object) -> Iterable[str]:
    if not isinstance(data, dict):
        yield f"{path}: expected ROLE: {{USER: PASSWORD}}, observed {type(data).__name__}"
        return
    for role, users in data.items():
        if not isinstance(users, dict):
            yield f"{path}: {role}: expected {{USER: PASSWORD}}, observed {type(users).__name__}"
            continue
        for user, password in users.items():
            if user == TLS:
                yield from malformed_tls(f"{path}: {role}: {TLS}", password)
                continue
            if password is None:  # not named: `{USER: NEW, OLD}` makes a name of a password
                yield f"{path}: {role}: an entry without a password: put one behind it, or a list of several into [ ]"
                continue
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

"""What an operator asks for beside the desired state itself, each role by name: `--data adopt=gateway`. Pure.

A rotation of passwords may name one user of a role: `--data rotate=gateway:auth-service`.

Checked before any host is contacted: a name that is no role's never gets near a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

from tasks.catalogue.roles import ROLE_NAME


@dataclass(frozen=True)
class Requests:
    """What is asked for on one host: each field is a word of `--data` or host data, its value names of roles."""

    adopt: tuple[str, ...] = ()  # take over the data of a server of somebody else's
    purge: tuple[str, ...] = ()  # delete the kept data of a role that the host does not carry
    accept_loss: tuple[str, ...] = ()  # give up what a start of the server skipped in its log, or a log that is gone
    new_passwords: tuple[str, ...] = ()  # replace passwords that an established instance has by those of the file
    tls_switch: tuple[str, ...] = ()  # lock out who still connects in clear, or with TLS, as the role did before
    begin_empty: tuple[str, ...] = ()  # start without the data that the role has elsewhere
    serve_alone: tuple[str, ...] = ()  # start, for the other host of the pair, which is not seen, was not promoted
    rotate: tuple[str, ...] = ()  # ROLE or ROLE:USER, put a new password first and keep the old one
    rotate_finish: tuple[str, ...] = ()  # drop all passwords but the first
    rotate_undo: tuple[str, ...] = ()  # put the passwords from before the last step first again


NOTHING = Requests()
WORDS = tuple(field.name for field in fields(Requests))
ROTATE, FINISH, UNDO = ROTATIONS = ("rotate", "rotate_finish", "rotate_undo")
USER_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"


def requests(data: Mapping[str, object]) -> Requests:
    """The requests in one host's data; what is malformed asks for nothing."""
    return Requests(**{word: named_roles(data.get(word), word in ROTATIONS) or () for word in WORDS})


def named_roles(value: object, with_users: bool = False) -> tuple[str, ...] | None:
    """The names in `gateway`, `gateway,socket` or a list of them, each once; None for anything else.

    `with_users`: each may be `ROLE:USER`, too.
    """
    if value is None:
        return ()
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        return None
    names = tuple(dict.fromkeys(item.strip() for item in items))
    user = f"(:{USER_NAME})?" if with_users else ""
    return names if all(re.fullmatch(f"{ROLE_NAME.rstrip('$')}{user}", name) for name in names) else None


def malformed(host: str, data: Mapping[str, object]) -> Iterator[str]:
    """Problems with the form of one host's requests."""
    for word in WORDS:
        if named_roles(data.get(word), word in ROTATIONS) is None:
            form = "ROLE or ROLE:USER, or several" if word in ROTATIONS else "the name of a role, or several"
            yield f"{host}: {word}: expected {form} as gateway,socket, observed {data[word]!r}"
    together = [word for word in ROTATIONS if data.get(word)]
    if len(together) > 1:
        yield f"{host}: {' and '.join(together)}: two steps of a rotation, expected one in a run: give each its own"


def unmet(asked: Iterable[tuple[Iterable[str], Requests]], catalogue: Iterable[str]) -> Iterator[str]:
    """Requests for roles that no host carries. `asked`: of each host, the roles it carries and what is asked there.

    Not `purge`: what it names is carried by nobody any more.
    """
    carried: set[tuple[str, str]] = set()
    wanted: set[tuple[str, str]] = set()
    for roles, found in asked:
        here = {(word, name.partition(":")[0]) for word in WORDS if word != "purge" for name in getattr(found, word)}
        wanted |= here
        carried |= {(word, name) for word, name in here if name in roles}
    known = sorted(catalogue)
    for word, name in sorted(wanted - carried):
        if name in known:
            expected = f"expected one: put it into group redis_{name}"
            yield f"{word}={name}: no host of the inventory carries {name}, {expected}"
        else:
            yield f"{word}={name}: no such role, expected one of {', '.join(known)}: correct the name"

"""What an operator asks for beside the desired state itself: roles to adopt data for, kept data to purge. Pure.

Checked before any host is contacted: a name that is no role's never gets near a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from tasks.catalogue.roles import ROLE_NAME


def named_roles(value: object) -> tuple[str, ...] | None:
    """The names in `gateway`, `gateway,socket` or a list of them, each once; None for anything else."""
    if value is None:
        return ()
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        return None
    names = tuple(dict.fromkeys(item.strip() for item in items))
    return names if all(re.fullmatch(ROLE_NAME, name) for name in names) else None


def malformed(host: str, data: Mapping[str, object]) -> Iterator[str]:
    """Problems with the form of one host's `adopt` and `purge`."""
    for word in ("adopt", "purge"):
        if named_roles(data.get(word)) is None:
            yield f"{host}: {word}: expected the name of a role, or several as gateway,socket, observed {data[word]!r}"


def unknown_adoptions(asked: Iterable[tuple[Iterable[str], Iterable[str]]], catalogue: Iterable[str]) -> Iterator[str]:
    """Roles that nobody can adopt data for. `asked`: of each host, the roles it carries and adopts for."""
    carried: set[str] = set()
    wanted: set[str] = set()
    for roles, adopt in asked:
        carried |= set(roles) & set(adopt)
        wanted |= set(adopt)
    known = sorted(catalogue)
    for name in sorted(wanted - carried):
        if name in known:
            yield f"adopt={name}: no host of the inventory carries {name}, expected one: put it into group redis_{name}"
        else:
            yield f"adopt={name}: no such role, expected one of {', '.join(known)}: correct the name"

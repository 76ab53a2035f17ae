"""Everything that a server holds, in every database, read by each type's own commands.

Not by DEBUG DIGEST, which omits expiries, groups and functions, nor by DUMP, whose bytes follow encoding and version.
Left out: what no log keeps (idle times, when a consumer was last seen, the encoding).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from tests.hosts.dataset.parts import PARTS, READ
from tests.hosts.dataset.server import answering_bytes, ask, ask_all, clock, libraries, names, used_databases, version

BATCH = 500  # keys read at once
NEVER = -1  # as PEXPIRETIME answers
Name = tuple[int, bytes]  # a key and its database


@dataclass(frozen=True)
class Entry:
    """One key. `parts` is what it is made of, by what an operator calls it; fields of a hash may expire alone."""

    type: str
    expires: int  # milliseconds since 1970, or NEVER
    parts: Mapping[str, object]
    expiries: Mapping[str, int] = field(default_factory=dict)  # of parts that do not stay, as `expires`


@dataclass(frozen=True)
class Dataset:
    """What a server held at `taken` on its own clock, in milliseconds since 1970."""

    keys: Mapping[Name, Entry]
    functions: Mapping[bytes, bytes]  # code of each library
    taken: int
    version: tuple[int, ...]  # of the server


def capture(client: "redis.Redis") -> Dataset:
    """The whole dataset of the server that `client` is logged in to. What is written meanwhile may be in it or not.

    A user that may run INFO, SELECT, SCAN, FUNCTION LIST and every reading command is enough.
    """
    with answering_bytes(client) as server:
        keys = {name: entry for db in used_databases(server) for name, entry in _database(client, db)}
        return Dataset(keys, libraries(server), clock(server) // 1000, version(server))


def _database(client: "redis.Redis", db: int) -> Iterator[tuple[Name, Entry]]:
    with answering_bytes(client, db) as server:
        found = names(server)
        for at in range(0, len(found), BATCH):
            yield from (((db, name), entry) for name, entry in _entries(server, found[at : at + BATCH]))


def _entries(server: "redis.Redis", batch: Sequence[bytes]) -> Iterator[tuple[bytes, Entry]]:
    types = [kind.decode() for kind in ask_all(server, [("TYPE", name) for name in batch])]
    if unknown := set(types) - {*READ, "none"}:
        raise AssertionError(f"keys of type {', '.join(sorted(unknown))}: no way to read them is known")
    present = [(name, kind) for name, kind in zip(batch, types, strict=True) if kind != "none"]  # or they ran out
    expiries = ask_all(server, [("PEXPIRETIME", name) for name, _ in present])
    for (name, kind), expires in zip(present, expiries, strict=True):
        # Not all at once: the server cuts off a client whose answers take more than its share of the memory.
        value = ask(server, READ[kind][0], name, *READ[kind][1:])
        if value is not None and value != []:
            yield name, _entry(server, name, kind, expires, value)


def _entry(server: "redis.Redis", name: bytes, kind: str, expires: int, value: Any) -> Entry:
    parts = dict(PARTS[kind](value))
    if kind == "vectorset":
        parts |= _vectors(server, name, value)
    return Entry(kind, expires, parts, _field_expiries(server, name, value[::2]) if kind == "hash" else {})


def _field_expiries(server: "redis.Redis", name: bytes, fields: Sequence[bytes]) -> dict[str, int]:
    """Since 7.4 fields of a hash expire one by one; an older server does not know the command."""
    try:
        times = ask(server, "HPEXPIRETIME", name, "FIELDS", len(fields), *fields)
    except redis.ResponseError as error:
        if "unknown command" not in str(error):
            raise
        return {}
    return {f"field {one!r}": time for one, time in zip(fields, times, strict=True) if time > 0}


def _vectors(server: "redis.Redis", name: bytes, elements: Sequence[bytes]) -> dict[str, object]:
    vectors = ask_all(server, [("VEMB", name, element, "RAW") for element in elements])
    attributes = ask_all(server, [("VGETATTR", name, element) for element in elements])
    return {f"element {one!r}": seen for one, *seen in zip(elements, vectors, attributes, strict=True)}

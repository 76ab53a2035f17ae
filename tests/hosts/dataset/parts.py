"""What keys of each type are made of: how they are read, and the answer (RESP2, bytes) as named parts."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tests.hosts.dataset.server import pairs, two_by_two

SHORT = 100  # bytes; of longer values the length and a digest are kept
STREAM = ("length", "last-generated-id", "max-deleted-entry-id", "entries-added", "recorded-first-entry-id")
GROUP = ("last-delivered-id", "entries-read")
ALL = 1 << 30  # elements: more than any test writes

# The words before and behind the key.
READ: dict[str, tuple[object, ...]] = {
    "string": ("GET",),
    "hash": ("HGETALL",),
    "list": ("LRANGE", 0, -1),
    "set": ("SMEMBERS",),
    "zset": ("ZRANGE", 0, -1, "WITHSCORES"),
    "stream": ("XINFO STREAM", "FULL", "COUNT", 0),
    "vectorset": ("VRANDMEMBER", ALL),
}
Parts = Iterable[tuple[str, object]]


def _string(value: bytes) -> Parts:
    return [("value", short(value))]


def _hash(flat: Sequence[bytes]) -> Parts:
    return [(f"field {field!r}", short(value)) for field, value in two_by_two(flat)]


def _list(elements: Sequence[bytes]) -> Parts:
    return [(f"element {at}", short(element)) for at, element in enumerate(elements)]


def _set(members: Sequence[bytes]) -> Parts:
    return [(f"member {short(member)!r}", True) for member in members]


def _sorted_set(flat: Sequence[bytes]) -> Parts:
    # As numbers: 8.0 writes the same score with fewer digits than 7.0.
    return [(f"member {short(member)!r}", float(score)) for member, score in two_by_two(flat)]


def _stream(flat: Sequence[Any]) -> Iterator[tuple[str, object]]:
    stream = pairs(flat)
    yield from ((name, stream[name]) for name in STREAM)
    for entry, fields in stream["entries"]:
        yield f"entry {entry.decode()}", [short(word) for word in fields]
    for group in map(pairs, stream["groups"]):
        yield from ((f"group {group['name']!r} {part}", value) for part, value in _group(group))


def _group(group: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield from ((name, group[name]) for name in GROUP)
    for consumer in map(pairs, group["consumers"]):
        yield f"consumer {consumer['name']!r}", True
    for entry, consumer, delivered, times in group["pending"]:
        yield f"pending {entry.decode()}", {"consumer": consumer, "delivered at": delivered, "times": times}


def _vector_set(elements: Sequence[bytes]) -> Parts:
    return [("size", len(elements))]


PARTS: dict[str, Callable[[Any], Parts]] = {
    "string": _string,
    "hash": _hash,
    "list": _list,
    "set": _set,
    "zset": _sorted_set,
    "stream": _stream,
    "vectorset": _vector_set,
}


def short(value: bytes) -> bytes:
    """The value, or what tells it from every other one."""
    if len(value) <= SHORT:
        return value
    return b"%d bytes, SHA-256 %s" % (len(value), hashlib.sha256(value).hexdigest().encode())

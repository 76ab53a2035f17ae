"""Sample: some keys of a role are the same in its server and in a copy of it. No key or value is ever shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tasks.observed.replies import Reply

Ask = Callable[..., list[Reply]]

KEYS = 200  # that are asked for, in all databases together; some come twice
FEWEST = 5  # of each database, however many there are
TRIES = 3  # for a copy to have what was written a moment before
SHORT = 200  # elements or bytes of a value that are read; of a longer one its length is compared
LARGEST = 64 << 10  # bytes of memory of a value that is read
ALL = 4 << 20  # bytes of memory of all values that are read of a database at once
LONG_NAME = 1024  # characters of a key's name, behind which it is left out
UNREADABLE = "\ufffd"  # in a name that is no text, and so cannot be asked for
# type → its length, and all of it
READS = {
    "string": (("STRLEN",), ("GETRANGE", "0", str(SHORT))),
    "list": (("LLEN",), ("LRANGE", "0", str(SHORT))),
    "set": (("SCARD",), ("SMEMBERS",)),
    "hash": (("HLEN",), ("HGETALL",)),
    "zset": (("ZCARD",), ("ZRANGE", "0", str(SHORT), "WITHSCORES")),
    "stream": (("XLEN",), ("XRANGE", "-", "+", "COUNT", str(SHORT))),
}


def differing_keys(old: Ask, new: Ask, databases: Sequence[str]) -> tuple[int, int]:
    """How many keys are not the same in both, and how many were compared.

    `old` and `new` send commands and give the replies; `databases`: the numbers of those in which there are keys. What
    is written amid it is no difference: one that is not the same on the old server before and behind the look at the
    new one is left out. At most `ALL` bytes are asked for at once, of each side.
    """
    count = max(FEWEST, KEYS // max(1, len(databases)))
    found = [_differing(partial(_within, old, number), partial(_within, new, number), count) for number in databases]
    return sum(wrong for wrong, _ in found), sum(asked for _, asked in found)


def _within(ask: Ask, database: str, *commands: Sequence[str]) -> list[Reply]:
    """The replies to commands in one database."""
    return ask(("SELECT", database), *commands)[1:]


def _differing(old: Ask, new: Ask, count: int) -> tuple[int, int]:
    names = sorted({str(name) for name in old(*[("RANDOMKEY",)] * count) if _is_asked_for(name)})
    differing = names
    for _ in range(TRIES):
        if not differing:
            break
        whole = small(old, differing)
        before, there, behind = (read(ask, differing, whole) for ask in (old, new, old))
        differing = [
            name for name, was, has, now in zip(differing, before, there, behind, strict=True) if was == now != has
        ]
    return len(differing), len(names)


def _is_asked_for(name: Reply) -> bool:
    return isinstance(name, str) and UNREADABLE not in name and len(name) <= LONG_NAME


def small(ask: Ask, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The keys that may be read whole, by how: those of few elements and few bytes, until they are many together."""
    kinds = _kinds(ask, names)
    lengths = _asked(ask, [(name, READS[kind][0]) for name, kind in kinds.items() if kind in READS])
    short = [name for name in lengths if _count(lengths[name]) <= SHORT]
    # Of all elements: what a few of them take says nothing about the largest.
    sizes = _asked(ask, [(name, ("MEMORY", "USAGE")) for name in short], "SAMPLES", "0")
    found, left = {}, ALL
    for name in short:
        size = sizes[name]
        if isinstance(size, int) and size <= min(LARGEST, left):
            left -= size
            found[name] = READS[kinds[name]][1]
    return found


def read(ask: Ask, names: Sequence[str], whole: Mapping[str, tuple[str, ...]]) -> list[object]:
    """Of each key its type and length, and what it holds where that is one of `whole`."""
    kinds = _kinds(ask, names)
    lengths = _asked(ask, [(name, READS[kind][0]) for name, kind in kinds.items() if kind in READS])
    # Of what has grown meanwhile, or is another one, nobody knows how much it holds.
    still = [name for name in whole if name in lengths and _count(lengths[name]) <= SHORT]
    held = _asked(ask, [(name, whole[name]) for name in still if READS[kinds[name]][1] == whole[name]])
    return [(kinds[name], lengths.get(name), held.get(name)) for name in names]


def _kinds(ask: Ask, names: Sequence[str]) -> dict[str, str]:
    return dict(zip(names, map(str, ask(*[("TYPE", name) for name in names])), strict=True))


def _asked(ask: Ask, reads: Sequence[tuple[str, tuple[str, ...]]], *end: str) -> dict[str, object]:
    if not reads:
        return {}
    replies = ask(*[_command(name, how, end) for name, how in reads])
    return {name: _in_order(how[0], reply) for (name, how), reply in zip(reads, replies, strict=True)}


def _command(name: str, how: tuple[str, ...], end: tuple[str, ...]) -> tuple[str, ...]:
    if how == ("MEMORY", "USAGE"):
        return (*how, name, *end)
    return (how[0], name, *how[1:], *end)


def _in_order(command: str, reply: Reply) -> object:
    """What has no order of its own, in one."""
    if not isinstance(reply, list):
        return reply
    if command == "SMEMBERS":
        return sorted(map(str, reply))
    if command == "HGETALL":
        return sorted(zip(map(str, reply[::2]), map(str, reply[1::2]), strict=False))
    return reply


def _count(reply: object) -> int:
    return reply if isinstance(reply, int) else SHORT + 1

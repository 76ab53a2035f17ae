"""Sample: some keys of a role are the same in its server and in a copy of it. No key or value is ever shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.observed.replies import Reply

Ask = Callable[..., list[Reply]]

KEYS = 200  # that are asked for; some come twice
TRIES = 3  # for a copy to have what was written a moment before
SHORT = 200  # elements or bytes of a value that are read; of a longer one its length is compared
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


def differing_keys(old: Ask, new: Ask) -> tuple[int, int]:
    """How many keys are not the same in both, and how many were compared.

    `old` and `new` send commands and give the replies. What is written amid it is no difference: one that is not the
    same on the old server before and behind the look at the new one is left out.
    """
    names = sorted({str(name) for name in old(*[("RANDOMKEY",)] * KEYS) if name and UNREADABLE not in str(name)})
    differing = names
    for _ in range(TRIES):
        if not differing:
            break
        before, there, behind = read(old, differing), read(new, differing), read(old, differing)
        differing = [
            name for name, was, has, now in zip(differing, before, there, behind, strict=True) if was == now != has
        ]
    return len(differing), len(names)


def read(ask: Ask, names: Sequence[str]) -> list[object]:
    """Of each key its type and length, and what it holds where that is little."""
    if not names:
        return []
    kinds = ask(*[("TYPE", name) for name in names])
    known = {name: READS[str(kind)] for name, kind in zip(names, kinds, strict=True) if str(kind) in READS}
    lengths = _asked(ask, [(name, length) for name, (length, _) in known.items()])
    short = [(name, whole) for name, (_, whole) in known.items() if _count(lengths[name]) <= SHORT]
    held = _asked(ask, short)
    return [(str(kind), lengths.get(name), held.get(name)) for name, kind in zip(names, kinds, strict=True)]


def _asked(ask: Ask, reads: Sequence[tuple[str, tuple[str, ...]]]) -> dict[str, object]:
    if not reads:
        return {}
    replies = ask(*[(command[0], name, *command[1:]) for name, command in reads])
    return {name: _in_order(command[0], reply) for (name, command), reply in zip(reads, replies, strict=True)}


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

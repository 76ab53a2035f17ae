"""The biggest keys of a server, by a sample: how they are called and how large they are, never what they hold. Pure.

SCAN and MEMORY USAGE hold a server up for as long as their part of the keys takes: few at a time, a bounded number of
times, and no longer than people wait. https://redis.io/docs/latest/commands/scan/
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tasks.catalogue.printable import printable
from tasks.observed.exchange import Reply, ReplyError
from tasks.observed.moment import BigKey, BigKeys
from tasks.observed.replies import StrangeReply, texts

Command = tuple[str, ...]
Ask = Callable[[list[Command]], list[Reply]]  # raises what an exchange raises

ROUNDS = 25  # SCANs in all: with COUNT, ten thousand keys
COUNT = 400  # keys that one SCAN looks for; their sizes take a server some milliseconds
SECONDS = 2.0  # after which no further one is sent
NESTED = 5  # elements of a key that MEMORY USAGE weighs; it reckons the others by them
SHOWN = 10
NAME = 100  # characters that are shown of a name
CURSORS = 1 << 32  # a table of that many keys is none of this tier; Redis takes of a cursor what its table has


@dataclass
class _Walk:
    """How far one database was walked through: a walk that begins anywhere is whole the second time it ends."""

    keys: int
    cursor: str
    ends: int  # how often the cursor has to come to 0
    seen: int = 0

    @property
    def order(self) -> tuple[bool, int]:
        """A database of which nothing was seen before another; then the one of which most is unseen."""
        return self.seen == 0, self.keys - self.seen


def databases_in(info: Mapping[str, str]) -> dict[int, int]:
    """Database → its number of keys, of those that INFO has."""
    rows = ((re.fullmatch("db([0-9]{1,9})", name), re.match("keys=([0-9]{1,19})", text)) for name, text in info.items())
    return {int(number[1]): int(keys[1]) for number, keys in rows if number and keys}


def biggest_keys(
    ask: Ask,
    databases: Mapping[int, int],
    clock: Callable[[], float] = time.monotonic,
    anywhere: Callable[[], int] = lambda: secrets.randbelow(CURSORS),
) -> BigKeys:
    """The biggest keys of what was looked at: all of them where ROUNDS * COUNT suffice, else from anywhere on.

    `databases`: as `databases_in`. `ask` sends commands at once, on a connection of their own. What the server does not
    tell ends it, and is said. Raises StrangeReply for what no Redis says.
    """
    many = sum(databases.values()) > ROUNDS * COUNT
    walks = {
        number: _Walk(keys, str(anywhere()), 2) if many and keys > COUNT else _Walk(keys, "0", 1)
        for number, keys in databases.items()
    }
    ends = clock() + SECONDS
    sizes: dict[tuple[int, str], int] = {}
    unreadable: set[tuple[int, str]] = set()
    unweighed: list[tuple[int, str]] = []
    untold = ""
    rounds = 0
    while not untold:
        left = [number for number, walk in walks.items() if walk.ends]
        walks_on = bool(left) and rounds < ROUNDS and clock() < ends
        if not walks_on and not unweighed:
            break
        commands = list(_weighing(unweighed))
        weighed = len(commands)
        number = max(left, key=lambda item: walks[item].order) if walks_on else -1
        if walks_on:
            commands += [("SELECT", str(number)), ("SCAN", walks[number].cursor, "COUNT", str(COUNT))]
            rounds += 1
        replies = ask(commands)
        untold = next((printable(str(item))[:120] for item in replies if isinstance(item, ReplyError)), "")
        sized = (reply for command, reply in zip(commands, replies[:weighed], strict=False) if command[0] == "MEMORY")
        for key, reply in zip(unweighed, sized, strict=True):
            if isinstance(reply, int):
                sizes[key] = reply
            elif reply is None and "\ufffd" in key[1]:
                unreadable.add(key)
        unweighed = []
        if walks_on and not untold:
            names = _step(walks[number], replies[-1])
            unweighed = [(number, name) for name in names if (number, name) not in sizes]
    order = sorted(sizes, key=lambda key: (-sizes[key], key))[:SHOWN]
    return BigKeys(
        keys=sum(databases.values()),
        seen=len(sizes),
        biggest=tuple(BigKey(number, printable(name)[:NAME], sizes[number, name]) for number, name in order),
        unreadable=len(unreadable),
        whole=not untold and not unreadable and not any(walk.ends for walk in walks.values()),
        untold=untold,
    )


def _weighing(keys: Sequence[tuple[int, str]]) -> Iterator[Command]:
    """Of one database, for what one SCAN has listed."""
    if keys:
        yield "SELECT", str(keys[0][0])
    for _, name in keys:
        yield "MEMORY", "USAGE", name, "SAMPLES", str(NESTED)


def _step(walk: _Walk, reply: Reply) -> list[str]:
    """The names that a SCAN has listed, each once; the walk goes on behind them."""
    if not isinstance(reply, list) or len(reply) != 2 or not re.fullmatch("[0-9]{1,20}", str(reply[0])):
        raise StrangeReply("what it says to SCAN is no cursor and its keys")
    names = list(dict.fromkeys(texts(reply[1], "what SCAN lists")))[: 2 * COUNT]
    walk.cursor = str(reply[0])
    walk.ends -= walk.cursor == "0"
    walk.seen += max(1, len(names))
    return names

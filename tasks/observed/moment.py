"""The shapes of what a host and its servers say of one moment, beside what is compared (state.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.observed.state import Client


@dataclass(frozen=True)
class Process:
    """What the kernel says of a process: its state, a letter of proc(5), and bytes in RAM and swapped out."""

    state: str = ""
    resident: int = 0
    swapped: int = 0


@dataclass(frozen=True)
class HostNow:
    """A host at one moment: `time` by its own clock; who is connected where; its servers' processes by id."""

    time: int
    connections: Mapping[tuple[str, int], Mapping[str, int]] = field(default_factory=dict)  # endpoint → address → count
    processes: Mapping[int, Process] = field(default_factory=dict)
    deploys: tuple[str, ...] = ()  # lines of the journal of deploys, oldest first


@dataclass(frozen=True)
class Slow:
    """A slow command: when, how long, and from where. Its arguments are what services store, and stay there."""

    at: int
    micros: int
    command: str
    arguments: int
    client: str


@dataclass(frozen=True)
class Latency:
    """What held a server up: when last, and for how long then and at most, in milliseconds."""

    event: str
    at: int
    latest: int
    most: int


@dataclass(frozen=True)
class Denied:
    """What a server refused somebody, and how often, the last time some seconds ago."""

    reason: str
    user: str
    count: int
    age: int
    address: str
    proofs: int = 0  # how many of them this tool's own proof has tried


@dataclass(frozen=True)
class BigKey:
    """A key of one database and the bytes that it takes, by MEMORY USAGE."""

    database: int
    name: str
    size: int


@dataclass(frozen=True)
class BigKeys:
    """The biggest of the keys that were looked at: `seen` of `keys`. `unreadable`: so many have names that are no text.

    `whole`: no key is bigger than those. `untold`: why the server said no more.
    """

    keys: int = 0
    seen: int = 0
    biggest: tuple[BigKey, ...] = ()
    unreadable: int = 0
    whole: bool = False
    untold: str = ""


@dataclass(frozen=True)
class ServerNow:
    """What a server says of this moment; `clients` is None where they were not listed. `untold`: what it refused."""

    clients: tuple[Client, ...] | None = None
    slow: tuple[Slow, ...] = ()
    latency: tuple[Latency, ...] = ()
    denied: tuple[Denied, ...] = ()  # the newest of all that its log has
    log_reach: int | None = None  # seconds that this goes back; None where that log has nothing
    evicted: int | None = None  # keys, since its start
    at: float = 0.0  # time.monotonic() when that was asked
    big_keys: BigKeys | None = None  # None: nobody asked for them
    untold: tuple[str, ...] = ()

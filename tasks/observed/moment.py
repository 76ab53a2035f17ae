"""The shapes of what a host and its servers say of one moment, beside what is compared (state.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.observed.state import Client


@dataclass(frozen=True)
class HostNow:
    """A host at one moment: `time` by its own clock; who is connected where; bytes of RAM of a process."""

    time: int
    connections: Mapping[tuple[str, int], Mapping[str, int]] = field(default_factory=dict)  # endpoint → address → count
    resident: Mapping[int, int] = field(default_factory=dict)
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


@dataclass(frozen=True)
class ServerNow:
    """What a server says of this moment; `clients` is None where they were not listed. `untold`: what it refused."""

    clients: tuple[Client, ...] | None = None
    slow: tuple[Slow, ...] = ()
    latency: tuple[Latency, ...] = ()
    denied: tuple[Denied, ...] = ()
    evicted: int | None = None  # keys, since its start
    at: float = 0.0  # time.monotonic() when that was asked
    untold: tuple[str, ...] = ()

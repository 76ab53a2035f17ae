"""A service that keeps writing in every way clients do, remembers what was acknowledged and when, and reads it back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tasks.drills.client import Client, DrillFailed
from tasks.drills.judge import loss_problem
from tasks.drills.place import PREFIX, Place
from tasks.observed.connection import begin
from tasks.observed.exchange import ExchangeError
from tasks.steps import witness
from tasks.steps.witness import Witness

PAUSE = 0.02  # seconds between two batches: some thousand keys a drill, and a machine without KVM keeps up
READ = 50  # witnesses that are read at once


def writer_of(place: Place) -> str:
    """The service that may write in the most ways."""
    return witness.of_a_service(place.role, witness.of_a_drill(PREFIX, 0))[0]


@dataclass
class Load:
    """What one service wrote: each acknowledged witness with the time, failures, the longest time without a success."""

    place: Place
    token: str = field(default_factory=lambda: secrets.token_hex(4))
    acknowledged: list[tuple[float, Witness]] = field(default_factory=list)
    begun: int = 0
    refused: int = 0
    breaks: int = 0
    since_break: int = 0  # writes acknowledged after the last break
    gap: float = 0.0
    ended: bool = False

    def __post_init__(self) -> None:
        self.service, ways = witness.of_a_service(self.place.role, witness.of_a_drill(self.prefix, 0))
        self._ways = {item.what for item in ways}

    def batch(self) -> list[Witness]:
        """The next number in every way in which the service may write."""
        self.begun += 1
        return [item for item in witness.of_a_drill(self.prefix, self.begun) if item.what in self._ways]

    def write(self, client: Client) -> int:
        """How many of one batch were acknowledged. Raises ExchangeError."""
        batch = self.batch()
        replies = client.ask(*witness.writes(batch))
        taken, now = witness.acknowledged(batch, replies), time.monotonic()
        if taken and self.acknowledged:
            self.gap = max(self.gap, now - self.acknowledged[-1][0])
        self.acknowledged += [(now, item) for item in taken]
        self.refused += len(batch) - len(taken)
        self.since_break += len(taken)
        return len(taken)

    def run(self) -> None:
        """Write until `ended`, through breaks."""
        while not self.ended:
            try:
                with self.place.client(self.service) as client:
                    while not self.ended:
                        self.write(client)
                        time.sleep(PAUSE)
            except (ExchangeError, DrillFailed):
                self.breaks, self.since_break = self.breaks + 1, 0
                time.sleep(0.2)

    def some(self, batches: int) -> None:
        """Write so many batches now. Raises DrillFailed when a write is refused."""
        try:
            with self.place.client(self.service) as client:
                for _ in range(batches):
                    self.write(client)
        except ExchangeError as error:
            raise DrillFailed(f"{self.place.name}: {error}") from error
        if self.refused or not self.acknowledged:
            counts = f"{self.refused} writes were refused, {len(self.acknowledged)} taken"
            raise DrillFailed(f"{self.place.name}: {counts}, expected all taken before the drill begins")

    @property
    def prefix(self) -> str:
        """Of its keys."""
        return f"{PREFIX}:{self.token}"

    @property
    def times(self) -> list[float]:
        """When each was acknowledged."""
        return [when for when, _ in self.acknowledged]

    def lost(self) -> list[tuple[float, Witness]]:
        """Acknowledged witnesses of which something is missing, with their times. Raises DrillFailed."""
        gone: list[tuple[float, Witness]] = []
        try:
            with self.place.client(self.service) as client:
                for at in range(0, len(self.acknowledged), READ):
                    some = self.acknowledged[at : at + READ]
                    items = [item for _, item in some]
                    missing = witness.gone(items, client.ask(*witness.reads(items)))
                    gone += [pair for pair in some if pair[1] in missing]
        except ExchangeError as error:
            raise DrillFailed(f"{self.place.name}: {error}") from error
        return gone

    def remove(self) -> None:
        """No key of it is left, those of unacknowledged batches neither. Raises DrillFailed."""
        keys = [
            key for number in range(1, self.begun + 1) for key in witness.keys(witness.of_a_drill(self.prefix, number))
        ]
        for at in range(0, len(keys), 2000):
            self.place.operator("UNLINK", *keys[at : at + 2000])


def nothing_lost(load: Load) -> None:
    """Raises DrillFailed, in words, when an acknowledged write is gone."""
    lost, acknowledged = ([item for _, item in pairs] for pairs in (load.lost(), load.acknowledged))
    if problem := loss_problem(lost, acknowledged):
        raise DrillFailed(f"{load.place.name}: {problem}")


@contextmanager
def writing(places: Sequence[Place], warm: int = 5) -> Iterator[dict[str, Load]]:
    """A service of each place writes while the body runs; each has had `warm` batches acknowledged before."""
    loads = {place.name: Load(place) for place in places}
    for load in loads.values():
        load.some(warm)
    jobs = [begin(load.run) for load in loads.values()]
    try:
        yield loads
    finally:
        for load in loads.values():
            load.ended = True
        for job in jobs:
            job.result()

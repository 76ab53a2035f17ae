"""Keep a client writing through a scenario; afterwards every write that was acknowledged has to be there."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis

from tests.hosts import figures
from tests.hosts.conftest import TABLE, Tier, wait_for
from tests.hosts.dataset import numbers
from tests.hosts.dataset.ways import load_library
from tests.lab.containers import REPOSITORY

PROGRAM = "tests.hosts.numbered_keys"
BATCH = 2000  # keys removed in one command


@dataclass
class Result:
    """What the writer of one scenario met."""

    scenario: str
    role: str
    acknowledged: int = 0
    failed: int = 0
    longest_gap: float = 0.0  # seconds between two acknowledged writes
    interruptions: int = 0  # times that one or more writes in a row failed
    connections: int = 0
    errors: list[str] = field(default_factory=list)
    note: str = ""

    def __str__(self) -> str:
        gap = f"{self.longest_gap:6.3f} s"
        counts = f"{self.acknowledged:7} {self.failed:5} {gap} {self.interruptions:3}"
        return f"{counts}  {self.role:10} {self.scenario}{f' ({self.note})' if self.note else ''}"


WRITERS = "writers: acknowledged, failed, longest gap, interruptions"


@dataclass
class Writer:
    """A running writer, and what is known of it: up to date after `report` and at the end of `writing`."""

    process: "subprocess.Popen[str]"
    prefix: str
    result: Result
    ranges: list[list[int]] = field(default_factory=list)
    attempted: int = 0

    def report(self) -> Result:
        """What the writer has met so far."""
        assert self.process.stdin
        self.process.stdin.write("report\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> Result:
        """The next report, which the writer sends unasked after its first acknowledged write."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"the writer ended with {self.process.wait()}"
        seen: dict[str, Any] = json.loads(line)
        self.ranges, self.attempted = seen["acknowledged"], seen["attempted"]
        self.result.acknowledged = sum(last - first + 1 for first, last in self.ranges)
        self.result.interruptions = len(self.ranges) - 1 + (self.ranges[-1][1] < self.attempted - 1)
        for name in ("failed", "longest_gap", "connections", "errors"):
            setattr(self.result, name, seen[name])
        return self.result

    def lost(self, tier: Tier) -> list[int]:
        """Numbers acknowledged until now that are gone or not whole, read by a client of its own.

        A server that is just being restarted is read once it answers.
        """
        self.report()
        missing: list[int] = []
        wait_for(lambda: self._read_back(tier, missing), f"{self.result.role} answers its operator")
        return missing

    def _read_back(self, tier: Tier, missing: list[int]) -> bool:
        acknowledged = [number for first, last in self.ranges for number in range(first, last + 1)]
        try:
            with tier.operator(self.result.role) as client:
                missing[:] = numbers.lost(client, self.prefix, acknowledged)
        except redis.RedisError:
            return False
        return True

    def remove_keys(self, tier: Tier) -> None:
        """None of its keys is left, nor those that it wrote after its last report."""
        with tier.operator(self.result.role) as client:
            left = list(client.scan_iter(f"{self.prefix}*", count=BATCH))
            for at in range(0, len(left), BATCH):
                client.unlink(*left[at : at + BATCH])


@contextmanager
def writing(
    tier: Tier, role: str, scenario: str, *, port: int | None = None, service: str | None = None
) -> Iterator[Writer]:
    """A service of the role writes in its own process as long as the body runs; then every acknowledged key is there.

    What was met is in `.result` afterwards.
    """
    row = TABLE[role]
    user = service or row["services"][0]
    port = port or row["port"]
    prefix = f"test:writer:{port}:"
    with tier.operator(role) as client:
        load_library(client)
    writer = Writer(_start(tier), prefix, Result(scenario, role))
    assert writer.process.stdin
    try:
        password = tier.passwords[role][user]
        wanted = {"host": row["address"], "port": port, "username": user, "password": password, "prefix": prefix}
        writer.process.stdin.write(json.dumps(wanted) + "\n")  # never in an argument list
        writer.process.stdin.flush()
        writer.read()
        yield writer
        lost = writer.lost(tier)
        figures.add(WRITERS, writer.result)
    finally:
        writer.process.stdin.close()
        writer.process.wait(timeout=30)
    writer.remove_keys(tier)
    assert lost == [], f"{scenario}: {len(lost)} acknowledged writes are lost, the first is number {lost[0]}"


@contextmanager
def with_keys(tier: Tier, role: str, count: int = 20_000) -> Iterator[None]:
    """The instance has a data set that takes a while to load."""
    with tier.operator(role) as client:
        for at in range(0, count, 5000):
            client.mset({f"test:ballast:{number}": "x" * 100 for number in range(at, at + 5000)})
        yield
        for at in range(0, count, 5000):
            client.unlink(*(f"test:ballast:{number}" for number in range(at, at + 5000)))


def _start(tier: Tier) -> "subprocess.Popen[str]":
    into = ["nsenter", f"--net={tier.lab.record.netns}", "--"]
    return subprocess.Popen(
        [*into, sys.executable, "-m", PROGRAM],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

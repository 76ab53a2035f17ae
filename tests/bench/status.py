"""`python -m tests.bench.status`: what a status costs the servers that it asks, and the clients of a busy one.

Five roles on one host. What servers were asked is read from INFO, before and after some looks; a role is kept busy by
redis-benchmark with nobody looking on and with status looking each second, in turn, so that whatever else this machine
does meets both alike. Compare ratios, not requests a second of different days.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Thread

import click

from tests.bench.clients import Run, read
from tests.hosts.conftest import ROLES, TABLE, Tier, layout, wait_for
from tests.lab.containers import ContainerLab

BUSY = "gateway"
REQUESTS = 200_000
WINDOW = 40  # seconds that somebody looks on
COMMAND = "SET"  # as redis-benchmark calls it
ALONE, WATCHED = "nobody looks on", "status each second"


@dataclass(frozen=True)
class Asked:
    """What all servers together were asked: commands, and seconds that they worked for them."""

    calls: int
    seconds: float

    def since(self, before: Asked) -> Asked:
        """What came after."""
        return Asked(self.calls - before.calls, self.seconds - before.seconds)


def line(asked: Asked, looks: Sequence[float], roles: int) -> str:
    """What so many looks, each with the seconds that it took, cost the servers of so many roles. Pure."""
    calls, work = asked.calls / len(looks) / roles, 1000 * asked.seconds / len(looks) / roles
    took = f"{median(looks):.2f} s (at most {max(looks):.2f})"
    return f"{len(looks)} looks at {roles} roles, {took}: {calls:.0f} requests and {work:.2f} ms of each server a look"


def table(runs: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """A line for each way, and the ratio of the two. Pure."""
    yield f"{COMMAND:<20} requests/s     p99 ms"
    found = {how: (median(run.per_second for run in own), median(run.p99 for run in own)) for how, own in runs.items()}
    for how, (per_second, p99) in found.items():
        yield f"{how:<20} {per_second:>10.0f} {p99:>10.2f}"
    (before, slowest), (after, slower) = found[ALONE], found[WATCHED]
    yield f"{'×':<20} {after / before:>10.2f} {slower / slowest:>10.2f}"


def asked(tier: Tier) -> Asked:
    """What the servers have been asked until now; this question is a constant of all of them."""
    calls, micros = 0, 0
    for role in ROLES:
        with tier.operator(role) as operator:
            for own in operator.info("commandstats").values():
                calls, micros = calls + int(own["calls"]), micros + int(own["usec"])
    return Asked(calls, micros / 1e6)


def look(tier: Tier, file: Path) -> float:
    """Seconds of one look."""
    done = tier.run("tasks/status.py", "--data", f"status_report={file}")
    if done.returncode:
        raise click.ClickException(f"status: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return float(json.loads(file.read_text())["seconds"])


@contextmanager
def watching(tier: Tier, directory: Path) -> Iterator[None]:
    """Somebody has status look each second, for as long as WINDOW."""
    file = directory / "watched.json"
    file.unlink(missing_ok=True)
    pyinfra = Path(sys.executable).with_name("pyinfra")
    options = ["--data", f"redis_secrets_file={tier.secrets}", "--data", "watch=1", "--data", f"status_report={file}"]
    words: list[str | Path] = [
        "timeout",
        "-s",
        "INT",
        str(WINDOW),
        pyinfra,
        "-y",
        *options,
        tier.inventory,
        "tasks/status.py",
    ]
    thread = Thread(target=lambda: tier.lab.run(words, cwd=tier.repository))
    thread.start()
    try:
        wait_for(file.exists, "somebody looks on", 60)
        yield
    finally:
        thread.join()


def benchmark(tier: Tier) -> Run:
    """The requests of one busy minute or less."""
    row, user = TABLE[BUSY], TABLE[BUSY]["services"][0]
    place = f"-h {row['address']} -p {row['port']} --user {user} -a {tier.passwords[BUSY][user]}"
    said = tier.host(BUSY).sh(f"redis-benchmark {place} -t {COMMAND.lower()} -c 20 -r 1000 -d 100 -n {REQUESTS} --csv")
    return read(said)[COMMAND]


@click.command()
@click.option("--looks", type=click.IntRange(min=2), default=10, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
def bench(looks: int, rounds: int) -> None:
    """Measure what looking on costs."""
    with ContainerLab(layout("onebox", "bookworm")) as lab, tempfile.TemporaryDirectory(prefix="bench-") as name:
        files = Path(name)
        tier = Tier(lab, "inventory/onebox.py", files / "secrets.yaml")
        tier.deploy()
        look(tier, files / "status.json")
        first = asked(tier)
        own = asked(tier).since(first)  # what this question is itself
        before = asked(tier)
        took = [look(tier, files / "status.json") for _ in range(looks)]
        click.echo(line(asked(tier).since(before).since(own), took, len(ROLES)))
        runs: dict[str, list[Run]] = {ALONE: [], WATCHED: []}
        for _ in range(rounds):
            runs[ALONE].append(benchmark(tier))
            with watching(tier, files):
                runs[WATCHED].append(benchmark(tier))
    for row in table(runs):
        click.echo(row)


if __name__ == "__main__":
    bench(prog_name="python -m tests.bench.status")

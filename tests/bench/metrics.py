"""`python -m tests.bench.metrics`: what a host's exporter costs, asked for five roles every 15 s as Prometheus would.

Its processor time and memory are read from /proc; of the servers, what INFO says they spent on what it asks. Of both
Debians: they have different exporters and different servers.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import get_args
from urllib.parse import quote
from urllib.request import urlopen

import click

from tests.hosts.clients import in_namespace
from tests.hosts.conftest import ROLES, TABLE, Tier, layout
from tests.lab.container import Container
from tests.lab.containers import ContainerLab
from tests.lab.debian import Suite

PLACE = "172.28.2.1:9121"
UNIT = "caas-redis-metrics.service"
EVERY = 15.0  # seconds
ASKED = ("auth", "info", "slowlog|len", "slowlog|get", "latency|latest", "latency|histogram")


@dataclass(frozen=True)
class Round:
    """One scrape of every role: seconds that it took, series and bytes that it gave."""

    took: float
    series: int
    size: int


def line(
    suite: str, seconds: float, cpu: float, memory: Mapping[str, int], rounds: Sequence[Round], spent: float
) -> str:
    """What is said of one Debian. `cpu`: seconds of the exporter; `spent`: of the servers, on what it asked. Pure."""
    count, last = len(rounds), rounds[-1]
    return ", ".join(
        (
            f"{suite:8} {count} scrapes of {len(ROLES)} roles in {seconds:.0f} s: exporter "
            f"{100 * cpu / seconds:.2f} % of a processor ({1000 * cpu / count:.0f} ms a scrape of all)",
            f"{memory['VmRSS'] / 1024:.0f} MiB resident (at most {memory['VmHWM'] / 1024:.0f})",
            f"{1000 * median(item.took for item in rounds):.0f} ms to wait",
            f"{last.series} series in {last.size / 1024:.0f} KiB",
            f"servers {1000 * spent / count:.2f} ms a scrape of all",
        )
    )


def scrape(get: Callable[[str], bytes]) -> Round:
    """One scrape of every role, one after the other."""
    began = time.monotonic()
    text = b"".join(get(f"http://{PLACE}/scrape?target={quote(target(role), safe='')}") for role in ROLES)
    took = time.monotonic() - began
    if text.count(b"\nredis_up 1\n") != len(ROLES):
        raise click.ClickException("a role is not up")
    series = sum(1 for item in text.splitlines() if item and not item.startswith(b"#"))
    return Round(took, series, len(text))


def target(role: str) -> str:
    """How a scrape names a role."""
    return f"redis://{TABLE[role]['address']}:{TABLE[role]['port']}"


def _processor(host: Container) -> float:
    """Seconds that the exporter has worked."""
    pid = host.sh(f"systemctl show -P MainPID {UNIT}").strip()
    words = host.sh(f"cat /proc/{pid}/stat").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100  # utime and stime, in ticks (proc(5))


def _memory(host: Container) -> dict[str, int]:
    """KiB that it has resident, now and at most."""
    pid = host.sh(f"systemctl show -P MainPID {UNIT}").strip()
    return {
        name: int(size)
        for name, size in re.findall(r"^(VmHWM|VmRSS):\s+([0-9]+) kB", host.sh(f"cat /proc/{pid}/status"), re.M)
    }


def _spent(tier: Tier) -> float:
    """Seconds that servers have spent on what an exporter asks."""
    total = 0
    for role in ROLES:
        with tier.operator(role) as operator:
            said = operator.info("commandstats")
        total += sum(int(said.get(f"cmdstat_{name}", {}).get("usec", 0)) for name in ASKED)
    return total / 1e6


def measure(suite: Suite, count: int, every: float) -> str:
    """What the exporter of a host of this Debian costs."""
    with ContainerLab(layout("onebox", suite)) as lab, tempfile.TemporaryDirectory() as directory:
        options = ("--data", f"redis_metrics={json.dumps({'address': PLACE})}")
        tier = Tier(lab, "inventory/onebox.py", Path(directory) / "secrets.yaml", options=options)
        tier.deploy()
        host = tier.host("gateway")

        def get(url: str) -> bytes:
            return in_namespace(lab.netns, lambda: bytes(urlopen(url, timeout=10).read()))

        scrape(get)  # what it does once only is not counted
        for role in ROLES:
            with tier.operator(role) as operator:
                operator.config_resetstat()
        began, before = time.monotonic(), _processor(host)
        rounds = []
        for number in range(count):
            time.sleep(max(0.0, began + number * every - time.monotonic()))
            rounds.append(scrape(get))
        time.sleep(max(0.0, began + count * every - time.monotonic()))
        seconds, cpu = time.monotonic() - began, _processor(host) - before
        return line(suite, seconds, cpu, _memory(host), rounds, _spent(tier))


@click.command()
@click.option("--scrapes", type=click.IntRange(min=2), default=20, show_default=True)
@click.option("--every", type=float, default=EVERY, show_default=True, help="seconds between two of them")
def bench(scrapes: int, every: float) -> None:
    """Measure the exporter of metrics on each Debian."""
    for suite in get_args(Suite):
        click.echo(measure(suite, scrapes, every))


if __name__ == "__main__":
    bench()

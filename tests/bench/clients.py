"""`python -m tests.bench.clients`: what a role's fences cost its clients.

A deployed instance (its unit's sandbox, its users' rights, a list of who may connect) beside the same server without
any of it on the same host, both with the role's own settings and log. redis-benchmark runs on another host of the lab
against one and the other in turn, so that whatever else this machine does meets both alike. Compare ratios, not
requests a second of different days.
"""

import csv
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import yaml

from tests.bench.__main__ import INVENTORIES, specs
from tests.lab.container import Container
from tests.lab.containers import ContainerLab
from tests.tree import catalogue, tree

ROLES = ("gateway", "crypto")  # a log that is synced each second, and one that is at every write
BESIDE = 7000  # port of the server without fences
REQUESTS = {"gateway": 60_000, "crypto": 6_000}
MIX = (("one by one", ()), ("16 at once", ("-P", "16")))
FENCED, PLAIN = "as deployed", "without"

# As redis-server is started by hand: no unit's sandbox, no ACL, the role's settings and a log of its own.
BARE = """
d=/srv/bare-{role}; install -d -o redis-{role} -g redis-{role} -m 0750 $d
sed -e 's/^port .*/port {port}/' -e "s|^dir .*|dir $d|" -e '/^aclfile /d' -e 's/^supervised .*/supervised no/' \
  -e "s|^pidfile .*|pidfile $d/pid|" -e 's/^protected-mode .*/protected-mode no/' /etc/redis/{role}.conf >$d/redis.conf
chown redis-{role} $d/redis.conf
systemd-run --quiet --unit=bare-{role} -p User=redis-{role} -p LimitNOFILE=65535 redis-server $d/redis.conf
until redis-cli -h {address} -p {port} ping | grep -q PONG; do sleep 0.1; done
"""


@dataclass(frozen=True)
class Run:
    """Requests a second, and milliseconds that the slowest of a hundred took at most."""

    per_second: float
    p99: float


def read(text: str) -> dict[str, Run]:
    """command → its figures, from the CSV of redis-benchmark. Pure."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    return {row["test"]: Run(float(row["rps"]), float(row["p99_latency_ms"])) for row in csv.DictReader(lines)}


def table(runs: Mapping[tuple[str, str, str], Mapping[str, Sequence[Run]]]) -> Iterator[str]:
    """A line for each role, mix and command: medians with and without, and their ratios. Pure."""
    yield "role     mix         command     with/s without/s     ×     p99  without     ×"
    for (role, mix, command), found in runs.items():
        with_, without = found[FENCED], found[PLAIN]
        rate, bare = median(run.per_second for run in with_), median(run.per_second for run in without)
        p99, bare_p99 = median(run.p99 for run in with_), median(run.p99 for run in without)
        ratios = rate / bare, p99 / bare_p99 if bare_p99 else 1.0
        yield (
            f"{role:8} {mix:11} {command:8} {rate:9.0f} {bare:9.0f} {ratios[0]:5.2f} "
            f"{p99:5.2f}ms {bare_p99:6.2f}ms {ratios[1]:5.2f}"
        )


def _measure(host: Container, words: Sequence[str]) -> dict[str, Run]:
    return read(host.sh(f"redis-benchmark --csv -t set,get -c 20 -d 200 {' '.join(words)}"))


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
def bench(rounds: int) -> None:
    """Measure clients of a deployed instance against the same without sandbox, users and rules."""
    rows = catalogue()["roles"]
    runs: dict[tuple[str, str, str], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    with ContainerLab(specs(INVENTORIES[5])) as lab, tempfile.TemporaryDirectory(prefix="bench-") as files:
        secrets = Path(files) / "secrets.yaml"
        overrides = {role: {"allow_from": ["172.28.2.0/24"]} for role in ROLES}
        data = ("--data", f"redis_secrets_file={secrets}", "--data", f"redis_overrides={json.dumps(overrides)}")
        done = lab.pyinfra("-y", *data, INVENTORIES[5], "deploy.py", cwd=tree(), timeout=600)
        if done.returncode:
            raise click.ClickException(f"{done.stdout}{done.stderr}")
        passwords = yaml.safe_load(secrets.read_text())
        clients = lab.hosts["redis-socket"]
        for role in ROLES:
            address, service = rows[role]["address"], rows[role]["services"][0]
            lab.hosts[f"redis-{role}"].sh(BARE.format(role=role, address=address, port=BESIDE))
            fenced = ("-p", str(rows[role]["port"]), "--user", service, "-a", passwords[role][service])
            for number in range(rounds + 1):
                for mix, words in MIX:
                    for kind, login in ((FENCED, fenced), (PLAIN, ("-p", str(BESIDE)))):
                        asked = ("-h", address, *login, "-n", str(REQUESTS[role]), *words)
                        for command, run in _measure(clients, asked).items() if number else ():
                            runs[role, mix, command][kind].append(run)
                click.echo(f"  {role}: {f'round {number} of {rounds}' if number else 'warm-up'}")
    click.echo(f"\n{rounds} rounds in turn, 20 connections from another host, values of 200 bytes")
    click.echo("\n".join(table(runs)))


if __name__ == "__main__":
    bench(prog_name="python -m tests.bench.clients")

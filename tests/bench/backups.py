"""`python -m tests.bench.backups`: what a backup costs the clients of its role, and what the log's notes of time do.

A role of 512 MB that is nearly full of values which nobody can make smaller, written to and read by redis-benchmark on
another host: with its copy under way and without, in turn. Then a role whose log is synced at every write, with
`aof-timestamp-enabled` and without, in turn. Compare ratios, not milliseconds of different days.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import click
import yaml

from tests.bench.__main__ import INVENTORIES, specs
from tests.bench.clients import Run, read
from tests.lab.container import Container
from tests.lab.containers import ContainerLab
from tests.tree import catalogue, tree

LARGE, SYNCED = "shared", "crypto"
KEYS, SIZE = 380_000, 1000  # of the large role: some 440 MB of its 512
REQUESTS = {LARGE: 60_000, SYNCED: 6_000}
REPOSITORY = "/srv/backups"
UNIT = f"caas-redis-backup-{LARGE}.service"
DURING, WITHOUT = "during a copy", "without"
NOTED, UNNOTED = "with notes", "without"

# RESP on standard output, of random bytes.
FILL = r"""perl -e '
open my $random, "<", "/dev/urandom"; my ($keys, $size) = @ARGV;
for my $key (map { "ballast:$_" } 1 .. $keys) {
  read $random, my $value, $size;
  print join "\r\n", "*3", "\$3", "SET", "\$" . length $key, $key, "\$$size", $value, "";
}' """


def table(runs: Mapping[tuple[str, str], Mapping[str, Sequence[Run]]]) -> Iterator[str]:
    """A line for each measurement and command: medians of the two ways, and their ratios. Pure."""
    yield "                          command    with/s without/s     ×      p99   without     ×"
    for (what, command), found in runs.items():
        with_, without = (found[kind] for kind in found)
        rate, bare = median(run.per_second for run in with_), median(run.per_second for run in without)
        p99, bare_p99 = median(run.p99 for run in with_), median(run.p99 for run in without)
        ratios = rate / bare, p99 / bare_p99 if bare_p99 else 1.0
        yield (
            f"{what:25} {command:8} {rate:9.0f} {bare:9.0f} {ratios[0]:5.2f} "
            f"{p99:6.2f}ms {bare_p99:7.2f}ms {ratios[1]:5.2f}"
        )


class Bench:
    """A deployed tier, and what redis-benchmark on one of its hosts measures of another's role."""

    def __init__(self, lab: ContainerLab, passwords: Mapping[str, Mapping[str, str]]) -> None:
        self.lab, self.passwords = lab, passwords
        self.rows = catalogue()["roles"]
        self.clients = lab.hosts["redis-socket"]

    def host(self, role: str) -> Container:
        return self.lab.hosts[f"redis-{role}"]

    def login(self, role: str, user: str) -> str:
        row = self.rows[role]
        return f"-h {row['address']} -p {row['port']} --user {user} -a {self.passwords[role][user]}"

    def fill(self) -> None:
        """The large role is nearly full."""
        cli = f"redis-cli --no-auth-warning {self.login(LARGE, self.rows[LARGE]['services'][0])}"
        self.host(LARGE).sh(f"{FILL} {KEYS} {SIZE} | {cli} --pipe")

    def measure(self, role: str) -> dict[str, Run]:
        """command → its figures."""
        words = f"--csv -t set,get -c 20 -d 200 -r 100000 -n {REQUESTS[role]}"
        return read(self.clients.sh(f"redis-benchmark {words} {self.login(role, self.rows[role]['services'][0])}"))

    def measure_during_a_copy(self) -> dict[str, Run]:
        """The same, from the copy's first byte on. ClickException where the copy had ended before the measurement."""
        host = self.host(LARGE)
        host.sh(f"systemctl start --no-block {UNIT}; until pgrep -f '[c]opy.pl' >/dev/null; do sleep 0.05; done")
        found = self.measure(LARGE)
        state = host.sh(f"systemctl show -P ActiveState {UNIT}").strip()
        if state != "activating":
            raise click.ClickException(f"the copy had ended ({state}) before its clients were measured")
        host.sh(f"while systemctl show -P ActiveState {UNIT} | grep -q activating; do sleep 0.2; done")
        return found

    def note(self, value: str) -> None:
        """Whether the log of the other role says when what was written."""
        cli = f"redis-cli --no-auth-warning {self.login(SYNCED, 'operator')}"
        said = self.host(SYNCED).sh(f"{cli} CONFIG SET aof-timestamp-enabled {value}").strip()
        if said != "OK":
            raise click.ClickException(said)


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
def bench(rounds: int) -> None:
    """Measure clients during a copy against without, and a log with notes of time against one without."""
    runs: dict[tuple[str, str], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    with ContainerLab(specs(INVENTORIES[5])) as lab, tempfile.TemporaryDirectory(prefix="bench-") as files:
        secrets = Path(files) / "secrets.yaml"
        plan = {"repository": REPOSITORY, "roles": [LARGE]}
        data = ("--data", f"redis_secrets_file={secrets}", "--data", f"redis_backup={json.dumps(plan)}")
        lab.hosts[f"redis-{LARGE}"].sh(f"mkdir -m 0700 {REPOSITORY}")
        done = lab.pyinfra("-y", *data, INVENTORIES[5], "deploy.py", cwd=tree(), timeout=600)
        if done.returncode:
            raise click.ClickException(f"{done.stdout}{done.stderr}")
        measured = Bench(lab, yaml.safe_load(secrets.read_text()))
        measured.fill()
        for number in range(rounds + 1):
            for kind, found in ((DURING, measured.measure_during_a_copy()), (WITHOUT, measured.measure(LARGE))):
                for command, run in found.items() if number else ():
                    runs[f"{LARGE}, {DURING}", command][kind].append(run)
            click.echo(f"  {LARGE}: {f'round {number} of {rounds}' if number else 'warm-up'}")
        for number in range(rounds + 1):
            for kind, value in ((NOTED, "yes"), (UNNOTED, "no")):
                measured.note(value)
                for command, run in measured.measure(SYNCED).items() if number else ():
                    runs[f"{SYNCED}, {NOTED} of time", command][kind].append(run)
            click.echo(f"  {SYNCED}: {f'round {number} of {rounds}' if number else 'warm-up'}")
    click.echo(f"\n{rounds} rounds in turn, 20 connections from another host, values of 200 bytes")
    click.echo("\n".join(table(runs)))


if __name__ == "__main__":
    bench(prog_name="python -m tests.bench.backups")

"""`python -m tests.bench`: how long the tool takes when there is nothing to do, against pyinfra's own floor.

Boots containers, deploys once, then measures whole processes in turn (deploy, floor, verify, drift, deploy, …), so that
whatever else this machine does meanwhile meets all of them alike. Compare ratios, not seconds of different days.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from tests.bench import timed
from tests.bench.report import FLOOR, Cost, missed, table
from tests.lab.containers import ContainerLab
from tests.lab.debian import LabError
from tests.lab.layouts import HostSpec, hosts_of
from tests.tree import REPOSITORY, tree

INVENTORIES = {
    5: "inventory/prod.py",
    40: "tests/bench/inventory_40.py",
}  # of tests.tree, whose figures stay comparable
DEPLOY = "deploy.py"
NOTHING = "nothing to change on"  # what the deploy says when it changes nothing
COMMANDS = (DEPLOY, FLOOR, "tasks/verify.py", "tasks/drift.py")
TIMEOUT = 600  # seconds for one command; the first deploy to forty hosts takes about 40


@dataclass(frozen=True)
class Bench:
    """A lab, the inventory that describes it, and files that last as long as the measurement."""

    lab: ContainerLab
    inventory: str
    files: Path

    def run(self, command: str) -> tuple[Cost, str]:
        """What one command of an operator cost, and its output. ClickException with that when it did not exit 0."""
        pyinfra = str(Path(sys.executable).with_name("pyinfra"))
        words = [pyinfra, "-y", "--data", f"redis_secrets_file={self.files / 'secrets.yaml'}", self.inventory]
        cost = self.files / "cost.json"
        done = self.lab.run(
            [sys.executable, timed.__file__, cost, *words, *command.split()],
            cwd=tree(),
            timeout=TIMEOUT,
        )
        if done.returncode:
            raise click.ClickException(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return Cost(**json.loads(cost.read_text())), done.stdout + done.stderr

    def measure(self, commands: Iterable[str], rounds: int) -> dict[str, list[Cost]]:
        """The costs of each command over so many rounds, after a deploy and one unmeasured round."""
        first, _ = self.run(DEPLOY)
        click.echo(f"  first deploy: {first.wall:.1f} s")
        _, said = self.run(DEPLOY)
        if NOTHING not in said:
            raise click.ClickException(f"{DEPLOY}: the second run still found something to do\n{said}")
        costs: dict[str, list[Cost]] = {command: [] for command in commands}
        for number in range(rounds + 1):
            walls = []
            for command, measured in costs.items():
                cost, _ = self.run(command)
                walls.append(f"{command} {cost.wall:.2f}")
                if number:
                    measured.append(cost)
            click.echo(f"  {f'round {number} of {rounds}' if number else 'warm-up'}: {', '.join(walls)}")
        return costs


def specs(inventory: str) -> tuple[HostSpec, ...]:
    """The lab hosts that an inventory file describes: its groups' hosts, at their ssh addresses."""
    return hosts_of(Path(inventory), "bookworm", tree())


@click.command()
@click.option("--hosts", "counts", type=click.Choice(INVENTORIES), multiple=True, default=(5, 40), show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
def bench(counts: tuple[int, ...], rounds: int) -> None:
    """Measure a deploy with nothing to do, a verify and a drift check. Exit 1 when a command fails."""
    commands = [command for command in COMMANDS if command == FLOOR or (REPOSITORY / command).exists()]
    for count in counts:
        inventory = INVENTORIES[count]
        click.echo(f"{count} hosts: booting {inventory}")
        try:
            with ContainerLab(specs(inventory)) as lab, tempfile.TemporaryDirectory(prefix="bench-") as files:
                costs = Bench(lab, inventory, Path(files)).measure(commands, rounds)
        except LabError as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"\n{count} hosts, {rounds} rounds, {os.cpu_count()} cores\n{table(costs)}\n")
        for line in missed(costs):
            click.echo(line)


if __name__ == "__main__":
    bench(prog_name="python -m tests.bench")

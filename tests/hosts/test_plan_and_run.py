"""A dry run and the run that follows it: same hosts, same operations in the same order, same words, same restarts."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.hosts.clients import can_connect
from tests.hosts.conftest import INNER_PORT, ROLES, Finished, Tier, layout, output, overriding
from tests.lab.containers import ContainerLab

pytestmark = pytest.mark.hosts

PROOF = "Prove the tier"  # planned where something differs; in the run it looks at every host and changes none
WORDS = re.compile(r"^redis-(\w+): \1: (live|restart): (\S+) ")
READY = re.compile(r"^\[.+\] +Ready: ")
SUMMARY = re.compile(r"(\d+) instances? will restart(?:: (.+))?$")


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Five hosts, one per role, bare until the first test."""
    with ContainerLab(layout("prod", "bookworm")) as lab:
        yield Tier(lab, "inventory/prod.py", tmp_path_factory.mktemp("plan") / "secrets.yaml")


@dataclass(frozen=True)
class Announced:
    """What a command said that it was going to do."""

    lines: list[str]

    @property
    def words(self) -> set[tuple[str, str, str]]:
        """(role, live or restart, directive) of every setting."""
        return {found.groups() for line in self.lines if (found := WORDS.match(line))}  # type: ignore[misc]

    @property
    def restarts(self) -> set[str]:
        """Roles that the last line says will restart; it counts them as well."""
        found = SUMMARY.search(self.lines[-1])
        assert found, self.lines
        names = [name.split(" on ")[0] for name in (found[2] or "").split(", ") if name]
        assert len(names) == int(found[1])
        return set(names)


def announced(done: Finished) -> Announced:
    """The lines between the loading of the deploy and its operations, as any of the commands prints them."""
    assert done.returncode == 0, output(done)
    text = done.stderr.partition("Loading: deploy.py\n")[2]
    lines = [line.strip() for line in text.splitlines() if "] Loaded fact" not in " ".join(line.split())]
    return Announced(lines[: next(at for at, line in enumerate(lines) if READY.search(line))])


def proposed(done: Finished) -> list[str]:
    """Names of the operations in the table of a dry run."""
    table = re.split(r"Operation +Change.*\n", output(done))[1].partition("\n\n")[0]
    return [re.split(r" {2,}", row.strip())[0] for row in table.splitlines()]


@dataclass(frozen=True)
class Compared:
    """The run, after it was found to be what its plan said."""

    announced: Announced
    restarted: set[str]


def compare(tier: Tier, *options: str) -> Compared:
    """Plan as text, plan as JSON, run: they have to say the same, and the run has to do it, and nothing but it."""
    text = tier.run("deploy.py", "--dry", "-v", *options, yes=False)  # -v: every line by itself
    data = tier.run("deploy.py", "--dry", "--json", "-v", *options, yes=False)
    before = pids(tier)
    run = tier.run("deploy.py", "--json", "-v", *options)
    assert announced(text) == announced(data) == announced(run)
    plan = {row["name"]: sorted(row["hosts_with_change"]) for row in json.loads(data.stdout)["plan"]}
    results = json.loads(run.stdout)["results"]["operations"]
    assert proposed(text) == list(plan) == [row["name"] for row in results]
    done = {row["name"]: sorted(row["success"]) for row in results}
    assert done | {PROOF: plan[PROOF]} == plan
    assert hosts_that_changed(done) == plan[PROOF]
    assert done[PROOF] == []
    after = pids(tier)
    restarted = {role for role in ROLES if before[role] and after[role] != before[role]}
    assert restarted == announced(run).restarts
    return Compared(announced(run), restarted)


def hosts_that_changed(done: Mapping[str, list[str]]) -> list[str]:
    return sorted({host for hosts in done.values() for host in hosts})


def pids(tier: Tier) -> dict[str, Any]:
    """The main process of every role; 0 where it does not run."""
    return {role: tier.pid(role) for role in ROLES}


def test_a_first_deploy_does_what_its_plan_says(tier: Tier) -> None:
    assert compare(tier).restarted == set()


def test_live_changes_and_restarts_are_those_of_the_plan(tier: Tier) -> None:
    change: dict[str, dict[str, Any]] = {
        "gateway": {"maxmemory": "300mb"},
        "crypto": {"databases": 32, "maxmemory": "300mb"},
        "shared": {"databases": 20},
    }
    found = compare(tier, *overriding(change))
    assert found.announced.words == {
        ("gateway", "live", "maxmemory"),
        ("gateway", "live", "maxclients"),  # as many as fit into it
        ("crypto", "live", "maxmemory"),
        ("crypto", "live", "maxclients"),
        ("crypto", "restart", "databases"),
        ("shared", "restart", "databases"),
    }
    assert found.restarted == {"crypto", "shared"}


def test_the_way_back_with_an_inner_port_removed_is_that_of_the_plan(tier: Tier) -> None:
    found = compare(tier, *overriding({"crypto": {"inner_port": None}}))
    assert found.restarted == {"crypto", "shared"}
    assert not can_connect(tier.lab.netns, "172.28.2.5", INNER_PORT)


def test_putting_the_inner_port_back_restarts_nothing(tier: Tier) -> None:
    assert compare(tier).restarted == set()
    assert can_connect(tier.lab.netns, "172.28.2.5", INNER_PORT)

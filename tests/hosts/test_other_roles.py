"""Roles that are unlike the platform's five: no log, a snapshot alone, no inner port or another, an odd port."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.drills import plan
from tests.hosts.clients import can_connect, client
from tests.hosts.conftest import Tier, operations, output, overriding
from tests.lab.containers import ContainerLab
from tests.lab.layouts import layout
from tests.tree import catalogue, tree

pytestmark = pytest.mark.hosts

PORTS = {"scratch": {65535}, "reports": {6384, 6379}, "ledger": {7001, 7000}, "night_jobs": {6379}}
DRILLS = tuple(drill.name for drill in plan.DRILLS)
KEEPING = ("reports", "ledger", "night_jobs")
OTHERS = {name: row for name, row in catalogue()["roles"].items() if name in PORTS}


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """One Debian 13 host that carries all of them."""
    with ContainerLab(layout("others", "trixie", tree())) as lab:
        tier = Tier(lab, "inventory/others.py", tmp_path_factory.mktemp("others") / "secrets.yaml")
        tier.deploy()
        yield tier


def write(tier: Tier, role: str) -> None:
    """A key that the first service of the role wrote and was told so."""
    row = OTHERS[role]
    service = row["services"][0]
    with client(tier.lab.netns, row["address"], row["port"], service, tier.passwords[role][service]) as own:
        assert own.set("test:kept", role)


def read(tier: Tier, role: str) -> str | None:
    row = OTHERS[role]
    service = row["services"][0]
    with client(tier.lab.netns, row["address"], row["port"], service, tier.passwords[role][service]) as own:
        value: str | None = own.get("test:kept")
        return value


def assert_right(tier: Tier) -> None:
    """A deploy has nothing to do and its proof holds; the drift check agrees."""
    done = tier.deploy()
    assert operations(done) == ["Prove the tier"], output(done)
    drift = tier.run("tasks/drift.py")
    assert drift.returncode == 0, output(drift)


def test_they_are_deployed_proved_and_in_sync(tier: Tier) -> None:
    assert_right(tier)


@pytest.mark.parametrize("role", PORTS)
def test_a_role_answers_on_its_ports_and_on_no_other(tier: Tier, role: str) -> None:
    every = set.union(*PORTS.values(), {6380})
    assert {port for port in every if can_connect(tier.lab.netns, OTHERS[role]["address"], port)} == PORTS[role]


def test_after_a_power_cut_they_come_up_with_what_they_promise(tier: Tier) -> None:
    for role in PORTS:
        write(tier, role)
    (host,) = tier.lab.hosts.values()
    host.kill()
    host.boot()
    assert_right(tier)
    assert (read(tier, "ledger"), read(tier, "night_jobs")) == ("ledger", "night_jobs")
    assert read(tier, "scratch") is None


def test_a_restart_keeps_the_keys_of_those_that_keep_them_on_disk(tier: Tier) -> None:
    for role in KEEPING:
        write(tier, role)
    done = tier.deploy(*overriding({role: {"databases": 7} for role in KEEPING}))
    assert {role: read(tier, role) for role in KEEPING} == {role: role for role in KEEPING}, output(done)
    tier.deploy()


def test_a_role_that_keeps_nothing_on_disk_is_restarted_while_it_is_empty(tier: Tier) -> None:
    assert read(tier, "scratch") is None
    assert "Restart instances one at a time" in operations(tier.deploy(*overriding({"scratch": {"databases": 7}})))
    tier.deploy()
    assert_right(tier)


def test_a_restart_that_would_lose_keys_which_are_nowhere_on_disk_is_not_made(tier: Tier) -> None:
    write(tier, "scratch")
    change = {"databases": 7}
    done = tier.run("deploy.py", *overriding({"scratch": change}))
    assert done.returncode != 0
    assert "not restarted: it keeps nothing on disk, a restart would lose its keys (1)" in output(done)
    assert read(tier, "scratch") == "scratch"
    assert_right(tier)
    tier.deploy(*overriding({"scratch": {**change, "appendonly": True}}))
    assert read(tier, "scratch") == "scratch"
    tier.deploy(*overriding({"scratch": {"appendonly": True}}))
    tier.deploy()
    assert read(tier, "scratch") == "scratch"


@pytest.mark.soak
def test_they_are_rehearsed_as_the_five_are(tier: Tier, tmp_path: Path) -> None:
    """Each drill for each role, or why that has no such promise; verify and drift find nothing afterwards."""
    report = tmp_path / "rehearsal.json"
    told = ("redis_rehearsal=true", f"rehearsal_report={report}")
    done = tier.run("tasks/rehearse.py", *(word for value in told for word in ("--data", value)))
    assert done.returncode == 0, output(done)
    found = json.loads(report.read_text())
    drilled = {(item["drill"], item["role"]) for item in found["drills"]}
    left_out = {(item["drill"], item["role"]): item["why"] for item in found["not_run"]}
    assert drilled.isdisjoint(left_out)
    assert drilled | left_out.keys() == {(name, role) for name in DRILLS for role in PORTS}
    assert drilled >= {(name, role) for name in ("full", "crash", "busy_script", "tamper") for role in PORTS}
    assert left_out["log_damaged", "scratch"] == "it has no append-only log"
    assert_right(tier)

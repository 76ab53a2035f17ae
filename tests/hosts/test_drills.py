"""The drills on real hosts: each holds on a tier that is right, and none leaves a trace."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.conftest import FIVE, ROLES, Finished, Tier, layout, output
from tests.hosts.every_way import kept
from tests.hosts.test_safe_change import other_template
from tests.hosts.test_users import BEFORE
from tests.lab.containers import REPOSITORY, ContainerLab

pytestmark = pytest.mark.hosts

# What only a machine with a kernel and a disk of its own can do is in test_kernel.py.
OF_A_CONTAINER = (
    *("full", "crash", "log_truncated", "log_damaged", "log_foreign_owner", "busy_script", "maxclients"),
    *("slow_subscriber", "stampede", "latency", "tamper"),
)
OF_A_MACHINE = ("power", "reboot", "reboot_late_address", "disk_full", "rewrite_memory_short")
THROWN_AWAY = ("--data", "redis_rehearsal=true")


def rehearse(tier: Tier, tmp_path: Path, *drills: str) -> tuple[Finished, dict[str, Any]]:
    """The operator's command, and its report."""
    report = tmp_path / "rehearsal.json"
    asked = ("--data", f"drills={','.join(drills)}") if drills else ()
    done = tier.run("tasks/rehearse.py", *THROWN_AWAY, "--data", f"rehearsal_report={report}", *asked)
    return done, json.loads(report.read_text()) if report.exists() else {}


@pytest.fixture(scope="module")
def keeping(onebox: Tier) -> Iterator[Tier]:
    """What services had written before is there after all the drills, where nothing is evicted when memory is full."""
    with kept(onebox, "compliance", "crypto"):
        yield onebox


def test_a_right_tier_holds_every_promise_and_is_as_before(keeping: Tier, tmp_path: Path) -> None:
    page = tmp_path / "rehearsal.html"
    done, report = rehearse(keeping, tmp_path, *OF_A_CONTAINER, *OF_A_MACHINE)
    assert done.returncode == 0, output(done)
    assert {(item["drill"], item["role"]) for item in report["drills"]} == {
        (drill, role) for drill in OF_A_CONTAINER for role in FIVE
    }
    assert {(item["drill"], item["role"]) for item in report["not_run"]} == {
        (drill, role) for drill in OF_A_MACHINE for role in FIVE
    }
    assert all("is a container" in item["why"] for item in report["not_run"])
    assert all(item["figures"]["acknowledged"]["value"] > 50 for item in report["drills"] if item["drill"] == "crash")
    verified = keeping.run("tasks/verify.py")
    assert verified.returncode == 0, output(verified)
    assert "warning" not in output(verified)
    assert keeping.run("tasks/drift.py").returncode == 0
    for role in ROLES:
        with keeping.operator(role) as operator:
            assert list(operator.scan_iter("caas-verify:drill*", count=10000)) == []
            assert "caas-drill" not in " ".join(operator.acl_users())
    assert not page.exists()


def test_a_dry_run_breaks_nothing_and_lists_all(onebox: Tier) -> None:
    pids = {role: onebox.pid(role) for role in ROLES}
    done = onebox.run("tasks/rehearse.py", "--dry", *THROWN_AWAY, "--data", "drills=crash,full", yes=False)
    assert done.returncode == 0
    assert "killed under writes, it is back by itself with every acknowledged write" in output(done)
    assert {role: onebox.pid(role) for role in ROLES} == pids


def test_a_drill_that_nobody_knows_stops_before_the_first(onebox: Tier, tmp_path: Path) -> None:
    pids = {role: onebox.pid(role) for role in ROLES}
    done, report = rehearse(onebox, tmp_path, "crash", "crahs")
    assert done.returncode != 0
    assert "crahs: no drill of this name, expected crash" in output(done)
    assert "Traceback" not in output(done)
    assert {role: onebox.pid(role) for role in ROLES} == pids
    assert report == {}


def test_what_a_deploy_over_an_older_state_costs_is_measured(tmp_path: Path) -> None:
    with ContainerLab(layout("onebox", "trixie")) as lab:
        tier = Tier(lab, "inventory/onebox.py", tmp_path / "secrets.yaml", ("--data", f"from={BEFORE}"), REPOSITORY)
        done, report = rehearse(tier, tmp_path, "tamper")
        assert done.returncode == 0, output(done)
        assert report["came_from"] == BEFORE[:12]
        found = {item["role"]: item["figures"] for item in report["drills"] if item["drill"] == "upgrade"}
        assert set(found) == set(FIVE)
        for figures in found.values():
            assert figures["lost"]["value"] == 0
            assert figures["restarts"]["value"] == 1  # each role gets a user of its own
            assert figures["acknowledged"]["value"] > 200


@pytest.mark.soak
def test_a_server_that_nobody_starts_again_turns_a_drill_red(onebox: Tier, tmp_path: Path) -> None:
    with other_template(onebox, tmp_path, "redis.service.j2", "Restart=always", "Restart=no") as other:
        other.deploy()
        done, report = rehearse(other, tmp_path, "crash")
        assert done.returncode != 0
        assert {item["passed"] for item in report["drills"]} == {False}
        assert "not within" in output(done)
        units = " ".join(f"redis-{role}" for role in FIVE)
        onebox.host("gateway").sh(f"systemctl start {units}; systemctl reset-failed {units}")

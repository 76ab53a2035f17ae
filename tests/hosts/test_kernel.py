"""What only a machine with its own kernel can show: tuning, huge pages, reboots, late links, power cuts."""

import json
import re
from pathlib import Path

import pytest

from tests.hosts.conftest import OF_MACHINE, TABLE, Machine, output, overriding
from tests.hosts.dataset import numbers
from tests.hosts.dataset.ways import load_library
from tests.hosts.every_way import kept
from tests.hosts.test_users import FENCED, HARMS, attack, got_through
from tests.lab.vm import Vm

pytestmark = pytest.mark.vm

ROLES = OF_MACHINE
WRITTEN = 6 * numbers.ROUND  # some hundred writes


def assert_tuned(vm: Vm) -> None:
    assert vm.sh("cat /proc/sys/vm/overcommit_memory").strip() == "1"
    assert vm.sh("cat /proc/sys/net/core/somaxconn").strip() == "4096"
    assert "[never]" in vm.sh("cat /sys/kernel/mm/transparent_hugepage/enabled")
    system = vm.sh("redis-server --check-system; true")
    assert re.search(r"\[overcommit\]\W+OK", system), system
    assert re.search(r"\[THP\]\W+OK", system), system


def test_the_kernel_is_tuned_live(machine: Machine) -> None:
    assert_tuned(machine.vm)


def test_a_captured_role_harms_no_other(machine: Machine) -> None:
    found = got_through(machine.vm.sh(attack(int(machine.vm.sh("systemctl show -P MainPID redis-crypto")))))
    assert found.pop("lives") == "yes"
    assert {*HARMS, *FENCED} <= found.keys()
    assert {name: got for name, got in found.items() if got != "no"} == {}


@pytest.mark.soak
def test_only_whom_the_list_names_connects(machine: Machine) -> None:
    """What QEMU forwards comes from 172.28.2.254."""
    for networks, let_in in ((["10.0.0.0/8"], False), (["172.28.2.254"], True), (None, True)):
        machine.must("deploy.py", *overriding({"crypto": {"allow_from": networks}}))
        assert machine.answers("crypto") == let_in
        assert machine.answers("gateway")


def test_no_server_warns_about_its_system(machine: Machine) -> None:
    journal = machine.vm.sh("journalctl --no-pager -o cat -u 'redis-*'")
    assert "Ready to accept connections" in journal
    assert "WARNING" not in journal


def test_a_second_deploy_changes_nothing(machine: Machine) -> None:
    done = machine.must("deploy.py", "--json")
    assert json.loads(done.stdout)["results"]["totals"]["success"] == 0


def test_a_kernel_value_that_moved_is_reported_and_set_again(machine: Machine, tmp_path: Path) -> None:
    machine.vm.sh(
        "sysctl -qw vm.overcommit_memory=0; echo always >/sys/kernel/mm/transparent_hugepage/enabled;"
        "echo 'net.core.somaxconn = 128' >/etc/sysctl.d/99-other.conf"
    )
    report = tmp_path / "drift.json"
    try:
        assert machine.run("tasks/drift.py", "--data", f"drift_report={report}").returncode != 0
        found = json.loads(report.read_text())["hosts"]["vm"]["differences"]
        assert {(row["role"], row["subject"], row["name"]) for row in found} == {
            (None, "kernel", "vm.overcommit_memory"),
            (None, "kernel", "transparent_hugepage"),
            (None, "kernel", "net.core.somaxconn"),
        }
        somaxconn = next(row for row in found if row["name"] == "net.core.somaxconn")
        assert "128 at boot, by /etc/sysctl.d/99-other.conf" in somaxconn["observed"]
    finally:
        machine.vm.sh("rm /etc/sysctl.d/99-other.conf")
    machine.must("deploy.py")
    assert_tuned(machine.vm)


def test_everything_holds_over_a_reboot_with_a_link_that_comes_late(machine: Machine) -> None:
    with kept(machine, *ROLES):
        machine.vm.reboot(link_down_for=20)
        machine.wait()
        assert_tuned(machine.vm)
    machine.must("tasks/verify.py")


def test_a_power_cut_loses_no_acknowledged_write_of_crypto(machine: Machine) -> None:
    with kept(machine, "crypto"):
        with machine.operator("crypto") as operator:
            load_library(operator)
        with machine.client("crypto", TABLE["crypto"]["services"][0]) as service:
            for number in range(WRITTEN):
                numbers.write(service, "test:", number)
        machine.vm.power_cut()  # right after the last acknowledgement
        machine.vm.start()
        machine.wait()
        with machine.operator("crypto") as operator:
            assert numbers.lost(operator, "test:", range(WRITTEN)) == []
    machine.must("tasks/verify.py")


def drilled(machine: Machine, tmp_path: Path, *drills: str) -> None:
    """Every promise of these drills holds for both roles, and what services had written is there."""
    report = tmp_path / "rehearsal.json"
    asked = ("redis_rehearsal=true", f"drills={','.join(drills)}", f"rehearsal_report={report}")
    with kept(machine, *ROLES):
        machine.must("tasks/rehearse.py", *(word for value in asked for word in ("--data", value)))
        found = json.loads(report.read_text())
        assert {(item["drill"], item["role"]) for item in found["drills"]} == {
            (drill, role) for drill in drills for role in ROLES
        }
        assert found["not_run"] == []
        verified = machine.must("tasks/verify.py")
        assert "warning" not in output(verified)


@pytest.mark.soak
def test_a_full_disk_and_a_rewrite_without_memory_cost_what_the_table_says(machine: Machine, tmp_path: Path) -> None:
    drilled(machine, tmp_path, "disk_full", "rewrite_memory_short")


@pytest.mark.soak
def test_a_power_cut_costs_what_the_table_says(machine: Machine, tmp_path: Path) -> None:
    drilled(machine, tmp_path, "power")


@pytest.mark.soak
def test_reboots_under_writes_and_with_a_late_address_cost_nothing(machine: Machine, tmp_path: Path) -> None:
    drilled(machine, tmp_path, "reboot", "reboot_late_address")


def test_a_kernel_without_user_namespaces_is_named_and_no_server_is_restarted_under_it(
    machine: Machine, tmp_path: Path
) -> None:
    """PrivateUsers= of the units needs them: what runs goes on, and no start of it would succeed."""
    line = "user.max_user_namespaces = 0"
    pids = "systemctl show -P MainPID redis-gateway redis-crypto"
    before = machine.vm.sh(pids)
    machine.vm.sh(f"sysctl -qw '{line}'; echo '{line}' >/etc/sysctl.d/99-hard.conf")
    try:
        report = tmp_path / "drift.json"
        assert machine.run("tasks/drift.py", "--data", f"drift_report={report}").returncode != 0
        found = json.loads(report.read_text())["hosts"]["vm"]["differences"]
        assert [(row["name"], row["observed"].split(" at boot")[0], row["remedy"]) for row in found] == [
            ("user.max_user_namespaces", "0", "by hand: remove the line from /etc/sysctl.d/99-hard.conf")
        ] * 2
        done = machine.run("deploy.py", "--data", 'redis_overrides={"gateway": {"databases": 32}}')
        assert done.returncode != 0
        assert "user.max_user_namespaces" in output(done)
        assert machine.vm.sh(pids) == before
        assert "databases 16" in machine.vm.sh("cat /etc/redis/gateway.conf")
    finally:
        machine.vm.sh("rm /etc/sysctl.d/99-hard.conf; sysctl -qw user.max_user_namespaces=10000")
    machine.must("tasks/drift.py")

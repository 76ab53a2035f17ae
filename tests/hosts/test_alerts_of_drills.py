"""What a rehearsal's drills do to a machine shows in status within one run and raises exactly its alert.

Those that a container can bear, too, are in test_alerts.py.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
import redis

from tests.hosts.conftest import OF_MACHINE, TABLE, Machine, wait_for
from tests.hosts.dataset import numbers
from tests.hosts.dataset.ways import load_library
from tests.hosts.watching import Watched, watching
from tests.lab.vm_process import BOOT_ID

pytestmark = [pytest.mark.vm, pytest.mark.soak]

ROLE = "crypto"
UNIT = f"redis-{ROLE}.service"
SERVICE = TABLE[ROLE]["services"][0]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watching(tmp_path_factory.mktemp("prometheus")) as found:
        yield found


def raises(machine: Machine, watched: Watched, *expected: str) -> str:
    """One run of status, and exactly these alerts fire. What it printed."""
    return watched.raises(partial(machine.run, "tasks/status.py"), *expected)


def written(machine: Machine, count: int = 60) -> None:
    """Services of both roles have written in every way."""
    for role in OF_MACHINE:
        with machine.operator(role) as operator, machine.client(role, TABLE[role]["services"][0]) as service:
            load_library(operator)
            for number in range(count):
                numbers.write(service, "test:", number)


def test_a_machine_that_is_well_raises_none(machine: Machine, watched: Watched) -> None:
    raises(machine, watched)


def test_a_reboot_is_a_host_that_is_not_seen_and_nothing_more_when_it_is_back(
    machine: Machine, watched: Watched
) -> None:
    written(machine)
    vm = machine.vm
    before = vm.sh(f"cat {BOOT_ID}").strip()
    vm.call("systemctl --no-block reboot")
    vm.set_link(False)  # until status has looked, however fast it boots
    try:
        assert "critical vm: unreachable: " in raises(machine, watched, "RedisHostNotSeen")
    finally:
        vm.set_link(True)
    vm.await_boot(other_than=before)
    machine.wait()
    raises(machine, watched)


def test_a_power_cut_is_a_host_that_is_not_seen_and_then_at_most_a_log_that_was_cut(
    machine: Machine, watched: Watched
) -> None:
    written(machine)
    machine.vm.power_cut()
    try:
        assert "critical vm: unreachable: " in raises(machine, watched, "RedisHostNotSeen")
    finally:
        machine.vm.start()
    machine.wait()
    journals = {role: machine.vm.sh(f"journalctl --no-pager -o cat -b -u redis-{role}.service") for role in OF_MACHINE}
    cut = [role for role, said in journals.items() if "!!! Truncating the AOF" in said]
    shown = raises(machine, watched, *(["RedisLogCutOff"] if cut else []))
    assert [role for role in OF_MACHINE if re.search(rf"{role}: .*end of the log", shown)] == cut
    machine.must("deploy.py")
    raises(machine, watched)


LATE = "late-address.service"
LATE_UNIT = """[Unit]
Wants=network-online.target
After=network-online.target
Before={unit}
[Service]
Type=exec
ExecStartPre=/bin/sh -c 'ip addr del {network} dev {device}'
ExecStart=/bin/sh -c 'n=0; while [ ! -e /run/let-it-come ] && [ $n -lt 600 ]; do sleep 1; n=$((n+1)); done; \
ip addr add {network} dev {device}'
[Install]
WantedBy=multi-user.target
"""


def test_an_address_that_comes_late_after_a_reboot_is_a_role_that_is_down_until_then(
    machine: Machine, watched: Watched
) -> None:
    vm, address = machine.vm, TABLE[ROLE]["address"]
    found = re.search(rf"^\d+: (\S+) +inet ({re.escape(address)}/\d+) ", vm.sh("ip -o -4 addr"), re.MULTILINE)
    assert found
    text = LATE_UNIT.format(unit=UNIT, device=found[1], network=found[2])
    vm.sh(f"cat >/etc/systemd/system/{LATE}; systemctl daemon-reload; systemctl enable -q {LATE}", input=text)
    try:
        vm.reboot()
        wait_for(lambda: vm.sh(f"systemctl show -P NRestarts {UNIT}").strip() != "0", "it was started again", 120)
        wait_for(lambda: machine.answers("gateway"), "the other role is up", 120)
        assert f"critical {ROLE}: " in raises(machine, watched, "RedisDown")
        vm.sh("touch /run/let-it-come")
        machine.wait()
    finally:
        vm.sh(f"touch /run/let-it-come; systemctl disable -q {LATE}; rm /etc/systemd/system/{LATE}")
    raises(machine, watched, "RedisCrashedWarning")  # that it took more than one start is said for an hour
    vm.sh(f"systemctl daemon-reload; systemctl reset-failed {UNIT}")
    raises(machine, watched)


def test_a_full_disk_is_one_alert_of_the_host_also_where_a_server_ends_by_it(
    machine: Machine, watched: Watched
) -> None:
    vm = machine.vm
    written(machine)
    vm.sh("fallocate -l $(($(df -k --output=avail /var/lib/redis | tail -n1) - 256))K /var/lib/ballast; sync")
    try:
        for role in OF_MACHINE:
            with machine.client(role, TABLE[role]["services"][0]) as writer, suppress(redis.exceptions.RedisError):
                for number in range(40):
                    writer.set(f"test:fill:{number}", "x" * 65536, ex=3600)
        assert "DISK-FULL" in raises(machine, watched, "RedisDiskFull")
    finally:
        vm.sh("rm -f /var/lib/ballast")
    machine.wait()
    vm.sh("systemctl reset-failed 'redis-*'")
    machine.must("deploy.py")
    for role in OF_MACHINE:
        with machine.operator(role) as operator:
            operator.config_resetstat()
    raises(machine, watched)


def test_a_rewrite_for_which_memory_is_short_is_one_alert_and_its_server_runs_on(
    machine: Machine, watched: Watched
) -> None:
    """As much as every key again is asked of a unit that may take a fraction of it: the kernel ends the child."""
    vm = machine.vm
    pid = vm.sh(f"systemctl show -P MainPID {UNIT}")
    group = f"/sys/fs/cgroup{vm.sh(f'systemctl show -P ControlGroup {UNIT}').strip()}"
    with machine.operator(ROLE) as operator:
        keys = [f"test:ballast:{number}" for number in range(40)]
        for key in keys:
            operator.set(key, "x" * (1 << 20))
        operator.config_set("rdb-key-save-delay", 500_000)
        try:
            operator.bgrewriteaof()
            wait_for(lambda: operator.info("persistence")["aof_rewrite_in_progress"], "it rewrites its log", 60)
            vm.sh(f"echo $(($(sed -n 's/^anon //p' {group}/memory.stat) + {12 << 20})) >{group}/memory.max")
            for key in keys:
                operator.setrange(key, 0, "y" * (1 << 20))
            wait_for(lambda: not operator.info("persistence")["aof_rewrite_in_progress"], "the rewrite has ended", 120)
        finally:
            vm.sh(f"echo max >{group}/memory.max")
            operator.config_set("rdb-key-save-delay", 0)
        assert operator.info("persistence")["aof_last_bgrewrite_status"] == "err"
        raises(machine, watched, "RedisLogBroken")
        assert vm.sh(f"systemctl show -P MainPID {UNIT}") == pid
        operator.bgrewriteaof()
        wait_for(lambda: operator.info("persistence")["aof_last_bgrewrite_status"] == "ok", "it is rewritten", 120)
        operator.delete(*keys)
    raises(machine, watched)

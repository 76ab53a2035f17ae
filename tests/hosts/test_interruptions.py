"""Deploys that are interrupted: nothing acknowledged is lost, no half file is seen, and the next deploy finishes."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.hosts.clients import can_connect
from tests.hosts.conftest import Tier, output, overriding, wait_for
from tests.hosts.every_way import kept
from tests.hosts.faults import (
    FORGIVEN,
    KINDS,
    Fault,
    Whole,
    assert_nothing_left,
    break_once,
    broken_off,
    digests,
    every_fault,
    planned,
    share_of,
    some_faults,
)
from tests.hosts.writer import with_keys, writing
from tests.lab.container import Container
from tests.lab.containers import ContainerLab, HostSpec
from tests.lab.debian import Suite

pytestmark = pytest.mark.hosts

SILENCE = 30  # seconds that an operator may wait for a connection that says nothing any more
LOCK = "/run/caas-redis/deploy.lock"
LOCAL = "Save generated passwords on the controller"  # the one operation without a remote command


AS_ADMIN = ("--ssh-user", "admin", "--sudo")
HOSTS: dict[str, tuple[Suite, tuple[str, ...]]] = {
    "debian 12, root": ("bookworm", ()),
    "debian 13, sudo": ("trixie", AS_ADMIN),
}
# Every fault on one kind of host, every kind of host with two faults.
FIRST_DEPLOYS = [
    pytest.param("debian 12, root", "kill before", id="kill before, debian 12, root"),
    pytest.param("debian 12, root", "fail", id="fail, debian 12, root"),
    pytest.param("debian 13, sudo", "kill during", id="kill during, debian 13, sudo"),
    pytest.param("debian 13, sudo", "drop", id="drop, debian 13, sudo"),
]


@pytest.fixture(scope="module")
def one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """One host of a kind, for the role crypto."""
    suite, options = HOSTS[request.param]
    with ContainerLab([HostSpec("redis-crypto", ("172.28.2.5",), suite)]) as lab:
        secrets = tmp_path_factory.mktemp("interruptions") / "secrets.yaml"
        yield Tier(lab, "inventory/prod.py", secrets, ("--limit", "redis-crypto", *options))


@pytest.fixture
def bare(one: Tier) -> Tier:
    """The host as Debian installed it, unknown to the controller."""
    one.host("crypto").reset()
    one.secrets.unlink(missing_ok=True)
    return one


# --- A first deploy


@pytest.mark.parametrize(("one", "kind"), FIRST_DEPLOYS, indirect=["one"])
def test_a_first_deploy_broken_again_and_again_is_finished_by_the_next(bare: Tier, kind: str) -> None:
    operations = [name for name in share_of(kind, planned(bare)) if kind != "fail" or name not in (LOCAL, FORGIVEN)]
    files = Whole(bare.host("crypto"))
    for fault in some_faults(bare, kind, "a first deploy", operations=operations):
        files.look(str(fault))
    files.check()
    assert_nothing_left(bare)


@pytest.mark.soak
@pytest.mark.parametrize(("one", "kind"), FIRST_DEPLOYS, indirect=["one"])
def test_a_first_deploy_broken_at_every_operation_is_finished_by_the_next(bare: Tier, kind: str) -> None:
    plan = planned(bare)
    files = Whole(bare.host("crypto"))
    broken = []
    for fault in every_fault(bare, kind, "a first deploy"):
        files.look(str(fault))
        broken.append(fault.operation)
    assert [name for name in plan if name not in broken] == ([LOCAL, FORGIVEN] if kind == "fail" else [])
    files.check()
    assert files.halves > 0 or kind != "kill during"  # else the fault is too late to prove anything about files
    assert_nothing_left(bare)


# --- A change of a running tier

CHANGE: dict[str, dict[str, Any]] = {
    "gateway": {"maxmemory": "300mb"},  # live
    "socket": {"port": 7380},  # live, and the inner port's rules
    "shared": {"purpose": "Another purpose"},  # its unit, so a restart
    "compliance": {"inner_port": None},  # the inner port's rules
    "crypto": {"databases": 32},  # a restart
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_broken_again_and_again_loses_no_write_and_is_finished_by_the_next(onebox: Tier, kind: str) -> None:
    change = overriding(CHANGE)
    operations = share_of(kind, planned(onebox, *change))
    assert_nothing_lost(onebox, kind, some_faults(onebox, kind, "a change", *change, operations=operations))


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_a_change_broken_at_every_operation_loses_no_write_and_is_finished_by_the_next(onebox: Tier, kind: str) -> None:
    change = overriding(CHANGE)
    plan = planned(onebox, *change)
    broken = assert_nothing_lost(onebox, kind, every_fault(onebox, kind, "a change", *change))
    assert [name for name in plan if name not in broken] == []


def assert_nothing_lost(onebox: Tier, kind: str, faults: Iterable[Fault]) -> list[str]:
    """Clients write while CHANGE is broken by `faults` and then made, and lose nothing; returns what was broken."""
    change = overriding(CHANGE)
    files = Whole(onebox.host("crypto"))
    scenario = f"a change, {kind} at operations"
    broken = []
    with (
        kept(onebox, *CHANGE),
        writing(onebox, "crypto", scenario) as restarted,
        writing(onebox, "gateway", scenario) as live,
    ):
        for fault in faults:
            files.look(str(fault))
            assert restarted.lost(onebox) == [], fault
            broken.append(fault.operation)
        assert_nothing_left(onebox, *change)
        files.check()
        assert restarted.report().interruptions == 1
        assert live.report().failed == 0
        onebox.deploy()
        assert_nothing_left(onebox)
    return broken


def test_a_deploy_killed_while_a_first_log_is_written_is_finished_by_the_next(onebox: Tier) -> None:
    onebox.deploy(*overriding({"gateway": {"appendonly": False}}))
    with kept(onebox, "gateway"), with_keys(onebox, "gateway"), onebox.operator("gateway") as client:
        client.config_set("rdb-key-save-delay", 150)  # microseconds a key: three seconds
        try:
            assert break_once(onebox, "kill during", at="Change settings and users live").label
            assert client.info("persistence")["aof_rewrite_in_progress"]
            done = onebox.run("deploy.py")
        finally:
            client.config_set("rdb-key-save-delay", 0)
            wait_for(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "the first log is written")
            onebox.deploy()
    assert done.returncode == 0, output(done)


# --- The network


def test_a_deploy_whose_network_is_cut_goes_on_when_it_is_back(onebox: Tier) -> None:
    change = overriding({"gateway": {"maxmemory": "300mb"}})
    with broken_off(onebox, "cut", "Write the instances' files", *change) as deploy:
        wait_for(lambda: not can_connect(onebox.lab.netns, "172.28.2.1", 22), "nothing gets through")
        connect_again(onebox)
        done = deploy.finish()
    assert done.returncode == 0, output(done)
    assert_nothing_left(onebox, *change)
    onebox.deploy()


def test_a_deploy_whose_network_stays_cut_ends_soon_and_the_host_is_free_again(onebox: Tier) -> None:
    change = overriding({"gateway": {"maxmemory": "300mb"}})
    with broken_off(onebox, "cut", "Write the instances' files", *change) as deploy:
        try:
            done = deploy.finish(timeout=SILENCE + 15)
        finally:
            connect_again(onebox)
    assert done.returncode == 1
    assert "Traceback" not in output(done), output(done)
    assert "[redis-1] the connection broke, a command may still run there: run the same command" in output(done)
    host = onebox.host("gateway")
    wait_for(lambda: host.call(f"flock -n {LOCK} true").returncode == 0, "nobody holds the host", SILENCE + 15)
    onebox.deploy(*change)
    assert_nothing_left(onebox, *change)
    onebox.deploy()


def connect_again(tier: Tier) -> None:
    subprocess.run(["ip", "-n", tier.lab.netns, "link", "set", "br0", "up"], check=True)
    wait_for(lambda: can_connect(tier.lab.netns, "172.28.2.1", 22), "the host can be reached again")


# --- The disk


@contextmanager
def small_disk(host: Container, directory: str, spare: int, unit: str = "") -> Iterator[str]:
    """A directory of the host lies on a file system of its own, with `spare` kB free; yields what fills that up.

    Afterwards the directory is as it was before. `unit` is stopped while it is moved, and started again.
    """
    beside = f"/run/small{directory}"
    size = f"$(($(du -sk {directory} | cut -f1) + {spare}))k"
    host.sh(f"mkdir -p {beside} && mount -t tmpfs -o size={size} tmpfs {beside}")
    host.sh(f"[ -z '{unit}' ] || systemctl stop {unit}; cp -a {directory}/. {beside}")
    host.sh(f"for as in chown chmod; do $as --reference={directory} {beside}; done; mount --bind {beside} {directory}")
    try:
        host.sh(f"[ -z '{unit}' ] || systemctl start {unit}")
        yield f"cat /dev/zero >{beside}/filler 2>/dev/null || true"
    finally:
        host.sh(f"rm -f {beside}/filler; [ -z '{unit}' ] || systemctl stop {unit}; umount {directory} {beside}")
        host.sh(f"[ -z '{unit}' ] || systemctl start {unit}")


def test_a_full_disk_truncates_no_file_and_the_next_deploy_finishes(onebox: Tier) -> None:
    host, change = onebox.host("gateway"), overriding(CHANGE)
    with small_disk(host, "/etc/redis", 128) as fill:
        files = Whole(host)
        host.sh(fill)
        done = onebox.run("deploy.py", *change)
        assert done.returncode != 0
        assert "No space left on device" in output(done), output(done)
        files.look("with a full disk")
        host.sh("rm /etc/redis/filler")
        onebox.deploy(*change)
        files.check()
        assert_nothing_left(onebox, *change)
        onebox.deploy()


def test_an_instance_whose_disk_is_full_is_not_restarted_and_loses_nothing(onebox: Tier) -> None:
    host, change = onebox.host("gateway"), overriding({"gateway": {"databases": 32}})
    data = "/var/lib/redis/gateway"
    with small_disk(host, data, 128 * 1024, "redis-gateway") as fill:
        scenario = "a restart while the disk is full, then with a free one"
        with kept(onebox, "gateway"), writing(onebox, "gateway", scenario) as writer:
            before = onebox.pid("gateway")
            host.sh(fill)
            wait_for(lambda: any("MISCONF" in text for text in writer.report().errors), "the server cannot write")
            done = onebox.run("deploy.py", *change)
            assert done.returncode != 0
            assert "not restarted: aof_last_write_status is err, expected ok: free disk" in output(done)
            assert onebox.pid("gateway") == before
            host.sh(f"rm {data}/filler")
            so_far = writer.report().acknowledged
            wait_for(lambda: writer.report().acknowledged > so_far, "the server writes again")
            onebox.deploy(*change)
            assert onebox.pid("gateway") != before
        assert_nothing_left(onebox, *change)
        onebox.deploy()


# --- Two deploys


def test_a_second_deploy_is_told_who_holds_the_host_and_since_when_and_changes_nothing(onebox: Tier) -> None:
    host = onebox.host("crypto")
    with broken_off(onebox, "pause", "Write the instances' files", *overriding({"crypto": {"databases": 32}})) as first:
        before = digests(host), onebox.pid("gateway"), onebox.pid("crypto")
        second = onebox.run("deploy.py", *overriding({"gateway": {"databases": 32}}))
        after = digests(host), onebox.pid("gateway"), onebox.pid("crypto")
        first.go_on()
        done = first.finish()
        onebox.deploy()
    assert done.returncode == 0, output(done)
    assert second.returncode != 0
    since = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    holder = rf"another deploy holds this host: process \d+ \(\w+\) of root, \S+@\S+, process \d+, {since}"
    assert re.search(holder, output(second)), output(second)
    assert "Traceback" not in output(second)
    assert after == before

"""A role that has run on a host does not begin empty because its disk is not there; when the disk comes, it serves."""

import re
from collections.abc import Iterator

import pytest

from tests.hosts.conftest import Tier, output, wait_for
from tests.lab.containers import ContainerLab
from tests.lab.layouts import HostSpec

pytestmark = pytest.mark.hosts

ROLE, ADDRESS = "crypto", "172.28.2.5"
UNIT = f"redis-{ROLE}.service"
DIRECTORY = f"/var/lib/redis/{ROLE}"
RECORD = f"/var/lib/caas-redis/{ROLE}"
DISK = "/srv/disk"  # stands for a disk: bound to the directory
MOUNT = f"mount --bind {DISK} {DIRECTORY}"


@pytest.fixture(scope="module", params=["bookworm", pytest.param("trixie", marks=pytest.mark.soak)])
def tier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """crypto alone on a host, its data on a disk of its own, with a key in it."""
    with ContainerLab([HostSpec(f"redis-{ROLE}", (ADDRESS,), request.param)]) as lab:
        secrets = tmp_path_factory.mktemp("gone") / "secrets.yaml"
        tier = Tier(lab, "inventory/prod.py", secrets, ("--limit", f"redis-{ROLE}"))
        tier.host(ROLE).sh(f"install -d {DISK} {DIRECTORY} && {MOUNT}")
        tier.deploy()
        with tier.operator(ROLE) as operator:
            operator.set("test:kept", "yes")
        yield tier


@pytest.fixture
def without_disk(tier: Tier) -> Iterator[Tier]:
    """The server was stopped and its disk taken away; afterwards it serves from it again."""
    host = tier.host(ROLE)
    host.sh(f"systemctl stop {UNIT}; umount {DIRECTORY}")
    yield tier
    host.sh(f"systemctl stop {UNIT}; findmnt {DIRECTORY} || {MOUNT}; systemctl start {UNIT}")
    tier.deploy()
    assert kept(tier)


def kept(tier: Tier) -> bool:
    with tier.operator(ROLE) as operator:
        return bool(operator.get("test:kept") == "yes")


def test_a_role_that_runs_has_a_record_that_only_root_can_change(tier: Tier) -> None:
    host = tier.host(ROLE)
    assert host.sh(f"stat -c '%U %a' /var/lib/caas-redis {RECORD}") == "root 700\nroot 644\n"
    host.sh(f"rm {RECORD}")
    pid = tier.pid(ROLE)
    assert tier.run("tasks/drift.py").returncode != 0
    tier.deploy()
    assert host.sh(f"stat -c '%U %a' {RECORD}") == "root 644\n"
    assert tier.pid(ROLE) == pid


def test_a_deploy_that_finds_no_data_is_refused_and_changes_nothing(without_disk: Tier) -> None:
    host = without_disk.host(ROLE)
    done = without_disk.run("deploy.py")
    assert done.returncode != 0
    assert f"{DIRECTORY}: gone, the directory is empty" in output(done)
    assert "begin_empty=crypto" in output(done)
    assert host.sh(f"ls {DIRECTORY}; systemctl is-active {UNIT} || true").strip() == "inactive"
    host.sh(f"rmdir {DIRECTORY}")
    assert without_disk.run("deploy.py").returncode != 0
    assert host.call(f"ls {DIRECTORY}").returncode != 0
    host.sh(f"install -d {DIRECTORY}")


def test_a_disk_that_comes_late_is_found_by_the_unit_itself(without_disk: Tier) -> None:
    host = without_disk.host(ROLE)
    host.sh(f"systemctl start {UNIT} || true")
    said = f"journalctl -o cat -u {UNIT}"
    wait_for(lambda: "mount its disk or restore it" in host.sh(said), "the journal says what to do")
    restarts = f"systemctl show -P NRestarts {UNIT}"
    wait_for(lambda: int(host.sh(restarts)) >= 2, "it tries again")
    assert host.sh(f"ls {DIRECTORY}") == ""
    host.sh(MOUNT)
    wait_for(lambda: without_disk.answers(ROLE), "it serves")
    assert kept(without_disk)


def test_a_disk_that_is_late_at_a_boot_is_found_by_the_unit_itself(without_disk: Tier) -> None:
    host = without_disk.host(ROLE)
    host.stop()
    host.boot()
    wait_for(lambda: "mount its disk" in host.sh(f"journalctl -b -o cat -u {UNIT}"), "the journal says what to do")
    assert not without_disk.answers(ROLE)
    host.sh(MOUNT)
    wait_for(lambda: without_disk.answers(ROLE), "it serves")
    assert kept(without_disk)


def test_a_role_that_is_to_begin_without_its_data_does_and_is_guarded_again(without_disk: Tier) -> None:
    host = without_disk.host(ROLE)
    without_disk.deploy("--data", f"begin_empty={ROLE}")
    assert not kept(without_disk)
    assert host.sh(f"stat -c '%U %a' {RECORD}") == "root 644\n"
    host.sh(f"systemctl stop {UNIT}; rm -r {DIRECTORY}/appendonlydir {DIRECTORY}/dump.rdb")
    assert without_disk.run("deploy.py").returncode != 0


def test_a_unit_that_learned_to_ask_does_not_restart_the_server(tier: Tier) -> None:
    """As on a host that was deployed before: the unit's file has none of these lines, its process goes on."""
    host, pid = tier.host(ROLE), tier.pid(ROLE)
    host.sh(f"sed -i '/^ExecStartPre=/d' /etc/systemd/system/{UNIT}; systemctl daemon-reload; rm {RECORD}")
    tier.deploy()
    assert "ExecStartPre=" in host.sh(f"cat /etc/systemd/system/{UNIT}")
    assert tier.pid(ROLE) == pid


# --- Storage behind a link


def test_storage_behind_a_link_is_refused_and_the_mount_that_is_named_instead_keeps_the_data(tier: Tier) -> None:
    host = tier.host(ROLE)
    host.sh(f"systemctl stop {UNIT}; umount {DIRECTORY}; rmdir {DIRECTORY}; ln -s {DISK} {DIRECTORY}")
    done = tier.run("deploy.py")
    assert done.returncode != 0
    way = re.search(r"add the line '([^']*)' to /etc/fstab", output(done))
    assert way is not None
    assert way[1] == f"{DISK} {DIRECTORY} none bind 0 0"
    assert host.sh(f"readlink {DIRECTORY}") == f"{DISK}\n"
    host.sh(f"rm {DIRECTORY} && mkdir {DIRECTORY}; echo '{way[1]}' >>/etc/fstab; mount {DIRECTORY}")
    tier.deploy()
    assert kept(tier)
    assert tier.deploy_json()["results"]["totals"]["success"] == 0
    host.sh("sed -i '/ none bind 0 0$/d' /etc/fstab; systemctl daemon-reload")


def test_a_link_in_the_place_of_all_storage_is_refused_and_no_server_touched(tier: Tier) -> None:
    host, pid = tier.host(ROLE), tier.pid(ROLE)
    host.sh("mv /var/lib/redis /srv/redis && ln -s /srv/redis /var/lib/redis")
    try:
        done = tier.run("deploy.py")
        assert done.returncode != 0
        assert "/var/lib/redis: a link to /srv/redis, expected a directory" in output(done)
        assert tier.pid(ROLE) == pid
    finally:
        host.sh("rm /var/lib/redis && mv /srv/redis /var/lib/redis")
    tier.deploy()
    assert tier.pid(ROLE) == pid

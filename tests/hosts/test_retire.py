"""A role taken off a host: stopped and removed, its data kept and its place printed; deleted only by purge."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from tests.hosts.clients import can_connect
from tests.hosts.conftest import TABLE, Tier, layout, operations, output, wait_for
from tests.hosts.dataset.capture import Dataset
from tests.hosts.every_way import changes, write
from tests.lab.containers import ContainerLab

pytestmark = pytest.mark.hosts


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """One host with the addresses of all roles; each test says which of them it carries."""
    with ContainerLab(layout("onebox", "bookworm")) as lab:
        directory = tmp_path_factory.mktemp("retire")
        yield Tier(lab, str(directory / "box.py"), directory / "secrets.yaml")


def carrying(tier: Tier, *roles: str) -> Tier:
    """The tier with an inventory in which its host carries these roles, or is in a group of no role."""
    groups = [f"redis_{role}" for role in roles] or ["spare"]
    host = '[("redis-1", {"ssh_hostname": "172.28.2.1", "ssh_user": "root"})]'
    inventory = Path(tier.inventory)
    # Another host with a role: an inventory without any is refused. No test contacts it.
    elsewhere = "" if roles else 'redis_gateway = [("elsewhere", {"ssh_hostname": "172.28.2.77"})]\n'
    inventory.write_text("".join(f"{group} = {host}\n" for group in groups) + elsewhere)
    return replace(tier, options=("--limit", "redis-1"))


@pytest.fixture(scope="module")
def held() -> dict[str, Dataset]:
    """What roles hold since the first test."""
    return {}


def of_role(tier: Tier, role: str) -> str:
    """What the host has of a role beside its data."""
    return tier.lab.hosts["redis-1"].sh(
        f"ls /etc/redis/{role}.* /etc/systemd/system/redis-{role}.service /run/redis-{role} "
        f"/etc/systemd/system/*/redis-{role}.service 2>/dev/null || true"
    )


def test_a_role_taken_off_its_host_is_removed_and_the_place_of_its_data_is_printed(
    box: Tier, held: dict[str, Dataset]
) -> None:
    both = carrying(box, "gateway", "crypto")
    both.deploy()
    held |= {role: write(both, role) for role in ("gateway", "crypto")}
    before = both.pid("crypto")
    one = carrying(box, "crypto")
    plan = output(one.run("deploy.py", "--dry", yes=False))
    assert "gateway: unit redis-gateway.service: active, with data in /var/lib/redis/gateway → absent" in plan
    assert both.pid("gateway")
    done = one.deploy()
    assert "gateway: its data is kept in /var/lib/redis/gateway (" in output(done)
    assert "--data purge=gateway deletes it" in output(done)
    assert of_role(one, "gateway") == ""
    assert not can_connect(box.lab.netns, "172.28.2.1", TABLE["gateway"]["port"])
    assert one.pid("crypto") == before
    assert "appendonlydir" in box.lab.hosts["redis-1"].sh("ls /var/lib/redis/gateway")


LOOPS = {
    "that has written nothing": ("while true do end", "gateway: ended a script that had written nothing"),
    "that has written": ("redis.call('SET', KEYS[1], 'x') while true do end", "(UNKILLABLE)"),
}


@pytest.mark.parametrize("script", LOOPS)
def test_a_script_keeps_a_role_that_leaves_no_longer_than_is_said(box: Tier, script: str) -> None:
    loop, said = LOOPS[script]
    both = carrying(box, "gateway", "crypto")
    both.deploy()
    service = both.client("gateway", "gateway")
    connection = service.connection_pool.get_connection()
    connection.send_command("EVAL", loop, 1, "caas-verify:loop")  # type: ignore[no-untyped-call]
    wait_for(lambda: both.is_busy("gateway"), "the script is said to be slow")
    one = carrying(box, "crypto")
    done = one.run("deploy.py")
    assert said in output(done)
    assert (done.returncode == 0) == ("ended" in said)
    if done.returncode:
        assert "its process is R" in output(done)
        with both.client("gateway", "operator") as operator, suppress(redis.exceptions.ConnectionError):
            operator.shutdown(nosave=True)
        one.deploy()
    connection.disconnect()  # type: ignore[no-untyped-call]


def test_kept_data_is_no_difference(box: Tier) -> None:
    one = carrying(box, "crypto")
    again = one.deploy_json()
    assert again["results"]["totals"]["success"] == 0
    for file in ("tasks/verify.py", "tasks/drift.py"):
        done = one.run(file)
        assert done.returncode == 0, output(done)


def test_a_role_that_comes_back_has_all_its_data(box: Tier, held: dict[str, Dataset]) -> None:
    both = carrying(box, "gateway", "crypto")
    both.deploy()
    assert changes(both, "gateway", held["gateway"]) == []


@pytest.mark.parametrize("name", ["..", "/", "../crypto", ".", "gateway/../crypto", "gateway;crypto", "-rf"])
def test_a_name_that_could_lead_elsewhere_is_refused_before_any_contact(box: Tier, name: str) -> None:
    done = carrying(box, "gateway", "crypto").run("deploy.py", "--data", f"purge={name}")
    assert done.returncode != 0
    assert "redis-1: purge: expected the name of a role" in output(done)
    assert "Connected" not in output(done)
    assert "Traceback" not in output(done)


def test_the_data_of_a_role_that_the_host_carries_is_never_purged(box: Tier, held: dict[str, Dataset]) -> None:
    both = carrying(box, "gateway", "crypto")
    done = both.run("deploy.py", "--data", "purge=gateway")
    assert done.returncode != 0
    assert "redis-1: gateway: purge=gateway: this host carries gateway" in output(done)
    assert changes(both, "gateway", held["gateway"]) == []


def test_a_name_that_no_host_has_data_of_deletes_nothing_and_is_told(box: Tier) -> None:
    done = carrying(box, "gateway", "crypto").deploy("--data", "purge=gatway")
    assert "note: purge=gatway: no host of this run has /var/lib/redis/gatway: nothing to delete" in output(done)
    assert operations(done) == ["Prove the tier"]


def test_the_log_of_a_server_in_the_parent_directory_is_no_role_s_data(box: Tier) -> None:
    host = box.lab.hosts["redis-1"]
    host.sh("mkdir /var/lib/redis/appendonlydir; touch /var/lib/redis/appendonlydir/appendonly.aof.manifest")
    try:
        done = carrying(box, "gateway", "crypto").run("deploy.py", "--data", "purge=appendonlydir")
        assert done.returncode != 0
        assert "/var/lib/redis/appendonlydir is the append-only log of a server" in output(done)
        assert host.sh("ls /var/lib/redis/appendonlydir")
    finally:
        host.sh("rm -r /var/lib/redis/appendonlydir")


def test_a_retired_role_is_purged_by_name_in_the_same_run_and_only_then(box: Tier, held: dict[str, Dataset]) -> None:
    one, host = carrying(box, "crypto"), box.lab.hosts["redis-1"]
    plan = output(one.run("deploy.py", "--dry", "--data", "purge=gateway", yes=False))
    assert "gateway: persistence /var/lib/redis/gateway: " in plan
    assert "(delete its data)" in plan
    assert "appendonlydir" in host.sh("ls /var/lib/redis/gateway")
    done = one.deploy("--data", "purge=gateway")
    assert host.sh("ls /var/lib/redis").split() == ["crypto"]
    assert "is kept in" not in output(done)
    assert changes(one, "crypto", held["crypto"]) == []
    assert one.deploy_json("--data", "purge=gateway")["results"]["totals"]["success"] == 0


def test_data_that_a_process_still_uses_is_not_deleted(box: Tier) -> None:
    one, host = carrying(box, "crypto"), box.lab.hosts["redis-1"]
    host.sh("mkdir /var/lib/redis/old; touch /var/lib/redis/old/dump.rdb")
    host.sh("systemd-run --quiet --unit=user-of-old --property=WorkingDirectory=/var/lib/redis/old sleep 300")
    try:
        done = one.run("deploy.py", "--data", "purge=old")
        assert done.returncode != 0
        assert "/var/lib/redis/old: in use by /proc/" in output(done)
        assert host.sh("ls /var/lib/redis/old").split() == ["dump.rdb"]
    finally:
        host.sh("systemctl stop user-of-old")
    one.deploy("--data", "purge=old")
    assert host.sh("ls /var/lib/redis").split() == ["crypto"]


def test_a_host_that_lost_its_last_role_is_drifted_until_a_deploy(box: Tier) -> None:
    carrying(box, "crypto", "socket").deploy()
    none = carrying(box)
    for file in ("tasks/verify.py", "tasks/drift.py"):
        done = none.run(file)
        assert done.returncode != 0
        assert "redis-crypto.service" in output(done)


def test_nothing_that_acts_is_left_on_a_host_without_roles(box: Tier) -> None:
    none, host = carrying(box), box.lab.hosts["redis-1"]
    done = none.deploy()
    assert "crypto: its data is kept in /var/lib/redis/crypto (" in output(done)
    for role in ("crypto", "socket"):
        assert of_role(none, role) == ""
    assert host.sh("nft list tables") == ""
    assert host.sh("systemctl list-units --plain --no-legend 'redis-*'") == ""
    assert host.sh("ls /etc/systemd/system/redis-*").split() == ["/etc/systemd/system/redis-server.service"]
    assert host.sh("ls /var/lib/redis").split() == ["crypto", "socket"]
    assert host.sh("systemctl is-enabled redis-server.service", check=False).strip() == "masked"


def test_a_host_without_roles_is_right_when_nothing_is_left(box: Tier) -> None:
    none = carrying(box)
    assert none.deploy_json()["results"]["totals"]["success"] == 0
    for file in ("tasks/verify.py", "tasks/drift.py"):
        done = none.run(file)
        assert done.returncode == 0, output(done)
    assert none.run("tasks/endpoints.py").returncode != 0  # nothing to show


def test_the_last_role_comes_back_with_all_its_data(box: Tier, held: dict[str, Dataset]) -> None:
    one = carrying(box, "crypto")
    one.deploy()
    assert changes(one, "crypto", held["crypto"]) == []


def test_a_host_that_never_had_a_role_gets_nothing(tmp_path: Path) -> None:
    with ContainerLab(layout("prod", "bookworm")[:1]) as lab:
        tier = carrying(Tier(lab, str(tmp_path / "box.py"), tmp_path / "secrets.yaml"))
        host = lab.hosts["redis-gateway"]
        before = host.sh("dpkg-query -W | sha256sum; ls -R /etc /var/lib | sha256sum")
        done = tier.deploy()
        assert operations(done) == []
        assert host.sh("dpkg-query -W | sha256sum; ls -R /etc /var/lib | sha256sum") == before

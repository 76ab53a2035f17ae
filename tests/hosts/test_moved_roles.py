"""A role that was moved to another host, or renamed: it never begins empty unasked, and the old server ends last."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.hosts.clients import can_connect
from tests.hosts.conftest import Tier, layout, operations, output, overriding
from tests.hosts.placing import ADDRESS, NEW, OLD, at, placed
from tests.lab.containers import ContainerLab
from tests.tree import copy_of_tree

pytestmark = pytest.mark.hosts

KEYS = {f"kept:{number}": str(number) for number in range(300)}
BEGIN_EMPTY = ("--data", "begin_empty=crypto")
UNIT = "/etc/systemd/system/redis-crypto.service.d/test.conf"


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[Tier]:
    """Role crypto on the first of two hosts, with keys; socket on the second, so that it is no empty host."""
    with ContainerLab(layout("prod", "bookworm")[:2]) as lab:
        tier = placed(Tier(lab, str(tmp_path / "two.py"), tmp_path / "secrets.yaml"), crypto=OLD, socket=NEW)
        tier.deploy()
        with at(tier, OLD) as known:
            assert known.mset(KEYS)
        yield tier


def serves_all(tier: Tier, host: str, pid: int) -> None:
    """The server that was there is still there, on both of its ports, with every key."""
    assert int(tier.lab.hosts[host].sh("systemctl show -P MainPID redis-crypto")) == pid
    for port in (6383, 6379):
        with at(tier, host, port) as known:
            assert known.mget(*KEYS) == list(KEYS.values())


def pid_of(tier: Tier, host: str) -> int:
    return int(tier.lab.hosts[host].sh("systemctl show -P MainPID redis-crypto"))


def words(tier: Tier, *options: str) -> str:
    """What a deploy says that is refused, the dry one the same."""
    done = tier.run("deploy.py", *options)
    assert done.returncode != 0
    dry = tier.run("deploy.py", "--dry", *options, yes=False)
    assert dry.returncode != 0
    found = {line.strip() for run in (done, dry) for line in output(run).splitlines() if "begin empty" in line}
    assert len(found) == 1, output(done)
    return found.pop()


def test_a_moved_role_begins_empty_only_when_that_is_meant(tier: Tier) -> None:
    pid = pid_of(tier, OLD)
    moved = placed(tier, crypto=NEW, socket=NEW)
    for options, moves in (((), True), (BEGIN_EMPTY, False)):
        plan = output(moved.run("deploy.py", "--dry", *options, yes=False))
        assert (f"move: crypto from {OLD} to {NEW}, 300 keys, " in plan) == moves
    serves_all(moved, OLD, pid)
    assert moved.lab.hosts[NEW].sh("ls /etc/redis/crypto.* 2>/dev/null || true") == ""

    # Nor does it end on its old host in a run that does not look at the new one.
    done = moved.run("deploy.py", "--limit", OLD)
    assert done.returncode != 0
    assert f"{OLD}: crypto: redis-crypto.service on {OLD} serves 172.28.2.1:6383: 300 keys" in output(done)
    assert f"and {NEW}, which the inventory gives the role to, is no part of this run" in output(done)
    serves_all(moved, OLD, pid)

    # The new host fails: the old one serves on, beside a role that it gets, whose inner port is another one.
    broken = moved.lab.hosts[NEW]
    broken.sh(f"mkdir -p {Path(UNIT).parent}; printf '[Service]\\nExecStartPre=/bin/false\\n' >{UNIT}")
    done = placed(tier, crypto=NEW, socket=NEW, shared=OLD).run("deploy.py", *BEGIN_EMPTY)
    assert done.returncode != 0
    assert f"crypto: left as it is, for {NEW} failed" in output(done)
    serves_all(moved, OLD, pid)
    with at(moved, OLD, 6378, "shared") as known:
        assert known.ping()
    placed(tier, crypto=NEW, socket=NEW)
    broken.sh(f"rm -r {Path(UNIT).parent}; systemctl daemon-reload; systemctl stop redis-crypto")

    done = moved.deploy(*BEGIN_EMPTY)
    assert operations(done)[-2:] == ["Prove the tier", "Retire what no role asks for, when all hosts are proved"]
    assert f"{OLD}" in output(done)
    assert "crypto: its data is kept in /var/lib/redis/crypto (" in output(done)
    with at(moved, NEW) as known:
        assert known.dbsize() == 0
    assert not can_connect(moved.lab.netns, ADDRESS[OLD], 6383)
    assert moved.lab.hosts[OLD].sh("nft list tables") == ""
    assert moved.deploy_json()["results"]["totals"]["success"] == 0
    assert moved.run("tasks/verify.py").returncode == 0

    # Somebody brings the old place back alone: two servers, each with keys that the other has not.
    with at(moved, NEW) as known:
        known.set("written:since", "1")
    back = placed(tier, crypto=OLD, socket=NEW)
    done = back.deploy("--limit", OLD)
    assert f"crypto begins on {OLD} with what it has there (" in output(done)
    assert f"whether newer data is on a host that this run leaves out is not known ({NEW})" in output(done)
    pids = [pid_of(back, host) for host in (OLD, NEW)]
    for host, (ends, keys), (stays, others) in (
        (NEW, (OLD, 300), (NEW, 1)),
        (OLD, (NEW, 1), (OLD, 300)),
    ):
        done = placed(tier, crypto=host, socket=NEW).run("deploy.py")
        assert done.returncode != 0
        assert f"{ends}: crypto: redis-crypto.service on {ends} serves {ADDRESS[ends]}:6383: {keys} key" in output(done)
        assert f"redis-crypto.service on {stays} serves {ADDRESS[stays]}:6383: {others} key" in output(done)
        assert "expected keys in one of them before the other ends" in output(done)
        assert [pid_of(back, host) for host in (OLD, NEW)] == pids

    # And back: the data that was kept is there, that of the new place is said.
    with at(moved, NEW) as known:
        known.delete("written:since")
    back.deploy()
    with at(back, OLD) as known:
        assert known.mget(*KEYS) == list(KEYS.values())

    # What the new place kept, a log without a key, does not make it the place of the data.
    again = placed(tier, crypto=NEW, socket=NEW)
    done = again.run("deploy.py")
    assert done.returncode != 0
    assert f"{NEW}: crypto: would begin with what it has here (" in output(done)
    assert f"redis-crypto.service on {OLD} serves 172.28.2.1:6383: 300 keys" in output(done)
    serves_all(again, OLD, pid_of(again, OLD))


def test_with_serial_hosts_the_old_server_ends_after_the_last_one_is_proved(tier: Tier) -> None:
    pid = pid_of(tier, OLD)
    moved = placed(tier, crypto=NEW, socket=NEW)
    one_by_one = replace(moved, options=("--serial", "--fail-percent", "0"))
    broken = moved.lab.hosts[NEW]
    broken.sh(f"mkdir -p {Path(UNIT).parent}; printf '[Service]\\nExecStartPre=/bin/false\\n' >{UNIT}")
    assert one_by_one.run("deploy.py", *BEGIN_EMPTY).returncode != 0
    serves_all(moved, OLD, pid)
    broken.sh(f"rm -r {Path(UNIT).parent}; systemctl daemon-reload; systemctl stop redis-crypto")
    done = one_by_one.deploy(*BEGIN_EMPTY)
    assert "crypto: its data is kept in /var/lib/redis/crypto (" in output(done)
    assert not can_connect(moved.lab.netns, ADDRESS[OLD], 6383)
    assert can_connect(moved.lab.netns, ADDRESS[NEW], 6383)
    assert moved.deploy_json()["results"]["totals"]["success"] == 0


def test_a_moved_role_takes_its_data_along_in_the_way_that_the_refusal_says(tier: Tier) -> None:
    moved = placed(tier, crypto=NEW, socket=NEW)
    old, new = moved.lab.hosts[OLD], moved.lab.hosts[NEW]
    old.sh("systemctl disable --quiet --now redis-crypto")
    assert f"redis-crypto.service on {OLD} is stopped: keys unknown (it does not run), /var/lib/redis/crypto" in words(
        moved
    )
    shutil.copytree(old.path("/var/lib/redis/crypto"), new.path("/var/lib/redis/crypto"))
    moved.deploy()
    with at(moved, NEW) as known:
        assert known.mget(*KEYS) == list(KEYS.values())
    assert moved.deploy_json()["results"]["totals"]["success"] == 0


def test_a_renamed_role_is_refused_and_its_old_server_left_alone(tier: Tier, tmp_path: Path) -> None:
    pid = pid_of(tier, OLD)
    copy = copy_of_tree(tmp_path / "repository")
    file = copy / "group_data" / "roles.yaml"
    file.write_text(re.sub("^  crypto:", "  vault:", file.read_text(), flags=re.MULTILINE))
    renamed = replace(placed(tier, vault=OLD, socket=NEW), repository=copy)
    for options in ((), ("--data", "begin_empty=vault")):
        done = renamed.run("deploy.py", *options)
        assert done.returncode != 0
        assert f"{OLD}: vault: 172.28.2.1:6383 is served by redis-crypto.service with 300 keys" in output(done)
        assert "held by" not in output(done)
    serves_all(tier, OLD, pid)

    # As the refusal says.
    host = tier.lab.hosts[OLD]
    host.sh("systemctl disable --quiet --now redis-crypto; mv /var/lib/redis/crypto /var/lib/redis/vault")
    data = tier.passwords
    data["vault"] = data.pop("crypto")
    tier.secrets.write_text(yaml.safe_dump(data))
    renamed.deploy()
    with at(renamed, OLD, role="vault") as known:
        assert known.mget(*KEYS) == list(KEYS.values())
    assert host.sh("ls /etc/redis/crypto.* /etc/systemd/system/redis-crypto.service 2>/dev/null || true") == ""
    assert renamed.deploy_json()["results"]["totals"]["success"] == 0


def test_a_renamed_role_whose_server_was_stopped_is_still_found(tier: Tier, tmp_path: Path) -> None:
    copy = copy_of_tree(tmp_path / "repository")
    file = copy / "group_data" / "roles.yaml"
    file.write_text(re.sub("^  crypto:", "  vault:", file.read_text(), flags=re.MULTILINE))
    renamed = replace(placed(tier, vault=OLD, socket=NEW), repository=copy)
    tier.lab.hosts[OLD].sh("systemctl stop redis-crypto")
    said = words(renamed)
    assert f"redis-crypto.service on {OLD} is stopped" in said
    assert "which has its address and port" in said
    assert tier.lab.hosts[OLD].sh("ls /etc/redis/vault.* 2>/dev/null || true") == ""


def test_a_role_without_any_host_is_said(tier: Tier, tmp_path: Path) -> None:
    report = tmp_path / "drift.json"
    note = "shared: no host of the inventory carries this role of roles.yaml: put its host into group redis_shared"
    assert f"note: {note}" in output(tier.run("deploy.py", "--dry", yes=False))
    for file in ("tasks/verify.py", "tasks/drift.py"):
        done = tier.run(file, "--data", f"drift_report={report}")
        assert done.returncode == 0, output(done)
        assert f"note: {note}" in output(done)
    assert all(note in host["message"] for host in json.loads(report.read_text())["hosts"].values())
    assert "socket: no host" not in output(tier.run("tasks/verify.py", *overriding({})))

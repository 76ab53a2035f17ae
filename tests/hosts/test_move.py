"""A role moves to another host with its data, under load: no acknowledged write is lost, never do two servers write."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from tests.bench.handover import LIBRARY
from tests.hosts.clients import can_connect, client
from tests.hosts.conftest import Tier, layout, operations, output, wait_for
from tests.hosts.faults import assert_nothing_left, break_once, every_fault
from tests.hosts.followers import Followed, following, lacking
from tests.hosts.pair import under_way
from tests.hosts.placing import ADDRESS, NEW, OLD, at, placed
from tests.hosts.runbook_steps import follow, sees
from tests.lab.containers import ContainerLab
from tests.runbook import entries
from tests.tree import REPOSITORY

pytestmark = pytest.mark.hosts

KEYS = {f"kept:{number}": str(number) for number in range(2000)}
SERVICE = "crypto-service"
MOVE = "Move roles with their data"
PORT = 6383
FENCE = "/etc/systemd/system/redis-crypto.service.d/handed-over.conf"
COPY = "/etc/systemd/system/redis-crypto.service.d/copy.conf"
LEFT = "ls -d /etc/redis/*.copy* /etc/systemd/system/redis-*.service.d /run/caas-redis/hand* 2>/dev/null || true"


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[Tier]:
    """Role crypto on the first of two hosts, with keys; socket on the second, so that it is no empty host."""
    with ContainerLab(layout("prod", "bookworm")[:2]) as lab:
        tier = placed(Tier(lab, str(tmp_path / "two.py"), tmp_path / "secrets.yaml"), crypto=OLD, socket=NEW)
        tier.deploy()
        fill(tier)
        yield tier


def fill(tier: Tier) -> None:
    """The role has keys, and the function that its clients call."""
    with at(tier, OLD) as known:
        known.mset(KEYS)
        known.function_load(LIBRARY)
        known.rpush("a list", *range(500))
        known.hset("a hash", mapping=KEYS)


def lost(tier: Tier, host: str, followed: Followed) -> dict[str, int]:
    """Acknowledged writes that a host's server lacks, by form."""
    with at(tier, host) as known:
        return lacking(known, followed)


def holds_all(tier: Tier, host: str) -> None:
    """The server on a host has what was written before the move."""
    with at(tier, host) as known:
        assert known.mget(*KEYS) == list(KEYS.values())
        assert known.hgetall("a hash") == KEYS
        assert known.llen("a list") == 500


def test_a_role_moves_under_load_and_loses_no_acknowledged_write(tier: Tier) -> None:
    moved = placed(tier, crypto=NEW, socket=NEW)
    plan = output(moved.run("deploy.py", "--dry", yes=False))
    assert f"move: crypto from {OLD} to {NEW}, 2002 keys, " in plan
    assert "clients pause about 1 s, then at 172.28.2.2:6383" in plan
    holds_all(tier, OLD)

    login = (SERVICE, tier.passwords["crypto"][SERVICE])
    with following(tier, "moved", *login, (ADDRESS[OLD], PORT), (ADDRESS[NEW], PORT)) as followed:
        done = moved.deploy()
    assert operations(done)[-3:] == [MOVE, "Prove the tier", "Retire what no role asks for, when all hosts are proved"]
    assert f"crypto: moved from {OLD}: handed over: its writers waited" in output(done)
    assert "crypto: its data is kept in /var/lib/redis/crypto (" in output(done)
    assert set(lost(tier, NEW, followed).values()) == {0}
    assert followed.gap < 2
    holds_all(tier, NEW)
    assert not can_connect(tier.lab.netns, ADDRESS[OLD], PORT)

    # Nothing of the move is left on either host, in files or in the server.
    for host in (OLD, NEW):
        assert tier.lab.hosts[host].sh(LEFT) == ""
    with at(tier, NEW) as known:
        assert "replication" not in known.acl_users()
        assert known.config_get("master*") == {"masteruser": "", "masterauth": ""}
        assert known.info("replication")["role"] == "master"
    assert moved.deploy_json()["results"]["totals"]["success"] == 0
    for file in ("tasks/verify.py", "tasks/drift.py"):
        done = moved.run(file)
        assert done.returncode == 0, output(done)


def takers(tier: Tier) -> list[str]:
    """The hosts whose server takes a service's write."""
    found = []
    for host, address in ADDRESS.items():
        try:
            with client(tier.lab.netns, address, PORT, SERVICE, tier.passwords["crypto"][SERVICE]) as service:
                service.set("test:taker", host)
                found.append(host)
        except redis.RedisError:
            pass
    return found


def test_a_move_that_is_cut_off_leaves_the_old_server_and_the_next_deploy_begins_anew(
    tier: Tier, tmp_path: Path
) -> None:
    moved = placed(tier, crypto=NEW, socket=NEW)
    old = tier.lab.hosts[OLD]
    pid = old.sh("systemctl show -P MainPID redis-crypto")
    login = (SERVICE, tier.passwords["crypto"][SERVICE])
    with following(tier, "cut off, then moved", *login, (ADDRESS[OLD], PORT), (ADDRESS[NEW], PORT)) as followed:
        past = [
            f"{MOVE}: {ADDRESS[OLD]}:{PORT}",
            f"{MOVE}: systemctl show -P ActiveState redis-hand-over-crypto.service",
        ]
        fault = break_once(moved, "kill during", at=MOVE, past=past)  # amid what starts the copy
        assert "copy.conf" in fault.label, str(fault)
        assert takers(tier) == [OLD]
        fault = break_once(moved, "kill during", at=MOVE, past=[*past, fault.label])  # a copy that is in sync
        assert fault.label == f"{MOVE}: {ADDRESS[NEW]}:{PORT}"
        assert takers(tier) == [OLD]
        assert old.sh("systemctl show -P MainPID redis-crypto") == pid

        # A copy is none that a look takes for the role: what it is, is said.
        report = tmp_path / "drift.json"
        assert moved.run("tasks/drift.py", "--data", f"drift_report={report}").returncode != 0
        text = report.read_text()
        found = {item["observed"] for item in json.loads(text)["hosts"][NEW]["differences"]}
        assert "a copy of the role on another host, not finished" in found, text
        assert not re.search("replicaof|masteruser|masterauth|drop-in", text)

        # Nor does it keep the role from staying where it is.
        done = placed(tier, crypto=OLD, socket=NEW).run("deploy.py", "--dry", yes=False)
        assert done.returncode == 0, output(done)
        moved = placed(tier, crypto=NEW, socket=NEW)
        done = moved.deploy()
        assert "begun anew: a copy that was cut off is discarded" in output(done)
        assert takers(tier) == [NEW]
    assert set(lost(tier, NEW, followed).values()) == {0}
    holds_all(tier, NEW)
    assert_nothing_left(moved)


def test_a_move_whose_hosts_cannot_speak_to_each_other_is_undone(tier: Tier) -> None:
    moved = placed(tier, crypto=NEW, socket=NEW)
    new = tier.lab.hosts[NEW]
    new.sh(f"ip route add unreachable {ADDRESS[OLD]}")
    done = moved.run("deploy.py")
    assert done.returncode != 0
    assert "crypto: not moved: " in output(done)
    assert f"{OLD} serves it as before, and the copy on {NEW} is discarded" in output(done)
    assert takers(tier) == [OLD]
    assert new.sh("ls /var/lib/redis; systemctl is-active redis-crypto || true").split() == ["socket", "inactive"]
    holds_all(tier, OLD)
    new.sh(f"ip route del unreachable {ADDRESS[OLD]}")
    moved.deploy()
    holds_all(tier, NEW)
    assert_nothing_left(moved)


def test_a_role_moves_there_and_back_with_what_was_written_there(tier: Tier) -> None:
    done = placed(tier, crypto=NEW, socket=NEW).deploy()
    assert f"of before it moved, {NEW} has all that; --data purge=crypto deletes it" in output(done)
    with at(tier, NEW) as known:
        known.set("written:there", "1")
        known.delete("kept:0")
    old = tier.lab.hosts[OLD]
    assert "appendonlydir" in old.sh("ls /var/lib/redis/crypto").split()

    # Without its server what was kept is not begun with.
    back = placed(tier, crypto=OLD, socket=NEW)
    done = back.run("deploy.py", "--limit", OLD)
    assert done.returncode != 0
    assert "crypto: what it keeps here is of before it moved to another host" in output(done)
    assert old.sh("systemctl is-active redis-crypto || true").strip() == "inactive"

    plan = output(back.run("deploy.py", "--dry", yes=False))
    assert f"move: crypto from {NEW} to {OLD}, 2002 keys, " in plan
    assert "what it kept here of before is set aside" in plan
    done = back.deploy()
    assert f"crypto: moved from {NEW}: handed over" in output(done)
    assert "what was kept here of before is set aside; when nobody needs it: rm -rf /var/lib/redis/crypto/" in output(
        done
    )
    with at(back, OLD) as known:
        assert known.get("written:there") == "1"
        assert known.exists("kept:0") == 0
        assert known.get("kept:1") == "1"
    assert len([name for name in old.sh("ls /var/lib/redis/crypto").split() if ".replaced-" in name]) == 2
    assert old.sh("ls /var/lib/caas-redis/crypto.moved 2>/dev/null || true") == ""
    old.sh("systemctl restart redis-crypto")
    with at(back, OLD) as known:
        assert known.get("written:there") == "1"
    assert back.deploy_json()["results"]["totals"]["success"] == 0
    done = back.run("tasks/drift.py")
    assert done.returncode == 0, output(done)


def test_move_a_role_to_another_host(tier: Tier, tmp_path: Path) -> None:
    """docs/runbook.md."""
    plan, moved = entries()["move-a-role-to-another-host"].quotes
    tier = placed(tier, crypto=NEW, socket=NEW)
    dry, deploy, *_ = follow(tier, "move-a-role-to-another-host", places={"DIR": tmp_path / "endpoints"})
    sees(dry, plan)
    sees(deploy, moved)
    holds_all(tier, NEW)
    assert takers(tier) == [NEW]


def handed_over_to_a_copy_that_died(tier: Tier) -> None:
    """A handover of which the old server's half is done, and the new host has rebooted: nothing starts a copy there."""
    moved = placed(tier, crypto=NEW, socket=NEW)
    in_sync = f"{MOVE}: {ADDRESS[NEW]}:{PORT}"
    past = [f"{MOVE}: {ADDRESS[OLD]}:{PORT}"]
    while (fault := break_once(moved, "kill during", at=MOVE, past=past)).label not in (in_sync, ""):
        past.append(fault.label)
    assert fault.label == in_sync
    old, new = (tier.lab.hosts[name] for name in (OLD, NEW))
    with at(tier, OLD) as known:
        wait_for(lambda: known.info("replication").get("slave0", {}).get("state") == "online", "the copy is in sync")
        known.acl_setuser("test", enabled=True, passwords=["+a-password"], keys=["*"], categories=["+@all"])
        with client(tier.lab.netns, ADDRESS[OLD], PORT, "test", "a-password", every_right=True) as anybody:
            anybody.replicaof(ADDRESS[NEW], PORT)
    text = "[Service]\\nExecStartPre=+/bin/false\\n"
    old.sh(f"mkdir -p {Path(FENCE).parent}; printf '{text}' >{FENCE}; systemctl daemon-reload")
    new.sh("systemctl stop redis-crypto")
    assert takers(tier) == []


def test_a_copy_that_lacks_something(tier: Tier) -> None:
    """docs/availability.md: a copy that died amid a handover runs again, serves nobody, and what to do is said."""
    handed_over_to_a_copy_that_died(tier)
    moved = placed(tier, crypto=NEW, socket=NEW)
    for _ in range(2):
        done = moved.run("deploy.py")
        assert done.returncode != 0
        said = " ".join(output(done).split())
        assert f"nobody serves crypto, and {OLD} was seen to have 2002 keys of it: see docs/availability.md" in said
        assert takers(tier) == []
        assert tier.lab.hosts[NEW].sh("systemctl is-active redis-crypto").strip() == "active"

    # Nor does anything go on where it was handed over from, when that is put back alone.
    done = placed(tier, crypto=OLD, socket=NEW).run("deploy.py")
    assert done.returncode != 0
    assert "crypto: its data was handed over from here to another host, or was about to be" in output(done)
    assert takers(tier) == []

    text = (REPOSITORY / "docs" / "availability.md").read_text()
    section = text.partition("## A copy that lacks something")[2].partition("\n## ")[0]
    steps = [line for line in section.replace("\n   ", " ").splitlines() if re.match("[0-9]\\. ", line)]
    assert [step.split(":")[0] for step in steps] == ["1. On the new host", "2. On the old host", "3. Deploy again"]
    for host, step in zip((NEW, OLD), steps, strict=False):
        (command,) = re.findall("`([^`]+)`", step)
        tier.lab.hosts[host].sh(command.replace("ROLE", "crypto"))
    assert takers(tier) == [OLD]
    holds_all(tier, OLD)
    placed(tier, crypto=NEW, socket=NEW).deploy()
    holds_all(tier, NEW)
    assert takers(tier) == [NEW]
    assert_nothing_left(tier)


@pytest.mark.soak
@pytest.mark.parametrize("victim", [OLD, NEW])
def test_a_server_that_is_killed_amid_a_move_costs_no_acknowledged_write(tier: Tier, victim: str) -> None:
    moved = placed(tier, crypto=NEW, socket=NEW)
    new = tier.lab.hosts[NEW]
    login = (SERVICE, tier.passwords["crypto"][SERVICE])
    which = "old" if victim == OLD else "new"
    with following(tier, f"{which} one killed", *login, (ADDRESS[OLD], PORT), (ADDRESS[NEW], PORT)) as followed:
        with under_way(moved, "deploy.py") as deploy:
            begun = f"test -e {COPY} && systemctl is-active redis-crypto || true"
            wait_for(lambda: new.sh(begun).strip() == "active", "a copy begins")
            tier.lab.hosts[victim].sh("systemctl kill --signal=KILL redis-crypto")
            said, _ = deploy.communicate(timeout=180)
        assert "Traceback" not in said
        wait_for(lambda: len(takers(tier)) == 1, said)
        if deploy.returncode:
            assert f"{OLD} serves it as before, and the copy on {NEW} is discarded" in said
            moved.deploy()
        assert takers(tier) == [NEW]
    assert set(lost(tier, NEW, followed).values()) == {0}
    holds_all(tier, NEW)
    assert_nothing_left(moved)


@pytest.mark.soak
def test_a_copy_whose_disk_is_full_is_discarded_and_the_old_server_serves_on(tier: Tier) -> None:
    moved = placed(tier, crypto=NEW, socket=NEW)
    new = tier.lab.hosts[NEW]
    with at(tier, OLD) as known:
        known.mset({f"ballast:{number}": os.urandom(500).hex() for number in range(20_000)})
    new.sh("mkdir -p /var/lib/redis/crypto; mount -t tmpfs -o size=8M tmpfs /var/lib/redis/crypto")
    done = moved.run("deploy.py")
    assert done.returncode != 0
    assert takers(tier) == [OLD]
    holds_all(tier, OLD)
    new.sh("systemctl stop redis-crypto; umount /var/lib/redis/crypto")
    moved.deploy()
    holds_all(tier, NEW)


@pytest.mark.soak
def test_a_role_moves_to_debian_13_and_its_newer_redis_and_never_back(tmp_path: Path) -> None:
    old, new = layout("prod", "bookworm")[:2]
    with ContainerLab([old, replace(new, suite="trixie")]) as lab:
        tier = placed(Tier(lab, str(tmp_path / "two.py"), tmp_path / "secrets.yaml"), crypto=OLD)
        tier.deploy()
        fill(tier)
        moved = placed(tier, crypto=NEW)
        login = (SERVICE, tier.passwords["crypto"][SERVICE])
        with following(tier, "7.0 to 8.0", *login, (ADDRESS[OLD], PORT), (ADDRESS[NEW], PORT)) as followed:
            moved.deploy()
        assert set(lost(tier, NEW, followed).values()) == {0}
        assert followed.gap < 2
        holds_all(tier, NEW)
        with at(tier, NEW) as known:
            assert known.info("server")["redis_version"].startswith("8.0.")
        assert_nothing_left(moved)
        done = placed(tier, crypto=OLD).run("deploy.py")
        assert done.returncode != 0
        assert f"crypto: cannot be moved here from {NEW}: it is Redis 8.0." in output(done)
        assert "data never goes back to an older version" in output(done)
        holds_all(tier, NEW)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["kill before", "kill during", "drop", "fail"])
def test_a_move_that_is_broken_anywhere_loses_nothing_and_two_servers_never_write(tier: Tier, kind: str) -> None:
    moved = placed(tier, crypto=NEW, socket=NEW)
    login = (SERVICE, tier.passwords["crypto"][SERVICE])
    with following(tier, f"{kind} anywhere", *login, (ADDRESS[OLD], PORT), (ADDRESS[NEW], PORT)) as followed:
        for fault in every_fault(moved, kind, "a move"):
            found = takers(tier)
            assert len(found) < 2, str(fault)
            # A handover that has begun ends by itself.
            wait_for(lambda: len(takers(tier)) == 1, f"one server takes writes after {fault}")
    assert takers(tier) == [NEW]
    assert set(lost(tier, NEW, followed).values()) == {0}
    holds_all(tier, NEW)
    assert_nothing_left(moved)

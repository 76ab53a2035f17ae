"""Handovers of a role with a standby that meet a fault: one server takes writes in the end, and none is lost."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from tests.hosts import figures
from tests.hosts.conftest import Tier, layout, output, wait_for
from tests.hosts.followers import following
from tests.hosts.pair import HANDOVER, KEYS, PORT, SERVICE, filled, is_in_sync, paired, takers, told, under_way
from tests.hosts.placing import ADDRESS, NEW, OLD, at, placed
from tests.hosts.test_move import lost
from tests.lab.containers import ContainerLab

pytestmark = [pytest.mark.hosts, pytest.mark.soak]

UNIT = "redis-crypto"
FAULTS = "faults in handovers of a pair: handovers broken, lost writes"
KILLS = 12  # of the controller, each a little later
STEP = 0.35  # seconds between two of them: the last ones come behind the end


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Role crypto on the first of two hosts, with keys."""
    with ContainerLab(layout("prod", "bookworm")[:2]) as lab:
        yield filled(lab, tmp_path_factory.mktemp("pair"))


@pytest.fixture
def tier(lab: Tier) -> Tier:
    """The role is served by one of its two hosts, and the other one is in sync."""
    tier = paired(lab)
    assert len(takers(tier)) == 1
    return tier


def settled(tier: Tier) -> str:
    """One server takes writes, after the next handover if a person has to give the word; the other one follows it."""
    wait_for(lambda: len(takers(tier)) < 2, "no two servers take writes")
    if not takers(tier):
        done = tier.run(*HANDOVER)
        assert done.returncode == 0, output(done)
    wait_for(lambda: len(takers(tier)) == 1, "one server takes writes")
    (serving,) = takers(tier)
    assert tier.run("deploy.py").returncode == 0
    (other,) = {OLD, NEW} - {serving}
    wait_for(lambda: is_in_sync(tier, other), "the other one follows")
    return serving


def test_a_controller_that_is_killed_at_any_time_loses_no_write_and_leaves_one_server(tier: Tier) -> None:
    login = (SERVICE, tier.passwords["crypto"][SERVICE])
    with following(tier, "controller killed", *login, (ADDRESS[OLD], PORT), (ADDRESS[NEW], PORT)) as followed:
        for number in range(KILLS):
            with under_way(tier, *HANDOVER) as handover, suppress(subprocess.TimeoutExpired):
                handover.wait(timeout=1.5 + number * STEP)
            wait_for(lambda: len(takers(tier)) == 1 or not _under_way(tier), "the hosts have ended what they do")
            assert len(takers(tier)) < 2
            settled(tier)
    (serving,) = takers(tier)
    found = lost(tier, serving, followed)
    assert set(found.values()) == {0}
    figures.add(FAULTS, f"{KILLS:3} × controller killed: {found}, longest gap {followed.gap:.2f} s")


def _under_way(tier: Tier) -> bool:
    units = "redis-hand-over-crypto redis-take-over-crypto"
    return any(
        "activ" in host.sh(f"systemctl show -P ActiveState {units} || true").replace("inactive", "")
        for host in tier.lab.hosts.values()
    )


@pytest.mark.parametrize("victim", ["serving", "standby"])
def test_a_server_that_is_killed_amid_a_handover_costs_no_acknowledged_write(tier: Tier, victim: str) -> None:
    (serving,) = takers(tier)
    (standby,) = {OLD, NEW} - {serving}
    host = tier.lab.hosts[serving if victim == "serving" else standby]
    login = (SERVICE, tier.passwords["crypto"][SERVICE])
    fence = "/etc/systemd/system/redis-crypto.service.d/handed-over.conf"
    with following(tier, f"{victim} killed", *login, (ADDRESS[OLD], PORT), (ADDRESS[NEW], PORT)) as followed:
        with under_way(tier, *HANDOVER) as handover:
            there = tier.lab.hosts[serving]
            wait_for(lambda: there.sh(f"test -e {fence} && echo yes || true").strip() == "yes", "it is about to begin")
            host.sh(f"systemctl kill --signal=KILL {UNIT} || true")
            said, _ = handover.communicate(timeout=200)
        assert "Traceback" not in said
        settled(tier)
    (serving,) = takers(tier)
    found = lost(tier, serving, followed)
    assert set(found.values()) == {0}
    with at(tier, serving) as known:
        assert known.mget(*KEYS) == list(KEYS.values())
    figures.add(FAULTS, f"  1 × {victim} server killed: {found}, longest gap {followed.gap:.2f} s")


def test_a_host_that_loses_its_power_right_after_it_began_to_serve_loses_no_acknowledged_write(tier: Tier) -> None:
    """What makes its server a copy at its next start is there still, and the old server follows it."""
    (old,) = takers(tier)
    (new,) = {OLD, NEW} - {old}
    there, host = tier.lab.hosts[old], tier.lab.hosts[new]
    with at(tier, old) as known:
        history = known.info("replication")["master_replid"]
        known.config_set("masteruser", "replication", "masterauth", tier.passwords["crypto"]["replication"])
    fence = "/etc/systemd/system/redis-crypto.service.d/handed-over.conf"
    text = f"# history: {history}\\n[Service]\\nExecStartPre=+/bin/false\\n"
    there.sh(f"mkdir -p {Path(fence).parent}; printf '{text}' >{fence}; systemctl daemon-reload")
    told(tier, old, "REPLICAOF", ADDRESS[new], PORT)
    told(tier, new, "REPLICAOF", "NO", "ONE")
    with at(tier, new) as known:
        known.set("acknowledged", "by the new one")
    wait_for(lambda: is_in_sync(tier, old), "the old one follows")
    host.sh(f"systemctl kill --signal=KILL {UNIT}")
    wait_for(lambda: follows(tier, new) and not is_in_sync(tier, old), "it is a copy again")
    assert takers(tier) == []
    assert tier.run("deploy.py").returncode != 0
    done = tier.run(*HANDOVER)
    assert done.returncode == 0, output(done)
    assert takers(tier) == [new]
    with at(tier, new) as known:
        assert known.get("acknowledged") == "by the new one"
        assert known.mget(*KEYS) == list(KEYS.values())
    assert is_in_sync(tier, old)
    assert "dump.rdb.replaced-" in there.sh("ls /var/lib/redis/crypto")


def follows(tier: Tier, host: str) -> bool:
    """Whether the server on a host says that it follows another one."""
    with suppress(redis.RedisError), at(tier, host) as known:
        return bool(known.info("replication")["role"] == "slave")
    return False


def test_a_network_that_is_cut_between_the_two_undoes_a_handover(tier: Tier) -> None:
    (serving,) = takers(tier)
    (standby,) = {OLD, NEW} - {serving}
    there = tier.lab.hosts[standby]
    login = (SERVICE, tier.passwords["crypto"][SERVICE])
    fence = "/etc/systemd/system/redis-crypto.service.d/handed-over.conf"
    with following(tier, "network cut", *login, (ADDRESS[OLD], PORT), (ADDRESS[NEW], PORT)) as followed:
        with under_way(tier, *HANDOVER) as handover:
            unit = tier.lab.hosts[serving]
            wait_for(lambda: unit.sh(f"test -e {fence} && echo yes || true").strip() == "yes", "it is about to begin")
            there.sh(f"ip route add unreachable {ADDRESS[serving]}")
            said, _ = handover.communicate(timeout=200)
        assert "Traceback" not in said
        assert len(takers(tier)) < 2
        there.sh(f"ip route del unreachable {ADDRESS[serving]}")
        settled(tier)
    (serving,) = takers(tier)
    found = lost(tier, serving, followed)
    assert set(found.values()) == {0}
    figures.add(FAULTS, f"  1 × network cut: {found}, longest gap {followed.gap:.2f} s")


def test_a_standby_whose_disk_is_full_is_none_and_its_primary_serves_on(lab: Tier) -> None:
    tier = placed(lab, crypto=OLD, socket=(NEW, OLD))
    if takers(tier) != [OLD]:
        assert paired(tier).run(*HANDOVER).returncode == 0
        tier = placed(lab, crypto=OLD, socket=(NEW, OLD))
    tier.deploy()
    new = tier.lab.hosts[NEW]
    with at(tier, OLD) as known:
        known.mset({f"ballast:{number}": os.urandom(500).hex() for number in range(20_000)})
    new.sh("rm -rf /var/lib/redis/crypto/*; mkdir -p /var/lib/redis/crypto")
    new.sh("mount -t tmpfs -o size=8M tmpfs /var/lib/redis/crypto")
    try:
        tier = placed(lab, crypto=(OLD, NEW), socket=(NEW, OLD))
        done = tier.run("deploy.py")
        assert done.returncode != 0
        assert takers(tier) == [OLD]
        assert tier.run(*HANDOVER).returncode != 0
        assert takers(tier) == [OLD]
    finally:
        new.sh(f"systemctl stop {UNIT}; umount /var/lib/redis/crypto")
    tier.deploy()
    wait_for(lambda: is_in_sync(tier, NEW), "it follows")
    with at(tier, OLD) as known:
        known.delete(*(f"ballast:{number}" for number in range(20_000)))


def test_a_role_is_handed_over_to_debian_13_and_its_newer_redis_once_and_never_back(tmp_path: Path) -> None:
    old, new = layout("prod", "bookworm")[:2]
    with ContainerLab([old, replace(new, suite="trixie")]) as lab:
        tier = placed(Tier(lab, str(tmp_path / "two.py"), tmp_path / "secrets.yaml"), crypto=(OLD, NEW))
        tier.deploy()
        with at(tier, OLD) as known:
            known.mset(KEYS)
        login = (SERVICE, tier.passwords["crypto"][SERVICE])
        with following(tier, "pair, 7.0 to 8.0", *login, (ADDRESS[OLD], PORT), (ADDRESS[NEW], PORT)) as followed:
            done = tier.run(*HANDOVER)
            assert "cannot follow 8.0." in output(done)
            assert f"{NEW} serves it; {OLD} is stopped and keeps what it had" in output(done)
        found = lost(tier, NEW, followed)
        assert set(found.values()) == {0}
        assert followed.gap < 2
        figures.add(FAULTS, f"  1 × 7.0 to 8.0: {found}, longest gap {followed.gap:.2f} s")
        with at(tier, NEW) as known:
            assert known.info("server")["redis_version"].startswith("8.0.")
            assert known.mget(*KEYS) == list(KEYS.values())
        there = tier.lab.hosts[OLD]
        assert [name for name in there.sh("ls /var/lib/redis/crypto").split() if ".replaced-" in name]
        # Nothing starts it again, and there is no way back.
        assert there.sh(f"systemctl start {UNIT} 2>/dev/null && echo started || true") == ""
        assert takers(tier) == [NEW]
        done = tier.run(*HANDOVER)
        assert done.returncode != 0
        assert takers(tier) == [NEW]
        # What the old one's host does meanwhile keeps the new one from no start: it cannot have been replaced.
        there.kill()
        tier.lab.hosts[NEW].kill()
        tier.lab.hosts[NEW].boot()
        wait_for(lambda: takers(tier) == [NEW], "it serves by itself after a boot, with nobody to ask")
        there.boot()
        assert takers(tier) == [NEW]
        done = tier.run("deploy.py")
        assert done.returncode != 0
        assert "it cannot read what its primary has: install the newer one here" in " ".join(output(done).split())
        assert takers(tier) == [NEW]

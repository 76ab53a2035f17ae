"""A host is lost: its standby takes its place, loses no more than it says, and the old one never serves again."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from tests.bench.handover import SCRIPT
from tests.hosts import figures
from tests.hosts.clients import client
from tests.hosts.conftest import Finished, Tier, layout, output, wait_for
from tests.hosts.placing import ADDRESS, NEW, OLD, at, placed
from tests.hosts.runbook_steps import follow, sees
from tests.hosts.test_move import PORT, SERVICE, fill, holds_all, takers
from tests.lab.container import await_ready
from tests.lab.containers import ContainerLab
from tests.runbook import entries

pytestmark = pytest.mark.hosts

HAND_OVER = "tasks/handover.py"
OFF = ("--data", "old_is_off=true")
STATE = "systemctl show -P ActiveState redis-crypto"
JOURNAL = "journalctl --boot --output=cat --unit=redis-crypto"
PROMOTED = "/var/lib/caas-redis/crypto.promoted"
LOST = "promotion: acknowledged writes that are lost, of how many"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Role crypto on the first of two hosts, its standby on the second, with keys."""
    here = tmp_path_factory.mktemp("pair")
    with ContainerLab(layout("prod", "bookworm")[:2]) as lab:
        tier = placed(Tier(lab, str(here / "two.py"), here / "secrets.yaml"), crypto=(OLD, NEW), socket=NEW)
        tier.deploy()
        fill(tier)
        yield tier


@dataclass
class Writer:
    """Clients' writes in every form to one server, until it answers no more: what was acknowledged, and when."""

    tier: Tier
    acknowledged: dict[str, float] = field(default_factory=dict)  # key → time.time()
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        number = 0
        with suppress(redis.RedisError), at_service(self.tier, OLD) as service:
            while not self.ended.is_set():
                number += 1
                keys = [f"lost:{number}:{part}" for part in (1, 2)]
                self.write(service, number % 4, keys)
                self.acknowledged |= dict.fromkeys(keys, time.time())

    @staticmethod
    def write(service: "redis.Redis", form: int, keys: list[str]) -> None:
        if form == 0:
            service.mset(dict.fromkeys(keys, "1"))
        elif form == 1:
            transaction = service.pipeline()
            for key in keys:
                transaction.set(key, "1")
            transaction.execute()
        elif form == 2:
            service.eval(SCRIPT, 2, *keys, "1")
        else:
            service.fcall("both", 2, *keys, "1")


def at_service(tier: Tier, host: str) -> "redis.Redis":
    return client(tier.lab.netns, ADDRESS[host], PORT, SERVICE, tier.passwords["crypto"][SERVICE])


@contextmanager
def writing(tier: Tier) -> Iterator[Writer]:
    """Somebody writes as long as the body runs and the server answers."""
    writer = Writer(tier)
    thread = threading.Thread(target=writer.run, daemon=True)
    thread.start()
    wait_for(lambda: len(writer.acknowledged) > 100, "writes are acknowledged")
    try:
        yield writer
    finally:
        writer.ended.set()
        thread.join(30)


def promote(tier: Tier, *options: str, dry: bool = False) -> Finished:
    words = ("--dry",) if dry else ()
    return tier.run(HAND_OVER, *words, "--data", "promote=crypto", *options, yes=not dry)


def follows(tier: Tier, host: str, of: str) -> bool:
    """Whether the server on a host is the standby of the one on another, in sync."""
    with at(tier, host) as known:
        info = known.info("replication")
        return (info["role"], info.get("master_host"), info.get("master_link_status")) == ("slave", ADDRESS[of], "up")


SILENT = (
    "nft 'add table ip silent; add chain ip silent input { type filter hook input priority -300; }; "
    "add rule ip silent input tcp dport 22 drop'"
)


def test_nothing_is_promoted_while_the_old_host_answers_in_any_way(pair: Tier) -> None:
    old = pair.lab.hosts[OLD]
    done = promote(pair, *OFF)
    assert done.returncode != 0
    assert f"crypto: {OLD} answers SSH, expected a host that is off" in output(done)
    done = promote(pair, *OFF, "--limit", NEW)
    assert done.returncode != 0
    assert f"{OLD} takes no part in this run" in output(done)
    old.sh("systemctl stop ssh.socket ssh.service")
    try:
        done = promote(pair)
        assert done.returncode != 0
        assert f"nobody has said that {OLD} is off" in output(done)
        done = promote(pair, *OFF)
        assert done.returncode != 0
        assert f"{OLD} answers SSH, for it refused the connection (" in output(done)
        old.sh(SILENT)
        done = promote(pair, *OFF)
        assert done.returncode != 0
        assert f"crypto: not promoted: {ADDRESS[OLD]}:{PORT} takes connections" in output(done)
        old.sh("systemctl stop redis-crypto")  # its host answers still
        done = promote(pair, *OFF)
        assert done.returncode != 0
        assert "refuses connections, so its host is there" in output(done)
    finally:
        old.sh("nft delete table ip silent 2>/dev/null; systemctl start redis-crypto ssh.service")
    assert takers(pair) == [OLD]
    wait_for(lambda: follows(pair, NEW, OLD), "the standby follows as before")
    assert pair.deploy_json()["results"]["totals"]["success"] == 0


def test_promote_a_standby(pair: Tier, tmp_path: Path) -> None:
    """docs/runbook.md; no more is lost than is said."""
    old, new = (pair.lab.hosts[name] for name in (OLD, NEW))
    with writing(pair) as writer:
        old.kill()
        killed = time.time()
    done = promote(pair)
    assert done.returncode != 0
    assert f"nobody has said that {OLD} is off" in output(done)
    assert takers(pair) == []
    said, promoted = entries()["promote-a-standby"].quotes
    dry, done, endpoints = follow(pair, "promote-a-standby", places={"DIR": tmp_path / "endpoints"})
    sees(dry, said)
    sees(done, promoted)
    assert takers(pair) == [NEW]
    assert f"{ADDRESS[NEW]}:{PORT}" in output(endpoints)
    holds_all(pair, NEW)
    found = re.search(
        r"it heard of its primary (\d+) s ago at most, and has (\d+) bytes of that not applied", output(done)
    )
    assert found, output(done)
    with at(pair, NEW) as known:
        gone = [
            key for key, there in zip(writer.acknowledged, known.mget(*writer.acknowledged), strict=True) if not there
        ]
    lag = killed - min((writer.acknowledged[key] for key in gone), default=killed)
    figures.add(
        LOST, f"{len(gone):5} of {len(writer.acknowledged)}, the oldest {1000 * lag:.0f} ms before; said {found[1]} s"
    )
    assert lag <= int(found[1])

    # It stays that, through a crash and through a boot, whether the old one is there or not.
    new.sh("systemctl kill --signal=KILL redis-crypto")
    wait_for(lambda: takers(pair) == [NEW], "it is back")
    new.kill()
    new.boot()
    wait_for(lambda: takers(pair) == [NEW], "it is back after a boot, with nobody to ask")
    done = promote(pair, *OFF)
    assert done.returncode == 0, output(done)
    assert "crypto: is served by redis-socket already" in output(done)


def test_an_old_host_comes_back(pair: Tier) -> None:
    """docs/runbook.md: it never serves, and is the standby after a deploy."""
    old, new = (pair.lab.hosts[name] for name in (OLD, NEW))
    old.boot()
    wait_for(lambda: "serves it, which was put in the place of this one" in old.sh(JOURNAL), "it says why")
    assert takers(pair) == [NEW]
    old.sh("timeout 60 systemctl restart redis-crypto", check=False)
    assert old.sh(STATE).strip() != "active"
    # Nor does it when the new one is not there to be asked.
    new.sh("systemctl stop redis-crypto")
    wait_for(lambda: "serves it is not known" in old.sh(JOURNAL), "it asks, and waits")
    assert takers(pair) == []
    new.sh("systemctl start redis-crypto")
    assert takers(pair) == [NEW]
    assert new.sh(f"ls {PROMOTED}").strip()

    plan = output(pair.run("deploy.py", "--dry", yes=False))
    assert "data of its own (" in plan
    (done,) = follow(pair, "an-old-host-comes-back")
    sees(done, entries()["an-old-host-comes-back"].quotes[1])
    assert takers(pair) == [NEW]
    assert follows(pair, OLD, NEW)
    assert [name for name in old.sh("ls /var/lib/redis/crypto").split() if ".replaced-" in name]
    assert not new.sh(f"ls {PROMOTED} 2>/dev/null || true").strip()
    assert pair.deploy_json()["results"]["totals"]["success"] == 0
    for file in ("tasks/verify.py", "tasks/drift.py"):
        done = pair.run(file)
        assert done.returncode == 0, output(done)

    done = pair.run(HAND_OVER, "--data", "handover=crypto")
    assert done.returncode == 0, output(done)
    assert takers(pair) == [OLD]
    assert follows(pair, NEW, OLD)
    holds_all(pair, OLD)


def test_a_rack_that_has_power_again_serves_as_before_by_itself(pair: Tier) -> None:
    hosts = [pair.lab.hosts[name] for name in (OLD, NEW)]
    before = takers(pair)
    for host in hosts:
        host.kill()
    for host in hosts:
        host.start()
    await_ready(hosts)
    wait_for(lambda: takers(pair) == before, "it serves again", 60)
    wait_for(lambda: follows(pair, NEW, OLD), "and its standby follows")
    holds_all(pair, OLD)


def test_a_role_waits_for_its_other_host(pair: Tier) -> None:
    """docs/runbook.md: a primary without its standby is back from a crash at once, and not from a boot."""
    old, new = (pair.lab.hosts[name] for name in (OLD, NEW))
    new.kill()
    old.sh("systemctl kill --signal=KILL redis-crypto")
    wait_for(lambda: takers(pair) == [OLD], "it is back, for its host was not booted since")
    old.kill()
    old.boot()
    wait_for(lambda: "deploy with --data serve_alone=crypto" in old.sh(JOURNAL), "it says what it waits for")
    assert takers(pair) == []
    done = pair.run("deploy.py", "--limit", OLD)
    assert done.returncode != 0
    assert "serve_alone=crypto" in output(done)
    assert takers(pair) == []
    follow(pair, "a-role-waits-for-its-other-host", places={"HOST": OLD})
    assert takers(pair) == [OLD]
    holds_all(pair, OLD)
    new.boot()
    wait_for(lambda: follows(pair, NEW, OLD), "its standby follows")
    pair.deploy()
    assert pair.deploy_json()["results"]["totals"]["success"] == 0


@pytest.mark.soak
def test_a_host_that_was_only_cut_off_finds_out_at_its_next_start(pair: Tier) -> None:
    """What nobody can keep from happening is seen at once, and ends with one server and the writes of both kept."""
    old = pair.lab.hosts[OLD]
    assert takers(pair) == [OLD]
    old.sh("ip link set host0 down")
    done = promote(pair, *OFF)
    assert done.returncode == 0, output(done)
    assert takers(pair) == [NEW]
    assert old.sh(STATE).strip() == "active"
    old.sh("ip link set host0 up")
    wait_for(lambda: takers(pair) == [OLD, NEW], "both take writes")
    done = pair.run("tasks/status.py")
    assert done.returncode != 0
    assert "TWO-SERVE" in output(done)
    assert pair.run("deploy.py").returncode != 0
    old.sh("timeout 60 systemctl restart redis-crypto", check=False)
    assert takers(pair) == [NEW]
    pair.deploy()
    assert follows(pair, OLD, NEW)
    assert len([name for name in old.sh("ls /var/lib/redis/crypto").split() if ".replaced-" in name])
    assert pair.run(HAND_OVER, "--data", "handover=crypto").returncode == 0
    assert takers(pair) == [OLD]


@pytest.mark.soak
def test_a_promotion_whose_controller_is_killed_is_ended_by_the_host(pair: Tier) -> None:
    old, new = (pair.lab.hosts[name] for name in (OLD, NEW))
    assert takers(pair) == [OLD]
    old.kill()
    words = ("-y", "--data", f"redis_secrets_file={pair.secrets}", "--data", "promote=crypto", *OFF)
    program = Path(sys.executable).with_name("pyinfra")
    with subprocess.Popen(
        ["nsenter", f"--net={pair.lab.record.netns}", "--", str(program), *words, pair.inventory, HAND_OVER],
        env=os.environ | {"HOME": str(pair.lab.home)},
        cwd=pair.repository,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as controller:
        unit = "systemctl show -P ActiveState redis-promote-crypto"
        wait_for(lambda: new.sh(unit).strip() == "activating", "it has begun", 120)
        controller.kill()
    wait_for(lambda: takers(pair) == [NEW], "the host has ended it", 120)
    new.sh("systemctl restart redis-crypto")
    assert takers(pair) == [NEW]
    done = promote(pair, *OFF)
    assert done.returncode == 0, output(done)
    old.boot()
    pair.deploy()
    assert follows(pair, OLD, NEW)
    assert pair.run(HAND_OVER, "--data", "handover=crypto").returncode == 0
    assert takers(pair) == [OLD]

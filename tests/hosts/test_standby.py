"""A role with a standby: it replicates the role for good, takes no write, and is no drift."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.bench.handover import LIBRARY
from tests.hosts.clients import can_connect, client
from tests.hosts.conftest import Tier, layout, operations, output, wait_for
from tests.hosts.placing import ADDRESS, NEW, OLD, at, placed
from tests.lab.containers import ContainerLab

pytestmark = pytest.mark.hosts

KEYS = {f"kept:{number}": str(number) for number in range(2000)}
SERVICE = "crypto-service"
PORT = 6383
FOLLOWS = "Bring standbys into sync"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Role crypto on the first of two hosts, with keys; both hosts have another role."""
    here = tmp_path_factory.mktemp("pair")
    with ContainerLab(layout("prod", "bookworm")[:2]) as lab:
        tier = placed(Tier(lab, str(here / "two.py"), here / "secrets.yaml"), crypto=OLD, socket=NEW)
        tier.deploy()
        with at(tier, OLD) as known:
            known.mset(KEYS)
            known.function_load(LIBRARY)
        yield tier


def is_in_sync(tier: Tier, host: str) -> bool:
    """Whether the server on a host follows, and is linked."""
    with at(tier, host) as known:
        info = known.info("replication")
        return info["role"] == "slave" and info["master_link_status"] == "up"


def test_a_standby_is_added_to_a_running_role_and_its_primary_goes_on(lab: Tier) -> None:
    old, new = (lab.lab.hosts[name] for name in (OLD, NEW))
    pid = old.sh("systemctl show -P MainPID redis-crypto")
    tier = placed(lab, crypto=(OLD, NEW), socket=NEW)
    done = tier.deploy()
    assert FOLLOWS in operations(done)
    assert f"crypto: the standby of {OLD} is in sync, 2000 keys, 2000 there" in output(done)
    assert old.sh("systemctl show -P MainPID redis-crypto") == pid
    assert is_in_sync(tier, NEW)

    # It answers services as its primary does, but takes no write; what is written there comes here.
    password = tier.passwords["crypto"][SERVICE]
    with client(lab.lab.netns, ADDRESS[OLD], PORT, SERVICE, password) as service:
        service.set("written:there", "1")
    with client(lab.lab.netns, ADDRESS[NEW], PORT, SERVICE, password) as service:
        wait_for(lambda: service.get("written:there") == "1", "the standby has it")
        with pytest.raises(redis.ReadOnlyError):
            service.set("written:here", "1")

    # Nothing of it is drift, and a deploy has nothing to do.
    assert tier.deploy_json()["results"]["totals"]["success"] == 0
    for file in ("tasks/verify.py", "tasks/drift.py"):
        done = tier.run(file)
        assert done.returncode == 0, output(done)

    # It comes back as one, from a crash and from a boot.
    new.sh("systemctl kill --signal=KILL redis-crypto; systemctl restart redis-crypto")
    wait_for(lambda: is_in_sync(tier, NEW), "it follows again")


def test_a_standby_that_was_told_to_follow_another_is_drift(lab: Tier, tmp_path: Path) -> None:
    tier = placed(lab, crypto=(OLD, NEW), socket=NEW)
    tier.deploy()
    with at(tier, NEW) as known:
        known.acl_setuser("test", enabled=True, passwords=["+a-password"], keys=["*"], categories=["+@all"])
        with client(lab.lab.netns, ADDRESS[NEW], PORT, "test", "a-password", every_right=True) as anybody:
            anybody.replicaof("172.28.2.99", PORT)
        known.acl_deluser("test")
    report = tmp_path / "drift.json"
    assert tier.run("tasks/drift.py", "--data", f"drift_report={report}").returncode != 0
    found = {item["name"]: item["observed"] for item in json.loads(report.read_text())["hosts"][NEW]["differences"]}
    assert found == {"replicaof": "172.28.2.99 6383"}
    tier.deploy()
    assert is_in_sync(tier, NEW)


def test_a_standby_that_leaves_keeps_its_data_as_that_of_a_copy(lab: Tier) -> None:
    tier = placed(lab, crypto=(OLD, NEW), socket=NEW)
    tier.deploy()
    tier = placed(lab, crypto=OLD, socket=NEW)
    tier.deploy()
    new = lab.lab.hosts[NEW]
    assert "appendonlydir" in new.sh("ls /var/lib/redis/crypto").split()
    assert new.sh("ls /var/lib/caas-redis/crypto.moved /etc/redis/crypto.copy 2>/dev/null || true").split() == [
        "/var/lib/caas-redis/crypto.moved"
    ]
    assert not can_connect(lab.lab.netns, ADDRESS[NEW], PORT)
    with at(tier, OLD) as known:
        assert "replication" not in known.acl_users()
    assert tier.deploy_json()["results"]["totals"]["success"] == 0

"""A role with a standby: it replicates the role for good, takes no write, and is no drift."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.hosts.clients import can_connect, client
from tests.hosts.conftest import Tier, layout, operations, output, wait_for
from tests.hosts.followers import following
from tests.hosts.pair import HANDOVER, KEYS, PORT, SERVICE, filled, is_in_sync, paired, takers, told
from tests.hosts.placing import ADDRESS, NEW, OLD, at, placed
from tests.hosts.runbook_steps import follow, sees
from tests.hosts.test_move import lost
from tests.lab.containers import ContainerLab
from tests.runbook import entries

pytestmark = pytest.mark.hosts

FOLLOWS = "Bring standbys into sync"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Role crypto on the first of two hosts, with keys; both hosts have another role."""
    with ContainerLab(layout("prod", "bookworm")[:2]) as lab:
        yield filled(lab, tmp_path_factory.mktemp("pair"))


MARK = "ls /var/lib/caas-redis/crypto.promoted 2>/dev/null || true"  # that nobody can have been put in its place
BOOT = "systemctl stop redis-crypto; rm /run/caas-redis/crypto.served; systemctl start redis-crypto"


def test_a_role_whose_standby_was_never_there_starts_at_a_boot_without_it(lab: Tier) -> None:
    """Nobody can have been put in its place: a line in the inventory costs it nothing."""
    old, new = (lab.lab.hosts[name] for name in (OLD, NEW))
    new.sh("mkdir /etc/systemd/system/redis-crypto.service")  # no file gets there
    done = placed(lab, crypto=(OLD, NEW), socket=(NEW, OLD)).run("deploy.py")
    new.sh("rmdir /etc/systemd/system/redis-crypto.service")
    assert done.returncode != 0, output(done)
    assert "guard-crypto" in old.sh("systemctl cat redis-crypto")
    old.sh(BOOT)
    assert takers(lab) == [OLD]
    assert old.sh(MARK)
    with at(lab, OLD) as known:
        known.delete("test:taker")


def test_a_standby_is_added_to_a_running_role_and_its_primary_goes_on(lab: Tier) -> None:
    old, new = (lab.lab.hosts[name] for name in (OLD, NEW))
    pid = old.sh("systemctl show -P MainPID redis-crypto")
    assert is_in_sync(lab, OLD, "socket", 6380)  # of a pair that began together
    tier = placed(lab, crypto=(OLD, NEW), socket=(NEW, OLD))
    done = tier.deploy()
    assert FOLLOWS in operations(done)
    assert f"crypto: the standby of {OLD} is in sync, 2000 keys, 2000 there" in output(done)
    assert old.sh("systemctl show -P MainPID redis-crypto") == pid
    assert is_in_sync(tier, NEW)
    assert not old.sh(MARK)  # from now on that one can be put in its place

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
    tier = paired(lab)
    told(tier, NEW, "REPLICAOF", "172.28.2.99", PORT)
    report = tmp_path / "drift.json"
    assert tier.run("tasks/drift.py", "--data", f"drift_report={report}").returncode != 0
    found = {item["name"]: item["observed"] for item in json.loads(report.read_text())["hosts"][NEW]["differences"]}
    assert found == {"replicaof": "172.28.2.99 6383"}
    tier.deploy()
    assert is_in_sync(tier, NEW)


HANDED_OVER = re.compile(
    r"crypto: handed over: its writers waited ([0-9]+) ms; (\S+) serves it, (\S+) is its standby, in sync"
)


def test_a_role_is_handed_over_and_back_under_load_and_loses_no_acknowledged_write(lab: Tier) -> None:
    tier = paired(lab)
    pids = {name: lab.lab.hosts[name].sh("systemctl show -P MainPID redis-crypto") for name in (OLD, NEW)}
    dry = tier.run(*HANDOVER, "--dry", yes=False)
    assert f"crypto: from {OLD} to {NEW}, 200" in output(dry)
    assert takers(tier) == [OLD]
    login = (SERVICE, tier.passwords["crypto"][SERVICE])
    with following(tier, "handed over and back", *login, (ADDRESS[OLD], PORT), (ADDRESS[NEW], PORT)) as followed:
        for source, target in ((OLD, NEW), (NEW, OLD)):
            done = tier.run(*HANDOVER)
            assert done.returncode == 0, output(done)
            found = HANDED_OVER.search(output(done))
            assert found is not None, output(done)
            assert found.groups()[1:] == (target, source)
            assert takers(tier) == [target]
    assert set(lost(tier, OLD, followed).values()) == {0}
    assert followed.gap < 2
    with at(tier, OLD) as known:
        assert known.mget(*KEYS) == list(KEYS.values())
        assert "_handover" not in known.acl_users()
    # Neither server was restarted, and nothing is left to do.
    assert {name: lab.lab.hosts[name].sh("systemctl show -P MainPID redis-crypto") for name in pids} == pids
    assert tier.deploy_json()["results"]["totals"]["success"] == 0
    done = tier.run("tasks/drift.py")
    assert done.returncode == 0, output(done)


def test_a_handover_stays_whatever_the_inventory_says_and_survives_a_restart_of_both(lab: Tier) -> None:
    tier = paired(lab)
    done = tier.run(*HANDOVER)
    assert done.returncode == 0, output(done)
    assert tier.deploy_json()["results"]["totals"]["success"] == 0
    for name in (OLD, NEW):
        lab.lab.hosts[name].sh("systemctl restart redis-crypto")
    wait_for(lambda: is_in_sync(tier, OLD), "the old one follows", 120)
    assert takers(tier) == [NEW]
    # The inventory may be written as it is; that is no handover either.
    assert placed(lab, crypto=(NEW, OLD), socket=(NEW, OLD)).deploy_json()["results"]["totals"]["success"] == 0
    assert takers(tier) == [NEW]
    done = tier.run(*HANDOVER)
    assert done.returncode == 0, output(done)
    assert takers(tier) == [OLD]


def test_hand_a_role_over(lab: Tier, tmp_path: Path) -> None:
    """docs/runbook.md."""
    tier = paired(lab)
    plan, handed_over = entries()["hand-a-role-over"].quotes
    dry, done, _ = follow(tier, "hand-a-role-over", places={"DIR": tmp_path / "endpoints"})
    sees(dry, plan)
    sees(done, handed_over)
    # Services are sent to the one that serves.
    assert ADDRESS[NEW] in (tmp_path / "endpoints" / f"{SERVICE}.env").read_text()
    assert ADDRESS[OLD] not in (tmp_path / "endpoints" / f"{SERVICE}.env").read_text()
    follow(tier, "hand-a-role-over", places={"DIR": tmp_path / "endpoints"})
    assert ADDRESS[OLD] in (tmp_path / "endpoints" / f"{SERVICE}.env").read_text()


def test_a_standby_is_not_in_sync(lab: Tier) -> None:
    """docs/runbook.md."""
    tier = paired(lab)
    (seen, mended) = entries()["a-standby-is-not-in-sync"].quotes
    journal, *steps = entries()["a-standby-is-not-in-sync"].commands
    new = lab.lab.hosts[NEW]
    new.sh(f"ip route add unreachable {ADDRESS[OLD]}; systemctl restart redis-crypto")
    try:
        done = tier.run("tasks/drift.py")
        assert done.returncode != 0
        sees(done, seen)
        assert "No route to host" in new.sh(journal)
    finally:
        new.sh(f"ip route del unreachable {ADDRESS[OLD]}; systemctl stop redis-crypto")
    sees(follow(tier, "a-standby-is-not-in-sync", commands=steps)[-1], mended)
    assert is_in_sync(tier, NEW)


def test_one_of_two_hosts_cannot_ask_the_other(lab: Tier) -> None:
    """docs/runbook.md: a filter lets the link that is there go on, and no new connection in."""
    tier = paired(lab)
    seen, well = entries()["one-of-two-hosts-cannot-ask-the-other"].quotes
    ask, look = entries()["one-of-two-hosts-cannot-ask-the-other"].commands
    old, new = (lab.lab.hosts[name] for name in (OLD, NEW))
    old.sh(
        "nft 'add table ip closed; add chain ip closed input { type filter hook input priority -300; }; "
        f"add rule ip closed input ip saddr {ADDRESS[NEW]} tcp dport {PORT} tcp flags & (syn | ack) == syn drop'"
    )
    try:
        done = tier.run("tasks/drift.py")
        assert done.returncode != 0, output(done)
        sees(done, seen)
        assert is_in_sync(tier, NEW)
        assert new.sh(ask).split()[:1] not in (["master"], ["slave"])
        assert tier.run("tasks/verify.py").returncode != 0
    finally:
        old.sh("nft delete table ip closed")
    assert new.sh(ask).startswith("master ")
    assert old.sh(ask).startswith(f"slave {ADDRESS[OLD]} {PORT}")
    sees(follow(tier, "one-of-two-hosts-cannot-ask-the-other", commands=[look])[-1], well)


def test_two_servers_take_writes(lab: Tier) -> None:
    """docs/runbook.md."""
    tier = paired(lab)
    aside = "ls -d /var/lib/redis/crypto/*.replaced-* 2>/dev/null || true"
    before = set(lab.lab.hosts[NEW].sh(aside).split())
    told(tier, NEW, "REPLICAOF", "NO", "ONE")
    assert takers(tier) == [OLD, NEW]
    with client(lab.lab.netns, ADDRESS[NEW], PORT, SERVICE, tier.passwords["crypto"][SERVICE]) as service:
        service.set("written:there:alone", "here it is")
    seen, mended = entries()["two-servers-take-writes"].quotes
    for file in ("tasks/status.py", "tasks/drift.py", "tasks/verify.py"):
        done = tier.run(file)
        assert done.returncode != 0
        assert "TWO-SERVE" in output(done)
    sees(tier.run("tasks/status.py"), seen.removeprefix("critical "))
    # Seen alone it is taken for no primary: the other one may serve.
    refused(tier, "--limit", NEW)
    assert "REPLICAOF NO ONE" in " ".join(output(tier.run("tasks/drift.py", "--limit", NEW)).split())
    assert lab.lab.hosts[NEW].sh("ls /etc/systemd/system/redis-crypto.service.d").split() == ["copy.conf"]
    done = tier.run("deploy.py")
    assert done.returncode != 0
    assert "two servers take writes" in " ".join(output(done).split())
    stop, deploy = entries()["two-servers-take-writes"].commands
    lab.lab.hosts[NEW].sh(stop)
    sees(follow(tier, "two-servers-take-writes", commands=[deploy])[-1], mended)
    assert takers(tier) == [OLD]
    assert is_in_sync(tier, NEW)
    (log,) = [path for path in set(lab.lab.hosts[NEW].sh(aside).split()) - before if "appendonlydir" in path]
    assert "here it is" in lab.lab.hosts[NEW].sh(f"cat {log}/*.incr.aof")


def test_nobody_serves_a_role(lab: Tier) -> None:
    """docs/runbook.md: the old server was told to follow, and its unit died before the standby was told to serve."""
    tier = paired(lab)
    text = "[Service]\\nExecStartPre=+/bin/false\\n"
    fence = "/etc/systemd/system/redis-crypto.service.d/handed-over.conf"
    lab.lab.hosts[OLD].sh(f"mkdir -p {Path(fence).parent}; printf '{text}' >{fence}; systemctl daemon-reload")
    with at(tier, OLD) as known:
        known.config_set("masteruser", "replication", "masterauth", tier.passwords["crypto"]["replication"])
    told(tier, OLD, "REPLICAOF", ADDRESS[NEW], PORT)
    assert takers(tier) == []
    seen, finished = entries()["nobody-serves-a-role"].quotes
    done = tier.run("tasks/status.py")
    assert done.returncode != 0
    sees(done, seen.removeprefix("critical "))
    assert tier.run("deploy.py").returncode != 0
    assert takers(tier) == []
    (command,) = entries()["nobody-serves-a-role"].commands
    sees(follow(tier, "nobody-serves-a-role", commands=[command])[-1], finished)
    assert takers(tier) == [NEW]
    assert is_in_sync(tier, OLD)
    assert tier.deploy_json()["results"]["totals"]["success"] == 0
    done = tier.run(*HANDOVER)
    assert done.returncode == 0, output(done)


def refused(tier: Tier, *options: str) -> str:
    """What a deploy says that changes nothing."""
    done = tier.run("deploy.py", *options)
    assert done.returncode != 0, output(done)
    return " ".join(output(done).split())


def keys_there(tier: Tier, host: str) -> int:
    """Keys that a server has, whether it answers for them or not."""
    with at(tier, host) as known:
        return int(known.info("keyspace")["db0"]["keys"])


def test_a_primary_without_its_data_begins_nothing_that_its_standby_would_copy(lab: Tier) -> None:
    tier = paired(lab)
    old, has = lab.lab.hosts[OLD], keys_there(tier, NEW)
    assert has >= len(KEYS)
    old.sh("systemctl stop redis-crypto; mkdir /srv/disk; mv -T /var/lib/redis/crypto /srv/disk/crypto")
    for words in ((), ("--data", "begin_empty=crypto"), ("--data", "accept_loss=crypto")):
        said = refused(tier, *words)
        assert f"{NEW} has {has} keys" in said
        assert "promote=crypto" in said
    assert keys_there(tier, NEW) == has
    assert "inactive" in old.sh("systemctl is-active redis-crypto || true")
    old.sh("rm -rf /var/lib/redis/crypto; mv -T /srv/disk/crypto /var/lib/redis/crypto")
    tier.deploy()
    assert takers(tier) == [OLD]
    assert is_in_sync(tier, NEW)


def test_a_primary_whose_data_is_gone_is_replaced_while_its_host_is_up(lab: Tier) -> None:
    """It is kept from its start before the standby serves, and is the standby after a deploy."""
    tier = paired(lab)
    old, has = lab.lab.hosts[OLD], keys_there(tier, NEW)
    promote = ("tasks/handover.py", "--data", "promote=crypto")
    done = tier.run(*promote, "--data", "old_data_is_lost=true")
    assert f"{OLD} answers SSH, expected a host that is off" in output(done)  # whatever a person says: it has its data
    old.sh("systemctl stop redis-crypto; rm -rf /var/lib/redis/crypto/*")
    for words in ((), ("--data", "old_is_off=true")):
        done = tier.run(*promote, *words)
        assert done.returncode != 0, output(done)
        assert "old_data_is_lost=true" in output(done)
    assert takers(tier) == []
    done = tier.run(*promote, "--data", "old_data_is_lost=true")
    assert done.returncode == 0, output(done)
    assert takers(tier) == [NEW]
    assert keys_there(tier, NEW) >= has
    assert old.sh("systemctl start redis-crypto 2>/dev/null && echo started || true") == ""
    tier.deploy()
    assert is_in_sync(tier, OLD)
    assert tier.run(*HANDOVER).returncode == 0
    assert takers(tier) == [OLD]


def test_a_standby_that_follows_a_third_server_is_not_taken_from_it(lab: Tier) -> None:
    tier = paired(lab)
    told(tier, NEW, "REPLICAOF", "172.28.2.99", PORT)
    lab.lab.hosts[OLD].sh("systemctl stop redis-crypto")
    assert "172.28.2.99:6383" in refused(tier)
    with at(tier, NEW) as known:
        assert known.info("replication")["master_host"] == "172.28.2.99"
    lab.lab.hosts[NEW].sh("systemctl stop redis-crypto")  # no server was ever there
    tier.deploy()
    assert takers(tier) == [OLD]
    assert is_in_sync(tier, NEW)


def test_a_standby_whose_primary_left_the_inventory_is_not_begun_without_its_data(lab: Tier) -> None:
    tier = paired(lab)
    has = keys_there(tier, NEW)
    placed(lab, crypto=NEW, socket=NEW)
    said = refused(tier, "--limit", NEW)
    assert "promote=crypto" in said
    assert " mv " not in said
    assert keys_there(paired(lab), NEW) == has


def test_a_pairs_first_deploy_that_failed_is_repeated(lab: Tier) -> None:
    """The standby's files were written, and neither server has ever run."""
    tier = placed(lab, crypto=(OLD, NEW), socket=(NEW, OLD), compliance=(OLD, NEW))
    tier.deploy()
    for name in (NEW, OLD):
        lab.lab.hosts[name].sh(
            "systemctl stop redis-compliance; rm -rf /var/lib/redis/compliance/* /var/lib/caas-redis/compliance "
            "/run/caas-redis/compliance.served"
        )
    assert "copy.conf" in lab.lab.hosts[NEW].sh("ls /etc/systemd/system/redis-compliance.service.d")
    tier.deploy()
    assert is_in_sync(tier, NEW, "compliance", 6382)
    paired(lab)


def test_a_host_that_goes_down_amid_a_handover_serves_again_where_the_standby_was_not_told(lab: Tier) -> None:
    tier = paired(lab)
    (serving,) = takers(tier)
    (standby,) = {OLD, NEW} - {serving}
    there, fence = lab.lab.hosts[serving], "/etc/systemd/system/redis-crypto.service.d/handed-over.conf"
    text = "[Service]\\nExecStartPre=+/bin/false\\n"
    there.sh(f"mkdir -p {Path(fence).parent}; printf '{text}' >{fence}; systemctl daemon-reload")
    there.sh(
        "systemctl kill --signal=KILL redis-crypto; systemctl stop redis-crypto; rm -f /run/caas-redis/crypto.served"
    )
    assert takers(tier) == []
    assert tier.run("deploy.py").returncode != 0
    (command,) = entries()["nobody-serves-a-role"].commands
    (done,) = follow(tier, "nobody-serves-a-role", commands=[command])
    assert f"not handed over: {serving} serves it as before" in " ".join(output(done).split())
    assert takers(tier) == [serving]
    assert is_in_sync(tier, standby)
    with at(tier, serving) as known:
        assert known.mget(*KEYS) == list(KEYS.values())
    assert there.sh(f"test -e {fence} && echo there || true") == ""
    assert tier.deploy_json()["results"]["totals"]["success"] == 0


def test_a_standby_that_leaves_keeps_its_data_as_that_of_a_copy(lab: Tier) -> None:
    tier = paired(lab)
    tier = placed(lab, crypto=OLD, socket=(NEW, OLD))
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

"""A change that is wrong costs nothing: tried before it is used, held back by its gate, rolled back when it fails."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from tests.hosts.conftest import ROLES, Finished, Tier, operations, output, wait_for
from tests.hosts.dataset.capture import Dataset
from tests.hosts.every_way import changes, kept, write
from tests.hosts.runbook_steps import follow, sees
from tests.hosts.writer import writing
from tests.lab.containers import ContainerLab, HostSpec
from tests.runbook import entries
from tests.tree import copy_of_tree

pytestmark = pytest.mark.hosts

NOT_BUILT_IN = ("--data", 'redis_overrides={"crypto": {"activedefrag": true, "timeout": 30}}')


# systemd finds nothing wrong with it, and a trial has none of the role's directories: it is seen at the start only.
BIND = "BindPaths={{ data_directory }}\n"
ONLY_AT_A_START = (BIND, BIND.replace("\n", " /var/lib/absent\n"))


def text(tier: Tier, role: str) -> str:
    """Everything a role is started from, as it is on the host."""
    return tier.host(role).sh(
        f"cat /etc/redis/{role}.conf /etc/redis/{role}.acl /etc/systemd/system/redis-{role}.service"
    )


@contextmanager
def other_template(tier: Tier, tmp_path: Path, name: str, old: str, new: str) -> Iterator[Tier]:
    """The same tier, deployed from a copy of the repository in which one line of a template is another."""
    copy = copy_of_tree(tmp_path / "repository")
    template = copy / "templates" / name
    assert old in template.read_text()
    template.write_text(template.read_text().replace(old, new))
    yield Tier(tier.lab, tier.inventory, tier.secrets, repository=copy)
    tier.deploy()


def failed(done: Finished) -> str:
    """What a run printed that had to fail, without a traceback."""
    assert done.returncode != 0, output(done)
    assert "Traceback" not in output(done)
    return output(done)


# --- Tried before it is used


def test_a_configuration_that_redis_refuses_is_never_written_and_its_own_words_say_why(onebox: Tier) -> None:
    before, pid = text(onebox, "crypto"), onebox.pid("crypto")
    with writing(onebox, "crypto", "a configuration that Redis refuses") as writer:
        said = failed(onebox.run("deploy.py", *NOT_BUILT_IN))
    assert writer.result.failed == 0
    assert "crypto: the new configuration does not come up, nothing of it is written" in said
    assert "Active defragmentation cannot be enabled" in said
    assert text(onebox, "crypto") == before
    assert onebox.pid("crypto") == pid
    with onebox.operator("crypto") as client:
        assert client.config_get("timeout")["timeout"] == "0"
    assert onebox.host("crypto").sh("ls -d /run/redis-trial-* 2>/dev/null || true") == ""
    assert onebox.deploy_json()["results"]["totals"]["success"] == 0


def test_a_unit_that_systemd_does_not_understand_is_never_written(onebox: Tier, tmp_path: Path) -> None:
    before = {role: (text(onebox, role), onebox.pid(role)) for role in ROLES}
    with other_template(onebox, tmp_path, "redis.service.j2", "OOMPolicy=continue", "OOMPolicyy=continue") as other:
        said = failed(other.run("deploy.py"))
        assert "Unknown key" in said
        assert "OOMPolicyy" in said
        assert {role: (text(onebox, role), onebox.pid(role)) for role in ROLES} == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        # The process may not even be executed.
        ("ExecPaths=+/usr/bin/redis-server +/usr/bin/redis-check-rdb +/usr/lib +/lib\n", "", "203/EXEC"),
        ("RestrictAddressFamilies=AF_INET AF_UNIX", "RestrictAddressFamilies=AF_INET", "Failed opening Unix socket"),
        ("PrivateUsers=yes", "PrivateUsers=yes\nUser=nobody-there", "217/USER"),
    ],
)
def test_what_only_the_sandbox_of_the_unit_forbids_is_found_before_anything_is_written(
    onebox: Tier, tmp_path: Path, old: str, new: str, words: str
) -> None:
    before = {role: (text(onebox, role), onebox.pid(role)) for role in ROLES}
    with other_template(onebox, tmp_path, "redis.service.j2", old, new) as other:
        said = failed(other.run("deploy.py"))
        assert "crypto: the new configuration does not come up, nothing of it is written" in said
        assert words in said
        assert {role: (text(onebox, role), onebox.pid(role)) for role in ROLES} == before
    assert (
        onebox.host("crypto").sh(
            "systemctl list-units --all --no-legend 'redis-trial*'; ls -d /run/redis-trial-* || true"
        )
        == ""
    )


def test_rules_that_nft_does_not_understand_are_never_written(onebox: Tier, tmp_path: Path) -> None:
    rules = "cat /etc/redis/inner-port.nft; nft list ruleset"
    before = onebox.host("socket").sh(rules)
    with other_template(onebox, tmp_path, "inner-port.nft.j2", "policy accept", "polizy accept") as other:
        assert "inner port: the new configuration does not come up" in failed(other.run("deploy.py"))
        assert onebox.host("socket").sh(rules) == before


# --- Rolled back


def test_an_instance_that_does_not_come_up_is_rolled_back_and_no_other_is_restarted(
    onebox: Tier, tmp_path: Path
) -> None:
    before = {role: (text(onebox, role), onebox.pid(role)) for role in ROLES}
    with other_template(onebox, tmp_path, "redis.service.j2", *ONLY_AT_A_START) as other:
        scenario = "a unit that does not come up, rolled back"
        with (
            kept(onebox, "compliance"),
            writing(onebox, "compliance", scenario) as first,
            writing(onebox, "gateway", scenario) as another,
        ):
            said = failed(other.run("deploy.py"))
        assert (first.result.interruptions, another.result.failed) == (1, 0)
        assert "226/NAMESPACE" in said
        assert said.count("rolled back, the previous configuration runs and serves") == 1
        assert {role: text(onebox, role) for role in ROLES} == {role: kept for role, (kept, _) in before.items()}
        assert [role for role in ROLES if onebox.pid(role) != before[role][1]] == ["compliance"]
        for role in ROLES:
            with onebox.operator(role) as client:
                assert client.ping()
    assert onebox.host("crypto").sh("ls /etc/redis | grep previous || true") == ""


def test_an_instance_that_is_down_and_does_not_start_anew_runs_as_it_did_before(onebox: Tier, tmp_path: Path) -> None:
    before = text(onebox, "socket")
    with other_template(onebox, tmp_path, "redis.service.j2", *ONLY_AT_A_START) as other, kept(onebox, "socket"):
        onebox.host("socket").sh("systemctl stop redis-socket")
        failed(other.run("deploy.py"))
        assert text(onebox, "socket") == before
        with onebox.operator("socket") as client:
            assert client.ping()


# --- The gate


def test_an_instance_whose_log_was_taken_away_writes_it_anew_before_it_is_restarted(onebox: Tier) -> None:
    pid = onebox.pid("crypto")
    with kept(onebox, "crypto"):
        onebox.host("crypto").sh("rm -r /var/lib/redis/crypto/appendonlydir")
        onebox.deploy("--data", 'redis_overrides={"crypto": {"databases": 32}}')
        assert onebox.pid("crypto") != pid
    onebox.deploy()


def test_an_instance_whose_rewrite_failed_is_not_restarted(onebox: Tier) -> None:
    host, pid, before = onebox.host("crypto"), onebox.pid("crypto"), text(onebox, "crypto")
    directory = "/var/lib/redis/crypto/appendonlydir"

    def failed_rewrite() -> bool:
        with onebox.operator("crypto") as client:
            return bool(client.info("persistence")["aof_last_bgrewrite_status"] != "ok")

    with onebox.operator("crypto") as client, suppress(redis.exceptions.ResponseError):
        host.sh(f"chmod 500 {directory}")
        client.execute_command("BGREWRITEAOF")
    try:
        wait_for(failed_rewrite, "the rewrite fails")
        host.sh(f"chmod 700 {directory}")
        said = failed(onebox.run("deploy.py", "--data", 'redis_overrides={"crypto": {"databases": 32}}'))
        assert "not restarted: aof_last_bgrewrite_status is err, expected ok" in said
        assert onebox.pid("crypto") == pid
        assert text(onebox, "crypto") == before
    finally:
        host.sh(f"chmod 755 {directory}")
        with onebox.operator("crypto") as client:
            client.execute_command("BGREWRITEAOF")
        wait_for(lambda: not failed_rewrite(), "the rewrite succeeds")
        onebox.deploy()


def test_an_instance_that_could_not_save_its_data_on_the_disk_is_not_restarted(onebox: Tier) -> None:
    host, pid = onebox.host("crypto"), onebox.pid("crypto")
    # Memory in use counts, not the keys: a snapshot is never larger.
    with onebox.operator("crypto") as client:
        for number in range(40):
            client.set(f"test:{number}", "x" * (1 << 20))
    free = int(host.sh("df -k --output=avail /var/lib/redis/crypto | tail -n 1")) * 1024
    mount = "mount -t tmpfs -o size=100m,mode=0750,uid=redis-crypto,gid=redis-crypto none"
    assert free > 100 << 20
    host.sh(f"systemctl stop redis-crypto; cp -a /var/lib/redis/crypto /run/kept; {mount} /var/lib/redis/crypto")
    try:
        host.sh("cp -a /run/kept/. /var/lib/redis/crypto/; systemctl start redis-crypto")
        pid = onebox.pid("crypto")
        said = failed(onebox.run("deploy.py", "--data", 'redis_overrides={"crypto": {"databases": 32}}'))
        assert "the disk has" in said
        assert "MiB free, stopping safely may take" in said
        assert onebox.pid("crypto") == pid
    finally:
        host.sh(
            "systemctl stop redis-crypto; umount /var/lib/redis/crypto; systemctl start redis-crypto; rm -r /run/kept"
        )
        with onebox.operator("crypto") as client:
            client.flushall()
        onebox.deploy()


def test_what_an_interrupted_deploy_kept_is_forgotten_by_the_next_one(onebox: Tier) -> None:
    onebox.host("shared").sh("cp -p /etc/redis/shared.conf /etc/redis/shared.conf.previous")
    done = onebox.run("tasks/drift.py")
    assert "/etc/redis/shared.conf.previous" in output(done)
    assert operations(onebox.deploy()) == ["Hold the host", "Forget the previous configuration", "Prove the tier"]
    assert onebox.host("shared").sh("ls /etc/redis/shared.conf.previous 2>/dev/null || true") == ""


# --- Data that is not in the form the configuration loads


def leave_a_snapshot_only(tier: Tier, role: str) -> Dataset:
    """A stopped role whose data, which is returned, is in dump.rdb and nowhere else."""
    held = write(tier, role)
    with tier.operator(role) as client:
        client.execute_command("SAVE")
    data = f"/var/lib/redis/{role}"
    tier.host(role).sh(f"systemctl stop redis-{role}; cd {data}; rm -rf *.old; mv appendonlydir appendonlydir.old")
    return held


def test_a_stopped_server_with_a_snapshot_and_no_log_keeps_its_data(onebox: Tier) -> None:
    held = leave_a_snapshot_only(onebox, "gateway")
    host = onebox.host("gateway")
    plan = output(onebox.run("deploy.py", "--dry", yes=False))
    assert "the data is in dump.rdb → on disk (make the append-only log from the snapshot)" in plan
    assert host.sh("ls /var/lib/redis/gateway").split() == ["appendonlydir.old", "dump.rdb"]
    onebox.deploy()
    with onebox.operator("gateway") as client:
        assert client.config_get("appendonly")["appendonly"] == "yes"
    assert changes(onebox, "gateway", held) == []
    host.sh("systemctl kill --signal=KILL redis-gateway")
    assert changes(onebox, "gateway", held) == []


def test_the_unit_itself_does_not_start_empty_over_a_snapshot(onebox: Tier) -> None:
    held = leave_a_snapshot_only(onebox, "gateway")
    host = onebox.host("gateway")
    before = host.sh("sha256sum /var/lib/redis/gateway/dump.rdb")
    assert host.call("systemctl start redis-gateway").returncode != 0
    said = host.sh("journalctl -u redis-gateway")
    assert "is missing, and /var/lib/redis/gateway/dump.rdb, which may be older, is there: deploy" in said
    found = host.sh("sha256sum /var/lib/redis/gateway/dump.rdb; ls /var/lib/redis/gateway")
    assert found == f"{before}appendonlydir.old\ndump.rdb\n"
    # It has tried to start since the log was put aside: whether that was meant is to be said.
    onebox.deploy("--data", "accept_loss=gateway")
    assert changes(onebox, "gateway", held) == []


KILL = "systemctl kill --signal=KILL redis-crypto; systemctl stop redis-crypto"  # so that it does not save


@pytest.mark.parametrize("left", ["nothing", "an empty directory"])
def test_a_lost_log_is_not_replaced_by_an_older_snapshot(onebox: Tier, tmp_path: Path, left: str) -> None:
    host, data = onebox.host("crypto"), "/var/lib/redis/crypto"
    host.sh(f"mkdir -p {data}/appendonlydir.old")  # as an earlier conversion leaves one
    with onebox.operator("crypto") as client:
        client.execute_command("SAVE")
    held = write(onebox, "crypto")
    made = int(host.sh(f"stat -c %Z {data}/appendonlydir.old"))
    wait_for(lambda: int(host.sh("date +%s")) > made, "the server is stopped in a later second than that")
    host.sh(f"{KILL}; mv {data}/appendonlydir /run/away")
    if left != "nothing":
        host.sh(f"install -d -m 0700 -o redis-crypto -g redis-crypto {data}/appendonlydir")
    before = host.sh(f"sha256sum {data}/dump.rdb")
    words = f"crypto: persistence {data}/appendonlydir: gone, and {data}/dump.rdb of "
    way = f"mount its disk (findmnt {data}/appendonlydir), or restore {data}/appendonlydir (README, Data that is gone)"
    for done in (onebox.run("deploy.py"), onebox.run("deploy.py", "--dry", yes=False)):
        assert done.returncode != 0
        assert words in output(done), output(done)
        assert way in output(done)
    report = tmp_path / "drift.json"
    assert onebox.run("tasks/drift.py", "--data", f"drift_report={report}").returncode != 0
    (host_report,) = json.loads(report.read_text())["hosts"].values()
    (found,) = [item for item in host_report["differences"] if item["subject"] == "persistence"]
    assert (found["role"], found["remedy"].startswith(f"by hand: {way}")) == ("crypto", True)
    assert onebox.pid("crypto") == 0
    assert host.sh(f"sha256sum {data}/dump.rdb") == before
    host.sh(f"rm -rf {data}/appendonlydir; mv /run/away {data}/appendonlydir")
    onebox.deploy()
    assert changes(onebox, "crypto", held) == []


def test_a_snapshot_takes_the_place_of_a_lost_log_when_that_is_meant(onebox: Tier) -> None:
    host, data = onebox.host("crypto"), "/var/lib/redis/crypto"
    held = write(onebox, "crypto")
    with onebox.operator("crypto") as client:
        client.execute_command("SAVE")
        client.set("test:since", "1")
    host.sh(f"{KILL}; rm -r {data}/appendonlydir")
    assert onebox.run("deploy.py").returncode != 0
    onebox.deploy("--data", "accept_loss=crypto")
    assert changes(onebox, "crypto", held) == []
    with onebox.operator("crypto") as client:
        assert client.get("test:since") is None


def test_a_snapshot_that_redis_cannot_load_is_left_alone_and_nothing_starts(onebox: Tier) -> None:
    held = leave_a_snapshot_only(onebox, "gateway")
    host = onebox.host("gateway")
    host.sh("cp -p /var/lib/redis/gateway/dump.rdb /run/kept; echo broken >/var/lib/redis/gateway/dump.rdb")
    said = failed(onebox.run("deploy.py"))
    assert "gateway: its data on disk could not be made a log, it is not started" in said
    assert "RDB ERROR DETECTED" in said
    assert host.sh("systemctl is-active redis-gateway || true").strip() != "active"
    assert host.sh("cat /var/lib/redis/gateway/dump.rdb") == "broken\n"
    host.sh("mv /run/kept /var/lib/redis/gateway/dump.rdb")
    onebox.deploy()
    assert changes(onebox, "gateway", held) == []


# RDB format 9 without a checksum: database 0, one string.
BACKUP = base64.b64encode(b"REDIS0009\xfe\x00\x00\x04kept\x03yes\xff" + bytes(8)).decode()


def test_a_backup_that_is_put_on_a_bare_host_is_what_the_first_deploy_starts_with(tmp_path: Path) -> None:
    with ContainerLab([HostSpec("redis-crypto", ("172.28.2.5",), "trixie")]) as lab:
        tier = Tier(lab, "inventory/prod.py", tmp_path / "secrets.yaml", ("--limit", "redis-crypto"))
        data = "/var/lib/redis/crypto"
        tier.host("crypto").sh(f"mkdir -p {data} && echo {BACKUP} | base64 -d >{data}/dump.rdb")
        tier.deploy()
        with tier.operator("crypto") as client:
            assert client.get("kept") == "yes"
            assert client.config_get("appendonly")["appendonly"] == "yes"


def test_a_stopped_server_whose_role_gave_up_its_log_keeps_its_data(onebox: Tier) -> None:
    without = ("--data", 'redis_overrides={"gateway": {"appendonly": false}}')
    held = write(onebox, "gateway")
    onebox.host("gateway").sh("systemctl stop redis-gateway")
    onebox.deploy(*without)
    with onebox.operator("gateway") as client:
        assert client.config_get("appendonly")["appendonly"] == "no"
    assert changes(onebox, "gateway", held) == []
    assert onebox.deploy_json(*without)["results"]["totals"]["success"] == 0
    onebox.host("gateway").sh("systemctl stop redis-gateway")
    onebox.deploy()
    assert changes(onebox, "gateway", held) == []


def test_data_put_aside(onebox: Tier) -> None:
    """docs/runbook.md, Data put aside: of a role whose log was switched off again and again."""
    without = ("--data", 'redis_overrides={"crypto": {"appendonly": false}}')
    host, data = onebox.host("crypto"), "/var/lib/redis/crypto"
    host.sh(f"rm -rf {data}/*.old*")
    held: list[Dataset] = []
    for down in (False, True, False):
        held.append(write(onebox, "crypto"))
        if down:
            host.sh("systemctl stop redis-crypto")
        onebox.deploy(*without)
        onebox.deploy()
    names = host.sh(f"ls -d {data}/*.old*").split()
    assert len(names) == 3
    assert f"{data}/appendonlydir.old" in names
    assert all(re.fullmatch(rf"{data}/appendonlydir\.old(-[0-9]{{14}}(-[0-9]+)?)?", name) for name in names)
    assert onebox.run("tasks/drift.py").returncode == 0
    sees(onebox.run("tasks/verify.py"), entries()["data-put-aside"].quotes[0])
    *_, verified = follow(onebox, "data-put-aside")
    assert re.search(r"crypto: [0-9.]+ MiB were put aside", output(verified)) is None
    assert host.sh(f"ls -d {data}/*.old* 2>/dev/null || true") == ""
    assert "appendonlydir.old-" in host.sh("tar -tzf /root/crypto-aside.tar.gz")
    assert changes(onebox, "crypto", held[-1]) == []


# --- Two deploys


def test_a_host_that_another_deploy_holds_is_not_changed_and_its_holder_is_named(onebox: Tier) -> None:
    host, before = onebox.host("crypto"), text(onebox, "crypto")
    host.sh("echo 'somebody@elsewhere, process 7, since 2026-01-02 03:04:05 UTC' >/run/caas-redis/deploy.lock")
    host.sh("systemd-run --quiet --unit=holder flock /run/caas-redis/deploy.lock sleep 600")
    try:
        wait_for(lambda: not host.sh("flock -n /run/caas-redis/deploy.lock echo free || true"), "the host is held")
        said = failed(onebox.run("deploy.py", "--data", 'redis_overrides={"crypto": {"timeout": 30}}'))
    finally:
        host.sh("systemctl stop holder")
    holder = "somebody@elsewhere, process 7, since 2026-01-02 03:04:05 UTC"
    who = r"nothing was changed: another deploy holds this host: process \d+ \(flock\) of root, "
    assert re.search(who + re.escape(holder), said)
    assert host.sh("stat -c '%U %a' /run/caas-redis") == "root 700\n"
    assert text(onebox, "crypto") == before


def test_a_deploy_with_nothing_to_do_and_a_dry_run_hold_nothing(onebox: Tier) -> None:
    stamp = "stat -c %.9Y /run/caas-redis/deploy.lock"
    before = onebox.host("crypto").sh(stamp)
    onebox.deploy()
    onebox.run("deploy.py", "--dry", "--data", 'redis_overrides={"crypto": {"timeout": 30}}', yes=False)
    assert onebox.host("crypto").sh(stamp) == before

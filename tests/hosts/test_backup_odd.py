"""Backups of roles that are not as usual: with TLS, without a log, down, without data; times, and what was set back."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tests.certificates import Authority, Files
from tests.hosts.conftest import Tier, layout, operations, output, wait_for
from tests.hosts.proving import proves
from tests.hosts.runbook_steps import follow
from tests.hosts.test_backup import REPOSITORY
from tests.hosts.test_tls import Client
from tests.lab.containers import ContainerLab
from tests.runbook import entries

pytestmark = [pytest.mark.hosts, pytest.mark.soak]

SECURED, WITHOUT_LOG, PLAIN = "crypto", "shared", "compliance"
ADDRESS = "172.28.2.5"
ODD_PASSWORD = 'blank "quote\\" #and \'back\\slash $(id) %40 long enough to be taken'


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return (
        Files(tmp_path_factory.mktemp("tls") / "files", ADDRESS, Authority()).renew().give("crypto-service", "operator")
    )


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Iterator[Tier]:
    """Five roles on one host; three have backups: with TLS, without a log, and with an odd password of reader."""
    plan = {"repository": REPOSITORY, "roles": [SECURED, WITHOUT_LOG, PLAIN]}
    overrides = {
        SECURED: {"tls": files.block(), "plain_inner_port": False},
        WITHOUT_LOG: {"appendonly": False, "save": "3600 1"},
    }
    with ContainerLab(layout("onebox", "bookworm")) as lab:
        lab.hosts["redis-1"].sh(f"mkdir -m 0700 {REPOSITORY}")
        secrets = tmp_path_factory.mktemp("odd") / "secrets.yaml"
        secrets.write_text(yaml.safe_dump({PLAIN: {"reader": ODD_PASSWORD}}))
        secrets.chmod(0o600)
        options = ("--data", f"redis_backup={json.dumps(plan)}", "--data", f"redis_overrides={json.dumps(overrides)}")
        tier = Tier(lab, "inventory/onebox.py", secrets, options)
        deployed = tier.deploy()
        assert f"{WITHOUT_LOG}: it is empty and has never saved: there is nothing to copy yet" in output(deployed)
        assert proof(tier, WITHOUT_LOG)[0] == 0
        assert tier.run("tasks/verify.py").returncode == 0
        yield tier


def copied(tier: Tier, role: str) -> str:
    """What a copy that a person makes says; it has succeeded."""
    done = tier.run("tasks/backup.py", "--data", f"backup={role}")
    assert done.returncode == 0, output(done)
    return output(done)


def proof(tier: Tier, role: str) -> tuple[int, str]:
    """How the unit that proves ended, and what it said."""
    since = int(time.time())
    ended = not proves(tier.host(role), role)
    said = tier.host(role).sh(f"journalctl -q --no-pager -o cat --since=@{since} -u caas-redis-proof-{role}.service")
    return int(ended), said


def restored(tier: Tier, role: str, *options: str) -> str:
    """What a restore says that has put a copy in place; that verify then finds another thing is not its failure."""
    done = tier.run("tasks/restore.py", "--data", f"restore={role}", *options)
    assert f"{role}: restored from the copy of" in output(done), output(done)
    assert "not restored" not in output(done)
    return output(done)


def manifest(tier: Tier, role: str) -> dict[str, list[str]]:
    """The newest copy's manifest: what it says, by first word."""
    password = yaml.safe_load(tier.secrets.read_text())[role]["backup"]
    text = tier.host(role).sh(
        f"RESTIC_PASSWORD={password} restic -q -r {REPOSITORY}/{role} dump --tag manifest latest /{role}.manifest"
    )
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        found.setdefault(line.partition(" ")[0], []).append(line.partition(" ")[2])
    return found


def test_the_first_save_of_a_role_without_a_log_is_noted_by_its_host(tier: Tier) -> None:
    host, begun = tier.host(WITHOUT_LOG), f"/var/lib/caas-redis/{WITHOUT_LOG}"
    assert host.call(f"test -e {begun}").returncode == 1
    with tier.operator(WITHOUT_LOG) as operator:
        operator.set("test:first", "kept")
        operator.save()
    wait_for(lambda: host.call(f"test -e {begun}").returncode == 0, "it is noted")
    drift = tier.run("tasks/drift.py")
    assert drift.returncode == 0, output(drift)
    assert operations(tier.deploy()) == ["Prove the tier"]


def test_a_role_with_tls_is_copied_with_bounds_proved_and_restored(tier: Tier, files: Files) -> None:
    with Client(tier, files) as client:
        client.set("test:tls", "as it was")
        copied(tier, SECURED)
        known = manifest(tier, SECURED)
        assert int(known["keys"][0]) >= 1, known
        assert known["sample"]
        client.set("test:tls", "a mistake")
    assert proof(tier, SECURED)[0] == 0
    restored(tier, SECURED)
    with Client(tier, files) as client:
        assert client.get("test:tls") == b"as it was"


def test_an_odd_password_of_reader_costs_no_bounds(tier: Tier) -> None:
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        client.set("test:odd", "x")
    copied(tier, PLAIN)
    known = manifest(tier, PLAIN)
    assert known["low"]
    assert known["sample"]
    ended, said = proof(tier, PLAIN)
    assert ended == 0, said


def test_a_role_without_a_log_is_bound_by_its_snapshot_and_not_by_what_came_after_it(tier: Tier) -> None:
    with tier.operator(WITHOUT_LOG) as operator:
        for number in range(300):
            operator.set(f"test:{number}", "saved")
        operator.bgsave()
        wait_for(lambda: operator.info()["rdb_bgsave_in_progress"] == 0, "it has saved")
        for number in range(200):
            operator.delete(f"test:{number}")
        for number in range(1000):
            operator.set(f"test:later:{number}", "not saved")
        copied(tier, WITHOUT_LOG)
        known = manifest(tier, WITHOUT_LOG)
        assert known["low"] == known["high"] == known["keys"]
        assert int(known["keys"][0]) >= 300
        saved = int(operator.info()["rdb_last_save_time"])
    tier.deploy()  # which notes that the role has had data
    assert saved <= int(known["at"][0]) <= saved + 1  # of then is what is in it, not of now
    ended, said = proof(tier, WITHOUT_LOG)
    assert ended == 0, said
    restored(tier, WITHOUT_LOG)
    with tier.operator(WITHOUT_LOG) as operator:
        assert operator.get("test:0") == "saved"
        assert operator.get("test:later:0") is None


def test_a_role_that_is_down_is_copied_and_its_proof_says_that_nothing_was_compared(tier: Tier) -> None:
    host = tier.host(PLAIN)
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        client.set("test:down", "as it was")
    host.sh(f"systemctl stop redis-{PLAIN}.service")
    assert f"nothing to compare the copy with: redis-{PLAIN}.service does not run" in copied(tier, PLAIN)
    ended, said = proof(tier, PLAIN)
    assert ended != 0
    assert "there is nothing to compare it with" in said
    restored(tier, PLAIN)  # the role is down: what it had is set aside, and the copy is served
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        assert client.get("test:down") == "as it was"
    copied(tier, PLAIN)
    assert proof(tier, PLAIN)[0] == 0


def test_a_role_whose_data_is_gone_is_restored(tier: Tier) -> None:
    host, unit = tier.host(PLAIN), f"redis-{PLAIN}.service"
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        client.set("test:gone", "as it was")
    copied(tier, PLAIN)
    host.sh(f"systemctl kill --signal=KILL {unit}; systemctl stop {unit}; rm -rf /var/lib/redis/{PLAIN}/*")
    restored(tier, PLAIN)
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        assert client.get("test:gone") == "as it was"
    assert proof(tier, PLAIN)[0] == 0
    assert tier.run("tasks/drift.py").returncode == 0


def test_a_copy_that_waited_for_another_bears_no_time_from_before_its_content(tier: Tier) -> None:
    host, lock = tier.host(PLAIN), f"/run/caas-redis/{PLAIN}.backup.lock"
    holder = host.sh(f"setsid flock --no-fork {lock} sleep 600 >/dev/null 2>&1 </dev/null & echo $!").strip()
    unit = f"caas-redis-backup-{PLAIN}.service"
    host.sh(f"systemctl start --no-block {unit}")
    wait_for(lambda: "flock" in host.sh(f"systemctl status {unit} || true"), "the copy waits")
    began = datetime.now(UTC)
    wait_for(lambda: (datetime.now(UTC) - began).total_seconds() > 2, "two seconds are over")
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        client.set("test:late", "of later")
    host.sh(f"kill {holder}")
    wait_for(lambda: "inactive" in host.sh(f"systemctl is-active {unit} || true"), "the copy was made", 60)
    assert int(manifest(tier, PLAIN)["at"][0]) >= began.timestamp() + 2
    at = f"{began:%Y-%m-%d %H:%M:%S}"
    restored(tier, PLAIN, "--data", f"at={at}")
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        assert client.get("test:late") is None


def test_a_repository_that_was_set_back_is_not_proved(tier: Tier) -> None:
    host = tier.host(PLAIN)
    copied(tier, PLAIN)
    host.sh(f"rm -rf /srv/earlier; cp -a {REPOSITORY}/{PLAIN} /srv/earlier")
    copied(tier, PLAIN)
    host.sh(f"mv {REPOSITORY}/{PLAIN} /srv/later; cp -a /srv/earlier {REPOSITORY}/{PLAIN}")
    ended, said = proof(tier, PLAIN)
    assert ended != 0
    assert "has not the copy that was made here last" in said
    failed = tier.run("tasks/backup.py", "--data", f"backup={PLAIN}")
    assert failed.returncode == 1
    assert "it was set back, or somebody deleted it; a new copy is stored" in output(failed)
    refused = tier.run("tasks/restore.py", "--data", f"restore={PLAIN}")
    assert refused.returncode != 0
    assert "which its repository has not: it was set back" in output(refused)
    host.sh(f"rm -rf {REPOSITORY}/{PLAIN}; mv /srv/later {REPOSITORY}/{PLAIN}")
    assert proof(tier, PLAIN)[0] == 0


def test_a_file_of_any_age_hides_no_copy(tier: Tier) -> None:
    host = tier.host(PLAIN)
    for moment in ("1960-01-01", "2400-01-01"):
        host.sh(f"touch -d {moment} /var/lib/redis/{PLAIN}/appendonlydir/*.incr.aof")
        run = copied(tier, PLAIN).rpartition("run ")[2].split()[0]
        listed = tier.run("tasks/backup.py", "--data", "list=true", "--data", f"backup={PLAIN}")
        assert run in output(listed), moment
    host.sh(f"touch /var/lib/redis/{PLAIN}/appendonlydir/*.incr.aof")


def restoring(tier: Tier, role: str = PLAIN) -> "subprocess.Popen[str]":
    """A restore of a role under way, as a process of this machine."""
    words = ["-y", *tier.options, "--data", f"redis_secrets_file={tier.secrets}", "--data", f"restore={role}"]
    program = Path(sys.executable).with_name("pyinfra")
    argv: list[str | Path] = [
        "nsenter",
        f"--net={tier.lab.record.netns}",
        "--",
        program,
        *words,
        tier.inventory,
        "tasks/restore.py",
    ]
    env = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"} | {"HOME": str(tier.lab.home)}
    pipe, same = subprocess.PIPE, subprocess.STDOUT
    return subprocess.Popen(argv, env=env, cwd=tier.repository, text=True, stdout=pipe, stderr=same)


MOMENTS = {
    "it was stopped": "systemctl show -P MainPID redis-{role} | grep -qx 0",
    "its data was set aside": "test $(ls -d /var/lib/redis/{role}/*.replaced-* 2>/dev/null | wc -l) -gt {count}",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_controller_that_is_killed_amid_a_restore_leaves_a_role_that_serves(tier: Tier, moment: str) -> None:
    host, watch = tier.host(PLAIN), f"caas-redis-restore-{PLAIN}.service"
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        client.set("test:killed", "as it was")
        copied(tier, PLAIN)
        client.set("test:killed", "later")
    since = int(time.time())
    count = host.sh(f"ls -d /var/lib/redis/{PLAIN}/*.replaced-* 2>/dev/null | wc -l").strip()
    came = MOMENTS[moment].format(role=PLAIN, count=count)
    with restoring(tier) as run:
        host.sh(f"timeout 120 sh -c 'until {came}; do :; done'")
        run.kill()
        run.communicate(timeout=60)
    ended = "systemctl is-active " + watch
    wait_for(lambda: host.call(ended).stdout.strip() not in ("active", "activating"), "its host has ended it", 120)
    assert host.sh(f"systemctl is-active redis-{PLAIN}.service").strip() == "active"
    said = host.sh(f"journalctl -q --no-pager -o cat --since=@{since} -u {watch}")
    assert f"{PLAIN}: the controller of its restore is gone: " in said
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        expected = "later" if "what was there before runs again" in said else "as it was"
        assert client.get("test:killed") == expected, said
    assert tier.run("tasks/drift.py").returncode == 0
    tier.deploy()
    restored(tier, PLAIN)
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        assert client.get("test:killed") == "as it was"
    assert host.call(f"systemctl is-active {watch}").stdout.strip() == "inactive"


def test_a_controller_that_slept_amid_a_restore_stops_nothing_that_its_host_has_started(tier: Tier) -> None:
    host, watch = tier.host(PLAIN), f"caas-redis-restore-{PLAIN}.service"
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        client.set("test:slept", "as it was")
        copied(tier, PLAIN)
        client.set("test:slept", "later")
    with restoring(tier) as run:
        host.sh(f"timeout 120 sh -c 'until {MOMENTS['it was stopped'].format(role=PLAIN)}; do :; done'")
        run.send_signal(signal.SIGSTOP)
        ended = "systemctl is-active " + watch
        wait_for(lambda: host.call(ended).stdout.strip() not in ("active", "activating"), "its host has ended it", 120)
        pid = tier.pid(PLAIN)
        run.send_signal(signal.SIGCONT)
        said = run.communicate(timeout=120)[0]
    assert run.returncode != 0, said
    assert "the host has ended this restore" in said
    assert tier.pid(PLAIN) == pid
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        assert client.get("test:slept") in ("later", "as it was")
    tier.deploy()
    assert tier.pid(PLAIN) == pid


def test_ctrl_c_amid_a_restore_leaves_a_role_that_serves(tier: Tier) -> None:
    copied(tier, PLAIN)
    host, pid = tier.host(PLAIN), tier.pid(PLAIN)
    with restoring(tier) as run:
        wait_for(lambda: tier.pid(PLAIN) != pid, "its server was stopped", 120)
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=120)[0]
    assert run.returncode == 1, said
    assert "its data is being replaced, which is not left half-done" in said
    assert "restored from the copy of" in said
    assert host.sh(f"systemctl is-active redis-{PLAIN}.service").strip() == "active"
    assert tier.run("tasks/verify.py").returncode == 0


def named(tier: Tier) -> str:
    """What a restore of today would take, or why nothing."""
    done = tier.run("tasks/restore.py", "--dry", "--data", f"restore={PLAIN}", yes=False)
    return output(done)


def test_what_a_dead_host_copies_that_came_back_is_not_taken_silently(tier: Tier) -> None:
    host, record, noted = tier.host(PLAIN), f"/var/lib/caas-redis/{PLAIN}.backup", f"/var/lib/caas-redis/{PLAIN}.life"
    first = copied(tier, PLAIN).rpartition("run ")[2].split()[0]
    before = manifest(tier, PLAIN)
    # The host in its place: it was restored from that copy, and goes on.
    host.sh(f"cp -p {record} /root/dead.backup; cp -p {noted} /root/dead.life")
    host.sh(
        f"printf '%s\\n' 'life {'b' * 16}' 'machine {before['machine'][0]}' 'first {before['at'][0]}' "
        f"'after {before['life'][0]}-{before['at'][0]}' >{noted}"
    )
    own = copied(tier, PLAIN).rpartition("run ")[2].split()[0]
    host.sh(f"cp -p {record} /root/alive.backup; cp -p {noted} /root/alive.life")
    # The dead one comes back, and its timer copies what it has.
    host.sh(f"cp -p /root/dead.backup {record}; cp -p /root/dead.life {noted}")
    stale = copied(tier, PLAIN).rpartition("run ")[2].split()[0]
    assert "the data of this host was restored on another one" in named(tier)
    host.sh(f"cp -p /root/alive.backup {record}; cp -p /root/alive.life {noted}")
    assert f"run {own}" in named(tier)
    listed = output(tier.run("tasks/backup.py", "--data", "list=true", "--data", f"backup={PLAIN}"))
    assert all(run in listed for run in (first, own, stale))
    # The proof of each is that of what it made itself.
    assert proof(tier, PLAIN)[0] == 0


def after_a_write(tier: Tier, key: str) -> datetime:
    """A second of the server's clock after `key` was written, in a log that says when what was."""
    with tier.client(PLAIN, f"{PLAIN}-service") as client, tier.operator(PLAIN) as operator:
        operator.config_set("aof-timestamp-enabled", "yes")
        client.set(key, "before")
        last = int(operator.time()[0])
        wait_for(lambda: int(operator.time()[0]) > last + 1, "two seconds are over")
        return datetime.fromtimestamp(int(operator.time()[0]), UTC)


def test_a_mistake_is_undone_to_the_second_before_it(tier: Tier) -> None:
    """docs/runbook.md, A mistake is undone: everything is flushed, in a role whose log says when what was written."""
    at = after_a_write(tier, "test:undo")
    with tier.client(PLAIN, f"{PLAIN}-service") as client, tier.operator(PLAIN) as operator:
        with client.pipeline(transaction=True) as both:
            both.set("test:undo", "a mistake").set("test:undo:later", "x").execute()
        operator.flushall()
    words = ("--data", f"at={at:%Y-%m-%d %H:%M:%S}")
    beside = tier.run("tasks/restore.py", "--data", f"restore={PLAIN}", *words, "--data", "into=/srv/undo")
    assert beside.returncode == 0, output(beside)
    assert "before" in tier.host(PLAIN).sh("cat /srv/undo/log/*.incr.aof")
    assert "FLUSHALL" not in tier.host(PLAIN).sh("cat /srv/undo/log/*.incr.aof").upper()
    loads, gets, ends = entries()["a-mistake-is-undone"].commands[2:]
    places = {"redis-crypto": f"redis-{PLAIN}", "/srv/look": "/srv/undo", "KEY": "test:undo"}
    follow(tier, "a-mistake-is-undone", PLAIN, [loads], places)
    looks = "redis-cli -s /srv/undo/s PING 2>&1 || true"
    wait_for(lambda: tier.host(PLAIN).sh(looks).strip() == "PONG", "it is loaded")
    assert follow(tier, "a-mistake-is-undone", PLAIN, [gets, ends], places)[0].stdout.strip() == "before"
    dry = tier.run("tasks/restore.py", "--dry", "--data", f"restore={PLAIN}", *words, yes=False)
    assert "from its own log as it was at" in output(dry)
    done = tier.run("tasks/restore.py", "--data", f"restore={PLAIN}", *words)
    assert f"{PLAIN}: restored from its own log as it was at" in output(done), output(done)
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        assert client.get("test:undo") == "before"
        assert client.get("test:undo:later") is None
    # A log that is written anew while a person reads the question reaches back to it no more: nothing is cut.
    with tier.client(PLAIN, f"{PLAIN}-service") as client, tier.operator(PLAIN) as operator:
        operator.bgrewriteaof()
        wait_for(lambda: operator.info()["aof_rewrite_in_progress"] == 0, "the log is written anew")
        client.set("test:forged", b"abc\n#TS:1\r\nz")
    environment = f"$(systemctl show --property=Environment --value caas-redis-backup-{PLAIN}.service)"
    new = f"/var/lib/redis/{PLAIN}/appendonlydir.new"
    cut = f"/bin/sh /usr/local/lib/caas-redis/backup cut {new} {int(at.timestamp())}"
    said = tier.host(PLAIN).sh(f'eval "env {environment} {cut}" 2>&1 || true; rm -rf {new}')
    assert "its log was written anew meanwhile" in said
    # What it does not reach back to is a copy's.
    words = ("--data", "at=2020-01-01 00:00")
    earlier = tier.run("tasks/restore.py", "--dry", "--data", f"restore={PLAIN}", *words, yes=False)
    assert "no copy is of 2020-01-01 00:00 UTC or before" in output(earlier)
    tier.deploy()


def test_a_damaged_log_is_cut_before_its_damage(tier: Tier) -> None:
    at = after_a_write(tier, "test:damaged")
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        client.set("test:damaged", "after")
    logs = f"/var/lib/redis/{PLAIN}/appendonlydir"
    damage = f"printf rubbish >>$(ls -t {logs}/*.incr.aof | head -n 1)"
    tier.host(PLAIN).sh(damage)
    done = tier.run("tasks/restore.py", "--data", f"restore={PLAIN}", "--data", f"at={at:%Y-%m-%d %H:%M:%S}")
    assert f"{PLAIN}: restored from its own log as it was at" in output(done), output(done)
    with tier.client(PLAIN, f"{PLAIN}-service") as client:
        assert client.get("test:damaged") == "before"
    tier.deploy()


def test_a_directory_beside_is_made_nowhere_that_a_role_decides_about(tier: Tier) -> None:
    host = tier.host(PLAIN)
    done = tier.run("tasks/restore.py", "--data", f"restore={PLAIN}", "--data", f"into=/var/lib/redis/{PLAIN}/x")
    assert done.returncode != 0
    assert "below none of /var/lib/redis" in output(done)
    host.sh(f"ln -sfn /etc /srv/link; install -d -o redis-{PLAIN} /srv/theirs")
    for place, why in (("/srv/link/x", "/srv/link: symbolic link"), ("/srv/theirs/x", "/srv/theirs: of user")):
        done = tier.run("tasks/restore.py", "--data", f"restore={PLAIN}", "--data", f"into={place}")
        assert done.returncode == 1, output(done)
        assert why in output(done)
    assert host.sh("ls -d /etc/x /srv/theirs/x 2>/dev/null || true") == ""


def test_a_copy_larger_than_its_roles_memory_is_restored_in_words(tier: Tier) -> None:
    with tier.operator(WITHOUT_LOG) as operator:
        for number in range(40):
            operator.set(f"test:large:{number}", "x" * (1 << 20))
        operator.save()
    copied(tier, WITHOUT_LOG)
    overrides = json.loads(tier.options[-1].partition("=")[2])
    overrides[WITHOUT_LOG]["maxmemory"] = "16mb"
    smaller = Tier(
        tier.lab, tier.inventory, tier.secrets, (*tier.options[:-1], f"redis_overrides={json.dumps(overrides)}")
    )
    smaller.deploy("--data", "allow_eviction=true")
    done = smaller.run("tasks/restore.py", "--data", f"restore={WITHOUT_LOG}")
    assert "keys were evicted since: the copy is larger than its maxmemory" in output(done)
    tier.deploy()


def test_a_copy_that_needs_more_memory_than_its_proof_may_take_is_red_and_harms_no_service(tier: Tier) -> None:
    host, room = tier.host(PLAIN), 200
    with tier.operator(WITHOUT_LOG) as operator:
        for number in range(room):
            operator.set(f"test:large:{number}", "x" * (1 << 20))
        operator.save()
    copied(tier, WITHOUT_LOG)
    overrides = json.loads(tier.options[-1].partition("=")[2])
    overrides[WITHOUT_LOG]["maxmemory"] = "16mb"
    smaller = Tier(
        tier.lab, tier.inventory, tier.secrets, (*tier.options[:-1], f"redis_overrides={json.dumps(overrides)}")
    )
    host.sh(f"systemctl stop caas-redis-backup-{WITHOUT_LOG}.timer")  # the copy that is proved is that one
    with tier.operator(WITHOUT_LOG) as operator:
        operator.flushall()
    pids = {role: tier.pid(role) for role in (PLAIN, SECURED, WITHOUT_LOG)}
    host.sh(f"cp -p /var/lib/caas-redis/{WITHOUT_LOG}.backup /root/large.backup")
    smaller.deploy("--data", "allow_eviction=true")
    host.sh(f"cp -p /root/large.backup /var/lib/caas-redis/{WITHOUT_LOG}.backup")
    ended, said = proof(tier, WITHOUT_LOG)
    assert ended != 0
    assert "needs more memory than the " in said, said
    assert {role: tier.pid(role) for role in pids} == pids
    assert "oom" not in host.sh("systemctl list-units --all --plain --no-legend 'redis-*' | grep -v active || true")
    verified = smaller.run("tasks/verify.py")
    assert f"{WITHOUT_LOG}: critical PROOF-FAILED: the copy of run " in output(verified)
    left = "systemctl list-units --all --plain --no-legend 'caas-redis-scratch-*'; ls /var/lib/caas-redis-proof"
    assert host.sh(left) == ""
    tier.run("deploy.py")  # which ends as verify does: that proof is red until there is another
    copied(tier, WITHOUT_LOG)
    assert proof(tier, WITHOUT_LOG)[0] == 0
    tier.deploy()

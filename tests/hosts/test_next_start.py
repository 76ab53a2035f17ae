"""The next start of a server is looked at while there is time: its files are its own, its log can be loaded whole."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.steps.log import own_script
from tests.hosts.conftest import Tier, output, overriding, wait_for
from tests.lab.container import Container
from tests.lab.containers import REPOSITORY
from tests.unit.builders import desired

pytestmark = pytest.mark.hosts

ROLE = "shared"
UNIT = f"redis-{ROLE}.service"
USER = f"redis-{ROLE}"
DIRECTORY = f"/var/lib/redis/{ROLE}"
LOG = f"{DIRECTORY}/appendonlydir"
INCR = f"$(ls {LOG}/*.incr.aof)"
RESTART = overriding({ROLE: {"databases": 17}})
KEYS = 100


@pytest.fixture
def tier(onebox: Tier) -> Iterator[Tier]:
    """The tier, whose shared has a hundred keys in a log of its own; afterwards as deployed, and empty."""
    with onebox.operator(ROLE) as operator:
        operator.flushall()
        operator.bgrewriteaof()
        wait_for(lambda: not operator.info("persistence")["aof_rewrite_in_progress"], "its log is written anew")
        write(onebox, "before")
    yield onebox
    onebox.deploy()
    with onebox.operator(ROLE) as operator:
        operator.flushall()
    onebox.deploy()


def write(tier: Tier, name: str) -> None:
    with tier.operator(ROLE) as operator:
        for number in range(KEYS):
            operator.set(f"test:{name}:{number}", number)


def kept(tier: Tier, name: str) -> int:
    with tier.operator(ROLE) as operator:
        found: list[str] = operator.keys(f"test:{name}:*")
        return len(found)


def restarted(tier: Tier, how: str = "restart") -> None:
    tier.host(ROLE).sh(f"systemctl {how} {UNIT}")
    wait_for(lambda: tier.answers(ROLE), f"{ROLE} is back")


def is_well(host: Container) -> bool:
    """Whether Redis' own tool finds the log whole."""
    said = host.sh(f"setpriv --reuid={USER} --regid={USER} --init-groups redis-check-aof {LOG}/*.manifest 2>&1 || true")
    return "All AOF files and manifest are valid" in said


def drift(tier: Tier, tmp_path: Path) -> list[str]:
    """What drift finds that is not as desired."""
    report = tmp_path / "drift.json"
    done = tier.run("tasks/drift.py", "--data", f"drift_report={report}")
    found = [item["observed"] for item in json.loads(report.read_text())["hosts"]["redis-1"]["differences"]]
    assert (done.returncode == 0) == (found == [])
    return found


# --- Whose the files are


def test_data_that_is_root_s_after_a_restore_by_hand_is_given_back_without_a_restart(
    tier: Tier, tmp_path: Path
) -> None:
    host, pid = tier.host(ROLE), tier.pid(ROLE)
    host.sh(f"chown -R root:root {LOG} && chmod 0644 {INCR}")
    assert drift(tier, tmp_path) == ["appendonlydir is root:root 0700 and 3 more"]
    assert "Give data back to its users" in output(tier.deploy())
    assert set(host.sh(f"stat -c '%U:%G %a' {LOG} {LOG}/*").split("\n")) == {
        f"{USER}:{USER} 700",
        f"{USER}:{USER} 600",
        "",
    }
    assert tier.pid(ROLE) == pid
    restarted(tier)
    assert kept(tier, "before") == KEYS


def test_a_server_that_is_down_because_its_log_is_root_s_comes_up_with_all_its_keys(tier: Tier) -> None:
    host = tier.host(ROLE)
    host.sh(f"systemctl stop {UNIT}; chown -R root:root {LOG}; chmod 0600 {INCR}; systemctl start {UNIT} || true")
    assert not tier.answers(ROLE)
    tier.deploy()
    assert kept(tier, "before") == KEYS


def test_what_a_role_puts_in_the_way_of_root_is_not_followed(tier: Tier) -> None:
    """Between the look and the change a role may put a link where its log was."""
    host = tier.host(ROLE)
    instance = next(iter(desired(ROLE).instances))
    host.sh("install -d /srv/others && touch /srv/others/a.aof && chmod 0644 /srv/others/a.aof")
    host.sh(f"systemctl stop {UNIT}; mv {LOG} {LOG}.kept; ln -s /srv/others {LOG}")
    host.sh(f"ln -s /srv/others/a.aof {DIRECTORY}/dump.rdb")
    try:
        host.sh(own_script(instance, instance.user))
        assert host.sh("stat -c '%U:%G %a' /srv/others /srv/others/a.aof") == "root:root 755\nroot:root 644\n"
    finally:
        host.sh(f"rm {LOG} {DIRECTORY}/dump.rdb; mv {LOG}.kept {LOG}; systemctl start {UNIT}")


# --- Whether the log can be loaded


def damage(host: Container) -> None:
    """Sixteen bytes in the middle of the log are zeros."""
    host.sh(f'f="{INCR}"; dd if=/dev/zero of="$f" bs=1 seek=$(($(stat -c %s "$f") / 2)) count=16 conv=notrunc 2>&1')
    assert not is_well(host)


def test_a_log_that_is_damaged_is_written_anew_from_memory_before_a_restart(tier: Tier) -> None:
    host, pid = tier.host(ROLE), tier.pid(ROLE)
    damage(host)
    done = tier.deploy(*RESTART)
    assert "shared: its log cannot be loaded" in output(done)
    assert "it is written anew from memory first" in output(done)
    assert tier.pid(ROLE) != pid
    assert kept(tier, "before") == KEYS
    assert is_well(host)


def test_a_log_that_is_damaged_and_belongs_to_a_server_that_is_down_is_said_with_a_way_that_loses_nothing(
    tier: Tier,
) -> None:
    host = tier.host(ROLE)
    host.sh(f"systemctl stop {UNIT}")
    damage(host)
    before = host.sh(f"sha256sum {LOG}/*")
    done = tier.run("deploy.py")
    assert done.returncode != 0
    said = output(done)
    assert f"keep a copy first (cp -a {LOG} /root/{ROLE}-log)" in said
    assert re.search(r"mended, appendonly\.aof\.\d+\.incr\.aof would keep the first \d+ of its \d+ bytes", said)
    assert "empty" not in said
    assert host.sh(f"sha256sum {LOG}/*") == before
    repair = f"setpriv --reuid={USER} --regid={USER} --init-groups redis-check-aof --fix *.manifest"
    host.sh(f"systemctl stop {UNIT}; cp -a {LOG} /root/{ROLE}-log; cd {LOG} && yes | {repair}")
    tier.deploy()
    assert 0 < kept(tier, "before") < KEYS
    host.sh(f"rm -r /root/{ROLE}-log")


# --- A start that cut the end off


@contextmanager
def cut_inside_a_transaction(tier: Tier) -> Iterator[None]:
    """The server was killed and its log ends within a transaction; it has come up again by itself."""
    host = tier.host(ROLE)
    with tier.operator(ROLE) as operator, operator.pipeline() as transaction:
        transaction.set("test:cut:1", 1).set("test:cut:2", 2).execute()
        wait_for(lambda: operator.info("persistence")["aof_pending_bio_fsync"] == 0, "it is on disk")
    host.sh(f"systemctl stop {UNIT}; truncate --size=-20 {INCR}; systemctl start {UNIT}")
    wait_for(lambda: tier.answers(ROLE), f"{ROLE} is back")
    assert not is_well(host)
    yield


def test_writes_behind_a_transaction_that_was_cut_survive_the_next_start(tier: Tier, tmp_path: Path) -> None:
    with cut_inside_a_transaction(tier):
        pid = tier.pid(ROLE)
        (found,) = drift(tier, tmp_path)
        assert found.startswith("cut off when it started, and the next start may lose what was written since: ")
        assert "write the append-only log anew" in output(tier.deploy())
        assert tier.pid(ROLE) == pid
        write(tier, "after")
        restarted(tier)
        assert (kept(tier, "before"), kept(tier, "after")) == (KEYS, KEYS)


def test_without_a_deploy_they_are_lost(tier: Tier) -> None:
    """What the test before this one is about: Redis itself drops them."""
    with cut_inside_a_transaction(tier):
        write(tier, "after")
        restarted(tier)
        assert (kept(tier, "before"), kept(tier, "after")) == (KEYS, 0)


def test_writes_made_behind_the_cut_before_the_deploy_survive_a_restart_that_it_makes(tier: Tier) -> None:
    with cut_inside_a_transaction(tier):
        write(tier, "after")
        tier.deploy(*RESTART)
        assert (kept(tier, "before"), kept(tier, "after")) == (KEYS, KEYS)


def test_a_deploy_that_starts_a_server_over_a_cut_log_has_it_written_anew(tier: Tier) -> None:
    with cut_inside_a_transaction(tier):
        tier.host(ROLE).sh(f"systemctl stop {UNIT}")
    tier.host(ROLE).sh(f"truncate --size=-1 {INCR}")
    done = tier.run("deploy.py")
    assert done.returncode != 0
    assert "its log was written anew, so that what comes now follows no cut transaction" in output(done)
    assert is_well(tier.host(ROLE))


# --- A snapshot beside a log


def test_a_snapshot_that_somebody_put_beside_the_log_is_refused_and_neither_loaded_nor_overwritten(
    tier: Tier, tmp_path: Path
) -> None:
    """A restore by hand that would do nothing: the log wins."""
    host, pid = tier.host(ROLE), tier.pid(ROLE)
    with tier.operator(ROLE) as operator:
        operator.save()  # the server's own is fine
    assert drift(tier, tmp_path) == []
    host.sh(f"cp -p {DIRECTORY}/dump.rdb /root/backup.rdb; touch -d '2 days ago' /root/backup.rdb")
    for put in (
        f"cp -p /root/backup.rdb {DIRECTORY}/dump.rdb",
        f"install -o {USER} -g {USER} -m 0600 /root/backup.rdb {DIRECTORY}/dump.rdb",
    ):
        with tier.operator(ROLE) as operator:
            second = operator.lastsave()
        wait_for(lambda: int(host.sh("date +%s")) > second.timestamp() + 1, "the second of the last save is over")  # noqa: B023
        host.sh(put)
        before = host.sh(f"sha256sum {DIRECTORY}/dump.rdb")
        (found,) = drift(tier, tmp_path)
        assert re.fullmatch("put there .* UTC, with data of .* UTC", found)
        done = tier.run("deploy.py", *RESTART)
        assert done.returncode != 0
        assert f"{DIRECTORY}/dump.rdb: put there" in output(done)
        assert "which saved last, or started," in output(done)
        assert (host.sh(f"sha256sum {DIRECTORY}/dump.rdb"), tier.pid(ROLE)) == (before, pid)
    host.sh(f"rm {DIRECTORY}/dump.rdb")
    assert drift(tier, tmp_path) == []


def test_a_snapshot_that_is_put_in_while_the_role_is_down_is_refused_also_after_a_start(
    tier: Tier, tmp_path: Path
) -> None:
    host = tier.host(ROLE)
    with tier.operator(ROLE) as operator:
        operator.save()
    host.sh(f"mv {DIRECTORY}/dump.rdb /root/backup.rdb; touch -d '2 days ago' /root/backup.rdb; systemctl stop {UNIT}")
    end = int(host.sh(f"systemctl show --timestamp=unix -P InactiveEnterTimestamp {UNIT}").lstrip("@"))
    wait_for(lambda: int(host.sh("date +%s")) > end, "the second of its end is over")
    host.sh(f"cp -p /root/backup.rdb {DIRECTORY}/dump.rdb")
    assert "which ended" in output(tier.run("deploy.py"))
    assert not tier.answers(ROLE)
    restarted(tier, "start")
    assert len(drift(tier, tmp_path)) == 1
    host.sh(f"rm {DIRECTORY}/dump.rdb")


def test_a_log_that_lost_its_manifest_is_loaded_again_as_the_readme_says(tier: Tier, tmp_path: Path) -> None:
    host = tier.host(ROLE)
    with tier.operator(ROLE) as operator:
        operator.save()
        operator.set("test:after", "yes")
    host.sh(f"systemctl stop {UNIT}; rm {LOG}/*.manifest")
    found = drift(tier, tmp_path)
    assert any(item.startswith("absent, and there is appendonlydir/appendonly.aof.") for item in found)
    done = tier.run("deploy.py")
    assert done.returncode != 0
    assert "keep a copy first" in output(done)
    assert host.call(f"systemctl start {UNIT}").returncode != 0
    lines = re.findall(r"    (file appendonly\.aof\.7\..*)\n", (REPOSITORY / "README.md").read_text())
    number = host.sh(f"ls {LOG}").partition("appendonly.aof.")[2].partition(".")[0]
    text = "\n".join(lines).replace(".7.", f".{number}.").replace("seq 7", f"seq {number}")
    host.sh(f"systemctl stop {UNIT}; cat >{LOG}/appendonly.aof.manifest", input=f"{text}\n")
    tier.deploy()
    assert kept(tier, "before") == KEYS
    with tier.operator(ROLE) as operator:
        assert operator.get("test:after") == "yes"
    host.sh(f"rm {DIRECTORY}/dump.rdb")

"""Status of five real hosts while one is silent, loads or is gone: seen in one run, told in words, and soon."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.hosts.conftest import Finished, Tier, output, wait_for
from tests.hosts.runbook_steps import ROLE, follow, sees, service
from tests.lab.containers import ContainerLab
from tests.lab.layouts import layout
from tests.runbook import entries

pytestmark = pytest.mark.hosts

HOST = f"redis-{ROLE}"
# Seconds, with a machine that has more to do: all that is well takes about one.
WELL, AWAY = 10, 30


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    with ContainerLab(layout("prod", "bookworm")) as lab:
        tier = Tier(lab, "inventory/prod.py", tmp_path_factory.mktemp("prod") / "secrets.yaml")
        tier.deploy()
        yield tier


def status(tier: Tier, tmp_path: Path) -> tuple[Finished, dict[str, Any]]:
    """What is printed, and the JSON."""
    file = tmp_path / "status.json"
    done = tier.run("tasks/status.py", "--data", f"status_report={file}")
    assert "Traceback" not in output(done)
    report: dict[str, Any] = json.loads(file.read_text())
    print(f"status took {report['seconds']} s")
    return done, report


def soon(well: dict[str, Any]) -> float:
    """Within how many seconds all is said where somebody says nothing: two, or as long again where hosts are busy."""
    return float(max(2.0, 2.5 * well["seconds"]))


def others_are_up(report: dict[str, Any]) -> bool:
    hosts = {name: host for name, host in report["hosts"].items() if name != HOST}
    return len(hosts) == 4 and all(row["state"] == "up" for host in hosts.values() for row in host["roles"].values())


def test_five_hosts_that_are_well_are_told_of_soon(tier: Tier, tmp_path: Path) -> None:
    done, report = status(tier, tmp_path)
    assert done.returncode == 0, output(done)
    assert report["seconds"] < WELL
    assert others_are_up(report)
    assert report["hosts"][HOST]["roles"][ROLE]["state"] == "up"


def test_a_silent_server_is_said_to_be_silent_and_its_host_tells_the_rest(tier: Tier, tmp_path: Path) -> None:
    host, pid = tier.host(ROLE), tier.pid(ROLE)
    _, well = status(tier, tmp_path)
    with service(tier) as client:
        client.ping()
        host.sh(f"kill -STOP {pid}")
        try:
            done, report = status(tier, tmp_path)
        finally:
            host.sh(f"kill -CONT {pid}")
    row = report["hosts"][HOST]["roles"][ROLE]
    assert done.returncode != 0
    assert row["state"] == "silent"
    assert row["clients"] >= 1
    assert row["used"] > 1 << 20
    assert report["seconds"] < soon(well)
    assert row["process"]["state"] == "T"
    assert f"{ROLE} process: is stopped, by a signal; " in done.stdout
    assert others_are_up(report)
    assert done.stdout.startswith(f"critical {ROLE}: ")
    assert "docs/runbook.md#a-server-is-silent" in done.stdout
    assert status(tier, tmp_path)[0].returncode == 0


def test_a_host_whose_login_hangs_is_given_up_as_soon_and_hides_no_other(tier: Tier, tmp_path: Path) -> None:
    host = tier.host(ROLE)
    _, well = status(tier, tmp_path)
    host.sh("mkdir -p /root/.ssh && cat >/root/.ssh/rc", input="sleep 30\n")
    try:
        done, report = status(tier, tmp_path)
    finally:
        host.sh("rm /root/.ssh/rc")
    assert report["seconds"] < soon(well)
    words = f"critical {HOST}: error: look.sh: a command that takes a second has said nothing"
    assert " ".join(done.stdout.split()).startswith(words)
    assert others_are_up(report)


def test_a_host_whose_ssh_says_nothing_is_waited_for_some_seconds(tier: Tier, tmp_path: Path) -> None:
    host = tier.host(ROLE)
    began = time.monotonic()
    status(tier, tmp_path)
    well = time.monotonic() - began
    host.sh("kill -STOP $(systemctl show -P MainPID ssh.service)")
    try:
        began = time.monotonic()
        done, report = status(tier, tmp_path)
        took = time.monotonic() - began
    finally:
        host.sh("kill -CONT $(systemctl show -P MainPID ssh.service)")
    assert done.stdout.startswith(f"critical {HOST}: unreachable: ")
    assert took < 2 * well + 6  # paramiko's own wait for a greeting is fifteen
    assert others_are_up(report)


@contextmanager
def loading(tier: Tier, keys: int = 1_000_000, delay: int = -4) -> Iterator[None]:
    """The server has started with a log of so many keys, which it loads slowly, by a setting of Redis' own tests.

    `delay`: microseconds a key, or if negative how many keys a rest comes after.
    """
    host, unit = tier.host(ROLE), f"redis-{ROLE}.service"
    with tier.operator(ROLE) as operator:
        for first in range(1, keys + 1, 20_000):
            each = f"for n={first},{first + 19_999} do redis.call('SET','test:ballast:'..n,n) end"
            operator.execute_command("EVAL", each, 0)
    start = f"/usr/bin/redis-server /etc/redis/{ROLE}.conf --key-load-delay {delay}"
    drop_in = f"/run/systemd/system/{unit}.d"
    host.sh(f"mkdir -p {drop_in} && cat >{drop_in}/slow.conf", input=f"[Service]\nExecStart=\nExecStart={start}\n")
    host.sh(f"systemctl daemon-reload && systemctl restart --no-block {unit}")
    try:
        wait_for(lambda: is_loading(tier), "it loads", 60)
        yield
    finally:
        host.sh(f"rm -r {drop_in} && systemctl daemon-reload")
    wait_for(lambda: tier.answers(ROLE) and not is_loading(tier), "it has loaded", 180)


def is_loading(tier: Tier) -> bool:
    try:
        with tier.client(ROLE, "operator") as operator:
            return bool(operator.info("persistence")["loading"])
    except redis.exceptions.RedisError:
        return False


def test_a_server_loads_long(tier: Tier, tmp_path: Path) -> None:
    (long,) = entries()["a-server-loads-long"].quotes
    progress, *rest = entries()["a-server-loads-long"].commands
    with loading(tier):
        done, report = status(tier, tmp_path)
        sees(done, long)
        (told,) = map(output, follow(tier, "a-server-loads-long", commands=[progress]))
        assert "loading:1" in told
        assert "loading_eta_seconds:" in told
    row = report["hosts"][HOST]["roles"][ROLE]
    assert done.returncode != 0
    assert (row["state"], row["keys"]) == ("loading", None)
    assert report["seconds"] < WELL
    assert others_are_up(report)
    follow(tier, "a-server-loads-long", commands=rest)


def test_a_host_that_is_down_is_said_to_be_away_and_hides_no_other(tier: Tier, tmp_path: Path) -> None:
    tier.host(ROLE).kill()
    try:
        done, report = status(tier, tmp_path)
    finally:
        tier.host(ROLE).boot()
    assert done.returncode != 0
    assert report["hosts"][HOST]["status"] == "unreachable"
    assert done.stdout.startswith(f"critical {HOST}: unreachable: ")
    assert "docs/runbook.md#host-not-seen" in done.stdout
    assert report["seconds"] < AWAY
    assert others_are_up(report)
    wait_for(lambda: tier.answers(ROLE), "it is back", 120)

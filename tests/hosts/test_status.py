"""Status on real hosts: an outage shows within one run, whatever servers still answer; deploys leave their entry."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import redis

from tests.hosts.clients import client
from tests.hosts.conftest import TABLE, Finished, Tier, output, overriding, wait_for

pytestmark = pytest.mark.hosts

JOURNAL = "/var/lib/caas-redis/deploys.jsonl"
FEW = {"maxclients": 40}
PYINFRA = Path(sys.executable).with_name("pyinfra")
LOOP = "while true do end"


@pytest.fixture(scope="module")
def tier(onebox: Tier) -> Tier:
    onebox.deploy(*overriding({"crypto": FEW}))
    return onebox


def status(tier: Tier, tmp_path: Path, *options: str) -> tuple[Finished, dict[str, Any]]:
    """What is printed, and the host's part of the JSON."""
    file = tmp_path / "status.json"
    done = tier.run("tasks/status.py", "--data", f"status_report={file}", *overriding({"crypto": FEW}), *options)
    assert "Traceback" not in output(done)
    host: dict[str, Any] = json.loads(file.read_text())["hosts"]["redis-1"]
    return done, host


def deploys(tier: Tier) -> list[dict[str, Any]]:
    return [json.loads(line) for line in tier.host("crypto").sh(f"cat {JOURNAL}").splitlines()]


def test_a_tier_that_is_well_is_shown_in_80_columns_with_who_is_connected(tier: Tier, tmp_path: Path) -> None:
    service = TABLE["crypto"]["services"][0]
    with tier.client("crypto", service) as client:
        client.set("test:status", "x" * 1000)
        client.get("test:status")
        done, host = status(tier, tmp_path)
        client.delete("test:status")
    row = host["roles"]["crypto"]
    assert done.returncode == 0, output(done)
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80
    assert (row["state"], row["keys"], row["by_user"].get(service)) == ("up", 1, 1)
    assert row["untold"] == []
    assert 0 < row["up"] < 86400
    assert "test:status" not in output(done)


def test_refused_logins_are_those_of_others_and_not_the_proof_s(tier: Tier, tmp_path: Path) -> None:
    with tier.operator("crypto") as operator:
        operator.config_resetstat()
        operator.acl_log_reset()
    for _ in range(2):
        assert tier.run("tasks/verify.py", *overriding({"crypto": FEW})).returncode == 0
    done, host = status(tier, tmp_path, "--data", "role=crypto")
    row = host["roles"]["crypto"]
    counted = row["refused_logins"]["wrong_password"]
    assert counted >= 4
    assert (row["wrong_passwords"], row["wrong_passwords_exact"]) == (0, True)
    assert "this tool's proof" in done.stdout
    address = TABLE["crypto"]["address"]
    for _ in range(3):
        with pytest.raises(redis.exceptions.AuthenticationError):
            client(tier.lab.netns, address, TABLE["crypto"]["port"], "crypto-service", "guessed").ping()
    _, host = status(tier, tmp_path)
    row = host["roles"]["crypto"]
    assert (row["wrong_passwords"], row["wrong_passwords_exact"]) == (3, True)
    with tier.operator("crypto") as operator:
        operator.acl_log_reset()
    _, host = status(tier, tmp_path)
    row = host["roles"]["crypto"]
    assert (row["wrong_passwords"], row["wrong_passwords_exact"]) == (counted + 3, False)


def biggest(tier: Tier, tmp_path: Path) -> tuple[Finished, dict[str, Any]]:
    done, host = status(tier, tmp_path, "--data", "role=crypto")
    found: dict[str, Any] = host["roles"]["crypto"]["big_keys"]
    return done, found


def test_the_biggest_keys_of_every_database_are_named_also_of_a_role_that_is_full(tier: Tier, tmp_path: Path) -> None:
    with tier.operator("crypto") as operator:
        for number in range(0, 12_000, 1000):
            operator.mset({f"test:small:{number + n}": "x" for n in range(1000)})
        operator.select(3)
        operator.rpush("test:large\x1b[31m", *["secret-value" * 80] * 5000)
        operator.set(b"test:\xff", "y" * 100_000)
        before = operator.info("keyspace")
        operator.config_set("maxmemory", operator.info("memory")["used_memory"])
        try:
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                operator.set("test:more", "x" * 100_000)
            done, found = biggest(tier, tmp_path)
            assert operator.info("keyspace") == before
        finally:
            operator.config_set("maxmemory", TABLE["crypto"]["maxmemory"])
    top = found["biggest"][0]
    assert (top["database"], top["name"]) == (3, "test:large\\x1b[31m")
    assert 4_000_000 < top["size"] < 8_000_000
    assert (found["keys"], found["unreadable"], found["whole"], found["untold"]) == (12_002, 1, False, "")
    assert 1_000 < found["seen"] <= 10_400  # two seconds of a busy machine
    assert "db3  test:large\\x1b[31m" in done.stdout
    assert "secret-value" not in output(done)
    with tier.operator("crypto") as operator:
        operator.flushall()
        operator.set("test:only", "x")
        _, few = biggest(tier, tmp_path)
        operator.flushall()
    assert (few["whole"], [item["name"] for item in few["biggest"]]) == (True, ["test:only"])


def test_the_operator_learns_no_value_and_changes_no_key(tier: Tier) -> None:
    with tier.operator("crypto") as setting, tier.client("crypto", "operator") as operator:
        setting.set("test:value", "secret-value")
        assert operator.memory_usage("test:value")
        for words in (("GET", "test:value"), ("UNLINK", "test:value"), ("DUMP", "test:value"), ("TYPE", "test:value")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                operator.execute_command(*words)
        setting.flushall()


@contextmanager
def looping(tier: Tier, role: str) -> Iterator[None]:
    """A script keeps the server busy."""
    service = tier.client(role, TABLE[role]["services"][0])

    def loop() -> None:
        with suppress(redis.exceptions.RedisError):
            service.eval(LOOP, 0)

    thread = Thread(target=loop)
    thread.start()
    try:
        wait_for(lambda: tier.is_busy(role), "it is busy", 60)
        yield
    finally:
        with tier.operator(role) as operator:
            operator.script_kill()
        thread.join()


def test_a_busy_server_is_said_to_be_busy_and_its_host_tells_who_is_connected(tier: Tier, tmp_path: Path) -> None:
    with looping(tier, "crypto"):
        done, host = status(tier, tmp_path)
    row = host["roles"]["crypto"]
    assert done.returncode != 0
    assert row["state"] == "busy"
    assert row["clients"] >= 1
    assert row["used"] > 1 << 20
    assert "docs/runbook.md#busy" in done.stdout
    assert host["roles"]["gateway"]["state"] == "up"


def test_big_keys_of_a_busy_server_are_said_not_to_be_told(tier: Tier, tmp_path: Path) -> None:
    with looping(tier, "crypto"):
        done, found = status(tier, tmp_path, "--data", "role=crypto")
    assert found["roles"]["crypto"]["big_keys"] is None
    assert "not looked at: the server tells nothing" in done.stdout


def test_a_server_without_a_connection_left_is_said_to_have_none_and_how_many_hold_them(
    tier: Tier, tmp_path: Path
) -> None:
    service = TABLE["crypto"]["services"][0]
    clients: list[redis.Redis] = []
    with suppress(redis.exceptions.RedisError):
        for _ in range(100):
            clients.append(tier.client("crypto", service))
            clients[-1].ping()
    try:
        done, host = status(tier, tmp_path)
    finally:
        for client in clients:
            client.close()
    row = host["roles"]["crypto"]
    assert (row["state"], row["clients"]) == ("no room", FEW["maxclients"])
    assert "docs/runbook.md#maxclients" in done.stdout


def test_a_stopped_server_is_the_first_thing_said(tier: Tier, tmp_path: Path) -> None:
    tier.host("crypto").sh("systemctl stop redis-crypto.service")
    try:
        done, host = status(tier, tmp_path)
    finally:
        tier.host("crypto").sh("systemctl start redis-crypto.service")
    assert done.returncode != 0
    assert done.stdout.startswith("critical crypto: down")
    assert host["roles"]["crypto"]["state"] == "down"


def test_a_deploy_leaves_an_entry_that_root_alone_reads_and_one_that_changes_nothing_none(tier: Tier) -> None:
    before = len(deploys(tier))
    with tier.operator("gateway") as operator:
        operator.config_set("timeout", 9)
    tier.deploy(*overriding({"crypto": FEW}))
    begun, ended = deploys(tier)[before:]
    assert begun["differences"] == ["gateway: setting timeout: set live"]
    assert ended["result"] == "done"
    assert tier.host("crypto").sh(f"stat -c '%U %a' {JOURNAL}").strip() == "root 600"
    text = json.dumps(deploys(tier))
    assert not [word for users in tier.passwords.values() for word in users.values() if word in text]
    tier.deploy(*overriding({"crypto": FEW}))
    assert len(deploys(tier)) == before + 2
    shown = tier.run("tasks/status.py", "--data", "history=true", *overriding({"crypto": FEW}))
    assert "gateway: setting timeout: set live" in shown.stdout


def test_a_deploy_that_is_killed_leaves_an_entry_of_its_end(tier: Tier) -> None:
    before = len(deploys(tier))
    with tier.operator("gateway") as operator:
        operator.config_set("timeout", 9)
    secrets = ("--data", f"redis_secrets_file={tier.secrets}", *overriding({"crypto": FEW}))
    run = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{tier.lab.netns}", PYINFRA, "-y", *secrets, tier.inventory, "deploy.py"],
        cwd=tier.repository,
        env=os.environ | {"HOME": str(tier.lab.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: len(deploys(tier)) > before, "it has begun", 60)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    wait_for(partial(ended_by_itself, tier, before), "its end is written", 60)
    tier.deploy(*overriding({"crypto": FEW}))


def ended_by_itself(tier: Tier, before: int) -> bool:
    return [item.get("result") for item in deploys(tier)[before:]] == [None, "interrupted"]


def test_the_journal_keeps_the_last_entries_only(tier: Tier) -> None:
    host = tier.host("crypto")
    host.sh(f'for i in $(seq 500); do echo \'{{"deploy": "x"}}\'; done >>{JOURNAL}')
    with tier.operator("gateway") as operator:
        operator.config_set("timeout", 9)
    tier.deploy(*overriding({"crypto": FEW}))
    lines = int(re.findall(r"\d+", host.sh(f"wc -l {JOURNAL}"))[0])
    assert lines <= 210
    assert deploys(tier)[-1]["result"] == "done"

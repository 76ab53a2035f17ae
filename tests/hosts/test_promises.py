"""Promises that depend on what a host and its clients do: descriptors, connections, ports, evicted keys, packages."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.conftest import TABLE, Tier, output, overriding, wait_for
from tests.hosts.test_health import service

pytestmark = pytest.mark.hosts

DROP_IN = "/etc/systemd/system/service.d/limits.conf"


def drift(tier: Tier, tmp_path: Path, *options: str) -> list[dict[str, Any]]:
    """The differences that drift finds."""
    report = tmp_path / "drift.json"
    done = tier.run("tasks/drift.py", *options, "--data", f"drift_report={report}")
    assert "Traceback" not in output(done)
    found: list[dict[str, Any]] = json.loads(report.read_text())["hosts"]["redis-1"]["differences"]
    return found


# --- Clients


def test_fewer_clients_than_are_connected_are_refused_until_they_are_gone(onebox: Tier) -> None:
    fewer = overriding({"gateway": {"maxclients": 50}})
    held, pid = [service(onebox, "gateway") for _ in range(60)], onebox.pid("gateway")
    for one in held:
        one.ping()
    connected = [one.client_id() for one in held]
    done = onebox.run("deploy.py", *fewer)
    assert done.returncode != 0
    assert "clients are connected, and maxclients 50 would turn every new one away" in output(done)
    assert [one.client_id() for one in held] == connected
    for one in held:
        one.connection_pool.disconnect()
    onebox.deploy(*fewer)
    with onebox.operator("gateway") as operator:
        assert operator.config_get("maxclients") == {"maxclients": "50"}
    onebox.deploy()
    assert onebox.pid("gateway") == pid


# --- Descriptors


@contextmanager
def few_files(tier: Tier) -> Iterator[None]:
    """A drop-in for every service of the host, and crypto started with it."""
    host = tier.host("crypto")
    lines = "[Service]\\nLimitNOFILE=1024\\n"
    host.sh(f"mkdir -p {Path(DROP_IN).parent} && printf '{lines}' >{DROP_IN} && systemctl daemon-reload")
    host.sh("systemctl restart redis-crypto")
    wait_for(lambda: tier.answers("crypto"), "crypto answers")
    try:
        yield
    finally:
        host.sh(f"rm -f {DROP_IN} && systemctl daemon-reload")


def test_a_drop_in_that_lowers_the_open_files_is_named_and_mended(onebox: Tier, tmp_path: Path) -> None:
    with few_files(onebox):
        with onebox.operator("crypto") as operator:
            assert operator.config_get("maxclients") == {"maxclients": "992"}
        found = [(item["name"], item["observed"]) for item in drift(onebox, tmp_path) if item["role"] == "crypto"]
        assert found == [
            ("open files", "1024"),
            ("redis-crypto.service", f"LimitNOFILE=1024, by {DROP_IN}"),
        ]
        pid = onebox.pid("crypto")
        assert f"LimitNOFILE=1024, by {DROP_IN}" in output(onebox.run("deploy.py"))
        assert onebox.pid("crypto") == pid
    (left,) = drift(onebox, tmp_path)
    assert (left["name"], left["remedy"]) == ("open files", "restart")
    onebox.deploy()
    assert drift(onebox, tmp_path) == []


# --- Ports


def ports(gateway: int, socket: int) -> tuple[str, ...]:
    """Both roles on one address, without inner ports."""
    one = {"address": "172.28.2.1", "inner_port": None}
    return overriding({"gateway": {**one, "port": gateway}, "socket": {**one, "port": socket}})


def test_roles_that_swap_their_ports_are_refused_and_the_way_that_is_said_works(onebox: Tier) -> None:
    onebox.deploy(*ports(6001, 6002))
    pids = [onebox.pid(role) for role in ("gateway", "socket")]
    done = onebox.run("deploy.py", *ports(6002, 6001))
    assert done.returncode != 0
    assert "gateway: port 172.28.2.1:6002 is socket's until this deploy moves that" in output(done)
    assert "socket: port 172.28.2.1:6001 is gateway's until this deploy moves that" in output(done)
    onebox.deploy(*ports(6001, 6003))
    onebox.deploy(*ports(6002, 6003))
    onebox.deploy(*ports(6002, 6001))
    assert [onebox.pid(role) for role in ("gateway", "socket")] == pids
    onebox.deploy(*ports(6004, 6001))
    onebox.deploy()


# --- Evicted keys


@contextmanager
def writing(tier: Tier, role: str) -> Iterator[None]:
    """A service writes large values to a full role for as long as the body: keys are evicted all the time."""
    stop = threading.Event()
    client = service(tier, role)

    def write() -> None:
        count = 0
        while not stop.is_set():
            pipe = client.pipeline(transaction=False)
            for _ in range(20):
                count += 1
                pipe.set(f"test:fill:{count}", "x" * 100_000)
            pipe.execute()

    client.ping()
    writer = threading.Thread(target=write)
    writer.start()
    try:
        with tier.operator(role) as operator:
            wait_for(lambda: operator.info("stats")["evicted_keys"] > 100, "keys are evicted")
        yield
    finally:
        stop.set()
        writer.join()
        with tier.operator(role) as operator:
            operator.flushall()


def test_a_role_that_evicts_the_keys_of_the_proof_passes_it(onebox: Tier) -> None:
    options = overriding({"gateway": {"maxmemory": "16mb", "maxmemory_policy": "allkeys-random"}})
    onebox.deploy(*options)
    with writing(onebox, "gateway"):
        done = onebox.run("tasks/verify.py", *options)
        assert done.returncode == 0, output(done)
        assert "gateway: warning EVICTED" in output(done)
    onebox.deploy()


# --- Packages


def would_go(tier: Tier) -> str:
    """What an autoremove would delete."""
    return str(tier.host("crypto").sh("apt-get -s -o Debug::NoLocking=1 autoremove --purge"))


def test_packages_that_an_autoremove_would_delete_with_all_data_are_kept(onebox: Tier, tmp_path: Path) -> None:
    onebox.host("crypto").sh("apt-mark auto redis-server redis-tools nftables")
    assert "Purg redis-tools" in would_go(onebox)
    found = {(item["name"], item["remedy"]) for item in drift(onebox, tmp_path) if item["subject"] == "package"}
    assert found == {(name, "apt-mark manual") for name in ("redis-server", "redis-tools", "nftables")}
    pids = {role: onebox.pid(role) for role in TABLE}
    assert "redis-tools" in output(onebox.run("deploy.py", "--dry"))
    onebox.deploy()
    assert drift(onebox, tmp_path) == []
    assert "Purg redis-tools" not in would_go(onebox)
    assert {role: onebox.pid(role) for role in TABLE} == pids

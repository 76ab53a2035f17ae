"""Health: a tier that is as desired and not well is told by drift, page and metrics, and verify does not pass it."""

import json
import re
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.hosts import figures
from tests.hosts.clients import client, in_namespace
from tests.hosts.conftest import TABLE, Finished, Tier, output, overriding, wait_for

pytestmark = pytest.mark.hosts

SMALL = {"maxmemory": "16mb", "maxclients": 80}
CHANGED = overriding({"crypto": SMALL, "socket": SMALL})  # quickly filled
SMALL_DISK = "size=40m,mode=0750"  # less than a log grows by before it is rewritten


@pytest.fixture(scope="module")
def tier(onebox: Tier) -> Tier:
    onebox.deploy(*CHANGED)
    return onebox


@dataclass(frozen=True)
class Seen:
    """What drift and verify say."""

    drift: Finished
    verify: Finished
    host: dict[str, Any]
    files: str

    def codes(self, role: str | None) -> set[tuple[str, str]]:
        """What is not well with a role."""
        return {(item["code"], item["severity"]) for item in self.host["health"] if item["role"] == role}

    def refused(self, role: str, reason: str) -> float:
        """The metric of refused logins."""
        labels = re.escape(f'{{host="redis-1",reason="{reason}",role="{role}"}}')
        found = re.search(rf"^caas_redis_refused_logins{labels} ([0-9.e+]+)$", self.files, re.MULTILINE)
        assert found, self.files
        return float(found[1])


def look(tier: Tier, tmp_path: Path) -> Seen:
    """Both commands, whose words must agree with what the files say."""
    names = ("report", "page", "metrics")
    options = [word for name in names for word in ("--data", f"drift_{name}={tmp_path / name}")]
    drift = tier.run("tasks/drift.py", *CHANGED, *options)
    verify = tier.run("tasks/verify.py", *CHANGED)
    assert "Traceback" not in output(drift) + output(verify)
    host = json.loads((tmp_path / "report").read_text())["hosts"]["redis-1"]
    page, metrics = ((tmp_path / name).read_text() for name in ("page", "metrics"))
    for item in host["health"]:
        labels = f'code="{item["code"]}",host="redis-1",role="{item["role"] or ""}",severity="{item["severity"]}"'
        assert f"caas_redis_health{{{labels}}} 1.0" in metrics
        assert item["code"] in page
        assert f"{item['severity']} {item['code']}" in output(drift)
    return Seen(drift, verify, host, page + metrics)


def service(tier: Tier, role: str) -> "redis.Redis":
    return tier.client(role, TABLE[role]["services"][0])


def fill(tier: Tier, role: str) -> None:
    """The service writes until it is refused, down to small values: a large one may leave more than a percent free."""
    with service(tier, role) as writer:
        for size in (100_000, 1_000):
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                for count in range(10_000):
                    writer.set(f"test:fill:{size}:{count}", "x" * size)


@pytest.fixture
def emptied(tier: Tier) -> Iterator[None]:
    """What a test wrote is gone afterwards, and so are the counters."""
    yield
    for role in ("crypto", "socket"):
        with tier.operator(role) as operator:
            operator.flushall()
            operator.config_resetstat()


def test_a_tier_that_is_well_says_nothing(tier: Tier, tmp_path: Path) -> None:
    seen = look(tier, tmp_path)
    assert (seen.host["status"], seen.host["health"]) == ("in_sync", [])
    assert (seen.drift.returncode, seen.verify.returncode) == (0, 0)


@pytest.mark.parametrize("role", ["crypto", "socket"])
def test_a_role_that_refuses_every_write_is_in_sync_and_critical(
    tier: Tier, tmp_path: Path, emptied: None, role: str
) -> None:
    fill(tier, role)
    seen = look(tier, tmp_path)
    assert (seen.host["status"], seen.host["differences"]) == ("in_sync", [])
    assert seen.codes(role) == {("MEM-FULL", "critical"), ("WRITES-REFUSED", "warning")}
    assert seen.drift.returncode != 0
    assert seen.verify.returncode != 0
    assert f"{role}: critical MEM-FULL" in output(seen.verify)
    assert "In sync" in seen.files


def restarted(tier: Tier, role: str, pid: int) -> bool:
    """Whether another process than `pid` answers."""
    return tier.pid(role) not in (0, pid) and tier.answers(role)


def test_a_server_that_crashes_is_warned_of_until_it_counts_anew(tier: Tier, tmp_path: Path) -> None:
    host, unit = tier.host("crypto"), "redis-crypto.service"
    for _ in range(5):
        pid = tier.pid("crypto")
        host.sh(f"kill -9 {pid}")
        wait_for(partial(restarted, tier, "crypto", pid), "it is up again")
    seen = look(tier, tmp_path)
    assert seen.host["status"] == "in_sync"
    assert seen.codes("crypto") == {("CRASHED", "warning")}
    assert (seen.drift.returncode, seen.verify.returncode) == (0, 0)
    host.sh(f"systemctl reset-failed {unit}")
    assert look(tier, tmp_path).host["health"] == []


def test_attempts_before_the_deploy_that_mends_a_server_are_no_crashes(tier: Tier, tmp_path: Path) -> None:
    host, unit = tier.host("crypto"), "redis-crypto.service"
    host.sh(f"chmod 000 /etc/redis/crypto.acl; kill -9 {tier.pid('crypto')}")
    wait_for(lambda: int(host.sh(f"systemctl show -P NRestarts {unit}")) >= 6, "it was tried in vain", 60)
    tier.deploy(*CHANGED)
    assert look(tier, tmp_path).host["health"] == []


@contextmanager
def small_disk(tier: Tier, role: str) -> Iterator[None]:
    """The role's directory is a small disk of its own, with what was in it."""
    host, unit, directory = tier.host(role), f"redis-{role}", f"/var/lib/redis/{role}"
    host.sh(
        f"systemctl stop {unit} && mkdir -p /root/kept && cp -a {directory}/. /root/kept && "
        f"mount -t tmpfs -o {SMALL_DISK},uid={unit},gid={unit} tmpfs {directory} && cp -a /root/kept/. {directory} && "
        f"systemctl start {unit}"
    )
    try:
        yield
    finally:
        host.sh(f"systemctl stop {unit} && umount {directory} && systemctl start {unit}")
        wait_for(lambda: tier.answers(role), f"{role} answers")


def test_a_disk_without_room_for_a_rewrite_is_critical_and_names_its_role(tier: Tier, tmp_path: Path) -> None:
    with small_disk(tier, "crypto"):
        wait_for(lambda: tier.answers("crypto"), "it answers")
        seen = look(tier, tmp_path)
        assert seen.host["status"] == "in_sync"
        assert seen.codes("crypto") == {("DISK-FULL", "critical")}
        assert (seen.drift.returncode, seen.verify.returncode) == (1, 1)
        assert "free in /var/lib/redis/crypto" in output(seen.verify)


def test_refused_clients_and_wrong_passwords_are_a_warning(tier: Tier, tmp_path: Path, emptied: None) -> None:
    held = [service(tier, "socket") for _ in range(100)]
    for one in held:
        with suppress(redis.exceptions.RedisError):
            one.ping()
    for one in held:
        one.connection_pool.disconnect()
    stranger = client(tier.lab.netns, TABLE["socket"]["address"], TABLE["socket"]["port"], "socket-service-1", "wrong")
    for _ in range(100):
        with pytest.raises(redis.exceptions.AuthenticationError, match="invalid username-password pair"):
            stranger.ping()
    nobody = client(tier.lab.netns, TABLE["socket"]["address"], TABLE["socket"]["port"], None, None)
    for _ in range(50):
        with pytest.raises(redis.exceptions.AuthenticationError):
            nobody.ping()
    seen = look(tier, tmp_path)
    assert seen.codes("socket") == {("REFUSED-CLIENTS", "warning"), ("PASSWORDS-REFUSED", "warning")}
    assert seen.refused("socket", "wrong_password") >= 100
    assert seen.refused("socket", "no_login") >= 50
    assert (seen.host["status"], seen.drift.returncode, seen.verify.returncode) == ("in_sync", 0, 0)
    assert "warning REFUSED-CLIENTS" in output(seen.verify)


def stampede(tier: Tier, count: int) -> list[socket.socket]:
    """`count` clients of gateway's service, which connect first and log in all at once."""
    row, password = TABLE["gateway"], tier.passwords["gateway"]["gateway"]

    def connect() -> list[socket.socket]:
        return [socket.create_connection((row["address"], row["port"]), timeout=10) for _ in range(count)]

    clients = in_namespace(tier.lab.netns, connect)
    for one in clients:
        one.sendall(f"AUTH gateway {password}\r\n".encode())
    return clients


def test_as_many_clients_as_fit_may_log_in_at_once_and_none_is_cut_off(tier: Tier) -> None:
    with tier.operator("gateway") as operator:
        most = int(str(operator.config_get("maxclients")["maxclients"])) - 5
        clients = stampede(tier, most)
        assert {one.recv(100) for one in clients} == {b"+OK\r\n"}
        stats, memory = operator.info("stats"), operator.info("memory")
        each = memory["mem_clients_normal"] // most
        figures.add("clients that log in at once", f"{most}: {each} bytes each, {stats['evicted_clients']} cut off")
        assert (stats["evicted_clients"], stats["rejected_connections"]) == (0, 0)
    for one in clients:
        one.close()


STRANGERS = 10_000
HALF_A_COMMAND = b"*1\r\n$16384\r\n" + b"x" * 16_000  # as much as Redis takes from nobody (networking.c)


@contextmanager
def strangers(tier: Tier, role: str, says: bytes) -> Iterator[None]:
    """So many connections of nobody, held; the server itself ends those beyond maxclients."""
    row, held = TABLE[role], []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = STRANGERS + 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, max(most, hard)))

    def connect() -> None:
        for _ in range(STRANGERS):
            held.append(socket.create_connection((row["address"], row["port"]), timeout=10))
            with suppress(OSError):
                held[-1].sendall(says)

    try:
        in_namespace(tier.lab.netns, connect)
        yield
    finally:
        for one in held:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("says", [b"", HALF_A_COMMAND], ids=["idle", "half a command"])
def test_ten_thousand_strangers_cut_off_no_small_client_that_is_connected(tier: Tier, says: bytes) -> None:
    connected = [service(tier, "gateway") for _ in range(100)]
    with tier.operator("gateway") as operator:
        assert operator.ping()  # it has its place, too
        ids = [one.client_id() for one in connected]
        with strangers(tier, "gateway", says):
            assert [one.client_id() for one in connected] == ids  # the same connections, served
            assert operator.info("stats")["rejected_connections"] > 0  # all places were taken
        wait_for(lambda: tier.answers("gateway"), "new clients are served when the strangers have gone")
        assert [one.client_id() for one in connected] == ids
        operator.config_resetstat()
    for one in connected:
        one.connection_pool.disconnect()

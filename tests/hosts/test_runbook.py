"""docs/runbook.md, entry by entry: what is said to be seen is seen, and its commands, word for word, lead back."""

from collections.abc import Iterator
from functools import partial

import pytest
import redis

from tests.hosts.conftest import Tier, output, overriding, wait_for
from tests.hosts.runbook_steps import ROLE, follow, sees, service
from tests.runbook import entries

pytestmark = pytest.mark.hosts

SMALL = overriding({ROLE: {"maxmemory": "16mb"}})  # quickly filled


@pytest.fixture(scope="module")
def kept(onebox: Tier) -> Tier:
    """The tier, whose role holds a key."""
    with service(onebox) as writer:
        writer.set("test:kept", ROLE)
    return onebox


@pytest.fixture
def tier(kept: Tier) -> Iterator[Tier]:
    """Whatever an entry says to do: no key is gone."""
    yield kept
    with service(kept) as reader:
        assert reader.get("test:kept") == ROLE


def test_memory_full(tier: Tier) -> None:
    full, counted = entries()["memory-full"].quotes
    tier.deploy(*SMALL)
    with service(tier) as writer:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            for count in range(10_000):
                writer.set(f"test:fill:{count}", "x" * 100_000)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            for count in range(10_000):
                writer.set(f"test:fill:last:{count}", "x" * 1_000)
        keys = writer.dbsize()
        sees(tier.run("tasks/verify.py", *SMALL), full)
        verify = follow(tier, "memory-full")[-1]  # with the catalogue's limit, which is higher
        assert "MEM-FULL" not in output(verify)
        sees(verify, counted)
        assert writer.set("test:after", "written")
        assert writer.dbsize() == keys + 1
        for key in writer.scan_iter("test:fill:*"):
            writer.delete(key)


def test_busy(tier: Tier) -> None:
    (busy,) = entries()["busy"].quotes
    with service(tier) as looping:
        connection = looping.connection_pool.get_connection()
        connection.send_command("EVAL", "while true do end", 0)
        wait_for(lambda: tier.is_busy(ROLE), "the script runs for longer than busy-reply-threshold")
        sees(tier.run("tasks/verify.py"), busy)
        follow(tier, "busy")
        with pytest.raises(redis.exceptions.ResponseError):
            connection.read_response()


def test_maxclients(tier: Tier) -> None:
    (full,) = entries()["maxclients"].quotes
    held = []
    with pytest.raises(redis.exceptions.RedisError):
        for _ in range(100_000):
            held.append(service(tier))
            held[-1].ping()
    sees(tier.run("tasks/verify.py"), full)
    for one in held:  # what the entry asks of the service
        one.connection_pool.disconnect()
    follow(tier, "maxclients")


def test_a_server_crashes(tier: Tier) -> None:
    (crashed,) = entries()["a-server-crashes"].quotes
    pid = tier.pid(ROLE)
    tier.host(ROLE).sh(f"kill -9 {pid}")
    wait_for(partial(_is_another, tier, pid), "it is up again")
    sees(tier.run("tasks/verify.py"), crashed)
    assert "CRASHED" not in output(follow(tier, "a-server-crashes")[-1])


def _is_another(tier: Tier, pid: int) -> bool:
    return tier.pid(ROLE) not in (0, pid) and tier.answers(ROLE)


def test_a_server_is_silent(tier: Tier) -> None:
    (silent,) = entries()["a-server-is-silent"].quotes
    tier.host(ROLE).sh(f"kill -STOP {tier.pid(ROLE)}")
    try:
        sees(tier.run("tasks/verify.py"), silent)
        follow(tier, "a-server-is-silent")
    finally:
        tier.host(ROLE).sh(f"kill -CONT {tier.pid(ROLE)}")


def test_secrets_lost(tier: Tier) -> None:
    (lost,) = entries()["secrets-lost"].quotes
    before = tier.passwords
    tier.secrets.rename(f"{tier.secrets}.kept")
    sees(tier.run("tasks/verify.py"), lost)
    follow(tier, "secrets-lost", places={"/BACKUP/prod.yaml": f"{tier.secrets}.kept"})
    assert tier.passwords == before


def test_drift_found(tier: Tier) -> None:
    drifted, in_sync = entries()["drift-found"].quotes
    tier.host(ROLE).sh("sed -i 's/^maxmemory .*/maxmemory 77mb/' /etc/redis/crypto.conf")
    sees(tier.run("tasks/drift.py"), drifted)
    sees(follow(tier, "drift-found")[-1], in_sync)


def test_log_owned_by_root(tier: Tier) -> None:
    owned, in_sync = entries()["log-owned-by-root"].quotes
    unit, directory = "redis-crypto.service", "/var/lib/redis/crypto"
    tier.host(ROLE).sh(
        f"systemctl stop {unit}; chown -R root:root {directory}/appendonlydir; systemctl start {unit} || true"
    )
    assert not tier.answers(ROLE)
    dry, _, drift = follow(tier, "log-owned-by-root")
    sees(dry, owned)
    sees(drift, in_sync)

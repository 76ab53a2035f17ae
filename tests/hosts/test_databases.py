"""Fewer databases than before never mixes them up: refused while keys are there, and the log is written anew first."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.hosts.conftest import Tier, output, overriding, wait_for

pytestmark = pytest.mark.hosts

FEWER = overriding({"gateway": {"databases": 4}})
CONF = "/etc/redis/gateway.conf"
DROP_IN = "/etc/systemd/system/redis-gateway.service.d"


@pytest.fixture(scope="module")
def tier(onebox: Tier) -> Tier:
    return onebox


def write(tier: Tier, database: int, value: str) -> None:
    """A service sets the key `test:k` in a database."""
    with tier.client("gateway", "gateway") as service:
        service.execute_command("SELECT", database)
        service.set("test:k", value)


def read(tier: Tier, database: int) -> str | None:
    with tier.client("gateway", "gateway") as service:
        service.execute_command("SELECT", database)
        found: str | None = service.get("test:k")
        return found


def remove(tier: Tier, database: int) -> None:
    with tier.client("gateway", "gateway") as service:
        service.execute_command("SELECT", database)
        service.delete("test:k")


@pytest.fixture
def two(tier: Tier) -> Iterator[Tier]:
    """`test:k` is `mine` in database 0, and then `other` in database 9."""
    write(tier, 0, "mine")
    write(tier, 9, "other")
    yield tier
    tier.host("gateway").sh(f"rm -rf {DROP_IN} && systemctl daemon-reload")
    tier.deploy()
    for database in (0, 9):
        remove(tier, database)


def restarted(tier: Tier, databases: int) -> None:
    """Somebody edits the number by hand and restarts."""
    tier.host("gateway").sh(
        f"sed -i 's/^databases .*/databases {databases}/' {CONF} && systemctl restart redis-gateway"
    )
    wait_for(lambda: tier.answers("gateway"), "gateway is back")


def test_without_a_guard_a_key_of_one_database_lands_on_that_of_another(two: Tier) -> None:
    """Why there is one: this is what Redis does. With the databases back, its log replays all as it was."""
    restarted(two, 4)
    assert read(two, 0) == "other"
    restarted(two, 16)
    assert (read(two, 0), read(two, 9)) == ("mine", "other")


def test_databases_that_hold_keys_are_not_taken_away(two: Tier) -> None:
    pid = two.pid("gateway")
    for command in (["--dry"], []):
        done = two.run("deploy.py", *command, *FEWER)
        assert done.returncode != 0
        assert "gateway: db9 (1 keys) in use, expected none from db4 on" in output(done)
    assert two.pid("gateway") == pid
    assert (read(two, 0), read(two, 9)) == ("mine", "other")
    assert two.host("gateway").sh(f"grep ^databases {CONF}").strip() == "databases 16"


def test_databases_that_are_empty_now_are_taken_away_with_the_log_that_speaks_of_them(two: Tier) -> None:
    remove(two, 9)
    dry = output(two.run("deploy.py", "--dry", *FEWER, yes=False))
    assert "gateway: persistence databases in the log: may select any of 16 → no database beyond the 4" in dry
    two.deploy(*FEWER)
    assert read(two, 0) == "mine"
    two.host("gateway").sh("systemctl kill --signal=KILL redis-gateway")
    wait_for(lambda: two.answers("gateway"), "gateway is back")
    assert read(two, 0) == "mine"
    with two.operator("gateway") as operator:
        assert operator.config_get("databases") == {"databases": "4"}


@contextmanager
def a_client_that_uses_it_in_the_last_moment(tier: Tier) -> Iterator[None]:
    """What is about to be started finds a write to database 9 in its log, which the gate has not seen."""
    commands = r"*2\r\n$6\r\nSELECT\r\n$1\r\n9\r\n*3\r\n$3\r\nSET\r\n$6\r\ntest:k\r\n$5\r\nother\r\n"
    line = f"printf '{commands}' >>$(ls /var/lib/redis/gateway/appendonlydir/*.incr.aof | tail -n 1)"
    host = tier.host("gateway")
    host.sh(f"cat >/root/last-moment <<'@@'\n{line}\n@@")
    host.sh(
        f"mkdir -p {DROP_IN} && printf '[Service]\\nExecStartPre=+/bin/sh /root/last-moment\\n' >{DROP_IN}/last.conf"
    )
    host.sh("systemctl daemon-reload")
    yield
    host.sh(f"rm -rf {DROP_IN} /root/last-moment && systemctl daemon-reload")


def test_a_database_that_was_used_in_the_last_moment_is_brought_back_by_a_roll_back(two: Tier) -> None:
    remove(two, 9)
    with a_client_that_uses_it_in_the_last_moment(two):
        done = two.run("deploy.py", *FEWER)
        assert done.returncode != 0
        assert "DB index is out of range" in output(done)
        assert "rolled back, the previous configuration runs and serves" in output(done)
        assert (read(two, 0), read(two, 9)) == ("mine", "other")
        with two.operator("gateway") as operator:
            assert operator.config_get("databases") == {"databases": "16"}


def test_a_stopped_instance_keeps_its_databases(two: Tier) -> None:
    host = two.host("gateway")
    host.sh("systemctl stop redis-gateway")
    done = two.run("deploy.py", *FEWER)
    assert done.returncode != 0
    assert "gateway: does not answer, and its log may speak of 16 databases, expected 4" in output(done)
    assert host.sh("systemctl is-active redis-gateway || true").strip() == "inactive"
    two.deploy()
    assert (read(two, 0), read(two, 9)) == ("mine", "other")

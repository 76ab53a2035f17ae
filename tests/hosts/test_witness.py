"""What a service wrote right before a restart, in every way, is read back right after it; a loss fails the gate."""

import re
from collections.abc import Iterator

import pytest
import redis

from tests.hosts.conftest import ROLES, TABLE, Tier, output, overriding, wait_for

pytestmark = pytest.mark.hosts

DROP_IN = "/etc/systemd/system/redis-gateway.service.d"
DATA = "/var/lib/redis/{}/appendonlydir"


def restarting(databases: int, *roles: str) -> tuple[str, ...]:
    """Options of a deploy that restarts these roles."""
    return overriding({role: {"databases": databases} for role in roles})


def left_of_the_gate(tier: Tier) -> list[str]:
    """Keys of a gate or a proof that are still there."""
    found: list[str] = []
    for role in ROLES:
        with tier.operator(role) as operator:
            found += operator.scan_iter("caas-verify:*")
    return found


def test_every_role_has_witnesses_in_its_log_and_none_is_left(onebox: Tier) -> None:
    done = onebox.deploy(*restarting(17, *ROLES))
    for role in ROLES:
        log = onebox.host(role).sh(f"cat {DATA.format(role)}/*.incr.aof | tr -d '\\r'")
        for way in ("plain", "transaction:1", "transaction:2", "script:1", "script:2", "known:1", "known:2"):
            found = re.findall(f"^caas-verify:gate:[0-9a-f]+:{role}:{way}$", log, re.MULTILINE)
            assert len(found) == 2, (role, way)  # SET, and UNLINK
        assert f"{role}: restarted in" in output(done)
    assert left_of_the_gate(onebox) == []


@pytest.fixture
def before_the_start(onebox: Tier) -> Iterator[Tier]:
    """gateway's log holds only what comes from here on, and it gets a drop-in that a test fills."""
    with onebox.operator("gateway") as operator:
        operator.bgrewriteaof()
        wait_for(lambda: not operator.info("persistence")["aof_rewrite_in_progress"], "its log is written anew")
    yield onebox
    onebox.host("gateway").sh(f"rm -rf {DROP_IN} /root/before && systemctl daemon-reload")
    onebox.deploy("--data", "accept_loss=gateway")


def runs_before_the_start(tier: Tier, script: str) -> None:
    """Once: a roll back starts without it."""
    host = tier.host("gateway")
    host.sh(f"cat >/root/before <<'@@'\n[ ! -e /root/was-here ] || exit 0; touch /root/was-here\n{script}\n@@")
    host.sh(f"mkdir -p {DROP_IN}; printf '[Service]\\nExecStartPre=+/bin/sh /root/before\\n' >{DROP_IN}/test.conf")
    host.sh("rm -f /root/was-here; systemctl daemon-reload")


def test_what_is_cut_off_between_two_commands_fails_the_gate_though_nobody_says_a_word(before_the_start: Tier) -> None:
    tier = before_the_start
    log = f"$(ls {DATA.format('gateway')}/*.incr.aof | tail -n 1)"
    # From the first MULTI on: its word follows eight bytes of its command.
    cut = f"truncate -s $(($(grep -abo -m 1 MULTI {log} | head -n 1 | cut -d: -f1) - 8)) {log}"
    runs_before_the_start(tier, cut)
    shared = tier.pid("shared")
    done = tier.run("deploy.py", *restarting(18, "gateway", "shared"))
    assert done.returncode != 0
    for way in ("in a transaction", "by a script", "by the name of a script"):
        assert f"what was written {way} is gone: 1 of 1 acknowledged writes" in output(done)
    assert "what was written plainly is gone" not in output(done)
    assert tier.pid("shared") == shared


def test_what_is_skipped_is_said_with_the_way_it_was_written_and_the_line(before_the_start: Tier) -> None:
    tier = before_the_start
    runs_before_the_start(tier, "sed -i '1s/.*/user default off/' /etc/redis/gateway.acl")
    done = tier.run("deploy.py", *restarting(18, "gateway"))
    assert done.returncode != 0
    assert "gateway: has not loaded all of its data, it said: " in output(done)
    assert "what was written in a transaction is gone: 1 of 1 acknowledged writes" in output(done)
    assert "what was written plainly is gone" not in output(done)


def test_a_cut_tail_is_said_with_its_bytes_and_what_comes_next_is_kept(before_the_start: Tier) -> None:
    """Cut inside a transaction: without a new log the next start would drop all that was written since."""
    tier = before_the_start
    log = f"$(ls {DATA.format('gateway')}/*.incr.aof | tail -n 1)"
    # In the second command of the first transaction.
    cut = f"truncate -s $(($(grep -abo ':transaction:2' {log} | head -n 1 | cut -d: -f1) + 5)) {log}"
    runs_before_the_start(tier, cut)
    done = tier.run("deploy.py", *restarting(18, "gateway"))
    assert done.returncode != 0
    assert "Truncating the AOF" in output(done) or "short read while loading the AOF" in output(done)
    assert re.search(
        r"incr.aof was cut at byte \d+; \d+ bytes or more are gone; its log was written anew", output(done)
    )
    with tier.client("gateway", TABLE["gateway"]["services"][0]) as service:
        service.set("test:after", "kept")
    tier.host("gateway").sh("systemctl restart redis-gateway")
    wait_for(lambda: tier.answers("gateway"), "gateway is back")
    with tier.client("gateway", TABLE["gateway"]["services"][0]) as service:
        assert service.get("test:after") == "kept"
        service.delete("test:after")


def fill(tier: Tier, role: str) -> None:
    """Ten megabytes, or as many as the role takes."""
    with tier.client(role, TABLE[role]["services"][0]) as service:
        for number in range(1000):
            try:
                service.set(f"test:{number}", "x" * 10000)
            except redis.exceptions.OutOfMemoryError:
                return


def emptied(tier: Tier, role: str) -> None:
    with tier.operator(role) as operator:
        for key in operator.scan_iter("test:*", count=1000):
            operator.unlink(key)


@pytest.mark.parametrize("role", ["gateway", "crypto"])
def test_a_full_role_passes_its_gate_whether_it_evicts_or_refuses(onebox: Tier, role: str) -> None:
    small = {"maxmemory": "5mb", "client_query_buffer_limit": "64mb"}
    onebox.deploy(*overriding({role: small}))
    fill(onebox, role)
    try:
        less = {**small, "maxmemory": "4mb", "databases": 18}
        done = onebox.run("deploy.py", "--data", "allow_eviction=true", *overriding({role: less}))
        assert f"{role}: restarted in" in output(done)
        assert " is gone" not in output(done)
        assert (done.returncode == 0) == (role == "gateway"), output(done)  # the proof cannot write to a full crypto
    finally:
        emptied(onebox, role)
        onebox.deploy()

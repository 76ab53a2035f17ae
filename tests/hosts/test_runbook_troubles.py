"""docs/runbook.md, its troubles: each is made, is seen in the entry's words, and ends by the entry's commands."""

import json
import runpy
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.hosts import impostor
from tests.hosts.clients import client, in_namespace
from tests.hosts.conftest import TABLE, Finished, Tier, output, overriding, wait_for
from tests.hosts.runbook_steps import ROLE, follow, sees, service
from tests.hosts.test_health import small_disk
from tests.runbook import entries

pytestmark = pytest.mark.hosts

UNIT, LOG = "redis-crypto", "/var/lib/redis/crypto/appendonlydir"
SMALL = overriding({role: {"maxmemory": "16mb"} for role in ("gateway", "socket")})  # quickly filled
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def kept(onebox: Tier) -> Tier:
    """The tier, whose role holds a key."""
    with service(onebox) as writer:
        writer.set("test:kept", ROLE)
    return onebox


@pytest.fixture
def tier(kept: Tier) -> Iterator[Tier]:
    """Whatever an entry says to do: no key is gone, and nothing is left for a deploy to do."""
    yield kept
    with service(kept) as reader:
        assert reader.get("test:kept") == ROLE
    assert "nothing to change" in output(kept.deploy())


def printed(tier: Tier, name: str, role: str = ROLE, **options: Any) -> list[str]:
    """What each of the entry's commands printed."""
    return [output(done) for done in follow(tier, name, role, **options)]


def says(tier: Tier, quote: str, *options: str, file: str = "tasks/verify.py") -> None:
    sees(tier.run(file, *options), quote)


# --- Memory, per policy


def write(writer: "redis.Redis", kind: str, size: int, count: int = 10_000, life: int | None = None) -> int:
    """Keys of this size, until one is refused; how many were taken."""
    for number in range(count):
        try:
            writer.set(f"test:fill:{kind}:{size}:{number}", "x" * size, ex=life)
        except redis.exceptions.OutOfMemoryError:
            return number
    return count


def unlink(tier: Tier, role: str) -> None:
    """What the test wrote is gone, and so is what the server counted."""
    with service(tier, role) as writer, tier.operator(role) as operator:
        for key in writer.scan_iter("test:fill:*", count=1000):
            writer.unlink(key)
        operator.config_resetstat()


def test_keys_without_a_ttl(tier: Tier) -> None:
    some, none = entries()["keys-without-a-ttl"].quotes
    tier.deploy(*SMALL)
    with service(tier, "socket") as writer:
        write(writer, "short", 10_000, count=20, life=3600)
        free = 16 * MEGABYTE - writer.info("memory")["used_memory"]
        write(writer, "kept", 100_000, count=9 * free // MEGABYTE)  # nine tenths of it
        says(tier, some, *SMALL)
        for size in (100_000, 1_000):
            assert write(writer, "more", size) < 10_000  # the policy refuses: only keys without a TTL are left
        says(tier, none, *SMALL)
        without = [key for key in writer.scan_iter("test:fill:*", count=1000) if writer.ttl(key) < 0]
        keys, *_, verify = printed(tier, "keys-without-a-ttl", "socket")
        assert f"keys={writer.dbsize()},expires=0" in keys
        assert "WITHOUT-TTL" not in verify
        assert "MEM-FULL" not in verify
        assert writer.set("test:fill:after", "x")
        assert writer.exists(*without) == len(without)
    unlink(tier, "socket")


def test_evictions(tier: Tier) -> None:
    (evicted,) = entries()["evictions"].quotes
    tier.deploy(*SMALL)
    with service(tier, "gateway") as writer:
        assert write(writer, "many", 10_000, count=4_000) == 4_000  # the policy evicts: none is refused
        says(tier, evicted, *SMALL)
        left = list(writer.scan_iter("test:fill:*", count=1000))[-1000:]
        assert "gateway: warning" not in printed(tier, "evictions", "gateway")[-1]
        assert writer.exists(*left) > 900  # but for what the check itself had evicted
    unlink(tier, "gateway")


def test_a_cache_finds_less(tier: Tier) -> None:
    status, stats, keyspace = printed(tier, "a-cache-finds-less", "gateway")
    assert "evicted/h" in status
    assert "keyspace_misses:" in stats
    assert "# Keyspace" in keyspace


# --- Clients


def test_clients_cut_off(tier: Tier) -> None:
    (cut_off,) = entries()["clients-cut-off"].quotes
    with ExitStack() as stack, service(tier) as publisher:
        for count in range(1, 8):
            stack.enter_context(deaf(tier)).sendall(b"SUBSCRIBE test:news\r\n")
            wait_for(partial(_is_heard_by, count, publisher), "he has subscribed")
        for _ in range(15):  # below what each may have, and above what all may have together
            publisher.publish("test:news", "x" * MEGABYTE)
        wait_for(lambda: publisher.info("stats")["evicted_clients"], "one of them is cut off")
        says(tier, cut_off)
        journal, clients, *_, verify = printed(tier, "clients-cut-off")
        assert f"user={TABLE[ROLE]['services'][0]}" in journal
        assert "tot-mem=" in clients
        assert "EVICTED-CLIENTS" not in verify


def _is_heard_by(count: int, publisher: "redis.Redis") -> bool:
    return publisher.publish("test:news", "x") == count


@contextmanager
def deaf(tier: Tier) -> Iterator[socket.socket]:
    """A client who is logged in and reads nothing."""
    row, user = TABLE[ROLE], TABLE[ROLE]["services"][0]
    one = in_namespace(tier.lab.netns, lambda: socket.create_connection((row["address"], row["port"]), timeout=10))
    one.sendall(f"AUTH {user} {tier.passwords[ROLE][user]}\r\n".encode())
    assert one.recv(100) == b"+OK\r\n"
    with one:
        yield one


def test_passwords_refused(tier: Tier, tmp_path: Path) -> None:
    (refused,) = entries()["passwords-refused"].quotes
    row, user = TABLE[ROLE], TABLE[ROLE]["services"][0]
    wrong = client(tier.lab.netns, row["address"], row["port"], user, "wrong")
    for _ in range(100):
        with pytest.raises(redis.exceptions.AuthenticationError):
            wrong.ping()
    says(tier, refused)
    log, _, _, verify = printed(tier, "passwords-refused", places={"DIR": tmp_path / "endpoints"})
    assert user in log
    assert "addr=" in log
    assert tier.passwords[ROLE][user] in (tmp_path / "endpoints" / f"{user}.env").read_text()
    assert "PASSWORDS-REFUSED" not in verify


# --- The disk, and the log on it


def test_disk_full(tier: Tier) -> None:
    (full,) = entries()["disk-full"].quotes
    with small_disk(tier, ROLE):
        wait_for(lambda: tier.answers(ROLE), "it answers")
        written = 0
        with suppress(redis.exceptions.RedisError), service(tier) as writer:
            for number in range(1_000):
                writer.set(f"test:disk:{number}", "x" * 100_000)
                written += 1
        assert 100 < written < 1_000  # of them all that fits was taken
        says(tier, full)
        # What the entry asks a person for.
        tier.host(ROLE).sh("mount -o remount,size=2g /var/lib/redis/crypto")
        wait_for(lambda: tier.answers(ROLE), "it has started by itself")
        assert "DISK-FULL" not in printed(tier, "disk-full")[-1]
        with service(tier) as reader:
            assert reader.exists(*(f"test:disk:{number}" for number in range(written))) == written
            assert reader.get("test:kept") == ROLE


LAST_FILE = f"cd {LOG} && file=$(ls -t *.incr.aof | head -n1)"


def test_log_damaged(tier: Tier) -> None:
    (damaged,) = entries()["log-damaged"].quotes
    with service(tier) as writer:
        for number in range(200):
            writer.set(f"test:log:{number}", "x" * 100)
    host = tier.host(ROLE)
    host.sh(
        f"systemctl stop {UNIT} && {LAST_FILE} && printf '%0200d' 0 | "
        'dd of="$file" bs=1 seek=$(($(stat -c %s -- "$file") / 2)) conv=notrunc status=none'
    )
    host.sh(f"cksum {LOG}/* >/root/before; systemctl start --no-block {UNIT}")
    wait_for(lambda: int(host.sh(f"systemctl show -P NRestarts {UNIT}")) > 0, "it is tried in vain")
    says(tier, damaged, file="deploy.py")
    _, checked, *_ = printed(tier, "log-damaged", ends={"redis-check-aof *.manifest": 1})
    assert "ok_up_to=" in checked
    assert host.sh("cd /root/crypto-log && cksum *").replace(f"{LOG}/", "") == host.sh(
        f"sed 's|{LOG}/||' /root/before"
    )  # the copy has all of it
    with service(tier) as reader:
        there = [number for number in range(200) if reader.exists(f"test:log:{number}")]
        assert there == list(range(len(there)))
        assert 0 < len(there) < 200
        reader.unlink(*(f"test:log:{number}" for number in there))


def test_log_cut_off(tier: Tier) -> None:
    cut, in_sync = entries()["log-cut-off"].quotes
    with service(tier) as writer:
        writer.set("test:before", "x")
        writer.set("test:last", "x")
    tier.host(ROLE).sh(f'systemctl stop {UNIT} && {LAST_FILE} && truncate -s -7 -- "$file" && systemctl start {UNIT}')
    wait_for(lambda: tier.answers(ROLE), "it has started by itself")
    says(tier, cut)
    pid = tier.pid(ROLE)
    sees_text(printed(tier, "log-cut-off")[-1], in_sync)
    assert tier.pid(ROLE) == pid
    with service(tier) as reader:
        assert reader.delete("test:before", "test:last") == 1


# --- The host


def test_host_memory_short(tier: Tier) -> None:
    (short,) = entries()["host-memory-short"].quotes
    limits = runpy.run_path(str(tier.repository / "group_data" / "all.py"))["redis_health"]
    lowered = json.dumps({**limits, "host_memory_warning": 100})
    says(tier, short, "--data", f"redis_health={lowered}")
    using, free, verify = printed(tier, "host-memory-short")
    assert "redis-server" in using
    assert "available" in free
    assert "HOST-MEMORY" not in verify


def test_another_answers(tier: Tier) -> None:
    (led,) = entries()["another-answers"].quotes
    host, row = tier.host(ROLE), TABLE[ROLE]
    family, rule = impostor.TAKINGS["of IPv4"]
    host.sh("nft -f -", input=impostor.taking(family, rule, **row))
    says(tier, led)
    assert "table ip theirs" in host.sh(entries()["another-answers"].commands[0])
    host.sh(f"nft delete table {family} theirs")  # what the entry asks a person for
    printed(tier, "another-answers")


def test_operator_without_rights(tier: Tier) -> None:
    denied, _ = entries()["operator-without-rights"].quotes
    with tier.operator(ROLE) as operator:
        operator.execute_command("ACL", "SETUSER", "operator", "-info", "-config|get")
    says(tier, denied)
    printed(tier, "operator-without-rights")


def test_operator_with_another_password(tier: Tier) -> None:
    _, changed = entries()["operator-without-rights"].quotes
    with tier.operator(ROLE) as operator:
        operator.execute_command("ACL", "SETUSER", "operator", "resetpass", ">another-password-than-in-the-file")
    says(tier, changed)
    printed(tier, "operator-without-rights")


def test_connection_refused(tier: Tier) -> None:
    (refused,) = entries()["connection-refused"].quotes
    host, port = tier.host(ROLE), TABLE[ROLE]["port"]
    host.sh(
        f"nft 'add table ip test; add chain ip test in {{ type filter hook input priority 0; }}; "
        f"add rule ip test in tcp dport {port} reject with tcp reset'"
    )
    says(tier, refused)
    assert f"tcp dport {port} reject" in host.sh(entries()["connection-refused"].commands[1])
    host.sh("nft delete table ip test")  # what the entry asks a person for
    listens, *_ = printed(tier, "connection-refused")
    assert f"{TABLE[ROLE]['address']}:{port}" in listens


def test_no_way_to_its_servers(tier: Tier) -> None:
    (forbidden,) = entries()["no-way-to-its-servers"].quotes
    host, file = tier.host(ROLE), "/etc/ssh/sshd_config.d/00-test.conf"
    host.sh(f"printf 'AllowTcpForwarding no\\n' >{file} && systemctl reload ssh")
    bash = '#!/bin/sh\ncase "$*" in */dev/tcp/*) exit 1 ;; esac\nexec /usr/bin/bash "$@"\n'
    host.sh("cat >/usr/sbin/bash; chmod +x /usr/sbin/bash", input=bash)  # runs scripts, and cannot connect
    try:
        says(tier, forbidden)
        assert "allowtcpforwarding no" in host.sh(entries()["no-way-to-its-servers"].commands[0])
        host.sh(f"rm {file}")  # what the entry asks a person for
        printed(tier, "no-way-to-its-servers")
    finally:
        host.sh("rm /usr/sbin/bash")


def test_host_not_seen(tier: Tier) -> None:
    (unseen,) = entries()["host-not-seen"].quotes
    tier.host(ROLE).sh("systemctl stop ssh.service ssh.socket")
    done = tier.run("tasks/drift.py")
    sees(done, unseen)
    assert "docs/runbook.md#host-not-seen" in output(done)
    state, *_ = printed(tier, "host-not-seen")
    assert "inactive (dead)" in state


def test_a_host_does_not_say(tier: Tier) -> None:
    (unseen,) = entries()["a-host-does-not-say"].quotes
    nft = "/usr/sbin/nft"  # a process of the inner ports runs it
    tier.host(ROLE).sh(f"mv {nft} /root && printf '#!/bin/sh\\n' >{nft} && chmod 755 {nft}")
    says(tier, unseen)
    printed(tier, "a-host-does-not-say")


def test_a_server_does_not_end(tier: Tier) -> None:
    (ending,) = entries()["a-server-does-not-end"].quotes
    host = tier.host(ROLE)
    with service(tier) as looping:
        connection = looping.connection_pool.get_connection()
        connection.send_command("EVAL", "while true do end", 0)
        wait_for(lambda: not tier.answers(ROLE), "the script runs for longer than busy-reply-threshold")
        host.sh(f"systemctl stop --no-block {UNIT}")
        says(tier, ending)
        journal, *_ = printed(tier, "a-server-does-not-end")
        assert "Slow script detected" in journal
        connection.disconnect()


def sees_text(printed: str, quote: str) -> None:
    """As `sees`, of what was printed."""
    sees(Finished([], 0, printed, ""), quote)

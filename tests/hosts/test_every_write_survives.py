"""No acknowledged write is lost, however a client wrote it: restarted, killed, rebooted, rewritten, upgraded."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import figures
from tests.hosts.conftest import ROLES, Tier, layout, wait_for
from tests.hosts.dataset import numbers
from tests.hosts.dataset.capture import Dataset, capture
from tests.hosts.dataset.commands import commands
from tests.hosts.dataset.compare import differences
from tests.hosts.dataset.server import answering_bytes, ask
from tests.hosts.dataset.ways import load_library
from tests.hosts.dataset.write import LIBRARIES, PREFIX
from tests.hosts.every_way import changes, write
from tests.lab.containers import ContainerLab, HostSpec

pytestmark = pytest.mark.hosts

HOST = "redis-1"


@pytest.fixture(scope="module", params=["bookworm", pytest.param("trixie", marks=pytest.mark.soak)])
def tier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """All five roles on one host of each Debian release, just deployed."""
    with ContainerLab(layout("onebox", request.param)) as lab:
        tier = Tier(lab, "inventory/onebox.py", tmp_path_factory.mktemp("survives") / "secrets.yaml")
        tier.deploy()
        yield tier


@pytest.fixture(scope="module")
def before(tier: Tier) -> dict[str, Dataset]:
    """What every role holds once a service has written to it in every way, some of it 20 MB large."""
    written = {role: write(tier, role, large=True) for role in ROLES}
    for role, dataset in written.items():
        figures.add("datasets", f"{role}: {len(dataset.keys)} keys, {len(dataset.functions)} libraries")
    return written


def lost(tier: Tier, before: dict[str, Dataset]) -> dict[str, list[str]]:
    """What roles no longer hold as before; empty when all of it is there."""
    found = {role: changes(tier, role, before[role]) for role in ROLES}
    return {role: lines for role, lines in found.items() if lines}


def test_a_restart_keeps_every_write(tier: Tier, before: dict[str, Dataset]) -> None:
    for role in ROLES:
        tier.host(role).sh(f"systemctl restart redis-{role}")
    assert lost(tier, before) == {}


def test_a_killed_server_keeps_every_write(tier: Tier, before: dict[str, Dataset]) -> None:
    killed = {role: tier.pid(role) for role in ROLES}
    tier.lab.hosts[HOST].sh(f"kill -9 {' '.join(map(str, killed.values()))}")
    wait_for(lambda: all(tier.answers(role) and tier.pid(role) != killed[role] for role in ROLES), "all run again")
    assert lost(tier, before) == {}


def test_a_reboot_keeps_every_write(tier: Tier, before: dict[str, Dataset]) -> None:
    tier.lab.hosts[HOST].stop()
    tier.lab.hosts[HOST].boot()
    assert lost(tier, before) == {}


def test_a_rewritten_log_keeps_every_write(tier: Tier, before: dict[str, Dataset]) -> None:
    for role in ROLES:
        with tier.operator(role) as operator:
            operator.bgrewriteaof()
            wait_for(lambda: rewritten(tier, role), f"{role} has written its log anew")  # noqa: B023
        tier.host(role).sh(f"systemctl restart redis-{role}")
    assert lost(tier, before) == {}


def rewritten(tier: Tier, role: str) -> bool:
    with tier.operator(role) as operator:
        info = operator.info("persistence")
    return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]


def test_a_newer_redis_loads_every_write_of_an_older_one(tmp_path: Path) -> None:
    where, data = ("redis-crypto", ("172.28.2.5",)), "/var/lib/redis/crypto"
    with ContainerLab([HostSpec(*where, "bookworm")]) as old_lab, ContainerLab([HostSpec(*where, "trixie")]) as new_lab:
        old, new = (
            Tier(lab, "inventory/prod.py", tmp_path / "secrets.yaml", ("--limit", "redis-crypto"))
            for lab in (old_lab, new_lab)
        )
        old.deploy()
        held = write(old, "crypto")
        new.deploy()
        old.host("crypto").sh("systemctl stop redis-crypto")
        new.host("crypto").sh(f"systemctl stop redis-crypto; rm -r {data}/*")
        shutil.copytree(old.host("crypto").path(data), new.host("crypto").path(data), dirs_exist_ok=True)
        new.host("crypto").sh(f"chown -R redis-crypto:redis-crypto {data}")
        new.deploy()
        assert changes(new, "crypto", held) == []
        new.host("crypto").sh("systemctl restart redis-crypto")
        assert changes(new, "crypto", held) == []
        with new.operator("crypto") as client:
            versions = held.version, capture(client).version
    assert [version[0] for version in versions] == [7, 8]


# --- The comparison can fail

# What is done to a key or library of a role, and what is said of it.
TAMPERED = r"""
SET %plain another | (string): value:
SETBIT %bits 3 1 | (string): value:
PFADD %visitors four | (string): value:
DEL %renamed | (string): present → absent
PERSIST %ex | (string): expires at
PEXPIREAT %pxat 1 | (string): present → absent
PEXPIRE %persist 100000000 | (string): expires at never →
MOVE %counter 3 | db3
HDEL %hash field | (hash): field b'field': b'value' → 'absent'
HINCRBYFLOAT %hash float 0.1 | (hash): field b'float':
LSET %list 0 another | (list): element 0:
RPOP %list:moved | (list): element 1:
SREM %set:numbers 1 | (set): member b'1': True → 'absent'
ZINCRBY %zset 0.1 tenth | (zset): member b'tenth':
ZREM %geo Palermo | (zset): member b'Palermo':
XDEL %stream 1-1 | (stream): entry 1-1:
XSETID %stream 9999999999999-0 | (stream): last-generated-id:
XSETID %stream:emptied 9-9 ENTRIESADDED 101 MAXDELETEDID 5-5 | (stream): entries-added: 100 → 101
XACK %stream group 1-2 | (stream): group b'group' pending 1-2:
XCLAIM %stream group third 0 3-1 | (stream): group b'group' pending 3-1:
XGROUP DELCONSUMER %stream group waits | (stream): group b'group' consumer b'waits': True → 'absent'
XGROUP SETID %stream untouched 3-1 ENTRIESREAD 3 | (stream): group b'untouched' last-delivered-id:
XGROUP SETID %stream late 3-1 ENTRIESREAD 3 | (stream): group b'late' entries-read:
XGROUP DESTROY %stream:only-groups group | (stream): group b'group' last-delivered-id: b'0-0' → 'absent'
FUNCTION DELETE every_way_kept_0 | library b'every_way_kept_0':
"""
SINCE_8_0 = r"""
HPEXPIRE %hash:ttl 100000000 FIELDS 1 px | (hash): field b'px' expires at
HPERSIST %hash:ttl FIELDS 1 ex | (hash): field b'ex' expires at
VSETATTR %vectors one {} | (vectorset): element b'one':
VADD %vectors:exact VALUES 2 0.5 0.5 one NOQUANT | (vectorset): element b'one':
"""


def test_the_comparison_names_every_single_change(tier: Tier, before: dict[str, Dataset]) -> None:
    with tier.operator("crypto") as client, answering_bytes(client) as operator:
        held = capture(operator)
        lines = TAMPERED.strip().splitlines() + (SINCE_8_0.strip().splitlines() if held.version[0] >= 8 else [])
        changes = [(command, said) for command, _, said in (line.partition(" | ") for line in lines)]
        for command, _ in changes:
            ask(operator, *commands(command, PREFIX + b"plain:")[0])
        found = differences(held, capture(operator))
    for command, said in changes:
        key = next(word for word in commands(command, PREFIX + b"plain:")[0] if word.startswith((PREFIX, LIBRARIES)))
        assert any(repr(key) in text and said in text for text in found), f"{command}: {found}"


@pytest.mark.parametrize(
    ("form", "command"),
    [
        ("string", "DEL {key}"),
        ("with a TTL", "PERSIST {key}"),
        ("renamed", "RENAME {key} elsewhere"),
        ("hash, set", "HDEL {prefix}hash {number}"),
        ("hash, set", "SREM {prefix}set {number}"),
        ("list, sorted set", "RPUSH {prefix}list {number}"),
        ("list, sorted set", "ZINCRBY {prefix}zset 1 {number}"),
        ("stream, bit", "XDEL {prefix}stream {number}-1"),
        ("stream, bit", "SETBIT {prefix}bits {number} 0"),
    ],
)
def test_a_number_that_is_not_whole_is_lost(tier: Tier, form: str, command: str) -> None:
    written = range(2 * numbers.ROUND)
    prefix = f"test:{form}:{command}:".replace(" ", "-")
    with tier.operator("crypto") as client:
        load_library(client)
        for number in written:
            numbers.write(client, prefix, number)
        assert numbers.lost(client, prefix, written) == []
        gone = next(number for number in reversed(written) if numbers.form(number) == form)
        client.execute_command(*command.format(prefix=prefix, key=f"{prefix}{gone}", number=gone).split())
        assert numbers.lost(client, prefix, written) == [gone]

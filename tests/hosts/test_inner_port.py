"""The inner port outlives whatever flushes, starts or stops a packet filter, and comes back by itself."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.conftest import INNER_PORT, TABLE, Tier, output, overriding, wait_for
from tests.hosts.knocking import knocking
from tests.hosts.test_drift import assert_in_sync, check
from tests.lab.container import Container
from tests.lab.containers import ContainerLab, HostSpec
from tests.lab.debian import Suite

pytestmark = pytest.mark.hosts

UNIT = "redis-inner-port.service"
ROLES: dict[str, Suite] = {"socket": "bookworm", "shared": "trixie"}
BACK = 2.0  # seconds that a connection may wait for the inner port when its process was killed
VERBS = ("start", "stop", "restart", "reload")

# As firewalld.service has it (Conflicts=), and worse: firewalld 1.3.3 removes its own tables only.
PACKET_FILTER = """
[Unit]
Conflicts=nftables.service
StartLimitIntervalSec=0
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft flush ruleset
ExecReload=/usr/sbin/nft flush ruleset
ExecStop=/usr/sbin/nft flush ruleset
"""

# As tiers have it that an earlier version of this repository deployed.
EARLIER_UNIT = """
[Unit]
After=nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
Before=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /etc/redis/inner-port.nft
ExecReload=/usr/sbin/nft -f /etc/redis/inner-port.nft
ExecStop=/usr/sbin/nft "table ip redis_inner_port; delete table ip redis_inner_port"
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Two deployed hosts of different releases, with a role each that has an inner port."""
    directory = tmp_path_factory.mktemp("inner")
    inventory = directory / "pair.py"
    rows = [
        f'redis_{role} = [("redis-{role}", {{"ssh_hostname": "{TABLE[role]["address"]}", "ssh_user": "root"}})]\n'
        for role in ROLES
    ]
    inventory.write_text("".join(rows))
    hosts = [HostSpec(f"redis-{role}", (TABLE[role]["address"],), suite) for role, suite in ROLES.items()]
    with ContainerLab(hosts) as lab:
        tier = Tier(lab, str(inventory), directory / "secrets.yaml")
        tier.deploy()
        yield tier


def rules(host: Container) -> str:
    """The table as nft lists it."""
    return host.sh("nft list table ip redis_inner_port")


def owner(host: Container) -> int:
    """The process that the table belongs to."""
    return int(host.sh(f"systemctl show -P MainPID {UNIT}"))


@pytest.mark.parametrize("role", ROLES)
def test_no_flush_and_no_packet_filter_that_comes_or_goes_takes_the_inner_port_away(pair: Tier, role: str) -> None:
    host = pair.host(role)
    host.path("/run/systemd/system/packet-filter.service").write_text(PACKET_FILTER)
    host.sh(
        "mkdir -p /run/systemd/system/nftables.service.d; cd /run/systemd/system/nftables.service.d;"
        "printf '[Unit]\\nStartLimitIntervalSec=0\\n' >often.conf; systemctl daemon-reload"
    )
    before = owner(host)
    with knocking(pair.lab.netns, TABLE[role]["address"], INNER_PORT) as knocks:
        for pair_of_verbs in itertools.product(VERBS, VERBS):
            for verb in pair_of_verbs:
                host.call(f"systemctl {verb} nftables")
        host.sh("nft flush ruleset; nft flush ruleset ip")
        for verb in ("start", "reload", "stop", "start", "restart"):
            host.sh(f"systemctl {verb} packet-filter")
        host.sh("systemctl start nftables")  # which ends packet-filter
        host.sh("systemctl start packet-filter; systemctl stop packet-filter nftables")
        for command in ("flush table", "delete table", "flush chain"):
            chain = " output" if "chain" in command else ""
            assert host.call(f"nft {command} ip redis_inner_port{chain}").returncode != 0
    assert (knocks.gaps, owner(host)) == ([], before)
    assert knocks.answered > 100


@pytest.mark.parametrize("role", ROLES)
def test_the_inner_port_comes_back_by_itself_when_its_process_is_killed_again_and_again(pair: Tier, role: str) -> None:
    host = pair.host(role)
    with knocking(pair.lab.netns, TABLE[role]["address"], INNER_PORT) as knocks:
        for _ in range(7):  # more often than systemd lets a unit start that has a limit
            last = owner(host)
            assert last > 1  # 0 would be the test's own process group
            host.sh(f"kill -KILL {last}")
            wait_for(lambda last=last: owner(host) not in (0, last), "it is started again", 5)  # type: ignore[misc]
            wait_for(lambda: host.call(f"systemctl is-active {UNIT}").returncode == 0, "the rules are in force", 5)
    assert len(knocks.gaps) <= 7
    assert max(knocks.gaps) < BACK


def test_a_reload_with_other_rules_leaves_no_moment_without_and_with_wrong_ones_fails(pair: Tier) -> None:
    host, file = pair.host("shared"), "/etc/redis/inner-port.nft"
    kept = host.sh(f"cat {file}")
    before = owner(host)
    with knocking(pair.lab.netns, TABLE["shared"]["address"], INNER_PORT) as knocks:
        for number in range(10):
            more = kept.replace("\t}\n", f"\t\ttcp dport {7000 + number} accept\n\t}}\n")
            host.sh(f"cat >{file}; systemctl reload {UNIT}", input=more)
            assert f"tcp dport {7000 + number} accept" in rules(host)
        in_force = rules(host)
        done = host.call(f"cat >{file}; systemctl reload {UNIT}", input=kept.replace("dnat to", "dnatt to"))
        assert done.returncode != 0
        assert "syntax error" in host.sh(f"journalctl --no-pager -o cat -n 20 -u {UNIT}")
        assert rules(host) == in_force
        host.sh(f"cat >{file}; systemctl reload {UNIT}", input=kept)
    assert (knocks.gaps, owner(host)) == ([], before)


def test_a_tier_of_before_gets_the_process_without_a_moment_without_rules(pair: Tier, tmp_path: Path) -> None:
    host = pair.host("socket")
    bare = host.sh("cat /etc/redis/inner-port.nft").replace("\tflags owner\n", "")
    host.sh(f"systemctl stop {UNIT}; cat >/etc/redis/inner-port.nft", input=bare)
    host.sh(f"cat >/etc/systemd/system/{UNIT}; systemctl daemon-reload; systemctl start {UNIT}", input=EARLIER_UNIT)
    assert "flags owner" not in rules(host)
    with knocking(pair.lab.netns, TABLE["socket"]["address"], INNER_PORT) as knocks:
        pair.deploy()
    assert knocks.gaps == []
    assert "flags owner" in rules(host)
    assert_in_sync(check(pair, tmp_path))


def test_rules_without_an_owner_are_drift_and_get_one(pair: Tier, tmp_path: Path) -> None:
    host = pair.host("socket")
    bare = host.sh("cat /etc/redis/inner-port.nft").replace("\tflags owner\n", "")
    host.sh(f"systemctl stop {UNIT}; nft -f -", input=bare)
    drift = check(pair, tmp_path)
    assert drift.keys == {(None, "unit", UNIT), (None, "listener", "table ip redis_inner_port")}
    with knocking(pair.lab.netns, TABLE["socket"]["address"], INNER_PORT) as knocks:
        pair.deploy()
    assert knocks.gaps == []
    assert_in_sync(check(pair, tmp_path))


@pytest.mark.soak  # tests/unit/compare/ has its share
def test_rules_of_another_process_are_named_and_come_back_when_it_has_ended(pair: Tier, tmp_path: Path) -> None:
    host = pair.host("shared")
    host.sh(
        f"systemctl stop {UNIT}; mkfifo /run/other; cp /etc/redis/inner-port.nft /run/other.nft;"
        "systemd-run --quiet --unit=other sh -c 'exec nft -i <>/run/other';"
        """echo 'include "/run/other.nft"' >/run/other; systemctl start --no-block """ + UNIT
    )
    wait_for(lambda: host.call("nft list table ip redis_inner_port").returncode == 0, "the other's rules", 5)
    wait_for(lambda: host.sh(f"systemctl show -P NRestarts {UNIT}").strip() != "0", "the unit is refused", 15)
    try:
        found = check(pair, tmp_path)
        assert found.keys == {(None, "unit", UNIT), (None, "listener", "table ip redis_inner_port")}
        (table,) = [row for row in found.differences if row["subject"] == "listener"]
        assert table["observed"] == "owned by a process nft of somebody else's"
    finally:
        host.sh("systemctl stop other; rm /run/other /run/other.nft")
    wait_for(lambda: host.call(f"systemctl is-active {UNIT}").returncode == 0, "the unit has the rules again", 10)
    assert_in_sync(check(pair, tmp_path))


@pytest.mark.parametrize("role", ROLES)
def test_after_a_reboot_the_inner_port_is_there_before_the_network_is_called_online(pair: Tier, role: str) -> None:
    host = pair.host(role)
    host.sh("systemctl enable --quiet nftables")
    host.stop()
    host.boot()
    wait_for(lambda: pair.answers(role), f"{role} answers")
    with pair.client(role, "operator", INNER_PORT) as inner:
        assert inner.ping()
    led, online = (
        int(host.sh(f"systemctl show -P ActiveEnterTimestampMonotonic {unit}"))
        for unit in (UNIT, "network-online.target")
    )
    assert 0 < led < online
    assert "flags owner" in rules(host)


@pytest.mark.parametrize("role", ROLES)
def test_the_rules_are_left_while_a_server_that_moves_tells_nothing(pair: Tier, role: str) -> None:
    host, row = pair.host(role), TABLE[role]
    moved, before, pid = overriding({role: {"port": 6390}}), rules(host), pair.pid(role)
    host.sh(f"kill -STOP {pid}")  # it listens, and answers nobody
    try:
        done = pair.run("deploy.py", *moved)
        assert done.returncode != 0, output(done)
        assert rules(host) == before
    finally:
        host.sh(f"kill -CONT {pid}")
    with pair.client(role, row["services"][0], INNER_PORT) as client:
        assert client.ping()
    pair.deploy(*moved)
    assert ":6390" in rules(host)
    with pair.client(role, row["services"][0], INNER_PORT) as client:
        assert client.ping()
    pair.deploy()
    assert ":6390" not in rules(host)

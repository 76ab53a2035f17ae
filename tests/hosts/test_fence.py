"""Only whom `allow_from` names connects to a role: through changes, flushes and thousands of strangers."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.hosts.clients import client
from tests.hosts.conftest import INNER_PORT, TABLE, Tier, layout, output, overriding, wait_for
from tests.hosts.test_drift import assert_in_sync, check
from tests.hosts.writer import writing
from tests.lab.containers import ContainerLab

pytestmark = pytest.mark.hosts

ROLE, ADDRESS, PORT = "crypto", TABLE["crypto"]["address"], TABLE["crypto"]["port"]
STRANGER = "172.28.2.200"  # another machine on the same wire
FENCED = overriding({ROLE: {"allow_from": ["172.28.2.254"]}})  # where the lab's clients come from
SUITES = ("bookworm", pytest.param("trixie", marks=pytest.mark.soak))

# Connects `count` times from an address and stays; prints how often it got in, and goes when its input ends.
CONNECTS = """
import socket, sys
source, address, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
held = []
for _ in range(count):
    try:
        held.append(socket.create_connection((address, port), 2, (source, 0)))
    except OSError:
        pass
print(len(held), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module", params=SUITES)
def tier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """All roles on one host, nobody fenced yet."""
    with ContainerLab(layout("onebox", request.param)) as lab:
        lab.run(["ip", "address", "add", f"{STRANGER}/24", "dev", "br0"])
        tier = Tier(lab, "inventory/onebox.py", tmp_path_factory.mktemp("fence") / "secrets.yaml")
        tier.deploy()
        yield tier


def got_in(tier: Tier, port: int, count: int = 1) -> int:
    """How often the stranger got in."""
    done = tier.lab.run(["python3", "-c", CONNECTS, STRANGER, ADDRESS, str(port), str(count)], timeout=60, input="")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def strangers(tier: Tier) -> dict[int, int]:
    return {port: got_in(tier, port) for port in (PORT, INNER_PORT)}


OPEN, CLOSED = {PORT: 1, INNER_PORT: 1}, {PORT: 0, INNER_PORT: 0}


def test_a_list_shuts_strangers_out_of_both_ports_and_its_services_do_not_notice(tier: Tier) -> None:
    pid = tier.pid(ROLE)
    assert strangers(tier) == OPEN
    with (
        writing(tier, ROLE, "a list of who may connect, on") as assigned,
        writing(tier, ROLE, "a list of who may connect, on, inner port", port=INNER_PORT) as inner,
    ):
        plan = output(tier.run("deploy.py", "--dry", *FENCED, yes=False))
        assert f"{ROLE}: listener {ADDRESS}:{PORT}: open to everybody → open to 172.28.2.254" in plan
        assert "0 instances will restart" in plan
        tier.deploy(*FENCED)
        assert strangers(tier) == CLOSED
        assert tier.deploy_json(*FENCED)["results"]["totals"]["success"] == 0
    for writer in (assigned, inner):
        assert (writer.result.failed, writer.result.connections) == (0, 1), writer.result.errors
    assert tier.pid(ROLE) == pid


def test_no_flush_and_no_packet_filter_that_comes_or_goes_opens_it(tier: Tier) -> None:
    host = tier.host(ROLE)
    for command in (
        "nft flush ruleset",
        "systemctl restart nftables",
        "systemctl stop nftables",
        "nft flush ruleset ip",
    ):
        host.sh(command)
        assert strangers(tier) == CLOSED, command
    assert host.call("nft flush chain ip redis_inner_port input").returncode != 0
    with tier.client(ROLE, "operator") as operator:
        assert operator.ping()


def test_ssh_and_other_roles_are_open_as_before(tier: Tier) -> None:
    for role in ("gateway", "socket"):
        row = TABLE[role]
        done = tier.lab.run(
            ["python3", "-c", CONNECTS, STRANGER, row["address"], str(row["port"]), "1"], timeout=20, input=""
        )
        assert done.stdout == "1\n"
    assert tier.lab.run(["python3", "-c", CONNECTS, STRANGER, ADDRESS, "22", "1"], timeout=20, input="").stdout == "1\n"


def test_an_edited_rule_is_drift_and_is_mended(tier: Tier, tmp_path: Path) -> None:
    host = tier.host(ROLE)
    host.sh(
        "echo 'insert rule ip redis_inner_port from_crypto ip saddr 172.28.2.0/24 accept' "
        ">/run/redis-inner-port/commands"
    )
    wait_for(lambda: got_in(tier, PORT), "the edited rule lets the stranger in")
    report = tmp_path / "drift.json"
    done = tier.run("tasks/drift.py", *FENCED, "--data", f"drift_report={report}")
    assert done.returncode != 0
    ((found,),) = [host["differences"] for host in json.loads(report.read_text())["hosts"].values()]
    assert (found["role"], found["name"]) == (ROLE, f"{ADDRESS}:{PORT}")
    assert found["observed"] == "open to 172.28.2.0/24, 172.28.2.254"
    tier.deploy(*FENCED)
    assert strangers(tier) == CLOSED


def test_thousands_of_strangers_cost_the_services_nothing(tier: Tier) -> None:
    """Without a list they take all connections: that is what README says."""
    service = TABLE[ROLE]["services"][0]

    def logs_in() -> bool:
        try:
            with tier.client(ROLE, service) as own:
                return bool(own.ping())
        except redis.exceptions.RedisError:
            return False

    with crowd(tier) as count:
        assert (count, logs_in()) == (0, True)
    tier.deploy()
    with crowd(tier) as count:
        assert count > 1000
        assert not logs_in()
    wait_for(logs_in, "the strangers are gone")


@contextmanager
def crowd(tier: Tier) -> Iterator[int]:
    """Two thousand connections of the stranger's that stay; how many of them got in."""
    words = [
        "nsenter",
        f"--net={tier.lab.record.netns}",
        "python3",
        "-c",
        CONNECTS,
        STRANGER,
        ADDRESS,
        str(PORT),
        "2000",
    ]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield int(process.stdout.readline())
        process.communicate("")


def test_who_is_taken_off_the_list_is_cut_off_at_once(tier: Tier) -> None:
    tier.deploy()
    password = tier.passwords[ROLE]["operator"]
    with client(tier.lab.netns, ADDRESS, PORT, "operator", password) as own:
        assert own.ping()
        tier.deploy(*overriding({ROLE: {"allow_from": [STRANGER]}}))
        with pytest.raises(redis.exceptions.ConnectionError):
            own.ping()
    assert strangers(tier) == OPEN
    tier.deploy()


def test_without_a_list_nothing_of_it_is_left(tier: Tier, tmp_path: Path) -> None:
    tier.deploy()
    assert "chain input" not in tier.host(ROLE).sh("nft list table ip redis_inner_port")
    assert_in_sync(check(tier, tmp_path))

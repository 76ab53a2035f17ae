"""A role moves along with its address: its clients know that one only, and no write that they were told of is lost."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
import redis

from tests.bench.handover import LIBRARY
from tests.hosts.clients import can_connect
from tests.hosts.conftest import INNER_PORT, TABLE, Tier, operations, output, wait_for
from tests.hosts.faults import assert_nothing_left, break_once, broken_off, every_fault
from tests.hosts.followers import Followed, following, lacking
from tests.lab.containers import ContainerLab
from tests.lab.layouts import HostSpec

pytestmark = pytest.mark.hosts

OWN = {"one": "172.28.2.101", "two": "172.28.2.102"}  # of the hosts
ROLE, SERVICE, UNIT = "crypto", "crypto-service", "caas-redis-address-crypto.service"
ADDRESS, PORT = TABLE[ROLE]["address"], TABLE[ROLE]["port"]
ON_IT = f"ip -o -4 address show to {ADDRESS}/32"
MOVE = "Move roles with their data"
FENCE = f"/etc/systemd/system/redis-{ROLE}.service.d/handed-over.conf"
KEYS = {f"kept:{number}": str(number) for number in range(2000)}


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[Tier]:
    """Role crypto on the first of two hosts, which has its address from this tool, with keys."""
    with ContainerLab([HostSpec(name, (address,), "bookworm") for name, address in OWN.items()]) as lab:
        tier = placed(Tier(lab, str(tmp_path / "along.py"), tmp_path / "secrets.yaml"), "one")
        tier.deploy()
        with tier.operator(ROLE) as known:
            known.mset(KEYS)
            known.function_load(LIBRARY)
        yield tier


def placed(tier: Tier, where: str) -> Tier:
    """The role on one of the hosts, the other one in the inventory without a role."""
    rows = {name: {"ssh_hostname": address, "ssh_user": "root"} for name, address in OWN.items()}
    groups = {f"redis_{ROLE}" if name == where else "spare": (name, data) for name, data in rows.items()}
    groups[f"redis_{ROLE}"][1]["redis_interface"] = "host0"
    Path(tier.inventory).write_text("".join(f"{group} = [{row!r}]\n" for group, row in groups.items()))
    return tier


def holders(tier: Tier) -> list[str]:
    """The hosts that have the role's address."""
    return [name for name, host in tier.lab.hosts.items() if ADDRESS in host.sh(f"{ON_IT} || true")]


WATCH = "/run/watched"
SEEN = re.compile(rf"^\[(\S+)\] (Deleted )?.* inet {re.escape(ADDRESS)}/", re.MULTILINE)


@contextmanager
def never_on_two(tier: Tier) -> Iterator[None]:
    """While the body runs no two hosts have the address at one time: each host's kernel says when it came and went."""
    had = set(holders(tier))
    for host in tier.lab.hosts.values():
        host.sh(f"systemd-run --quiet --unit=watched --property=StandardOutput=file:{WATCH} ip -ts monitor address")
    yield
    steps = []
    for name, host in tier.lab.hosts.items():
        steps += [(datetime.fromisoformat(at), name, bool(gone)) for at, gone in SEEN.findall(host.sh(f"cat {WATCH}"))]
        host.sh(f"systemctl stop watched; rm {WATCH}")
    for _, name, gone in sorted(steps):
        had = had - {name} if gone else had | {name}
        assert len(had) < 2, sorted(steps)
    assert had == set(holders(tier))


def takes_writes(tier: Tier) -> bool:
    """Whether a service's write is taken at the role's address."""
    try:
        with tier.client(ROLE, SERVICE) as service:
            return bool(service.set("test:taken", "1"))
    except redis.RedisError:
        return False


def lost_nothing(tier: Tier, followed: Followed) -> None:
    """The role has all that its clients were told of, and what it had before."""
    with tier.operator(ROLE) as known:
        assert set(lacking(known, followed).values()) == {0}
        assert known.mget(*KEYS) == list(KEYS.values())


def test_a_role_moves_along_with_its_address_and_its_clients_lose_nothing(tier: Tier) -> None:
    login = (SERVICE, tier.passwords[ROLE][SERVICE])
    moved = placed(tier, "two")
    plan = output(moved.run("deploy.py", "--dry", yes=False))
    assert f"clients pause about 1 s, {ADDRESS} comes along" in plan
    assert holders(tier) == ["one"]
    with never_on_two(tier), following(tier, "along with its address", *login, (ADDRESS, PORT)) as followed:
        done = moved.deploy()
    assert "Keep addresses on their interface" not in operations(done)
    assert f"{ROLE}: moved from one: handed over: its writers waited" in output(done)
    lost_nothing(tier, followed)
    with tier.operator(ROLE) as known:
        assert known.config_get("bind") == {"bind": ADDRESS}
        assert set(known.acl_users()) == {"default", "operator", SERVICE}
    assert followed.gap < 6  # a SYN that is lost is sent again after one second, and after two more
    assert holders(tier) == ["two"]
    assert can_connect(tier.lab.netns, ADDRESS, INNER_PORT)
    one = tier.lab.hosts["one"]
    assert one.sh(f"systemctl show -P LoadState {UNIT} redis-{ROLE}").split() == ["not-found", "not-found"]
    done = moved.run("tasks/drift.py")
    assert done.returncode == 0, output(done)
    assert_nothing_left(moved)

    # It is kept there from now on, over a boot, too.
    two = tier.lab.hosts["two"]
    two.stop()
    two.boot()
    assert moved.deploy_json()["results"]["totals"]["success"] == 0
    assert holders(tier) == ["two"]


# --- Whatever breaks it


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["kill before", "kill during", "drop", "fail"])
def test_a_move_along_with_its_address_that_is_broken_anywhere_leaves_one_server_there(tier: Tier, kind: str) -> None:
    moved = placed(tier, "two")
    login = (SERVICE, tier.passwords[ROLE][SERVICE])
    with never_on_two(tier), following(tier, f"along, {kind} anywhere", *login, (ADDRESS, PORT)) as followed:
        for fault in every_fault(moved, kind, "a move along with its address"):
            # A handover that has begun ends by itself, without a controller.
            wait_for(lambda: takes_writes(tier), f"the address is served after {fault}")
    lost_nothing(tier, followed)
    assert holders(tier) == ["two"]
    assert_nothing_left(moved)


def copied_and_cut_off(tier: Tier) -> None:
    """The controller is killed when the copy is in sync, before the handover."""
    past: list[str] = []
    while (fault := break_once(tier, "kill during", at=MOVE, past=past)).label:
        if fault.label == f"{MOVE}: {OWN['two']}:{PORT}":
            break
        past.append(fault.label)
    assert fault.label, past
    with tier.operator(ROLE) as known:
        wait_for(lambda: known.info("replication").get("slave0", {}).get("state") == "online", "the copy is in sync")


@pytest.mark.soak
def test_a_handover_whose_host_lost_it_when_nobody_had_the_address_is_finished_and_it_moves_back(tier: Tier) -> None:
    moved = placed(tier, "two")
    one = tier.lab.hosts["one"]
    copied_and_cut_off(moved)
    with tier.operator(ROLE) as known:
        known.acl_setuser("test", enabled=True, passwords=["+a-password"], keys=["*"], categories=["+@all"])
        known.config_set("bind", f"{ADDRESS} 127.28.2.5")
        known.config_set("bind", "127.28.2.5")
    follow = f"REDISCLI_AUTH=a-password redis-cli -h 127.28.2.5 -p {PORT} --user test REPLICAOF {OWN['two']} {PORT}"
    one.sh(
        f"{follow}; mkdir -p {Path(FENCE).parent}; printf '[Service]\\nExecStartPre=+/bin/false\\n' >{FENCE}; "
        f"systemctl daemon-reload; systemctl disable --now {UNIT}; ip address del {ADDRESS}/32 dev host0"
    )
    assert holders(tier) == []
    done = moved.run("tasks/drift.py")
    assert done.returncode != 0
    assert "whether anybody serves crypto: unknown" in output(done)
    with never_on_two(tier):
        done = moved.deploy()
    assert "handed over already, it is finished" in output(done)
    assert (holders(tier), takes_writes(tier)) == (["two"], True)
    with tier.operator(ROLE) as known:
        assert known.mget(*KEYS) == list(KEYS.values())
        known.set("written:there", "1")
    assert_nothing_left(moved)

    back = placed(tier, "one")
    with never_on_two(tier):
        back.deploy()
    assert holders(tier) == ["one"]
    with tier.operator(ROLE) as known:
        assert known.get("written:there") == "1"
    assert_nothing_left(back)


@pytest.mark.soak
@pytest.mark.parametrize("lost", ["its new host", "the network between them"])
def test_a_move_that_loses_what_it_needs_leaves_one_server_with_the_address(tier: Tier, lost: str) -> None:
    moved = placed(tier, "two")
    one, two = tier.lab.hosts["one"], tier.lab.hosts["two"]
    login = (SERVICE, tier.passwords[ROLE][SERVICE])
    cut = f"ip route add unreachable {OWN['two']}"
    with following(tier, f"along, {lost} is lost", *login, (ADDRESS, PORT)) as followed:
        with broken_off(moved, "pause", MOVE) as deploy:
            deploy.go_on()
            wait_for(lambda: two.sh(f"systemctl is-active redis-{ROLE} || true").strip() == "active", "a copy begins")
            if lost == "its new host":
                two.stop()
            else:
                one.sh(cut)
            done = deploy.finish(300)
        assert "Traceback" not in output(done)
        if lost == "its new host":
            two.boot()
        else:
            one.sh(cut.replace("add", "del"))
        wait_for(lambda: takes_writes(tier), output(done))
        assert len(holders(tier)) == 1
        moved.deploy()
    lost_nothing(tier, followed)
    assert holders(tier) == ["two"]
    assert_nothing_left(moved)


@pytest.mark.soak
@pytest.mark.parametrize("victim", ["one", "two"])
def test_a_server_that_is_killed_amid_a_move_along_with_its_address_costs_nothing(tier: Tier, victim: str) -> None:
    moved = placed(tier, "two")
    two = tier.lab.hosts["two"]
    login = (SERVICE, tier.passwords[ROLE][SERVICE])
    with following(tier, f"along, server on {victim} killed", *login, (ADDRESS, PORT)) as followed:
        with broken_off(moved, "pause", MOVE) as deploy:
            deploy.go_on()
            wait_for(lambda: two.sh(f"systemctl is-active redis-{ROLE} || true").strip() == "active", "a copy begins")
            tier.lab.hosts[victim].sh(f"systemctl kill --signal=KILL redis-{ROLE}")
            done = deploy.finish(300)
        assert "Traceback" not in output(done)
        wait_for(lambda: takes_writes(tier), output(done))
        if done.returncode:
            moved.deploy()
    lost_nothing(tier, followed)
    assert holders(tier) == ["two"]
    assert_nothing_left(moved)

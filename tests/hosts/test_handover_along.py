"""A pair whose address goes along with who serves: its clients know that one only, through handover and promotion."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.bench.handover import LIBRARY
from tests.hosts.clients import can_connect, client
from tests.hosts.conftest import INNER_PORT, Tier, output, wait_for
from tests.hosts.followers import following
from tests.hosts.pair import HANDOVER, told_at, under_way
from tests.hosts.test_address_moves import (
    ADDRESS,
    FENCE,
    KEYS,
    OWN,
    PORT,
    ROLE,
    SERVICE,
    UNIT,
    holders,
    lost_nothing,
    never_on_two,
    takes_writes,
)
from tests.lab.containers import ContainerLab
from tests.lab.layouts import HostSpec

pytestmark = pytest.mark.hosts

HANDED_OVER = re.compile(rf"{ROLE}: handed over: its writers waited ([0-9]+) ms; (\S+) serves it, (\S+) is its standby")
PROMOTE = ("tasks/handover.py", "--data", f"promote={ROLE}", "--data", "old_is_off=true")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Role crypto on the first of two hosts and its standby on the second, of one address, with keys."""
    here = tmp_path_factory.mktemp("along")
    with ContainerLab([HostSpec(name, (address,), "bookworm") for name, address in OWN.items()]) as lab:
        tier = Tier(lab, str(here / "pair.py"), here / "secrets.yaml")
        rows = {
            name: {"ssh_hostname": address, "ssh_user": "root", "redis_interface": "host0"}
            for name, address in OWN.items()
        }
        groups = zip((f"redis_{ROLE}", f"redis_{ROLE}_standby"), rows.items(), strict=True)
        Path(tier.inventory).write_text("".join(f"{group} = [{row!r}]\n" for group, row in groups))
        tier.deploy()
        with tier.operator(ROLE) as known:
            known.mset(KEYS)
            known.function_load(LIBRARY)
        yield tier


@pytest.fixture
def tier(lab: Tier) -> Tier:
    """In order, the first host serves."""
    if (serving(lab), holders(lab)) != (["one"], ["one"]):
        for host in lab.lab.hosts.values():
            if not host.running:
                host.boot()
        lab.deploy()
        if serving(lab) != ["one"]:
            handed_over(lab)
    return lab


def at(tier: Tier, host: str) -> "redis.Redis":
    """The tool's user, at the own address of a host."""
    return client(tier.lab.netns, OWN[host], PORT, "operator", tier.passwords[ROLE]["operator"], every_right=True)


def says(tier: Tier, host: str) -> tuple[str, str]:
    """What a server is, and how its link is where it follows; nothing of one that does not answer."""
    try:
        with at(tier, host) as known:
            info = known.info("replication")
            return info["role"], info.get("master_link_status", "")
    except redis.RedisError:
        return "", ""


def serving(tier: Tier) -> list[str]:
    """The hosts whose server says that it serves."""
    return [host for host in OWN if says(tier, host)[0] == "master"]


def is_standby(tier: Tier, host: str) -> bool:
    return says(tier, host) == ("slave", "up")


def journals(tier: Tier) -> str:
    """What the hosts last said, and what is there of the address."""
    asked = "ip -o -4 address; systemctl --no-pager status '*crypto*'; journalctl -n 60 --no-pager"
    return "\n".join(f"== {name}\n{host.sh(f'{asked} || true')}" for name, host in tier.lab.hosts.items())


def handed_over(tier: Tier) -> tuple[str, str]:
    """From which host to which one a handover brought the role."""
    done = tier.run(*HANDOVER)
    assert done.returncode == 0, output(done) + journals(tier)
    found = HANDED_OVER.search(output(done))
    assert found is not None, output(done)
    assert int(found[1]) < 2000
    return found[3], found[2]


def nothing_is_left(tier: Tier) -> None:
    """A deploy has nothing to do, and nobody of a handover is left."""
    assert tier.deploy_json()["results"]["totals"]["success"] == 0
    for host in OWN:
        with at(tier, host) as known:
            assert [name for name in known.acl_users() if name.startswith("_")] == []


def test_a_role_is_handed_over_and_back_with_its_address_and_its_clients_lose_nothing(tier: Tier) -> None:
    assert is_standby(tier, "two")
    assert not can_connect(tier.lab.netns, OWN["two"], INNER_PORT)
    plan = output(tier.run(*HANDOVER, "--dry", yes=False))
    assert f"clients pause about 1 s, {ADDRESS} goes along" in plan
    login = (SERVICE, tier.passwords[ROLE][SERVICE])
    with never_on_two(tier), following(tier, "pair, there and back", *login, (ADDRESS, PORT)) as followed:
        for source, target in (("one", "two"), ("two", "one")):
            assert handed_over(tier) == (source, target)
            assert (serving(tier), holders(tier)) == ([target], [target])
            assert is_standby(tier, source)
            assert can_connect(tier.lab.netns, ADDRESS, INNER_PORT)
    lost_nothing(tier, followed)
    assert followed.gap < 4  # a SYN that is lost is sent again after one second
    nothing_is_left(tier)
    done = tier.run("tasks/drift.py")
    assert done.returncode == 0, output(done)


def test_only_who_serves_brings_the_address_up_at_a_boot(tier: Tier) -> None:
    assert handed_over(tier) == ("one", "two")
    one, two = tier.lab.hosts["one"], tier.lab.hosts["two"]
    for host in (one, two):
        host.stop()
    one.boot()
    wait_for(lambda: says(tier, "one") == ("slave", "down"), "a standby starts")
    assert (holders_of(tier, "one"), serving(tier)) == ([], [])
    two.boot()
    wait_for(lambda: takes_writes(tier), "it is served again")
    wait_for(lambda: is_standby(tier, "one"), "the other one follows")
    assert holders(tier) == ["two"]
    assert one.sh(f"systemctl show -P ActiveEnterTimestamp {UNIT}").strip() == ""
    nothing_is_left(tier)


def holders_of(tier: Tier, *names: str) -> list[str]:
    """Of these hosts, those that have the role's address."""
    return [name for name in names if ADDRESS in tier.lab.hosts[name].sh("ip -4 -o address show")]


SEEN: dict[str, Callable[[Tier], bool]] = {
    "one waits for the other": lambda tier: _is_active(tier, "two", f"redis-take-over-{ROLE}"),
    "it is handed over": lambda tier: _is_active(tier, "one", f"redis-hand-over-{ROLE}"),
    "the address has left": lambda tier: holders_of(tier, "one") == [],
    "the address has come": lambda tier: holders_of(tier, "two") == ["two"],
    "the old one is a standby": lambda tier: says(tier, "one")[0] == "slave",
}


def _is_active(tier: Tier, host: str, unit: str) -> bool:
    return tier.lab.hosts[host].sh(f"systemctl is-active {unit} || true").strip() in ("active", "activating")


@pytest.mark.parametrize(
    "when",
    [pytest.param(name, marks=[] if name == "the address has left" else [pytest.mark.soak]) for name in SEEN],
)
def test_a_handover_whose_controller_is_killed_leaves_one_server_with_the_address(tier: Tier, when: str) -> None:
    login = (SERVICE, tier.passwords[ROLE][SERVICE])
    with never_on_two(tier), following(tier, f"pair, killed when {when}", *login, (ADDRESS, PORT)) as followed:
        with under_way(tier, HANDOVER[0], *HANDOVER[1:]) as process:
            wait_for(lambda: SEEN[when](tier) or process.poll() is not None, when, 240)
            process.send_signal(signal.SIGKILL)
        wait_for(lambda: takes_writes(tier), "the address is served", 120)
        # Once more: it is finished, or it is handed over again; or what is left of it is deployed first.
        wait_for(lambda: tier.run(*HANDOVER).returncode == 0 or tier.run("deploy.py").returncode == 0, "it ends", 300)
        (serves,) = serving(tier)
        assert holders(tier) == [serves]
    lost_nothing(tier, followed)
    (standby,) = {*OWN} - {serves}
    wait_for(lambda: is_standby(tier, standby), "the other one follows")
    nothing_is_left(tier)


def cut_off(tier: Tier, follows: bool = True) -> None:
    """The old server of a handover has let its clients and its address go, and nobody has told the other one to serve.

    `follows`: it was told to follow that one.
    """
    one = tier.lab.hosts["one"]
    one.sh(
        f"mkdir -p {Path(FENCE).parent}; printf '[Service]\\nExecStartPre=+/bin/false\\n' >{FENCE}; sync {FENCE}; "
        f"systemctl daemon-reload; systemctl disable --quiet --now {UNIT}"
    )
    with closing(at(tier, "one")) as known:
        if follows:
            known.config_set("masteruser", "replication", "masterauth", tier.passwords[ROLE]["replication"])
        known.config_set("bind", OWN["one"])
    if follows:
        told_at(tier, OWN["one"], "REPLICAOF", OWN["two"], PORT)
    one.sh(f"ip address del {ADDRESS}/32 dev host0")
    assert (holders(tier), takes_writes(tier)) == ([], False)


def test_a_handover_that_was_cut_off_when_nobody_had_the_address_is_finished_by_the_same_command(tier: Tier) -> None:
    cut_off(tier)
    done = tier.run("tasks/drift.py")
    assert done.returncode != 0
    assert "nobody serves it" in " ".join(output(done).split())
    assert tier.run("deploy.py").returncode != 0
    assert holders(tier) == []
    with never_on_two(tier):
        done = tier.run(*HANDOVER)
    assert done.returncode == 0, output(done)
    assert "handed over already, it is finished" in output(done)
    assert (serving(tier), holders(tier), takes_writes(tier)) == (["two"], ["two"], True)
    wait_for(lambda: is_standby(tier, "one"), "the other one follows")
    nothing_is_left(tier)


def test_an_old_host_that_went_down_amid_it_brings_neither_server_nor_address_until_the_same_command_undoes_it(
    tier: Tier,
) -> None:
    cut_off(tier, follows=False)
    one = tier.lab.hosts["one"]
    one.stop()
    one.boot()
    wait_for(lambda: says(tier, "two") == ("slave", "down"), "the standby has lost it")
    assert (holders(tier), serving(tier)) == ([], [])
    assert one.sh(f"systemctl is-active redis-{ROLE} || true").strip() != "active"
    with never_on_two(tier):
        done = tier.run(*HANDOVER)
    assert "not handed over: one serves it as before" in " ".join(output(done).split()), output(done)
    assert (serving(tier), holders(tier), takes_writes(tier)) == (["one"], ["one"], True)
    wait_for(lambda: is_standby(tier, "two"), "the other one follows")
    with tier.operator(ROLE) as known:
        assert known.mget(*KEYS) == list(KEYS.values())
    nothing_is_left(tier)


def test_a_promotion_takes_the_address_along_and_the_old_host_that_is_back_has_it_not(tier: Tier) -> None:
    with tier.operator(ROLE) as known:
        known.set("before:it", "1")
        assert known.wait(1, 5000) == 1
    one = tier.lab.hosts["one"]
    one.stop()
    done = tier.run(*PROMOTE)
    assert done.returncode == 0, output(done)
    assert f"promoted: served by two at {ADDRESS}:{PORT}" in " ".join(output(done).split())
    assert "endpoints are to be written anew" not in " ".join(output(done).split())
    assert (holders_of(tier, "two"), takes_writes(tier)) == (["two"], True)
    with tier.operator(ROLE) as known:
        assert known.get("before:it") == "1"
    # Whoever of the two is back first, with nobody to ask.
    two = tier.lab.hosts["two"]
    two.stop()
    one.boot()
    wait_for(
        lambda: "asked again" in one.sh(f"journalctl -b -u {UNIT} --no-pager"), "it asks before it takes the address"
    )
    assert (holders_of(tier, "one"), serving(tier)) == ([], [])
    two.boot()
    wait_for(lambda: takes_writes(tier), "what was promoted serves again")
    wait_for(lambda: f"{OWN['two']}:{PORT} serves it" in one.sh(f"journalctl -b -u {UNIT} --no-pager"), "it is told")
    assert (holders(tier), serving(tier)) == (["two"], ["two"])
    tier.deploy()
    wait_for(lambda: is_standby(tier, "one"), "the old one follows")
    assert (holders(tier), takes_writes(tier)) == (["two"], True)
    nothing_is_left(tier)


def test_one_whose_data_is_gone_lets_the_address_go_to_the_standby_that_is_put_in_its_place(tier: Tier) -> None:
    """Its host is up, and what keeps the address there does not ask whether its server runs."""
    with tier.operator(ROLE) as known:
        known.set("before:it", "2")
        assert known.wait(1, 5000) == 1
    one = tier.lab.hosts["one"]
    one.sh(f"systemctl stop redis-{ROLE}; rm -rf /var/lib/redis/{ROLE}/*")
    assert (holders(tier), serving(tier)) == (["one"], [])
    with never_on_two(tier):
        done = tier.run(*PROMOTE[:3], "--data", "old_data_is_lost=true")
    assert done.returncode == 0, output(done)
    assert (serving(tier), holders(tier), takes_writes(tier)) == (["two"], ["two"], True)
    with tier.operator(ROLE) as known:
        assert known.get("before:it") == "2"
    tier.deploy()
    wait_for(lambda: is_standby(tier, "one"), "the old one follows")
    assert (holders(tier), takes_writes(tier)) == (["two"], True)
    nothing_is_left(tier)

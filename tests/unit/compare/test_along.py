"""When a role moves along with its address (compare/along.py), what forbids it, and who has it on two hosts then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.catalogue.interface import own_address_of, own_address_problems
from tasks.compare.addresses import twice
from tasks.compare.along import own_address
from tasks.compare.difference import Remedy
from tasks.compare.elsewhere import moved_roles
from tasks.compare.host import compare
from tasks.compare.moving import Move, moves, of_moves, without_copies
from tasks.desired.address import apart
from tasks.desired.build import host_without_roles
from tasks.desired.host import Host
from tasks.desired.paths import copy_drop_in, handed_over_drop_in
from tasks.observed.own_server import Sockets, own_endpoint
from tasks.observed.state import Leftover, Listener, Observed
from tests.unit.builders import as_desired, desired, fresh, with_server, with_unit

ADDRESS, PORT = "172.28.2.5", 6383
UNIT, KEEPER = "redis-crypto.service", "caas-redis-address-crypto.service"
INFO = {"role": "master", "redis_version": "7.0.15", "used_memory": str(12 << 20), "db0": "keys=1551,expires=0"}
USERS = {user.name: frozenset(user.passwords_sha256) for user in desired("crypto").instances[0].users}
Pair = tuple[Host, Observed]


def old(
    role: str = "master", where: str = ADDRESS, kept: bool = True, ssh: str = "10.0.0.1", drop_in: str = ""
) -> Pair:
    """A host that no longer carries crypto, whose server runs, and whose unit keeps its address."""
    host = replace(host_without_roles("a"), ssh=ssh)
    left = Leftover("crypto", True, (where, PORT), 1551, info={**INFO, "role": role}, users=USERS)
    loaded = {"LoadState": "loaded", "ActiveState": "active", "MainPID": "9"}
    units = {UNIT: {**loaded, "DropInPaths": drop_in}} | ({KEEPER: loaded} if kept else {})
    own = {"127.0.0.1", "10.0.0.1"} | ({ADDRESS} if where == ADDRESS else set())
    return host, replace(fresh(host), leftovers=(left,), our_units=(UNIT,), units=units, addresses=frozenset(own))


def new(*addresses: str, interface: str | None = "eth0", ssh: str = "b.example", own: str | None = None) -> Pair:
    """A host that carries crypto and has nothing of it."""
    host = replace(desired("crypto", interface=interface), ssh=ssh, own_address=own)
    seen = replace(fresh(host), packages={"redis-server": "5:7.0.15-1~deb12u10"})
    return host, replace(seen, addresses=frozenset({"127.0.0.1", *(addresses or ("10.0.0.2",))}))


def test_a_role_moves_along_with_the_address_that_this_tool_gives() -> None:
    (found,), problems = moves({"a": old(), "b": new()})
    assert problems == []
    assert str(found).endswith(f"clients pause about 1 s, {ADDRESS} comes along")
    assert found.along is not None
    assert (found.along.interface, found.along.keeper) == ("eth0", KEEPER)
    assert (found.copied_at, found.along.apart) == (("10.0.0.2", PORT), "127.28.2.5")
    assert moved_roles({"a": old(), "b": new()}, ["crypto"]) == []


def test_a_role_that_gets_another_address_does_not() -> None:
    (found,), _ = moves({"a": old(where="10.0.0.9"), "b": new()})
    assert found.along is None
    assert str(found).endswith(f"then at {ADDRESS}:{PORT}")


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (old(kept=False), new(), f"its address {ADDRESS} is given to a by that host's network, expected by {KEEPER}"),
        (old(ssh=ADDRESS), new(), f"ssh_hostname of a is {ADDRESS}, which leaves it"),
        (old(), new("10.0.0.2", ADDRESS), f"{ADDRESS} is on b already, beside a: take it from there"),
        (old(), new("10.0.0.2", "10.9.0.2"), "b has 10.0.0.2, 10.9.0.2: write it into its host data redis_own_address"),
        (old(), new("10.0.0.2", own="10.0.0.9"), "redis_own_address is 10.0.0.9, and b has 10.0.0.2"),
    ],
)
def test_what_forbids_it_is_said_before_anything_is_done(source: Pair, target: Pair, words: str) -> None:
    hosts = {"a": source, "b": target}
    found, problems = moves(hosts)
    assert found == []
    (problem,) = [item for item in problems if words in item]
    assert problem.startswith("b: crypto: cannot be moved here from a: ")


@pytest.mark.parametrize(
    ("target", "own"),
    [
        (new("10.0.0.2", "10.9.0.2", ssh="10.9.0.2"), "10.9.0.2"),  # where SSH goes to
        (new("10.0.0.2", "10.9.0.2", ssh="10.9.0.2", own="10.0.0.2"), "10.0.0.2"),  # said
        (new("10.0.0.2"), "10.0.0.2"),  # the only one
        (new("10.0.0.2", "172.28.2.5"), "10.0.0.2"),  # beside a role's
        (new("172.28.2.5", ssh="172.28.2.5"), ""),
    ],
)
def test_a_host_is_reached_by_an_address_that_is_no_role_s(target: Pair, own: str) -> None:
    assert own_address("b", {"a": old(), "b": target})[0] == own


@pytest.mark.parametrize("value", ["", "10.0.0", "10.0.0.2/24", "eth0", 7, ["10.0.0.2"], "10.0.0.2\n", "::1"])
def test_what_is_no_address_is_refused_and_never_used(value: object) -> None:
    assert own_address_of(value) is None
    assert len(list(own_address_problems("b", value))) == 1


def test_only_a_role_that_moves_along_has_its_address_on_two_hosts() -> None:
    hosts = {"a": old(), "b": new()}
    assert list(twice(hosts)) == ["b"]
    assert twice(hosts, {("crypto", "a", "b")}) == {}
    for others in ({("crypto", "b", "a")}, {("crypto", "c", "b")}, {("gateway", "a", "b")}):
        assert list(twice(hosts, others)) == ["b"]


def test_its_new_host_gets_what_keeps_the_address_as_a_file_that_nobody_starts() -> None:
    hosts = {"a": old(), "b": new()}
    (move,), _ = moves(hosts)
    differences = compare(*hosts["b"])
    places = [item for item in differences if item.remedy == Remedy.PLACE]
    assert [item.name for item in places] == [ADDRESS]
    left = of_moves(tuple(differences), [move])
    assert not set(places) & set(left)
    assert f"/etc/systemd/system/{KEEPER}" in {item.name for item in left}
    assert set(places) <= set(of_moves(tuple(differences), [replace(move, along=None)]))


def test_one_that_was_cut_off_when_the_address_had_gone_is_finished() -> None:
    host, seen = new()
    copy = with_unit(as_desired(host), UNIT, DropInPaths=copy_drop_in("crypto"))
    copy = with_server(replace(copy, addresses=seen.addresses), "crypto", info={**INFO, "role": "slave"})
    source = old("slave", apart(ADDRESS), drop_in=handed_over_drop_in("crypto"))
    for addresses in (seen.addresses, seen.addresses | {ADDRESS}):  # the new host has it already, or not yet
        there = without_copies(host, replace(copy, addresses=addresses))
        (found,), problems = moves({"a": source, "b": (host, there)})
        assert problems == []
        assert isinstance(found, Move)
        assert found.handed_over
        assert found.along is not None


def test_a_server_is_logged_in_to_on_loopback_when_its_address_has_gone() -> None:
    listeners = (Listener("127.28.2.5", PORT, "redis-server", 9),)
    seen = Sockets(listeners, frozenset({"127.0.0.1", "10.0.0.1"}), (), frozenset(), {})
    assert own_endpoint(9, (ADDRESS, PORT), seen) == ("127.28.2.5", PORT)
    beside = replace(seen, listeners=(*listeners, Listener("0.0.0.0", PORT, "other", 10)))
    assert own_endpoint(9, (ADDRESS, PORT), beside) != ("127.28.2.5", PORT)


def test_each_address_has_a_loopback_address_of_its_own() -> None:
    assert [apart(item) for item in (ADDRESS, "10.0.0.1", "192.168.7.200")] == [
        "127.28.2.5",
        "127.0.0.1",
        "127.168.7.200",
    ]

"""Which ports are tried from which hosts, and what follows from what those hear (compare/network.py)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.compare.network import FROM, Tries, differences, hosts_with_roles, to_try, tries, unheard
from tasks.desired.build import host_without_roles
from tasks.desired.host import Host
from tasks.observed.state import Observed
from tests.unit.builders import as_desired, desired, fresh, stopped

CRYPTO = {("172.28.2.5", 6383): "crypto", ("172.28.2.5", 6379): "crypto"}


def tier(*roles: str) -> dict[str, tuple[Host, Observed]]:
    """A host for each role, named after it, exactly as desired."""
    return {role: (desired(role), as_desired(desired(role))) for role in roles}


def test_both_ports_of_a_role_are_tried_from_two_other_hosts_in_one_command_each() -> None:
    planned = tries(tier("gateway", "socket", "shared", "compliance", "crypto"))
    assert planned["crypto"] == Tries(CRYPTO, ("compliance", "gateway"))
    assert planned["gateway"] == Tries({("172.28.2.1", 6379): "gateway"}, ("compliance", "crypto"))
    assert {name: len(ports) for name, ports in to_try(planned).items()} == {"compliance": 7, "gateway": 4, "crypto": 7}


@given(st.integers(0, 9))
def test_however_many_hosts_there_are_three_try_and_nobody_tries_itself(number: int) -> None:
    host = desired("crypto")
    planned = tries({f"host-{item}": (host, as_desired(host)) for item in range(number)})
    assert len(to_try(planned)) <= FROM + 1
    assert all(len(item.hosts) == min(FROM, number - 1) and name not in item.hosts for name, item in planned.items())
    assert len(planned) == (number if number > 1 else 0)


@pytest.mark.parametrize(
    ("seen", "left"),
    [
        (stopped(as_desired(desired("crypto")), "crypto"), set()),
        (replace(as_desired(desired("crypto")), addresses=frozenset()), set()),
        (replace(as_desired(desired("crypto")), forwards=frozenset()), {("172.28.2.5", 6383)}),
    ],
)
def test_what_a_host_has_closed_itself_is_not_tried(seen: Observed, left: set[tuple[str, int]]) -> None:
    planned = tries(tier("gateway") | {"crypto": (desired("crypto"), seen)})
    assert set(planned["crypto"].ports if "crypto" in planned else ()) == left


def test_hosts_without_roles_and_hosts_that_were_not_seen_neither_try_nor_are_tried() -> None:
    nobody, unseen = host_without_roles("web"), replace(as_desired(desired("socket")), unseen={"listeners": "gone"})  # type: ignore[dict-item]
    seen = {"web": (nobody, fresh(nobody)), "shared": (desired("shared"), None), "socket": (desired("socket"), unseen)}
    assert hosts_with_roles(seen) == {}


def fenced(*networks: str) -> dict[str, tuple[Host, Observed]]:
    """crypto open to these networks, and two hosts that may try."""
    host = desired("crypto", crypto={"allow_from": list(networks)})
    return {**tier("gateway", "socket"), "crypto": (host, as_desired(host))}


def from_host(name: str) -> frozenset[tuple[str, tuple[str, int]]]:
    return frozenset((name, port) for port in CRYPTO)


def test_whom_allow_from_leaves_out_tries_all_the_same_and_is_to_find_it_closed() -> None:
    planned = tries(fenced("172.28.2.1"))["crypto"]  # gateway's address
    assert planned == Tries(CRYPTO, ("gateway", "socket"), closed=from_host("socket"))
    assert differences(planned, {"gateway": REACHED, "socket": dict.fromkeys(CRYPTO, "refused")}) == []
    found = differences(planned, {"gateway": REACHED, "socket": REACHED})
    assert [(item.role, item.name) for item in found] == [("crypto", f"172.28.2.5:{port}") for port in (6383, 6379)]
    assert {(item.expected, item.observed) for item in found} == {
        ("closed to whom its allow_from leaves out", "reached over the network from socket")
    }


def test_whom_allow_from_lets_in_and_who_does_not_get_in_is_a_difference() -> None:
    planned = tries(fenced("172.28.2.0/24"))["crypto"]
    assert (planned.closed, planned.unsure) == (frozenset(), frozenset())
    assert len(differences(planned, {"gateway": dict.fromkeys(CRYPTO, CLOSED), "socket": REACHED})) == 2


def test_a_host_of_which_only_one_address_may_connect_does_not_try() -> None:
    seen = fenced("172.28.2.1")
    host, observed = seen["gateway"]
    seen["gateway"] = (host, replace(observed, addresses=observed.addresses | {"192.0.2.7"}))
    planned = tries(seen)
    assert planned["crypto"].unsure == from_host("gateway")
    assert not set(to_try(planned)["gateway"]) & set(CRYPTO)
    assert differences(planned["crypto"], {"gateway": {}, "socket": dict.fromkeys(CRYPTO, "refused")}) == []


CLOSED = "no answer within 3 s"
TRIED = Tries(CRYPTO, ("gateway", "socket"))
REACHED = dict.fromkeys(CRYPTO, "")


def test_a_port_that_one_of_them_does_not_reach_is_a_difference_of_its_role() -> None:
    (found,) = differences(TRIED, {"gateway": REACHED, "socket": {**REACHED, ("172.28.2.5", 6383): CLOSED}})
    assert (found.role, found.subject, found.name) == ("crypto", "listener", "172.28.2.5:6383")
    assert (found.expected, found.observed) == (
        "reached over the network from gateway, socket",
        "no answer within 3 s from socket",
    )


def test_ports_that_all_of_them_reach_are_right() -> None:
    assert differences(TRIED, {"gateway": REACHED, "socket": REACHED}) == []
    assert differences(TRIED, {"gateway": REACHED}) == []


def test_only_when_nobody_could_try_nothing_is_known() -> None:
    assert unheard(TRIED, {"socket": "the connection broke"}) == []
    (found,) = unheard(TRIED, {"socket": "the connection broke", "gateway": "bash is gone"})
    assert found.because == "gateway could not try: bash is gone; socket could not try: the connection broke"

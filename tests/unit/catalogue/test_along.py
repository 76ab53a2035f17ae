"""A pair whose address goes along with who serves, at the door: said by one address on both hosts, or not at all."""

from typing import Any

import pytest

from tasks.catalogue.along import Place, own_of
from tasks.catalogue.roles import same_endpoint
from tasks.catalogue.standby import Carried, paired, pairs
from tests.unit.builders import TLS, roles

ONE, OTHER = Place("eth0", "10.0.0.1"), Place("eth0", "10.0.0.2")


def both(first: Place = ONE, other: Place = OTHER, **standby: Any) -> list[Carried]:
    """The two hosts of crypto, which have its one address, as roles.yaml has it."""
    own, there = roles()["crypto"], roles(crypto=standby)["crypto"]
    return [
        Carried("one", (own,), (), "secrets/prod.yaml", None, first),
        Carried("other", (there,), ("crypto",), "secrets/prod.yaml", None, other),
    ]


def test_one_address_on_both_hosts_that_have_an_interface_for_it_goes_along() -> None:
    found, problems = pairs(both())
    assert (list(found), problems) == (["crypto"], [])
    (role,) = paired([roles()["crypto"]], ["crypto"], {"crypto": roles()["gateway"].address})
    assert (role.reached, str(role.address)) == ("172.28.2.1", "172.28.2.5")


@pytest.mark.parametrize(
    ("hosts", "words"),
    {
        "no interface": (
            both(Place(None, "10.0.0.1"), Place(None, "10.0.0.2")),
            ["redis_interface of one is not set", "redis_interface of other is not set"],
        ),
        "an interface on one": (both(ONE, Place(None, "10.0.0.2")), ["redis_interface of other is not set"]),
        "no own address": (both(ONE, Place("eth0")), ["by which address of its own other is reached is not said"]),
        "a role's address": (both(ONE, Place("eth0", "172.28.2.5")), ["172.28.2.5, by which other is reached, is a"]),
        "one own address": (both(ONE, ONE), ["10.0.0.1 is the own address of one, too"]),
        "another port": (both(port=6999, inner_port=None), ["inner_port of its standby is not that of one"]),
        "all at once": (
            both(Place(None, "10.0.0.1"), Place("eth0"), port=6999),
            ["redis_interface of one is not set", "is not said", "port of its standby is not that of one"],
        ),
    }.values(),
)
def test_what_is_said_by_half_is_refused_in_words_all_at_once(hosts: list[Carried], words: list[str]) -> None:
    found, problems = pairs(hosts)
    assert found == {}
    assert [word in problem for word, problem in zip(words, problems, strict=True)] == [True] * len(words), problems


def test_one_that_speaks_tls_does_not_go_along() -> None:
    own = roles(crypto={"tls": TLS})["crypto"]
    _, problems = pairs([Carried(item.host, (own,), item.standby_of, "", None, item.place) for item in both()])
    assert "it has tls, expected none of a role whose address goes along with who serves it" in problems[-1]


def test_two_addresses_are_a_pair_as_ever_whatever_interfaces_there_are() -> None:
    found, problems = pairs(both(Place("eth0"), Place(None), address="172.28.2.15"))
    assert (list(found), problems) == (["crypto"], [])


@pytest.mark.parametrize(
    ("said", "ssh", "own"),
    [("10.0.0.1", "10.9.9.9", "10.0.0.1"), (None, "10.0.0.1", "10.0.0.1"), (None, "redis-1.example", "")],
)
def test_where_ssh_goes_to_by_number_is_the_hosts_own_where_nothing_else_is_said(
    said: str | None, ssh: str, own: str
) -> None:
    assert own_of(said, ssh) == own


def test_an_endpoint_is_claimed_twice_by_others_only() -> None:
    crypto, gateway = roles()["crypto"], roles(gateway={"address": "172.28.2.5", "port": 6383})["gateway"]
    hosts = {"one": [crypto], "other": [crypto]}
    assert same_endpoint(hosts, {"crypto"}) == []
    assert len(same_endpoint(hosts)) == 2
    assert "crypto on one and gateway on third" in same_endpoint({**hosts, "third": [gateway]}, {"crypto"})[0]


def test_two_roles_of_one_port_are_not_reached_at_one_address_of_their_host() -> None:
    built = roles(gateway={"port": 6383})
    own = dict.fromkeys(("crypto", "gateway"), roles(shared={"address": "10.0.0.1"})["shared"].address)
    pair = paired([built["crypto"], built["gateway"]], own, own)
    assert same_endpoint({"one": list(pair)}, own) == [
        "10.0.0.1:6383 is claimed by crypto on one and gateway on one: give each role an address and port of its own"
    ]

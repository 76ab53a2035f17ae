"""How many clients a role can hold (tasks/catalogue/clients.py): promises that cannot be kept together are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.clients import CLIENT_BYTES, CLIENT_SHARE, client_memory, client_problem
from tasks.catalogue.roles import build_roles, read_catalogue
from tasks.catalogue.values import parse_memory
from tests.tree import REPOSITORY, ROLES
from tests.unit.builders import catalogue, roles


def problems_of(**fields: Any) -> list[str]:
    """What is said when gateway, of 256 MB, carries these fields."""
    return build_roles(catalogue(), {"gateway": fields}, "here")[1]


def test_what_the_issue_says_is_refused_in_words() -> None:
    assert problems_of(maxclients=10000, maxmemory_clients="20%") == [
        "here: gateway: maxclients 10000: at 37760 bytes each they weigh 360 MiB, expected at most the 51 MiB of "
        "maxmemory_clients 20% of 256mb, beyond which Redis cuts clients off: write fit (that is 1421), or raise "
        "maxmemory"
    ]


@pytest.mark.parametrize("share", ["0", "26%", "100mb"])
def test_clients_without_a_bound_or_with_too_large_a_share_are_refused(share: str) -> None:
    (problem,) = problems_of(maxmemory_clients=share, maxclients=1)
    assert problem.startswith("here: gateway: maxmemory_clients ")
    assert "expected more than 0 and at most 25% of maxmemory 256mb" in problem


@pytest.mark.parametrize("fields", [{"maxclients": 1421}, {"maxclients": 100}, {"maxmemory_clients": "64mb"}])
def test_what_fits_is_taken(fields: dict[str, Any]) -> None:
    assert problems_of(**fields) == []


@pytest.mark.parametrize(
    ("fields", "clients"),
    [({}, 1421), ({"maxmemory": "64mb"}, 355), ({"maxmemory_clients": "10%"}, 710), ({"maxmemory": "2mb"}, 11)],
)
def test_as_many_as_fit_follow_from_the_memory(fields: dict[str, Any], clients: int) -> None:
    assert roles(gateway=fields)["gateway"].maxclients == clients


def test_a_wrong_size_is_said_once_and_not_of_the_clients() -> None:
    (problem,) = problems_of(maxmemory="lots")
    assert problem.startswith("here: gateway: maxmemory: ")


def test_another_word_than_fit_is_refused() -> None:
    (problem,) = problems_of(maxclients="many")
    assert problem.startswith("here: gateway: maxclients: 'many' was given")


@given(maxmemory=st.integers(1 << 20, 1 << 40), share=st.integers(1, CLIENT_SHARE))
def test_as_many_as_fit_are_never_refused_and_one_more_is(maxmemory: int, share: int) -> None:
    most = client_memory(maxmemory, f"{share}%") // CLIENT_BYTES
    assert client_problem(most, maxmemory, f"{share}%") is None
    assert client_problem(most + 1, maxmemory, f"{share}%")


def test_in_production_all_clients_may_reconnect_where_health_does_not_warn_yet_and_no_write_is_refused() -> None:
    read, problems = read_catalogue((REPOSITORY / ROLES).read_text())
    assert read is not None, problems
    for role in build_roles(read, {}, "production")[0].values():
        if role.maxmemory_policy == "noeviction":
            assert client_memory(role.maxmemory, role.maxmemory_clients) + role.maxmemory * 85 // 100 <= role.maxmemory
        assert role.maxclients >= 700


@pytest.mark.parametrize(("text", "size"), [("20%", 200), ("64000", 64000), ("0", 0)])
def test_what_clients_may_hold_is_a_share_or_a_size(text: str, size: int) -> None:
    assert client_memory(1000, text) == size


def test_the_example_of_the_contract_is_taken() -> None:
    assert problems_of(address="10.9.2.1", maxmemory="64mb") == []
    assert roles(gateway={"maxmemory": "64mb"})["gateway"].maxmemory == parse_memory("64mb")

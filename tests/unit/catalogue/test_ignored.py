"""Other Redis servers that an operator keeps are named by unit or socket (tasks/catalogue/ignored.py)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.ignored import ignore_problems, ignored, is_unit, socket
from tests.unit.builders import desired

ROLES = desired("gateway").roles
GOOD = ["redis-sentinel.service", "redis-server@cache.service", "127.0.0.1:7000", "[::1]:7000"]


def test_units_and_sockets_are_named_once_each() -> None:
    assert ignored([*GOOD, "127.0.0.1:7000"]) == tuple(GOOD)
    assert list(ignore_problems("a", GOOD, ROLES, ["redis-gateway.service"])) == []


@pytest.mark.parametrize("value", ["redis-sentinel.service", 7000, {"a": 1}, [7000], [["a"]], True])
def test_anything_but_a_list_of_names_is_refused(value: object) -> None:
    (said,) = ignore_problems("a", value, ROLES, [])
    assert said.startswith("a: redis_ignore: expected a list of units")


@pytest.mark.parametrize(
    "item",
    ["7000", "localhost:7000", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "::1:7000", "redis", "a b.service"],
)
def test_what_names_no_unit_and_no_socket_is_refused_and_names_nothing(item: str) -> None:
    (said,) = ignore_problems("a", [item], ROLES, [])
    assert said.startswith(f"a: redis_ignore: {item!r}: expected a list of units")
    assert ignored([item]) == ()


@pytest.mark.parametrize(
    ("item", "whose"),
    [
        ("redis-server.service", "redis-server.service"),
        ("redis-gateway.service", "redis-gateway.service"),
        ("172.28.2.1:6379", "gateway"),
    ],
)
def test_what_the_catalogue_decides_cannot_be_ignored(item: str, whose: str) -> None:
    (said,) = ignore_problems("a", [item], ROLES, ["redis-gateway.service"])
    assert said == f"a: redis_ignore: {item}: is {whose}'s, which this tool keeps as the catalogue says: take it out"


@given(
    st.one_of(st.text(), st.lists(st.text()), st.none(), st.integers(), st.lists(st.from_regex(r"[a-z@.:\[\]0-9]*")))
)
def test_any_value_is_read_or_refused_and_only_names_reach_a_command(value: Any) -> None:
    for item in ignored(value):
        assert is_unit(item) or socket(item)
        assert not item.startswith("-")
        assert not set(item) & set(" \n;&|$'\"()<>*?`")
    list(ignore_problems("a", value, ROLES, []))

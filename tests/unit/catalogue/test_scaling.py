"""How a rehearsal makes roles smaller, and says so (tasks/catalogue/scaling.py)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.clients import client_memory
from tasks.catalogue.scaling import (
    LEAST,
    MIB,
    SIZES,
    factor,
    fitting_scale,
    made_smaller,
    scaled_roles,
    scaled_size,
    smaller_fields,
    smaller_overrides,
)
from tests.unit.builders import EVERY, catalogue, roles

SCALES = st.floats(0.001, 1.0)


@pytest.mark.parametrize("value", [0, -1, 1.01, True, "a quarter", [0.5], float("nan"), float("inf")])
def test_a_factor_that_is_none_is_said(value: object) -> None:
    (said,) = factor(value)[1]
    assert said == f"scale={value}: expected a number above 0 and at most 1, as scale=0.25: correct it"


def test_a_factor_is_a_number_up_to_one_and_one_when_nobody_says_it() -> None:
    assert [factor(value) for value in (None, 1, 0.25)] == [(1.0, []), (1.0, []), (0.25, [])]


@given(st.integers(0, 1 << 40), SCALES, st.integers(0, 200).map(lambda number: number * MIB))
def test_a_size_is_never_larger_nor_smaller_than_the_least_and_whole(size: int, scale: float, least: int) -> None:
    used = scaled_size(size, scale, least)
    assert min(size, least) <= used <= size
    assert used in (size, least) or used % MIB == 0
    assert used <= max(size * scale, min(size, least))


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40), SCALES)
def test_of_two_sizes_the_larger_stays_the_larger(one: int, two: int, scale: float) -> None:
    low, high = sorted((one, two))
    assert scaled_size(low, scale) <= scaled_size(high, scale)


@given(SCALES, st.sampled_from(EVERY), st.integers(1, 4096), st.integers(1, 100))
def test_every_role_stays_one_at_every_scale(scale: float, name: str, memory: int, clients: int) -> None:
    overrides = {name: {"maxmemory": f"{memory}mb", "maxmemory_clients": min(memory * MIB // 4, clients * MIB)}}
    wanted = roles(**overrides)[name]
    (used,), smaller, wrong = scaled_roles(catalogue(), overrides, (wanted,), scale)
    assert wrong == []
    assert used.maxmemory >= min(wanted.maxmemory, LEAST["maxmemory"])
    assert used.maxclients <= wanted.maxclients
    assert smaller == tuple(made_smaller(wanted, used))
    kept_fields = {field for field in type(wanted).model_fields if getattr(wanted, field) == getattr(used, field)}
    assert {*type(wanted).model_fields} - kept_fields <= {*SIZES, "maxclients"}


def test_every_size_is_made_smaller_and_named_as_people_write_it() -> None:
    fields = {"maxmemory": "1gb", "maxmemory_clients": "64mb", "maxclients": 1000}
    (wanted,) = (roles(gateway=fields)["gateway"],)
    (used,), smaller, _ = scaled_roles(catalogue(), {"gateway": fields}, (wanted,), 0.25)
    assert [(item.setting, item.wanted, item.used) for item in smaller] == [
        ("auto_aof_rewrite_min_size", "64mb", "16mb"),
        ("client_output_buffer_limit normal", "64mb 32mb 60", "16mb 8mb 60"),
        ("client_output_buffer_limit replica", "256mb 64mb 60", "64mb 16mb 60"),
        ("client_output_buffer_limit pubsub", "32mb 8mb 60", "8mb 2mb 60"),
        ("client_query_buffer_limit", "64mb", "16mb"),
        ("maxclients", "1000", "444"),
        ("maxmemory", "1gb", "256mb"),
        ("maxmemory_clients", "64mb", "16mb"),
    ]
    assert {item.role for item in smaller} == {"gateway"}
    assert used.maxclients * 37_760 <= client_memory(used.maxmemory, used.maxmemory_clients)


def test_nothing_is_smaller_at_one() -> None:
    wanted = roles()["gateway"]
    assert scaled_roles(catalogue(), {}, (wanted,), 1.0) == ((wanted,), (), [])
    assert smaller_fields(wanted, 1.0) == {}


@given(st.lists(st.integers(64 * MIB, 1 << 34), min_size=1, max_size=5), st.integers(0, 1 << 36))
def test_a_scale_that_is_said_to_fit_fits_and_a_larger_one_does_not(sizes: list[int], room: int) -> None:
    def needed(scale: float) -> int:
        return sum(scaled_size(size, scale, LEAST["maxmemory"]) for size in sizes)

    fits = fitting_scale(sizes, room)
    assert needed(0.01) > room if fits is None else needed(fits) <= room
    assert fits in (None, 1.0) or needed(fits + 0.01) > room


def test_what_a_smaller_role_needs_to_fit_counts_from_what_was_wanted() -> None:
    assert fitting_scale([512 * MIB], 256 * MIB, scale=0.5) == 0.25
    assert fitting_scale([64 * MIB], 63 * MIB, scale=0.29) is None


def test_an_older_state_is_told_sizes_that_are_small_already() -> None:
    overrides = {"gateway": {"maxmemory": "512mb", "hz": 20}, "socket": {"hz": 30}}
    told, wrong = smaller_overrides(catalogue(), overrides, ["gateway"], 0.5)
    assert wrong == []
    assert told["gateway"]["maxmemory"] == 256 * MIB
    assert told["gateway"]["hz"] == 20
    assert set(told) == {"gateway"}
    assert smaller_overrides(catalogue(), overrides, ["gateway"], 1.0) == ({"gateway": overrides["gateway"]}, [])

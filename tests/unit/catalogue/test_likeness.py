"""What a rehearsal takes of another inventory, and how it makes roles smaller (tasks/catalogue/likeness.py)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.clients import client_memory
from tasks.catalogue.likeness import (
    LEAST,
    MIB,
    SIZES,
    Carrier,
    factor,
    fitting_scale,
    kept,
    likened,
    made_smaller,
    one_for_all,
    scaled_roles,
    scaled_size,
    smaller_fields,
    smaller_overrides,
    wish,
)
from tests.unit.builders import EVERY, catalogue, roles

PROD = "inventory/prod.py"
SCALES = st.floats(0.001, 1.0)


def carrier(name: str, *names: str, **data: Any) -> Carrier:
    return Carrier(name, names, data)


def overriding(**fields: Any) -> dict[str, Any]:
    return {"redis_overrides": {"gateway": fields}}


OWN = carrier("r", "gateway", ssh_hostname="192.0.2.1")


def taken(other: Carrier, own: Carrier = OWN) -> dict[str, Any]:
    """What the own host has of the other's data."""
    found = likened([own], [other], PROD)
    assert found.problems == ()
    return dict(found.data["r"])


def problems(own: list[Carrier], other: list[Carrier]) -> tuple[str, ...]:
    found = likened(own, other, PROD)
    assert not found.problems or not any("secret-" in line for line in found.problems)
    return found.problems


def test_fields_of_a_role_its_version_and_what_changes_it_are_taken() -> None:
    data = {"redis_version": "5:7", "redis_sysctl": {"vm.overcommit_memory": 1}, "redis_health": {"clients_warning": 1}}
    fields = {"maxmemory": "300mb", "allow_from": ["10.8.0.0/16"], "services": {"gateway": {}}, "port": 7000}
    assert taken(carrier("p", "gateway", **data, **overriding(**fields))) == {**data, **overriding(**fields)}


def test_nothing_else_is() -> None:
    data = {"ssh_hostname": "172.28.2.1", "ssh_key": "secret-key", "_sudo": True, "redis_secrets_file": "secret-file"}
    found = taken(carrier("p", "gateway", redis_secrets_command=["secret-command"], redis_ignore=["a.service"], **data))
    assert found == {**overriding(), "redis_version": None, "redis_sysctl": None, "redis_health": None}


def test_a_role_answers_where_its_own_host_says() -> None:
    there = carrier("p", "gateway", **overriding(address="10.0.0.1", port=7000, inner_port=None, maxmemory="1gb"))
    assert taken(there)["redis_overrides"]["gateway"] == {"port": 7000, "inner_port": None, "maxmemory": "1gb"}
    own = carrier("r", "gateway", **overriding(address="192.0.2.1", port=7001, inner_port=6379))
    fields = {"address": "192.0.2.1", "port": 7001, "inner_port": 6379, "maxmemory": "1gb"}
    assert taken(there, own)["redis_overrides"]["gateway"] == fields


def test_what_the_own_inventory_says_of_a_role_beside_is_not_used_and_said() -> None:
    own = carrier("r", "gateway", **overriding(address="192.0.2.1", maxmemory="64mb"))
    found = likened([own], [carrier("p", "gateway")], PROD)
    assert found.data["r"]["redis_overrides"] == {"gateway": {"address": "192.0.2.1"}}
    (note,) = found.notes
    assert note.startswith("like=inventory/prod.py: gateway.maxmemory of redis_overrides here (r) is not used")


def test_a_role_that_only_one_of_the_two_has_is_one_sentence_each() -> None:
    own, other = [carrier("r", "gateway", "socket")], [carrier("p", "gateway"), carrier("q", "crypto")]
    assert problems(own, other) == (
        "like=inventory/prod.py: socket: no host there carries it, r of this run does: take it out of redis_socket "
        "here, or name an inventory that has the role",
        "like=inventory/prod.py: crypto: q carries it there, no host of this run does: put a throw-away host into "
        "group redis_crypto",
    )


def test_an_inventory_without_roles_is_none() -> None:
    assert problems([OWN], [carrier("web")]) == (
        "like=inventory/prod.py: no host in a group redis_<role> there: name the inventory that is to be rehearsed",
    )


def test_a_role_that_two_hosts_there_carry_alike_is_taken() -> None:
    one, two = (carrier(name, "gateway", **overriding(address=name, maxmemory="1gb")) for name in ("10.0.0.1", "2"))
    assert problems([OWN], [one, two]) == ()


def test_a_role_that_is_not_the_same_everywhere_there_cannot_be_rehearsed() -> None:
    (said,) = problems([OWN], [carrier("p", "gateway"), carrier("q", "gateway", **overriding(hz=20, save=""))])
    assert said.startswith("like=inventory/prod.py: gateway: hz, save of p is not that of q, expected one gateway")


def test_one_host_cannot_be_like_two_that_differ() -> None:
    own = [carrier("r", "gateway", "socket")]
    (said,) = problems(own, [carrier("p", "gateway", redis_version="5:7"), carrier("q", "socket")])
    assert said.startswith("like=inventory/prod.py: r: redis_version of p is not that of q, expected the same")
    assert (
        problems(own, [carrier("p", "gateway", redis_version="5:7"), carrier("q", "socket", redis_version="5:7")]) == ()
    )


@pytest.mark.parametrize("overrides", [["gateway"], {"gateway": ["maxmemory"]}, "gateway"])
def test_overrides_that_are_none_are_said(overrides: Any) -> None:
    (said,) = problems([OWN], [carrier("p", "gateway", redis_overrides=overrides)])
    assert said.startswith("like=inventory/prod.py: p: redis_overrides: ")


@pytest.mark.parametrize("value", [0, -1, 1.01, True, "a quarter", [0.5], float("nan"), float("inf")])
def test_a_factor_that_is_none_is_said(value: object) -> None:
    (said,) = factor(value)[1]
    assert said == f"scale={value}: expected a number above 0 and at most 1, as scale=0.25: correct it"


def test_a_factor_is_a_number_up_to_one_and_one_when_nobody_says_it() -> None:
    assert [factor(value) for value in (None, 1, 0.25)] == [(1.0, []), (1.0, []), (0.25, [])]


def test_one_run_is_like_one_inventory() -> None:
    assert wish("like", []) == (None, [])
    assert wish("like", [carrier("a", like="x"), carrier("b", like="x")]) == ("x", [])
    (said,) = wish("like", [carrier("a", like="x"), carrier("b")])[1]
    assert said == "like: 'x', nothing for hosts of one run, expected the same for all: give it by --data like=…"


def test_hosts_that_are_kept_are_like_themselves() -> None:
    hosts = [
        carrier(name, redis_rehearsal=meant) for name, meant in (("a", True), ("b", "true"), ("c", 1), ("d", None))
    ]
    (said,) = kept([*hosts, carrier("e")], ["like=", "scale="])
    assert "redis_rehearsal is not True of b, c, d and 1 more, expected throw-away hosts only: leave like= and" in said
    assert list(kept(hosts[:1], ["like="])) == []


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


def test_an_older_state_is_told_the_overrides_of_all_hosts_at_once() -> None:
    a = {"redis_overrides": {"gateway": {"hz": 20}}, "redis_version": None}
    b: dict[str, Any] = {"redis_overrides": {"socket": {}}, "redis_version": None}
    assert one_for_all({"a": a, "b": b}) == ({"redis_overrides": {"gateway": {"hz": 20}, "socket": {}}}, [])
    _, (said,) = one_for_all({"a": a, "b": {**b, "redis_version": "5:7"}})
    assert said.startswith("redis_version: a and b have different ones, expected the same")
    _, (said,) = one_for_all({"a": a, "b": {**b, "redis_overrides": {"gateway": {"hz": 10}}}})
    assert said.startswith("redis_overrides of gateway: a and b have different ones")


def test_an_older_state_is_told_sizes_that_are_small_already() -> None:
    overrides = {"gateway": {"maxmemory": "512mb", "hz": 20}, "socket": {"hz": 30}}
    told, wrong = smaller_overrides(catalogue(), overrides, ["gateway"], 0.5)
    assert wrong == []
    assert told["gateway"]["maxmemory"] == 256 * MIB
    assert told["gateway"]["hz"] == 20
    assert set(told) == {"gateway"}
    assert smaller_overrides(catalogue(), overrides, ["gateway"], 1.0) == ({"gateway": overrides["gateway"]}, [])

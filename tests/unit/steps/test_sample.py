"""Some keys of a role are the same in its server and in a copy (steps/sample.py)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tasks.observed.replies import Reply
from tasks.steps.sample import ALL, KEYS, LARGEST, LONG_NAME, Ask, differing_keys, small

Store = Mapping[str, tuple[str, Reply, Reply]]  # key → type, length, what it holds
HOLDS: Store = {
    "text": ("string", 5, "value"),
    "list": ("list", 2, ["a", "b"]),
    "set": ("set", 2, ["a", "b"]),
    "hash": ("hash", 2, ["a", "1", "b", "2"]),
    "long": ("list", 5000, None),
    "module": ("vectorset", None, None),
}
ONE = ["0"]


def server(*stores: Store, sizes: Mapping[str, int] | None = None, other: Store | None = None) -> Ask:
    """One that holds what the first says, after its first look what the second says, and so on.

    `sizes`: bytes of keys; `other`: what another database than 0 holds.
    """
    left = list(stores)

    def ask(*commands: tuple[str, ...]) -> list[Reply]:
        (select, number), *others = commands
        assert select == "SELECT"
        if others[0][0] == "TYPE" and len(left) > 1:
            left.pop(0)
        store = left[0] if number == "0" or other is None else other
        if others[0][0] == "RANDOMKEY":
            names = sorted(store)
            return ["OK", *(names[count % len(names)] if names else None for count in range(len(others)))]
        return ["OK", *(answer(store, sizes or {}, *command) for command in others)]

    return ask


def answer(store: Store, sizes: Mapping[str, int], command: str, key: str, *rest: str) -> Reply:
    if command == "MEMORY":
        return sizes.get(rest[0], 100)
    kind, length, held = store[key]
    if command == "TYPE":
        return kind
    if command in ("STRLEN", "LLEN", "SCARD", "HLEN"):
        return length
    assert sizes.get(key, 100) <= LARGEST, "a large one is read"
    return held


def test_what_is_the_same_in_another_order_is_the_same() -> None:
    other: Store = {**HOLDS, "set": ("set", 2, ["b", "a"]), "hash": ("hash", 2, ["b", "2", "a", "1"])}
    assert differing_keys(server(HOLDS), server(other), ONE) == (0, len(HOLDS))


@pytest.mark.parametrize(
    "other",
    [{"text": ("string", 5, "other")}, {"list": ("list", 2, ["b", "a"])}, {"long": ("list", 4999, None)},
     {"hash": ("hash", 2, ["a", "1", "b", "3"])}, {"set": ("none", None, None)}],
)  # fmt: skip
def test_what_lasts_is_a_difference(other: Store) -> None:
    assert differing_keys(server(HOLDS), server({**HOLDS, **other}), ONE) == (1, len(HOLDS))


def test_what_is_written_amid_the_looks_is_none() -> None:
    later = [{**HOLDS, "text": ("string", 1, str(number))} for number in range(9)]
    assert differing_keys(server(HOLDS, *later), server(HOLDS), ONE) == (0, len(HOLDS))


def test_a_copy_that_has_it_a_moment_later_has_it() -> None:
    late = {**HOLDS, "text": ("string", 0, "")}
    assert differing_keys(server(HOLDS), server(late, late, HOLDS), ONE) == (0, len(HOLDS))


def test_a_server_without_keys_has_no_difference() -> None:
    assert differing_keys(server({}), server({}), []) == (0, 0)
    assert differing_keys(server({}), server({}), ONE) == (0, 0)


def test_every_database_is_compared() -> None:
    other: Store = {"there": ("string", 1, "a")}
    wrong: Store = {"there": ("string", 1, "b")}
    old = server(HOLDS, other=other)
    assert differing_keys(old, server(HOLDS, other=other), ["0", "7"]) == (0, len(HOLDS) + 1)
    assert differing_keys(old, server(HOLDS, other=wrong), ["0", "7"]) == (1, len(HOLDS) + 1)


@pytest.mark.parametrize(("databases", "most"), [(1, KEYS), (4, KEYS), (16, KEYS), (1000, 5000)])
def test_not_more_is_asked_for_however_many_databases_there_are(databases: int, most: int) -> None:
    many: Store = {f"key:{number}": ("string", 1, "a") for number in range(1000)}
    _, asked = differing_keys(server(many), server(many), ["0"] * databases)
    assert 0 < asked <= most


def test_a_large_value_is_not_read_and_its_length_is_compared() -> None:
    sizes = {"text": LARGEST + 1, "list": 1 << 30}
    asked = differing_keys(server(HOLDS, sizes=sizes), server(HOLDS, sizes=sizes), ONE)
    assert asked == (0, len(HOLDS))
    shorter: Store = {**HOLDS, "list": ("list", 1, ["a"])}
    assert differing_keys(server(HOLDS, sizes=sizes), server(shorter, sizes=sizes), ONE) == (1, len(HOLDS))


def test_all_that_is_read_at_once_is_bounded_and_so_is_a_name() -> None:
    many: Store = {f"key:{number}": ("string", 1, "a") for number in range(KEYS)}
    sizes = dict.fromkeys(many, LARGEST)
    whole = small(lambda *commands: server(many, sizes=sizes)(("SELECT", "0"), *commands)[1:], sorted(many))
    assert len(whole) == ALL // LARGEST < len(many)
    named: Store = {"n" * (LONG_NAME + 1): ("string", 1, "a"), "short": ("string", 1, "a")}
    assert differing_keys(server(named), server(named), ONE) == (0, 1)

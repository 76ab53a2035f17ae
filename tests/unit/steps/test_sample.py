"""Some keys of a role are the same in its server and in a copy (steps/sample.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from tasks.observed.replies import Reply
from tasks.steps.sample import differing_keys

Store = Mapping[str, tuple[str, Reply, Reply]]  # key → type, length, what it holds
HOLDS: Store = {
    "text": ("string", 5, "value"),
    "list": ("list", 2, ["a", "b"]),
    "set": ("set", 2, ["a", "b"]),
    "hash": ("hash", 2, ["a", "1", "b", "2"]),
    "long": ("list", 5000, None),
    "module": ("vectorset", None, None),
}


def server(*stores: Store) -> Callable[..., list[Reply]]:
    """One that holds what the first says, after its first look what the second says, and so on."""
    left = list(stores)

    def ask(*commands: tuple[str, ...]) -> list[Reply]:
        names = sorted(stores[0])
        if commands[0][0] == "RANDOMKEY":
            return [names[number % len(names)] for number in range(len(commands))]
        if commands[0][0] == "TYPE" and len(left) > 1:
            left.pop(0)
        return [answer(left[0], *command) for command in commands]

    return ask


def answer(store: Store, command: str, key: str, *_: str) -> Reply:
    kind, length, held = store[key]
    if command == "TYPE":
        return kind
    return length if command in ("STRLEN", "LLEN", "SCARD", "HLEN") else held


def test_what_is_the_same_in_another_order_is_the_same() -> None:
    other: Store = {**HOLDS, "set": ("set", 2, ["b", "a"]), "hash": ("hash", 2, ["b", "2", "a", "1"])}
    assert differing_keys(server(HOLDS), server(other)) == (0, len(HOLDS))


@pytest.mark.parametrize(
    "other",
    [{"text": ("string", 5, "other")}, {"list": ("list", 2, ["b", "a"])}, {"long": ("list", 4999, None)},
     {"hash": ("hash", 2, ["a", "1", "b", "3"])}, {"set": ("none", None, None)}],
)  # fmt: skip
def test_what_lasts_is_a_difference(other: Store) -> None:
    assert differing_keys(server(HOLDS), server({**HOLDS, **other})) == (1, len(HOLDS))


def test_what_is_written_amid_the_looks_is_none() -> None:
    later = [{**HOLDS, "text": ("string", 1, str(number))} for number in range(9)]
    assert differing_keys(server(HOLDS, *later), server(HOLDS)) == (0, len(HOLDS))


def test_a_copy_that_has_it_a_moment_later_has_it() -> None:
    late = {**HOLDS, "text": ("string", 0, "")}
    assert differing_keys(server(HOLDS), server(late, late, HOLDS)) == (0, len(HOLDS))


def test_a_server_without_keys_has_no_difference() -> None:
    assert differing_keys(lambda *commands: [None for _ in commands], lambda *commands: []) == (0, 0)

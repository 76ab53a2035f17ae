"""One machine under two names is known by what only one running machine has (tasks/compare/same_machine.py)."""

from dataclasses import replace

import pytest

from tasks.compare.same_machine import same_machine
from tests.unit.builders import as_desired, desired

SEEN = as_desired(desired("gateway"))


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (("m1", "b1"), ("m1", "b1"), True),
        (("m1", "b1"), ("m1", "b2"), False),
        (("m1", "b1"), ("m2", "b1"), False),
        (("m1", ""), ("m1", ""), False),
        (("", "b1"), ("", "b1"), False),
        (("", ""), ("", ""), False),
    ],
    ids=["one machine", "clones", "containers", "no boot-id", "no machine-id", "neither"],
)
def test_one_machine_is_known_by_both_its_ids(a: tuple[str, str], b: tuple[str, str], same: bool) -> None:
    found = same_machine({"a": replace(SEEN, machine=a), "b": replace(SEEN, machine=b), "c": SEEN})
    assert set(found) == ({"a", "b"} if same else set())


def test_each_of_three_names_is_told_of_the_others() -> None:
    found = same_machine(dict.fromkeys(("a", "b", "c"), replace(SEEN, machine=("m", "b"))))
    assert str(found["b"]) == (
        "which roles are to be on this machine: unknown, because it is a, c as well (the same machine-id and boot-id): "
        "give it one name in the inventory, in the groups of all its roles"
    )

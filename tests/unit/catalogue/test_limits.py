"""The limits of health at the door (tasks/catalogue/limits.py)."""

from runpy import run_path
from typing import Any

import pytest

from tasks.catalogue.limits import IN_ORDER, NAME, Limits, read_limits
from tests.tree import REPOSITORY

GOOD: dict[str, Any] = run_path(str(REPOSITORY / "group_data" / "all.py"))[NAME]


def problem(**changes: object) -> str:
    read, (line,) = read_limits("redis-1", {**GOOD, **changes})
    assert read is None
    return line


def test_the_repository_s_own_limits_are_sound_and_complete() -> None:
    assert read_limits("redis-1", GOOD)[1] == []
    assert set(GOOD) == set(Limits.model_fields)


@pytest.mark.parametrize("value", [None, 7, ["memory_warning"]])
def test_what_is_no_mapping_is_refused(value: object) -> None:
    assert read_limits("redis-1", value) == (
        None,
        ["redis-1: redis_health: expected the mapping of group_data/all.py: run pyinfra in the repository"],
    )


def test_an_unknown_name_is_refused_in_words() -> None:
    assert (
        problem(memory_waring=9)
        == "redis-1: redis_health: memory_waring: unknown key: correct its spelling or remove it"
    )


def test_a_missing_one_says_where_it_is() -> None:
    read, (line,) = read_limits("redis-1", {name: value for name, value in GOOD.items() if name != "clients_warning"})
    assert read is None
    assert line.startswith("redis-1: redis_health: clients_warning: missing: copy it from group_data/all.py")


@pytest.mark.parametrize(
    ("value", "words"), [(0, "greater than"), (101, "less than"), ("85%", "valid integer"), (True, "valid integer")]
)
def test_a_share_is_a_whole_number_of_percent(value: object, words: str) -> None:
    assert words in problem(memory_warning=value)


@pytest.mark.parametrize(("smaller", "larger"), IN_ORDER)
def test_a_warning_that_would_come_too_late_is_refused(smaller: str, larger: str) -> None:
    line = problem(**{smaller: GOOD[larger]})
    assert f"expected {smaller} to be smaller" in line

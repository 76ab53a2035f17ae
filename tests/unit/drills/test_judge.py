"""What the numbers of a drill mean, and when one is red."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.drills.judge import (
    ANSWERED,
    Filling,
    account_problem,
    crash_problem,
    full_problems,
    loss,
    loss_problem,
    percentile,
    power_problem,
    restart_problem,
    shares,
    slow_problem,
)
from tasks.steps.witness import Witness, of_a_drill
from tests.unit.builders import desired


def role(name: str):  # type: ignore[no-untyped-def]
    return desired(name).roles[0]


@pytest.mark.parametrize(
    ("name", "lost", "red"),
    [
        ("crypto", [], False),
        ("crypto", [99.99], True),
        ("compliance", [99.99], True),
        ("gateway", [], False),
        ("gateway", [99.0, 98.1], False),
        ("gateway", [97.9], True),
        ("scratch", [1.0], False),  # no log
    ],
)
def test_a_power_cut_may_take_what_appendfsync_leaves_open_and_no_more(name: str, lost: list[float], red: bool) -> None:
    found = loss(lost, [1.0, 97.9, 98.1, 99.0, 99.99], 100.0)
    assert bool(power_problem(role(name), found)) == red
    if red:
        assert f"{len(lost)} of 5 acknowledged writes are lost" in power_problem(role(name), found)


GOOD = {
    "gateway": (Filling(2000, 0, 500, 0), None),
    "socket": (Filling(2000, 0, 500, 0), Filling(400, 1600, 0, 0)),
    "crypto": (Filling(400, 1600, 0, 0), None),
}
BAD = [
    ("gateway", Filling(1999, 1, 500, 0), None, "1 writes refused"),
    ("gateway", Filling(2000, 0, 0, 0), None, "0 keys evicted"),
    ("socket", Filling(2000, 0, 500, 1), GOOD["socket"][1], "1 keys without a TTL are gone"),
    ("socket", Filling(1000, 1000, 500, 0), GOOD["socket"][1], "1000 writes refused and 500 keys evicted"),
    ("socket", GOOD["socket"][0], Filling(2000, 0, 0, 0), "with no TTL left: 0 writes refused"),
    ("socket", GOOD["socket"][0], Filling(400, 1600, 0, 2), "2 keys gone"),
    ("crypto", Filling(2000, 0, 0, 0), None, "no write was refused"),
    ("crypto", Filling(400, 1600, 3, 0), None, "3 keys evicted"),
    ("crypto", Filling(400, 1600, 0, 1), None, "1 lost"),
]


@pytest.mark.parametrize("name", GOOD)
def test_a_full_role_that_does_what_its_policy_says_is_right(name: str) -> None:
    assert full_problems(role(name), *GOOD[name]) == []


@pytest.mark.parametrize(("name", "with_ttl", "without", "words"), BAD)
def test_a_full_role_that_does_anything_else_is_red(
    name: str, with_ttl: Filling, without: Filling | None, words: str
) -> None:
    (problem,) = full_problems(role(name), with_ttl, without)
    assert words in problem


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Filling(2000, 0, 1643, 0, expired=0, left=357), ""),
        (Filling(2000, 0, 1600, 0, expired=43, left=357), ""),
        (Filling(2000, 0, 1700, 0, expired=0, left=357), ""),  # 57 of other keys
        (Filling(2000, 0, 1609, 0, expired=0, left=357), "34 of 2000 keys are gone, neither evicted nor expired"),
    ],
)
def test_every_key_that_was_taken_is_there_evicted_or_expired(found: Filling, words: str) -> None:
    assert words in account_problem(found)
    assert bool(account_problem(found)) == bool(words)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_no_percentile_is_beyond_the_values(values: list[float]) -> None:
    assert min(values) <= percentile(values, 0.5) <= percentile(values, 0.99) <= max(values)
    assert shares(values)["max"] == pytest.approx(1000 * max(values))


def test_of_a_hundred_values_the_99th_is_p99() -> None:
    assert percentile([float(value) for value in range(1, 101)], 0.99) == 99.0


def test_nothing_measured_is_nothing() -> None:
    assert percentile([], 0.5) == 0.0
    assert shares([]) == {}


def test_fewer_than_a_hundred_values_have_no_p99_of_their_own() -> None:
    assert set(shares([0.001] * 99)) == {"p50", "max"}
    assert set(shares([0.001] * 100)) == {"p50", "p99", "max"}


def test_an_answer_for_which_clients_do_not_wait_is_none() -> None:
    said = slow_problem([0.001, ANSWERED + 1, 0.001], "while the log was rewritten")
    assert said == "an answer took 4.0 s while the log was rewritten, expected at most 3 s"
    assert slow_problem([0.001, ANSWERED], "while the log was rewritten") == ""


def test_who_was_not_asked_was_not_answered() -> None:
    assert "nobody asked anything" in slow_problem([], "while the log was rewritten")


@pytest.mark.parametrize(
    ("before", "after", "red"), [("7", "7", False), ("7", "8", True), ("7", "0", True), ("0", "0", True)]
)
def test_a_server_that_was_restarted_has_not_gone_on(before: str, after: str, red: bool) -> None:
    assert ("something restarted it" in restart_problem(before, after, "the script")) == red


def test_lost_writes_are_counted_for_each_way_in_which_they_were_made() -> None:
    written: list[Witness] = [item for number in (1, 2) for item in of_a_drill("key", number)]
    said = loss_problem([written[0], written[7], written[9]], written)
    assert said == (
        "3 of 14 acknowledged writes are gone, expected none: written plainly 2 of 2, by a script 1 of 2; "
        "the first is key:1:plain"
    )
    assert loss_problem([], written) == ""


@pytest.mark.parametrize(
    ("name", "lost", "saved", "red"),
    [
        ("crypto", [], 0, False),
        ("crypto", [13], 0, True),
        ("reports", [13], 13, False),  # written after its snapshot
        ("reports", [12], 13, True),
        ("scratch", [*range(14)], 0, False),  # keeps nothing
    ],
)
def test_a_crash_may_cost_what_came_after_the_snapshot_where_there_is_no_log(
    name: str, lost: list[int], saved: int, red: bool
) -> None:
    written: list[Witness] = [item for number in (1, 2) for item in of_a_drill("key", number)]
    assert bool(crash_problem(role(name), [written[number] for number in lost], written, saved)) == red

"""The bounds of a run fit into each other: the inner one is reached first, and says more."""

import pytest

from tasks.observed import bounds
from tasks.observed.bounds import (
    CHANGE,
    EXCHANGE,
    GLANCE,
    HOLD,
    LOOK,
    PROGRAM,
    SEEN_BY_A_PERSON,
    SEEN_BY_NOBODY,
    SILENCE,
    Patience,
)
from tasks.observed.records import ENCODED


def test_a_look_of_which_every_program_hangs_still_tells_the_rest() -> None:
    programs = 5  # apt-cache, df, ss, systemctl, nft
    assert programs * PROGRAM < LOOK.seconds


def test_a_look_as_large_as_it_may_be_fits_into_what_is_read() -> None:
    assert LOOK.size > ENCODED


def test_whatever_a_change_waits_for_ends_before_the_change_is_given_up() -> None:
    waits = [value for name, value in vars(bounds).items() if name.endswith("PATIENCE")]
    assert len(waits) > 8
    assert 3 * max(waits) < CHANGE.seconds  # a conversion loads, and writes anew
    assert CHANGE.seconds > bounds.CHECK_PATIENCE + bounds.OWN_PATIENCE


def test_silence_is_noticed_before_the_whole_is_given_up() -> None:
    assert EXCHANGE.silence is not None and EXCHANGE.silence < EXCHANGE.seconds
    assert HOLD.silence is not None and SILENCE < HOLD.silence < HOLD.seconds


def test_nothing_is_ended_on_a_host_that_changes_something() -> None:
    assert not CHANGE.ends


@pytest.mark.parametrize(
    ("gone", "host", "server"),
    [(0, 1.5, 1.5), (0.4, 1.1, 1.1), (0.8, 0.8, 0.8), (1.5, 1.5, 1.5), (10, 10, GLANCE)],
)
def test_who_looks_on_waits_for_a_silent_one_as_long_as_is_left_and_where_hosts_are_slow_as_long_as_they_took(
    gone: float, host: float, server: float
) -> None:
    patience = Patience(100.0, SEEN_BY_A_PERSON)
    assert patience.narrowed(LOOK, 100.0 + gone).silence == pytest.approx(host)
    assert patience.narrowed(EXCHANGE, 100.0 + gone).silence == pytest.approx(server)


def test_one_silent_server_leaves_time_to_say_so_within_what_a_person_waits() -> None:
    for gone in (0.1, 0.3, 0.5, 0.7):
        assert gone + Patience(0.0, SEEN_BY_A_PERSON).left(gone) < SEEN_BY_A_PERSON - 0.4


def test_where_nobody_waits_a_server_is_silent_after_the_same_time_and_a_host_may_take_long() -> None:
    patience = Patience(0.0, SEEN_BY_NOBODY)
    assert patience.narrowed(EXCHANGE, 1.0).silence == GLANCE
    assert patience.left(0.0) > SILENCE


def test_a_change_is_given_up_by_its_own_bound_whoever_looks_on() -> None:
    assert Patience(0.0, SEEN_BY_A_PERSON).narrowed(CHANGE, 0.5) == CHANGE


def test_what_is_given_up_is_said_with_what_was_observed_and_expected() -> None:
    assert LOOK.too_long() == "a command that takes a second has not ended after 120 s, expected far less"
    assert EXCHANGE.too_much() == "the conversation with the server says more than 4 MiB, expected far less"

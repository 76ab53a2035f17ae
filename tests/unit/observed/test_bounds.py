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
    ("took", "gone", "seconds"),
    [
        ([], 0, 10),  # nobody has answered: nothing else can be shown
        ([0.4, 0.4], 0, 10),  # not half of them
        ([0.4, 0.4, 0.5], 0, 1.5),
        ([0.4, 0.5, 1.3], 0, 2.6),  # they are busy, or far away
        ([0.4, 0.4, 0.5], 0.4, 1.1),
        ([0.4, 0.4, 0.5], 0.9, 1),
        ([0.4, 0.4, 0.5], 4, 4),
    ],
)
def test_a_host_may_be_silent_while_others_answer_and_for_as_long_again_as_they_took(
    took: list[float], gone: float, seconds: float
) -> None:
    patience = Patience(100.0, SEEN_BY_A_PERSON, hosts=5)
    for each in took:
        patience.heard(100.0 + each)
    assert patience.for_a_host(100.0 + gone) == pytest.approx(seconds)


@pytest.mark.parametrize(("gone", "seconds"), [(0, 1.5), (0.4, 1.1), (0.8, 1), (1.5, 1.5), (10, GLANCE)])
def test_a_server_may_be_silent_for_what_is_left_and_where_its_host_is_slow_for_as_long_again(
    gone: float, seconds: float
) -> None:
    silence = Patience(100.0, SEEN_BY_A_PERSON).narrowed(EXCHANGE, 100.0 + gone).silence
    assert silence == pytest.approx(seconds)


def test_one_silent_server_leaves_time_to_say_so_within_what_a_person_waits() -> None:
    for gone in (0.1, 0.3, 0.5, 0.6):
        assert gone + Patience(0.0, SEEN_BY_A_PERSON).for_a_server(gone) < SEEN_BY_A_PERSON - 0.3


def test_where_nobody_waits_a_server_is_silent_after_the_same_time_and_a_host_may_take_long() -> None:
    patience = Patience(0.0, SEEN_BY_NOBODY, hosts=1, answered=[0.1])
    assert patience.narrowed(EXCHANGE, 1.0).silence == GLANCE
    assert patience.for_a_host(0.0) > SILENCE


def test_what_is_given_up_is_said_with_what_was_observed_and_expected() -> None:
    assert LOOK.too_long() == "a command that takes a second has not ended after 120 s, expected far less"
    assert EXCHANGE.too_much() == "the conversation with the server says more than 4 MiB, expected far less"

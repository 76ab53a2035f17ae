"""The bounds of a run fit into each other: the inner one is reached first, and says more."""

from tasks.observed import bounds
from tasks.observed.bounds import CHANGE, EXCHANGE, HOLD, LOOK, PROGRAM, SILENCE
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


def test_what_is_given_up_is_said_with_what_was_observed_and_expected() -> None:
    assert LOOK.too_long() == "a command that takes a second has not ended after 120 s, expected far less"
    assert EXCHANGE.too_much() == "the conversation with the server says more than 4 MiB, expected far less"

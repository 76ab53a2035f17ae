"""What speaks against a promotion, and what a standby says that it may lack: tables, and whatever a server may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.compare.promotion import NotReached, lag, promotion_problems
from tasks.desired.host import Pair
from tasks.observed.answer import Answer

PAIR = Pair("crypto", "redis-1", ("172.28.2.1", 6383), True, True, ssh_there="172.28.2.1")
DOWN = {
    "role": "slave",
    "master_host": "172.28.2.1",
    "master_port": "6383",
    "master_link_status": "down",
    "master_sync_in_progress": "0",
    "master_last_io_seconds_ago": "-1",
    "master_link_down_since_seconds": "40",
    "slave_read_repl_offset": "1010",
    "slave_repl_offset": "1000",
    "loading": "0",
}
OFF = NotReached(Answer.NOBODY, "not reachable over SSH: timed out")
GONE = [it for it in Answer if it.may_be_off]
THERE = [it for it in Answer if it.is_of_the_host]


def problems(
    changes: dict[str, str], keys: int | None = 7, ssh: NotReached | None = OFF, off: bool = True
) -> list[str]:
    return list(promotion_problems(PAIR, {**DOWN, **changes}, keys, ssh, off))


def test_each_answer_is_that_of_the_host_or_says_nothing_of_it_or_is_no_answer_at_all() -> None:
    assert {*GONE, *THERE, Answer.UNTOLD} == {*Answer}
    assert not {*GONE} & {*THERE}


@pytest.mark.parametrize("answer", GONE)
def test_a_standby_whose_primary_is_gone_and_said_to_be_off_may_be_promoted(answer: Answer) -> None:
    assert problems({}, ssh=NotReached(answer, "words")) == []
    assert problems({}, keys=0) == []  # a role may be empty, where it was in sync


def test_one_that_answers_ssh_is_there() -> None:
    (said,) = problems({}, ssh=None)
    assert said.startswith("redis-1 answers SSH, expected a host that is off: hand over instead")


@pytest.mark.parametrize("answer", THERE)
def test_so_is_one_that_answers_and_lets_nobody_in(answer: Answer) -> None:
    (said,) = problems({}, ssh=NotReached(answer, "\x1b[2Jwords"))
    assert said.startswith(f"redis-1 answers SSH, for {answer.value} (")
    assert said.isprintable()


def test_one_that_is_there_without_its_data_is_replaced_by_a_persons_word_alone() -> None:
    def said(word: bool | None) -> list[str]:
        return list(promotion_problems(PAIR, DOWN, 7, None, False, word))

    assert said(True) == []
    (only,) = said(False)
    assert "if the disk is only not there, mount it" in only
    assert "old_data_is_lost=true" in only
    assert len(said(None)) == 2  # it is there, and nobody says that it is off


def test_one_that_was_not_even_tried_is_not_replaced() -> None:
    (said,) = problems({}, ssh=NotReached(Answer.UNTOLD, "no reason given"))
    assert said.startswith("whether redis-1 answers SSH is not known")


def test_nothing_is_promoted_without_a_persons_word() -> None:
    (said,) = problems({}, off=False)
    assert said.startswith("nobody has said that redis-1 is off")


@pytest.mark.parametrize(
    ("changes", "keys", "said"),
    [
        ({"role": "master"}, 7, "its server says that it is master, expected a standby"),
        ({"role": "sentinel\x1b[2J"}, 7, "its server says that it is sentinel"),
        ({"master_sync_in_progress": "1"}, 7, "its server is amid taking over all data"),
        ({"loading": "1"}, 7, "its server is amid taking over all data"),
        ({"slave_repl_offset": "1"}, 0, "its server has no key and was not in sync since it was started"),
        ({}, None, "its server has no key and was not in sync since it was started"),
    ],
)
def test_one_that_has_nothing_whole_is_not_promoted(changes: dict[str, str], keys: int | None, said: str) -> None:
    (found,) = problems(changes, keys)
    assert found.startswith(said)
    assert found.isprintable()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"master_host": "10.0.0.99", "master_link_status": "up"}, "10.0.0.99:6383"),
        ({"master_port": "6384"}, "172.28.2.1:6384"),
        ({"master_host": "\x1b[2J" + "long" * 100}, "\\x1b[2J"),
    ],
)
def test_one_that_follows_a_third_server_is_not_put_beside_it(changes: dict[str, str], found: str) -> None:
    """The host of its pair is off, and that says nothing of the one that serves."""
    (said,) = problems(changes)
    assert said.startswith(f"its server follows {found}")
    assert "expected redis-1 at 172.28.2.1:6383" in said
    assert "put its host back into the pair" in said
    assert said.isprintable()
    assert len(said) < 800


def test_all_that_speaks_against_it_is_said_at_once() -> None:
    assert len(problems({"role": "master"}, ssh=None, off=False)) == 3


def test_a_link_that_is_down_was_silent_for_its_timeout_before_at_most() -> None:
    said = str(lag(DOWN, 60))
    assert "it heard of its primary 100 s ago at most, and has 10 bytes of that not applied" in said
    assert "up to byte 1000 of its history" in said


def test_of_a_link_that_is_not_given_up_yet_the_silence_is_counted() -> None:
    assert "9 s ago at most" in str(lag({**DOWN, "master_link_status": "up", "master_last_io_seconds_ago": "9"}, 60))


def test_one_that_was_never_in_sync_since_its_start_says_so_and_no_seconds() -> None:
    said = str(lag({**DOWN, "slave_repl_offset": "1", "slave_read_repl_offset": "1"}, 60))
    assert said.startswith("it has not been in sync since it was started")
    assert "s ago" not in said


@given(st.dictionaries(st.sampled_from(sorted(DOWN)), st.text(max_size=30) | st.integers().map(str)))
def test_whatever_a_server_says_is_words_and_never_fewer_seconds_than_it_was_silent(changes: dict[str, str]) -> None:
    found = lag({**DOWN, **changes}, 60)
    assert str(found)
    assert found.seconds is None or found.seconds >= 0
    assert found.pending is None or found.pending >= 0

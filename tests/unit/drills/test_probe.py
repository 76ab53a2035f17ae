"""Who asks while something goes on (tasks/drills/probe.py), and what the answers mean."""

from __future__ import annotations

import time

import pytest

from tasks.drills.client import DrillFailed
from tasks.drills.judge import Answer, curve, unasked, waited
from tasks.drills.probe import Probe
from tasks.observed.connection import begin
from tasks.observed.exchange import ExchangeError
from tasks.observed.refusal import Cause
from tasks.reports.rehearsal_model import Series
from tasks.reports.rehearsal_plot import draw


def test_a_question_asked_before_and_answered_meanwhile_counts_as_meanwhile() -> None:
    answers = [Answer(1.0, 0.5), Answer(3.9, 0.8), Answer(5.0, 0.1), Answer(6.0, 9.0)]
    assert waited(answers, 4.0, 6.0) == answers[1:]


def test_the_longest_time_in_which_nothing_was_asked_is_between_an_answer_and_the_next_question() -> None:
    answers = [Answer(1.0, 0.1), Answer(3.9, 0.6), Answer(5.5, 0.1)]
    assert unasked(answers, 4.0, 6.0) == pytest.approx(1.0)
    assert unasked(answers, 1.0, 6.0) == pytest.approx(2.8)
    assert unasked(answers, 5.7, 8.0) == pytest.approx(2.3)


def test_a_wait_is_no_time_in_which_nothing_was_asked() -> None:
    assert unasked([Answer(3.0, 4.0)], 4.0, 6.0) == 0.0
    assert unasked([], 4.0, 6.0) == 2.0


def test_a_wait_is_drawn_for_as_long_as_it_lasted() -> None:
    quick, *slow = curve([Answer(1.0, 0.01), Answer(2.0, 1.5)])
    assert quick == (1.0, 10.0)
    assert (slow[0][0], slow[-1][0], {value for _, value in slow}) == (2.0, 3.5, {1500.0})


def test_a_plot_has_no_hole_where_somebody_waited_and_one_where_nobody_asked() -> None:
    before, after = ([Answer(start + 0.011 * number, 0.001) for number in range(99)] for start in (0.0, 4.0))
    for between, lines in (([], 2), ([Answer(1.1, 2.85)], 1)):
        plot = draw((Series("PING", "ms", curve([*before, *between, *after]), ()),))
        assert plot is not None
        assert plot.panels[0].lines[0].path.count("M") == lines


def test_a_probe_asks_on_while_who_began_it_waits_for_something_else() -> None:
    probe = Probe("PING", lambda: 0.001)
    job = begin(probe.run)
    deadline = time.monotonic() + 10
    while len(probe.answers) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    probe.ended = True
    job.result()
    assert len(probe.answers) >= 3


def test_who_is_not_answered_at_all_says_how_long_it_waited() -> None:
    def broken() -> float:
        raise ExchangeError(Cause.SILENT, "10.0.0.1:6379 broke off: nothing came for 15 s")

    with pytest.raises(DrillFailed, match=r"PING, asked .* s after the drill began, had no answer within .* s: .*15 s"):
        Probe("PING", broken).run()

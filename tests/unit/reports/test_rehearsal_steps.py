"""The report of `make rehearse` (tests/lab/rehearsal.py): what ran before the drills and behind them."""

from __future__ import annotations

from datetime import timedelta

from tasks.reports.rehearsal_model import Step
from tests.lab.rehearsal import with_steps
from tests.unit.reports.rehearsals import BEGAN, whole


def test_a_report_begins_with_the_boot_and_ends_with_the_last_check() -> None:
    drilled, (boot, check) = whole(), (Step(name, name, 9.0, True, ()) for name in ("boot", "check"))
    found = with_steps(drilled, [boot], [check], BEGAN - timedelta(minutes=9), 3000.04)
    assert found.steps == (boot, *drilled.steps, check)
    assert (found.began, found.seconds) == (BEGAN - timedelta(minutes=9), 3000.0)

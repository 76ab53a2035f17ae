"""A rehearsal for a terminal (tasks/reports/rehearsal_summary.py)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tasks.reports.rehearsal_model import DRILLS, NotRun, Rehearsal
from tasks.reports.rehearsal_summary import COLUMNS, LINES, summary
from tests.unit.reports.rehearsals import ROLES, full, mixed, nothing, whole
from tests.unit.reports.test_rehearsal_model import any_rehearsal, some


@given(any_rehearsal(), st.integers(1, 60))
def test_a_summary_fits_a_terminal_and_steers_none(rehearsal: Rehearsal, times: int) -> None:
    text = summary(replace(rehearsal, drills=rehearsal.drills * times, steps=rehearsal.steps * times))
    lines = text.removesuffix("\n").split("\n")
    assert len(lines) <= LINES == 40
    assert all(cell_len(line) <= COLUMNS == 80 for line in lines)
    assert all(line.isprintable() for line in lines)


def test_the_first_line_says_whether_it_passed() -> None:
    assert summary(whole()).startswith("Passed: 32 promises held\n")
    assert summary(mixed()).startswith("Failed: 2 of 62 promises did not hold\n")
    assert summary(nothing()).startswith("Nothing was proved: no drill was run; 1 step failed\n")


def test_a_rehearsal_that_passed_says_in_its_first_line_what_is_open() -> None:
    assert summary(some(full(ROLES[0]), full(ROLES[1]))).startswith("Passed: 2 promises held, 30 not tried\n")


def test_what_failed_is_there_with_what_was_seen() -> None:
    text = " ".join(summary(mixed()).split())
    assert "power cut, compliance: A power cut loses nothing" in text
    assert "compliance: 3 acknowledged writes are gone, expected none" in text
    assert "redis-crypto: apt: no candidate" in summary(nothing())


def test_what_was_not_tried_and_what_was_scaled_is_there_with_the_reason() -> None:
    text = " ".join(summary(mixed()).split())
    assert "needs 4 cores to mean anything, the host has 2: client stampede (every role)" in text
    assert "maxmemory 256mb → 64mb (gateway, compliance, crypto)" in text


def test_a_list_that_is_too_long_says_how_much_more_there_is() -> None:
    reasons = [NotRun("power", None, f"reason {number}") for number in range(99)]
    others = [NotRun(drill, None, "reason 99") for drill in DRILLS if drill not in ("full", "power")]
    rehearsal = some(full(ROLES[0]), full(ROLES[1]), not_run=(*reasons, *others))
    lines = summary(rehearsal).splitlines()
    shown = sum("  reason " in line for line in lines)
    (more,) = [line for line in lines if "more lines" in line]
    assert len(lines) == LINES
    assert 0 < shown < 99
    assert more == f"  … and {99 - shown + 3} more lines: see the page"  # the last reason takes three lines

"""What drills that end a machine say of it (tasks/drills/ending.py)."""

from __future__ import annotations

from tasks.drills.ending import power_figures
from tasks.drills.judge import Loss
from tasks.reports.rehearsal_model import Figure
from tests.unit.builders import desired

ROLE = desired("gateway").roles[0]


def test_the_oldest_lost_write_is_named_beside_the_promise_and_where_one_is_lost_only() -> None:
    assert list(power_figures(ROLE, Loss(0, 9, 0.0), 40.0)) == ["lost", "acknowledged", "answered after the boot"]
    found = power_figures(ROLE, Loss(1, 9, 0.87), 40.0)
    assert found["oldest lost before the cut (at most 2 s promised)"] == Figure(0.87, "s")


def test_a_role_that_promises_no_time_has_none_beside_the_figure() -> None:
    unsure = desired("scratch").roles[0]
    assert "oldest lost before the cut" in power_figures(unsure, Loss(3, 9, 9.0), 40.0)

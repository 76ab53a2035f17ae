"""What a drill measured, drawn (tasks/reports/rehearsal_plot.py)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reports.rehearsal_model import Series
from tasks.reports.rehearsal_plot import ACROSS, BUCKETS, HEIGHT, Panel, Plot, draw
from tests.unit.reports.rehearsals import ROLES, crash, full, latency, over
from tests.unit.reports.test_rehearsal_model import SERIES


def drawn(*series: Series) -> Plot:
    plot = draw(series)
    assert plot is not None
    return plot


def panel(*series: Series) -> Panel:
    (one,) = drawn(*series).panels
    return one


def places(path: str) -> list[tuple[float, float]]:
    numbers = [float(number) for number in re.findall(r"-?[\d.]+(?:e[-+]\d+)?", path)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def plain(*points: tuple[float, float], unit: str = "ms") -> Series:
    return Series("a", unit, points, ())


@given(st.lists(SERIES, max_size=4))
def test_whatever_was_measured_is_drawn_within_its_panel(series: list[Series]) -> None:
    plot = draw(series)
    assert (plot is None) == (not any(item.points for item in series))
    for one in plot.panels if plot else ():
        for line in one.lines:
            dots = [(dot.x * ACROSS / 100, dot.y) for dot in line.dots]
            assert dots or line.path
            for x, y in [*places(line.path), *dots]:
                assert -0.2 <= x <= ACROSS + 0.2
                assert -0.2 <= y <= HEIGHT + 0.2
        assert one.ticks
        assert all(-0.1 <= tick.at <= HEIGHT + 0.1 for tick in one.ticks)
    assert all(-0.1 <= tick.at <= 100.1 for tick in (*plot.ticks, *plot.marks) if plot) if plot else True


def test_lines_of_one_unit_share_a_panel_and_each_has_a_look_of_its_own() -> None:
    one = panel(*latency(ROLES[0]).series)
    assert [line.name for line in one.lines] == ["p50", "p99", "max"]
    assert len({line.style for line in one.lines}) == 3


def test_times_of_answers_have_one_scale_whatever_the_role() -> None:
    for low, high in ((9.0, 90.0), (9.0, 900.0), (10.0, 10.0)):
        assert (
            panel(plain(*((float(number), low if number % 2 else high) for number in range(20)))).unit
            == "ms, logarithmic"
        )


def test_units_are_below_each_other_over_one_axis_of_time() -> None:
    plot = drawn(*full(ROLES[0]).series)
    assert [one.unit for one in plot.panels] == ["MiB", "keys"]
    assert [tick.text for tick in plot.ticks] == ["0", "5", "10", "15", "20"]


def test_a_point_is_where_its_time_and_value_are() -> None:
    one = panel(plain(*((float(n), float(n)) for n in range(21))))
    assert places(one.lines[0].path)[0] == (0, HEIGHT)
    assert places(one.lines[0].path)[10] == (ACROSS / 2, HEIGHT / 2)
    assert [(tick.at, tick.text) for tick in one.ticks][::4] == [(HEIGHT, "0"), (0.0, "20")]


def test_bytes_are_shown_as_people_read_them() -> None:
    one = panel(plain((0, 0), (1, 256 << 20), unit="bytes"))
    assert (one.unit, one.lines[0].range) == ("MiB", "0 to 256 MiB")


def test_what_is_small_is_not_hidden_by_what_is_large() -> None:
    one = panel(*latency(ROLES[0]).series)
    assert one.unit == "ms, logarithmic"
    assert [tick.text for tick in one.ticks] == ["0.1", "1", "10", "100"]


def test_a_value_of_nothing_keeps_the_axis_linear() -> None:
    assert panel(plain((0, 0), (1, 1000))).unit == "ms"


def test_an_axis_begins_at_nothing_unless_all_values_are_far_from_it() -> None:
    assert panel(plain(*((float(n), 5.0 + n) for n in range(20)), unit="s")).ticks[0].text == "0"
    assert panel(plain(*((float(n), 100.0 + n) for n in range(20)), unit="s")).ticks[0].text == "100"


def test_losses_of_a_few_crashes_stand_each_for_itself_with_its_number() -> None:
    lost, away = drawn(*crash(ROLES[0]).series).panels
    assert lost.lines[0].stems
    assert lost.lines[0].path == ""
    assert [dot.text for dot in lost.lines[0].dots] == ["0"] * 5
    assert [tick.text for tick in lost.ticks] == ["0", "1"]
    assert [dot.text for dot in away.lines[0].dots] == ["0.61", "0.58", "0.74", "0.66", "0.63"]
    assert away.ticks[0].text == "0"


def test_no_line_is_drawn_where_nothing_was_measured() -> None:
    away = (*over(10, 0.5, lambda t: 1.0), *((30 + time, value) for time, value in over(10, 0.5, lambda t: 1.0)))
    assert panel(Series("a", "ms", away, ())).lines[0].path.count("M") == 2
    assert panel(Series("a", "ms", over(40, 0.5, lambda t: 1.0), ())).lines[0].path.count("M") == 1


def test_a_point_with_nothing_measured_beside_it_is_a_dot_that_is_seen() -> None:
    (line,) = panel(plain(*((n / 10, 5) for n in range(30)), (20, 1), unit="keys")).lines
    assert [(dot.x, dot.text) for dot in line.dots] == [(100.0, "")]
    assert line.range == "1 to 5 keys"
    assert len(places(line.path)) == 30


def test_a_peak_of_one_point_among_many_is_not_left_out() -> None:
    many = Series("a", "ms", over(600, 0.01, lambda t: 900.0 if t == 123.45 else 1.0), ())
    found = places(panel(many).lines[0].path)
    assert len(found) <= 4 * BUCKETS + 4
    assert min(y for _, y in found) < HEIGHT / 2
    assert [x for x, _ in found] == sorted(x for x, _ in found)


def test_marks_are_numbered_in_order_of_time_and_close_ones_share_a_number() -> None:
    plot = drawn(*latency(ROLES[0]).series)
    assert [mark.text for mark in plot.marks] == ["1–2", "3"]
    assert plot.events == ("20 s: BGREWRITEAOF", "21.1 s: fork, 11 ms", "39.5 s: rewrite ends")


def test_more_than_three_minutes_are_counted_in_minutes() -> None:
    plot = drawn(plain((0, 1), (600, 1)))
    assert (plot.time_unit, [tick.text for tick in plot.ticks]) == ("min", ["0", "2", "4", "6", "8", "10"])


@pytest.mark.parametrize("series", [[], [Series("a", "ms", (), ((1.0, "x"),))]])
def test_nothing_measured_is_nothing_drawn(series: list[Series]) -> None:
    assert draw(series) is None

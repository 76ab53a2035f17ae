"""What was measured over time as lines and dots: where each of them is, and what stands at the axes.

Across, places are shares of the width, so that a plot fits a wide screen, a narrow one and paper with the same text;
down, they are pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from tasks.reports.rehearsal_model import Series
from tasks.reports.rehearsal_words import duration, quantity, scale

HEIGHT = 112  # pixels of one panel
ACROSS = 1000  # units of the width in which lines are drawn
STYLES = 5  # lines that can be told apart, also without colour; a sixth looks like the first
FEW = 12  # points up to which each is a dot
LABELLED = 8  # dots up to which each says its value
BUCKETS = 300  # of which each shows its least and its greatest value: more than that no screen shows
GAP = 8  # times the usual distance between points: nothing was measured there, and no line is drawn
LOGARITHMIC = 50  # greatest by least value from which on a linear axis would hide the least
ANSWERS = "ms"  # always logarithmic: what answers took is compared between roles
FINEST = 1e-9  # what differs by less is drawn as equal
CLOSE = 3.0  # per cent of the width within which two marks share one number

Point = tuple[float, float]


@dataclass(frozen=True)
class Tick:
    """A label of an axis: `at` in per cent of the width, or in pixels from the top."""

    at: float
    text: str


@dataclass(frozen=True)
class Dot:
    """One point of few, with its value where there is room for it, or one with nothing beside it."""

    x: float  # per cent
    y: float  # pixels
    text: str


@dataclass(frozen=True)
class Line:
    """One series: `path` in units of ACROSS × HEIGHT, and what the legend says of it.

    Dots of `stems` stand each for itself on a stem, with no line between them.
    """

    style: int
    name: str
    range: str
    path: str
    dots: tuple[Dot, ...]
    stems: bool


@dataclass(frozen=True)
class Panel:
    """All series of one unit."""

    unit: str
    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    zero: float  # pixels from the top, where stems stand


@dataclass(frozen=True)
class Plot:
    """Panels over one axis of time; `marks` are numbered there, `events` says what each number is."""

    panels: tuple[Panel, ...]
    ticks: tuple[Tick, ...]
    time_unit: str
    marks: tuple[Tick, ...]
    events: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class _Axis:
    """From values to 0 … 1."""

    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        low, high, value = (math.log10(n) if self.logarithmic else n for n in (self.low, self.high, value))
        return (value - low) / (high - low)


def draw(series: Sequence[Series]) -> Plot | None:
    """One plot of what a drill measured, or None when it measured nothing."""
    drawn = [item for item in series if item.points]
    if not drawn:
        return None
    events = sorted({mark for item in series for mark in item.marks})
    times = [time for item in drawn for time, _ in item.points] + [time for time, _ in events]
    first, last = min(0.0, *times), max(times)
    last = last if last - first > FINEST else first + 1
    per, unit = (60, "min") if last - first > 180 else (1, "s")
    along = _Axis(first, last)
    units = tuple(dict.fromkeys(item.unit for item in drawn))
    return Plot(
        tuple(_panel([item for item in drawn if item.unit == unit], along) for unit in units),
        tuple(Tick(100 * along.place(value * per), quantity(value)) for value in _round(first / per, last / per, 6)),
        unit,
        _numbered([100 * along.place(time) for time, _ in events]),
        tuple(f"{quantity(time) + ' s' if per == 1 else duration(time)}: {text}" for time, text in events),
        f"{', '.join(dict.fromkeys(item.name for item in drawn))} over {quantity((last - first) / per)} {unit}",
    )


def _panel(series: Sequence[Series], along: _Axis) -> Panel:
    """Values of one unit; a few of one series, as the losses of each crash, are nothing between them."""
    divisor, unit = scale(series[0].unit, max(abs(value) for item in series for _, value in item.points))
    points = [[(time, value / divisor) for time, value in item.points] for item in series]
    stems = len(points) == 1 and len(points[0]) <= FEW
    least = 1 if unit == ANSWERS else LOGARITHMIC
    axis, values = _value_axis([value for item in points for _, value in item] + [0.0] * stems, least)
    lines = tuple(
        _line(number, item.name, unit, found, along, axis, stems)
        for number, (item, found) in enumerate(zip(series, points, strict=True))
    )
    ticks = tuple(
        Tick(round(HEIGHT * (1 - axis.place(value)), 1), _short(value, max(map(abs, values)))) for value in values
    )
    zero = round(HEIGHT * (1 - axis.place(0)), 1) if stems else float(HEIGHT)
    return Panel(f"{unit}, logarithmic" if axis.logarithmic else unit, lines, ticks, zero)


def _line(number: int, name: str, unit: str, points: Sequence[Point], along: _Axis, axis: _Axis, stems: bool) -> Line:
    values = [value for _, value in points]
    low, high = quantity(min(values)), quantity(max(values))
    places = [(along.place(time), HEIGHT * (1 - axis.place(value))) for time, value in points]
    labelled = stems and len(points) <= LABELLED
    texts = [quantity(value) if labelled else "" for value in values]
    dots = [Dot(round(100 * x, 2), round(y, 1), text) for (x, y), text in zip(places, texts, strict=True)]
    parts = [] if stems else _parts(places)
    alone = {part[0] for part in parts if len(part) == 1}
    return Line(
        number % STYLES,
        name,
        f"{low} {unit}".strip() if low == high else f"{low} to {high} {unit}".strip(),
        " ".join(_stroke(_thinned(part)) for part in parts if len(part) > 1),
        tuple(dot for dot, place in zip(dots, places, strict=True) if len(points) <= FEW or place in alone),
        stems,
    )


def _parts(places: Sequence[Point]) -> list[list[Point]]:
    """Those through which a line is drawn, with a gap where nothing was measured."""
    steps = [after[0] - before[0] for before, after in pairwise(places)]
    usual = median(steps) if len(steps) >= FEW else math.inf
    broken = {number + 1 for number, step in enumerate(steps) if usual > 0 and step > GAP * usual}
    parts: list[list[Point]] = [[]]
    for number, place in enumerate(places):
        if number in broken:
            parts.append([])
        parts[-1].append(place)
    return [part for part in parts if part]


def _stroke(places: Sequence[Point]) -> str:
    texts = [f"{ACROSS * x:.1f} {y:.1f}" for x, y in places]
    return f"M{texts[0]}L{' '.join(texts[1:])}"


def _thinned(places: Sequence[Point]) -> list[Point]:
    """At most four points for each of BUCKETS shares of the width; no peak is left out."""
    if len(places) <= 4 * BUCKETS:
        return list(places)
    buckets: dict[int, list[Point]] = {}
    for place in places:
        buckets.setdefault(int(place[0] * BUCKETS), []).append(place)
    kept: list[Point] = []
    for bucket in buckets.values():
        low, high = min(bucket, key=lambda place: place[1]), max(bucket, key=lambda place: place[1])
        kept += sorted({bucket[0], low, high, bucket[-1]}, key=bucket.index)
    return kept


def _value_axis(values: Sequence[float], logarithmic: float) -> tuple[_Axis, tuple[float, ...]]:
    """An axis that holds all values, and those at which it is labelled; `logarithmic` from that greatest by least."""
    low, high = min(values), max(values)
    if low > FINEST and high / low >= logarithmic:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        last = max(last, first + 1)
        powers = range(first, last + 1, max(1, (last - first) // 4))
        return _Axis(10.0**first, 10.0**last, True), tuple(10.0**power for power in powers)
    if not 0 < 0.75 * high <= low or high - low <= FINEST * high:
        low, high = min(low, 0.0), max(high, 0.0)
    high = high if high - low > FINEST else low + 1
    step = _step(high - low, 4)
    step = max(step, 1) if all(value == int(value) for value in values) else step  # nobody loses half a write
    axis = _Axis(math.floor(low / step) * step, math.ceil(high / step) * step)
    return axis, _multiples(step, axis.low, axis.high)


def _round(low: float, high: float, wanted: int) -> tuple[float, ...]:
    """Round numbers from `low` to `high`, about `wanted` of them."""
    return _multiples(_step(high - low, wanted), low, high)


def _multiples(step: float, low: float, high: float) -> tuple[float, ...]:
    return tuple(number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1))


def _step(span: float, wanted: int) -> float:
    """1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(span / wanted))
    return power * next(factor for factor in (1, 2, 5, 10) if power * factor * wanted >= span * 0.999)


def _short(value: float, largest: float) -> str:
    """A value of an axis that reaches `largest`: 10,000 as 10k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if largest >= 10 * size and value:
            return f"{value / size:,.3g}{letter}"
    return quantity(value)


def _numbered(places: Iterable[float]) -> tuple[Tick, ...]:
    """Numbers from 1; those too close to be told apart stand as one: `2–4`."""
    groups: list[list[tuple[int, float]]] = []
    for number, place in enumerate(places, 1):
        if groups and place - groups[-1][0][1] < CLOSE:
            groups[-1].append((number, place))
        else:
            groups.append([(number, place)])
    return tuple(
        Tick(round(group[0][1], 2), str(group[0][0]) if len(group) == 1 else f"{group[0][0]}–{group[-1][0]}")
        for group in groups
    )

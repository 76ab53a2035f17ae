"""What an exercise hands back: how its promise was proved, in words and figures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.drills.place import Place
from tasks.reports.rehearsal_model import Figure, Series


@dataclass(frozen=True)
class Outcome:
    """A promise that held: what was done and seen, the figures that matter most first, and what the tool said."""

    proved_by: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    said: tuple[str, ...] = ()


# Where an exercise yields, a deploy of the whole tier is due; it goes on when that has ended well.
Steps = Generator[None, None, Outcome]
OfRole = Callable[[Place], Steps]
OfHost = Callable[[Sequence[Place]], Generator[None, None, dict[str, Outcome]]]


def count(value: int, unit: str = "") -> Figure:
    """A number of things."""
    return Figure(value, unit)


def seconds(value: float) -> Figure:
    """A time."""
    return Figure(round(value, 3), "s")


def milliseconds(value: float) -> Figure:
    """A short time."""
    return Figure(round(value, 2), "ms")

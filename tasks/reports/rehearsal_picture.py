"""Who uses which role, and on which host each is: three columns and the lines between them.

Across, places are shares of the width, down they are pixels: the text keeps its size on every screen and on paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

ACROSS = 100  # units of the width between two columns, in which lines are drawn
PADDING, NAME, LINE, APART = 8, 18, 16, 12  # pixels


@dataclass(frozen=True)
class Box:
    """One service, role or host: a name and lines below it. `status` and `link` are empty where there is none."""

    name: str
    lines: tuple[str, ...] = ()
    status: str = ""
    link: str = ""
    top: float = 0.0

    @property
    def height(self) -> float:
        """What its name and lines need."""
        return 2 * PADDING + NAME + LINE * len(self.lines)

    @property
    def middle(self) -> float:
        """Where lines begin and end."""
        return self.top + self.height / 2


@dataclass(frozen=True)
class Picture:
    """The columns from left to right, each from the top down, and the lines between them as paths."""

    height: float
    services: tuple[Box, ...]
    roles: tuple[Box, ...]
    hosts: tuple[Box, ...]
    uses: tuple[str, ...]
    runs: tuple[str, ...]


def draw(roles: Sequence[tuple[Box, str, Sequence[str]]], hosts: Sequence[Box]) -> Picture:
    """`roles`: each with the name of its host and its services; those of one host come together.

    A name that is not among `hosts` leads to none.
    """
    order = {host.name: number for number, host in enumerate(hosts)}
    by_host = sorted(roles, key=lambda item: order.get(item[1], 0))
    right = _column([box for box, _, _ in by_host], [0.0] * len(by_host), APART)
    used: dict[str, list[float]] = {}
    carried: dict[str, list[float]] = {}
    for box, (_, host, services) in zip(right, by_host, strict=True):
        carried.setdefault(host, []).append(box.middle)
        for service in dict.fromkeys(services):
            used.setdefault(service, []).append(box.middle)
    left = _beside([Box(name) for name in used], used, 0)
    last = _beside(hosts, carried, APART)
    top = min((box.top for box in (*left, *right, *last)), default=0.0)
    left, right, last = (tuple(replace(box, top=box.top - top) for box in boxes) for boxes in (left, right, last))
    pairs = list(zip(right, by_host, strict=True))
    return Picture(
        max((box.top + box.height for box in (*left, *right, *last)), default=0.0),
        left,
        right,
        last,
        tuple(_line(box, role) for box in left for role, (_, _, names) in pairs if box.name in names),
        tuple(_line(role, box) for role, (_, host, _) in pairs for box in last if box.name == host),
    )


def _beside(boxes: Sequence[Box], places: Mapping[str, Sequence[float]], apart: float) -> tuple[Box, ...]:
    """Each beside the middle of what it belongs to, in that order; what belongs to nothing comes last."""
    below = max((place for found in places.values() for place in found), default=0.0) + 1
    middles = {box.name: fmean(places.get(box.name, (below,))) for box in boxes}
    ordered = sorted(boxes, key=lambda box: middles[box.name])
    return _column(ordered, [middles[box.name] for box in ordered], apart)


def _column(boxes: Sequence[Box], middles: Sequence[float], apart: float) -> tuple[Box, ...]:
    """As near to `middles`, which ascend, as boxes can be that are `apart` pixels apart: least squares, in one pass."""
    above, offsets = 0.0, []
    for box in boxes:
        offsets.append(above)
        above += box.height + apart
    groups: list[list[float]] = []  # of boxes that touch: where each would begin were all of them of no height
    for box, middle, offset in zip(boxes, middles, offsets, strict=True):
        groups.append([middle - box.height / 2 - offset])
        while len(groups) > 1 and fmean(groups[-2]) >= fmean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    begins = [fmean(group) for group in groups for _ in group]
    return tuple(replace(box, top=round(at + off, 1)) for box, at, off in zip(boxes, begins, offsets, strict=True))


def _line(left: Box, right: Box) -> str:
    middle = ACROSS / 2
    return f"M0 {left.middle:g}C{middle:g} {left.middle:g} {middle:g} {right.middle:g} {ACROSS} {right.middle:g}"

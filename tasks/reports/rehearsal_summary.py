"""A rehearsal for a terminal: what passed and, before all else, what did not; a page of plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size

from tasks.catalogue.moments import FORM
from tasks.catalogue.printable import printable
from tasks.reports.rehearsal_model import Rehearsal
from tasks.reports.rehearsal_words import drill_title, duration, gaps, rehearsed, scaled, verdict, versions

COLUMNS, LINES = 80, 40
WRAPPED = 3  # lines of one text
FIRST = 3  # lines of each list that are shown whatever the others need
INDENT = "  "


def summary(rehearsal: Rehearsal) -> str:
    """At most LINES lines of at most COLUMNS columns, without colour: the verdict, what is open, the roles.

    A line that is too long ends in `…`, a list that is too long says how much of it the page has.
    """
    head = [verdict(rehearsal), *_wrapped(_what(rehearsal)), *_wrapped(_when(rehearsal))]
    lists = [
        ("failed: what was promised, and below it what was found", list(_failed(rehearsal))),
        ("not tried", list(_not_tried(rehearsal))),
        ("smaller than asked for", list(_scaled(rehearsal))),
        ("promises", list(_roles(rehearsal))),
    ]
    shown = [(title, lines) for title, lines in lists if lines]
    room = _shared([len(lines) for _, lines in shown], LINES - len(head) - 2 * len(shown))
    text = head
    for (title, lines), count in zip(shown, room, strict=True):
        text += ["", title, *(f"{INDENT}{line}" for line in _cut(lines, count))]
    return "".join(f"{_fitted(printable(line))}\n" for line in text)


def _what(rehearsal: Rehearsal) -> str:
    return "rehearsed: " + ", ".join(f"{name} {text}" for name, text in rehearsed(rehearsal))


def _when(rehearsal: Rehearsal) -> str:
    began = rehearsal.began.strftime(FORM)
    ran = (f"{name} {text}" for name, text in versions(rehearsal.hosts))
    return ", ".join((f"began {began}, took {duration(rehearsal.seconds)} in all", *ran))


def _failed(rehearsal: Rehearsal) -> Iterator[str]:
    """Each with the first that it said; of a step that is its last word."""
    for step in rehearsal.failed_steps:
        yield from _item(f"{step.name}: {step.command}", *step.said[-1:])
    for item in rehearsal.failed:
        yield from _item(f"{drill_title(item.drill)}, {item.role or item.host}: {item.promise}", *item.said[:1])


def _not_tried(rehearsal: Rehearsal) -> Iterator[str]:
    for gap in gaps(rehearsal.not_proved, (role.name for role in rehearsal.roles)):
        yield from _item(f"{gap.why}: {gap.drill_words} ({gap.role_words})")


def _scaled(rehearsal: Rehearsal) -> Iterator[str]:
    for item in scaled(rehearsal):
        yield f"{item.setting} {item.wanted} → {item.used} ({item.role})"


def _roles(rehearsal: Rehearsal) -> Iterator[str]:
    """How many promises held, of each role and of each host as a whole."""
    places = [(role.name, role.name, role.host) for role in rehearsal.roles]
    for title, role, host in [*places, *((host.name, None, host.name) for host in rehearsal.hosts)]:
        results = [item for item in rehearsal.drills if (item.role, item.host) == (role, host)]
        if results or role:
            where = "" if role is None or role == host else f" on {host}"
            held = sum(item.passed for item in results)
            yield f"{title}{where}: " + (f"{held} of {len(results)} held" if results else "nothing proved")


def _shared(wanted: Sequence[int], room: int) -> list[int]:
    """How many lines each list gets: a few of each, then all of the first ones that there is room for."""
    given = [min(count, FIRST) for count in wanted]
    for number, count in enumerate(wanted):
        given[number] += min(count - given[number], room - sum(given))
    return given


def _cut(lines: Sequence[str], count: int) -> list[str]:
    """The first of the lines, `count` in all."""
    if len(lines) <= count:
        return list(lines)
    return [*lines[: count - 1], f"… and {len(lines) - count + 1} more lines: see the page"]


def _item(text: str, *more: str) -> Iterator[str]:
    """A line of a list and what is said below it, on as many lines as they need, or nearly."""
    for number, part in enumerate((text, *more)):
        first, *rest = _wrapped(part, COLUMNS - 4 * len(INDENT)) or [""]
        below = INDENT * number
        yield below + first
        yield from (below + INDENT + line for line in rest)


def _wrapped(text: str, width: int = COLUMNS) -> list[str]:
    return textwrap.wrap(printable(text), width, max_lines=WRAPPED, placeholder=" …", break_on_hyphens=False)


def _fitted(line: str) -> str:
    return line.rstrip() if cell_len(line) <= COLUMNS else f"{set_cell_size(line, COLUMNS - 1).rstrip()}…"

"""The drift report for a terminal, a log or a mail: its lists host by host, a summary as the last line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tasks.catalogue.printable import printable
from tasks.compare.difference import Difference
from tasks.compare.runbook import DRIFT, PAGE, UNSEEN, where_to_read
from tasks.compare.unknown import Unknown
from tasks.compare.unwell import Code, Health, Severity
from tasks.reports.model import DriftReport, HostReport, Status
from tasks.reports.words import host_words, summary, what_to_do, who

STYLES: dict[Status, str] = {
    "in_sync": "green",
    "drifted": "yellow",
    "unreachable": "red",
    "error": "red",
}
SEVERITIES: dict[Severity, str] = {"warning": "yellow", "critical": "red"}


@dataclass(frozen=True)
class Kind:
    """One of the lists that a host may have: its headings and their shares of the width; a role takes what it needs.

    The second heading is what is listed, on narrow terminals after `prefix`, with a line for each further heading.
    `whole`: columns that it has at least, for what is read as one word.
    """

    headings: tuple[str, ...]
    shares: tuple[int | None, ...]
    prefix: str = ""
    whole: int = 0


UNKNOWN = Kind(("role", "not known", "because", "what to do"), (None, 4, 5, 5), "not known: ")
CODE = max(len(f"{severity} {code}") for severity in SEVERITIES for code in Code)
HEALTH = Kind(("role", "not well", "limit", "found", "what to do"), (None, 4, 3, 4, 4), whole=CODE)
DIFFERENCES = Kind(("role", "what", "wanted", "found", "what to do"), (None, 4, 3, 4, 3))
WIDE = 100  # columns; below that five columns side by side break most paths
NARROWEST = 40  # columns; below that no value is readable


def to_table(report: DriftReport, width: int, colour: bool = False) -> str:
    """What is not as it should be, host by host, `width` columns wide; the summary alone when all is well.

    Long values wrap; nothing is cut. Without `colour` the text holds no control code; with it, NO_COLOR is heeded.
    """
    console = Console(
        file=StringIO(),
        width=max(width, NARROWEST),
        color_system="standard" if colour else None,
        legacy_windows=False,
    )
    with console.capture() as captured:
        for item in report.hosts:
            for part in _host(item, console.width):
                console.print(part, overflow="fold")
        if report.differences:
            console.print(Text(f"differences: {PAGE}#{DRIFT}"), soft_wrap=True)
        for note in report.notes:
            console.print(Text(f"note: {printable(note)}"), soft_wrap=True)
        style = "bold green" if report.exit_code == 0 else "bold red"
        console.print(Text(summary(report), style), soft_wrap=True)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _host(report: HostReport, width: int) -> Iterator[RenderableType]:
    """A heading, the message, the lists; nothing for a host in sync of which nothing is to be said."""
    messages = [printable(line) for line in report.message.splitlines() if line.strip()]
    if report.status == "in_sync" and not messages and not report.health:
        return
    yield Text.assemble((printable(report.host), "bold"), ": ", (host_words(report), STYLES[report.status]))
    for message in messages:
        yield Padding(Text(message), (0, 0, 0, 2))
    if not report.counted:
        yield Padding(Text(f"{PAGE}#{UNSEEN}"), (0, 0, 0, 2))
    for kind, rows in _lists(report):
        if rows:
            yield _side_by_side(kind, rows) if width >= WIDE else Padding(_stacked(kind, rows), (0, 0, 0, 2))
    yield Text()


def _lists(report: HostReport) -> Iterator[tuple[Kind, list[list[Text]]]]:
    """What is critical before what is only another way than it should be, and before that what nobody knows."""
    yield UNKNOWN, [_unknown_cells(item) for item in report.unknown]
    yield HEALTH, [_health_cells(item) for item in report.health]
    yield DIFFERENCES, [_cells(item) for role in (None, *report.all_roles) for item in report.of_role(role)]


def _side_by_side(kind: Kind, rows: list[list[Text]]) -> Table:
    """One line per row, as far as its values are short."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for number, (heading, share) in enumerate(zip(kind.headings, kind.shares, strict=True)):
        least = kind.whole if number == 1 and kind.whole else None
        table.add_column(heading, overflow="fold", ratio=share, min_width=least)
    for row in rows:
        table.add_row(*row)
    return table


def _stacked(kind: Kind, rows: list[list[Text]]) -> Group:
    """Each row as a heading and a line per value: paths and names stay whole on a narrow terminal."""
    parts: list[RenderableType] = []
    for role, what, *values in rows:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for heading, value in zip(kind.headings[2:], values, strict=True):
            table.add_row(heading, value)
        parts += [Text.assemble(role, ": ", kind.prefix, what, style="bold"), Padding(table, (0, 0, 0, 4))]
    return Group(*parts)


def _unknown_cells(item: Unknown) -> list[Text]:
    return [*_texts(item.role or "(host)", item.what, item.because), _to_do(item, f"by hand: {item.remedy}")]


def _health_cells(item: Health) -> list[Text]:
    what = Text.assemble((item.severity, SEVERITIES[item.severity]), " ", printable(item.code))
    role, *values = _texts(item.role or "(host)", item.limit, item.observed)
    return [role, what, *values, _to_do(item, f"by hand: {item.remedy}")]


def _cells(difference: Difference) -> list[Text]:
    cells = _texts(
        difference.role or "(host)",
        f"{difference.subject} {difference.name}",
        difference.expected,
        difference.observed,
    )
    return [*cells, _to_do(difference, f"{who(difference)}: {what_to_do(difference)}")]


def _to_do(found: Difference | Health | Unknown, words: str) -> Text:
    """What to do, and below it where to read more."""
    return Text("\n".join(filter(None, (printable(words), where_to_read(found)))))


def _texts(*cells: str) -> list[Text]:
    return [Text(printable(cell)) for cell in cells]

"""The drift report as one page that needs nothing else: no script, no other file, no network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tasks.catalogue.printable import printable
from tasks.compare.difference import Difference
from tasks.reports.model import DriftReport, HostReport, RoleStatus, Status
from tasks.reports.words import (
    STATUS_WORDS,
    by_hand,
    cost_words,
    difference_words,
    host_words,
    number,
    what_to_do,
    who,
)

# Shape and words carry the meaning, colour only repeats it. All of these are in every system's fonts.
SYMBOLS: dict[Status | RoleStatus, str] = {
    "in_sync": "✓",
    "drifted": "≠",
    "unreachable": "✕",
    "error": "!",
    "unknown": "?",
}
HOST_WIDE = "host itself"


@dataclass(frozen=True)
class Cell:
    """One field of the overview; without a status the host does not carry the role."""

    column: str
    status: Status | RoleStatus | None
    symbol: str
    text: str
    link: str


@dataclass(frozen=True)
class Group:
    """The differences of one role of a host, or of the host itself."""

    title: str
    anchor: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Section:
    """One host in the overview and, when something is to be said of it, below."""

    report: HostReport
    anchor: str
    cells: tuple[Cell, ...]
    groups: tuple[Group, ...]
    messages: tuple[str, ...]
    symbol: str
    words: str

    @property
    def detailed(self) -> bool:
        """Whether there is more to say than that the host is in sync."""
        return self.report.status != "in_sync" or bool(self.messages)


def to_html(report: DriftReport) -> str:
    """A page for people, on a screen or on paper: hosts × roles at a glance, the differences below."""
    roles = sorted({role for item in report.hosts for role in item.all_roles})
    template = _templates().get_template("drift.html.j2")
    return template.render(
        report=report,
        verdict=_verdict(report),
        unseen=any(not item.seen for item in report.hosts),
        checked_at=report.checked_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        cost=cost_words(report),
        counts=_counts(report),
        overview=f"{number(report.role_count, 'role')} on {number(len(report.hosts), 'host')}",
        dots=any(set(roles) - set(item.all_roles) for item in report.hosts),
        columns=[HOST_WIDE, *roles],
        sections=[_section(item, roles) for item in report.hosts],
        details=difference_words(report).capitalize() if report.differences else "Details",
    )


def _verdict(report: DriftReport) -> str:
    if not report.hosts:
        return "No host was looked at"
    if report.in_sync:
        return f"In sync: {number(report.role_count, 'role')} on {number(len(report.hosts), 'host')}"
    wrong = len(report.hosts) - report.count("in_sync")
    return f"{wrong} of {number(len(report.hosts), 'host')} not in sync"


def _counts(report: DriftReport) -> list[Cell]:
    return [
        Cell("", status, SYMBOLS[status], f"{report.count(status)} {words}", "")
        for status, words in STATUS_WORDS.items()
        if report.count(status)
    ]


def _section(report: HostReport, roles: list[str]) -> Section:
    anchor = f"host-{_quoted(report.host)}"
    groups = tuple(
        Group(role or HOST_WIDE, _group_anchor(anchor, role), report.of_role(role))
        for role in (None, *report.all_roles)
        if report.of_role(role)
    )
    messages = tuple(line for line in report.message.splitlines() if line.strip())
    cells = (_host_cell(report, anchor), *(_role_cell(report, anchor, role) for role in roles))
    return Section(report, anchor, cells, groups, messages, SYMBOLS[report.status], host_words(report))


def _group_anchor(anchor: str, role: str | None) -> str:
    return f"{anchor}/{_quoted(role)}" if role is not None else f"{anchor}/"


def _quoted(name: str) -> str:
    return quote(printable(name), safe="")


def _host_cell(report: HostReport, anchor: str) -> Cell:
    found = len(report.of_role(None))
    if not report.seen:
        return Cell(HOST_WIDE, report.status, SYMBOLS[report.status], STATUS_WORDS[report.status], anchor)
    if found:
        text = number(found, "difference")
        return Cell(HOST_WIDE, "drifted", SYMBOLS["drifted"], text, _group_anchor(anchor, None))
    return Cell(HOST_WIDE, "in_sync", SYMBOLS["in_sync"], STATUS_WORDS["in_sync"], "")


def _role_cell(report: HostReport, anchor: str, role: str) -> Cell:
    if role not in report.all_roles:
        return Cell(role, None, "", "", "")
    status = report.role_status(role)
    if status == "drifted":
        text = number(len(report.of_role(role)), "difference")
        return Cell(role, status, SYMBOLS[status], text, _group_anchor(anchor, role))
    return Cell(role, status, SYMBOLS[status], status.replace("_", " "), "" if report.seen else anchor)


def _printable(value: object) -> object:
    return printable(value) if type(value) is str else value


def _breakable(text: str) -> Markup:
    """`text` escaped, to be broken between words, then after a slash; what is copied from it stays as it is.

    A browser would also break after the hyphen of `-@admin`, which then reads as something else.
    """
    words = (Markup("/<wbr>").join(word.split("/")) for word in printable(text).split(" "))
    return Markup(" ").join(Markup("<span>{}</span>").format(word) for word in words)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[2] / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=True,
        finalize=_printable,
    )
    environment.filters["breakable"] = _breakable
    environment.filters["who"] = who
    environment.filters["remedy"] = what_to_do
    environment.tests["by_hand"] = by_hand
    return environment

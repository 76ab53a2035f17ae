"""The drift report as one page that needs nothing else: no script, no other file, no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.catalogue.moments import FORM
from tasks.compare.difference import Difference
from tasks.compare.runbook import DRIFT, PAGE, UNSEEN, where_to_read
from tasks.compare.unknown import Unknown
from tasks.compare.unwell import SEVERITIES, Health
from tasks.reports.markup import Mark, quoted, templates
from tasks.reports.model import DriftReport, HostReport, Status
from tasks.reports.words import (
    STATUS_WORDS,
    by_hand,
    cost_words,
    difference_words,
    drift_words,
    health_words,
    number,
    unknown_words,
    what_to_do,
    who,
)

HOST_WIDE = "host itself"


@dataclass(frozen=True)
class Cell:
    """One field of the overview; without a mark the host does not carry the role."""

    column: str
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Group:
    """What there is in one list of a host for one of its roles, or for the host itself."""

    title: str
    anchor: str
    rows: Sequence[Difference | Health | Unknown]


@dataclass(frozen=True)
class Field:
    """One field of a list: `label` is a small word above it, which `status` may colour; `code` is not prose.

    `more`: where to read more, behind it.
    """

    text: str
    label: str = ""
    status: str = ""
    code: bool = True
    more: str = ""


@dataclass(frozen=True)
class Section:
    """One host in the overview and, when something is to be said of it, below."""

    report: HostReport
    anchor: str
    cells: tuple[Cell, ...]
    unknown: tuple[Group, ...]
    health: tuple[Group, ...]
    differences: tuple[Group, ...]
    messages: tuple[str, ...]
    marks: tuple[Mark, ...]

    @property
    def detailed(self) -> bool:
        """Whether there is more to say than that the host is in sync."""
        return self.report.status != "in_sync" or bool(self.messages or self.health)


def to_html(report: DriftReport) -> str:
    """A page for people, on a screen or on paper: hosts × roles at a glance, the differences below."""
    roles = sorted({role for item in report.hosts for role in item.all_roles})
    template = templates().get_template("drift.html.j2")
    return template.render(
        report=report,
        verdict=_verdict(report),
        verdict_status=_verdict_status(report),
        checked_at=report.checked_at.strftime(FORM),
        cost=cost_words(report),
        counts=_counts(report),
        overview=f"{number(report.role_count, 'role')} on {number(len(report.hosts), 'host')}",
        dots=any(set(roles) - set(item.all_roles) for item in report.hosts),
        columns=[HOST_WIDE, *roles],
        fields=_fields,
        sections=[_section(item, roles) for item in report.hosts],
        details=_details(report),
        drift=f"{PAGE}#{DRIFT}",
    )


def _verdict(report: DriftReport) -> str:
    if not report.hosts:
        return "No host was looked at"
    health = health_words(report.health)
    if report.in_sync:
        all_of_it = f"{number(report.role_count, 'role')} on {number(len(report.hosts), 'host')}"
        return f"In sync: {all_of_it}" + (f"; {health}" if health else "")
    wrong = len(report.hosts) - report.count("in_sync")
    parts = (f"{wrong} of {number(len(report.hosts), 'host')} not in sync", health)
    return "; ".join(filter(None, parts))


def _verdict_status(report: DriftReport) -> Status:
    """What the verdict looks like: as well as its worst part."""
    if report.exit_code == 0:
        return "in_sync"
    drifted_only = report.hosts and all(item.seen for item in report.hosts) and not report.count_health("critical")
    return "drifted" if drifted_only else "error"


def _details(report: DriftReport) -> str:
    differences = difference_words(report) if report.differences else ""
    parts = (unknown_words(report.unknown), health_words(report.health), differences)
    return ", ".join(filter(None, parts)).capitalize() or "Details"


def _counts(report: DriftReport) -> list[Mark]:
    marks = [
        Mark(status, f"{report.count(status)} {words}")
        for status, words in STATUS_WORDS.items()
        if report.count(status)
    ]
    return [*marks, *_found_marks(report)]


def _found_marks(report: DriftReport | HostReport) -> Iterator[Mark]:
    """What is neither as it should be nor a difference."""
    if report.unknown:
        yield Mark("unknown", unknown_words(report.unknown))
    for severity in SEVERITIES:
        found = [item for item in report.health if item.severity == severity]
        if found:
            yield Mark(severity, health_words(found))


def _section(report: HostReport, roles: list[str]) -> Section:
    anchor = f"host-{quoted(report.host)}"
    groups = tuple(
        Group(role or HOST_WIDE, _group_anchor(anchor, role), report.of_role(role))
        for role in (None, *report.all_roles)
        if report.of_role(role)
    )
    where = () if report.counted else (f"{PAGE}#{UNSEEN}",)
    messages = (*(line for line in report.message.splitlines() if line.strip()), *where)
    cells = (_host_cell(report, anchor), *(_role_cell(report, anchor, role) for role in roles))
    unknown, health = _grouped(report.unknown, f"{anchor}//unknown"), _grouped(report.health, f"{anchor}//health")
    marks = (Mark(report.status, drift_words(report)), *_found_marks(report))
    return Section(report, anchor, cells, unknown, health, groups, messages, marks)


def _grouped(items: Sequence[Unknown] | Sequence[Health], anchor: str) -> tuple[Group, ...]:
    """The items role by role, in the order in which the roles come first."""
    by_role: dict[str | None, list[Unknown | Health]] = {}
    for item in items:
        by_role.setdefault(item.role, []).append(item)
    return tuple(Group(role or HOST_WIDE, _group_anchor(anchor, role), rows) for role, rows in by_role.items())


def _fields(row: Difference | Health | Unknown) -> tuple[Field, ...]:
    """What the page shows of one finding, beside its role."""
    more = where_to_read(row)
    if isinstance(row, Unknown):
        return (Field(row.what, code=False), Field(row.because), Field(row.remedy, "by hand", "hand", False, more))
    if isinstance(row, Health):
        remedy = Field(row.remedy, "by hand", "hand", False, more)
        limit, observed = Field(row.limit, code=False), Field(row.observed, code=False)
        return (Field(row.code, row.severity, row.severity), limit, observed, remedy)
    remedy = Field(what_to_do(row), who(row), "hand" if by_hand(row) else "", False, more)
    return (Field(row.name, row.subject), Field(row.expected), Field(row.observed), remedy)


def _group_anchor(anchor: str, role: str | None) -> str:
    return f"{anchor}/{quoted(role)}" if role is not None else f"{anchor}/"


def _host_cell(report: HostReport, anchor: str) -> Cell:
    found = len(report.of_role(None))
    if not report.seen:
        mark = Mark(report.status, STATUS_WORDS[report.status], anchor)
    elif found:
        mark = Mark("drifted", number(found, "difference"), _group_anchor(anchor, None))
    else:
        mark = Mark("in_sync", STATUS_WORDS["in_sync"])
    return Cell(HOST_WIDE, (mark, *_health_marks(report, anchor, None)))


def _role_cell(report: HostReport, anchor: str, role: str) -> Cell:
    if role not in report.all_roles:
        return Cell(role)
    status = report.role_status(role)
    if status == "drifted":
        mark = Mark(status, number(len(report.of_role(role)), "difference"), _group_anchor(anchor, role))
    else:
        mark = Mark(status, status.replace("_", " "), "" if report.seen else anchor)
    return Cell(role, (mark, *_health_marks(report, anchor, role)))


def _health_marks(report: HostReport, anchor: str, role: str | None) -> tuple[Mark, ...]:
    link = _group_anchor(f"{anchor}//health", role)
    return tuple(Mark(item.severity, item.code, link) for item in report.health if item.role == role)

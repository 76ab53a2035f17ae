"""The words that the table and the page share."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.compare.difference import ByHand, Difference
from tasks.compare.unknown import Unknown
from tasks.compare.unwell import Health
from tasks.reports.model import DriftReport, HostReport, Status

STATUS_WORDS: dict[Status, str] = {  # in the order in which they matter
    "drifted": "drifted",
    "unreachable": "unreachable",
    "error": "error",
    "in_sync": "in sync",
}


def number(count: int, noun: str) -> str:
    """`1 host`, `2 hosts`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def by_hand(difference: Difference) -> bool:
    """Whether no deploy removes the difference."""
    return isinstance(difference.remedy, ByHand)


def who(difference: Difference) -> str:
    """Who removes the difference: the next deploy, or a person."""
    return "by hand" if by_hand(difference) else "deploy"


def what_to_do(difference: Difference) -> str:
    """How it is removed."""
    return difference.to_do


def host_words(report: HostReport) -> str:
    """The status of one host and how much there is to say of it."""
    parts = (drift_words(report), unknown_words(report.unknown), health_words(report.health))
    return ", ".join(filter(None, parts))


def drift_words(report: HostReport) -> str:
    """The status of one host and how many differences it has."""
    status = STATUS_WORDS[report.status]
    return f"{status}, {number(len(report.differences), 'difference')}" if report.differences else status


def unknown_words(unknown: Sequence[Unknown]) -> str:
    """How many things nobody knows; empty for none."""
    return f"{len(unknown)} unknown" if unknown else ""


def health_words(health: Sequence[Health]) -> str:
    """How many things are not well; empty when all is."""
    critical = sum(item.severity == "critical" for item in health)
    warnings = len(health) - critical
    parts = (f"{critical} critical" if critical else "", number(warnings, "warning") if warnings else "")
    return ", ".join(filter(None, parts))


def cost_words(report: DriftReport) -> str:
    """What the check took: time, remote commands, Redis exchanges."""
    made = f"{number(report.commands, 'command')}, {number(report.exchanges, 'exchange')}"
    return f"checked in {report.seconds:.1f} s ({made})"


def difference_words(report: DriftReport) -> str:
    """How many differences there are and how many of them need a person."""
    people = sum(map(by_hand, report.differences))
    return number(len(report.differences), "difference") + (f" ({people} by hand)" if people else "")


def summary(report: DriftReport) -> str:
    """The whole report in one line."""
    cost = cost_words(report)
    if not report.hosts:
        return f"no host was looked at, {cost}"
    health = health_words(report.health)
    if report.in_sync:
        said = f"{number(report.role_count, 'role')} on {number(len(report.hosts), 'host')} in sync"
        return f"{said}; {health}; {cost}" if health else f"{said}, {cost}"
    counts = [f"{report.count(status)} {words}" for status, words in STATUS_WORDS.items() if report.count(status)]
    differences = difference_words(report) if report.differences else ""
    parts = [", ".join(counts), differences, unknown_words(report.unknown), health, cost]
    return f"{number(len(report.hosts), 'host')}: {'; '.join(filter(None, parts))}"

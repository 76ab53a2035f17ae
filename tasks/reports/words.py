"""The words that the table and the page share."""

from __future__ import annotations

from tasks.compare.difference import ByHand, Difference
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
    """The status of one host and how many differences it has."""
    status = STATUS_WORDS[report.status]
    return f"{status}, {number(len(report.differences), 'difference')}" if report.differences else status


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
    if report.in_sync:
        return f"{number(report.role_count, 'role')} on {number(len(report.hosts), 'host')} in sync, {cost}"
    counts = [f"{report.count(status)} {words}" for status, words in STATUS_WORDS.items() if report.count(status)]
    parts = [", ".join(counts), difference_words(report) if report.differences else "", cost]
    return f"{number(len(report.hosts), 'host')}: {'; '.join(filter(None, parts))}"

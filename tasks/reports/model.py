"""What a drift check found: one report per host, and what follows from all of them together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, get_args

from tasks.compare.difference import Difference
from tasks.compare.unknown import Unknown
from tasks.compare.unwell import Health, Severity

Status = Literal["in_sync", "drifted", "unreachable", "error"]
RoleStatus = Literal["in_sync", "drifted", "unknown"]

STATUSES: tuple[Status, ...] = get_args(Status)
SEEN: tuple[Status, ...] = ("in_sync", "drifted")


@dataclass(frozen=True)
class HostReport:
    """One host of the check.

    `message` says, in any number of lines, why a host could not be looked at, or what a person should know of it
    although it is no difference. `roles` are those the inventory gives it; `seconds` is the time its look took.
    Raises ValueError when the status contradicts the differences.
    """

    host: str
    status: Status
    message: str
    roles: tuple[str, ...]
    differences: tuple[Difference, ...]
    seconds: float
    unknown: tuple[Unknown, ...] = ()
    health: tuple[Health, ...] = ()
    logins_refused: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # role → why → since its start

    def __post_init__(self) -> None:
        if self.status in SEEN and (self.status == "drifted") != bool(self.differences):
            raise ValueError(f"{self.host}: {self.status} with {len(self.differences)} differences")
        if self.status in SEEN and self.unknown:
            raise ValueError(f"{self.host}: {self.status} with {len(self.unknown)} things that nobody knows")

    @property
    def seen(self) -> bool:
        """Whether the host was looked at, so that a missing difference means that there is none."""
        return self.status in SEEN

    @property
    def counted(self) -> bool:
        """Whether the host was looked at, perhaps not all of it: its differences are those that were seen."""
        return self.seen or bool(self.unknown)

    @property
    def all_roles(self) -> tuple[str, ...]:
        """The host's roles, then those that only a difference names: a unit left behind when a role moved away."""
        named = {item.role for item in self.differences if item.role is not None}
        return (*self.roles, *sorted(named - set(self.roles)))

    def of_role(self, role: str | None) -> tuple[Difference, ...]:
        """The differences of a role, sorted; None: those of the host as a whole."""
        found = (item for item in self.differences if item.role == role)
        return tuple(sorted(found, key=lambda item: (item.subject, item.name, item.expected, item.observed)))

    def role_status(self, role: str) -> RoleStatus:
        """A role is drifted when a difference carries its name; on a host that was not seen it is unknown."""
        if not self.counted or any(item.role in (role, None) for item in self.unknown):
            return "unknown"
        return "drifted" if self.of_role(role) else "in_sync"


@dataclass(frozen=True)
class DriftReport:
    """One check of a tier: when it began (UTC), its hosts in the order people count, and what it cost.

    `commands` are the remote commands, `exchanges` the conversations with Redis instances that were needed.
    Raises ValueError for a time that is not UTC and for a host that appears twice.
    """

    checked_at: datetime
    hosts: tuple[HostReport, ...]
    seconds: float
    commands: int
    exchanges: int
    notes: tuple[str, ...] = ()  # what a person should know of the tier as a whole

    def __post_init__(self) -> None:
        if self.checked_at.utcoffset() != timedelta(0):
            raise ValueError(f"checked_at: {self.checked_at.isoformat()} is not in UTC")
        twice = [name for name, times in Counter(item.host for item in self.hosts).items() if times > 1]
        if twice:
            raise ValueError(f"hosts: {', '.join(sorted(twice))} reported twice")
        object.__setattr__(self, "hosts", tuple(sorted(self.hosts, key=lambda item: _counting_order(item.host))))

    def count(self, status: Status) -> int:
        """How many hosts have this status."""
        return sum(item.status == status for item in self.hosts)

    @property
    def in_sync(self) -> bool:
        """At least one host was looked at and every host is in sync."""
        return bool(self.hosts) and self.count("in_sync") == len(self.hosts)

    @property
    def exit_code(self) -> int:
        """0 only when all is in sync and nothing is critical."""
        return 0 if self.in_sync and not self.count_health("critical") else 1

    @property
    def checked_at_text(self) -> str:
        """ISO 8601 to the second with Z, the one form that every parser of dates takes."""
        return self.checked_at.strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def role_count(self) -> int:
        """Instances that the inventory asks for, on all hosts together."""
        return sum(len(item.roles) for item in self.hosts)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Those of all hosts."""
        return tuple(difference for item in self.hosts for difference in item.differences)

    @property
    def unknown(self) -> tuple[Unknown, ...]:
        """What nobody knows of all hosts."""
        return tuple(unknown for item in self.hosts for unknown in item.unknown)

    @property
    def health(self) -> tuple[Health, ...]:
        """What is not well on all hosts."""
        return tuple(health for item in self.hosts for health in item.health)

    def count_health(self, severity: Severity) -> int:
        """How many things that are not well are of this severity."""
        return sum(item.severity == severity for item in self.health)


def _counting_order(name: str) -> list[tuple[int, str]]:
    """redis-2 before redis-10."""
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]

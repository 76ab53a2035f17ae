"""What status prints stays within its width, and cuts no number."""

from datetime import UTC, datetime

import pytest

from tasks.reports.model import HostReport
from tasks.reports.status_model import LEVELS, Finding, HostStatus, RoleRow, StatusReport
from tasks.reports.status_table import to_status

LONGEST = "a-role-of-the-longest-nam"  # 25 characters, as many as a role may have
FULL = RoleRow(
    LONGEST,
    "no room",
    "noeviction",
    up=86400 * 300,
    version="7.0.15",
    keys=123_456_789,
    used=99,
    maxmemory=100,
    evicted=1,
    evicted_per_hour=12_345,
    evicted_per_second=99.0,
    clients=12_345,
    maxclients=54_321,
    ops=123_456,
    hit_percent=99.4,
)


def report(*rows: RoleRow, findings: int = 0) -> StatusReport:
    seen = HostReport("redis-5", "in_sync", "", tuple(row.role for row in rows), (), 1.0)
    found = tuple(Finding(level, None, "it is not well") for level in LEVELS for _ in range(findings))
    return StatusReport(datetime.now(UTC), (HostStatus(seen, rows, found),), 12.3)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal_in_a_large_outage(width: int) -> None:
    rows = [RoleRow(f"role-{number}", "down") for number in range(40)]
    lines = to_status(report(*rows, findings=140), width).splitlines()
    assert max(map(len, lines)) <= width
    assert "140 critical" in " ".join(lines[-3:])


def test_of_a_role_with_a_long_name_no_number_is_cut() -> None:
    text = to_status(report(FULL), 80)
    assert "…" not in text
    assert {"300d", "7.0.15", "123M", "99", "12k", "12k/54k", "123k"} <= set(text.split())
    assert max(map(len, text.splitlines())) <= 80

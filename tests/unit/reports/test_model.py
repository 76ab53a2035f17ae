"""What follows from the hosts of a drift report: status of roles, exit code, order, and what it refuses to claim."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from tasks.reports import HostReport, Status
from tests.unit.reports.preview import CHECKED_AT, CRYPTO, GATEWAY, SOCKET, host, report, samples


def test_the_exit_code_is_0_when_every_host_is_in_sync() -> None:
    assert report(host("gateway"), host("socket")).exit_code == 0


def test_the_exit_code_is_not_0_when_no_host_was_looked_at() -> None:
    assert report().exit_code == 1


@pytest.mark.parametrize(
    "other", [host("socket", "drifted", *SOCKET), host("socket", "unreachable"), host("a", "error")]
)
def test_one_host_that_is_not_in_sync_makes_the_exit_code_1(other: HostReport) -> None:
    assert report(host("gateway"), other, host("shared")).exit_code == 1


def test_what_is_critical_makes_the_exit_code_1_and_leaves_the_status() -> None:
    sample = samples()["unwell"]
    assert sample.in_sync
    assert sample.exit_code == 1


def test_a_warning_leaves_the_exit_code_0() -> None:
    assert samples()["warned"].exit_code == 0


def test_a_role_is_drifted_when_a_difference_carries_its_name() -> None:
    both = HostReport("redis-1", "drifted", "", ("socket", "crypto"), CRYPTO, 0.1)
    assert [both.role_status(role) for role in both.roles] == ["in_sync", "drifted"]


def test_a_difference_of_the_host_as_a_whole_makes_no_role_drifted() -> None:
    whole = [item for item in GATEWAY if item.role is None]
    assert host("gateway", "drifted", *whole).role_status("gateway") == "in_sync"


@pytest.mark.parametrize("status", ["unreachable", "error"])
def test_roles_of_a_host_that_was_not_seen_are_unknown(status: Status) -> None:
    assert host("gateway", status).role_status("gateway") == "unknown"


def test_a_role_that_only_a_difference_names_is_one_of_the_host_s_roles() -> None:
    moved = replace(SOCKET[0], role="shared")
    assert host("gateway", "drifted", moved).all_roles == ("gateway", "shared")


@pytest.mark.parametrize(("status", "differences"), [("in_sync", SOCKET), ("drifted", ())])
def test_a_status_that_contradicts_the_differences_is_refused(status: Status, differences: tuple[()]) -> None:
    with pytest.raises(ValueError, match=f"redis-socket: {status} with {len(differences)} differences"):
        host("socket", status, *differences)


def test_an_error_may_come_with_what_was_found_before_it() -> None:
    assert host("socket", "error", *SOCKET, message="broke off").of_role("socket") == tuple(
        sorted(SOCKET, key=lambda item: (item.subject, item.name, item.expected))
    )


@pytest.mark.parametrize(
    "time", [datetime(2026, 3, 9, 4, 15), CHECKED_AT.astimezone(timezone(timedelta(hours=1), "CET"))]
)
def test_a_time_that_is_not_utc_is_refused(time: datetime) -> None:
    with pytest.raises(ValueError, match="is not in UTC"):
        replace(report(host("gateway")), checked_at=time)


def test_a_host_that_appears_twice_is_refused_because_one_would_hide_the_other() -> None:
    with pytest.raises(ValueError, match="redis-gateway reported twice"):
        report(host("gateway"), host("gateway", "error"))


def test_hosts_are_in_the_order_in_which_people_count() -> None:
    hosts = samples()["forty"].hosts
    assert [item.host for item in hosts] == [f"redis-{count}" for count in range(1, 41)]

"""The tier at one moment for Prometheus: what a server counts, and from where on that is too much."""

import re
from datetime import UTC, datetime

import pytest

from tasks.compare.unknown import Kind, Unknown
from tasks.compare.unwell import Code
from tasks.observed.moment import HostNow
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Observed
from tasks.reports import to_metrics
from tasks.reports.model import DriftReport, HostReport, Status
from tasks.reports.status_metrics import to_status_metrics
from tasks.reports.status_model import HostStatus, RoleRow, StatusReport, row
from tests.unit.builders import as_desired, desired, limits, with_server

NOW = 1_795_800_000
LABELS = 'host="redis-5",policy="noeviction",role="crypto"'


def crypto(seen: Observed, **changed: int) -> RoleRow:
    (instance,) = desired("crypto").instances
    return row(instance, seen, HostNow(NOW), None, {}, limits(**changed))


def info(**fields: object) -> Observed:
    seen = as_desired(desired("crypto"))
    words = {name: str(value) for name, value in fields.items()}
    return with_server(seen, "crypto", info={**seen.servers["crypto"].info, **words})


def written(*rows: RoleRow, unknown: tuple[Unknown, ...] = ()) -> dict[str, float]:
    """Series → value."""
    report = HostReport("redis-5", "error" if unknown else "in_sync", "", ("crypto",), (), 1.0, unknown)
    text = to_status_metrics(StatusReport(datetime.now(UTC), (HostStatus(report, rows, ()),), 1))
    found = re.findall(r"^(caas\S+?)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE)
    return {f"{name.removeprefix('caas_redis_status_')}{{{labels}}}": float(value) for name, labels, value in found}


COUNTERS = {
    Code.WRITES_REFUSED: info(errorstat_OOM="count=4", errorstat_MISCONF="count=3"),
    Code.REFUSED_CLIENTS: info(rejected_connections=7),
    Code.EVICTED_CLIENTS: info(evicted_clients=7),
    Code.PASSWORDS_REFUSED: info(errorstat_WRONGPASS="count=7"),
    Code.DISK_SLOW: info(aof_delayed_fsync=7),
    Code.EVICTED: info(evicted_keys=7),
}


@pytest.mark.parametrize(("code", "seen"), COUNTERS.items(), ids=COUNTERS)
def test_what_a_server_has_counted_is_written_as_it_is_whatever_its_uptime(code: Code, seen: Observed) -> None:
    found = written(crypto(seen))
    assert found[f'counted{{code="{code}",{LABELS}}}'] == 7
    others = {other for other in COUNTERS if other != code}
    assert {found[f'counted{{code="{other}",{LABELS}}}'] for other in others} == {0}


def test_how_many_an_hour_are_too_many_is_what_health_says() -> None:
    found = written(crypto(info(), delayed_fsyncs_warning=17))
    assert found[f'counted_limit{{code="DISK-SLOW",{LABELS}}}'] == 17
    assert found[f'counted_limit{{code="EVICTED",{LABELS}}}'] == 1


def test_reads_are_written_by_whether_they_found_their_key_and_what_proofs_tried_beside_what_was_counted() -> None:
    found = written(crypto(info(keyspace_hits=40, keyspace_misses=2)))
    assert found[f'lookups{{found="yes",{LABELS}}}'] == 40
    assert found[f'lookups{{found="no",{LABELS}}}'] == 2
    assert found[f'counted_own{{code="PASSWORDS-REFUSED",{LABELS}}}'] == 0


def test_of_a_cache_the_limit_is_a_share_of_what_it_may_evict() -> None:
    (instance,) = desired("gateway").instances
    seen = as_desired(desired("gateway"))
    told = with_server(seen, "gateway", info={**seen.servers["gateway"].info, "db0": "keys=5000,expires=0,avg_ttl=0"})
    found = row(instance, told, HostNow(NOW), None, {}, limits(evicted_keys_warning=10))
    assert found.counted_limit[Code.EVICTED] == 500


def test_of_a_server_that_says_nothing_no_count_is_claimed() -> None:
    seen = with_server(info(), "crypto", refusal=Refusal(Cause.SILENT, "no answer"))
    assert not [name for name in written(crypto(seen)) if name.startswith("counted")]


def thing(kind: Kind | Cause, role: str | None = "crypto") -> Unknown:
    return Unknown(role, "its data", "…", "wait", kind)


CAUSES: dict[str, tuple[tuple[Unknown, ...], str]] = {
    "no password": ((thing(Cause.NO_PASSWORD),), "secrets-lost"),
    "another listens": ((thing(Kind.DISK, None), thing(Cause.TAKEN)), "another-answers"),
    "no way": ((thing(Kind.WAY, None),), "no-way-to-its-servers"),
    "it is said of another role": ((thing(Cause.NO_PASSWORD, "gateway"),), "connection-refused"),
    "nobody says": ((), "connection-refused"),
}


@pytest.mark.parametrize(("unknown", "entry"), CAUSES.values(), ids=CAUSES)
def test_of_a_role_that_does_not_tell_the_entry_of_its_cause_is_written(
    unknown: tuple[Unknown, ...], entry: str
) -> None:
    found = written(RoleRow("crypto", "unknown", "noeviction"), unknown=unknown)
    assert [name for name in found if name.startswith("not_told")] == [f'not_told{{entry="{entry}",{LABELS}}}']


def test_of_a_role_that_is_up_no_such_entry_is_written() -> None:
    assert not [name for name in written(RoleRow("crypto", "up"), unknown=(thing(Kind.WAY),)) if "not_told" in name]


@pytest.mark.parametrize(
    ("status", "unknown", "entries"),
    [
        ("error", (thing(Cause.NO_PASSWORD), thing(Kind.DISK, None)), ["a-host-does-not-say", "secrets-lost"]),
        ("error", (thing(Kind.LOADING),), ["a-server-loads-long"]),
        ("error", (), ["host-not-seen"]),
        ("in_sync", (), []),
        ("unreachable", (), []),
    ],
)
def test_drift_writes_the_entry_of_each_thing_that_it_could_not_look_at(
    status: Status, unknown: tuple[Unknown, ...], entries: list[str]
) -> None:
    report = HostReport("redis-5", status, "", ("crypto",), (), 1.0, unknown)
    text = to_metrics(DriftReport(datetime.now(UTC), (report,), 1.0, 0, 0))
    assert re.findall(r'^caas_redis_not_known\{entry="(.*)",host="redis-5"\} 1', text, re.MULTILINE) == entries

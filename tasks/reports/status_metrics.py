"""The tier at one moment for Prometheus: a file for the textfile collector of its node exporter.

Every series of a role says its policy: alerts know by it what full means for the role (tasks/reports/alerts.py). What
nobody told has no series, because 0 would be a claim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from tasks.compare.runbook import OF_PERSISTENCE, OF_REFUSAL, where_to_begin
from tasks.compare.unwell import Code
from tasks.observed.refusal import Cause
from tasks.reports.status_model import HostStatus, RoleRow, StatusReport

OF_ROLE = ("host", "role", "policy")
Number = Callable[[RoleRow], "float | None"]
BY_ROLE: dict[str, tuple[str, Number]] = {
    "up_seconds": ("Seconds since the server started.", lambda row: row.up),
    "keys": ("Keys of all databases.", lambda row: row.keys),
    "memory_bytes": ("Memory that the server uses, or its process where it does not tell.", lambda row: row.used),
    "memory_limit_bytes": ("The role's maxmemory.", lambda row: row.maxmemory),
    "evicted_keys": ("Keys evicted since the server's start.", lambda row: row.evicted),
    "clients": ("Connected clients.", lambda row: row.clients),
    "clients_limit": ("The role's maxclients.", lambda row: row.maxclients),
    "operations_per_second": ("Commands a second, just now.", lambda row: row.ops),
    "hit_ratio": ("Reads that found their key since the server's start, 0 to 1.", lambda row: _ratio(row.hit_percent)),
    "log_rewritten_seconds": ("Seconds since the log was written anew.", lambda row: row.log_rewritten),
    "pending_fsyncs": ("Writes that wait for the disk.", lambda row: row.pending_fsync),
    "disk_free_bytes": ("Room that is left where the role's data is.", lambda row: row.disk_free),
    "backup_age_seconds": ("Seconds since the last copy off the host.", lambda row: row.copied),
    "proof_age_seconds": ("Seconds since a server last loaded a copy.", lambda row: row.proved),
    "standby_lag_bytes": (
        "What the role's standby lacks of its history.",
        lambda row: row.lag.size if row.lag else None,
    ),
    "standby_lag_seconds": (
        "Seconds since the standby was heard of.",
        lambda row: row.lag.seconds if row.lag else None,
    ),
    "restarts": ("Starts that systemd made by itself.", lambda row: row.restarts),
}


def to_status_metrics(report: StatusReport) -> str:
    """All metrics of one look."""
    registry = CollectorRegistry()

    def gauge(name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(f"caas_redis_status_{name}", help_text, labels, registry=registry)

    of_hosts, of_counts = _hosts(gauge), _counts(gauge)
    numbers = {name: gauge(name, text, *OF_ROLE) for name, (text, _) in BY_ROLE.items()}
    for item in report.hosts:
        of_hosts(item)
        for row in item.rows:
            of_counts(item.report.host, row)
            told = {name: number(row) for name, (_, number) in BY_ROLE.items()}
            labels = (item.report.host, row.role, row.policy)
            _set(numbers, labels, {name: value for name, value in told.items() if value is not None})
    gauge("seconds", "Duration of the look.").set(report.seconds)
    gauge("timestamp_seconds", "Time of the look.").set(report.checked_at.timestamp())
    return generate_latest(registry).decode()


def _hosts(gauge: Callable[..., Gauge]) -> Callable[[HostStatus], None]:
    """What writes how a host is, what its roles do, and what of it is not well."""
    host = gauge("host", "1 for the host's status: in_sync, drifted, unreachable or error.", "host", "status")
    state = gauge("state", "1 for what the role does.", *OF_ROLE, "state")
    not_told = gauge("not_told", "1 for the runbook's entry of a role of state unknown.", *OF_ROLE, "entry")
    health = gauge("health", "1 for each thing that is not well.", *OF_ROLE, "code", "severity")
    broken = gauge("broken", "1 for what Redis reports of its files as failed.", *OF_ROLE, "what")

    def write(item: HostStatus) -> None:
        host.labels(item.report.host, item.report.status).set(1)
        policies = {row.role: row.policy for row in item.rows}
        for row in item.rows:
            labels = (item.report.host, row.role, row.policy)
            state.labels(*labels, row.state).set(1)
            if row.state == "unknown":
                not_told.labels(*labels, _entry(item, row.role)).set(1)
        for sick in item.report.health:
            role = sick.role or ""
            health.labels(item.report.host, role, policies.get(role, ""), sick.code, sick.severity).set(1)
        for role, what in _broken(item):
            broken.labels(item.report.host, role, policies.get(role, ""), what).set(1)

    return write


def _counts(gauge: Callable[..., Gauge]) -> Callable[[str, RoleRow], None]:
    """What writes what a role's server has counted: alerts are on what was added within the hour."""
    counted = gauge("counted", "What health counts, since the server's start or CONFIG RESETSTAT.", *OF_ROLE, "code")
    limit = gauge("counted_limit", "How much of that an hour is too much, by redis_health.", *OF_ROLE, "code")
    own = gauge("counted_own", "Of that, what this tool's proofs have tried within the hour.", *OF_ROLE, "code")
    lookups = gauge("lookups", "Reads since then that found their key, or did not.", *OF_ROLE, "found")

    def write(host: str, row: RoleRow) -> None:
        labels = (host, row.role, row.policy)
        for code, count in row.counted.items():
            counted.labels(*labels, code).set(count)
            limit.labels(*labels, code).set(row.counted_limit[code])
            if code == Code.PASSWORDS_REFUSED:
                own.labels(*labels, code).set(row.proofs_tried)
        for found, reads in (("yes", row.hits), ("no", row.misses)):
            if reads is not None:
                lookups.labels(*labels, found).set(reads)

    return write


def _entry(item: HostStatus, role: str) -> str:
    """Where to read about a role that does not tell: what is said of it goes before what is said of its host."""
    own = sorted((it for it in item.report.unknown if it.role in (role, None)), key=lambda it: it.role is None)
    return where_to_begin(own[0]) if own else OF_REFUSAL[Cause.CLOSED]


def _set(gauges: Mapping[str, Gauge], labels: tuple[str, ...], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        gauges[name].labels(*labels).set(value)


def _broken(item: HostStatus) -> set[tuple[str, str]]:
    found = (it for it in item.report.differences if it.subject == "persistence" and it.name in OF_PERSISTENCE)
    return {(it.role or "", it.name) for it in found}


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100

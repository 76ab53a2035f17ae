"""The drift report for Prometheus: a file for the textfile collector of its node exporter.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from tasks.compare.runbook import UNSEEN, where_to_begin
from tasks.reports.model import DriftReport, HostReport


def to_metrics(report: DriftReport) -> str:
    """All metrics of one check.

    A host that was not seen has no number of differences, because 0 would be a claim; its roles count as not in
    sync. Alert on the host's status, since a difference of the host as a whole belongs to no role, and on what is
    critical, which is no difference.
    """
    registry = CollectorRegistry()

    def gauge(name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(name, help_text, labels, registry=registry)

    in_sync = gauge(
        "caas_redis_in_sync",
        "1 when the host was looked at and no difference carries the role's name, otherwise 0.",
        *("host", "role"),
    )
    differences = gauge(
        "caas_redis_differences",
        "Differences of the host, its roles included; absent when it could not be looked at.",
        "host",
    )
    unknown = gauge(
        "caas_redis_unknown",
        "Things of the host, its roles included, that nobody knows; absent when it could not be looked at.",
        "host",
    )
    not_known = gauge(
        "caas_redis_not_known",
        "1 for each entry of docs/runbook.md that says what to do about what is not known of the host.",
        *("host", "entry"),
    )
    health = gauge(
        "caas_redis_health",
        "1 for each thing that is not well; role is empty for the host itself, severity warning or critical.",
        *("host", "role", "code", "severity"),
    )
    refused = gauge(
        "caas_redis_refused_logins",
        "Logins and commands refused since the server's start, by reason: wrong_password, or no_login at all.",
        *("host", "role", "reason"),
    )
    status = gauge(
        "caas_redis_drift_host_status",
        "1 for the host's status: in_sync, drifted, unreachable or error.",
        *("host", "status"),
    )
    for item in report.hosts:
        for role in item.all_roles:
            in_sync.labels(item.host, role).set(item.role_status(role) == "in_sync")
        if item.counted:
            differences.labels(item.host).set(len(item.differences))
            unknown.labels(item.host).set(len(item.unknown))
        for entry in _entries(item):
            not_known.labels(item.host, entry).set(1)
        for sick in item.health:
            health.labels(item.host, sick.role or "", sick.code, sick.severity).set(1)
        for role, reason, count in _logins(item):
            refused.labels(item.host, role, reason).set(count)
        status.labels(item.host, item.status).set(1)
    gauge("caas_redis_drift_check_seconds", "Duration of the drift check.").set(report.seconds)
    gauge("caas_redis_drift_check_timestamp_seconds", "Time of the drift check.").set(report.checked_at.timestamp())
    return generate_latest(registry).decode()


def _logins(item: HostReport) -> list[tuple[str, str, int]]:
    return [(role, why, count) for role, reasons in item.logins_refused.items() for why, count in reasons.items()]


def _entries(item: HostReport) -> list[str]:
    """One that is not reachable has its own alert, and says it by its status."""
    if item.status != "error":
        return []
    return sorted({where_to_begin(thing) for thing in item.unknown}) or [UNSEEN]

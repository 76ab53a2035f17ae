"""The drift report for Prometheus: a file for the textfile collector of its node exporter.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable

from tasks.reports.model import DriftReport

Sample = tuple[dict[str, str], float]

HELP = {
    "caas_redis_in_sync": "1 when the host was looked at and no difference carries the role's name, otherwise 0.",
    "caas_redis_differences": "Differences of the host, its roles included; absent when it could not be looked at.",
    "caas_redis_drift_host_status": "1 for the host's status: in_sync, drifted, unreachable or error.",
    "caas_redis_drift_check_seconds": "Duration of the drift check.",
    "caas_redis_drift_check_timestamp_seconds": "Time of the drift check.",
}


def to_metrics(report: DriftReport) -> str:
    """All metrics of one check.

    A host that was not seen has no number of differences, because 0 would be a claim; its roles count as not in
    sync. Alert on the host's status: a difference of the host as a whole belongs to no role.
    """
    samples: dict[str, list[Sample]] = {
        "caas_redis_in_sync": [
            ({"host": item.host, "role": role}, float(item.role_status(role) == "in_sync"))
            for item in report.hosts
            for role in item.all_roles
        ],
        "caas_redis_differences": [({"host": item.host}, len(item.differences)) for item in report.hosts if item.seen],
        "caas_redis_drift_host_status": [({"host": item.host, "status": item.status}, 1) for item in report.hosts],
        "caas_redis_drift_check_seconds": [({}, report.seconds)],
        "caas_redis_drift_check_timestamp_seconds": [({}, report.checked_at.timestamp())],
    }
    return "".join(_family(name, found) for name, found in samples.items())


def _family(name: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge"]
    lines += [f"{name}{_labels(labels)} {_value(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _value(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)

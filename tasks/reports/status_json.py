"""The tier at one moment for programs: JSON, version 1. README, "Status", has its shape."""

from __future__ import annotations

import json
from dataclasses import asdict

from tasks.catalogue.printable import encodable
from tasks.reports.status_model import HostStatus, StatusReport

VERSION = 1


def to_status_json(report: StatusReport) -> str:
    """One document: hosts by name, a role's numbers by name; null where nobody told."""
    document = {
        "version": VERSION,
        "checked_at": report.checked_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(report.seconds, 2),
        "hosts": {item.report.host: _host(item) for item in report.hosts},
    }
    return encodable(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True)) + "\n"


def _host(item: HostStatus) -> dict[str, object]:
    rows = {row.role: {name: value for name, value in asdict(row).items() if name != "role"} for row in item.rows}
    return {
        "status": item.report.status,
        "message": item.report.message,
        "findings": [asdict(found) for found in item.findings],
        "roles": rows,
        "deploys": [asdict(deploy) for deploy in item.deploys],
    }

"""The drift report for programs: the JSON of docs and design §4, version 1."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields

from tasks.catalogue.printable import encodable
from tasks.compare.difference import Difference
from tasks.compare.unknown import Unknown
from tasks.compare.unwell import Health
from tasks.reports.model import DriftReport, HostReport

VERSION = 1
NOT_SAID = "kind"  # of an unknown: version 1 has it in words


def to_json(report: DriftReport) -> str:
    """One JSON document, the same text for the same report: hosts by name, differences by role, subject and name."""
    hosts = {item.host: _host(item, report.notes) for item in sorted(report.hosts, key=lambda item: item.host)}
    document = {"version": VERSION, "checked_at": report.checked_at_text, "hosts": hosts}
    return json.dumps(document, indent=2) + "\n"


def _host(report: HostReport, notes: Iterable[str]) -> dict[str, object]:
    """What concerns the tier as a whole stands with every host: whoever reads one reads that, too."""
    roles = (None, *report.all_roles)
    differences = [_strings(item) for role in roles for item in report.of_role(role)]
    unknown = [_strings(item) for item in report.unknown]
    health = [_strings(item) for item in report.health]
    message = encodable("\n".join(filter(None, (report.message, *notes))))
    return {
        "status": report.status,
        "message": message,
        "unknown": unknown,
        "health": health,
        "differences": differences,
    }


def _strings(found: Difference | Unknown | Health) -> dict[str, str | None]:
    values = {field.name: getattr(found, field.name) for field in fields(found) if field.name != NOT_SAID}
    return {name: value if value is None else encodable(str(value)) for name, value in values.items()}

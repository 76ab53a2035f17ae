"""Which entry of docs/runbook.md a person needs for what the tool found: data, in one place. Pure.

An entry's name is the anchor of its heading. None is renamed: links to it stand in tickets and alerts.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasks.compare.unwell import Code
from tasks.observed.refusal import Cause

OF_HEALTH: Mapping[Code, str] = {
    Code.MEM_FULL: "memory-full",
    Code.CLIENTS_FULL: "maxclients",
    Code.REFUSED_CLIENTS: "maxclients",
    Code.CERTIFICATE_ENDS: "certificate-runs-out",
    Code.CRASHED: "a-server-crashes",
}
OF_REFUSAL: Mapping[Cause, str] = {
    Cause.BUSY: "busy",
    Cause.MAXCLIENTS: "maxclients",
    Cause.SILENT: "a-server-is-silent",
    Cause.NO_PASSWORD: "secrets-lost",
    Cause.CERTIFICATE: "certificate-runs-out",
    Cause.WRONGPASS: "secrets-lost",
}

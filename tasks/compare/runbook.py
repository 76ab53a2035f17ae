"""Which entry of docs/runbook.md a person needs for what the tool found: data, in one place. Pure.

An entry's name is the anchor of its heading. None is renamed: links to it stand in tickets and alerts. What has no
entry, and why, is in tests/unit/test_runbook.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasks.compare.difference import Difference, Remedy
from tasks.compare.loading import END_OF_LOG
from tasks.compare.unfit import Reason, Unfit
from tasks.compare.unknown import Kind, Unknown
from tasks.compare.unwell import Code, Health
from tasks.observed.refusal import Cause

PAGE = "docs/runbook.md"

OF_HEALTH: Mapping[Code, str] = {
    Code.MEM_FULL: "memory-full",
    Code.WITHOUT_TTL: "keys-without-a-ttl",
    Code.EVICTED: "evictions",
    Code.WRITES_REFUSED: "memory-full",
    Code.CLIENTS_FULL: "maxclients",
    Code.REFUSED_CLIENTS: "maxclients",
    Code.BUFFERS: "clients-cut-off",
    Code.EVICTED_CLIENTS: "clients-cut-off",
    Code.PASSWORDS_REFUSED: "passwords-refused",
    Code.CERTIFICATE_ENDS: "certificate-runs-out",
    Code.CRASHED: "a-server-crashes",
    Code.DISK_FULL: "disk-full",
    Code.DISK_SLOW: "disk-slow",
    Code.TWO_SERVE: "two-servers-take-writes",
    Code.NONE_SERVES: "nobody-serves-a-role",
    Code.STANDBY_DOWN: "a-standby-is-not-in-sync",
    Code.STANDBY_LAG: "a-standby-is-not-in-sync",
    Code.PAIR_UNHEARD: "one-of-two-hosts-cannot-ask-the-other",
    Code.HOST_MEMORY: "host-memory-short",
    Code.BACKUP_OLD: "backup-failed",
    Code.BACKUP_FAILED: "backup-failed",
    Code.PROOF_FAILED: "backup-not-proved",
    Code.PROOF_OLD: "backup-not-proved",
}
OF_REFUSAL: Mapping[Cause, str] = {
    Cause.NOT_ITS_OWN: "an-instance-will-not-start",
    Cause.TAKEN: "another-answers",
    Cause.STRANGE: "another-answers",
    Cause.FORBIDDEN: "no-way-to-its-servers",
    Cause.CLOSED: "connection-refused",
    Cause.BROKEN: "connection-refused",
    Cause.BUSY: "busy",
    Cause.MAXCLIENTS: "maxclients",
    Cause.SILENT: "a-server-is-silent",
    Cause.NO_PASSWORD: "secrets-lost",
    Cause.CERTIFICATE: "certificate-runs-out",
    Cause.WRONGPASS: "secrets-lost",
    Cause.NOPERM: "operator-without-rights",
    Cause.DENIED: "drift-found",
}
OF_UNKNOWN: Mapping[Kind, str] = {
    Kind.LISTENERS: "a-host-does-not-say",
    Kind.FORWARDS: "a-host-does-not-say",
    Kind.DISK: "a-host-does-not-say",
    Kind.WAY: "no-way-to-its-servers",
    Kind.ENDING: "a-server-does-not-end",
    Kind.CHANGED: "operator-without-rights",
    Kind.UNSERVED: "move-a-role-to-another-host",
    Kind.TWO: "two-servers-take-writes",
    Kind.NOBODY: "nobody-serves-a-role",
    Kind.ALONE: "nobody-serves-a-role",
}
OF_UNFIT: Mapping[Unfit, str] = {
    Unfit.HOST: "a-host-does-not-fit",
    Unfit.UNSEEN: "a-host-does-not-say",
    Unfit.PORT: "a-port-is-taken",
    Unfit.TLS: "turn-on-tls",
    Unfit.CERTIFICATE: "certificate-runs-out",
    Unfit.DATA: "data-under-another-name",
    Unfit.RESTART: "roll-back",
    Unfit.LIMIT: "change-a-limit",
    Unfit.CLIENTS: "maxclients",
    Unfit.PASSWORDS: "secrets-lost",
    Unfit.ROTATION: "rotate-a-password",
}
UNSEEN = "host-not-seen"  # of every host that could not be looked at
NOT_CHECKED = "nobody-has-looked"  # where status or drift does not run any more: an alert alone says so
FINDS_LESS = "a-cache-finds-less"  # health knows no hour before: an alert alone says so
LOADS_LONG = "a-server-loads-long"  # nothing is wrong with one that loads; an alert says when it lasts
FIRST = "first-deploy"  # of a role of which nothing is on its host
DRIFT = "drift-found"  # of every difference that has no entry of its own
OF_REMEDY: Mapping[Remedy, str] = {Remedy.OWN: "log-owned-by-root", Remedy.START: "an-instance-will-not-start"}
OF_PERSISTENCE: Mapping[str, str] = {  # by the difference's name
    END_OF_LOG: "log-cut-off",
    "aof_last_write_status": "disk-full",
    "aof_last_bgrewrite_status": "disk-full",
    "rdb_last_bgsave_status": "disk-full",
}


Finding = Difference | Health | Unknown | Reason


def entry_of(found: Finding) -> str:
    """The anchor of its entry; empty where it has none of its own."""
    if isinstance(found, Reason):
        return OF_UNFIT.get(found.kind, "")
    if isinstance(found, Health):
        return OF_HEALTH.get(found.code, "")
    if isinstance(found, Unknown):
        return OF_UNKNOWN.get(found.kind, "") if isinstance(found.kind, Kind) else OF_REFUSAL.get(found.kind, "")
    if isinstance(found.remedy, Remedy) and found.remedy in OF_REMEDY:
        return OF_REMEDY[found.remedy]
    return OF_PERSISTENCE.get(found.name, "") if found.subject == "persistence" else ""


def where_to_begin(found: Unknown) -> str:
    """The anchor of what is not known, of whatever kind."""
    if found.kind in (Kind.LOADING, Cause.LOADING):
        return LOADS_LONG
    return entry_of(found) or UNSEEN


def where_to_read(found: Finding) -> str:
    """The entry as a person finds it: `docs/runbook.md#busy`; empty where there is none."""
    return f"{PAGE}#{anchor}" if (anchor := entry_of(found)) else ""


def in_words(found: Finding) -> str:
    """The finding in one line, and the entry that it needs."""
    where = where_to_read(found)
    return f"{found} ({where})" if where else str(found)

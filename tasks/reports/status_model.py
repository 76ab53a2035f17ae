"""What an operator sees of the tier at one moment: a row a role, a line a finding, and how both follow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from tasks.catalogue.limits import Limits
from tasks.compare.backups import Record, proved, recorded
from tasks.compare.difference import Remedy
from tasks.compare.runbook import DRIFT, FIRST, OF_REMEDY, PAGE, UNSEEN, where_to_read
from tasks.compare.server_health import MOST_PROOFS_AN_HOUR, counters, evictions
from tasks.compare.standby_health import Lag, lag
from tasks.desired.host import Instance
from tasks.desired.paths import (
    RECORDS,
    account_file,
    acl_file,
    backup_record,
    config_file,
    data_directory,
    proof_record,
)
from tasks.observed.moment import BigKeys, Denied, HostNow, Latency, Process, ServerNow, Slow
from tasks.observed.refusal import Cause
from tasks.observed.state import Observed, Server, count_keys
from tasks.reports.deploys import Deploy
from tasks.reports.model import HostReport

Level = Literal["critical", "unknown", "warning", "note"]
LEVELS: tuple[Level, ...] = ("critical", "unknown", "warning", "note")  # the worst first
State = Literal["up", "loading", "busy", "no room", "silent", "starting", "down", "absent", "unknown"]
OF_CAUSE: Mapping[Cause, State] = {
    Cause.LOADING: "loading",
    Cause.BUSY: "busy",
    Cause.MAXCLIENTS: "no room",
    Cause.SILENT: "silent",
}


@dataclass(frozen=True)
class Finding:
    """Something that a person should know first, and where it says what to do."""

    level: Level
    role: str | None
    what: str
    read: str = ""

    @property
    def order(self) -> tuple[int, str, str]:
        """The worst first, then by role."""
        return LEVELS.index(self.level), self.role or "", self.what


@dataclass(frozen=True)
class RoleRow:
    """A role at one moment. None: it was not told, by nobody. Sizes in bytes, times in seconds."""

    role: str
    state: State
    policy: str = ""  # what the role does when it is full
    up: int | None = None
    version: str = ""
    keys: int | None = None
    used: int | None = None  # told by the server, or else what the kernel says that its process has in RAM
    process: Process | None = None  # by the kernel, of a server that tells nothing
    maxmemory: int = 0
    evicted: int | None = None  # since its start
    evicted_per_hour: int | None = None  # since its start, on average
    evicted_per_second: float | None = None  # between two questions just now
    clients: int | None = None
    maxclients: int | None = None
    by_user: Mapping[str, int] = field(default_factory=dict)
    by_address: Mapping[str, int] = field(default_factory=dict)
    ops: int | None = None
    hit_percent: float | None = None
    hits: int | None = None  # reads that found their key, since its start
    misses: int | None = None  # those that did not
    log_rewritten: int | None = None  # ago
    saved: int | None = None  # ago
    pending_fsync: int | None = None
    delayed_fsync: int | None = None
    replication: str = ""
    lag: Lag | None = None  # of its standby
    copied: int | None = None  # ago: the last copy off the host
    proved: int | None = None  # ago: when a server last loaded a copy
    disk_free: int | None = None
    disk_lasts: int | None = None  # at the pace of its log since that was written anew; None where it hardly grows
    restarts: int | None = None  # by systemd, since somebody started it
    refused_logins: Mapping[str, int] = field(default_factory=dict)
    slow: tuple[Slow, ...] = ()
    latency: tuple[Latency, ...] = ()
    wrong_passwords: int | None = None  # without those that this tool's proofs have tried
    wrong_passwords_exact: bool = True  # False: there were at most that many
    wrong_passwords_reach: int | None = None  # so far back; None: since its start
    proofs_tried: int = 0  # wrong passwords within the hour that were this tool's proofs'
    denied: tuple[Denied, ...] = ()
    big_keys: BigKeys | None = None  # only of a role that is asked for
    counted: Mapping[str, int] = field(default_factory=dict)  # code of health → how often, since its start
    counted_limit: Mapping[str, float] = field(
        default_factory=dict
    )  # of the same: from how many an hour on it is too much
    untold: tuple[str, ...] = ()

    @property
    def used_percent(self) -> int | None:
        """How full it is."""
        return None if self.used is None or not self.maxmemory else round(100 * self.used / self.maxmemory)


@dataclass(frozen=True)
class HostStatus:
    """One host: what drift says of it, its roles' rows and what deploys did there, newest first."""

    report: HostReport
    rows: tuple[RoleRow, ...]
    findings: tuple[Finding, ...]
    deploys: tuple[Deploy, ...] = ()
    at: int = 0  # by the host's own clock
    unseen: tuple[str, ...] = ()  # its roles, of a host of which nothing was seen


@dataclass(frozen=True)
class StatusReport:
    """The tier at one moment (UTC)."""

    checked_at: datetime
    hosts: tuple[HostStatus, ...]
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 only when all was seen and is as it should be, but for what only warns."""
        seen = bool(self.hosts) and all(item.report.status == "in_sync" for item in self.hosts)
        return 0 if seen and not any(found.level in ("critical", "unknown") for found in self.findings) else 1

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of all hosts, the worst first."""
        return tuple(sorted((found for item in self.hosts for found in item.findings), key=lambda found: found.order))


# --- What follows from what was seen. Pure.


def row(
    instance: Instance,
    seen: Observed,
    now: HostNow | None,
    said: ServerNow | None,
    logins: Mapping[str, int],
    limits: Limits | None,
    elsewhere: Mapping[str, Record | None] = MappingProxyType({}),
) -> RoleRow:
    """A role's row: by what it says of itself, and by its host where it says nothing.

    `elsewhere`: role → what came of the last proof of its copies, of those that another host proves.
    """
    server = seen.servers.get(instance.name)
    at = now.time if now else 0
    free = seen.free_of.get(data_directory(instance.name), seen.disk_free)
    by_address = connected(instance, now)
    copy, proof = (recorded(path(instance.name), seen) for path in (backup_record, proof_record))
    loaded = proved(proof, copy)
    if instance.name in elsewhere:
        other = elsewhere[instance.name]
        loaded = other.good if other is not None else 0
    own: dict[str, object] = {
        "role": instance.name,
        "state": state_of(instance, seen, server),
        "policy": instance.role.maxmemory_policy,
        "maxmemory": instance.role.maxmemory,
        "restarts": _digits(seen.unit(instance.unit).get("NRestarts")),
        "disk_free": None if "disk" in seen.unseen else free,
        "by_address": by_address,
        "log_rewritten": _since(log_base(instance, seen), at),
        "copied": _done(copy.good if copy is not None else 0, at),
        "proved": _done(loaded, at),
        "up": _since(seen.time(instance.unit, "ExecMainStartTimestamp"), at) if seen.pid(instance.unit) else None,
    }
    if server is None or server.refusal is not None:
        process = now.processes.get(seen.pid(instance.unit)) if now else None
        kernel: dict[str, object] = {
            "process": process,
            "used": process.resident if process else None,
            "clients": sum(by_address.values()) if now else None,
            "maxclients": instance.role.maxclients,
        }
        return RoleRow(**{**own, **kernel})  # type: ignore[arg-type]
    told = _told(instance, server, said, at)
    if limits is not None and server.info.get("loading", "0") == "0":
        counts = (evictions(instance.role.maxmemory_policy, server, limits), *counters(server, limits))
        told["counted"] = {item.code.value: item.count for item in counts}
        told["counted_limit"] = {item.code.value: item.limit for item in counts}
    if (counted := logins.get("wrong_password")) is not None:
        told |= wrong_passwords(counted, said.denied if said else (), said.log_reach if said else None)
    return RoleRow(**{**own, **told, "refused_logins": logins})  # type: ignore[arg-type]


def wrong_passwords(counted: int, denied: Iterable[Denied], reach: int | None) -> dict[str, object]:
    """How many logins of others were refused, whether exactly that many, and since when; fields of a row.

    A server's counter has those of this tool's proofs, too; only its log of refusals tells whose they were, and that
    keeps the last ones, for `reach` seconds (None: it has none). Proofs turn it over in some hours: what is older is
    counted, and nobody knows whose it was. Where the log has more than were counted, the counter was set back, and
    nobody knows which of them came before.
    """
    of_logins = [item for item in denied if item.reason == "auth"]
    logged, proofs = (sum(getattr(item, what) for item in of_logins) for what in ("count", "proofs"))
    recent = sum(item.proofs for item in of_logins if item.age <= HOUR)
    since: int | None = None
    if logged == counted:
        most, exact = counted - proofs, True
    elif logged > counted:
        most, exact = counted, counted == 0
    elif reach:
        most, exact, since = logged - proofs, True, reach
    else:
        most, exact = counted - proofs, False
    return {
        "wrong_passwords": most,
        "wrong_passwords_exact": exact,
        "wrong_passwords_reach": since,
        "proofs_tried": min(recent, MOST_PROOFS_AN_HOUR),
    }


HOUR = 3600


def _done(when: int, at: int) -> int | None:
    """Seconds since a backup's unit last did what it is for; None where it never has."""
    return _since(when, at) if when else None


def _told(instance: Instance, server: Server, said: ServerNow | None, at: int) -> dict[str, object]:
    info, config = server.info, server.config
    hits, misses = _digits(info.get("keyspace_hits")) or 0, _digits(info.get("keyspace_misses")) or 0
    up, evicted = _digits(info.get("uptime_in_seconds")), _digits(info.get("evicted_keys"))
    loading = info.get("loading", "0") != "0"
    told = said or ServerNow()
    return {
        "up": up,
        "version": re.sub(r"[^0-9A-Za-z.]", "", info.get("redis_version", ""))[:12],
        "keys": None if loading else count_keys(info)[0],
        "used": _digits(info.get("used_memory")),
        "maxmemory": _digits(config.get("maxmemory")) or instance.role.maxmemory,
        "evicted": evicted,
        "evicted_per_hour": None if evicted is None or up is None else round(evicted / max(1.0, up / 3600)),
        "evicted_per_second": None,
        "clients": _digits(info.get("connected_clients")),
        "maxclients": _digits(config.get("maxclients")),
        "by_user": dict(Counter(item.user for item in told.clients or ()).most_common()),
        "ops": _digits(info.get("instantaneous_ops_per_sec")),
        "hits": hits,
        "misses": misses,
        "hit_percent": 100 * hits / (hits + misses) if hits + misses else None,
        "saved": _since(_digits(info.get("rdb_last_save_time")) or 0, at),
        "pending_fsync": _digits(info.get("aof_pending_bio_fsync")),
        "delayed_fsync": _digits(info.get("aof_delayed_fsync")),
        "replication": replication(info, lag(server)),
        "lag": lag(server) if instance.role.paired and not instance.is_standby else None,
        "slow": told.slow,
        "latency": told.latency,
        "denied": told.denied,
        "big_keys": told.big_keys,
        "untold": told.untold,
    }


def state_of(instance: Instance, seen: Observed, server: Server | None) -> State:
    """What a role does, in a word."""
    active = seen.unit(instance.unit)["ActiveState"]
    if not seen.pid(instance.unit):
        if never_deployed(instance, seen):
            return "absent"
        return "starting" if active in ("activating", "reloading") else "down"
    if server is None:
        return "unknown"
    if server.refusal is not None:
        return OF_CAUSE.get(server.refusal.cause, "starting" if active == "activating" else "unknown")
    return "loading" if server.info.get("loading", "0") != "0" else "up"


def never_deployed(instance: Instance, seen: Observed) -> bool:
    """Whether nothing at all of a role is on its host. One that was installed anew looks the same: alerts know more."""
    name = instance.name
    own = (config_file(name), acl_file(name), account_file(name), data_directory(name))
    return (
        seen.unit(instance.unit)["LoadState"] == "not-found"
        and not seen.unseen
        and not any(path in own or path.startswith(f"{RECORDS}/{name}.") for path in seen.files)
        and not any(path.startswith(f"{data_directory(name)}/") for path in (*seen.stored, *seen.data_files))
    )


def replication(info: Mapping[str, str], behind: Lag | None = None) -> str:
    """What a server says of its copies; empty where it has none and is none. `behind`: what the nearest one lacks."""
    if info.get("role") == "slave":
        link = re.sub(r"[^a-z]", "", info.get("master_link_status", ""))[:8]
        return f"copy, link {link or 'unknown'}"
    copies = _digits(info.get("connected_slaves")) or 0
    lacks = f", lacks {behind.size >> 10} KiB" if behind is not None and behind.size >> 10 else ""
    return f"{copies} cop{'y' if copies == 1 else 'ies'}{lacks}" if copies else ""


def connected(instance: Instance, now: HostNow | None) -> dict[str, int]:
    """Who is connected to a role, by address, as its host's kernel says it: the most first."""
    found: Counter[str] = Counter()
    for address in instance.bound:
        for port in instance.role.listens_on:
            found.update((now.connections if now else {}).get((address, port), {}))
    return dict(found.most_common())


def log_base(instance: Instance, seen: Observed) -> int:
    """When the newest base of a role's log was written, in seconds since the epoch; 0 where there is none."""
    form = re.compile(rf"{re.escape(data_directory(instance.name))}/.*\.base\.(rdb|aof)")
    return max((state.modified for path, state in seen.stored.items() if form.fullmatch(path)), default=0)


def log_pace(instance: Instance, seen: Observed, at: int) -> float:
    """Bytes a second that a role's log has grown by since it was written anew."""
    server = seen.servers.get(instance.name, Server())
    written = (_digits(server.info.get("aof_current_size")) or 0) - (_digits(server.info.get("aof_base_size")) or 0)
    return max(0, written) / max(60, at - log_base(instance, seen)) if at else 0.0


YEAR = 365 * 86400


def lasts(free: int, pace: float) -> int | None:
    """For how long a disk lasts at this pace; None beyond a year, where no log has grown, or it is nobody's guess."""
    return int(free / pace) if pace and free / pace < YEAR else None


def _since(moment: int, at: int) -> int | None:
    return max(0, at - moment) if moment and at else None


def _digits(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch("[0-9]{1,19}", text) else None


# What answers nobody is an outage, whatever is known of it: as alerts see it. One that loads ends that by itself.
ANSWERS_NOBODY: tuple[State, ...] = ("busy", "no room", "silent")


def findings(
    report: HostReport, rows: tuple[RoleRow, ...], untold: str = "", unseen: tuple[str, ...] = ()
) -> tuple[Finding, ...]:
    """What a person should know first of a host.

    `untold`: why it said nothing of this moment; `unseen`: the roles of one of which nothing was seen.
    """
    return tuple(_findings(report, rows, untold, unseen))


def _findings(report: HostReport, rows: tuple[RoleRow, ...], untold: str, unseen: tuple[str, ...]) -> Iterator[Finding]:
    if not report.counted:
        what = f"{report.host}: {report.status}: {(report.message.splitlines() or ['no reason given'])[0]}"
        what += f"; its roles: {', '.join(unseen)}" if unseen else ""
        yield Finding("critical", None, what, f"{PAGE}#{UNSEEN}")
    yield from _not_running(rows)
    for found in report.health:
        level: Level = "critical" if found.severity == "critical" else "warning"
        yield Finding(level, found.role, f"{found.code}: {found.observed}: {found.remedy}", where_to_read(found))
    down = {item.role for item in rows if item.state in ("down", "starting", "absent")}
    out = {item.role for item in rows if item.state in ANSWERS_NOBODY}
    for thing in report.unknown:
        if thing.role not in down:
            level = "critical" if thing.role in out else "unknown"
            yield Finding(level, thing.role, f"{thing.what}: {thing.because}: {thing.remedy}", where_to_read(thing))
    yield from _drifted(report)
    if untold:
        yield Finding("unknown", None, f"{report.host}: this moment: {untold}", f"{PAGE}#{UNSEEN}")


def _not_running(rows: tuple[RoleRow, ...]) -> Iterator[Finding]:
    for item in rows:
        if item.state in ("down", "starting"):
            anchor = OF_REMEDY[Remedy.START]
            yield Finding("critical", item.role, f"{item.state}: no server runs", f"{PAGE}#{anchor}")
        if item.state == "absent":
            what = (
                "absent: nothing of it is on its host: deploy it; where it was here before, the host was installed anew"
            )
            yield Finding("warning", item.role, what, f"{PAGE}#{FIRST}")


def _drifted(report: HostReport) -> Iterator[Finding]:
    """Differences that have an entry of their own; how many others there are, which drift lists."""
    named = [item for item in report.differences if where_to_read(item)]
    for item in named:
        what = f"{item.subject} {item.name}: {item.observed}, expected {item.expected}"
        yield Finding("warning", item.role, what, where_to_read(item))
    if left := len(report.differences) - len(named):
        what = f"{report.host}: {left} difference{'' if left == 1 else 's'}: tasks/drift.py names them"
        yield Finding("warning", None, what, f"{PAGE}#{DRIFT}")

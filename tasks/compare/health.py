"""Health: what is not well although it may be as desired. Pure.

Drift says what moved; this says what its clients and its data suffer from. Nothing is done about it but by a person.
What is critical is so at the moment of the look. Counters of a server only grow, until it starts again: they are
judged per hour since its start and only warn, so that an old burst fades and what goes on stays; each says since when.
What Redis reports as a broken state (aof_last_write_status and the like) is a difference: tasks/compare/server.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasks.catalogue.limits import Limits
from tasks.catalogue.values import mib
from tasks.compare.backups import backup_health
from tasks.compare.certificates import certificate_health
from tasks.compare.fitness import DISK_PER_MAXMEMORY, REWRITE_PEAK
from tasks.compare.server_health import ago, number, server_health
from tasks.compare.set_aside import ENTRY, set_aside
from tasks.compare.standby_health import hearing, standby_health
from tasks.compare.unwell import Code, Health
from tasks.desired.host import Host, Instance
from tasks.desired.paths import DATA_ROOT, METRICS_UNIT, data_directory
from tasks.observed.counters import refused_logins
from tasks.observed.state import Observed, Server

REWRITES = ("aof_rewrite_in_progress", "rdb_bgsave_in_progress")


def health(desired: Host, observed: Observed) -> list[Health]:
    """Everything that is not well on the host, what is critical first."""
    limits = desired.limits
    if limits is None:
        return []
    answering = dict(_answering(desired, observed))
    found = [*_host_memory(answering, observed, limits), *_disks(desired, observed)]
    found += backup_health(desired, observed)
    found += _exporter(desired, observed, limits)
    for instance, server in answering.items():
        found += server_health(instance, server, observed, limits)
        pair = desired.pair_of(instance.name)
        found += standby_health(instance, server, pair, limits)
        found += hearing(instance, server, pair, observed.heard.get(instance.name))
    for instance in desired.instances:
        found += certificate_health(instance, answering.get(instance))
    return sorted(found, key=lambda item: (item.severity, item.role or "", item.code))


def logins_refused(desired: Host, observed: Observed) -> dict[str, Mapping[str, int]]:
    """Role → why strangers were refused → how often since its server's start; none of a server that did not answer."""
    return {instance.name: refused_logins(server.info) for instance, server in _answering(desired, observed)}


def _answering(desired: Host, observed: Observed) -> Iterator[tuple[Instance, Server]]:
    """The servers that answered and have loaded their data."""
    for instance in desired.instances:
        server = observed.servers.get(instance.name)
        if server is not None and server.refusal is None and server.info.get("loading", "0") == "0":
            yield instance, server


def _exporter(desired: Host, observed: Observed, limits: Limits) -> Iterator[Health]:
    """The exporter of metrics was started by systemd again: it is well between two ends, and figures have gaps."""
    restarts = int(observed.unit(METRICS_UNIT).get("NRestarts") or 0) if desired.exporter is not None else 0
    up = observed.asked_at - observed.time(METRICS_UNIT, "ExecMainStartTimestamp")
    if restarts and up < 60 * limits.crash_minutes_warning:
        yield Health(
            None,
            Code.CRASHED,
            "warning",
            f"{METRICS_UNIT}: {restarts} restarts by systemd, the last {ago(max(0, up))} ago",
            f"0 within {ago(60 * limits.crash_minutes_warning)}",
            f"see why it ended (journalctl -u {METRICS_UNIT}); systemctl reset-failed {METRICS_UNIT} counts anew",
        )


def _host_memory(answering: Mapping[Instance, Server], observed: Observed, limits: Limits) -> Iterator[Health]:
    left = 100 * observed.memory_available / observed.memory
    critical = left < limits.host_memory_critical
    limit = f"{limits.host_memory_critical if critical else limits.host_memory_warning} % of RAM"
    if left >= limits.host_memory_warning:
        needed, role = _next_rewrite(answering)
        if observed.memory_available >= needed:
            return
        limit = f"{mib(needed)}, which a rewrite of {role} may take"
    yield Health(
        None,
        Code.HOST_MEMORY,
        "critical" if critical else "warning",
        f"{mib(observed.memory_available)} of {mib(observed.memory)} available",
        limit,
        "see what uses it (ps -eo rss,cmd --sort=-rss | head), stop that or move a role",
    )


def _next_rewrite(answering: Mapping[Instance, Server]) -> tuple[int, str]:
    """What the next rewrite may take beside what is there, and of which role: the largest, at least one goes at a time.

    One that goes on has taken its part already, and ends: nothing is asked for then.
    """
    if any(number(server, field) for server in answering.values() for field in REWRITES):
        return 0, ""
    needs = ((int(number(server, "used_memory") * (REWRITE_PEAK - 1)), item.name) for item, server in answering.items())
    return max(needs, default=(0, ""))


def _disks(desired: Host, observed: Observed) -> Iterator[Health]:
    """Each disk with the roles that write to it: those whose directories have the same room left."""
    if "disk" in observed.unseen:
        return
    disks: dict[int, list[Instance]] = {}
    for instance in desired.instances:
        free = observed.free_of.get(data_directory(instance.name), observed.disk_free)
        disks.setdefault(free, []).append(instance)
    for free, instances in disks.items():
        yield from _disk(free, instances, observed)


def _disk(free: int, instances: list[Instance], observed: Observed) -> Iterator[Health]:
    rewrite = max(_rewrite(instance, observed) for instance in instances)
    planned = int(sum(instance.role.maxmemory for instance in instances) * DISK_PER_MAXMEMORY)
    used = sum(observed.data_used.get(data_directory(instance.name), 0) for instance in instances)
    critical = free < rewrite
    if not critical and free + used >= planned:
        return
    names = ", ".join(instance.name for instance in instances)
    where = data_directory(instances[0].name) if len(instances) == 1 else DATA_ROOT
    aside = sum(set_aside(instance, observed).size for instance in instances)
    kept = f", {mib(aside)} of that put aside" if aside else ""
    remove = f", remove what was put aside ({ENTRY})" if aside else ""
    yield Health(
        instances[0].name if len(instances) == 1 else None,
        Code.DISK_FULL,
        "critical" if critical else "warning",
        f"{mib(free)} free in {where}, {mib(used)} used by {names}{kept}",
        f"{mib(rewrite)} for the next rewrite"
        if critical
        else f"{mib(planned)} in all ({DISK_PER_MAXMEMORY} × maxmemory)",
        f"see what fills it (du -xh -d 3, from where {where} is mounted), free space or enlarge it, keep roles' files"
        + remove,
    )


def _rewrite(instance: Instance, observed: Observed) -> int:
    """Bytes that a role's next file takes: what it holds, and at least what its log grows by before a rewrite."""
    server = observed.servers.get(instance.name, Server())
    return max(number(server, "used_memory"), instance.role.auto_aof_rewrite_min_size)

"""Health of one running server: its memory, its clients, its crashes, and what it counted since its start. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tasks.catalogue.clients import client_memory
from tasks.catalogue.limits import Limits
from tasks.catalogue.values import mib, show_memory
from tasks.compare.unwell import Code, Health
from tasks.desired.host import Instance
from tasks.observed.counters import errors, hours_up, refused_logins
from tasks.observed.state import Observed, Server, count_keys


def server_health(instance: Instance, server: Server, observed: Observed, limits: Limits) -> Iterator[Health]:
    """Everything that is not well with a server that answered and has loaded its data."""
    yield from _crashes(instance, observed, server, limits)
    yield from _memory(instance, server, limits)
    yield from _clients(instance, server, limits)
    yield from _evicted(instance, server, limits)
    yield from _counted(instance, server, limits)


def number(server: Server, field: str) -> int:
    """A number of INFO; 0 where this version does not have it."""
    return int(server.info.get(field) or 0)


def ago(seconds: int) -> str:
    """`5 days`, `2 hours`, `90 seconds`: in the largest unit that there are two of."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"


def _crashes(instance: Instance, observed: Observed, server: Server, limits: Limits) -> Iterator[Health]:
    """systemd counts the starts it made by itself since somebody started the unit."""
    restarts = int(observed.unit(instance.unit).get("NRestarts") or 0)
    up = number(server, "uptime_in_seconds")
    critical = restarts >= limits.crashes_critical and up < 60 * limits.crash_minutes_critical
    if restarts and up < 60 * limits.crash_minutes_warning:
        limit = f"{limits.crashes_critical}, the last within {ago(60 * limits.crash_minutes_critical)}"
        yield Health(
            instance.name,
            Code.CRASHED,
            "critical" if critical else "warning",
            f"{restarts} restarts by systemd, the last {ago(up)} ago",
            limit if critical else f"0 within {ago(60 * limits.crash_minutes_warning)}",
            f"see why it ended (journalctl -u {instance.unit}); systemctl reset-failed {instance.unit} counts anew",
        )


def evictable(policy: str, info: Mapping[str, str]) -> int | None:
    """How many keys a full server may drop; None where the policy forbids it."""
    keys, with_ttl = count_keys(info)
    return None if policy == "noeviction" else with_ttl if policy.startswith("volatile") else keys


def _memory(instance: Instance, server: Server, limits: Limits) -> Iterator[Health]:
    """A server that has nothing to evict refuses every write when it is full."""
    maxmemory = int(server.config.get("maxmemory") or 0)
    if not maxmemory:
        return  # no limit: a difference
    policy = server.config.get("maxmemory-policy", "")
    used = number(server, "used_memory") - number(server, "mem_not_counted_for_evict")
    percent = 100 * used / maxmemory
    droppable = evictable(policy, server.info)
    refuses = percent >= limits.memory_critical or number(server, "current_eviction_exceeded_time") > 0
    seen = f"{mib(used)} of {show_memory(maxmemory)} used ({percent:.0f} %), {policy}"
    if refuses and not droppable:
        yield Health(
            instance.name,
            Code.MEM_FULL,
            "critical",
            f"{seen}, nothing to evict: all writes are refused or about to be",
            f"{limits.memory_critical} % of maxmemory",
            "raise maxmemory in group_data/roles.yaml: that is changed live; or let services delete what they can",
        )
    elif percent >= limits.memory_warning:
        yield from _nearly_full(instance, server, limits, seen)


def _nearly_full(instance: Instance, server: Server, limits: Limits, seen: str) -> Iterator[Health]:
    policy = server.config.get("maxmemory-policy", "")
    keys, with_ttl = count_keys(server.info)
    without = 100 * (keys - with_ttl) / keys if keys else 0
    if policy == "noeviction":
        remedy = "raise maxmemory in group_data/roles.yaml before it refuses writes"
        yield Health(instance.name, Code.MEM_FULL, "warning", seen, f"{limits.memory_warning} % of maxmemory", remedy)
    elif policy.startswith("volatile") and without >= limits.without_ttl_warning:
        yield Health(
            instance.name,
            Code.WITHOUT_TTL,
            "warning",
            f"{seen}, {without:.0f} % of {keys} keys have no TTL and cannot be evicted",
            f"{limits.without_ttl_warning} % of the keys",
            "let its services set a TTL (EXPIRE): when only keys without one are left, all writes are refused",
        )


def _clients(instance: Instance, server: Server, limits: Limits) -> Iterator[Health]:
    connected, most = number(server, "connected_clients"), int(server.config.get("maxclients") or 0)
    percent = 100 * connected / most if most else 0
    critical = percent >= limits.clients_critical
    if percent >= limits.clients_warning:
        limit = limits.clients_critical if critical else limits.clients_warning
        yield Health(
            instance.name,
            Code.CLIENTS_FULL,
            "critical" if critical else "warning",
            f"{connected} of {most} clients connected",
            f"{limit} % of maxclients",
            "see who holds them (CLIENT LIST as operator), close those, or raise maxmemory, which maxclients follows",
        )
    held = number(server, "mem_clients_normal")
    bound = client_memory(int(server.config.get("maxmemory") or 0), server.config.get("maxmemory-clients") or "0")
    if bound and 100 * held / bound >= limits.client_memory_warning:
        yield Health(
            instance.name,
            Code.BUFFERS,
            "warning",
            f"clients hold {mib(held)} of {mib(bound)}",
            f"{limits.client_memory_warning} % of maxmemory_clients",
            "see who reads too slowly or sends too much (CLIENT LIST as operator, tot-mem): the greediest is cut off",
        )


# --- Counters since the start


@dataclass(frozen=True)
class Counter:
    """A number that only grows, until the server starts again or CONFIG RESETSTAT; `limit` an hour."""

    code: Code
    what: str
    count: int
    limit: float
    remedy: str


def counters(server: Server, limits: Limits) -> tuple[Counter, ...]:
    """What a server counts of what its clients should never meet."""
    return (
        Counter(
            Code.WRITES_REFUSED,
            "writes refused for want of memory or disk",
            errors(server.info, "OOM") + errors(server.info, "MISCONF"),
            limits.refused_writes_warning,
            "see its memory and disk, and what its services did without those writes",
        ),
        Counter(
            Code.REFUSED_CLIENTS,
            "clients refused at maxclients",
            number(server, "rejected_connections"),
            limits.refused_clients_warning,
            "let services use fewer connections, or raise maxmemory in group_data/roles.yaml: maxclients follows",
        ),
        Counter(
            Code.EVICTED_CLIENTS,
            "clients cut off for their buffers",
            number(server, "evicted_clients"),
            limits.evicted_clients_warning,
            "let services read faster and send less at once, or raise maxmemory in group_data/roles.yaml",
        ),
        Counter(
            Code.PASSWORDS_REFUSED,
            "logins refused for a wrong password",
            refused_logins(server.info)["wrong_password"],
            limits.refused_logins_warning,
            "see who it is (ACL LOG as operator) and give it the password of the secrets file",
        ),
        Counter(
            Code.DISK_SLOW,
            "writes that waited for fsync",
            number(server, "aof_delayed_fsync"),
            limits.delayed_fsyncs_warning,
            "see what else writes to the disk, or move the role",
        ),
    )


def evictions(policy: str, server: Server, limits: Limits) -> Counter:
    """Keys dropped: none may be where nothing is to be evicted, else a share of what could be an hour."""
    few = evictable(policy, server.info)
    limit = 1 if few is None else limits.evicted_keys_warning * max(few, 1) / 100
    remedy = "raise maxmemory in group_data/roles.yaml, or let its services store less"
    return Counter(Code.EVICTED, "keys evicted", number(server, "evicted_keys"), limit, remedy)


def _counted(instance: Instance, server: Server, limits: Limits) -> Iterator[Health]:
    own = own_tries(server)
    for item in counters(server, limits):
        tried = own if item.code is Code.PASSWORDS_REFUSED else 0
        if per_hour(item.count - tried, server) >= item.limit:
            seen = _since(item.count, item.what, server)
            seen += f", {tried} of them by this tool's own proofs" if tried else ""
            limit = f"{item.limit:g} an hour on average"
            yield Health(instance.name, item.code, "warning", seen, limit, item.remedy)


def _evicted(instance: Instance, server: Server, limits: Limits) -> Iterator[Health]:
    policy = instance.role.maxmemory_policy
    item = evictions(policy, server, limits)
    seen = _since(item.count, item.what, server)
    if item.count and policy == "noeviction":
        remedy = "bring them back from a backup; CONFIG RESETSTAT as operator when that is done"
        yield Health(instance.name, Code.EVICTED, "warning", seen, "0", remedy)
        return
    left = evictable(policy, server.info)
    if left and item.count and per_hour(item.count, server) >= item.limit:
        seen, limit = f"{seen}, {left} are left that could be", f"{limits.evicted_keys_warning} % of them an hour"
        yield Health(instance.name, Code.EVICTED, "warning", seen, f"{limit} on average", item.remedy)


# Of a verify each quarter of an hour. Who is on the host and logs in could call itself a proof: no more is believed.
MOST_PROOFS_AN_HOUR = 16


def own_tries(server: Server) -> int:
    """How many of the wrong passwords that a server has counted were this tool's proofs', as far as its log tells.

    No more than it counts, whose counters may have been set back since, and than is believed of the hours it is up.
    """
    counted = refused_logins(server.info)["wrong_password"]
    return min(server.proofs_tried, counted, int(MOST_PROOFS_AN_HOUR * hours_up(server.info)))


def per_hour(count: int, server: Server) -> float:
    """A counter's average since the start; the first hour counts as a whole one, so that one event is no rate.

    One look has no memory of the one before: of what just began, or ended, it says what it was on average. Alerts know
    the counts of before (tasks/reports/alerts.py).
    """
    return count / hours_up(server.info)


def _since(count: int, what: str, server: Server) -> str:
    return f"{count} {what} since its start {ago(number(server, 'uptime_in_seconds'))} ago"

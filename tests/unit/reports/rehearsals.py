"""Sample rehearsals, as drills report them; the preview writes them, tests use the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from tasks.reports.rehearsal_model import (
    DrillResult,
    Figure,
    NotRun,
    Rehearsal,
    RehearsedHost,
    RehearsedRole,
    Scaled,
    Series,
    Step,
)
from tasks.reports.rehearsal_words import DRILLED, ran

BEGAN = datetime(2026, 3, 9, 4, 15, 7, tzinfo=UTC)
CROWD = ("gateway", "socket-service-1", "socket-service-2", "messaging-service", "media-service", "search-service")
SIZE = 64 << 20  # bytes of maxmemory, scaled
ROLES = tuple(
    RehearsedRole(name, f"redis-{name}", f"172.28.2.{number}", 6378 + number, 6379, SIZE, policy, True, sync, services)
    for number, (name, policy, sync, services) in enumerate(
        (
            ("gateway", "allkeys-lru", "everysec", ("gateway", "auth-service")),
            ("socket", "volatile-lru", "everysec", ("socket-service-1", "socket-service-2")),
            ("shared", "allkeys-lru", "everysec", CROWD),
            ("compliance", "noeviction", "always", ("compliance-service",)),
            ("crypto", "noeviction", "always", ("crypto-service",)),
        ),
        1,
    )
)
HOSTS = tuple(
    RehearsedHost(role.host, role.address, "13", "6.12.48+deb13-cloud-amd64", "8.0.2", 1024, "qemu", "/dev/vda1 ext4")
    for role in ROLES
)


def over(seconds: float, every: float, value: Callable[[float], float]) -> tuple[tuple[float, float], ...]:
    """What was measured `every` so many seconds."""
    return tuple((round(n * every, 2), round(value(n * every), 3)) for n in range(int(seconds / every) + 1))


def full(role: RehearsedRole) -> DrillResult:
    """Memory and evictions, or refusals, while a service fills the role."""
    refuses = role.maxmemory_policy == "noeviction"
    promise, counted, many = {
        "allkeys-lru": ("When full it evicts the least recently used keys and takes every write", "evicted", 13_824),
        "volatile-lru": ("When full it evicts keys with a TTL only, and refuses when none is left", "evicted", 9_120),
        "noeviction": ("When full it refuses writes, answers reads and keeps every key", "writes refused", 4_411),
    }[role.maxmemory_policy]
    used = Series(
        "memory used", "bytes", over(24, 0.4, lambda t: min(SIZE * 0.995, 1.4e6 + t * 4.2e6)), ((15.7, "full"),)
    )
    after = Series(counted, "keys", over(24, 0.4, lambda t: max(0, (t - 15.6) * many / 8.4)), ())
    figures = {
        "written": Figure(24_000, "keys"),
        counted: Figure(many, "writes" if refuses else "keys"),
        "refused" if not refuses else "lost": Figure(0, "writes" if not refuses else "keys"),
        "most used": Figure(66_781_200, "bytes"),
    }
    proof = f"24,000 SETs of 4 KiB through {role.services[0]}'s own login; INFO memory and stats five times a second"
    return DrillResult("full", role.name, role.host, promise, True, 24.6, proof, figures, (used, after), ())


def crash(role: RehearsedRole) -> DrillResult:
    """Losses over crashes."""
    losses = Series("acknowledged writes lost", "writes", tuple((9.0 * n, 0) for n in range(1, 6)), ())
    away = Series("away", "s", ((9, 0.61), (18, 0.58), (27, 0.74), (36, 0.66), (45, 0.63)), ())
    return DrillResult(
        "crash",
        role.name,
        role.host,
        "A killed server comes back by itself with every write that it had acknowledged",
        True,
        47.2,
        "kill -9 five times under writes of every kind (plain, MULTI, script); each acknowledged write was read back",
        {
            "lost": Figure(0, "of 18,204 writes"),
            "crashes": Figure(5, ""),
            "away at most": Figure(0.74, "s"),
        },
        (losses, away),
        (
            "killed pid 812 at 04:21:07, answered again after 0.61 s",
            "killed pid 840 at 04:21:16, answered after 0.58 s",
        ),
    )


def power(role: RehearsedRole) -> DrillResult:
    """compliance lost what it had promised to keep."""
    strict, wrong = role.appendfsync == "always", role.name == "compliance"
    lost = 3 if wrong else 0 if strict else 412
    return DrillResult(
        "power",
        role.name,
        role.host,
        f"A power cut loses {'nothing' if strict else 'at most two seconds of writes'}",
        not wrong,
        71.4,
        "the VM was reset without a sync under acknowledged writes; all of them were looked for after it was back",
        {
            "lost": Figure(lost, "of 5,120 writes"),
            "lost time": Figure(0.004 if wrong else 0.0 if strict else 0.87, "s"),
            "back after": Figure(38.2, "s"),
        },
        (),
        (
            ("compliance: 3 acknowledged writes are gone, expected none: caas-verify:w:5118 to caas-verify:w:5120",)
            if wrong
            else ()
        ),
    )


def latency(role: RehearsedRole) -> DrillResult:
    """p50, p99 and max of SET through a rewrite."""
    marks = ((20.0, "BGREWRITEAOF"), (21.1, "fork, 11 ms"), (39.5, "rewrite ends"))

    def bump(t: float, height: float) -> float:
        return height * math.exp(-(((t - 21.5) / 1.6) ** 2)) + (height / 9 if 21 < t < 39.5 else 0)

    shapes: dict[str, Callable[[float], float]] = {
        "p50": lambda t: 0.11 + 0.02 * math.sin(t) ** 2 + bump(t, 0.09),
        "p99": lambda t: 0.42 + 0.13 * math.sin(2.1 * t) ** 2 + bump(t, 3.2),
        "max": lambda t: 1.3 + 1.1 * math.sin(3.7 * t) ** 2 + bump(t, 24.6),
    }
    series = tuple(
        Series(name, "ms", over(60, 0.5, shape), marks if name == "p50" else ()) for name, shape in shapes.items()
    )
    return DrillResult(
        "latency",
        role.name,
        role.host,
        "A rewrite of the log holds no service up for longer than 50 ms",
        True,
        60.3,
        f"PING and SET as {role.services[0]} 200 times a second, 20 s before, during and after a rewrite",
        {"p50": Figure(0.13, "ms"), "p99": Figure(1.94, "ms"), "max": Figure(25.9, "ms")},
        series,
        (),
    )


def plain(drill: str, promise: str, proved_by: str, **figures: Figure) -> Callable[[RehearsedRole], DrillResult]:
    """A drill without a plot, which passes."""

    def result(role: RehearsedRole) -> DrillResult:
        return DrillResult(drill, role.name, role.host, promise, True, 6.4, proved_by, figures, (), ())

    return result


PLAIN = (
    plain(
        "log_truncated",
        "A log whose end is cut off is replayed up to there, and said",
        "the last 7 bytes were cut off; the server came up, and drift named the log",
        lost=Figure(1, "write"),
    ),
    plain(
        "log_damaged",
        "A log that is damaged in the middle stops the start; nothing is dropped silently",
        "64 bytes were overwritten; the unit failed with Redis' own words, docs/runbook.md's way back was run",
    ),
    plain("log_foreign_owner", "A log that root owns is said, and one deploy takes it back", "chown root; a deploy"),
    plain(
        "busy_script",
        "A script that loops is said as BUSY, and its end brings everything back",
        "EVAL 'while true do end' as a service; verify said BUSY; SCRIPT KILL as operator",
        busy=Figure(5.2, "s"),
    ),
    plain(
        "maxclients",
        "At maxclients new logins are refused, connected ones stay",
        "355 connections were opened; the 356th was refused",
        refused=Figure(1, "login"),
    ),
    plain(
        "slow_subscriber",
        "A subscriber that does not read is cut off, nobody else is",
        "PUBLISH of 40 MiB to one that never reads",
        cut_off_at=Figure(33_554_432, "bytes"),
    ),
)


def disk_full(role: RehearsedRole) -> DrillResult:
    """crypto did not come back by itself."""
    wrong = role.name == "crypto"
    strict = role.appendfsync == "always"
    promise = "On a full disk the server exits rather than lose a write, and comes back when there is room"
    return DrillResult(
        "disk_full",
        role.name,
        role.host,
        promise if strict else "On a full disk writes are refused, reads are answered, and room ends that",
        not wrong,
        48.9,
        "a file filled /var/lib to the last block under writes, then it was removed",
        {"refused": Figure(211, "writes"), "lost": Figure(0, "writes")},
        (),
        (
            "crypto: not active 30 s after there was room: expected active, found failed (start-limit-hit)",
            "redis-crypto.service: Start request repeated too quickly.",
            "way back: systemctl reset-failed redis-crypto.service && systemctl start redis-crypto.service",
            "ended: answers again 0.7 s after that, with every key",
        )
        if wrong
        else (),
    )


def of_hosts() -> Iterator[DrillResult]:
    """What happens to whole machines."""
    for host in HOSTS:
        yield DrillResult(
            "reboot",
            None,
            host.name,
            "After a reboot every role is back by itself with all its keys",
            True,
            41.8,
            "systemctl reboot under 550 acknowledged writes in every way clients write",
            {"away": Figure(33.1, "s"), "lost": Figure(0, "of 550 writes")},
            (),
            tuple(f"+{second:>2} s: no answer on port 22" for second in range(3, 18, 3)),
        )
    yield DrillResult(
        "reboot_late_address",
        None,
        HOSTS[0].name,
        "A role whose address comes 20 s after the boot is back by itself, too",
        True,
        66.0,
        "the address was taken from networkd and given 20 s after the boot",
        {"away": Figure(57, "s")},
        (),
        (),
    )


STEPS = (
    Step("boot", "five VMs, Debian 13", 84.2, True, ("no KVM here: emulated (TCG), slower by an order of magnitude",)),
    Step("deploy the older state", "pyinfra -y inventory/staging.py deploy.py  # at v1.4", 203.4, True, ()),
    Step("deploy", "pyinfra -y inventory/staging.py deploy.py", 31.7, True, ("restarted: compliance (0.6 s away)",)),
    Step("deploy again", "pyinfra -y inventory/staging.py deploy.py", 2.1, True, ("nothing to do",)),
    Step("verify, after the last drill", "pyinfra inventory/staging.py tasks/verify.py", 4.0, True, ()),
    Step(
        "drift, after the last drill",
        "pyinfra inventory/staging.py tasks/drift.py",
        1.9,
        True,
        ("5 roles on 5 hosts in sync",),
    ),
)


def mixed() -> Rehearsal:
    """All five roles; two promises failed, some were not tried, all were scaled."""
    each = (full, crash, power, latency, disk_full, *PLAIN)
    tamper = plain(
        "tamper",
        "What is changed by hand is found by drift, and put right by one deploy",
        "CONFIG SET, a user more, a changed file and a stopped unit: 4 of 4 were found and repaired",
        found=Figure(4, "of 4"),
    )
    clock = plain(
        "clock_jump", "Keys do not expire early when the clock jumps", "date -s '+1 hour' under writes with TTL"
    )
    results = [drill(role) for role in ROLES for drill in each if (drill, role.name) != (PLAIN[3], "shared")]
    left_out = (
        *(NotRun("stampede", role.name, "needs 4 cores to mean anything, the host has 2") for role in ROLES),
        NotRun("busy_script", "shared", "its services may not run scripts (scripts: false)"),
        *(NotRun("tamper", role.name, "drills= did not name it") for role in ROLES[1:]),
    )
    return Rehearsal(
        BEGAN,
        872.4,
        "inventory/staging.py",
        "3a7ba16e",
        "v1.4",
        "inventory/prod.py",
        HOSTS,
        ROLES,
        (
            *(
                Scaled(role.name, "maxmemory", "512mb" if role.name in ("socket", "shared") else "256mb", "64mb")
                for role in ROLES
            ),
            Scaled("socket", "maxclients", "2843", "355"),
            Scaled(None, "RAM", "4096 MiB", "1024 MiB"),
        ),
        (*STEPS[:4], Step(DRILLED, "tasks/rehearse.py", 611.0, True, ran(results)), *STEPS[4:]),
        (*results, tamper(ROLES[0]), clock(ROLES[0]), *of_hosts()),
        left_out,
    )


def whole() -> Rehearsal:
    """Everything on one machine, nothing failed, scaled or left out."""
    host = replace(HOSTS[0], name="redis-1", memory_mib=4096)
    roles = tuple(replace(role, host="redis-1") for role in ROLES[:2])
    drills = {drill.__name__: drill for drill in (full, crash, power, latency, disk_full)}
    others = (
        "reboot", "reboot_late_address", "log_truncated", "log_damaged", "log_foreign_owner", "rewrite_memory_short",
        "busy_script", "maxclients", "slow_subscriber", "stampede", "tamper",
    )  # fmt: skip
    simple = [plain(name, f"{name.replace('_', ' ')} does no harm", "tried") for name in others]
    results = tuple(drill(role) for role in roles for drill in (*drills.values(), *simple))
    return Rehearsal(BEGAN, 2394.0, "tests/vms.py", "3a7ba16e", None, None, (host,), roles, (), STEPS, results, ())


def nothing() -> Rehearsal:
    """It broke off before a drill was run."""
    step = Step("deploy", "pyinfra -y inventory/staging.py deploy.py", 9.1, False, ("redis-crypto: apt: no candidate",))
    return Rehearsal(BEGAN, 93.5, "inventory/staging.py", "3a7ba16e", None, None, HOSTS, ROLES, (), (step,), (), ())


def rehearsals() -> dict[str, Rehearsal]:
    """Every situation that a reader may meet, by name."""
    return {"mixed": mixed(), "whole": whole(), "nothing": nothing()}

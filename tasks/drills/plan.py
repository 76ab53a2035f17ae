"""The drills there are, what each promises of a role, and which ones a rehearsal runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from tasks.catalogue.roles import Role
from tasks.catalogue.values import show_memory

Promise = Callable[[Role], str]
EVICTS = ("allkeys", "volatile")


@dataclass(frozen=True)
class Drill:
    """A drill: of each role or of each host, about how long it takes (seconds, on machines without KVM), its promise.

    `left_out` says why a role has no such promise; empty where it has. `by_deploy`: it ends with a deploy. `machine`:
    only a machine with a kernel of its own can do that.
    """

    name: str
    of: str  # role, or host
    seconds: float
    done: str  # in the past, of a role
    promise: Promise
    left_out: Promise = lambda role: ""
    by_deploy: bool = False
    machine: bool = False


def _when_full(role: Role) -> str:
    policy = role.maxmemory_policy
    if policy.startswith("allkeys"):
        return f"when its memory is full it evicts ({policy}), takes every write and answers"
    if policy.startswith("volatile"):
        return (
            f"when its memory is full it evicts only keys with a TTL ({policy}), and refuses writes when none is left"
        )
    return f"when its memory is full it refuses writes ({policy}), reads on, and keeps every key"


_LAST = {True: "with its last snapshot", False: "and begins empty: it keeps nothing on disk"}  # by save points


def _crash(role: Role) -> str:
    if role.appendonly:
        return "killed under writes, it is back by itself with every acknowledged write"
    return f"killed under writes, it is back by itself {_LAST[bool(role.save)]}"


def _power(role: Role) -> str:
    if not role.appendonly:
        return f"after a power cut it is back by itself {_LAST[bool(role.save)]}"
    if role.appendfsync == "always":
        return "after a power cut under writes it is back by itself with every acknowledged write (appendfsync always)"
    if role.appendfsync == "everysec":
        return "after a power cut under writes it is back by itself; at most two seconds of them are lost (everysec)"
    return "after a power cut under writes it is back by itself, with what the kernel had written (appendfsync no)"


def _disk_full(role: Role) -> str:
    how = "it ends" if role.appendfsync == "always" and role.appendonly else "writes are refused"
    return f"while the disk is full {how}; with room again it serves by itself, with every acknowledged write"


def _without_log(role: Role) -> str:
    return "" if role.appendonly else "it has no append-only log"


NEEDED = 64 << 20  # bytes of maxmemory: what tasks/drills/memory.py changes, and what the role has


def _without_room(role: Role) -> str:
    if role.maxmemory < NEEDED:
        return f"maxmemory is {show_memory(role.maxmemory)}, less than the {show_memory(NEEDED)} that this drill needs"
    return _without_log(role)


DRILLS: tuple[Drill, ...] = (
    Drill(
        "full",
        "role",
        20,
        "a service wrote beyond its limit, which was lowered to what was in use and a little more",
        _when_full,
    ),
    Drill("crash", "role", 15, "its process was ended by kill -9 while a service wrote in every way", _crash),
    Drill(
        "power",
        "host",
        60,
        "the machine was reset without sync while a service wrote in every way",
        _power,
        machine=True,
    ),
    Drill(
        "reboot",
        "host",
        60,
        "the machine was rebooted while a service wrote in every way",
        lambda role: "after a reboot under writes it is back by itself with every one of them",
        machine=True,  # a container ends by it, and who starts it again is its host's affair
    ),
    Drill(
        "reboot_late_address",
        "host",
        80,
        "the machine was rebooted, and its address came 20 s after the network",
        lambda role: "when its address comes 20 s after the boot, it serves by itself as soon as it is there",
        machine=True,
    ),
    Drill(
        "disk_full",
        "host",
        40,
        "the room on its disk was taken while a service wrote",
        _disk_full,
        by_deploy=True,
        machine=True,
    ),
    Drill(
        "log_truncated",
        "role",
        30,
        "bytes were cut off the end of its log while it was stopped",
        lambda role: "with the end of its log cut off it starts by itself, and lacks only what was cut",
        _without_log,
        by_deploy=True,
    ),
    Drill(
        "log_damaged",
        "role",
        30,
        "bytes in the middle of its log were overwritten while it was stopped",
        lambda role: (
            "with its log damaged in the middle it does not start and loses nothing; the runbook's way brings "
            "back all that was written before the damage"
        ),
        _without_log,
        by_deploy=True,
    ),
    Drill(
        "log_foreign_owner",
        "role",
        30,
        "its log was given to root while it was stopped",
        lambda role: "with its log owned by root it does not start empty; a deploy starts it with every write",
        _without_log,
        by_deploy=True,
    ),
    Drill(
        "rewrite_memory_short",
        "role",
        40,
        "its unit could take little more memory while its log was rewritten and every key changed",
        lambda role: (
            "when memory runs out while its log is rewritten, the rewrite ends and not the server, and nothing "
            "acknowledged is lost"
        ),
        _without_room,
        machine=True,
    ),
    Drill(
        "busy_script",
        "role",
        15,
        "a service ran a script without end",
        lambda role: "a script that does not end restarts nothing, and SCRIPT KILL ends it",
    ),
    Drill(
        "maxclients",
        "role",
        10,
        "its maxclients was lowered to what was connected and a few, which services took",
        lambda role: (
            "when no connection is left, those that are there are served, nothing is restarted, and it is said"
        ),
    ),
    Drill(
        "slow_subscriber",
        "role",
        20,
        "a client subscribed and read nothing while megabytes were published",
        lambda role: "a subscriber that does not read is cut off, and nobody else notices",
    ),
    Drill(
        "stampede",
        "role",
        20,
        "many clients of a service connected at once",
        lambda role: "many clients that connect at once are all served, and who was there is",
    ),
    Drill(
        "latency",
        "role",
        40,
        "a service asked while the log was rewritten, slowed down to be watched",
        lambda role: "services are answered while the log is rewritten",
        _without_log,
    ),
    Drill(
        "tamper",
        "host",
        30,
        "a setting, a file, a user and the unit were changed by hand",
        lambda role: "whatever somebody changes by hand is found, and a deploy repairs it without losing a write",
        by_deploy=True,
    ),
)
# What a team sees before each change: a quarter of an hour on machines without KVM. The others take as long again.
STANDARD = ("full", "crash", "power", "log_truncated", "busy_script", "maxclients", "latency", "tamper")
BY_NAME = {drill.name: drill for drill in DRILLS}


def chosen(asked: object) -> tuple[tuple[Drill, ...], list[str]]:
    """The drills that `--data drills=crash,power` asks for, or `standard`, in their own order; all when None.

    With what is wrong with the words.
    """
    if asked is None:
        return DRILLS, []
    if asked == "standard":
        return tuple(BY_NAME[name] for name in STANDARD), []
    names = [name.strip() for name in str(asked).split(",") if name.strip()]
    problems = list(_strange(names)) or ([] if names else [f"drills: {asked!r}: names none, expected {_known()}"])
    return tuple(drill for drill in DRILLS if drill.name in names), problems


def _strange(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name not in BY_NAME:
            near = get_close_matches(name, BY_NAME, 1)
            yield f"drills: {name}: no drill of this name, expected {near[0] if near else _known()}"


def _known() -> str:
    return f"standard, or of {', '.join(BY_NAME)}"


def in_minutes(seconds: float) -> str:
    """About how long, for people."""
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"

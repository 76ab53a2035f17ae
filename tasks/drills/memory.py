"""Drills in which memory is short: the role's own limit, and the machine's while a log is rewritten."""

from __future__ import annotations

import time

from tasks.drills.client import Client, DrillFailed
from tasks.drills.judge import Filling, full_problems
from tasks.drills.load import Load, nothing_lost, writer_of, writing
from tasks.drills.outcome import Outcome, Steps, count
from tasks.drills.own_user import filled, own_user, rewrite_ended, slowly
from tasks.drills.place import PREFIX, Place, wait_for
from tasks.observed.exchange import ExchangeError, Reply, ReplyError
from tasks.reports.rehearsal_model import Series

FILLER = "x" * 4096  # bytes per key
ROOM = 2 << 20  # bytes that an instance may grow by
FILLS = 2000  # writes of FILLER: four times ROOM
BATCH = 100
TTL = ("EX", "600")


def full(place: Place) -> Steps:
    """A service writes beyond the limit, which is lowered to what is used and a bit, live."""
    yield from ()
    writer = writer_of(place)
    if not place.role.rights_of(writer).may("set", "get"):
        raise DrillFailed(f"{place.name}: none of its services may write: nothing can be filled")
    load = Load(place)
    load.some(20)
    used = int(place.info("memory")["used_memory"])
    place.operator("CONFIG", "SET", "maxmemory", str(used + ROOM))
    curve = _Curve(time.monotonic())
    try:
        with place.client(writer) as service:
            with_ttl = _fill(place, service, "t", TTL, load, curve)
            without = None
            if place.role.maxmemory_policy.startswith("volatile"):
                _remove(place, "t")
                curve.mark("no key with a TTL is left")
                without = _fill(place, service, "k", (), load, curve)
            answers = service.ask(("GET", f"{PREFIX}:fill:none"))
    except ExchangeError as error:
        raise DrillFailed(f"{place.name}: {error}") from error
    finally:
        place.operator("CONFIG", "SET", "maxmemory", str(place.role.maxmemory))
        _remove(place, "t")
        _remove(place, "k")
    problems = full_problems(place.role, with_ttl, without)
    if answers != [None]:
        problems.append(f"a read was answered by {answers[0]}, expected as ever")
    if problems:
        raise DrillFailed(f"{place.name}: {'; '.join(problems)}")
    load.remove()
    place.calm_down()
    figures = {
        "refused": count(with_ttl.refused + (without.refused if without else 0), "writes"),
        "evicted": count(with_ttl.evicted, "keys"),
        "taken": count(with_ttl.taken + (without.taken if without else 0), "writes"),
    }
    if not place.role.maxmemory_policy.startswith("allkeys"):
        figures["lost without a TTL"] = count(0, "keys")
    proved = f"{writer} wrote {FILLS} keys of 4 KiB with a TTL, four times what was free below the limit"
    if without:
        proved += ", then without one until nothing could be evicted"
    return Outcome(f"{proved}; reads went on", figures, curve.series())


class _Curve:
    """Memory and evictions while a role is filled."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._memory: list[tuple[float, float]] = []
        self._evicted: list[tuple[float, float]] = []
        self._marks: list[tuple[float, str]] = []

    def add(self, info: dict[str, str]) -> None:
        at = time.monotonic() - self._began
        self._memory.append((at, float(info["used_memory"])))
        self._evicted.append((at, float(info["evicted_keys"])))

    def mark(self, what: str) -> None:
        self._marks.append((time.monotonic() - self._began, what))

    def series(self) -> tuple[Series, ...]:
        marks = tuple(self._marks)
        return (
            Series("used memory", "bytes", tuple(self._memory), marks),
            Series("evicted keys", "keys", tuple(self._evicted), marks),
        )


def _fill(place: Place, service: Client, kind: str, life: tuple[str, ...], load: Load, curve: _Curve) -> Filling:
    before = int(place.info("stats")["evicted_keys"])
    taken = refused = 0
    for start in range(0, FILLS, BATCH):
        names = [f"{PREFIX}:fill:{kind}:{number}" for number in range(start, start + BATCH)]
        replies = service.ask(*(("SET", name, FILLER, *life) for name in names))
        taken += sum(reply == "OK" for reply in replies)
        refused += sum(_is_oom(reply) for reply in replies)
        curve.add(place.info("memory", "stats"))
    evicted = int(place.info("stats")["evicted_keys"]) - before
    if taken + refused != FILLS:
        raise DrillFailed(
            f"{place.name}: {FILLS - taken - refused} of {FILLS} writes had another answer than OK or OOM"
        )
    lost = 0 if place.role.maxmemory_policy.startswith("allkeys") else len(load.lost())
    if place.role.maxmemory_policy == "noeviction":
        lost += taken - _there(place, kind)
    return Filling(taken, refused, evicted, lost)


def _is_oom(reply: Reply) -> bool:
    return isinstance(reply, ReplyError) and str(reply).startswith("OOM")


def _names(kind: str) -> list[str]:
    return [f"{PREFIX}:fill:{kind}:{number}" for number in range(FILLS)]


def _there(place: Place, kind: str) -> int:
    return int(str(place.operator("EXISTS", *_names(kind))))


def _remove(place: Place, kind: str) -> None:
    place.operator("UNLINK", *_names(kind))


BALLAST = 40 << 20  # bytes of keys that a rewrite has to copy when they change meanwhile
SHORT = 12 << 20  # bytes that the unit may still take then


def rewrite_memory_short(place: Place) -> Steps:
    """The unit's memory is limited while its log is rewritten and every key changes."""
    pid = place.process()
    try:
        return (yield from _rewritten_with_little(place, pid))
    except (DrillFailed, ExchangeError) as error:
        if place.process() == pid:
            raise
        # Whatever a client of the drill met then, this is why.
        words = "its server ended, expected that only the rewrite's child does"
        raise DrillFailed(f"{place.name}: {words}: {place.unit_says()}") from error


def _rewritten_with_little(place: Place, pid: str) -> Steps:
    yield from ()
    group = f"/sys/fs/cgroup{place.sh(f'systemctl show -P ControlGroup {place.unit}').strip()}"
    with own_user(place) as user, filled(place, user, BALLAST) as change, writing([place]) as loads:
        try:
            with slowly(place):
                place.operator("BGREWRITEAOF")
                wait_for(f"{place.name} does not begin to rewrite its log", lambda: _rewrites(place), patience=60)
                # What it has and a little more: less than every key anew. Of files the kernel gives pages back.
                place.sh(f"echo $(($(sed -n 's/^anon //p' {group}/memory.stat) + {SHORT})) >{group}/memory.max")
                change()
                rewrite_ended(place)
                failed = place.info("persistence")["aof_last_bgrewrite_status"] != "ok"
                said = place.said_of_it()
        finally:
            place.sh(f"echo max >{group}/memory.max")
        if place.process() != pid:
            raise DrillFailed(f"{place.name}: the kernel ended the server, expected the rewrite's child")
        if not failed:
            raise DrillFailed(f"{place.name}: the rewrite ended well: memory was not short, nothing is proved")
        place.operator("BGREWRITEAOF")
        rewrite_ended(place)
        if place.info("persistence")["aof_last_bgrewrite_status"] != "ok":
            raise DrillFailed(f"{place.name}: with memory again the log was not rewritten")
        load = loads[place.name]
        load.ended = True
    nothing_lost(load)
    load.remove()
    place.calm_down()
    return Outcome(
        f"the unit could take {SHORT >> 20} MiB more while its log was rewritten and {BALLAST >> 20} MiB of keys were "
        "changed: the kernel ended the child, the server ran on; with memory again BGREWRITEAOF went well",
        {
            "lost": count(0, "writes"),
            "acknowledged": count(len(load.acknowledged), "writes"),
        },
        said=tuple(said),
    )


def _rewrites(place: Place) -> bool:
    return place.info("persistence")["aof_rewrite_in_progress"] == "1"

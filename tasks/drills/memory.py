"""Drills in which memory is short: the role's own limit, and the machine's while a log is rewritten."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from tasks.catalogue.values import show_memory
from tasks.drills.client import Client, DrillFailed
from tasks.drills.judge import Filling, account_problem, full_problems
from tasks.drills.load import Load, nothing_lost, writer_of, writing
from tasks.drills.outcome import Outcome, Steps, count
from tasks.drills.own_user import filled, is_rewriting, own_user, slowly
from tasks.drills.place import PREFIX, Place, wait_for
from tasks.observed.connection import begin
from tasks.observed.exchange import ExchangeError, Reply, ReplyError
from tasks.reports.rehearsal_model import Figure, Series

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
    limit = int(place.info("memory")["used_memory"]) + ROOM
    place.operator("CONFIG", "SET", "maxmemory", str(limit))
    curve = _Curve(time.monotonic(), int(place.info("stats")["evicted_keys"]))
    try:
        with place.client(writer) as service:
            with_ttl = _fill(place, service, "t", TTL, load, curve)
            without = None
            if place.role.maxmemory_policy.startswith("volatile"):
                without = _fill(place, service, "k", (), load, curve)
    except ExchangeError as error:
        raise DrillFailed(f"{place.name}: {error}") from error
    finally:
        place.operator("CONFIG", "SET", "maxmemory", str(place.role.maxmemory))
        _remove(place, "t")
        _remove(place, "k")
    problems = full_problems(place.role, with_ttl, without)
    problems += [problem for found in (with_ttl, without) if found and (problem := account_problem(found))]
    if problems:
        raise DrillFailed(f"{place.name}: {'; '.join(problems)}")
    load.remove()
    place.calm_down()
    figures = _figures("with a TTL", with_ttl)
    if without:
        figures |= _figures("without a TTL", without)
    figures["limit of this drill"] = Figure(limit, "bytes")
    if not place.role.maxmemory_policy.startswith("allkeys"):
        figures["lost of what was kept before"] = count(0, "keys")
    usual = show_memory(place.role.maxmemory) if place.role.maxmemory else "no limit"
    proved = (
        f"maxmemory was lowered for this drill from {usual} to {limit / 2**20:.1f} MiB, what was in use and "
        f"{ROOM >> 20} MiB; {writer} wrote {FILLS} keys of 4 KiB with a TTL, four times that room"
    )
    if without:
        proved += "; what was left of them was removed, and as many were written without a TTL"
    return Outcome(f"{proved}; a read was answered while it was full", figures, curve.series())


def _figures(which: str, found: Filling) -> dict[str, Figure]:
    """Every write and key is accounted for: refused or taken, and of those evicted, expired or left."""
    figures = {
        f"{which}: refused": count(found.refused, "writes"),
        f"{which}: taken": count(found.taken, "writes"),
        f"{which}: evicted": count(found.evicted, "keys"),
        f"{which}: expired": count(found.expired, "keys"),
        f"{which}: left": count(found.left, "keys"),
    }
    return figures | (
        {f"{which}: evicted or expired of other keys": count(found.others, "keys")} if found.others else {}
    )


class _Curve:
    """Memory and evictions while a role is filled."""

    def __init__(self, began: float, before: int) -> None:
        self._began = began
        self._before = before
        self._memory: list[tuple[float, float]] = []
        self._evicted: list[tuple[float, float]] = []
        self._marks: list[tuple[float, str]] = []

    def add(self, info: dict[str, str]) -> None:
        at = time.monotonic() - self._began
        self._memory.append((at, float(info["used_memory"])))
        self._evicted.append((at, float(int(info["evicted_keys"]) - self._before)))

    def mark(self, what: str) -> None:
        self._marks.append((time.monotonic() - self._began, what))

    def series(self) -> tuple[Series, ...]:
        marks = tuple(self._marks)
        return (
            Series("used memory", "bytes", tuple(self._memory), marks),
            Series("evicted keys", "keys", tuple(self._evicted), marks),
        )


def _fill(place: Place, service: Client, kind: str, life: tuple[str, ...], load: Load, curve: _Curve) -> Filling:
    before = place.info("stats")
    taken = refused = 0
    for start in range(0, FILLS, BATCH):
        names = [f"{PREFIX}:fill:{kind}:{number}" for number in range(start, start + BATCH)]
        replies = service.ask(*(("SET", name, FILLER, *life) for name in names))
        taken += sum(reply == "OK" for reply in replies)
        refused += sum(_is_oom(reply) for reply in replies)
        curve.add(place.info("memory", "stats"))
    if taken + refused != FILLS:
        raise DrillFailed(
            f"{place.name}: {FILLS - taken - refused} of {FILLS} writes had another answer than OK or OOM"
        )
    lost = 0 if place.role.maxmemory_policy.startswith("allkeys") else len(load.lost())
    (answer,) = service.ask(("GET", f"{PREFIX}:fill:none"))
    if answer is not None:
        raise DrillFailed(f"{place.name}: a read was answered by {answer}, expected as ever")
    # This long command takes memory, too, and keys are evicted for it: counted behind it, nothing is missing.
    left = _remove(place, kind)
    info = place.info("memory", "stats")
    curve.mark(f"the keys {'with' if life else 'without'} a TTL that are left are removed")
    curve.add(info)
    evicted, expired = (int(info[name]) - int(before[name]) for name in ("evicted_keys", "expired_keys"))
    if place.role.maxmemory_policy == "noeviction":
        lost += taken - left
    return Filling(taken, refused, evicted, lost, expired, left)


def _is_oom(reply: Reply) -> bool:
    return isinstance(reply, ReplyError) and str(reply).startswith("OOM")


def _names(kind: str) -> list[str]:
    return [f"{PREFIX}:fill:{kind}:{number}" for number in range(FILLS)]


def _remove(place: Place, kind: str) -> int:
    """How many there were."""
    return int(str(place.operator("UNLINK", *_names(kind))))


BALLAST = 40 << 20  # bytes of keys that a rewrite has to copy when they change meanwhile
SHORT = 12 << 20  # bytes that the unit may still take then
TRIES = 3
# Microseconds for a key. What is written the child gives back: it must not keep step with a busy machine's changes.
SLOW = 80_000


def rewrite_memory_short(place: Place) -> Steps:
    """The unit's memory is limited while its log is rewritten and every key changes.

    A kernel that has ended the rewrite's child may end the server, too, before the child's memory is free (seen with
    6.12, emulated, once in five): that says nothing of what this tool has set, so it is tried again.
    """
    yield from ()
    tries: list[_Try] = []
    while True:
        began = place.sh("date +%s").strip()
        tries.append(_Try(place.process()))
        try:
            _rewritten_with_little(place, tries[-1])
            break
        except (DrillFailed, ExchangeError) as error:
            pid = tries[-1].pid
            if place.process() == pid:
                raise
            # Whatever a client of the drill met then, this is why.
            words = "its server ended, expected that only the rewrite's child does"
            failed = DrillFailed(f"{place.name}: {words}: {place.unit_says()}")
            if len(tries) == TRIES or not ended_behind_child(pid, _ended_by_kernel(place, began)):
                raise failed from error
        place.wait_until_back()
        _nothing_lost_by(tries[-1])
    _nothing_lost_by(tries[-1])
    place.calm_down()
    acknowledged = sum(len(item.load.acknowledged) for item in tries if item.load)
    again = len(tries) - 1
    return Outcome(
        f"the unit could take {SHORT >> 20} MiB more while its log was rewritten and {BALLAST >> 20} MiB of keys were "
        "changed: the kernel ended the child, the server ran on; with memory again BGREWRITEAOF went well"
        + (", after the kernel had ended the server behind the child, before that one's memory was free" * bool(again)),
        {
            "lost": count(0, "writes"),
            "acknowledged": count(acknowledged, "writes"),
            **({"ended behind the child": count(again, "times")} if again else {}),
        },
        said=tries[-1].said,
    )


@dataclass
class _Try:
    """One rewrite with little memory: the server's process, what was written meanwhile, what verify and drift said."""

    pid: str
    load: Load | None = None
    said: tuple[str, ...] = ()


def _nothing_lost_by(this: _Try) -> None:
    if this.load:
        nothing_lost(this.load)
        this.load.remove()


def _rewritten_with_little(place: Place, this: _Try) -> None:
    group = f"/sys/fs/cgroup{place.sh(f'systemctl show -P ControlGroup {place.unit}').strip()}"
    with own_user(place) as user, filled(place, user, BALLAST) as change, writing([place]) as loads:
        this.load = loads[place.name]
        try:
            with slowly(place, SLOW):  # for this one alone: another may begin by itself behind it
                place.operator("BGREWRITEAOF")
                wait_for(f"{place.name} does not begin to rewrite its log", lambda: _rewrites(place), patience=60)
            # What it has and a little more: less than every key anew. Of files the kernel gives pages back.
            place.sh(f"echo $(($(sed -n 's/^anon //p' {group}/memory.stat) + {SHORT})) >{group}/memory.max")
            changing = begin(change)
            failed = _rewrite_failed(place)
        finally:
            place.sh(f"echo max >{group}/memory.max")
        if place.process() != this.pid:
            raise DrillFailed(f"{place.name}: the kernel ended the server, expected the rewrite's child")
        if not failed:
            raise DrillFailed(f"{place.name}: the rewrite ended well: memory was not short, nothing is proved")
        this.said = tuple(place.said_of_it())
        wait_for(f"{place.name}: with memory again its log is not rewritten", lambda: _rewritten(place))
        # A snapshot that was due right then has failed, too, and nothing is taken until one goes well.
        with suppress(DrillFailed):
            changing.result()
        this.load.ended = True


def ended_behind_child(pid: str, ended: Sequence[str]) -> bool:
    """Whether the kernel ended a server behind another process of its unit; `ended`: by the kernel, in order. Pure."""
    return pid in ended and ended[0] != pid


def _ended_by_kernel(place: Place, since: str) -> list[str]:
    """The processes of its unit that the kernel ended for want of memory since then, in order."""
    lines = place.sh(f"journalctl -k --quiet --no-pager -o cat --since=@{since}").splitlines()
    unit = f"/{place.unit},"
    return [found[1] for line in lines if unit in line and (found := re.search(r"\boom-kill:.*,pid=([0-9]+)", line))]


def _rewrite_failed(place: Place) -> bool:
    """Whether the rewrite that goes on fails; when it has ended.

    The next one may begin by itself at once, for the log has grown, and that one ends well.
    """
    ended: list[bool] = []

    def is_known() -> bool:
        info = place.info("persistence")
        if info["aof_last_bgrewrite_status"] != "ok":
            ended.append(True)
        elif not is_rewriting(info):
            ended.append(False)
        return bool(ended)

    wait_for(f"{place.name} does not end the rewrite of its log", is_known)
    return ended[0]


def _rewritten(place: Place) -> bool:
    """Whether the last rewrite and the last snapshot went well, and none goes on; begins one where the last did not."""
    info = place.info("persistence")
    if is_rewriting(info) or info["rdb_bgsave_in_progress"] != "0":
        return False
    rewrite = [("BGREWRITEAOF",)] if info["aof_last_bgrewrite_status"] != "ok" else []
    snapshot = [("BGSAVE", "SCHEDULE")] if info["rdb_last_bgsave_status"] != "ok" else []
    for command in rewrite + snapshot:
        with suppress(DrillFailed):  # one may have begun by itself meanwhile, for the log has grown
            place.operator(*command)
    return not rewrite and not snapshot


def _rewrites(place: Place) -> bool:
    return place.info("persistence")["aof_rewrite_in_progress"] == "1"

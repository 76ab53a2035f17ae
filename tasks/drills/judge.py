"""What the numbers of a drill mean: how much was lost and how late, how fast answers came. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.catalogue.roles import Role
from tasks.steps.witness import Witness

EVERYSEC = 2.0  # seconds: one until the next fsync, and it may take the next one as long as that
# Seconds. A write may wait two for the disk while a log is rewritten (everysec); go-redis gives up after three.
ANSWERED = 3.0
ENOUGH = 100  # answers from which on the 99th of a hundred is another than the slowest
DRAWN = 0.05  # seconds between two points of one wait: closer than a plot takes for a hole, however fast the others are


@dataclass(frozen=True)
class Loss:
    """Acknowledged writes that are gone: how many of how many, and the longest time before the end of one of them."""

    lost: int
    acknowledged: int
    seconds: float


def loss(lost: Sequence[float], acknowledged: Sequence[float], end: float) -> Loss:
    """`lost` and `acknowledged` are the times of acknowledgements, `end` is when the power went."""
    return Loss(len(lost), len(acknowledged), max((end - when for when in lost), default=0.0))


def power_problem(role: Role, found: Loss) -> str:
    """What a power cut took beyond the role's promise; empty when it kept it."""
    if not role.appendonly or role.appendfsync == "no" or not found.lost:
        return ""
    allowed = 0.0 if role.appendfsync == "always" else EVERYSEC
    if not allowed or found.seconds > allowed:
        some = f"{found.lost} of {found.acknowledged} acknowledged writes are lost"
        return f"{some}, the oldest {found.seconds:.2f} s before the cut, expected at most {allowed:.0f} s"
    return ""


def crash_problem(role: Role, lost: Sequence[Witness], acknowledged: Sequence[Witness], saved: int) -> str:
    """Why a crash cost more than a role promises; empty when it did not. `saved`: how many a snapshot had before."""
    kept = acknowledged if role.appendonly else acknowledged[:saved]
    return loss_problem([item for item in lost if item in kept], kept)


def loss_problem(lost: Sequence[Witness], acknowledged: Sequence[Witness]) -> str:
    """How many acknowledged writes are gone, of each way in which they were made; empty when none is."""
    if not lost:
        return ""
    total, gone = (Counter(item.what for item in items) for items in (acknowledged, lost))
    ways = ", ".join(f"{what} {count} of {total[what]}" for what, count in gone.items())
    some = f"{len(lost)} of {len(acknowledged)} acknowledged writes are gone"
    return f"{some}, expected none: written {ways}; the first is {lost[0].keys[0]}"


def slow_problem(seconds: Sequence[float], when: str) -> str:
    """Why clients would not call that answered; empty when they would. `when`: words that follow the number."""
    if not seconds:
        return f"nobody asked anything {when}: nothing is proved"
    slowest = max(seconds)
    return f"an answer took {slowest:.1f} s {when}, expected at most {ANSWERED:.0f} s" if slowest > ANSWERED else ""


def restart_problem(before: str, after: str, what: str) -> str:
    """Why a server was not left running through `what`, from its main process before and after; empty when it was."""
    if before == after and before not in ("", "0"):
        return ""
    return f"its process was {before} before {what} and is {after}, expected the same: something restarted it"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0…1) of all values do not exceed; 0 of none."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True)
class Filling:
    """What came of writing beyond the limit: taken and refused writes, evictions, kept keys that are gone.

    `evicted` and `expired` are the server's own counts until the rest, `left`, was removed: of any key.
    """

    taken: int
    refused: int
    evicted: int
    lost: int  # of those without a TTL, acknowledged before
    expired: int = 0
    left: int = 0

    @property
    def others(self) -> int:
        """Keys that were evicted or expired beside those that were written."""
        return max(0, self.evicted + self.expired + self.left - self.taken)


def account_problem(found: Filling) -> str:
    """Of the keys that were taken, those that nobody accounts for; empty when there are none."""
    gone = found.taken - found.left - found.evicted - found.expired
    return f"{gone} of {found.taken} keys are gone, neither evicted nor expired" if gone > 0 else ""


def full_problems(role: Role, with_ttl: Filling, without_ttl: Filling | None) -> list[str]:
    """What a full role did that its policy does not promise."""
    policy, found = role.maxmemory_policy, []
    if policy == "noeviction":
        if not with_ttl.refused:
            found.append("no write was refused, expected refusals at the limit")
        if with_ttl.evicted or with_ttl.lost:
            found.append(f"{with_ttl.evicted} keys evicted, {with_ttl.lost} lost, expected every key kept")
        return found
    if with_ttl.refused or not with_ttl.evicted:
        found.append(f"{with_ttl.refused} writes refused and {with_ttl.evicted} keys evicted, expected evictions only")
    if policy.startswith("volatile"):
        if with_ttl.lost:
            found.append(f"{with_ttl.lost} keys without a TTL are gone, expected those with one only")
        if without_ttl is not None and (not without_ttl.refused or without_ttl.lost):
            found.append(
                f"with no TTL left: {without_ttl.refused} writes refused and {without_ttl.lost} keys gone, expected "
                "refusals and no loss"
            )
    return found


def shares(seconds: Sequence[float]) -> Mapping[str, float]:
    """p50, p99 and max of answers, in milliseconds; nothing of none, and no p99 where it would be the max."""
    if not seconds:
        return {}
    p99 = {"p99": 1000 * percentile(seconds, 0.99)} if len(seconds) >= ENOUGH else {}
    return {"p50": 1000 * percentile(seconds, 0.5), **p99, "max": 1000 * max(seconds)}


@dataclass(frozen=True)
class Answer:
    """A question that was answered: when it was asked and how long that took, in seconds."""

    asked: float
    took: float

    @property
    def ended(self) -> float:
        """When it was answered."""
        return self.asked + self.took


def waited(answers: Sequence[Answer], first: float, last: float) -> list[Answer]:
    """Those for which somebody waited at any moment from `first` to `last`, whenever they were asked."""
    return [item for item in answers if item.asked <= last and item.ended >= first]


def unasked(answers: Sequence[Answer], first: float, last: float) -> float:
    """The longest time from `first` to `last` in which nobody waited for an answer. They are in order of time."""
    longest, at = 0.0, first
    for item in answers:
        longest, at = max(longest, min(item.asked, last) - at), max(at, item.ended)
    return max(longest, last - at)


def curve(answers: Sequence[Answer]) -> tuple[tuple[float, float], ...]:
    """What a plot shows of them: milliseconds at the time of asking, and a long wait to its end."""
    points: list[tuple[float, float]] = []
    for item in answers:
        times = [item.asked + DRAWN * step for step in range(math.ceil(item.took / DRAWN))] or [item.asked]
        ends = [item.ended] if len(times) > 1 else []
        points += [(time, 1000 * item.took) for time in (*times, *ends)]
    return tuple(points)

"""Whether a standby may be put in the place of its primary, which is lost, and what that gives up. Pure.

Nobody can know from here that a host is off: a person says it, and nothing of that host may contradict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tasks.catalogue.printable import printable
from tasks.desired.host import Pair
from tasks.observed.answer import Answer


@dataclass(frozen=True)
class NotReached:
    """How SSH does not get to a host: who answered, and what was said of it."""

    answer: Answer
    why: str

    def __str__(self) -> str:
        return f"for {self.answer.value} ({printable(self.why)[:200]})"


NEVER = 1  # the offset of one that was never in sync since its start (replication.c, genRedisInfoString)


@dataclass(frozen=True)
class Lag:
    """What a standby may lack: seconds since it heard of its primary at most, and bytes that it has not applied."""

    seconds: int | None
    pending: int | None
    offset: int | None
    since_start: bool  # whether it was never in sync since its start, so that it has what was on its disk then

    def __str__(self) -> str:
        if self.since_start or self.seconds is None:
            when = "it has not been in sync since it was started, and has what was on its disk then"
        else:
            when = f"it heard of its primary {self.seconds} s ago at most"
        pending = "an unknown number of" if self.pending is None else self.pending
        offset = "" if self.offset is None or self.since_start else f", up to byte {self.offset} of its history"
        return (
            f"{when}, and has {pending} bytes of that not applied{offset}: what was acknowledged later than that is "
            "given up"
        )


def lag(info: Mapping[str, str], timeout: int) -> Lag:
    """What a standby says of how far it came. `timeout`: seconds of silence after which it gives a link up."""
    applied, received = (_number(info.get(name)) for name in ("slave_repl_offset", "slave_read_repl_offset"))
    pending = received - applied if applied is not None and received is not None and received >= applied else None
    heard, down = (_number(info.get(f"master_{name}")) for name in LAST)
    # A link that is down was silent for that long before it was found to be, at most.
    seconds = heard if info.get("master_link_status") == "up" else None if down is None else down + timeout
    never = applied is None or applied <= NEVER
    return Lag(None if never else seconds, pending, applied, never)


LAST = ("last_io_seconds_ago", "link_down_since_seconds")


def _number(text: str | None) -> int | None:
    return int(text) if text and len(text) < 19 and text.isascii() and text.isdecimal() else None


def promotion_problems(
    pair: Pair,
    info: Mapping[str, str],
    keys: int | None,
    ssh: NotReached | None,
    old_is_off: bool,
    data_is_lost: bool | None = None,
) -> Iterator[str]:
    """Why a standby may not be promoted, in words, and what to do. All of them at once.

    `info`: of its server; `keys`: that it has; `ssh`: how SSH does not get to the other host, None where it does. Where
    what leads there got no word of that host, the word of the person counts, beside what that host's own probe hears.
    `data_is_lost`: of a primary whose host is there, and has nothing of the role, whether a person says so.
    """
    yield from _of_the_host(pair, ssh, data_is_lost)
    if info.get("role") != "slave":
        yield f"its server says that it is {printable(info.get('role', 'nothing'))[:20]}, expected a standby"
    elif info.get("master_sync_in_progress") == "1" or info.get("loading") == "1":
        yield "its server is amid taking over all data, and has none whole yet: wait until it has given that up"
    elif keys is None or (keys == 0 and (_number(info.get("slave_repl_offset")) or NEVER) <= NEVER):
        yield (
            "its server has no key and was not in sync since it was started, expected what its primary had: bring that "
            "one's disk back, or restore a backup (docs/runbook.md, Host installed anew)"
        )
    if info.get("role") == "slave" and (strays := _strays(pair, info)):
        yield strays
    if not old_is_off and data_is_lost is None:
        yield (
            f"nobody has said that {pair.peer} is off: when its power is, and stays so until you deploy, add --data "
            "old_is_off=true; if it only cannot be reached, it serves on, and both would take writes"
        )


def _strays(pair: Pair, info: Mapping[str, str]) -> str:
    """Why a standby is not that of the host that is off: another one may serve beside it. Empty of one that is."""
    follows = f"{info.get('master_host')}:{info.get('master_port')}"
    there = f"{pair.there[0]}:{pair.there[1]}"
    if follows == there:
        return ""
    groups = f"groups redis_{pair.role} and redis_{pair.role}_standby"
    return (
        f"its server follows {printable(follows)[:100]}, expected {pair.peer} at {there}: see what that is: where it "
        f"serves {pair.role}, put its host back into the pair ({groups}), deploy, and hand over; where its host is "
        "lost, put it back into its group all the same, and promote then"
    )


def _of_the_host(pair: Pair, ssh: NotReached | None, data_is_lost: bool | None) -> Iterator[str]:
    if ssh is None and data_is_lost is False:
        yield (
            f"{pair.peer} is there, and has nothing of it: if the disk is only not there, mount it; where its data is "
            "lost for good, add --data old_data_is_lost=true: that host is kept from its next start first"
        )
    elif ssh is None and data_is_lost is None:
        yield (
            f"{pair.peer} answers SSH, expected a host that is off: hand over instead: tasks/handover.py --data "
            f"handover={pair.role}; if its server cannot run any more, switch that host off first"
        )
    elif ssh is not None and ssh.answer.is_of_the_host:
        yield (
            f"{pair.peer} answers SSH, {ssh}, expected a host that is off: switch it off, at its power or its "
            "hypervisor"
        )
    elif ssh is not None and not ssh.answer.may_be_off:
        yield f"whether {pair.peer} answers SSH is not known, {ssh}, expected that it is tried: mend that first"

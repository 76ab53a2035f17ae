"""Copies of a role: which one a restore takes, and what speaks against putting it in the place of data. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.catalogue.backup import place_of
from tasks.catalogue.data_names import ANYWAY_RESTORE, AT
from tasks.compare.backups import SLACK, Record, in_words
from tasks.compare.fitness import redis_number
from tasks.desired.host import Instance
from tasks.desired.paths import NEW, REPLACED, data_directory, log_directory, snapshot_file
from tasks.observed.copies import RUN, Copy, ended_elsewhere, of_this_data
from tasks.observed.state import Observed, Server, count_keys

SETTLED = 7 * 86400  # seconds after which data that began empty on a new host is taken for the role's own
ROOM, RESERVE = 1.1, 256 << 20  # of a copy's size, and bytes that stay free, on the disk where it goes
WORDS = {"kind": "log|snapshot"} | dict.fromkeys(("low", "expires", "keys"), "[0-9]{1,15}")  # of a manifest
MOMENT = r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2})(:[0-9]{2})?Z?"


@dataclass(frozen=True)
class Wish:
    """What is asked for: which role, from which copy, and where it goes if not in the place of the role's data."""

    role: str
    at: str = ""
    into: str = ""
    anyway: bool = False


def choose(copies: Sequence[Copy], at: str, record: Record | None, now: int) -> tuple[Copy | None, str]:
    """The copy that is meant, and in words why that one, or why none. `copies`: the newest first. Pure.

    A time takes the newest that had ended by then, so that nothing in it is of later.
    """
    if not copies:
        return None, "there is no copy of it"
    if re.fullmatch(RUN, at):
        named = next((item for item in copies if item.run == at), None)
        return named, "" if named else f"no copy is of run {at}: see tasks/backup.py --data list=true"
    moment = _moment(at) if at else None
    if at and moment is None:
        return None, f"{at} is no time"
    ahead = [item for item in copies if item.at.timestamp() > now + SLACK]
    copies = [item for item in copies if item not in ahead]
    copy, why = _chosen(copies, at, moment, record, now)
    odd = [f"the copy of run {item.run} is of a time to come, {item.at:%Y-%m-%d %H:%M:%S} UTC" for item in ahead[:1]]
    more = f", and {len(ahead) - 1} more" if len(ahead) > 1 else ""
    clock = f"{odd[0]}{more}: a clock was ahead, it is taken by its run only" if odd else ""
    return copy, f"{why}; {clock}" if odd and (why or copy) else f"{why}{clock}"


def _chosen(
    copies: Sequence[Copy], at: str, moment: datetime | None, record: Record | None, now: int
) -> tuple[Copy | None, str]:
    if not copies:
        return None, "there is no other copy of it"
    offered, why = offered_copies(copies, record, now, moment)
    if not offered or moment is None:
        return (offered[0] if offered else None), why
    before = next((item for item in offered if item.at <= moment), None)
    if before is not None:
        return before, why
    other = next((item for item in copies if item.at <= moment and item not in offered), None)
    aside = (
        "" if other is None else f"; of other data there is one of run {other.run}: name that by {AT}= if it is meant"
    )
    return None, f"no copy is of {at} UTC or before: the oldest is of {offered[-1]}{aside}"


def offered_copies(
    copies: Sequence[Copy], record: Record | None, now: int, moment: datetime | None = None
) -> tuple[list[Copy], str]:
    """The copies that a restore takes unless one is named, the newest first, and in words which, or why none. Pure.

    Those of the data that this host has, or goes on with: never what another host copies that was replaced by it, or
    that it is to be replaced by. A host that began empty lately takes the data that was before; at a `moment` since it
    began, its own.
    """
    own = record.life if record else ""
    ended = ended_elsewhere(copies)
    others = _lives([item for item in copies if item.life not in {own, *ended}])
    if own in ended:
        return [], (
            "the data of this host was restored on another one, which goes on with it: name the copy that is meant "
            f"by its run, {AT}=, as tasks/backup.py --data list=true shows it"
        )
    mine = of_this_data(copies, own, record.after) if record is not None and own else []
    if record is not None and own and (_is_settled(record, now) or not others):
        return mine, "" if mine else f"no copy is of this host's data: name the one that is meant by its run, {AT}="
    if moment is not None and any(item.at <= moment for item in mine):
        return mine, ""
    if record is not None and own and (record.begun != "empty" or record.first > now + SLACK):
        return [], f"it is not known whether it began empty on this host {_ago(record, now)}: {_which(mine, copies)}"
    if len(others) != 1:
        found = "of data of several hosts" if others else "of data that another host goes on with"
        return [], f"its copies are {found}: name the one that is meant by its run, {AT}= (--data list=true shows them)"
    line = of_this_data(copies, others[0])
    if record is None or not own:
        return line, ""
    if mine and line and (mine[0].keys or 0) >= (line[0].keys or 0) > 0:  # data may have been carried here by hand
        return [], f"it began empty on this host {_ago(record, now)} and has data since: {_which(mine, line)}"
    newest = mine[0].run if mine else "none"
    return line, (
        f", the last one from before the role began anew on this host {_ago(record, now)} (its "
        f"own newest is of run {newest}: name that by {AT}=)"
    )


def set_back(copies: Sequence[Copy], record: Record | None, repository: str) -> str:
    """In words, that a repository has not what this host stored there last; empty where it has, or nothing is known."""
    if record is None or not record.run or record.where != place_of(repository):
        return ""
    if any(item.run == record.run for item in copies):
        return ""
    return (
        f"this host made a copy of run {record.run}, of {datetime.fromtimestamp(record.good, UTC):%Y-%m-%d %H:%M:%S} "
        "UTC, which its repository has not: it was set back, or somebody deleted it"
    )


def _is_settled(record: Record, now: int) -> bool:
    """Whether the data that a host has is the role's own: it came there, or has been there for long."""
    return bool(record.after) or record.begun == "data" or now - record.first >= SETTLED


def _ago(record: Record, now: int) -> str:
    return f"{in_words(max(now - record.first, 0))} ago"


def _which(mine: Sequence[Copy], others: Sequence[Copy]) -> str:
    """The runs that a person chooses from."""
    before = [item for item in others if item not in mine]
    own, other = (f"of run {items[0].run}, with {_keys(items[0])}" if items else "none" for items in (mine, before))
    return f"its own newest is {own}, the newest from before {other}: name the one that is meant by its run, {AT}="


def _keys(copy: Copy) -> str:
    return "an unknown number of keys" if copy.keys is None else f"{copy.keys} keys"


def _lives(copies: Sequence[Copy]) -> list[str]:
    """The lives of the copies, of each machine the last one: it has one at a time. Of an unknown machine all.

    Machines that were made of one image may say that they are the same: a host's own life is none of `copies`.
    """
    found: dict[str, str] = {}
    for item in copies:
        if item.life and item.life not in found.values():
            found.setdefault(item.machine or item.life, item.life)
    return list(found.values())


def cut_second(at: str, begins: str, now: int) -> int | None:
    """The last second of a role's own log that was before `at`; None where that is no time, or the log is none for it.

    `begins`: from which second on it says when what was written. Pure.
    """
    moment = _moment(at)
    if moment is None or not re.fullmatch("[0-9]{1,12}", begins):
        return None
    last = int(moment.timestamp()) - 1
    return last if int(begins) <= last < now else None


def _moment(text: str) -> datetime | None:
    """13:00 is 13:00:00: what was written a second later is in no copy that had ended by then."""
    match = re.fullmatch(MOMENT, text)
    try:
        return datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3] or ':00'}+00:00") if match else None
    except ValueError:
        return None


def unfit_copy(instance: Instance, observed: Observed, copy: Copy, wish: Wish) -> list[str]:
    """Why a copy cannot take the place of a role's data. Pure."""
    problems = []
    installed, made_by = redis_number(observed.packages.get("redis-server", "")), redis_number(copy.server)
    if installed is None or (made_by is not None and made_by > installed):
        has = "none" if installed is None else f"{installed[0]}.{installed[1]}"
        problems.append(
            f"the copy is of Redis {copy.server}, this host has {has}, expected as new a one: an older server does not "
            "load it (it has another format); upgrade the host first"
        )
    if not wish.anyway:
        words = _for_a_word(copy, wish)
        problems += [f"{item}: name another, or add --data {ANYWAY_RESTORE}=true" for item in words]
    free = observed.free_of.get(data_directory(instance.name), observed.disk_free)
    needed = int(copy.size * ROOM) + RESERVE
    if "disk" not in observed.unseen and free < needed:
        problems.append(
            f"no room: {data_directory(instance.name)} has {_size(free)} free, expected {_size(needed)}: {ROOM} times "
            f"the copy's {_size(copy.size)}, and {_size(RESERVE)} for its server: what is in place is kept; free space "
            "or enlarge the disk"
        )
    return problems


def passed_by(copy: Copy, wish: Wish) -> list[str]:
    """What speaks against a copy, and is passed by by a person's word. Pure."""
    return _for_a_word(copy, wish) if wish.anyway else []


def _for_a_word(copy: Copy, wish: Wish) -> list[str]:
    problems = []
    if redis_number(copy.server) is None:
        problems.append(
            "the version of Redis that the copy is of is not known, an older server may not load it, as its proof tells"
        )
    if copy.role != wish.role:
        problems.append(f"the copy is of {copy.role}, expected one of {wish.role}")
    return problems


def _size(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def in_place(instance: Instance, observed: Observed) -> str:
    """What a restore sets aside, in words. Pure."""
    server = observed.servers.get(instance.name, Server())
    keys = f"{count_keys(server.info)[0]} keys" if server.info else "an unknown number of keys"
    own = (log_directory(instance.role), snapshot_file(instance.role))
    times = [
        state.modified
        for path, state in observed.stored.items()
        if path.startswith(own) and NEW not in path and REPLACED not in path and state.kind == "file"
    ]
    last = f"written to last {datetime.fromtimestamp(max(times), UTC):%Y-%m-%d %H:%M:%S} UTC" if times else "no file"
    return f"{keys}, {last}, which is kept beside it"


def manifest(text: str) -> Mapping[str, str]:
    """The single words of a copy's manifest that are used here; what is of another form is not known. Pure."""
    fields = (line.partition(" ")[::2] for line in text.split("\n"))
    return {name: value for name, value in fields if name in WORDS and re.fullmatch(WORDS[name], value)}

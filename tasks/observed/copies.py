"""Copies of a role off its host, as restic lists them: those that are whole (docs/decisions/0025). Typed, and pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.catalogue.printable import excerpt
from tasks.observed.records import Unreadable

RUN, LIFE = "[0-9a-f]{16}", "[0-9a-f]{16}"
ROLE = "[a-z][a-z0-9_-]{0,30}"
FIELDS = {  # of a manifest's tags, beside its role and run
    "life": LIFE,
    "keys": "[0-9]{1,15}|unknown",
    "server": r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}",
    "bytes": "[0-9]{1,15}",
    "newest": "[0-9]{1,12}",
}
OPTIONAL = {"machine": "[0-9a-f]{16}", "after": f"{LIFE}-[0-9]{{1,12}}"}
SHOWN = 40  # characters of what is odd


@dataclass(frozen=True)
class Copy:
    """A role at one moment: nothing in it is of later than `at`. `newest`: when it was last written to.

    `life`: of which data it is. Data that begins empty on a new host is another life, and so is what a host makes of
    another's copy: `after` is then of which life, and until which moment. `machine`: which one made it, empty where
    that is not known. `keys`, `server`, `size` are None, empty and 0 where not known; `odd`: what is not as this tool
    writes it, in words.
    """

    role: str
    run: str
    life: str
    at: datetime
    host: str
    keys: int | None
    server: str
    size: int
    newest: int
    machine: str = ""
    after: str = ""
    odd: tuple[str, ...] = ()

    def __str__(self) -> str:
        keys = "an unknown number of keys" if self.keys is None else f"{self.keys} keys"
        server = f"Redis {self.server}" if self.server else "an unknown version of Redis"
        odd = f", odd: {'; '.join(self.odd)}" if self.odd else ""
        return f"{self.at:%Y-%m-%d %H:%M:%S} UTC of {self.host}, {keys}, {server}, run {self.run}{odd}"


def read_copies(text: str) -> tuple[Copy, ...]:
    """The whole copies in what `restic snapshots --json` prints, the newest first. Raises Unreadable."""
    try:
        rows = json.loads(next((line for line in text.splitlines() if line.startswith("[")), "null"))
    except (ValueError, RecursionError) as error:
        raise Unreadable("the list of copies is no JSON") from error
    if rows is None:
        return ()  # of a repository without a snapshot
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unreadable("the list of copies is none")
    copied = {_tags(row).get("run") for row in rows if "copy" in _words(row)}
    found = [copy for row in rows if "manifest" in _words(row) and (copy := _copy(row)) and copy.run in copied]
    return tuple(sorted(found, key=lambda item: (item.at, item.run), reverse=True))


def _words(row: Mapping[str, Any]) -> list[str]:
    tags = row.get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, found, value in (tag.partition("=") for tag in _words(row)) if found}


def _copy(row: Mapping[str, Any]) -> Copy | None:
    """The copy that a manifest speaks of; None of one that this tool has not written.

    The role's files and server have a part in what is said of it. What of that is odd hides no copy: it is not known.
    """
    tags, host, at = _tags(row), row.get("hostname"), _time(row.get("time"))
    if at is None or not isinstance(host, str) or not re.fullmatch("[A-Za-z0-9_.-]{1,255}", host):
        return None
    if not re.fullmatch(ROLE, tags.get("role", "")) or not re.fullmatch(RUN, tags.get("run", "")):
        return None
    forms = {**FIELDS, **{name: form for name, form in OPTIONAL.items() if name in tags}}
    odd = [name for name, form in forms.items() if not re.fullmatch(form, tags.get(name, ""))]
    known = {name: "" if name in odd else tags.get(name, "") for name in (*FIELDS, *OPTIONAL)}
    return Copy(
        role=tags["role"],
        run=tags["run"],
        life=known["life"],
        at=at,
        host=host,
        keys=int(known["keys"]) if known["keys"].isdigit() else None,
        server=known["server"],
        size=int(known["bytes"] or 0),
        newest=int(known["newest"] or 0),
        machine=known["machine"],
        after=known["after"],
        odd=tuple(f"{name} {excerpt(tags.get(name, ''), SHOWN)}" for name in odd),
    )


def _time(value: object) -> datetime | None:
    match = (
        re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$", value)
        if isinstance(value, str)
        else None
    )
    if match is None:
        return None
    try:
        return datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")).astimezone(UTC)
    except ValueError:
        return None


def goes_on_from(after: str) -> tuple[str, int]:
    """The life that another goes on from, and until which second: of `LIFE-SECONDS`; ("", 0) of nothing."""
    life, _, until = after.partition("-")
    return life, int(until or 0)


def of_this_data(copies: Sequence[Copy], life: str, after: str = "") -> list[Copy]:
    """The copies of a life, and of those that it goes on from until it did; in their order.

    `after` as that life's record says, where it has no copy yet.
    """
    until: dict[str, int] = {}
    limit = None
    while life and life not in until:
        until[life] = limit if limit is not None else 1 << 60
        said = next((item.after for item in copies if item.life == life and item.after), after)
        after = ""
        life, limit = goes_on_from(said)
    return [item for item in copies if item.life and item.at.timestamp() <= until.get(item.life, -1)]


def ended_elsewhere(copies: Sequence[Copy]) -> set[str]:
    """Lives that another goes on from: what their own host has copied since is not what is served."""
    from_which = ((item.life, goes_on_from(item.after)[0]) for item in copies if item.after)
    return {before for life, before in from_which if before != life}

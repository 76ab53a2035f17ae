"""Copies of a role off its host, as restic lists them: those that are whole (docs/decisions/0025). Typed, and pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.observed.records import Unreadable

FIELDS = {  # of a manifest's tags
    "role": r"[a-z][a-z0-9_-]{0,30}",
    "run": "[0-9a-f]{16}",
    "life": "[0-9a-f]{16}",
    "keys": "[0-9]{1,15}|unknown",
    "server": r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}",
    "bytes": "[0-9]{1,15}",
    "newest": "[0-9]{1,12}",
}


@dataclass(frozen=True)
class Copy:
    """A role at one moment. `keys` is None where its server could not be asked; `newest`: when it was last written to.

    `life`: of which data it is: one that began empty on a new host begins another.
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

    def __str__(self) -> str:
        keys = "an unknown number of keys" if self.keys is None else f"{self.keys} keys"
        return f"{self.at:%Y-%m-%d %H:%M:%S} UTC of {self.host}, {keys}, Redis {self.server}, run {self.run}"


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
    """The copy that a manifest speaks of; None of one that this tool has not written."""
    tags, host, at = _tags(row), row.get("hostname"), _time(row.get("time"))
    if at is None or not isinstance(host, str) or not re.fullmatch("[A-Za-z0-9_.-]{1,255}", host):
        return None
    if not all(re.fullmatch(form, tags.get(name, "")) for name, form in FIELDS.items()):
        return None
    keys = None if tags["keys"] == "unknown" else int(tags["keys"])
    size, newest = int(tags["bytes"]), int(tags["newest"])
    return Copy(tags["role"], tags["run"], tags["life"], at, host, keys, tags["server"], size, newest)


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


def lives(copies: Iterable[Copy]) -> tuple[str, ...]:
    """The lives of the copies, that of the newest first."""
    return tuple(dict.fromkeys(item.life for item in copies))

"""What a dataset lost, gained or has otherwise after something happened to its server."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tests.hosts.dataset.capture import NEVER, Dataset, Entry

ABSENT = "absent"
# Redis 7.0 does not write to its log how many entries a group has read. The count tells how far the group lags behind,
# and is unknown again whenever entries were deleted.
FORGOTTEN = re.compile(r" entries-read: \d+ → None$")


def differences(before: Dataset, after: Dataset, besides: Collection[bytes] = ()) -> list[str]:
    """One line for each part of each key, and for each library of functions, that is not as before; empty when equal.

    What ran out by its TTL in between is no difference. Left alone are keys that begin with one of `besides`, which
    somebody else writes at the same time.
    """
    lines = []
    for db, name in sorted(before.keys.keys() | after.keys.keys()):
        if not name.startswith(tuple(besides)):
            old, new = before.keys.get((db, name)), after.keys.get((db, name))
            lines += [f"db{db} {name!r} {what}" for what in _changes(old, new, after.taken)]
    if before.version < (8,):
        lines = [line for line in lines if not FORGOTTEN.search(line)]
    libraries = _unlike(before.functions, after.functions)
    return lines + [f"library {name!r}: {old!r} → {new!r}" for name, old, new in libraries]


def _changes(before: Entry | None, after: Entry | None, now: int) -> Iterator[str]:
    if before is None or after is None:
        if before is None or not _ran_out(before, now):
            yield f"({(before or after).type}): {_word(before)} → {_word(after)}"  # type: ignore[union-attr]
        return
    if before.type != after.type:
        yield f"({before.type}): {before.type} → {after.type}"
        return
    if before.expires != after.expires:
        yield f"({before.type}): expires at {_time(before.expires)} → {_time(after.expires)}"
    for part, old, new in _unlike(_lasting(before, now), _lasting(after, now)):
        yield f"({before.type}): {part}: {old!r} → {new!r}"
    for part, old, new in _unlike(before.expiries, after.expiries):
        if part in _lasting(before, now):
            yield f"({before.type}): {part} expires at {old} → {new}"


def _ran_out(entry: Entry, now: int) -> bool:
    """Whether nothing of it is left by itself."""
    return NEVER < entry.expires <= now or not _lasting(entry, now)


def _lasting(entry: Entry, now: int) -> dict[str, object]:
    return {part: value for part, value in entry.parts.items() if entry.expiries.get(part, now + 1) > now}


def _unlike(before: Mapping[Any, object], after: Mapping[Any, object]) -> list[tuple[Any, object, object]]:
    names = sorted(before.keys() | after.keys())
    pairs = [(name, before.get(name, ABSENT), after.get(name, ABSENT)) for name in names]
    return [(name, old, new) for name, old, new in pairs if old != new]


def _word(entry: Entry | None) -> str:
    return ABSENT if entry is None else "present"


def _time(expires: int) -> str:
    return "never" if expires == NEVER else str(expires)

"""Moments as people read them and as files keep them: `2026-01-31 12:00:00 UTC`. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

FORM = "%Y-%m-%d %H:%M:%S UTC"


def in_utc(seconds: int) -> str:
    """A moment in seconds since the epoch as a person reads it."""
    return datetime.fromtimestamp(seconds, UTC).strftime(FORM)


def from_utc(text: object) -> int:
    """What `in_utc` was told; 0 for what is no such text."""
    try:
        return max(0, int(datetime.strptime(str(text), FORM).replace(tzinfo=UTC).timestamp()))
    except ValueError:
        return 0

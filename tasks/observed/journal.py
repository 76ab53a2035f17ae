"""What an instance has said since it started, from the host's journal: bounded, and as data."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence

from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.observed.state import is_unwritten

BYTES = 64 << 10  # of each journal: what is said while loading stands at its beginning
BEGINS = "Redis is starting"  # in the first line of every start, 7.0 and 8.0

Said = tuple[str, ...]


def said_since_start(state: State, host: Host, units: Sequence[str]) -> dict[str, Said]:
    """unit → the first lines of its journal since its last start, oldest first; nothing for one that has none."""
    output = run_command(state, host, script("read-journals", *units, bytes=BYTES)).stdout
    return read_said(output.split("\n"), units)


def read_said(lines: Iterable[str], units: Sequence[str]) -> dict[str, Said]:
    """The output of read-journals.sh by unit; a line of another form is none of it."""
    said: dict[str, Said] = {}
    for line in lines:
        number, _, text = line.partition(" ")
        if re.fullmatch("[0-9]{1,4}", number) and int(number) < len(units):
            try:
                content = base64.b64decode(text, validate=True).decode(errors="replace")
            except binascii.Error:
                continue
            said[units[int(number)]] = tuple(content.splitlines())
    return said


def reaches_start(said: Said) -> bool:
    """Whether the journal still has the beginning of the start."""
    return bool(said) and BEGINS in said[0]


def has_reason(info: Mapping[str, str], log_size: int) -> bool:
    """Whether a server's counters tell of commands that it skipped or cut off while loading, or were set back since.

    `log_size`: bytes of its log on disk, from before it was asked. What a start cuts off its log stays in its own count
    of them until it writes the log anew; what clients wrote meanwhile looks the same.
    """
    cut = is_unwritten(info) and int(info.get("aof_current_size", "0")) > log_size
    return info.get("unexpected_error_replies", "0") != "0" or "cmdstat_config|resetstat" in info or cut

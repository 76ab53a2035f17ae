"""What an instance has said since it started, from the host's journal: bounded, and as data."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence

from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.observed.connection import run_command
from tasks.observed.script import script

BYTES = 64 << 10  # of each journal: what is said while loading stands at its beginning
BEGINS = "Redis is starting"  # in the first or second line of every start, 7.0 and 8.0
READY = "eady to accept connections"  # in a line after the data has been loaded, 7.0 and 8.0

Said = tuple[str, ...]


def said_since_start(state: State, host: Host, units: Sequence[str]) -> dict[str, Said]:
    """unit → the first lines of its journal since its last start, oldest first; nothing for one that has none."""
    output = run_command(state, host, script("read-journals", *units, bytes=BYTES)).stdout
    return read_said(output.split("\n"), units)


def read_said(lines: Iterable[str], units: Sequence[str]) -> dict[str, Said]:
    """The output of read-journals.sh by unit; a line of another form is none of it."""
    said: dict[str, Said] = {}
    asked = {str(number): unit for number, unit in enumerate(units)}
    for line in lines:
        number, _, text = line.partition(" ")
        if number in asked:
            try:
                content = base64.b64decode(text, validate=True).decode(errors="replace")
            except binascii.Error:
                continue
            lines_said = content.splitlines()
            # The last one may be cut in the middle, and mean something else.
            said[asked[number]] = tuple(lines_said[:-1] if len(content.encode()) >= BYTES else lines_said)
    return said


def reaches_start(said: Said) -> bool:
    """Whether the journal still has the beginning of the start."""
    return any(BEGINS in line for line in said[:2])


def reaches_end_of_loading(said: Said) -> bool:
    """Whether the journal has all that was said while the data was loaded: it comes after the server itself."""
    return any(READY in line for line in said)

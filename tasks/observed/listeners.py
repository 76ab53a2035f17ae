"""Read who listens on a host from what ss prints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tasks.catalogue.printable import excerpt
from tasks.observed.records import Unreadable
from tasks.observed.state import Listener

BREAKS = 60  # lines that a few processes of one socket may break it into

# A process gives itself any name of up to 15 bytes, with quotes, brackets and line breaks too. The pattern has to match
# the whole, and such a name is too short to hold another process' end and begin.
_PROCESS = r'\("((?s:.{0,15}))",pid=([0-9]{1,10}),fd=[0-9]+\)'
_LISTENER = re.compile(
    rf"LISTEN +[0-9]+ +[0-9]+ +([^ ]+):([0-9]{{1,5}}) +[^ ]+:\* *(?:users:\({_PROCESS}(?:,{_PROCESS})*\) *)?"
)


def read_listeners(lines: Iterable[str]) -> list[Listener]:
    """Lines of `ss -Hltnp`; one that is no whole socket goes on in the next, for a name breaks it.

    Raises Unreadable. A host that nobody listens on cannot be spoken to, so nothing is no answer.
    """
    found = list(_read(lines))
    if not found:
        raise Unreadable("ss printed nothing")
    return found


def _read(lines: Iterable[str]) -> Iterator[Listener]:
    whole: list[list[str]] = []
    for line in lines:
        if whole and (not line.startswith("LISTEN ") or _goes_on(whole[-1])):
            whole[-1].append(line)
        else:
            whole.append([line])
    for line in map("\n".join, whole):
        match = _LISTENER.fullmatch(line)
        if match is None:
            raise Unreadable(f"ss says {excerpt(line)}, expected a socket that listens")
        address = match[1].split("%")[0].strip("[]")
        pids = [int(number) for _, number in re.findall(_PROCESS, line[match.end(2) :])] or [0]
        yield Listener(address, int(match[2]), match[3] or "", pids[0], tuple(pids[1:]))


def _goes_on(lines: list[str]) -> bool:
    """Whether these are not a socket yet, and may become one: no name has more breaks than bytes."""
    return len(lines) <= BREAKS and not _LISTENER.fullmatch("\n".join(lines))

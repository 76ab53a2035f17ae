"""What a server said while it loaded its data: the lines that tell of writes it skipped, misread or cut off. Pure.

Read where it matters only: after a restart, and of a running server whose counters tell of such a loss.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tasks.observed.state import Server, is_unwritten

# Source: server.c, networking.c, aof.c and rdb.c of 7.0.15 and 8.0.2, each seen (docs/decisions/0009). A healthy start
# prints none of them, whatever it says of overcommit, the backlog, or a database that it could not find.
FAULTS = re.compile(
    r"""
    is\ sending\ an\ error\ to\ its\ AOF-loading-client   # a command of the log was refused and skipped
    | short\ read\ while\ loading\ the\ AOF
    | loaded\ anyway\ because\ aof-load-truncated         # a cut tail, with the bytes before it
    | [Tt]runcating\ the\ AOF
    | Revert\ incomplete\ MULTI
    | reading\ the\ append\ only\ file
    | Bad\ file\ format
    | Unexpected\ end\ of\ file
    | Internal\ error\ in\ RDB
    | RDB\ CRC\ error | Wrong\ RDB\ checksum
    | Fatal\ error\ loading\ the\ DB
    | Guru\ Meditation
    """,
    re.VERBOSE,
)
# Source: aof.c. The server has cut the file itself, and goes on behind the cut.
CUT_TAIL = re.compile("[Tt]runcating the AOF|Revert incomplete MULTI|loaded anyway because aof-load-truncated")
SHOWN = 300  # characters of a line


def load_faults(said: Iterable[str]) -> list[str]:
    """The lines of a server's journal since its start that tell of a loss or fault while it loaded its data."""
    return [line.strip()[:SHOWN] for line in said if FAULTS.search(line)]


def skipped(server: Server) -> int:
    """Commands of its log that a running server skipped when it started, and that are still in the log.

    A rewrite writes the log from memory: what was skipped is gone then, and no deploy can bring it back.
    """
    if not is_unwritten(server.info):
        return 0
    counted = int(server.info.get("unexpected_error_replies", "0"))
    return counted or sum("AOF-loading-client" in line for line in load_faults(server.said))


def is_only_cut(faults: Iterable[str]) -> bool:
    """Whether a start that goes on said of nothing else than a cut end: no command of its log was refused."""
    found = list(faults)
    return any(CUT_TAIL.search(line) for line in found) and not any("AOF-loading-client" in line for line in found)


def cut_tail(server: Server) -> str:
    """The line with which a running server said that it cut the end off its log when it started; empty if it did not.

    Until it writes the log anew: a cut inside a transaction leaves it open, and the next start puts all that was
    written since into that transaction and drops it (seen on 7.0.15 and 8.0.2; valkey 4342 mends it there).
    """
    if not is_unwritten(server.info):
        return ""
    return next((line for line in load_faults(server.said) if CUT_TAIL.search(line)), "")

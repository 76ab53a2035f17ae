"""What a server said while it loaded its data: the lines that tell of writes it skipped, misread or cut off. Pure.

Read where it matters only: after a restart, and of a running server whose counters tell of such a loss.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tasks.observed.state import Server, tells_of_skips

END_OF_LOG = "end of the log"  # the name of the difference for a log that a start has cut off

# A line as the journal has it: `PID:ROLE DAY MONTH YEAR TIME LEVEL TEXT`. What a client's function logs while it is
# loaded stands in such a line, too, after its beginning: hence everything is looked for at the beginning of TEXT.
BEGINNING = r"^(?:\d+:[A-Z]\ \d+\ \w+\ \d+\ [\d:.]+\ [#*]\ )"
SKIPPED = re.compile(
    rf"{BEGINNING}==\ CRITICAL\ ==\ This\ server\ is\ sending\ an\ error\ to\ its\ AOF-loading-client:\ '", re.VERBOSE
)
# The instance began with fewer databases than its data speaks of: a fault that the previous configuration has not.
TOO_FEW_DATABASES = re.compile(
    rf"""{BEGINNING}(?:
      ==\ CRITICAL\ ==\ .+\ AOF-loading-client:\ 'DB\ index\ is\ out\ of\ range'
    | FATAL:\ Data\ file\ was\ created\ with\ a\ Redis\ server\ configured\ to\ handle\ more\ than
    )""",
    re.VERBOSE,
)
# How a server ends that is told to panic at such a line; it says no more than the line.
PANIC = re.compile(rf"{BEGINNING}(?:Guru\ Meditation:|Redis\ \S+\ crashed\ by\ signal:)", re.VERBOSE)
CUT = re.compile(rf"{BEGINNING}!!!\ Truncating\ the\ AOF\ (?P<file>.+)\ at\ offset\ (?P<offset>\d+)\ !!!$", re.VERBOSE)
# Source: aof.c, rdb.c, networking.c, functions.c, debug.c of 7.0.15 and 8.0.2, with every such line that was seen in
# tests/unit/compare/load_lines.yaml. A healthy start prints none of them, whatever it says of overcommit, the backlog,
# or of descriptors it did not get.
GOES_ON = re.compile(  # and serves, without a part of its data
    rf"""
      {SKIPPED.pattern}
    | {CUT.pattern}
    | {BEGINNING}(?:
        !!!\ Warning:\ short\ read\ while\ loading\ the\ AOF\ file
      | AOF\ .+\ loaded\ anyway\ because\ aof-load-truncated\ is\ enabled
      | Revert\ incomplete\ MULTI/EXEC\ transaction\ in\ AOF\ file
      | rdbLoadObject\ skipping\ empty\ key:
      | Done\ loading\ RDB,.*\ empty\ keys\ skipped:
      )
    """,
    re.VERBOSE,
)
STOPS = re.compile(
    rf"""
      {TOO_FEW_DATABASES.pattern}
    | {BEGINNING}(?:
        (?:Unexpected\ end\ of\ file|Bad\ file\ format|Unrecoverable\ error|Unknown\ command\ '.*')
        \ reading\ the\ append\ only\ file
      | Fatal\ error:\ the\ truncated\ file\ is\ not\ the\ last\ file
      | Fatal\ error:\ can't\ open\ the\ (?:append\ log|AOF\ manifest|RDB)\ file
      | Fatal\ error\ loading\ the\ DB
      | The\ append\ log\ file\ .+\ doesn't\ exist:
      | Error\ reading\ the\ RDB\ (?:preamble\ of\ the\ AOF|base)\ file
      | Error\ truncating\ the\ AOF\ file | Last\ valid\ command\ offset\ is\ invalid
      | Can't\ seek\ the\ end\ of\ the\ AOF\ file | Unable\ to\ obtain\ the\ AOF\ file
      | Can't\ open\ the\ append-only\ file | Can't\ open\ or\ create\ append-only\ dir
      | Error\ trying\ to\ move\ the\ old\ AOF\ file | Error\ moving\ temp\ append\ only\ file
      | Short\ read\ or\ OOM\ loading\ DB\. | Wrong\ RDB\ checksum | Wrong\ signature\ trying\ to\ load\ DB
      | Can't\ handle\ RDB\ format\ version | Internal\ error\ in\ RDB | RDB\ has\ duplicated\ key
      | Terminating\ server\ after\ rdb\ file\ reading\ failure
      | Failed\ (?:creating\ function|loading\ library), | The\ RDB\ file\ contains\ (?:AUX\ )?module
      | Out\ Of\ Memory\ allocating
      )
    | {PANIC.pattern}
    | ^\*\*\*\ FATAL\ AOF\ MANIFEST\ FILE\ ERROR\ \*\*\*
    """,
    re.VERBOSE,
)
# Source: aof.c. The server has cut the file itself, and goes on behind the cut.
CUT_TAIL = re.compile("[Tt]runcating the AOF|Revert incomplete MULTI|loaded anyway because aof-load-truncated")
SHOWN = 300  # characters of a line


def load_faults(said: Iterable[str]) -> list[str]:
    """The lines of a server's journal since its start that tell of a loss or fault while it loaded its data."""
    return [line.strip()[:SHOWN] for line in said if GOES_ON.search(line) or STOPS.search(line)]


def faults_of(said: Iterable[str], info: Mapping[str, str]) -> list[str]:
    """What a start had wrong of a server that answers and has this INFO, in its own words where there are some.

    Of the lines only those that such a server can have said: a script or library of a service logs any text, line ends
    and all. What the counter knows and the journal has lost is said in ours.
    """
    faults = load_faults(said)
    if info.get("loading", "0") != "0":
        return faults
    counted = info.get("unexpected_error_replies", "0")
    found = [line for line in faults if GOES_ON.search(line) and (tells_of_skips(info) or not SKIPPED.search(line))]
    if counted != "0" and not any(map(SKIPPED.search, found)):
        found.append(f"{counted} commands of its log were skipped; its journal does not say which")
    return found


def is_cut_only(faults: Sequence[str]) -> bool:
    """Whether the end of a log was cut off, and nothing before it was skipped, which would still be in the log."""
    return any(map(CUT.search, faults)) and all(GOES_ON.search(line) and not SKIPPED.search(line) for line in faults)


def is_undone_by_more_databases(faults: Sequence[str]) -> bool:
    """Whether a start with more databases has none of these faults."""
    causes = [line for line in faults if not PANIC.search(line)]
    return bool(causes) and all(TOO_FEW_DATABASES.search(line) for line in causes)


def cut_tails(faults: Iterable[str]) -> list[str]:
    """Where files were cut, in words."""
    cuts = [match for line in faults if (match := CUT.search(line))]
    return [f"{match['file']} was cut at byte {match['offset']}" for match in cuts]


def bytes_cut(info: Mapping[str, str], sizes: Iterable[int]) -> int:
    """How much of its log a server cut off when it started, at least; 0 when that is not known.

    It still counts it in its own size, until its next rewrite. `sizes`: bytes of each file of the log now; what clients
    wrote since INFO makes the answer smaller.
    """
    return max(0, int(info.get("aof_current_size", "0")) - sum(sizes))


def skipped(server: Server) -> int:
    """Commands of its log that a running server skipped when it started, and that are still in the log.

    A rewrite writes the log from memory: what was skipped is gone then, and no deploy can bring it back. A log that
    somebody switched off meanwhile still has it, and switching it on again writes it anew.
    """
    if _was_rewritten(server):
        return 0
    counted = int(server.info.get("unexpected_error_replies", "0"))
    return counted or sum(bool(SKIPPED.search(line)) for line in server.said)


def cut_tail(server: Server) -> str:
    """The line with which a running server said that it cut the end off its log when it started; empty if it did not.

    Until it writes the log anew: a cut inside a transaction leaves it open, and the next start puts all that was
    written since into that transaction and drops it (seen on 7.0.15 and 8.0.2; valkey 4342 mends it there).
    """
    if server.info.get("aof_enabled", "0") == "0" or _was_rewritten(server):
        return ""
    return next((line for line in load_faults(server.said) if CUT.search(line)), "")


def _was_rewritten(server: Server) -> bool:
    """Whether a rewrite of the log has succeeded since the start, and none failed after it.

    One that failed leaves the log as it was; whether one before it had succeeded, no counter says for sure.
    """
    ended = int(server.info.get("aof_last_rewrite_time_sec", "-1")) >= 0
    return ended and server.info.get("aof_last_bgrewrite_status", "ok") == "ok"

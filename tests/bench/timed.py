"""Run a command and write what it cost to a file: `python timed.py FILE COMMAND…`, exit code of the command.

A process of its own, started in the lab's network: so the lab stays the only one to know how to get in there, the
clock does not count the way in, and the peak memory is the command's, not that of a larger parent (getrusage(2)).
"""

import json
import os
import sys
import time
from pathlib import Path


def main(file: str, command: list[str]) -> int:
    """The command's exit code; its wall seconds, CPU seconds and peak memory in MiB are in `file`, as JSON."""
    began = time.perf_counter()
    _, status, used = os.wait4(os.posix_spawn(command[0], command, os.environ), 0)
    wall = time.perf_counter() - began
    cost = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1024}
    Path(file).write_text(json.dumps(cost))
    return os.waitstatus_to_exitcode(status) & 255  # of a signal too: never 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

"""Connect to a port again and again through a scenario; afterwards every time that nobody answered is known."""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.lab.containers import REPOSITORY

PATIENCE = 1.0  # seconds for an answer
PAUSE = 0.001  # seconds between two tries


@dataclass
class Knocks:
    """What was met: how often somebody answered, and how long nobody did, each time (seconds)."""

    answered: int = 0
    gaps: list[float] = field(default_factory=list)


@contextmanager
def knocking(netns: str, address: str, port: int) -> Iterator[Knocks]:
    """A process of its own connects for as long as the body lasts; the result is filled in at its end."""
    into = ["nsenter", f"--net=/run/netns/{netns}"]
    command = [*into, sys.executable, "-m", "tests.hosts.knocking", address, str(port)]
    pipe = subprocess.PIPE
    knocks = Knocks()
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=REPOSITORY) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "answered\n"
        try:
            yield knocks
        finally:
            process.stdin.write("\n")  # asks for the report
            process.stdin.flush()
            knocks.answered, knocks.gaps = json.loads(process.stdout.readline())


def main(address: str, port: int) -> None:
    """Connect until a line comes on standard input, then print the report; "answered" after the first success."""
    answered, gaps, silent_since = 0, [], None
    while not (answered and _asked()):
        began = time.monotonic()
        try:
            socket.create_connection((address, port), timeout=PATIENCE).close()
        except OSError:
            silent_since = silent_since or began
        else:
            answered += 1
            if answered == 1:
                print("answered", flush=True)
            if silent_since is not None:
                gaps.append(time.monotonic() - silent_since)
                silent_since = None
        time.sleep(PAUSE)
    if silent_since is not None:
        gaps.append(time.monotonic() - silent_since)
    print(json.dumps([answered, gaps]), flush=True)


def _asked() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

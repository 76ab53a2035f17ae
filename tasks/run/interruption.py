"""What Ctrl-C does. Needs nothing of the rest, so that it holds before the rest has been read."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def notice_interruptions() -> None:
    """From here on Ctrl-C ends the run as a failure."""
    signal.signal(signal.SIGINT, interrupted)


def interrupted(signum: int, frame: FrameType | None) -> None:
    """Ctrl-C must not look like success; pyinfra's own handler exits 0.

    It may come while a thread of paramiko's runs, for gevent makes threads greenlets of the main one; there nobody
    would be told of what is raised. So it is raised in the main greenlet, wherever that waits.
    """
    end = SystemExit("Interrupted: not everything was done. Run the same command again to go on.")
    gevent = sys.modules.get("gevent")
    if gevent is None or gevent.getcurrent() is gevent.get_hub().parent:
        raise end
    gevent.get_hub().parent.throw(end)  # and this greenlet is left where it is


@contextmanager
def held_back(why: str) -> Iterator[None]:
    """Within it Ctrl-C, a request to end and a lost terminal wait, in words; when it is left they do what they do.

    For what must not be left half-done. A greenlet that Ctrl-C leaves where it is never comes to its `finally`.
    """
    noticed: list[int] = []

    def notice(signum: int, frame: FrameType | None) -> None:
        noticed.append(signum)
        os.write(2, f"\n{why}\n".encode())  # whoever else is writing

    before = {number: signal.getsignal(number) for number in ENDS}
    taken = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in taken:
        signal.signal(number, notice)
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler or signal.SIG_DFL)
        if noticed:
            signal.raise_signal(noticed[0])

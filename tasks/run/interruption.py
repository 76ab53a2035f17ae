"""What Ctrl-C does. Needs nothing of the rest, so that it holds before the rest has been read."""

from __future__ import annotations

import signal
import sys
from types import FrameType


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

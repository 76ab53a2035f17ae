"""What Ctrl-C does. Needs nothing of the rest, so that it holds before the rest has been read."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def notice_interruptions() -> None:
    """From here on Ctrl-C ends the run as a failure."""
    signal.signal(signal.SIGINT, interrupted)


def interrupted(signum: int, frame: FrameType | None) -> None:
    """Ctrl-C must not look like success; pyinfra's own handler exits 0."""
    sys.exit("Interrupted: not everything was done. Run the same command again to go on.")

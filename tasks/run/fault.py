"""A fault of this program: said of the host that it came up with, and never in the way of another one."""

from __future__ import annotations

from pathlib import Path
from traceback import extract_tb

ROOT = Path(__file__).parents[2]


def fault(error: Exception) -> str:
    """What went wrong, and where in this repository. Not in the error's own words: those may have anything in them."""
    frames = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(ROOT / "tasks")]
    where = f" at {Path(frames[-1].filename).relative_to(ROOT)}:{frames[-1].lineno}" if frames else ""
    return f"a fault of this program, {type(error).__name__}{where}: report it, with what is odd on that host"

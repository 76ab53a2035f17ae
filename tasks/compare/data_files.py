"""Compare the files that a role's next start opens: whose they are, and what nobody but a person put there. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.compare.difference import Difference, Remedy
from tasks.desired.host import Instance
from tasks.desired.paths import data_directory, log_directory, snapshot_file
from tasks.observed.state import FileState, Observed

# What the server makes (UMask=0077 of its unit), and what the conversions of this tool make.
MODES = {"file": ("0600", "0640"), "directory": ("0700", "0750")}
OWNERSHIP = "all redis:redis, files 0600 or 0640, directories 0700 or 0750"


def ownership_differences(instance: Instance, observed: Observed) -> Iterator[Difference]:
    """Data that the role's next start could not open, or write on: one of another owner than redis, or of other mode.

    A server that runs has its files open and says nothing about it.
    """
    directory = data_directory(instance.name)
    wrong = [
        f"{path.removeprefix(f'{directory}/')} is {state.owner}:{state.group} {state.mode}"
        for path, state in sorted(observed.stored.items())
        if _is_opened(instance, path) and not _is_own(state)
    ]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        yield Difference(instance.name, "persistence", directory, OWNERSHIP, f"{wrong[0]}{more}", Remedy.OWN)


def _is_opened(instance: Instance, path: str) -> bool:
    log = log_directory(instance.role)
    return path in (log, snapshot_file(instance.role)) or path.rpartition("/")[0] == log


def _is_own(state: FileState) -> bool:
    if state.kind not in MODES:
        return True  # a link or socket is nobody's data
    return (state.owner, state.group) == ("redis", "redis") and state.mode in MODES[state.kind]

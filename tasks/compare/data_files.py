"""Compare the files that a role's next start opens: whose they are, and what nobody but a person put there. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.compare.difference import ByHand, Difference, Remedy
from tasks.desired.host import Instance
from tasks.desired.paths import begun_file, data_directory, loaded_file, log_directory, manifest_file, snapshot_file
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


def has_begun(instance: Instance, observed: Observed) -> bool:
    """Whether it is to be recorded that an instance has run here.

    One without a log may have none of its data on disk until it saves: its starts before that find nothing, and may.
    """
    return instance.role.appendonly or snapshot_file(instance.role) in observed.data_files


def lacks_data(instance: Instance, observed: Observed) -> bool:
    """Whether an instance that has run here, and does not now, would begin empty."""
    if observed.is_active(instance.unit) or instance.name in observed.adopting:
        return False
    found = {manifest_file(instance.role), snapshot_file(instance.role)} & observed.data_files.keys()
    return begun_file(instance.name) in observed.files and not found


def gone_data(instance: Instance, observed: Observed) -> Iterator[Difference]:
    """The data of an instance that has run here is not where it was: a disk that is not mounted, most likely."""
    if lacks_data(instance, observed):
        directory = data_directory(instance.name)
        found = "gone" if directory not in observed.files else f"gone, {_left(directory, observed)}"
        advice = (
            f"mount its disk (findmnt {directory}), or restore {loaded_file(instance.role)} (README, Data that is "
            f"gone); to begin without it: --data begin_empty={instance.name}"
        )
        yield Difference(
            instance.name, "persistence", directory, "its data, for it has run here", found, ByHand(advice)
        )


def _left(directory: str, observed: Observed) -> str:
    names = sorted(path.removeprefix(f"{directory}/") for path in observed.stored)
    return f"only {', '.join(names[:3])} is there" if names else "the directory is empty"

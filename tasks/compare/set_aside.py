"""What deploys and restores have put aside of a role's data: nothing loads it, and only a person deletes it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.desired.host import Host, Instance
from tasks.desired.paths import FAILED, OLD, REPLACED, log_directory, snapshot_file
from tasks.observed.state import Observed

ENTRY = "docs/runbook.md#data-put-aside"
SHOWN = 3  # names that a line has
OLD_ONE = rf"{re.escape(OLD)}(-[0-9]{{14}}(-[0-9]{{1,4}})?)?"
REPLACED_ONE = rf"{re.escape(REPLACED)}[0-9]{{14}}({FAILED})?"


@dataclass(frozen=True)
class SetAside:
    """What was put aside of one role: its paths, and the bytes of all of it."""

    paths: tuple[str, ...] = ()
    size: int = 0


def is_replaced(path: str, of: str) -> bool:
    """Whether this is what a restore has put aside of a log or snapshot."""
    return re.fullmatch(re.escape(of) + REPLACED_ONE, path) is not None


def is_put_aside(path: str, log: str) -> bool:
    """Whether this is a log that a deploy or restore has put aside."""
    return re.fullmatch(f"{re.escape(log)}({OLD_ONE}|{REPLACED_ONE})", path) is not None


def lies_aside(path: str) -> bool:
    """Whether a file lies in such a log, of whatever name, or is such a snapshot."""
    return re.search(f"{OLD_ONE}/|{re.escape(REPLACED)}", path) is not None


def set_aside(instance: Instance, observed: Observed) -> SetAside:
    """What was put aside of an instance's data."""
    log, snapshot = log_directory(instance.role), snapshot_file(instance.role)
    paths = tuple(path for path in sorted(observed.stored) if is_put_aside(path, log) or is_replaced(path, snapshot))
    size = sum(size for path, size in observed.data_files.items() if path in paths or path.rpartition("/")[0] in paths)
    return SetAside(paths, size)


def set_aside_notices(desired: Host, observed: Observed) -> Iterator[str]:
    """What there is of each instance, and how much it takes."""
    for instance in desired.instances:
        found = set_aside(instance, observed)
        if found.paths:
            names = ", ".join(found.paths[:SHOWN])
            more = f" and {len(found.paths) - SHOWN} more" if len(found.paths) > SHOWN else ""
            yield (
                f"{instance.name}: {found.size / (1 << 20):.1f} MiB were put aside by deploys or restores, and are "
                f"kept until a person deletes them: {names}{more} ({ENTRY})"
            )

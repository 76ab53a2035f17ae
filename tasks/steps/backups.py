"""Backups: their timers run, and a role that has just got them has a first copy. After everything else of a deploy."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.compare.difference import Remedy, chosen
from tasks.desired.paths import BACKUP_TOOLS, BACKUP_UNITS, UNITS, backup_file, backup_record, backup_unit
from tasks.observed.bounds import CHANGE
from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.run.survey import Look
from tasks.steps.operations import call, run_commands


def begin_backups(seen: Look) -> None:
    """The timers run. A role whose backups are new, or go elsewhere now, is copied at once: what is wrong is said."""
    timers = [
        item.name
        for item in chosen(seen.differences, "unit", remedy=Remedy.START)
        if item.name.startswith(BACKUP_UNITS) and item.name.endswith(".timer")
    ]
    if timers:
        run_commands(name="Start the timers of backups", commands=[f"systemctl start {' '.join(timers)}"])
    due = _due(seen)
    if due:
        call(name="Make a first copy", function=make_copies, roles=due)


def _due(seen: Look) -> list[str]:
    changed = {item.name for item in chosen(seen.differences, "file")}
    known = seen.observed.files.keys() if seen.observed else set()
    found = []
    for plan in seen.desired.backups:
        name = plan.role.name
        own = {backup_file(name), f"{UNITS}/{backup_unit(name)}.service", f"{BACKUP_TOOLS}/backup"}
        if own & changed or backup_record(name) not in known:
            found.append(name)
    return found


def make_copies(state: State, host: Host, roles: Sequence[str]) -> bool:
    """Each of these roles has a new copy off the host; of one that has not, it is said why."""
    done = [make_copy(state, host, role) for role in roles]
    return all(done)


def make_copy(state: State, host: Host, role: str) -> bool:
    """Whether a role has a new copy off the host; says which, or why not."""
    command = script("run-backup", unit=f"{backup_unit(role)}.service", role=role, patience=PATIENCE)
    made = run_command(state, host, command, bound=CHANGE)
    said = made.output.strip() or f"{role}: no answer"
    host.log_styled(said, **({"fg": "green"} if made.succeeded else {"fg": "red", "log_func": logger.error}))
    return made.succeeded


PATIENCE = 3000  # seconds for a copy: 512 MB take some seconds on a disk, minutes on a slow line

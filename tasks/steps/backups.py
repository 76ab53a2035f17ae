"""Backups: their timers run, and a role that has just got them has a first copy. After everything else of a deploy."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.printable import printable
from tasks.compare.backups import is_of, recorded
from tasks.compare.difference import Remedy, chosen
from tasks.desired.backup import tool_command
from tasks.desired.host import Plan
from tasks.desired.paths import (
    BACKUP_TOOLS,
    BACKUP_UNITS,
    UNITS,
    backup_file,
    backup_record,
    backup_unit,
    proof_record,
    proof_unit,
)
from tasks.observed.bounds import CHANGE
from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.run.session import current
from tasks.run.survey import Look
from tasks.steps.adopt import found
from tasks.steps.lives import begins_empty, note_beginnings
from tasks.steps.move import Moves
from tasks.steps.operations import call, run_commands


def begin_backups(seen: Look) -> None:
    """The timers run, and what waits for first saves.

    A role whose backups are new, or go elsewhere now, is copied at once: what is wrong is said.
    """
    units = [
        item.name
        for item in chosen(seen.differences, "unit", remedy=Remedy.START)
        if item.name.startswith(BACKUP_UNITS) and item.name.endswith((".timer", ".path"))
    ]
    if units:
        run_commands(name="Start timers and what waits for saves", commands=[f"systemctl start {' '.join(units)}"])
    due = _due(seen)
    empty = list(begins_empty(seen, {item.instance.name for item in found(seen)}))
    if empty:
        call(name="Note which roles begin empty", function=_note_beginnings, plans=empty)
    if due:
        call(name="Make a first copy", function=make_copies, roles=due)
    proved = _opened(seen)
    # After first copies, which make repositories. Where such a copy is made it is an operation, too, and does nothing:
    # pyinfra orders the operations of two hosts by those that they share alone.
    if proved or any(not plan.is_proved_here for plan in seen.desired.copied if plan.role.name in due):
        call(name="Open what is proved for other hosts", function=open_repositories, plans=proved)


def _note_beginnings(state: State, host: Host, plans: Sequence[Plan]) -> bool:
    moved = {item.role for item in current(state).kept(Moves).to(host.name)}
    return note_beginnings(state, host, [plan for plan in plans if plan.role.name not in moved])


def _due(seen: Look) -> list[str]:
    changed = {item.name for item in chosen(seen.differences, "file")}
    known = seen.observed.files.keys() if seen.observed else set()
    late = []
    for plan in seen.desired.copied:
        name = plan.role.name
        own = {backup_file(name), f"{UNITS}/{backup_unit(name)}.service", f"{BACKUP_TOOLS}/backup"}
        if own & changed or backup_record(name) not in known:
            late.append(name)
    return late


def _opened(seen: Look) -> list[Plan]:
    """What this host proves for others and could not until now, or by another password."""
    changed = {item.name for item in chosen(seen.differences, "file")}
    theirs = [plan for plan in seen.desired.proofs if plan.of]
    return [
        plan
        for plan in theirs
        if changed & {backup_file(plan.role.name), _proof_file(plan.role.name)} or _could_not(plan, seen)
    ]


def _could_not(plan: Plan, seen: Look) -> bool:
    """Whether its repository could not be opened when that was tried last."""
    record = recorded(proof_record(plan.role.name), seen.observed) if seen.observed else None
    return record is not None and record.unopened and is_of(plan, record)


def _proof_file(role: str) -> str:
    return f"{UNITS}/{proof_unit(role)}.service"


def open_repositories(state: State, host: Host, plans: Sequence[Plan]) -> bool:
    """The repositories whose copies a host proves for others open there; of one that does not, it is said why."""
    done = [_opens(state, host, plan) for plan in plans]
    return all(done)


def _opens(state: State, host: Host, plan: Plan) -> bool:
    done = run_command(state, host, tool_command(plan, "try"), bound=CHANGE)
    said = printable(done.output.strip()) or f"{plan.role.name}: no answer"
    host.log_styled(said, **({"fg": "green"} if done.succeeded else {"fg": "red", "log_func": logger.error}))
    return done.succeeded


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

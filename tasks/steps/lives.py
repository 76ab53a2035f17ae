"""Lives: of which data a host's copies are is noted where only a deploy knows: it began empty, or came by a move."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.compare.data_files import pieces
from tasks.desired.backup import tool_command
from tasks.desired.host import Plan
from tasks.desired.paths import backup_record, begun_file, life_record
from tasks.observed.bounds import CHANGE
from tasks.observed.connection import run_command
from tasks.observed.copies import LIFE
from tasks.observed.records import last_words
from tasks.observed.script import script
from tasks.run.survey import Look

LIFE_UNTIL = re.compile(f"({LIFE}) ([0-9]{{1,12}})\n?")


def begins_empty(seen: Look, elsewhere: Collection[str]) -> Iterator[Plan]:
    """The backups of roles that this run started with nothing. `elsewhere`: those whose data came from another server.

    Pure. What is not known to have begun so is not said to have.
    """
    observed = seen.observed
    if observed is None or observed.unseen:
        return
    for plan in seen.desired.backups:
        name = plan.role.name
        known = begun_file(name) in observed.files or observed.is_active(unit_of(plan)) or pieces(name, observed)
        if not known and name not in elsewhere and name not in observed.adopting:
            yield plan


def unit_of(plan: Plan) -> str:
    """The unit of the role's server."""
    return plan.parameters["unit"]


def note_beginnings(state: State, host: Host, plans: Collection[Plan]) -> bool:
    """It is noted that these began empty here: what services write before the first copy makes nothing else of it."""
    for plan in plans:
        done = run_command(state, host, tool_command(plan, "begin"), bound=CHANGE)
        if not done.succeeded:
            _say(host, plan, f"it began empty here, which could not be noted: {last_words(done.output)}")
    return True  # a first copy says what it finds


def carry_life(state: State, source: Host, target: Host, plan: Plan | None) -> bool:
    """The copies of a role that has moved go on from those of its old host; `plan`: its backups on the new one.

    Where its old host has made none there is nothing to go on from. What fails is said, and fails no move: copies are
    named by their run then.
    """
    if plan is None:
        return True
    name = plan.role.name
    told = run_command(state, source, script("tell-life", life=life_record(name), record=backup_record(name)))
    found = LIFE_UNTIL.fullmatch(told.stdout)
    if found is None:
        if told.succeeded and not told.stdout.strip():
            return True
        return _say(target, plan, f"{source.name} does not tell of which data its copies are{_by_run(plan)}")
    done = run_command(state, target, tool_command(plan, "follow", found[1], found[2]), bound=CHANGE)
    if not done.succeeded:
        words = last_words(done.output)
        return _say(target, plan, f"it could not be noted whose copies its own go on from: {words}{_by_run(plan)}")
    return True


def _by_run(plan: Plan) -> str:
    return (
        f": those from before the move are taken by a restore only when named by their run (--data list=true shows "
        f"them); {plan.role.name} itself has moved"
    )


def _say(host: Host, plan: Plan, words: str) -> bool:
    host.log_styled(f"{plan.role.name}: {words}", fg="yellow", log_func=logger.warning)
    return False

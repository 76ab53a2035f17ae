"""Copies off the hosts, by a person's word: make them now, or say which there are. One answer for a whole run."""

from __future__ import annotations

import shutil
import sys
from functools import partial

from pyinfra import logger
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State
from rich.console import Console

from tasks.catalogue.backup import NAME
from tasks.catalogue.data_names import LIST, ONLY
from tasks.catalogue.printable import printable
from tasks.catalogue.requested import named_roles
from tasks.desired.backup import tool_command
from tasks.desired.host import Plan
from tasks.observed.bounds import CHANGE
from tasks.observed.connection import begin, run_command
from tasks.observed.copies import Copy, read_copies
from tasks.observed.records import Unreadable, last_words
from tasks.reports.copies_table import copies_table
from tasks.run.ending import Refusal, listed
from tasks.run.fault import fault
from tasks.run.session import Run, current, unreachable
from tasks.run.survey import survey
from tasks.steps.backups import make_copy


def copies_of_tier(state: State) -> int:
    """Make a copy of every role of the run that is backed up, or list what there is; returns the exit code."""
    run = current(state)
    return run.only_once("backup", lambda: _copies_of_tier(state, run))


def _copies_of_tier(state: State, run: Run) -> int:
    chosen = _chosen(state, run)
    problems = [f"{name}: {why}" for name, why in unreachable(state).items()]
    if any(host.data.get(LIST) is True for host in state.inventory):
        return _list(state, chosen, problems)
    jobs = [begin(partial(_make_all, state, host, plans)) for host, plans in chosen]
    done = [job.result() for job in jobs]
    for problem in problems:
        logger.error(problem)
    return 0 if all(done) and done and not problems else 1


def _make_all(state: State, host: PyinfraHost, plans: list[Plan]) -> bool:
    try:
        done = [make_copy(state, host, plan.role.name) for plan in plans]
    except Exception as error:
        host.log_styled(fault(error), fg="red", log_func=logger.error)
        return False
    return all(done)


def _chosen(state: State, run: Run) -> list[tuple[PyinfraHost, list[Plan]]]:
    """The hosts of the run with the roles that are meant there. Raises Refusal where none is."""
    hosts = [host for host in state.inventory.get_active_hosts() if host.name in run.tier.hosts]
    named: set[str] = set()
    for host in state.inventory:
        value = named_roles(host.data.get(ONLY))
        if value is None:
            raise Refusal(f"{ONLY}: expected the name of a role, or several as gateway,socket: correct it")
        named |= set(value)
    if any(host.pairs for host in run.tier.hosts.values()):
        survey(state, run)  # which of two hosts serves a role, and is copied, they say
    found = [
        (host, [plan for plan in run.tier.hosts[host.name].copied if not named or plan.role.name in named])
        for host in sorted(hosts, key=lambda item: item.name)
    ]
    lacking = sorted(named - {plan.role.name for _, plans in found for plan in plans})
    if lacking:
        why = [f"{name}: no host of this run has a backup of it: set {NAME} there, and deploy" for name in lacking]
        raise Refusal(listed("Nothing was done", why))
    found = [(host, plans) for host, plans in found if plans]
    if not found and not unreachable(state):
        raise Refusal(f"No host of this run has backups: set {NAME} in its host or group data, and deploy (README)")
    return found


def _list(state: State, chosen: list[tuple[PyinfraHost, list[Plan]]], problems: list[str]) -> int:
    jobs = {plan.role.name: begin(partial(known_copies, state, host, plan)) for host, plans in chosen for plan in plans}
    shown: dict[str, tuple[Copy, ...]] = {}
    for name, job in jobs.items():
        try:
            shown[name] = job.result()
        except Unreadable as error:
            problems.append(f"{name}: {error}")
    width = shutil.get_terminal_size((120, 24)).columns
    Console(file=sys.stdout, width=width).print(copies_table(shown, width))
    for problem in problems:
        logger.error(printable(problem))
    return 1 if problems else 0


def known_copies(state: State, host: PyinfraHost, plan: Plan) -> tuple[Copy, ...]:
    """The whole copies of a role, the newest first. Raises Unreadable where its repository cannot be read."""
    done = run_command(state, host, tool_command(plan, "list"), bound=CHANGE)
    if not done.succeeded:
        raise Unreadable(f"its copies cannot be listed: {last_words(done.output) or 'no answer'}")
    return read_copies(done.stdout)

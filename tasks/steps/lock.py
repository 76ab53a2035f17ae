"""Lock: a deploy that is going to change hosts holds them, so that two deploys never work on one host at once.

Held by a process on the host, on a channel of this run's SSH connection: it ends with the controller, and with a
connection that says nothing any more. A file alone would outlive both.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from pyinfra import logger
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.moments import FORM
from tasks.catalogue.printable import printable
from tasks.compare.difference import ByHand
from tasks.desired.paths import DEPLOYS_FILE, LOCK_FILE
from tasks.observed.bounds import BEAT, HOLD_PATIENCE, SILENCE
from tasks.observed.connection import Channel, ConnectionBroken, begin, open_command
from tasks.observed.records import new_mark
from tasks.observed.script import script
from tasks.reports.deploys import LINES
from tasks.run.ending import Refusal
from tasks.run.noting import Noted, look_up_commit, note_begun, user_name
from tasks.run.session import current
from tasks.run.survey import Look, look
from tasks.steps.operations import call

HOLDER = r"process \d+ \(.*?\) of \S+|a process that has ended meanwhile"  # as hold.sh says it
CHANGED = "changed by"  # begins the answer of a host on which another deploy was meanwhile


@dataclass
class Holds:
    """The hosts that a run will change, with what was seen of each, and the channels on which it holds them."""

    due: dict[str, Look] = field(default_factory=dict, repr=False)
    channels: list[Channel] = field(default_factory=list)


def hold_host(state: State, seen: Look, anyway: bool = False) -> None:
    """This run alone may change the host from here on; the hosts of a run are held together or not at all.

    A host of which nothing differs is not held, unless `anyway`.
    """
    if anyway or any(not isinstance(item.remedy, ByHand) for item in seen.differences):
        current(state).kept(Holds).due[seen.desired.name] = seen
        look_up_commit(state)
        call(name="Hold the host", function=hold)


def hold_now(state: State, looks: Mapping[str, Look]) -> None:
    """This run alone may change these hosts, until `let_go`. Raises Refusal when one is somebody else's."""
    current(state).kept(Holds).due.update(looks)
    if not _hold_all(state):
        raise Refusal("Nothing more was done: the hosts could not be held, see above")


def let_go(state: State) -> None:
    """Others may change the hosts again."""
    _let_go(current(state).kept(Holds).channels)


def hold(state: State, host: PyinfraHost) -> bool:
    """Every host that this run will change is held by it. False, and nothing is held, when one is somebody else's."""
    return current(state).only_once("hold", lambda: _hold_all(state, noted=True))


def _hold_all(state: State, noted: bool = False) -> bool:
    """`noted`: on each host its journal says what this run is about to change."""
    holds = current(state).kept(Holds)
    now = datetime.now(UTC).strftime(FORM)
    mine = f"{user_name()}@{socket.gethostname()}, process {os.getpid()}, since {now}"
    hosts = [host for host in state.active_hosts if host.name in holds.due]
    jobs = {host.name: begin(partial(_hold, state, host, mine, holds.due[host.name])) for host in hosts}
    answers = {name: job.result() for name, job in sorted(jobs.items())}
    held = {name: channel for name, (channel, _) in answers.items() if channel is not None}
    holds.channels.extend(held.values())
    problems = refusals({name: answer for name, (channel, answer) in answers.items() if channel is None})
    for problem in problems:
        logger.error(problem)
    if problems:
        _let_go(holds.channels)
    else:
        keep(holds.channels)
        if noted:
            note_begun(state, held, {name: holds.due[name].differences for name in held})
    return not problems


def _hold(state: State, host: PyinfraHost, mine: str, seen: Look) -> tuple[Channel | None, str]:
    """The channel that holds a host, or what it answered instead.

    Where another deploy was meanwhile, the host is looked at again: what it left alone can be done as planned.
    """
    channel, answer = _try_to_hold(state, host, mine, seen)
    if answer.startswith(CHANGED):
        again = look(state, current(state), host)
        if again.observed is not None and again.differences == seen.differences:
            channel, answer = _try_to_hold(state, host, mine, again)
    return channel, answer


def _try_to_hold(state: State, host: PyinfraHost, mine: str, seen: Look) -> tuple[Channel | None, str]:
    """The channel that holds a host, or what the host answered instead."""
    mark = new_mark()
    command = script(
        "hold",
        journal=DEPLOYS_FILE,
        number=current(state).kept(Noted).number,
        most=LINES,
        mark=mark,
        file=LOCK_FILE,
        patience=HOLD_PATIENCE,
        silence=SILENCE,
        seen=seen.observed.last_deploy if seen.observed else "",
        mine=mine,
        changed=CHANGED,
    )
    try:
        channel = open_command(state, host, command)
        answer = channel.read_marked(mark)
    except ConnectionBroken as error:
        return None, str(error)
    if answer == "held":
        return channel, ""
    channel.close()
    return None, answer


def refusals(answers: Mapping[str, str]) -> list[str]:
    """Why hosts are not ours to change, from what each answered; hosts that one deploy holds in one line. Pure."""
    held: dict[str, dict[str, str]] = {}
    found = []
    for name, said in sorted((name, printable(said)) for name, said in answers.items()):
        if match := re.match(rf"held by (?:({HOLDER}), )?(.*)", said):
            held.setdefault(match[2], {})[name] = match[1] or ""
        elif match := re.match(f"{CHANGED} (.*)", said):
            what = "another deploy was here after this one had looked"
            found.append(f"{name}: nothing was changed: {what}: {match[1]}: run it again")
        else:
            found.append(f"{name}: nothing was changed: cannot be held: {said or 'no answer'}")
    for deploy, processes in held.items():
        which = "this host" if len(processes) == 1 else "these hosts"
        found.append(
            f"{', '.join(processes)}: nothing was changed: another deploy holds {which}: "
            f"{', '.join([*filter(None, processes.values()), deploy])}: wait until it ends (one that has lost its "
            f"connection is let go after {SILENCE} s)"
        )
    return found


def keep(held: list[Channel]) -> None:
    """Say on every channel that this run lives, each by itself: a host that hangs does not cost the others theirs."""
    for channel in held:
        begin(partial(_keep, held, channel))


def _keep(held: list[Channel], channel: Channel) -> None:
    """Say on a channel that this run lives, as long as it is among those held."""
    while channel in held:
        with suppress(ConnectionBroken):  # this host's own commands fail, and tasks/run/entry.py says why
            channel.send(b"\n")
        time.sleep(BEAT)


def _let_go(channels: list[Channel]) -> None:
    for channel in channels:
        channel.close()
    channels.clear()

"""Lock: a deploy that is going to change hosts holds them, so that two deploys never work on one host at once.

Held by a process on the host, on a channel of this run's SSH connection: it ends with the controller, and with a
connection that says nothing any more. A file alone would outlive both.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from pyinfra import logger
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.printable import printable
from tasks.compare.difference import ByHand
from tasks.desired.paths import LOCK_FILE
from tasks.observed.bounds import BEAT, HOLD_PATIENCE, SILENCE
from tasks.observed.connection import Channel, ConnectionBroken, begin, open_command
from tasks.observed.records import new_mark
from tasks.observed.script import script
from tasks.run.session import current
from tasks.run.survey import Look, look
from tasks.steps.operations import call

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
        call(name="Hold the host", function=hold)


def hold(state: State, host: PyinfraHost) -> bool:
    """Every host that this run will change is held by it. False, and nothing is held, when one is somebody else's."""
    run = current(state)
    problems = run.only_once("hold", lambda: _hold_all(state))
    for problem in problems:
        host.log_styled(problem, fg="red", log_func=logger.error)
    return not problems


def _hold_all(state: State) -> list[str]:
    holds = current(state).kept(Holds)
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    mine = f"{user_name()}@{socket.gethostname()}, process {os.getpid()}, since {now}"
    hosts = [host for host in state.active_hosts if host.name in holds.due]
    jobs = {host.name: begin(partial(_hold, state, host, mine, holds.due[host.name])) for host in hosts}
    answers = {name: job.result() for name, job in sorted(jobs.items())}
    holds.channels.extend(channel for channel, _ in answers.values() if channel is not None)
    problems = [f"{name}: {problem}" for name, (_, problem) in answers.items() if problem]
    if problems:
        _let_go(holds.channels)
    else:
        keep(holds.channels)
    return problems


def user_name() -> str:
    """Who runs this, also where the user has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _hold(state: State, host: PyinfraHost, mine: str, seen: Look) -> tuple[Channel | None, str]:
    """The channel that holds a host, or in words why it cannot be held.

    Where another deploy was meanwhile, the host is looked at again: what it left alone can be done as planned.
    """
    channel, answer = _try_to_hold(state, host, mine, seen)
    if answer.startswith(CHANGED):
        again = look(state, current(state), host)
        if again.observed is not None and again.differences == seen.differences:
            channel, answer = _try_to_hold(state, host, mine, again)
    return channel, "" if channel is not None else refusal(answer)


def _try_to_hold(state: State, host: PyinfraHost, mine: str, seen: Look) -> tuple[Channel | None, str]:
    """The channel that holds a host, or what the host answered instead."""
    mark = new_mark()
    command = script(
        "hold",
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


def refusal(answer: str) -> str:
    """Why a host is not ours to change, from what it answered. Pure."""
    answer = printable(answer)
    if match := re.match("held by (.*)", answer):
        return (
            f"nothing was changed: another deploy holds this host: {match[1]}: wait until it ends "
            f"(one that has lost its connection is let go after {SILENCE} s)"
        )
    if match := re.match(f"{CHANGED} (.*)", answer):
        return f"nothing was changed: another deploy was here after this one had looked: {match[1]}: run it again"
    return f"nothing was changed: cannot be held: {answer or 'no answer'}"


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

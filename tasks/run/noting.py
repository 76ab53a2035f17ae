"""The journal of deploys: the process that holds a host writes there what this run tells it.

So a host has an entry only where something was to be done, and also of a run that was cut off: that process ends it.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyinfra.api.state import State

from tasks.catalogue.moments import FORM
from tasks.compare.difference import Difference
from tasks.observed.connection import Channel, ConnectionBroken
from tasks.reports.deploys import CHANGED, FAILED, begun_line, ended_line
from tasks.run.closing import Restarted
from tasks.run.session import ROOT, current

GIT = 5  # seconds


@dataclass
class Noted:
    """The hosts whose journals know that this run began, and under which number."""

    number: str = field(default_factory=lambda: secrets.token_hex(6))
    channels: dict[str, Channel] = field(default_factory=dict)
    commit: str = ""  # of this repository, as far as git says it


def user_name() -> str:
    """Who runs this, also where the user has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def commit() -> str:
    """The commit of this repository, with a word where files differ from it; empty where it is none of git's."""
    try:
        done = [
            subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=GIT)
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if any(item.returncode for item in done):
        return ""
    return f"{done[0].stdout.strip()}{' and changes of its own' if done[1].stdout.strip() else ''}"


def look_up_commit(state: State) -> None:
    """Before anything begins: a run that Ctrl-C ends while it waits for another program may hang on that."""
    run = current(state)
    run.kept(Noted).commit = run.only_once("commit", commit)


def note_begun(state: State, channels: Mapping[str, Channel], differences: Mapping[str, Sequence[Difference]]) -> None:
    """The journals of these hosts say what this run is about to change. A host that is lost says so itself."""
    noted, who = current(state).kept(Noted), f"{user_name()}@{socket.gethostname()}"
    noted.channels.update(channels)
    for name, channel in channels.items():
        found = [f"{item.role or '(host)'}: {item.subject} {item.name}: {item.to_do}" for item in differences[name]]
        _tell(channel, begun_line(noted.number, who, noted.commit, _now(), found))


def note_ended(state: State) -> None:
    """They say what came of it."""
    run = current(state)
    noted, took = run.kept(Noted), run.kept(Restarted).took
    failed = {host.name for host in state.failed_hosts}
    for name, channel in noted.channels.items():
        _tell(channel, ended_line(noted.number, _now(), FAILED if name in failed else CHANGED, took.get(name, [])))
    noted.channels.clear()


def _tell(channel: Channel, line: str) -> None:
    with suppress(ConnectionBroken):  # its process writes that it was interrupted
        channel.send(f"{line}\n".encode())


def _now() -> str:
    return datetime.now(UTC).strftime(FORM)

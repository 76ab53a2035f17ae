"""The log that a role's next start will load: looked at as its user, written anew where it is damaged, its files owned.

The log is the only copy for a server that does not run. One that does has everything in memory: a damaged log of its
is written from there, before anybody stops it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import OPERATOR
from tasks.catalogue.printable import excerpt, printable
from tasks.desired.host import Instance, Passwords
from tasks.desired.paths import data_directory, log_directory, manifest_file
from tasks.observed.bounds import CHANGE, CHECK_PATIENCE, OWN_PATIENCE
from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.steps.gate import write_log_anew
from tasks.steps.sandbox import as_role

LOOKS = 5  # at a log that somebody writes on: a look may meet half a command
BETWEEN = 0.5  # seconds between two of them
WHOLE = "All AOF files and manifest are valid"  # 7.0 and 8.0; an empty manifest is no error to redis-check-aof
ANALYSED = re.compile(r"^AOF analyzed: filename=(.+), size=(\d+), ok_up_to=(\d+),", re.MULTILINE)


@dataclass(frozen=True)
class Checked:
    """What one look at a log found: `why` it is not whole, and of which file how many bytes are before the damage."""

    whole: bool
    why: str = ""
    file: str = ""
    size: int = 0
    good: int = 0


def own_data(state: State, host: Host, users: Mapping[Instance, str]) -> bool:
    """The data of each instance belongs to a user, files and directories."""
    done = {
        instance.name: run_command(state, host, own_script(instance, user), bound=CHANGE)
        for instance, user in users.items()
    }
    for role, result in done.items():
        if not result.succeeded:
            text = f"{role}: its data cannot be given back to its user: {result.output}"
            host.log_styled(text, fg="red", log_func=logger.error)
    return all(result.succeeded for result in done.values())


def own_script(instance: Instance, user: str) -> str:
    """Shell that gives an instance's data to a user, following nothing that the role put there. Pure."""
    role = instance.role
    job = script(
        "own-data",
        user=user,
        directory=data_directory(instance.name),
        log=role.appenddirname,
        snapshot=role.dbfilename,
        log_file=role.appendfilename,
    )
    return as_role(instance, job, OWN_PATIENCE, as_owner=True)


def check_log(state: State, host: Host, instance: Instance) -> Checked:
    """Whether the next start of an instance can load its log whole. One that grows meanwhile is looked at again."""
    first = look = _look(state, host, instance)
    for _ in range(LOOKS - 1):
        if look.whole or not look.file:
            return look
        time.sleep(BETWEEN)
        look = _look(state, host, instance)
    return Checked(True) if is_growing(first, look) else look


def is_growing(first: Checked, last: Checked) -> bool:
    """Whether only its end was not written yet: what is whole reaches further. Before a damage it stays as it was."""
    return last.whole or (first.file, first.good) != (last.file, last.good)


def make_whole(state: State, host: Host, instance: Instance, passwords: Passwords, from_memory: bool) -> list[str]:
    """The next start of a running instance can load its log, else why not. `from_memory`: it may be written anew.

    Not where the server cannot be asked, nor where the log is the only copy of what a start skipped.
    """
    if not instance.role.appendonly:
        return []
    checked = check_log(state, host, instance)
    if checked.whole:
        return []
    if not from_memory:
        return [f"its log cannot be loaded, {checked.why}, and may not be written anew: {way_back(instance, checked)}"]
    said = f"{instance.name}: its log cannot be loaded, {checked.why}: it is written anew from memory first"
    host.log_styled(said, fg="yellow", log_func=logger.warning)
    problems = write_log_anew(host, instance, passwords[instance.name].get(OPERATOR) or "")
    if problems:
        return problems
    again = check_log(state, host, instance)
    return [] if again.whole else [f"its log was written anew and cannot be loaded: {again.why}: look at its disk"]


def check_script(instance: Instance) -> str:
    """Shell that prints what redis-check-aof says of an instance's log. Pure."""
    job = script("check-log", manifest=manifest_file(instance.role), patience=CHECK_PATIENCE)
    return as_role(instance, job, CHECK_PATIENCE + OWN_PATIENCE)


def _look(state: State, host: Host, instance: Instance) -> Checked:
    done = run_command(state, host, check_script(instance), bound=CHANGE)
    return read_check(done.stdout if done.succeeded else f"{done.stdout}\n{done.output}")


def read_check(said: str) -> Checked:
    """What redis-check-aof said of a log, as far as one can rely on it: its exit code is 0 for an empty manifest."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if WHOLE in lines:
        return Checked(True)
    why = excerpt("; ".join(lines[-3:]), 300) if lines else f"redis-check-aof said nothing in {CHECK_PATIENCE} s"
    rows = [row for row in ANALYSED.findall(said) if row[1] != row[2]]
    if not rows:
        return Checked(False, why)
    file, size, good = rows[-1]
    return Checked(False, why, printable(file.rpartition("/")[2][:100]), int(size), int(good))


def way_back(instance: Instance, checked: Checked) -> str:
    """What a person can do about a log that cannot be loaded, whose server is down; the first of it loses nothing."""
    log = log_directory(instance.role)
    copy = f"cp -a {log} /root/{instance.name}-log"
    if not checked.file:
        return f"keep a copy first ({copy}), then see docs/runbook.md#log-damaged"
    lost = checked.size - checked.good
    return (
        f"keep a copy first ({copy}); mended, {checked.file} would keep the first {checked.good} of its {checked.size} "
        f"bytes and lose {lost}: docs/runbook.md#log-damaged"
    )

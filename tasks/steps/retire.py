"""Retire: what is kept of roles that left a host is said, and deleted only when an operator asks for it by name."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.compare.adoption import adoptions, snapshot_of
from tasks.compare.difference import Remedy, chosen
from tasks.compare.leftovers import role_of
from tasks.desired.paths import begun_file, data_directory, unit_name
from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.run.survey import Look
from tasks.steps.operations import call, run_commands


def purge_data(seen: Look) -> None:
    """Data of roles that the host does not carry is gone where `--data purge=ROLE` says so."""
    roles = [item.role for item in chosen(seen.differences, "persistence", remedy=Remedy.PURGE) if item.role]
    if roles:
        run_commands(name="Delete the data of retired roles", commands=[purge_command(role) for role in roles])


def purge_command(role: str) -> str:
    """Delete a role's data, unless its unit or another process still uses it. Pure; `role` is a checked name."""
    return script("purge-data", unit=unit_name(role), directory=data_directory(role), begun=begun_file(role))


def say_what_is_kept(seen: Look) -> None:
    """The last words of a deploy that retires a role or adopts data: where the data lies that it left alone."""
    retired = [role_of(item.name) for item in chosen(seen.differences, "unit", remedy=Remedy.RETIRE)]
    retired = [role for role in retired if role not in seen.desired.requests.purge]
    adopted = adoptions(seen.desired, seen.observed) if seen.observed else []
    old = {
        item.instance.name: snapshot_of(item.server) if item.server else item.marker.rdb if item.marker else ""
        for item in adopted
    }
    if retired or old:
        call(name="Say what is kept", function=_say, retired=retired, old=old)


def _say(state: State, host: Host, retired: Sequence[str], old: dict[str, str]) -> bool:
    for role in retired:
        directory = data_directory(role)
        used = run_command(state, host, f"du -sh {directory}")
        if used.succeeded:
            size = used.stdout.split()[0]
            text = f"{role}: its data is kept in {directory} ({size}); --data purge={role} deletes it"
            logger.info(f"{host.print_prefix}{text}")
    for role, snapshot in old.items():
        text = f"{role}: the old server's files are kept in {snapshot.rpartition('/')[0]}, its last save is {snapshot}"
        logger.info(f"{host.print_prefix}{text}")
    return True

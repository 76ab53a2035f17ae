"""Retire: what ends, ends last: roles that left a host, when every host of the run is proved; data, when named."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from pyinfra import logger
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_state

from tasks.catalogue.acl_rules import OPERATOR
from tasks.compare.adoption import adoptions, snapshot_of
from tasks.compare.difference import Remedy, chosen
from tasks.compare.elsewhere import kept_data
from tasks.compare.leftovers import ends_last, has_inner_ports, leaving_forwards, of_inner_ports
from tasks.compare.moving import has_moved, keeps_older_data
from tasks.desired.build import with_forwards
from tasks.desired.guard import files_of_a_pair
from tasks.desired.host import File
from tasks.desired.paths import (
    NEW,
    REPLACED,
    UNITS,
    acl_file,
    begun_file,
    config_file,
    copy_drop_in,
    copy_file,
    data_directory,
    handed_over_drop_in,
    moved_file,
    old_tls_files,
    role_of,
    tls_files,
    trusted_file,
    unit_name,
)
from tasks.observed.bounds import CHANGE
from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.run.session import current
from tasks.run.survey import Look, look, survey
from tasks.steps.ending import ended, stop_script
from tasks.steps.inner_port import lead_commands
from tasks.steps.install import files_of
from tasks.steps.operations import call, file_command, kept_to_the_host


@dataclass
class Proofs:
    """The hosts of a run that are proved to be as desired, but for what ends last; the roles that moved in it."""

    proved: set[str] = field(default_factory=set)
    moved: set[tuple[str, str]] = field(default_factory=set)  # with the hosts that they left


def ending(seen: Look) -> Look:
    """`seen` with those differences only that are removed last."""
    listed = ends_last(seen.desired, seen.observed, seen.differences) if seen.observed else []
    return replace(seen, differences=tuple(listed))


def before_the_end(seen: Look) -> Look:
    """`seen` without the differences that are removed last.

    A host that gets an inner port while a role leaves it with another one has both until then: the rules of both are
    desired, and written twice.
    """
    last = ending(seen).differences
    first = tuple(item for item in seen.differences if item not in last)
    if seen.observed is None or has_inner_ports(seen.desired, seen.observed):
        return replace(seen, differences=first)
    leaving = leaving_forwards(seen.desired, seen.observed)
    both = tuple(item for item in last if of_inner_ports(item))
    return replace(seen, desired=with_forwards(seen.desired, leaving), differences=(*first, *both))


def end_leftovers(state: State, seen: Look) -> None:
    """Nothing that acts is left of roles that the host no longer carries, and no data that `--data purge=ROLE` names.

    Whatever fails before, on any host of the run, leaves all of it as it is: the old server of a moved role serves.
    """
    if any(ending(item).differences for item in survey(state, current(state)).values()):
        end(name="Retire what no role asks for, when all hosts are proved", seen=seen)


@operation()
def end(seen: Look) -> Iterator[FunctionCommand]:
    """All leftovers of the run have ended, begun by the last host that is proved; no change where there is none."""
    if ctx_state.get().is_executing or ending(seen).differences:
        yield FunctionCommand(kept_to_the_host(end_in_turn), (), {"due": bool(ending(seen).differences)})


def end_in_turn(state: State, host: Host, due: bool) -> bool:
    """With --serial or --no-wait hosts come here before others are proved: the last of them ends everybody's."""
    run = current(state)
    looks = {name: seen for name, seen in survey(state, run).items() if seen.is_due}
    waiting = looks.keys() - run.kept(Proofs).proved
    failed = waiting - {item.name for item in state.active_hosts}
    if waiting - failed:
        return True
    if failed:
        return not due or _say_not_ended(host, sorted(failed), looks[host.name])
    hosts = {item.name: item for item in state.active_hosts}
    ending_on = sorted(name for name, seen in looks.items() if ending(seen).differences)
    done = {
        name: run.only_once(f"end {name}", partial(_end, state, hosts[name], ending(looks[name])))
        for name in ending_on
        if name in hosts
    }
    return done.get(host.name, True) if due else all(done.values())


def _say_not_ended(host: Host, failed: Sequence[str], seen: Look) -> bool:
    due = [item for item in ending(seen).differences if not of_inner_ports(item)]
    roles = sorted({item.role for item in due if item.role})
    text = f"{', '.join(roles)}: left as it is, for {', '.join(failed)} failed: mend that and deploy again"
    host.log_styled(text, fg="red", log_func=logger.error)
    return False


def _end(state: State, host: Host, seen: Look) -> bool:
    """The leftovers of one host end, one after the other; what is kept of them is said, and what is left."""
    servers = {} if seen.observed is None else {stop_script(unit_name(it.role)): it for it in seen.observed.leftovers}
    moved = [role for role, source in current(state).kept(Proofs).moved if source == host.name]
    for command, stdin in end_commands(seen, moved):
        if command in servers:
            server = servers[command]
            password = seen.passwords.get(server.role, {}).get(OPERATOR) or ""
            done = ended(state, host, command, unit_name(server.role), server.endpoint, password)
        else:
            done = run_command(state, host, command, stdin, CHANGE)
        if not done.succeeded:
            host.log_styled(f"not retired: {done.output}", fg="red", log_func=logger.error)
            return False
    _say_what_is_kept(state, host, seen, moved)
    again = look(state, current(state), host)
    problems = [str(item) for item in again.differences] if again.observed else [f"could not be read: {again.error}"]
    for problem in problems:
        host.log_styled(problem, fg="red", log_func=logger.error)
    return not problems


def end_commands(seen: Look, moved: Collection[str] = ()) -> list[tuple[str, str | None]]:
    """What ends the leftovers of a host, in order, each with what it reads from standard input. Pure.

    `moved`: roles that moved from it in this run.
    """
    differences = seen.differences
    units = [item.name for item in chosen(differences, "unit", remedy=Remedy.RETIRE)]
    stopped = [item.name for item in chosen(differences, "unit", remedy=Remedy.DISABLE)]
    removed = [item.name for item in chosen(differences, "file", remedy=Remedy.REMOVE)]
    purged = [item.role for item in chosen(differences, "persistence", remedy=Remedy.PURGE) if item.role]
    addresses = [item.name for item in chosen(differences, "address", remedy=Remedy.RETIRE)]
    commands = [
        supersede_command(role)
        for role in map(role_of, units)
        if role in moved or (seen.observed is not None and keeps_older_data(role, seen.observed))
    ]
    commands += retire_commands(units) if units else []
    commands += retire_address_commands(addresses) if addresses else []
    commands += [
        forget_moves(role)
        for role in map(role_of, units)
        if role in moved or (seen.observed is not None and has_moved(role, seen.observed))
    ]
    commands += [f"systemctl disable --now {unit}" for unit in stopped]
    commands += [f"rm -f {' '.join(removed)}", "systemctl daemon-reload"] if removed else []
    return [
        *((command, None) for command in commands),
        *_inner_port_commands(seen),
        *((purge_command(role), None) for role in purged),
    ]


def _inner_port_commands(seen: Look) -> Iterator[tuple[str, str | None]]:
    """The inner ports lead to the roles that are left."""
    files: list[File] = files_of(seen)
    for file in files:
        yield file_command(file).get_raw_value(), file.content
    if any(file.path.startswith(UNITS) for file in files):
        yield "systemctl daemon-reload", None
    for command in lead_commands(seen.differences, wanted=seen.desired.has_rules):
        yield command, None


def retire_commands(units: Sequence[str]) -> list[str]:
    """Stop, disable and remove units with their configuration; data directories stay where they are. Pure."""
    commands = []
    for unit in units:
        role = role_of(unit)
        files = (f"{UNITS}/{unit}", config_file(role), acl_file(role), *tls_files(role), *old_tls_files(role))
        commands += [
            stop_script(unit),
            f"systemctl disable --quiet --now {unit}",
            f"rm -f {' '.join((*files, trusted_file(role), *files_of_a_pair(role)))}",
        ]
    return [*commands, "systemctl daemon-reload"]


def retire_address_commands(units: Sequence[str]) -> list[str]:
    """The addresses that units keep are free for other hosts. Pure."""
    files = " ".join(f"{UNITS}/{unit}" for unit in units)
    return [f"systemctl disable --quiet --now {' '.join(units)}", f"rm -f {files}", "systemctl daemon-reload"]


def forget_moves(role: str) -> str:
    """Nothing is left of a move of the role, from or to the host, but its data. Pure."""
    paths = (copy_file(role), copy_drop_in(role), handed_over_drop_in(role))
    files = [path + end for path in paths for end in ("", NEW)]
    return script("forget-move", files=files, directory=f"{UNITS}/{unit_name(role)}.d")


def purge_command(role: str) -> str:
    """Delete a role's data, unless its unit or another process still uses it. Pure; `role` is a checked name."""
    records = [begun_file(role), moved_file(role)]
    return script("purge-data", unit=unit_name(role), directory=data_directory(role), records=records, kept="")


def discard_command(role: str) -> str:
    """Delete what a copy of a role has written, unless somebody uses it; what was set aside stays. Pure."""
    records, kept = [begun_file(role)], f"*{REPLACED}*"
    return script("purge-data", unit=unit_name(role), directory=data_directory(role), records=records, kept=kept)


def supersede_command(role: str) -> str:
    """It is written that another host has newer data of the role than what is kept here. Pure."""
    return script("supersede", begun=begun_file(role), moved=moved_file(role))


def _say_what_is_kept(state: State, host: Host, seen: Look, moved: Collection[str]) -> None:
    """Where the data lies of roles that have just been retired, and what it was at the beginning of the run."""
    looks = survey(state, current(state))
    hosts = {name: (item.desired, item.observed) for name, item in looks.items() if item.observed is not None}
    for item in chosen(seen.differences, "unit", remedy=Remedy.RETIRE):
        directory = data_directory(role_of(item.name))
        used = run_command(state, host, f"du -sh {directory}")
        if used.succeeded and used.stdout.split() and role_of(item.name) not in seen.desired.requests.purge:
            kept = kept_data(role_of(item.name), host.name, hosts, moved)
            text = f"{item.role}: its data is kept in {directory} ({used.stdout.split()[0]}): {kept}"
            logger.info(f"{host.print_prefix}{text}")


def say_what_is_adopted(seen: Look) -> None:
    """Where the files lie of a server whose data a role has adopted: they are left alone."""
    adopted = adoptions(seen.desired, seen.observed) if seen.observed else []
    old = {
        item.instance.name: snapshot_of(item.server) if item.server else item.marker.rdb if item.marker else ""
        for item in adopted
    }
    if old:
        call(name="Say what is kept", function=_say_adopted, old=old)


def _say_adopted(state: State, host: Host, old: dict[str, str]) -> bool:
    for role, snapshot in old.items():
        text = f"{role}: the old server's files are kept in {snapshot.rpartition('/')[0]}, its last save is {snapshot}"
        logger.info(f"{host.print_prefix}{text}")
    return True

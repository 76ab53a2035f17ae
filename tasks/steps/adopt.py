"""Adopt: the data of a Redis of somebody else's becomes a role's, nothing lost, its files left where they are.

The old server ends itself with a save of everything it acknowledged: it has one thread, and after its last save it
answers nobody. That save is what the role gets. Until it has it, a marker keeps the role from starting.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import OPERATOR
from tasks.compare.adoption import Adoption, adoptions, described, snapshot_of
from tasks.compare.unknown import way_out
from tasks.desired.host import Instance, Passwords
from tasks.desired.paths import (
    DATA_ROOT,
    RECORDS,
    data_directory,
    log_directory,
    marker_file,
    old_marker_file,
    snapshot_file,
)
from tasks.observed.bounds import CHANGE, PATIENCE
from tasks.observed.connection import run_command
from tasks.observed.foreign import logins, unfinished_save
from tasks.observed.listeners import read_listeners
from tasks.observed.marker import marker_text
from tasks.observed.records import Unreadable
from tasks.observed.refusal import Refusal
from tasks.observed.script import script
from tasks.observed.state import ForeignServer, Marker, count_keys
from tasks.run.survey import Look
from tasks.steps.convert import make_logs
from tasks.steps.gate import read_info
from tasks.steps.log import own_script
from tasks.steps.old_server import AdoptionFailed, Logins, prepare, restore, settle_script, stop_script
from tasks.steps.operations import call
from tasks.steps.sandbox import as_role, reader_words


@dataclass
class Keys:
    """What was adopted in this run: role → keys in the old server's last save, and how many of them expire."""

    adopted: dict[str, tuple[int, int]] = field(default_factory=dict)


def begin_adoptions(seen: Look) -> None:
    """It is written where no role can that data is to come: from now on the role does not start without it."""
    items = [item for item in found(seen) if item.server is not None]
    if items:
        call(name="Mark the roles that adopt data", function=_mark, items=items)


def found(seen: Look) -> list[Adoption]:
    """The adoptions that are due on a host."""
    return adoptions(seen.desired, seen.observed) if seen.observed is not None else []


def adopt_data(seen: Look) -> Keys:
    """Each role that adopts has the data of its old server, which has ended; returns what was adopted, once it is."""
    keys, items = Keys(), found(seen)
    if items:
        known = {
            item.server.pid: logins(seen.desired, item.server, seen.passwords, seen.observed)
            for item in items
            if item.server is not None and seen.observed is not None
        }
        call(name="Adopt the data of other servers", function=_adopt_all, items=items, known=known, keys=keys)
    return keys


def check_adopted(seen: Look, keys: Keys) -> None:
    """Each role that adopted holds every key of the old server, but those that expired since."""
    items = found(seen)
    if items:
        instances = [item.instance for item in items]
        call(name="Check the adopted keys", function=_check, instances=instances, keys=keys, passwords=seen.passwords)


def _mark(state: State, host: Host, items: Sequence[Adoption]) -> bool:
    try:
        for item in items:
            if item.server is not None:
                write_marker(state, host, item.instance, new_marker(item.server))
    except AdoptionFailed as error:
        host.log_styled(str(error), fg="red", log_func=logger.error)
        return False
    return True


def new_marker(server: ForeignServer) -> Marker:
    """The marker of an adoption whose server still runs."""
    return Marker(described(server), server.pid, server.unit, snapshot_of(server), runs_as=server.runs_as)


def write_marker(state: State, host: Host, instance: Instance, marker: Marker) -> None:
    """The marker is on disk, whole."""
    path = marker_file(instance.name)
    command = script("write-marker", directory=RECORDS, path=path, text=marker_text(marker))
    ask_host(state, host, command, f"{instance.name}: {path} cannot be written")


def ask_host(state: State, host: Host, command: str, failure: str) -> str:
    """What the command answered. Raises AdoptionFailed with `failure` and all it printed when it does not succeed."""
    done = run_command(state, host, command, bound=CHANGE)
    if not done.succeeded:
        raise AdoptionFailed(f"{failure}: {done.output.strip()}")
    return done.stdout


def _adopt_all(state: State, host: Host, items: Sequence[Adoption], known: Mapping[int, Logins], keys: Keys) -> bool:
    complete = True
    for item in items:
        try:
            marker = item.marker
            if item.server is not None:
                marker = end_server(state, host, item.instance, item.server, known[item.server.pid])
            if marker is not None:
                keys.adopted[item.instance.name] = take_data(state, host, item, marker)
        except AdoptionFailed as error:
            host.log_styled(str(error), fg="red", log_func=logger.error)
            complete = False
    return complete


def end_server(state: State, host: Host, instance: Instance, server: ForeignServer, known: Logins) -> Marker:
    """The old server saved everything and ended, and nothing starts it again; the marker says so."""
    who = f"{instance.name}: {described(server)}"
    same = f"[ /proc/{server.pid}/cwd -ef {shlex.quote(server.directory)} ]"
    ask_host(state, host, same, f"{who}: is gone or another since it was looked at, expected as it was: deploy again")
    prepare(host, who, server, known)
    marker = new_marker(server)
    marker = replace(marker, before=identify(state, host, marker, f"{who}: {marker.rdb} is not where it saved to"))
    write_marker(state, host, instance, marker)
    stop = run_command(state, host, stop_script(server), bound=CHANGE)
    if not stop.succeeded:
        restore(host, server, known)
        raise AdoptionFailed(
            f"{who}: did not end within {PATIENCE:.0f} s of SIGTERM, expected it to save and end, it goes on serving: "
            f"look at its log, then deploy again: {stop.output.strip()}"
        )
    return marker


def take_data(state: State, host: Host, item: Adoption, marker: Marker) -> tuple[int, int]:
    """The role has what the old server saved last, in the form it loads; returns its keys and how many expire."""
    instance = item.instance
    who = f"{instance.name}: adoption of {marker.server}"
    again = f"start the old server again and deploy with --data adopt={instance.name}"
    failure = f"{who}: {marker.rdb} is not its last save or is damaged, expected all its data there: {again}"
    # Here, not where it ends: an adoption that was cut off in between goes on from here.
    ask_host(state, host, settle_script(marker.unit), f"{who}: {marker.unit} cannot be kept from starting")
    ask_host(state, host, root_script(), who)
    ask_host(state, host, own_script(instance, instance.user), who)
    if identify(state, host, marker, failure) == marker.before:
        raise AdoptionFailed(failure)
    output = ask_host(state, host, copy_script(instance, marker), failure)
    counts = re.search(r"\[info\] (\d+) keys read\s+\[info\] (\d+) expires", output)
    if counts is None:
        raise AdoptionFailed(f"{failure}: {output.strip()}")
    if instance.role.appendonly and not make_logs(state, host, [instance]):
        raise AdoptionFailed(f"{who}: its data is not loaded yet, see above: deploy again to go on")
    if item.server is not None:
        stays_away(state, host, instance, item.server)
    ask_host(state, host, f"rm {marker_file(instance.name)} && sync {RECORDS}", who)
    return int(counts[1]), int(counts[2])


def stays_away(state: State, host: Host, instance: Instance, server: ForeignServer) -> None:
    """Nothing listens where the old server did. One that was started again takes writes which the role would lack."""
    try:
        listeners = list(read_listeners(ask_host(state, host, "ss -Hltnp", instance.name).split("\n")))
    except Unreadable as error:
        raise AdoptionFailed(f"{instance.name}: who listens on the host cannot be read: {error}") from error
    back = [item for item in listeners if (item.address, item.port) in server.listens]
    if back:
        write_marker(state, host, instance, new_marker(server))  # that save was not the last one
        raise AdoptionFailed(
            f"{instance.name}: {described(server)} ended and came back as {back[0].process}, pid {back[0].pid}, "
            f"expected it to stay away: stop what starts it, with the server running, then deploy again with --data "
            f"adopt={instance.name}"
        )


def root_script() -> str:
    """Shell that gives the directory of all data to root. Pure."""
    return script("own-root", root=DATA_ROOT)


def identify(state: State, host: Host, marker: Marker, failure: str) -> str:
    """The identity of the old server's RDB, which is no save that was cut off, as the server's own user sees it."""
    command = script(
        "identify-save", rdb=marker.rdb, unfinished=unfinished_save(marker), reader=reader_words(marker.runs_as)
    )
    return ask_host(state, host, command, failure).strip()


def copy_script(instance: Instance, marker: Marker) -> str:
    """Copy the last save into the role's directory, checked before it gets its name; each read as its owner. Pure."""
    job = script(
        "copy-save",
        directory=data_directory(instance.name),
        log=log_directory(instance.role),
        target=snapshot_file(instance.role),
        old_marker=old_marker_file(instance.name),
    )
    return as_role(instance, job, int(PATIENCE), source=marker.rdb, reader=reader_words(marker.runs_as))


def _check(state: State, host: Host, instances: Sequence[Instance], keys: Keys, passwords: Passwords) -> bool:
    problems = [
        problem
        for instance in instances
        for problem in missing_keys(host, instance, keys, passwords[instance.name].get(OPERATOR) or "")
    ]
    for problem in problems:
        host.log_styled(problem, fg="red", log_func=logger.error)
    return not problems


def missing_keys(host: Host, instance: Instance, keys: Keys, password: str) -> list[str]:
    """What the role lacks of the old server's keys, in words; nothing when it has them all."""
    saved, expiring = keys.adopted.get(instance.name, (0, 0))
    info = read_info(host, instance, password)
    if isinstance(info, Refusal):
        return [f"{instance.name}: its keys after the adoption cannot be counted: {info}: {way_out(instance, info)}"]
    has, _ = count_keys(info)
    if has < saved - expiring:
        return [
            f"{instance.name}: has {has} keys, the old server's last save {saved} ({expiring} with a TTL), expected "
            "all: stop it and compare with the old files"
        ]
    host.log_styled(f"{instance.name}: adopted {saved} keys, has {has} ({expiring} of them expire)", fg="green")
    return []

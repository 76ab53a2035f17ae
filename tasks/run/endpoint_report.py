"""The endpoints of a run's hosts: printed as a table, and written as a file for every service."""

from __future__ import annotations

import re
import shutil
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pyinfra import logger
from pyinfra.api.state import State
from rich.console import Console

from tasks.catalogue.data_names import ENDPOINTS_DIR, ENDPOINTS_PORT
from tasks.catalogue.private_files import exposed, owners, write_together
from tasks.catalogue.secret import revealed
from tasks.catalogue.secrets_command import SecretsCommand
from tasks.compare.handed_out import handed_out
from tasks.compare.unknown import Kind
from tasks.compare.ways_in import closed_ways
from tasks.desired.host import Host, Instance, Passwords
from tasks.reports.endpoint_files import (
    INNER,
    PORTS,
    Access,
    accesses,
    as_json,
    environment_files,
    listed_services,
)
from tasks.reports.endpoint_table import endpoint_table, rights_table
from tasks.run.ending import Refusal, listed
from tasks.run.endpoint_leftovers import handed_out_again, left_over, named_copies
from tasks.run.interruption import held_back
from tasks.run.session import Run, current, unreachable
from tasks.run.survey import survey

LIST = "endpoints.json"


def print_endpoints(state: State) -> int:
    """Print the endpoints of every host of the run on standard output, once; returns the exit code.

    Where a directory was asked for, every service's file is in it: all of them, or none when one could not be used.
    """
    run = current(state)
    wanted = {host.name for host in state.inventory if state.is_host_in_limit(host)}
    hosts = [host for name, host in sorted(run.tier.hosts.items()) if name in wanted]
    asked = {name: host.data.get(name) for host in state.inventory for name in (ENDPOINTS_DIR, ENDPOINTS_PORT)}
    return run.only_once("endpoints", lambda: _print(state, run, hosts, asked))


def _print(state: State, run: Run, hosts: list[Host], asked: Mapping[str, object]) -> int:
    hosts, standbys = serving(state, run, hosts)
    if asked.get(ENDPOINTS_DIR) is not None:
        write_files(run, hosts, asked, partial(_taken_by_servers, state, run, hosts, asked[ENDPOINTS_PORT] == INNER))
    elif asked.get(ENDPOINTS_PORT) is not None:
        raise Refusal(f"{ENDPOINTS_PORT}: is for the files of {ENDPOINTS_DIR}, which is not there: name a directory")
    width = shutil.get_terminal_size((120, 24)).columns
    console = Console(file=sys.stdout, width=width)
    console.print(endpoint_table(hosts, width))
    console.print()
    console.print(rights_table(hosts))
    for note in standbys:
        logger.info(f"note: {note}")
    return 0 if any(host.roles for host in hosts) else 1


def serving(state: State, run: Run, hosts: list[Host]) -> tuple[list[Host], list[str]]:
    """The hosts without those of their roles that another one serves, and where those are; one look at all.

    Which of two hosts serves a role, only they can say. Raises Refusal where they do not: nobody is sent to a server
    that takes no write.
    """
    if not any(host.pairs for host in hosts):
        return hosts, []
    looks = survey(state, run)
    found = [run.tier.hosts[host.name] for host in hosts]
    lost = [f"{name}: {item}" for name, seen in sorted(looks.items()) for item in seen.unknown if item.kind in UNSERVED]
    # Of one that is lost and was replaced, the other one says that it serves.
    lost += [
        f"{name}: {why}"
        for name, why in unreachable(state).items()
        if any(not pair.is_standby for pair in run.tier.hosts[name].pairs)
    ]
    if lost:
        raise Refusal(listed("No endpoint is said: who serves a role is not known", lost))
    notes = [
        f"{item.name}: {host.name} is its standby ({item.where[0]}:{item.role.port}), which no service is sent to"
        for host in found
        for item in host.instances
        if item.is_standby
    ]
    return [without_standbys(host) for host in found], notes


UNSERVED = (Kind.PAIR, Kind.TWO, Kind.NOBODY, Kind.ALONE)


def without_standbys(host: Host) -> Host:
    """A host with those of its roles that it serves."""
    names = {item.name for item in host.instances if item.is_standby}
    roles = tuple(role for role in host.roles if role.name not in names)
    return replace(host, roles=roles, instances=tuple(item for item in host.instances if item.name not in names))


def _taken_by_servers(
    state: State, run: Run, hosts: Sequence[Host], inner: bool
) -> tuple[dict[str, Passwords], list[str]]:
    """The passwords of each host's roles that its servers take, and why somebody would not get in; one look at all."""
    looks, away = survey(state, run), unreachable(state)
    known: dict[str, Passwords] = dict(run.tier.passwords)
    problems: list[str] = []
    for host in hosts:
        seen = looks.get(host.name)
        because = seen.error if seen is not None else away.get(host.name, "not looked at")
        found = {
            item.name: handed_out(
                item, dict(run.tier.passwords[host.name][item.name]), seen.observed if seen else None, because
            )
            for item in host.instances
        }
        known[host.name] = {**run.tier.passwords[host.name], **{name: item.passwords for name, item in found.items()}}
        for item in found.values():
            problems += item.problems
            for note in item.notes:
                logger.warning(f"note: {note}")
        for instance in host.instances:
            problems += closed_ways(host, instance, seen.observed if seen else None, inner=inner, because=because)
    return known, problems


def write_files(
    run: Run,
    hosts: list[Host],
    asked: Mapping[str, object],
    look: Callable[[], tuple[dict[str, Passwords], list[str]]],
) -> None:
    """The directory has a file for every service of the hosts' roles. Raises Refusal before it writes any.

    `look`: tells which passwords the servers take, and why somebody would not get in.
    """
    named, port = asked[ENDPOINTS_DIR], asked[ENDPOINTS_PORT] or PORTS[0]
    if not isinstance(named, str) or not named:
        raise Refusal(f"{ENDPOINTS_DIR}: expected a directory, observed {named!r}: name one")
    if port not in PORTS:
        raise Refusal(f"{ENDPOINTS_PORT}: expected {' or '.join(PORTS)}, observed {port!r}: correct it")
    directory = Path(named)
    carried = [(host.name, role) for host in hosts for role in host.roles]
    commands = {name: str(source) for name, source in run.tier.sources.items() if isinstance(source, SecretsCommand)}
    known, untaken = look()
    found, problems = accesses(carried, known, commands)
    problems += untaken
    copies = [item for host in hosts for instance in host.instances for item in _copies(instance)]
    found = [replace(item, tls_files=_tls_files(item, copies, directory)) for item in found]
    files = environment_files(found, inner=port == INNER) if not problems else {}
    others = _only_in_others(run, found)
    kept, lost = _kept(directory / LIST, others)
    problems += [
        *lost,
        *_left_out(run, hosts, found),
        *_unfit(directory, [*files, LIST, *(item.name for item in copies)]),
    ]
    problems += _unreadable_path(directory, copies)
    if problems:
        raise Refusal(listed("No file was written: not every service would have got its way in", problems))
    before = named_copies(directory)
    try:
        with held_back("The services' files are being written, which is not left half-done: this ends in a moment."):
            _write(directory, {LIST: as_json(found, kept), **files}, copies)
    except OSError as error:
        raise Refusal(f"{directory}: cannot be written: {error.strerror or error}: name another directory") from error
    logger.info(f"--> {len(files)} files of services and {LIST} are in {directory}")
    for note in (
        *_lacking(directory / LIST, others - kept.keys()),
        *left_over(run, directory, before),
        *handed_out_again(run, hosts),
    ):
        logger.warning(f"note: {note}")


def _only_in_others(run: Run, found: Iterable[Access]) -> set[str]:
    """Services all of whose hosts a run leaves out; of one with some of them `_left_out` speaks."""
    every = {service for host in run.tier.hosts.values() for role in host.roles for service in role.services}
    return every - {item.service for item in found}


def _kept(path: Path, others: Collection[str]) -> tuple[Mapping[str, object], list[str]]:
    """What the list that is there says of the services `others`, and why that cannot be gone on with."""
    try:
        known = listed_services(path.read_text(encoding="utf-8")) if others and path.exists() else {}
    except (OSError, ValueError) as error:
        why = f" ({error.strerror})" if isinstance(error, OSError) else ""
        return {}, [
            f"{path}: is no list of this tool's{why}, and has to go on naming {', '.join(sorted(others))}, whose hosts "
            "are left out, expected one: move it away, or let all hosts take part"
        ]
    return {name: known[name] for name in sorted(others) if name in known}, []


def _lacking(path: Path, services: Collection[str]) -> Iterator[str]:
    if services:
        yield (
            f"{path}: has no {', '.join(sorted(services))}, whose hosts are left out, expected every service: write it "
            "with all hosts once"
        )


def _write(directory: Path, files: Mapping[str, str], copies: Sequence[_Copy]) -> None:
    if not directory.exists():
        directory.mkdir(mode=0o700)  # somebody else's that is there in this moment is no place for passwords
    # What the services' files name is in its place before them.
    beside = [(directory / item.name, item.text, 0o600 if item.end == "KEY" else 0o644) for item in copies]
    write_together([*beside, *((directory / name, text, 0o600) for name, text in files.items())])


@dataclass(frozen=True)
class _Copy:
    """A file beside those of the services: what clients of a role check it by, or show."""

    role: str
    service: str  # empty for all of them
    end: str  # of the variable that has its path
    name: str
    text: str = field(repr=False)


def _copies(instance: Instance) -> Iterator[_Copy]:
    """What clients of a role that speaks TLS need as files; no service or role has an @ in its name."""
    own, role = instance.credentials, instance.name
    if own is None:
        return
    yield _Copy(role, "", "CA", f"{role}.ca.crt", own.ca)
    for service in instance.role.services:
        if service in own.clients:
            pair = own.clients[service]
            yield _Copy(role, service, "CERTIFICATE", f"{service}@{role}.crt", pair.certificate)
            yield _Copy(role, service, "KEY", f"{service}@{role}.key", revealed(pair.key))


def _tls_files(access: Access, copies: list[_Copy], directory: Path) -> dict[str, str]:
    """How a variable of a service's file ends → the path that it has."""
    own = (item for item in copies if item.role == access.role.name and item.service in ("", access.service))
    return {item.end: str(directory.absolute() / item.name) for item in own}


PLAIN_PATH = re.compile(r"[A-Za-z0-9/._@+~-]+")  # what a shell, systemd and docker read alike without quotes


def _unreadable_path(directory: Path, copies: Sequence[_Copy]) -> Iterator[str]:
    """Why the paths of certificates in the services' files would be read otherwise."""
    if copies and not PLAIN_PATH.fullmatch(str(directory.absolute())):
        yield (
            f"{directory.absolute()}: has other characters than letters, digits and / . _ @ + ~ -, which a shell, "
            "systemd and docker read differently in the paths of certificates, expected none: name another directory"
        )


def _left_out(run: Run, hosts: list[Host], found: list[Access]) -> Iterator[str]:
    """A file is written whole: one without the roles that a run leaves out would take a service's way in from it."""
    services = {item.service for item in found}
    seen = {role.name for host in hosts for role in host.roles}
    for name, host in sorted(run.tier.hosts.items()):
        for role in host.roles:
            if role.name not in seen and (cut := sorted(services & set(role.services))):
                yield f"{role.name}: {name} is left out, and {', '.join(cut)} would lack that role: let it take part"


def _unfit(directory: Path, names: list[str]) -> list[str]:
    """Why passwords must not be written there."""
    try:
        return list(_unfit_as_seen(directory, names))
    except OSError as error:
        return [f"{error.filename or directory}: {error.strerror}: name a directory of your own"]


def _unfit_as_seen(directory: Path, names: list[str]) -> Iterator[str]:
    if not directory.exists():
        if not directory.parent.is_dir():
            yield f"{directory}: {directory.parent.absolute()} does not exist: create it or name another directory"
        elif not directory.parent.stat().st_mode & stat.S_ISVTX and (problem := exposed(directory.absolute())):
            yield problem  # in a sticky one, as /tmp, only who made a directory renames it
        return
    if not directory.is_dir():
        yield f"{directory}: not a directory: name another"
        return
    known = directory.stat()
    mode = stat.S_IMODE(known.st_mode)
    if known.st_uid not in owners() or mode & 0o077:
        yield (
            f"{directory}: of user {known.st_uid}, mode {mode:04o}, expected your own and 0700: run chmod 700 "
            f"{directory}, or name another directory"
        )
    for name in names:
        if (directory / name).is_dir():
            yield f"{directory / name}: a directory stands in the place of this file: move it away"

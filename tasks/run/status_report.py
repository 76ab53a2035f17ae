"""The status of a run's hosts: the look of a drift check, and beside it what servers and hosts say of this moment."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import OPERATOR
from tasks.catalogue.data_names import (
    STATUS_HISTORY,
    STATUS_METRICS,
    STATUS_PATIENCE,
    STATUS_REPORT,
    STATUS_ROLE,
    STATUS_WATCH,
)
from tasks.compare.backups import Record, is_of, recorded
from tasks.desired.host import Instance
from tasks.desired.paths import proof_record, unit_name
from tasks.observed.bounds import SEEN_BY_A_PERSON, SEEN_BY_NOBODY, Patience
from tasks.observed.connection import Job, Unobserved, begin, patient
from tasks.observed.login import operator_login
from tasks.observed.moment import HostNow, ServerNow
from tasks.observed.now import ask_big_keys, ask_host, ask_server
from tasks.observed.state import Observed, Server
from tasks.reports import write_whole
from tasks.reports.deploys import read_deploys
from tasks.reports.model import HostReport
from tasks.reports.status_json import to_status_json
from tasks.reports.status_metrics import to_status_metrics
from tasks.reports.status_model import HostStatus, RoleRow, StatusReport, findings, lasts, log_pace, row
from tasks.reports.status_table import to_status
from tasks.run.drift_report import build_report
from tasks.run.ending import Refusal
from tasks.run.fault import fault
from tasks.run.network import FromOthers
from tasks.run.session import Run, current
from tasks.run.survey import Look, look_at_all

SHORTEST, LONGEST = 1, 3600  # seconds between two looks, of which one takes about one, and for a look
FORMS: dict[str, Callable[[StatusReport], str]] = {
    STATUS_REPORT: to_status_json,
    STATUS_METRICS: to_status_metrics,
}
CLEAR = "\x1b[H\x1b[2J"


@dataclass(frozen=True)
class Asked:
    """What this run was asked to show."""

    role: str = ""
    history: bool = False
    watch: float = 0.0
    patience: float = SEEN_BY_A_PERSON
    files: Mapping[str, Path] = field(default_factory=dict)  # word of --data → where to


@dataclass(frozen=True)
class Now:
    """What a host and its servers said of this moment, or in `error` why not."""

    host: HostNow | None = None
    servers: Mapping[str, ServerNow] = field(default_factory=dict)
    answered: Mapping[str, float] = field(default_factory=dict)  # role → when it had told how it is
    error: str = ""


def show_status(state: State) -> int:
    """Print what the tier does, once or again and again, and return the exit code of the last look."""
    run = current(state)
    return run.only_once("status", lambda: _show(state, run, asked(state, run)))


def asked(state: State, run: Run) -> Asked:
    """What `--data` asks for. Raises Refusal for what nothing can be shown of."""
    data = {
        name: next((host.data.get(name) for host in state.inventory if host.data.get(name) is not None), None)
        for name in (STATUS_ROLE, STATUS_HISTORY, STATUS_WATCH, STATUS_PATIENCE, *FORMS)
    }
    role = data[STATUS_ROLE]
    known = sorted({item.name for host in run.tier.hosts.values() for item in host.roles})
    problems = []
    if role is not None and role not in known:
        problems.append(f"{STATUS_ROLE}: expected one of {', '.join(known)}, observed {role!r}: correct the name")
    for name in (STATUS_WATCH, STATUS_PATIENCE):
        if data[name] is not None and not seconds(data[name]):
            wanted = f"expected seconds from {SHORTEST} to {LONGEST}"
            problems.append(f"{name}: {wanted}, observed {data[name]!r}: correct it")
    if data[STATUS_HISTORY] not in (None, True, False, "true", "false"):
        problems.append(f"{STATUS_HISTORY}: expected true, observed {data[STATUS_HISTORY]!r}: correct it")
    if problems:
        raise Refusal("\n".join(problems))
    files = {name: Path(str(data[name])) for name in FORMS if data[name] is not None}
    history = data[STATUS_HISTORY] in (True, "true")
    usual = SEEN_BY_NOBODY if STATUS_METRICS in files else SEEN_BY_A_PERSON
    patience = seconds(data[STATUS_PATIENCE]) or usual
    return Asked(str(role or ""), history, seconds(data[STATUS_WATCH]), patience, files)


def seconds(value: object) -> float:
    """A number of seconds; 0 for what is none."""
    try:
        number = float(str(value))
    except ValueError:
        return 0.0
    return number if SHORTEST <= number <= LONGEST else 0.0


def _show(state: State, run: Run, wanted: Asked) -> int:
    if not wanted.watch:
        return _once(state, run, wanted)
    while True:  # until Ctrl-C, which ends the run
        began = time.monotonic()
        _once(state, run, wanted, clear=sys.stdout.isatty())
        time.sleep(max(0.0, wanted.watch - (time.monotonic() - began)))


def _once(state: State, run: Run, wanted: Asked, clear: bool = False) -> int:
    report = status_of(state, run, wanted.patience, wanted.role)
    for name, path in wanted.files.items():
        try:
            write_whole(path, FORMS[name](report))
        except OSError as error:
            raise Refusal(f"The report could not be written: {name}={path}: {error}") from error
    width = shutil.get_terminal_size((80, 24)).columns
    text = to_status(report, width, sys.stdout.isatty(), wanted.role, wanted.history)
    print((CLEAR if clear else "") + text, end="", flush=True)
    return report.exit_code


def status_of(state: State, run: Run, patience: float, role: str = "") -> StatusReport:
    """One look at every host, now. `patience`: seconds; `role`: which one is asked for its biggest keys, too.

    What is of this moment is asked beside the look, and not after it: that may wait for one who says nothing.
    """
    checked_at, began = datetime.now(UTC), time.monotonic()
    asked_of = [host for host in state.inventory.get_active_hosts() if host.name in run.tier.hosts]
    with patient(Patience(began, patience, len(asked_of))):
        asking = {host.name: Asking(state, run, host, role) for host in asked_of}
        looks = look_at_all(state, run, lambda name: asking[name].answered)
        said = {name: asking[name].result(seen) for name, seen in looks.items()}
    drift = build_report(state, run, looks, FromOthers(), checked_at, 0.0)
    proofs = proofs_elsewhere(looks)
    roles = {name: [item.name for item in host.roles] for name, host in run.tier.hosts.items()}
    rows = tuple(
        _host(
            item,
            looks.get(item.host),
            said.get(item.host, Now()),
            proofs.get(item.host, {}),
            roles.get(item.host, ()),
        )
        for item in drift.hosts
    )
    return StatusReport(drift.checked_at, rows, time.monotonic() - began, drift.notes)


class Asking:
    """What one host and its servers are asked of this moment, beside its look."""

    def __init__(self, state: State, run: Run, host: PyinfraHost, whole: str) -> None:
        self._host, self._whole, self._passwords = host, whole, run.tier.passwords[host.name]
        self._own = begin(partial(ask_host, state, host, run.tier.hosts[host.name].instances))
        self._servers: dict[str, Job[ServerNow]] = {}
        self._at: dict[str, float] = {}

    def answered(self, instance: Instance, server: Server, seen: Observed) -> None:
        """A server has told how it is: the rest is asked."""
        self._at[instance.name] = time.monotonic()
        self._servers[instance.name] = begin(partial(self._ask, instance.name, server, seen))

    def result(self, seen: Look) -> Now:
        """All of it; a fault is that host's, and hides no other."""
        if seen.observed is None:
            return Now()
        try:
            servers = {name: job.result() for name, job in self._servers.items() if name in seen.observed.servers}
            return Now(self._own.result(), servers, self._at)
        except Unobserved as error:
            return Now(error=str(error))
        except Exception as error:
            return Now(error=fault(error))

    def _ask(self, role: str, server: Server, seen: Observed) -> ServerNow:
        password = operator_login(role, self._passwords[role].get(OPERATOR), seen)
        if not password:
            return ServerNow()
        said = ask_server(self._host, unit_name(role), server, password, seen.addresses)
        if role != self._whole:
            return said
        return replace(said, big_keys=ask_big_keys(self._host, unit_name(role), server, password))


def proofs_elsewhere(looks: Mapping[str, Look]) -> dict[str, dict[str, Record | None]]:
    """Host → role → what came of the last proof of its copies, of those that another host proves. Pure."""
    found: dict[str, dict[str, Record | None]] = {
        name: {plan.role.name: None for plan in seen.desired.backups if not plan.is_proved_here}
        for name, seen in looks.items()
    }
    seen_ones = [(seen.desired, seen.observed) for seen in looks.values() if seen.observed is not None]
    for desired, observed in seen_ones:
        for plan in desired.proofs:
            record = recorded(proof_record(plan.role.name), observed)
            if record is None or not is_of(plan, record):
                continue
            for home in plan.homes:
                known = found.get(home, {})
                if plan.role.name in known and _is_newer(record, known[plan.role.name]):
                    known[plan.role.name] = record
    return found


def _is_newer(record: Record, known: Record | None) -> bool:
    """Whether it is to be shown: of a pair two hosts may prove what either makes."""
    return known is None or record.good > known.good


def _host(
    report: HostReport,
    seen: Look | None,
    now: Now,
    elsewhere: Mapping[str, Record | None],
    roles: Collection[str],
) -> HostStatus:
    if seen is None or seen.observed is None:
        unseen = tuple(sorted(roles))
        return HostStatus(report, (), findings(report, (), unseen=unseen), unseen=unseen)
    observed = seen.observed
    rows = tuple(
        _with_trend(
            row(
                item,
                observed,
                now.host,
                now.servers.get(item.name),
                report.logins_refused.get(item.name, {}),
                seen.desired.limits,
                elsewhere,
            ),
            now.servers.get(item.name),
            now.answered.get(item.name, seen.began),
        )
        for item in seen.desired.instances
    )
    rows = _with_disks(seen, observed, now, rows)
    deploys = tuple(read_deploys(now.host.deploys)) if now.host else ()
    found = findings(report, rows, now.error)
    return HostStatus(report, rows, found, deploys, now.host.time if now.host else 0)


def _with_trend(item: RoleRow, now: ServerNow | None, began: float) -> RoleRow:
    """How many keys are dropped a second, between the look and the question after it."""
    if now is None or now.evicted is None or item.evicted is None or now.at <= began:
        return item
    return replace(item, evicted_per_second=max(0, now.evicted - item.evicted) / (now.at - began))


def _with_disks(seen: Look, observed: Observed, now: Now, rows: tuple[RoleRow, ...]) -> tuple[RoleRow, ...]:
    """For how long each disk lasts: roles that have the same room left write to the same one."""
    at = now.host.time if now.host else 0
    pace: dict[int | None, float] = {}
    for instance, item in zip(seen.desired.instances, rows, strict=True):
        pace[item.disk_free] = pace.get(item.disk_free, 0.0) + log_pace(instance, observed, at)
    return tuple(
        item if item.disk_free is None else replace(item, disk_lasts=lasts(item.disk_free, pace[item.disk_free]))
        for item in rows
    )

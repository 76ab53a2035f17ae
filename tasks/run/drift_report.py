"""The drift check of a run: one look at every host, reported in the forms that were asked for."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pyinfra.api.state import State

from tasks.compare.unknown import Unknown
from tasks.compare.unserved import unserved
from tasks.reports import DriftReport, HostReport, Status, to_html, to_json, to_metrics, to_table, write_whole
from tasks.run.ending import Refusal
from tasks.run.fault import fault
from tasks.run.network import FromOthers, try_from_others
from tasks.run.session import Run, current, unreachable
from tasks.run.survey import Look, survey

FORMS: dict[str, Callable[[DriftReport], str]] = {
    "drift_report": to_json,
    "drift_page": to_html,
    "drift_metrics": to_metrics,
}


def check_drift(state: State) -> int:
    """Look at every host of the run once, print and write what was found, and return the exit code."""
    run = current(state)
    return run.only_once("drift", lambda: _check(state, run))


def _check(state: State, run: Run) -> int:
    checked_at, began = datetime.now(UTC), time.monotonic()
    looks = survey(state, run)
    tried = try_from_others(state, looks)
    report = build_report(state, run, looks, tried, checked_at, time.monotonic() - began)
    deliver(state, report)
    return report.exit_code


def build_report(
    state: State, run: Run, looks: Mapping[str, Look], tried: FromOthers, checked_at: datetime, seconds: float
) -> DriftReport:
    """The report on every host that the run asked for, those that could not be reached among them."""
    asked = [host for host in state.inventory if state.is_host_in_limit(host) and host.name in run.tier.hosts]
    observed = [seen.observed for seen in looks.values() if seen.observed is not None]
    away = unreachable(state)
    nobody = unserved(
        {name: (seen.desired, seen.observed) for name, seen in looks.items() if seen.observed is not None}
    )
    return DriftReport(
        checked_at=checked_at.replace(microsecond=0),
        hosts=tuple(
            _host(run, host.name, _with(looks.get(host.name), host.name, tried, nobody), away) for host in asked
        ),
        seconds=seconds,
        commands=len(looks) + tried.commands,
        exchanges=sum(len(item.servers) for item in observed),
        notes=tuple(run.tier.notices()),
    )


def _with(seen: Look | None, name: str, tried: FromOthers, nobody: Mapping[str, Sequence[Unknown]]) -> Look | None:
    """A look, with what other hosts say of the host's ports, and whether somebody serves what moved to it."""
    if seen is None:
        return None
    more, unknown = tried.differences.get(name, []), tried.unknown.get(name, [])
    return replace(
        seen, differences=(*seen.differences, *more), unknown=(*seen.unknown, *unknown, *nobody.get(name, ()))
    )


def _host(run: Run, name: str, seen: Look | None, away: Mapping[str, str]) -> HostReport:
    """`away`: why hosts could not be reached."""
    roles = tuple(role.name for role in run.tier.hosts[name].roles)
    if seen is None:
        return HostReport(name, "unreachable", away.get(name, "not looked at"), roles, (), 0.0)
    if seen.observed is None:
        return HostReport(name, "error", seen.error, roles, (), seen.seconds)
    notes = "\n".join(seen.notes)
    status: Status = "error" if seen.unknown else "drifted" if seen.differences else "in_sync"
    found = HostReport(name, status, notes, roles, seen.differences, seen.seconds, seen.unknown, seen.health)
    return replace(found, logins_refused=seen.logins_refused)


def deliver(state: State, report: DriftReport) -> None:
    """Write the files that were asked for and print the table. Raises Refusal when a file cannot be written."""
    problems = []
    for name, form in FORMS.items():
        path = asked_file(state, name)
        if path is None:
            continue
        try:
            write_whole(path, form(report))
        except OSError as error:
            problems.append(f"{name}={path}: {error}")
        except Exception as error:  # one form does not keep the others from being written
            problems.append(f"{name}={path}: {fault(error)}")
    colour = sys.stdout.isatty()
    width = shutil.get_terminal_size((100, 24)).columns
    print(to_table(report, width, colour), end="", flush=True)
    if problems:
        raise Refusal("The report could not be written:\n    " + "\n    ".join(problems))


def asked_file(state: State, name: str) -> Path | None:
    """The path given by `--data NAME=FILE`, the same for every host."""
    paths = {host.data.get(name) for host in state.inventory} - {None}
    return Path(str(paths.pop())) if paths else None

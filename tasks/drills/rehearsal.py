"""A rehearsal: the drills one after the other, each on all its roles and hosts at once, and what came of it all."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.data_names import CAME_FROM, FROM
from tasks.catalogue.data_names import DRILLS as ASKED_DRILLS
from tasks.catalogue.printable import printable
from tasks.drills import clients, disk, ending, logs, memory, tampering
from tasks.drills.client import DrillFailed
from tasks.drills.outcome import OfHost, OfRole, Outcome
from tasks.drills.place import Place, sh
from tasks.drills.plan import Drill, chosen, in_minutes
from tasks.drills.upgrade import DONE, PROMISE, commit_of, deploy_first, upgrade
from tasks.drills.upgrade import NAME as UPGRADE
from tasks.observed.connection import begin
from tasks.observed.exchange import ExchangeError
from tasks.prove.proof import findings
from tasks.reports.files import write_whole
from tasks.reports.rehearsal_model import (
    DrillResult,
    NotRun,
    Rehearsal,
    RehearsedHost,
    RehearsedRole,
    Scaled,
    to_json,
)
from tasks.reports.rehearsal_model import Step as Reported
from tasks.reports.rehearsal_page import to_html
from tasks.reports.rehearsal_summary import summary
from tasks.reports.rehearsal_words import DRILLED, ran
from tasks.run.drift_report import asked_file
from tasks.run.ending import Refusal, listed
from tasks.run.fault import fault
from tasks.run.older_state import plain_words
from tasks.run.options import options
from tasks.run.session import ROOT, Run, current
from tasks.run.survey import Look, look, survey
from tasks.steps.lock import hold_now, let_go

OF_ROLE: Mapping[str, OfRole] = {
    "full": memory.full,
    "crash": ending.crash,
    "log_truncated": logs.log_truncated,
    "log_damaged": logs.log_damaged,
    "log_foreign_owner": logs.log_foreign_owner,
    "rewrite_memory_short": memory.rewrite_memory_short,
    "busy_script": clients.busy_script,
    "maxclients": clients.maxclients,
    "slow_subscriber": clients.slow_subscriber,
    "stampede": clients.stampede,
    "latency": clients.latency,
}
OF_HOST: Mapping[str, OfHost] = {
    "power": ending.power,
    "reboot": ending.reboot,
    "reboot_late_address": ending.reboot_late_address,
    "disk_full": disk.disk_full,
    "tamper": tampering.tamper,
}
FORMS: Mapping[str, Callable[[Rehearsal], str]] = {"rehearsal_report": to_json, "rehearsal_page": to_html}
STEP = "--> Starting operation:"  # before the name of each, in what pyinfra prints
DEPLOY_PATIENCE = 1800  # seconds for the deploy that ends a drill


@dataclass
class Part:
    """One drill in one place, or on one host: its steps, and what has come of it so far."""

    drill: Drill
    host: Host
    places: Sequence[Place]
    steps: Generator[None, None, Mapping[str, Outcome]]
    began: float = field(default_factory=time.monotonic)
    outcomes: Mapping[str, Outcome] | None = None
    problem: str = ""
    ended: float = 0.0

    def go_on(self) -> None:
        """To the next deploy that is due, or to the end."""
        try:
            next(self.steps)
            return
        except StopIteration as done:
            self.outcomes = done.value
        except DrillFailed as error:
            self.problem = str(error)
        except ExchangeError as error:  # a client of the drill was cut off where it had to be served
            self.problem = f"{', '.join(place.name for place in self.places)}: a client of the drill: {error}"
        except Exception as error:
            self.problem = fault(error)
        self.ended = time.monotonic()

    @property
    def waits(self) -> bool:
        """Whether it goes on after a deploy."""
        return self.outcomes is None and not self.problem

    def results(self) -> list[DrillResult]:
        """One for each of its roles."""
        return [self._result(place) for place in self.places]

    def _result(self, place: Place) -> DrillResult:
        found = (self.outcomes or {}).get(place.name)
        return DrillResult(
            drill=self.drill.name,
            role=place.name,
            host=self.host.name,
            promise=self.drill.promise(place.role),
            passed=found is not None,
            seconds=round(max(self.ended - self.began, 0.0), 1),
            proved_by=found.proved_by if found else f"what was to prove it: {self.drill.done}",
            figures=found.figures if found else {},
            series=found.series if found else (),
            said=found.said if found else tuple(printable(line) for line in self.problem.splitlines() if line.strip()),
        )


def rehearse_tier(state: State) -> int:
    """Run the drills that were asked for, write the reports, and return the exit code."""
    run = current(state)
    return run.only_once("rehearse", lambda: _rehearse(state, run))


def _rehearse(state: State, run: Run) -> int:
    drills, problems = chosen(asked(state, ASKED_DRILLS))
    if problems:
        raise Refusal(listed("Nothing was drilled", problems))
    ref = asked(state, FROM)
    commit = commit_of(ref) if ref is not None else ""
    looks = survey(state, run)
    places = _places(state, looks)
    if options().get("dry") or not options().get("yes"):
        _show_plan(drills, places, run.tier.likeness.notices())
        return 0
    if ref is not None:
        inventory, told = str(options().get("inventory") or ""), partial(plain_words, list(state.inventory))
        return deploy_first(ref, commit[:12], sys.argv[1:], inventory, _secrets(run), told)
    return _rehearse_now(state, run, drills, places, looks)


def _rehearse_now(
    state: State, run: Run, drills: Sequence[Drill], places: Sequence[Place], looks: Mapping[str, Look]
) -> int:
    began, clock, came_from = datetime.now(UTC), time.monotonic(), asked(state, CAME_FROM)
    hold_now(state, looks)
    # Asked before anything is broken: a host that does not come back must not cost the report.
    hosts = tuple(_host(state, host, looks[host.name]) for host in _hosts(places))
    results: list[DrillResult] = []
    left_out: list[NotRun] = []
    if came_from:
        results += _upgraded(state, places, looks)
        looks = _look_again(state, looks)
    if all(item.passed for item in results):
        results += _run_all(state, drills, places, looks, left_out)
    else:
        left_out += [NotRun(drill.name, None, "the deploy over the older state failed") for drill in drills]
    drilled = Reported(DRILLED, "tasks/rehearse.py", round(time.monotonic() - clock, 1), True, ran(results))
    steps = [drilled, *_verify(state, run)]
    let_go(state)
    report = Rehearsal(
        began=began.replace(microsecond=0),
        seconds=round(time.monotonic() - clock, 1),
        inventory=str(options().get("inventory") or ""),
        commit=_commit(),
        came_from=came_from,
        like=run.tier.likeness.like,
        hosts=hosts,
        roles=tuple(_role(place) for place in places),
        scaled=tuple(_scaled(run, {place.name for place in places})),
        steps=tuple(steps),
        drills=tuple(results),
        not_run=tuple(left_out),
    )
    _deliver(state, report)
    if not report.passed:
        _say_how_to_get_in(places, {item.host for item in report.failed})
    return 0 if report.passed else 1


def _say_how_to_get_in(places: Sequence[Place], failed: Collection[str]) -> None:
    for host in _hosts(places):
        if host.name in failed or not failed:
            logger.error(f"--> {host.name} is left as the drill left it: {way_in(host.name, host.data)}")


def way_in(name: str, data: Any) -> str:
    """The command that opens a shell there, from what the inventory says. Pure."""
    words = ["ssh"]
    for option, field_name in (("-p", "ssh_port"), ("-i", "ssh_key"), ("-F", "ssh_config_file")):
        if data.get(field_name):
            words += [option, str(data.get(field_name))]
    if data.get("ssh_known_hosts_file"):
        words += ["-o", f"UserKnownHostsFile={data.get('ssh_known_hosts_file')}"]
    user, where = data.get("ssh_user"), data.get("ssh_hostname") or name
    return shlex.join([*words, f"{user}@{where}" if user else str(where)])


def asked(state: State, name: str) -> str | None:
    """The value given by `--data NAME=…`, the same for every host."""
    found = {str(host.data.get(name)) for host in state.inventory if host.data.get(name) is not None}
    return found.pop() if found else None


def _places(state: State, looks: Mapping[str, Look]) -> list[Place]:
    hosts = {host.name: host for host in state.inventory.get_active_hosts()}
    return [
        Place(state, hosts[name], instance, seen.passwords)
        for name, seen in sorted(looks.items())
        for instance in seen.desired.instances
    ]


def _hosts(places: Sequence[Place]) -> list[Host]:
    return list({place.host.name: place.host for place in places}.values())


def _show_plan(drills: Sequence[Drill], places: Sequence[Place], notes: Sequence[str]) -> None:
    for note in notes:
        logger.info(f"note: {note}")
    for drill in drills:
        logger.info(f"{drill.name}: {in_minutes(drill.seconds)}")
        for place in places:
            logger.info(f"    {place.name}: {drill.left_out(place.role) or drill.promise(place.role)}")
    logger.info(
        f"--> {len(drills)} drills, {in_minutes(sum(drill.seconds for drill in drills))} without KVM; -y runs them"
    )


def _run_all(
    state: State, drills: Sequence[Drill], places: Sequence[Place], looks: Mapping[str, Look], left_out: list[NotRun]
) -> list[DrillResult]:
    results: list[DrillResult] = []
    failed: dict[tuple[str | None, str], str] = {}  # role and host where a drill has failed, and the last one that did
    left, pace = sum(drill.seconds for drill in drills), 1.0
    for number, drill in enumerate(drills, 1):
        which = [place for place in places if not _left_out(drill, place, looks, failed, left_out)]
        logger.info(f"--> {number}/{len(drills)} {drill.name} ({in_minutes(pace * left)} left)")
        began = time.monotonic()
        parts = _parts(drill, which)
        _run(state, looks, parts)
        for part in parts:
            results += part.results()
            failed |= {(item.role, item.host): drill.name for item in part.results() if not item.passed}
            _say(part)
        left -= drill.seconds
        # Machines differ: what the first drills took tells more than what others did.
        pace = 0.5 * pace + 0.5 * min((time.monotonic() - began) / drill.seconds, 10) if parts else pace
    return results


def _secrets(run: Run) -> Path | None:
    """The file with the passwords; None where a command has them."""
    return next((source for source in run.tier.sources.values() if isinstance(source, Path)), None)


def _look_again(state: State, looks: Mapping[str, Look]) -> dict[str, Look]:
    """The same hosts as they are now."""
    hosts = [host for host in state.inventory.get_active_hosts() if host.name in looks]
    jobs = {host.name: begin(partial(look, state, current(state), host)) for host in hosts}
    return {name: job.result() for name, job in jobs.items()}


def _upgraded(state: State, places: Sequence[Place], looks: Mapping[str, Look]) -> list[DrillResult]:
    """What the deploy over the older state cost each role."""
    began, found, problem = time.monotonic(), dict[str, Outcome](), ""
    logger.info("--> the working tree over it: deploy.py, under writes of every kind")
    try:
        found.update(upgrade(places, lambda: _deploy(state, looks)))
    except DrillFailed as error:
        problem = str(error)
    took = round(time.monotonic() - began, 1)
    results = []
    for place in places:
        drill = Drill(UPGRADE, "role", took, DONE, lambda role: PROMISE)
        part = Part(drill, place.host, [place], iter(()), began, found or None, problem, time.monotonic())  # type: ignore[arg-type]
        results += part.results()
        _say(part)
    return results


def _left_out(
    drill: Drill,
    place: Place,
    looks: Mapping[str, Look],
    failed: Mapping[tuple[str | None, str], str],
    left_out: list[NotRun],
) -> str:
    """Why a drill is not run in a place, which is noted; empty when it is run. What is broken would prove nothing."""
    seen = looks[place.host.name].observed
    why = drill.left_out(place.role)
    if not why and drill.machine and (seen is None or seen.container):
        why = f"{place.host.name} is a container, expected a machine with a kernel and a disk of its own"
    before = failed.get((place.name, place.host.name))
    if not why and before and not _serves(place):
        why = f"it has not served since the drill {before} failed"
    if why:
        left_out.append(NotRun(drill.name, place.name, why))
    return why


def _serves(place: Place) -> bool:
    """Whether a role serves, whatever has become of its host."""
    try:
        return place.answers()
    except Exception:  # a connection that is gone shows in many ways
        return False


def _parts(drill: Drill, places: Sequence[Place]) -> list[Part]:
    if drill.of == "role":
        return [Part(drill, place.host, [place], _of_role(OF_ROLE[drill.name], place)) for place in places]
    return [
        Part(drill, host, own, OF_HOST[drill.name](own))
        for host in _hosts(places)
        for own in [[place for place in places if place.host is host]]
    ]


def _of_role(exercise: OfRole, place: Place) -> Generator[None, None, Mapping[str, Outcome]]:
    return {place.name: (yield from exercise(place))}


def _run(state: State, looks: Mapping[str, Look], parts: Sequence[Part]) -> None:
    """All parts at once, each to its end; where some wait for a deploy, one for all of them."""
    waiting = list(parts)
    while waiting:
        for job in [begin(part.go_on) for part in waiting]:
            job.result()
        waiting = [part for part in waiting if part.waits]
        if waiting:
            problem = _deploy(state, looks)
            if problem:
                for part in waiting:
                    part.steps.close()
                    part.problem, part.ended = problem, time.monotonic()
                return


def _say(part: Part) -> None:
    for result in part.results():
        figures = ", ".join(
            f"{name} {figure.value} {figure.unit}".strip() for name, figure in list(result.figures.items())[:2]
        )
        where = f"{part.host.print_prefix}{result.role}"
        if result.passed:
            logger.info(f"{where}: {part.drill.name}: {figures or 'as promised'} ({result.seconds:.0f} s)")
        else:
            for line in result.said:
                part.host.log_styled(f"{result.role}: {part.drill.name}: {line}", fg="red", log_func=logger.error)


def deploy_command(argv: Sequence[str]) -> list[str]:
    """The command line of this run with deploy.py in the place of its file, and nothing that is for a rehearsal."""
    words: list[str] = []
    found = False
    for word in argv:
        if word.endswith("rehearse.py"):
            words, found = [*words, "deploy.py"], True
        else:
            words.append(word)
    if not found:
        raise DrillFailed(f"{' '.join(argv)}: names no rehearse.py: the deploy that ends a drill cannot be run")
    return ["-y", *(word for word in words if word not in ("-y", "--yes"))]


def why_failed(said: str) -> str:
    """What a deploy said that failed: where it ended, and why. Pure."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    steps = [number for number, line in enumerate(lines) if line.startswith(STEP)]
    last = lines[steps[-1] :] if steps else lines[-6:]
    words = [line.removeprefix(STEP).strip() for line in last if line != "--> Disconnecting from hosts..."]
    return shorten(" / ".join(words), 700, placeholder=" …")


def _deploy(state: State, looks: Mapping[str, Look]) -> str:
    """Why a deploy of the tier, by the operator's command, failed; empty when it ended well."""
    let_go(state)
    done, problem = None, ""
    try:
        argv = [str(Path(sys.executable).with_name("pyinfra")), *deploy_command(sys.argv[1:])]
        done = subprocess.run(
            argv,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEPLOY_PATIENCE,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
        )
    except (subprocess.TimeoutExpired, DrillFailed) as error:
        problem = f"the deploy that ends the drill: {error}"
    if done is not None and done.returncode:
        problem = f"the deploy that ends the drill failed: {why_failed(done.stdout + done.stderr)}"
    try:
        # What was looked at before is not what is there now: this very deploy came between.
        hold_now(state, _look_again(state, looks))
    except Refusal as error:  # it must not cost the report
        problem = problem or f"after the deploy that ends the drill: {error}"
    return problem


def _verify(state: State, run: Run) -> list[Reported]:
    """Verify and drift at the end: a drill leaves nothing behind."""
    began = time.monotonic()
    hosts = [host for host in state.inventory.get_active_hosts() if host.name in run.tier.hosts]
    jobs = {host.name: begin(partial(findings, state, host, run)) for host in hosts}
    problems = [f"{name}: {problem}" for name, job in sorted(jobs.items()) for problem in job.result()]
    for problem in problems:
        logger.error(problem)
    said = tuple(problems) or ("nothing differs, and every service meets what the table promises",)
    step = Reported(
        "verify and drift, after the last drill",
        "tasks/verify.py",
        round(time.monotonic() - began, 1),
        not problems,
        said,
    )
    return [step]


# systemd-detect-virt fails where there is nothing to detect.
WHAT_IT_IS = (
    "uname -r; systemd-detect-virt || true; findmnt -n -o SOURCE,FSTYPE -T /var/lib/redis | tr -s ' ' | head -n1"
)


def _host(state: State, host: Host, seen: Look) -> RehearsedHost:
    observed = seen.observed
    if observed is None:
        return RehearsedHost(host.name, "", "", "", "", 0)
    try:
        kernel, machine, disk = sh(state, host, WHAT_IT_IS).splitlines()
    except (DrillFailed, ValueError):  # gone, or it says something else
        kernel, machine, disk = "", "", ""
    address = str(host.data.get("ssh_hostname") or host.name)
    version = observed.packages.get("redis-server", "")
    debian = observed.os.get("VERSION") or observed.os.get("VERSION_ID", "")  # 12 (bookworm)
    memory = observed.memory >> 20
    return RehearsedHost(host.name, address, debian, kernel, version, memory, printable(machine), printable(disk))


def _role(place: Place) -> RehearsedRole:
    role = place.role
    return RehearsedRole(
        name=role.name,
        host=place.host.name,
        address=str(role.address),
        port=role.port,
        inner_port=role.forwarded_port,
        maxmemory=role.maxmemory,
        maxmemory_policy=role.maxmemory_policy,
        appendonly=role.appendonly,
        appendfsync=role.appendfsync,
        services=tuple(role.services),
    )


def _scaled(run: Run, rehearsed: Collection[str]) -> Iterator[Scaled]:
    """What was made smaller of the roles that were rehearsed."""
    for item in run.tier.likeness.smaller:
        if item.role in rehearsed:
            yield Scaled(item.role, item.setting, item.wanted, item.used)


def _commit() -> str:
    """The commit that is rehearsed, and whether the tree has more than that."""
    try:
        words = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def _deliver(state: State, report: Rehearsal) -> None:
    """Write what was asked for and print the summary. Raises Refusal when a file cannot be written."""
    problems = []
    for name, form in FORMS.items():
        path: Path | None = asked_file(state, name)
        if path is not None:
            try:
                write_whole(path, form(report))
            except OSError as error:
                problems.append(f"{name}={path}: {error}")
    print(summary(report), end="", flush=True)
    if problems:
        raise Refusal("The report could not be written:\n    " + "\n    ".join(problems))

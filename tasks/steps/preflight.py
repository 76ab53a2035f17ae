"""Preflight: look at every host, and stop the whole run when one of them cannot carry its roles."""

from __future__ import annotations

from pyinfra import logger
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks import run as runs
from tasks.compare import kernel_notices
from tasks.fitness import unfit
from tasks.run import Look, Refusal, listed


def check_fitness(state: State, host: PyinfraHost) -> Look | None:
    """Every host of the run is fit for its roles; returns what was seen of `host`, None when it carries no role.

    Read-only. Raises Refusal with the findings of all hosts together, before anything has been changed.
    """
    run = runs.current(state)
    looks = runs.survey(state, run)
    run.only_once("fitness", lambda: _refuse_unfit(state, looks))
    if host.name not in looks:
        logger.info(f"{host.print_prefix}carries no role: nothing to do")
        return None
    seen = looks[host.name]
    _print_plan(host, seen)
    return seen


def _refuse_unfit(state: State, looks: dict[str, Look]) -> None:
    findings = [
        f"{host.name}: not reachable over SSH: see above, or leave it out with --exclude" for host in lost(state)
    ]
    for name in sorted(looks):
        seen = looks[name]
        if seen.observed is None:
            findings.append(f"{name}: could not be read as root: see above; a user other than root needs _sudo = True")
        else:
            findings += [f"{name}: {reason}" for reason in unfit(seen.desired, seen.observed, list(seen.differences))]
    if findings:
        raise Refusal(listed("Nothing was changed: not every host can carry its roles", findings))


def lost(state: State) -> list[PyinfraHost]:
    """Hosts that this run asked for and could not connect to, by name."""
    wanted = [host for host in state.inventory if state.is_host_in_limit(host)]
    return sorted((host for host in wanted if host not in state.activated_hosts), key=lambda host: host.name)


def _print_plan(host: PyinfraHost, seen: Look) -> None:
    assert seen.observed is not None
    for notice in kernel_notices(seen.desired, seen.observed):
        logger.info(f"{host.print_prefix}note: {notice}")
    for difference in seen.differences:
        logger.info(f"{host.print_prefix}{difference}")

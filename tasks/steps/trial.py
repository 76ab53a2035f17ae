"""Try: what is about to replace a good configuration comes up on the host itself first, in a throw-away directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from pyinfra import logger
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import DEFAULT_LINE
from tasks.desired.host import Host, Instance
from tasks.desired.paths import INNER_PORT_RULES, INNER_PORT_TABLE, INNER_PORT_UNIT, RECORDS, UNITS
from tasks.observed.bounds import CHANGE, TRIAL_PATIENCE
from tasks.observed.connection import begin, run_command
from tasks.observed.script import script
from tasks.run.options import options
from tasks.run.session import current
from tasks.run.survey import Look
from tasks.steps.install import files_of
from tasks.steps.operations import call
from tasks.steps.restart import Restarts
from tasks.steps.sandbox import sandbox
from tasks.steps.throwaway import private_config


@dataclass
class Trials:
    """What is tried in a run: host name → what is tried → script."""

    scripts: dict[str, Mapping[str, str]] = field(default_factory=dict)


UNUSED_HASH = "0" * 64  # only the form of a user's line matters
INNER_PORT_FILES = (INNER_PORT_RULES, f"{UNITS}/{INNER_PORT_UNIT}")


def try_candidates(state: State, seen: Look) -> None:
    """No host writes a configuration or unit unless those of every host in this run have been seen to come up."""
    if scripts(seen):
        current(state).kept(Trials).scripts[seen.desired.name] = scripts(seen)
        call(name="Try the new configuration", function=came_up)


def scripts(seen: Look) -> dict[str, str]:
    """The trials of a host by what is tried; only of what will be written."""
    written = [file for file in files_of(seen, outside=(RECORDS,)) if file.content is not None]
    roles = {file.role for file in written}
    found = {instance.name: try_script(instance) for instance in seen.desired.instances if instance.name in roles}
    if any(file.path in INNER_PORT_FILES for file in written):
        found["inner port"] = try_inner_port_script(seen.desired)
    return found


def came_up(state: State, host: PyinfraHost) -> bool:
    """The candidates of all hosts came up; the run's first host tries them all, at the same time."""
    run = current(state)
    if options().get("serial"):  # the other hosts have not been prepared yet
        problems = {host.name: _try(state, host)}
    else:
        problems = run.only_once("trials", lambda: _try_all(state))
    for problem in problems.get(host.name, []):
        host.log_styled(problem, fg="red", log_func=logger.error)
    failed = sorted(name for name, found in problems.items() if found)
    if failed and host.name not in failed:
        text = f"no file of an instance written: the new configuration failed its trial on {', '.join(failed)}"
        host.log_styled(text, fg="red", log_func=logger.error)
    if failed:
        run.kept(Restarts).stopped.append(
            f"not restarted: the new configuration failed its trial on {', '.join(failed)}"
        )
    return not failed


def _try_all(state: State) -> dict[str, list[str]]:
    tried = current(state).kept(Trials).scripts
    hosts = [host for host in state.active_hosts if host.name in tried]
    jobs = {host.name: begin(partial(_try, state, host)) for host in hosts}
    return {name: job.result() for name, job in jobs.items()}


def _try(state: State, host: PyinfraHost) -> list[str]:
    problems = []
    for what, text in current(state).kept(Trials).scripts[host.name].items():
        trial = run_command(state, host, text, bound=CHANGE)
        if not trial.succeeded:
            problems.append(f"{what}: the new configuration does not come up, nothing of it is written: {trial.output}")
    return problems


def try_script(instance: Instance) -> str:
    """Shell that succeeds when the installed redis-server comes up with the role's candidate configuration and sandbox.

    And when systemd finds nothing wrong with its unit. What they say against it is printed. Leaves nothing behind.
    """
    run = f"/run/redis-trial-{instance.name}"
    work = f"{run}/work"
    changes = {"dir": work, "unixsocket": f"{work}/socket", "unixsocketperm": "700"}
    return script(
        "try-server",
        user=instance.user,
        run=run,
        work=work,
        config=_users(instance, private_config(instance, changes)),
        ready="PONG|NOAUTH",
        patience=TRIAL_PATIENCE,
        unit=instance.unit,
        unit_text=instance.unit_text,
        trial=f"redis-trial-{instance.name}.service",
        sandbox="\n".join([*sandbox(instance), f"ReadWritePaths={work}"]),
    )


def try_inner_port_script(host: Host) -> str:
    """Shell that succeeds when nft and systemd find nothing wrong with the inner port's rules and unit."""
    texts = {file.path: file.content or "" for file in host.files}
    return script(
        "try-inner-port",
        run="/run/redis-trial-inner-port",
        # Under another name: the table that is in force belongs to its process, and takes no rules of others.
        rules=texts[INNER_PORT_RULES].replace(f" {INNER_PORT_TABLE} ", f" {INNER_PORT_TABLE}_trial "),
        unit=INNER_PORT_UNIT,
        unit_text=texts[f"{UNITS}/{INNER_PORT_UNIT}"],
    )


def _users(instance: Instance, config: str) -> str:
    """The configuration with the role's users in it, none of them with its password's hash."""
    users = [f"user {user.name} on #{UNUSED_HASH} {user.rules}" for user in instance.users]
    return "\n".join([config.rstrip("\n"), DEFAULT_LINE, *users, ""])

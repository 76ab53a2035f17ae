"""Prove: observe a host again, demand no difference, then behave like the services that use it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from functools import partial

from pyinfra import logger
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from tasks.catalogue.acl_rules import OPERATOR
from tasks.catalogue.printable import printable
from tasks.catalogue.roles import Role
from tasks.compare.difference import Remedy
from tasks.desired.host import Passwords
from tasks.observed.connection import begin
from tasks.observed.exchange import ExchangeError, exchange
from tasks.prove.behaviour import Finding, evicted_meanwhile, judge, reading_checks, same_instance, writing_checks
from tasks.run.options import options
from tasks.run.session import Run, current, unreachable
from tasks.run.survey import Look, look
from tasks.steps.retire import Proofs, before_the_end


def findings(state: State, host: Host, run: Run, as_clients: bool = True, ends_later: bool = False) -> list[str]:
    """Every way in which the host is not as it should be, is critical or does not behave so; empty when all is well.

    What only is a warning is said, and fails nothing. `ends_later`: roles that left the host are still to be retired,
    when all hosts are proved.
    Leaves nothing behind but entries of refused logins in ACL LOG.
    """
    seen = begin(partial(look, state, run, host))
    desired, passwords = run.tier.hosts[host.name], run.tier.passwords[host.name]
    roles = desired.roles if as_clients else ()
    clients = {role.name: begin(partial(behave, host, role, passwords)) for role in roles}
    result = seen.result()
    if result.observed is None:
        return [f"could not be read: {result.error}"]
    differences = before_the_end(result).differences if ends_later else result.differences
    dead = {item.role for item in differences if item.subject == "unit" and item.remedy == Remedy.START}
    critical = [item for item in result.health if item.severity == "critical"]
    for warning in result.health:
        if warning not in critical:
            host.log_styled(printable(str(warning)), fg="yellow", log_func=logger.warning)
    problems = [str(item) for item in (*differences, *result.unknown, *critical)]
    for name, client in clients.items():
        problems += [str(item) for item in client.result() if name not in dead]
    return problems


def verify_tier(state: State) -> int:
    """Verify every host of the run at the same time, say what was found, and return the exit code."""
    run = current(state)
    return run.only_once("verify", lambda: _verify(state, run))


def _verify(state: State, run: Run) -> int:
    began = time.monotonic()
    as_clients = not options().get("dry")
    hosts = {host.name: host for host in state.inventory.get_active_hosts() if host.name in run.tier.hosts}
    jobs = {name: begin(partial(findings, state, host, run, as_clients)) for name, host in sorted(hosts.items())}
    problems = [f"{name}: not reachable over SSH" for name in unreachable(state)]
    problems += [f"{name}: {problem}" for name, job in jobs.items() for problem in job.result()]
    for problem in problems:
        logger.error(problem)
    for note in run.tier.notices():
        logger.warning(f"note: {note}")
    roles = sum(len(run.tier.hosts[name].roles) for name in hosts)
    took = f"checked in {time.monotonic() - began:.1f} s"
    if problems or not hosts:
        logger.error(f"--> {len(problems)} findings, {took}")
        return 1
    logger.info(f"--> {roles} roles on {len(hosts)} hosts are as they should be, {took}")
    return 0


def behave(host: Host, role: Role, passwords: Passwords) -> list[Finding]:
    """What the services of a role meet that they should not, in two connections through SSH."""
    token = secrets.token_hex(8)
    other_port = role.ports[-1]
    own = passwords[role.name]
    writing = writing_checks(role, own, stranger(role, passwords), token)
    reading = reading_checks(role, own, token)
    try:
        wrote = exchange(host, str(role.address), role.port, [check.command for check in writing])
        read = exchange(host, str(role.address), other_port, [check.command for check in reading])
    except ExchangeError as error:
        return [Finding(role.name, "a client's connection", "answers", str(error))]
    evicted = evicted_meanwhile(role, (writing, wrote), (reading, read))
    return [
        *judge(role, role.port, writing, wrote, evicted),
        *judge(role, other_port, reading, read, evicted),
        *same_instance(role, wrote[-1], read[-1]),
    ]


def stranger(role: Role, passwords: Passwords) -> tuple[str, str]:
    """A service that has no business on this role, with its own real password where there is one."""
    others = [
        (user, password)
        for name, users in sorted(passwords.items())
        if name != role.name
        for user, password in sorted(users.items())
        if user not in (*role.services, OPERATOR) and password
    ]
    return others[0] if others else ("no-such-service", secrets.token_urlsafe(16))


@operation()
def prove(seen: Look) -> Iterator[FunctionCommand]:
    """The host has no difference left but what ends last, and serves its clients. No change when so, else a failure."""
    state, host = ctx_state.get(), ctx_host.get()
    if not state.is_executing:
        if seen.differences:
            yield FunctionCommand(fail, (), {"problems": [str(item) for item in seen.differences]})
        return
    problems = findings(state, host, current(state), ends_later=True)
    if problems:
        yield FunctionCommand(fail, (), {"problems": problems})
    else:
        current(state).kept(Proofs).proved.add(host.name)


def fail(state: State, host: Host, problems: list[str]) -> bool:
    """Say what is wrong on the host and fail it."""
    for problem in problems:
        host.log_styled(problem, fg="red", log_func=logger.error)
    return False

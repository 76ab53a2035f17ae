"""A server that is told to end: how long is waited, and what is said of one that does not. It is never killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import OPERATOR
from tasks.desired.paths import data_directory, role_of
from tasks.observed.bounds import CHANGE, ENDING, PATIENCE
from tasks.observed.connection import CommandResult, run_command
from tasks.observed.exchange import ExchangeError, Reply, ReplyError
from tasks.observed.own_server import Endpoint, exchange_as
from tasks.observed.script import script

RUNS_ON = "was told to end"  # what end-unit.sh says of a server that has not


def restart_script(unit: str) -> str:
    """The server has ended and runs again; or it runs on, and what it does is said. Pure."""
    return _end(unit, "restart")


def stop_script(unit: str) -> str:
    """The server has ended; or it runs on, and what it does is said. Pure."""
    return _end(unit, "stop")


def _end(unit: str, job: str) -> str:
    directory = data_directory(role_of(unit))
    return script("end-unit", job=job, unit=unit, directory=directory, patience=int(ENDING), longest=int(PATIENCE))


def runs_on(done: CommandResult) -> bool:
    """Whether the server was told to end and has not."""
    return not done.succeeded and done.stdout.startswith(RUNS_ON)


def ended(state: State, host: Host, command: str, unit: str, where: Endpoint | None, password: str) -> CommandResult:
    """How `command` ended, which is that of restart_script or stop_script for `unit`.

    A script or function that keeps its server from its end, and has written nothing, is ended: nothing is lost by that,
    and its client gets an error, as it would when the server ends. Of anything else the output says what it is.
    `where` the server listens, None where nobody knows; `password` is its operator's.
    """
    done = run_command(state, host, command, bound=CHANGE)
    if not runs_on(done):
        return done
    was_ended, why = _end_its_script(host, unit, where, password)
    if was_ended:
        text = f"{role_of(unit)}: ended {why}, for it kept the server from its end"
        host.log_styled(text, fg="yellow")
        return run_command(state, host, command, bound=CHANGE)
    return replace(done, output=f"{done.output.strip()}: {why}")


def _end_its_script(host: Host, unit: str, where: Endpoint | None, password: str) -> tuple[bool, str]:
    """Whether a script or function was ended, and in words what keeps the server from its end."""
    if where is None:
        return False, "it cannot be asked why: nobody knows where it listens"
    commands = (("SCRIPT", "KILL"), ("FUNCTION", "KILL"))
    try:
        login, replies = exchange_as(host, unit, where, (OPERATOR, password), commands)
    except ExchangeError as error:
        return False, f"it cannot be asked why: {error}"
    return judged([login, *replies])


def judged(replies: Sequence[Reply]) -> tuple[bool, str]:
    """What the replies to a login, SCRIPT KILL and FUNCTION KILL say: as _end_its_script. Pure."""
    login, *killed = replies
    if isinstance(login, ReplyError):
        return False, f"it cannot be asked why: {login}"
    said = [str(reply) for reply in killed if isinstance(reply, ReplyError)]
    if "OK" in killed:
        return True, "a script that had written nothing"
    if any(text.startswith("UNKILLABLE") for text in said):
        return False, (
            "a script or function of a service that has written runs without an end (UNKILLABLE). Nothing of it is on "
            "disk: SHUTDOWN NOSAVE as operator ends the server with its log as it is; without a log that loses what is "
            "newer than its last save. Then deploy again"
        )
    return False, f"it runs no script ({'; '.join(said)}): see the journal of its unit, and deploy when it has ended"

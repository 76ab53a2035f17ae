"""What must hold before pyinfra connects to anything: a run that has hosts, sound data, and a way to be confirmed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from logging import LogRecord
from runpy import run_path
from typing import Any

import click
import pyinfra_cli.cli
from pyinfra import logger
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.output import set_echo
from pyinfra.api.state import BaseStateCallback, State, StateStage

from tasks.catalogue.printable import printable_lines
from tasks.observed.connection import bound_connection, bound_greetings, is_connected
from tasks.run.ending import Refusal
from tasks.run.options import only_plans, options, remember_options
from tasks.run.session import ROOT, current

CHANGING = ("deploy.py", "tasks/rehearse.py")
READING = ("tasks/verify.py", "tasks/drift.py", "tasks/endpoints.py")
REPORTING = ("tasks/verify.py", "tasks/drift.py")  # on hosts that nobody can reach, too


def entry_points() -> list[str]:
    """Those of this repository's commands that this run was asked for, as paths inside the repository."""
    named = [(ROOT / str(name)).resolve() for name in options().get("operations", ())]
    known = {(ROOT / name).resolve(): name for name in (*CHANGING, *READING)}
    return [known[path] for path in named if path in known]


def guard(state: State) -> None:
    """Check the run's data when the inventory is known and before any host is contacted.

    pyinfra has no hook between the two, so State.init of this one state is extended. Commands of others
    (`exec`, `fact`, another deploy file) run unchecked: an operator may need them while the data is broken.
    """
    remember_options()
    entries = entry_points()
    if not entries:
        return
    if alone := only_alone(entries):
        raise Refusal(alone)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # what the terminal's language cannot say
    logger.addFilter(make_printable)
    bound_greetings()
    set_echo(echo_printable)
    pyinfra_cli.cli._do_confirm = partial(confirmed, pyinfra_cli.cli._do_confirm)
    initialise = state.init

    def init_and_check(*args: Any, **kwargs: Any) -> None:
        initialise(*args, **kwargs)
        if not sys.stdin.isatty() or not set(entries) & set(CHANGING):
            # Nobody to ask whether to go on without a host: the command itself reports it, with all the others.
            state.config.FAIL_PERCENT = None
        check(state, entries)
        state.add_callback_handler(LostConnections())
        report_when_nobody_answers(state, entries)

    state.init = init_and_check  # type: ignore[method-assign]


def make_printable(record: LogRecord) -> bool:
    """Nothing that a host says steers the terminal, whoever prints it: what pyinfra prints of a command, too."""
    record.msg, record.args = printable_lines(record.getMessage()), ()
    return True


def echo_printable(message: Any = None, **options: Any) -> None:
    """What pyinfra shows of a command and its output (-v) steers the terminal as little."""
    click.echo(printable_lines(message) if isinstance(message, str) else message, **options)


class LostConnections(BaseStateCallback):  # type: ignore[misc]
    """A connection that is lost is noticed, and said: pyinfra only fails its host within an operation."""

    @staticmethod
    def host_connect(state: State, host: Host) -> None:
        """Called for every connection that was made."""
        bound_connection(host)

    @staticmethod
    def operation_host_error(state: State, host: Host, op_hash: str, *attempts: int) -> None:
        """Called for a host on which an operation has failed."""
        if not is_connected(host):
            words = "the connection broke, a command may still run there: run the same command again to go on"
            logger.error(f"{host.print_prefix}{words}")


def report_when_nobody_answers(state: State, entries: list[str]) -> None:
    """Without any reachable host pyinfra stops before the command's file: the report of that is due all the same.

    Of a host that is lost pyinfra tells its handlers, of the last one nobody: State.fail_hosts is extended.
    """
    reporting = [name for name in entries if name in REPORTING]
    fail_hosts = state.fail_hosts

    def fail_and_report(*args: Any, **kwargs: Any) -> None:
        try:
            fail_hosts(*args, **kwargs)
        except PyinfraError as error:
            if reporting and state.current_stage == StateStage.Connect:
                run_path(str(ROOT / reporting[0]))  # ends by Finished
            raise Refusal(str(error)) from None

    state.fail_hosts = fail_and_report  # type: ignore[method-assign]


def check(state: State, entries: list[str]) -> None:
    """Raises Refusal when the run has no host, cannot be confirmed, or its data cannot be used."""
    if not any(state.is_host_in_limit(host) for host in state.inventory):
        raise Refusal("No host to look at: --limit and --exclude leave none of the inventory: correct them")
    given = options()
    changing = [name for name in entries if name in CHANGING]
    asked = given.get("yes") or given.get("dry") or given.get("json_output")
    if changing and not asked and not sys.stdin.isatty():
        raise Refusal(
            f"{changing[0]}: nobody to confirm, standard input is no terminal: add -y to apply or --dry to look"
        )
    current(state, new_passwords="deploy.py" in entries and not only_plans())


def only_alone(entries: list[str]) -> str:
    """Why these commands cannot be one run, empty when they can: one that reads ends it before any other begins."""
    others = len(options().get("operations", ())) - 1
    if len(entries) > 1 or (others and entries[0] in READING):
        return f"{entries[0]}: {others} more in the same call, of which nothing would be done: give each its own call"
    return ""


def confirmed(ask: Callable[[str], bool], question: str) -> bool:
    """Whether a person wants it. Raises Refusal when the plan is turned down: pyinfra would exit 0."""
    try:
        answer = ask(question)
    except EOFError:
        answer = False
    if not answer and question.startswith("Detected changes"):
        raise Refusal("Nothing was changed: the plan was not confirmed (Enter confirms it, everything else does not)")
    return answer

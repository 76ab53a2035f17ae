"""What must hold before pyinfra connects to anything: a run that has hosts, sound data, and a way to be confirmed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from logging import LogRecord
from pathlib import Path
from runpy import run_path
from traceback import extract_tb
from typing import Any

import click
import pyinfra_cli.cli
from pyinfra import logger
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.output import set_echo
from pyinfra.api.state import BaseStateCallback, State, StateStage
from pyinfra_cli.exceptions import CliError, UnexpectedExternalError

from tasks.catalogue.data_names import STATUS_METRICS, STATUS_PATIENCE
from tasks.catalogue.printable import printable, printable_lines
from tasks.observed.answer import answer_of
from tasks.observed.bounds import REACHED
from tasks.observed.connection import bound_connection, bound_greetings, end_proxies_once, is_connected
from tasks.run.closing import outcome, sentence
from tasks.run.ending import Refusal
from tasks.run.noting import note_ended
from tasks.run.options import only_plans, options, remember_options
from tasks.run.session import ROOT, NotConnected, current

CHANGING = ("deploy.py", "tasks/rehearse.py")
STATUS = "tasks/status.py"
READING = ("tasks/verify.py", "tasks/drift.py", STATUS, "tasks/endpoints.py")
# pyinfra shows no plan of these: they say and ask themselves.
BY_THEMSELVES = ("tasks/backup.py", "tasks/restore.py", "tasks/handover.py")
REPORTING = ("tasks/verify.py", "tasks/drift.py", STATUS)  # on hosts that nobody can reach, too


def entry_points() -> list[str]:
    """Those of this repository's commands that this run was asked for, as paths inside the repository."""
    named = [(ROOT / str(name)).resolve() for name in options().get("operations", ())]
    known = {(ROOT / name).resolve(): name for name in (*CHANGING, *READING, *BY_THEMSELVES)}
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
    end_proxies_once()
    set_echo(echo_printable)
    pyinfra_cli.cli._do_confirm = partial(confirmed, pyinfra_cli.cli._do_confirm)
    pyinfra_cli.cli.make_inventory = partial(read_inventory, pyinfra_cli.cli.make_inventory)
    pyinfra_cli.cli.disconnect_all = partial(disconnect, pyinfra_cli.cli.disconnect_all)
    began, leave = time.monotonic(), pyinfra_cli.cli._exit
    if set(entries) & set(CHANGING):
        pyinfra_cli.cli._exit = partial(close, state, began, leave)
    initialise = state.init

    def init_and_check(*args: Any, **kwargs: Any) -> None:
        initialise(*args, **kwargs)
        if not sys.stdin.isatty() or not set(entries) & set(CHANGING):
            # Nobody to ask whether to go on without a host: the command itself reports it, with all the others.
            state.config.FAIL_PERCENT = None
        check(state, entries)
        hurry(state, entries)
        make_key_directory(Path.home() / ".ssh")
        for host in state.inventory:
            host.connector.connect = partial(connect, host.connector.connect)
        state.add_callback_handler(Connections())
        end_in_words(state, entries, began)

    state.init = init_and_check  # type: ignore[method-assign]


def make_printable(record: LogRecord) -> bool:
    """Nothing that a host says steers the terminal, whoever prints it: what pyinfra prints of a command, too.

    Not that a function of ours, which has said why it failed, executed no command.
    """
    record.msg, record.args = printable_lines(record.getMessage()), ()
    return not record.msg.endswith("executed 0 commands")


def close(state: State, began: float, leave: Callable[[], None]) -> None:
    """pyinfra ends the run: its last words are what came of it."""
    note_ended(state)
    logger.info(f"--> {sentence(outcome(state, began))}")
    leave()


def echo_printable(message: Any = None, **options: Any) -> None:
    """What pyinfra shows of a command and its output (-v) steers the terminal as little."""
    click.echo(printable_lines(message) if isinstance(message, str) else message, **options)


def disconnect(disconnect_all: Callable[[State], None], state: State) -> None:
    """As pyinfra does it at the end, which Ctrl-C may be: what that left waiting may fill the pool of hosts' jobs."""
    state.pool = type(state.pool)()
    disconnect_all(state)


def make_key_directory(directory: Path) -> None:
    """As ssh makes it: pyinfra keeps the keys of new hosts there, and connects to none where it cannot."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Refusal(
            f"{directory}: cannot be made: {error.strerror}: make it, or set HOME to a directory of yours: the keys of "
            "new hosts are kept there"
        ) from error


# What pyinfra and paramiko say of a connection that was not made → the way out.
WAYS = {
    "No existing session": (
        "what leads there ended before SSH began: run its ProxyCommand, or ssh to its ProxyJump, by hand"
    ),
    "Host key for": (
        "compare it with the one at that host's console before you take it (docs/runbook.md, SSH host key changed)"
    ),
}


def connect(connector: Callable[[], None]) -> None:
    """As a connector does it. What keeps it from that is its host's: pyinfra would end every host, in a traceback."""
    try:
        connector()
    except ConnectError as error:
        way = next((way for said, way in WAYS.items() if said in str(error)), None)
        if way is None:
            raise
        raise ConnectError(f"{error}: {way}") from error
    except Exception as error:
        raise ConnectError(str(error) or type(error).__name__) from error


class Connections(BaseStateCallback):  # type: ignore[misc]
    """A connection that fails, or is lost, is noticed, and said: pyinfra only fails its host within an operation."""

    @staticmethod
    def host_connect_error(state: State, host: Host, error: Exception) -> None:
        """Called for every connection that could not be made."""
        found, client = current(state).kept(NotConnected), getattr(host.connector, "client", None)
        found.why[host.name], found.answers[host.name] = printable(str(error)), answer_of(client, error)

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


def end_in_words(state: State, entries: list[str], began: float) -> None:
    """Where pyinfra ends a run because too many hosts have failed, it ends with what came of it.

    Without any reachable host it stops before the command's file: the report of that is due all the same. Of a host
    that is lost pyinfra tells its handlers, of the last one nobody: State.fail_hosts is extended.
    """
    reporting = [name for name in entries if name in REPORTING]
    fail_hosts = state.fail_hosts

    def fail_and_say(*args: Any, **kwargs: Any) -> None:
        try:
            fail_hosts(*args, **kwargs)
        except PyinfraError:
            if state.current_stage == StateStage.Connect:
                if reporting:
                    run_path(str(ROOT / reporting[0]))  # ends by Finished
                raise Refusal("Nothing was done: no host could be reached, see above why: mend that") from None
            note_ended(state)
            raise Refusal(sentence(outcome(state, began))) from None

    state.fail_hosts = fail_and_say  # type: ignore[method-assign]


def hurry(state: State, entries: list[str]) -> None:
    """Where a person waits for what status says, a host is not waited for that cannot be connected to at once.

    Nobody waits for a file for Prometheus, and who asks for patience has it.
    """
    asked = {name for name in (STATUS_METRICS, STATUS_PATIENCE) for host in state.inventory if host.data.get(name)}
    if STATUS in entries and not asked:
        state.config.CONNECT_TIMEOUT = REACHED
        bound_greetings(REACHED)


def check(state: State, entries: list[str]) -> None:
    """Raises Refusal when the run has no host, cannot be confirmed, or its data cannot be used."""
    if not any(state.is_host_in_limit(host) for host in state.inventory):
        raise Refusal(nobody(sorted(host.name for host in state.inventory)))
    given = options()
    changing = [name for name in entries if name in CHANGING]
    asked = given.get("yes") or given.get("dry") or given.get("json_output")
    if changing and not asked and not sys.stdin.isatty():
        raise Refusal(
            f"{changing[0]}: nobody to confirm, standard input is no terminal: add -y to apply or --dry to look"
        )
    current(state, new_passwords="deploy.py" in entries and not only_plans())


def read_inventory(read: Callable[..., Any], name: str, *args: Any, **kwargs: Any) -> Any:
    """What pyinfra makes of an inventory. Raises Refusal, in one sentence, where its file cannot be run.

    A file that is not there pyinfra takes for the name of a host, and asks the network for it.
    """
    if ("/" in name or name.endswith(".py")) and not name.startswith("@") and not Path(name).exists():
        raise Refusal(f"{name}: no such inventory in {Path.cwd()}: name a file of this repository")
    try:
        return read(name, *args, **kwargs)
    except (CliError, PyinfraError):
        raise
    except Exception as error:
        cause = error.exception if isinstance(error, UnexpectedExternalError) else error
        at = [frame.lineno for frame in extract_tb(cause.__traceback__) if Path(frame.filename).name == Path(name).name]
        line = cause.lineno if isinstance(cause, SyntaxError) else at[-1] if at else None
        where = "" if line is None else f", line {line}"
        said = cause.msg if isinstance(cause, SyntaxError) else str(cause)
        raise Refusal(f"{name}{where}: not readable as Python: {type(cause).__name__}: {said}: correct it") from error


def nobody(known: list[str]) -> str:
    """Why a run has no host, and what to do; `known`: the hosts of the inventory. Pure."""
    inventory = options().get("inventory")
    if not known:
        return f"No host to look at: {inventory} gives none: name an inventory file of this repository, or mend it"
    shown = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
    return f"No host to look at: --limit and --exclude leave none of {inventory}: correct them (its hosts: {shown})"


def only_alone(entries: list[str]) -> str:
    """Why these commands cannot be one run, empty when they can: one that reads ends it before any other begins."""
    others = len(options().get("operations", ())) - 1
    if len(entries) > 1 or (others and entries[0] in (*READING, *BY_THEMSELVES)):
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

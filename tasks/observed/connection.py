"""Run one command on a host outside an operation's own commands, with the host's sudo settings."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from paramiko import Channel, SSHException
from pyinfra.api import StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import make_unix_command_for_host

from tasks.catalogue.printable import excerpt
from tasks.observed.records import LIMIT, Unreadable, new_mark, unframe
from tasks.observed.script import marked, prepared, script

BEAT = 5  # seconds between two signs of life on a connection
SILENCE = 30  # seconds without an answer after which either side takes the other for gone


Reading = TypeVar("Reading")


class Unobserved(Exception):
    """The host could not be read; the message says why."""


def run_command(state: State, host: Host, command: str) -> tuple[bool, str]:
    """Whether `command` succeeded on the host, and its standard output; if it did not, what it said besides below that.

    What a login prints is no part of it. A lost connection is a failure.
    """
    mark = new_mark()
    try:
        status, output = host.run_shell_command(StringCommand(marked(command, mark)), **_connection(state, host))
    except (OSError, EOFError, SSHException) as error:
        return False, f"the connection broke: {error}"
    if not status and not is_connected(host):
        return False, f"the connection broke: {output.output}".rstrip(": ")
    lines = output.stdout_lines
    begin = next((number for number, line in enumerate(lines, 1) if line.endswith(mark)), None)
    if begin is None:
        return False, f"the command did not run: {output.output or 'nothing was printed'}"
    return status, "\n".join(lines[begin:] if status else [*lines[begin:], *output.stderr_lines])


def read_host(
    state: State, host: Host, name: str, arguments: Sequence[str], read: Callable[[str, str], Reading]
) -> Reading:
    """What the reading script `name` says of the host (tasks/observed/records.py), through `read`, given text and mark.

    Raises Unobserved when that cannot be read.
    """
    mark = new_mark()
    succeeded, output = run_command(state, host, script(name, *arguments, mark=mark, limit=LIMIT))
    try:
        return read(unframe(output.splitlines(), mark), mark)
    except Unreadable as error:
        why = f"cannot be read: {error}" if succeeded else excerpt(output, 200)
        raise Unobserved(f"what {name}.sh says of the host: {why}") from error


def is_connected(host: Host) -> bool:
    """Whether the host can still be spoken to."""
    transport = host.connector.client.get_transport()
    return transport is not None and bool(transport.is_active())


def open_command(state: State, host: Host, command: str) -> Channel:
    """A channel on which `command` runs until it ends or the channel is closed. Raises SSHException or OSError."""
    arguments = _connection(state, host)
    for name in ("_get_pty", "_timeout", "_stdin", "_success_exit_codes"):
        arguments.pop(name, None)
    channel: Channel = host.connector.client.get_transport().open_session()
    channel.exec_command(
        make_unix_command_for_host(state, host, StringCommand(prepared(command)), **arguments).get_raw_value()
    )
    return channel


def bound_silence(host: Host) -> None:
    """A connection to the host that answers nothing ends after SILENCE: without it a cut cable holds a run for ever."""
    transport = host.connector.client.get_transport()
    transport.set_keepalive(BEAT)
    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE * 1000)


def _connection(state: State, host: Host) -> dict[str, Any]:
    """The global arguments that say how to run something: as whom, in which shell."""
    arguments, _ = pop_global_arguments(state, host, {})
    return {key: value for key, value in arguments.items() if key in CONNECTOR_ARGUMENT_KEYS}

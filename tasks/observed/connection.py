"""Run one command on a host outside an operation's own commands, with the host's sudo settings."""

from __future__ import annotations

import socket
from typing import Any

from paramiko import Channel, SSHException
from pyinfra.api import StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import make_unix_command_for_host

from tasks.observed.script import prepared

BEAT = 5  # seconds between two signs of life on a connection
SILENCE = 30  # seconds without an answer after which either side takes the other for gone


def run_command(state: State, host: Host, command: str) -> tuple[bool, str]:
    """Whether `command` succeeded on the host, and what it printed on both outputs. A lost connection is a failure."""
    try:
        status, output = host.run_shell_command(StringCommand(prepared(command)), **_connection(state, host))
    except (OSError, EOFError, SSHException) as error:
        return False, f"the connection broke: {error}"
    if not status and not is_connected(host):
        return False, f"the connection broke: {output.output}".rstrip(": ")
    return status, output.output


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

"""Run one command on a host outside an operation's own commands, with the host's sudo settings."""

from __future__ import annotations

from pyinfra.api import StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.host import Host
from pyinfra.api.state import State


def run_command(state: State, host: Host, command: str) -> tuple[bool, str]:
    """Whether `command` succeeded on the host, and what it printed on both outputs."""
    arguments, _ = pop_global_arguments(state, host, {})
    connection = {key: value for key, value in arguments.items() if key in CONNECTOR_ARGUMENT_KEYS}
    status, output = host.run_shell_command(StringCommand(command), **connection)
    return status, output.output

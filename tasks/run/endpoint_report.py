"""The endpoints of a run's hosts, printed: role, host, address and ports, services, what it is for."""

from __future__ import annotations

import shutil
import sys

from pyinfra.api.state import State
from rich.console import Console

from tasks.desired.host import Host
from tasks.reports.endpoint_table import endpoint_table
from tasks.run.session import current


def print_endpoints(state: State) -> int:
    """Print the endpoints of every host of the run on standard output, once; returns the exit code."""
    run = current(state)
    wanted = {host.name for host in state.inventory if state.is_host_in_limit(host)}
    hosts = [host for name, host in sorted(run.tier.hosts.items()) if name in wanted]
    return run.only_once("endpoints", lambda: _print(hosts))


def _print(hosts: list[Host]) -> int:
    width = shutil.get_terminal_size((120, 24)).columns
    Console(file=sys.stdout, width=width).print(endpoint_table(hosts))
    return 0 if any(host.roles for host in hosts) else 1

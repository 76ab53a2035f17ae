"""Convert: the data of a stopped instance is in the form that its configuration loads, before the instance starts."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.desired.host import Instance
from tasks.desired.paths import OLD
from tasks.observed.bounds import CHANGE
from tasks.observed.connection import run_command
from tasks.steps.log import own_script
from tasks.steps.throwaway import Form, convert_script


def make_logs(state: State, host: Host, instances: Sequence[Instance]) -> bool:
    """The append-only log of each stopped instance holds what its snapshot holds; the snapshot stays where it is."""
    return all(_convert(state, host, instance, "log") for instance in instances)


def make_snapshots(state: State, host: Host, instances: Sequence[Instance]) -> bool:
    """The snapshot of each stopped instance holds what its append-only log held; the log is put aside."""
    return all(_convert(state, host, instance, "snapshot") for instance in instances)


def _convert(state: State, host: Host, instance: Instance, to: Form) -> bool:
    limit = 0 if host.data.get("allow_eviction") is True else instance.role.maxmemory
    # Whoever put the data there, the server can read it and write beside.
    done = run_command(state, host, own_script(instance), bound=CHANGE)
    if done.succeeded:
        done = run_command(state, host, convert_script(instance, to, limit), bound=CHANGE)
    if done.succeeded:
        keys = ", ".join(line for line in done.stdout.splitlines() if line.startswith("db")) or "no keys"
        kept = "" if to == "log" else f"; the log is kept in {instance.role.appenddirname}{OLD}"
        host.log_styled(f"{instance.name}: {to} made of the data on disk: {keys}{kept}", fg="green")
    else:
        text = f"{instance.name}: its data on disk could not be made a {to}, it is not started: {done.output}"
        host.log_styled(text, fg="red", log_func=logger.error)
    return done.succeeded

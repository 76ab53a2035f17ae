"""Convert: the data of a stopped instance is in the form that its configuration loads, before the instance starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.desired.host import Instance
from tasks.desired.paths import NEW, OLD, data_directory, manifest_file
from tasks.observed.bounds import CHANGE, LOAD_PATIENCE
from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.steps.log import own_script
from tasks.steps.sandbox import as_role
from tasks.steps.throwaway import private_config

Form = Literal["log", "snapshot"]


def make_logs(state: State, host: Host, instances: Sequence[Instance]) -> bool:
    """The append-only log of each stopped instance holds what its snapshot holds; the snapshot stays where it is."""
    return all(_convert(state, host, instance, "log") for instance in instances)


def make_snapshots(state: State, host: Host, instances: Sequence[Instance]) -> bool:
    """The snapshot of each stopped instance holds what its append-only log held; the log is put aside."""
    return all(_convert(state, host, instance, "snapshot") for instance in instances)


def _convert(state: State, host: Host, instance: Instance, to: Form) -> bool:
    limit = 0 if host.data.get("allow_eviction") is True else instance.role.maxmemory
    # Whoever put the data there, the server can read it and write beside.
    done = run_command(state, host, own_script(instance, instance.user), bound=CHANGE)
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


def convert_script(instance: Instance, to: Form, limit: int) -> str:
    """Shell that turns the data of a stopped instance into the form its configuration loads, losing none.

    to log: dump.rdb becomes an append-only log, built beside and renamed when complete. to snapshot: the log becomes
    dump.rdb, and is put aside as `appenddirname`.old; one that lay there keeps another name. Refuses a data set of more
    than `limit` bytes (0: any): the role's maxmemory would evict from it at once. Prints INFO keyspace. Done already:
    succeeds.
    Runs as redis in the role's sandbox (tasks/steps/sandbox.py), the instance is stopped first.
    docs: redis-facts §2 (a start with `appendonly yes` and no manifest begins empty).
    """
    role, directory = instance.role, data_directory(instance.name)
    log = f"{directory}/{role.appenddirname}"
    run = "/tmp/convert"  # of the job's own (PrivateTmp=)
    changes = {
        "dir": directory,
        "unixsocket": f"{run}/socket",
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no" if to == "log" else "yes",
        "appenddirname": role.appenddirname + (NEW if to == "log" else ""),
        # All of it first: what does not fit is refused below, not evicted.
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        # And whole: what it has to leave out ends it, with the reason and none of the data (docs/decisions/0009).
        "propagation-error-behavior": "panic",
        "crash-log-enabled": "no",
    }
    job = script(
        "convert-data",
        task=to,
        run=run,
        config=private_config(instance, changes),
        patience=LOAD_PATIENCE,
        directory=directory,
        log=log,
        new_log=log + NEW,
        put_aside=script("put-aside", log=log, old_log=log + OLD),
        manifest=manifest_file(role),
        new_manifest=f"{log}{NEW}/{role.appendfilename}.manifest",
        limit=limit,
    )
    return as_role(instance, job, 2 * LOAD_PATIENCE, stopped=instance.unit)

"""Throw-away servers: what a second redis-server, without port or users, does for a role before its own one runs.

One tries a candidate configuration and unit before they replace the good ones (run by tasks/steps/trial.py); one
turns data on disk into the form that the configuration will load (tasks/steps/convert.py). Pure: scripts as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tasks.catalogue.acl_rules import DEFAULT_LINE
from tasks.desired.host import Host, Instance
from tasks.desired.paths import (
    INNER_PORT_RULES,
    INNER_PORT_TABLE,
    INNER_PORT_UNIT,
    NEW,
    OLD,
    UNITS,
    data_directory,
    manifest_file,
)
from tasks.desired.rendering import config_text
from tasks.observed.bounds import LOAD_PATIENCE, TRIAL_PATIENCE
from tasks.observed.script import script
from tasks.steps.sandbox import as_role, sandbox

Form = Literal["log", "snapshot"]

UNUSED_HASH = "0" * 64  # in a trial only the form of a user's line matters


def try_script(instance: Instance) -> str:
    """Shell that succeeds when the installed redis-server comes up with the role's candidate configuration and sandbox.

    And when systemd finds nothing wrong with its unit. What they say against it is printed. Leaves nothing behind.
    """
    run = f"/run/redis-trial-{instance.name}"
    work = f"{run}/work"
    changes = {"dir": work, "unixsocket": f"{work}/socket", "unixsocketperm": "700"}
    return script(
        "try-server",
        run=run,
        work=work,
        config=_users(instance, _config(instance, changes)),
        ready="PONG|NOAUTH",
        patience=TRIAL_PATIENCE,
        unit=instance.unit,
        unit_text=instance.unit_text,
        trial=f"redis-trial-{instance.name}.service",
        sandbox="\n".join([*sandbox(instance), f"ReadWritePaths={work}"]),
    )


def try_inner_port_script(host: Host) -> str:
    """Shell that succeeds when nft and systemd find nothing wrong with the inner port's rules and unit."""
    texts = {file.path: file.content or "" for file in host.files}
    return script(
        "try-inner-port",
        run="/run/redis-trial-inner-port",
        # Under another name: the table that is in force belongs to its process, and takes no rules of others.
        rules=texts[INNER_PORT_RULES].replace(f" {INNER_PORT_TABLE} ", f" {INNER_PORT_TABLE}_trial "),
        unit=INNER_PORT_UNIT,
        unit_text=texts[f"{UNITS}/{INNER_PORT_UNIT}"],
    )


def convert_script(instance: Instance, to: Form, limit: int) -> str:
    """Shell that turns the data of a stopped instance into the form its configuration loads, losing none.

    to log: dump.rdb becomes an append-only log, built beside and renamed when complete. to snapshot: the log becomes
    dump.rdb, and the log is put aside as `appenddirname`.old. Refuses a data set of more than `limit` bytes (0: any):
    the role's maxmemory would evict from it at once. Prints INFO keyspace. Done already: succeeds.
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
        config=_config(instance, changes),
        patience=LOAD_PATIENCE,
        directory=directory,
        log=log,
        new_log=log + NEW,
        old_log=log + OLD,
        manifest=manifest_file(role),
        new_manifest=f"{log}{NEW}/{role.appendfilename}.manifest",
        limit=limit,
    )
    return as_role(instance, job, 2 * LOAD_PATIENCE, stopped=instance.unit)


def _config(instance: Instance, changes: Mapping[str, str]) -> str:
    """The role's configuration for a server that nobody but root on this host can reach."""
    private = {"port": "0", "supervised": "no", "pidfile": "", "aclfile": ""}
    return config_text(instance.role, {**instance.settings, **private, **changes})


def _users(instance: Instance, config: str) -> str:
    """The configuration with the role's users in it, none of them with its password's hash."""
    users = [f"user {user.name} on #{UNUSED_HASH} {user.rules}" for user in instance.users]
    return "\n".join([config.rstrip("\n"), DEFAULT_LINE, *users, ""])

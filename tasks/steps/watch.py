"""Watch: a unit of the host that ends a restore whose controller is gone: nobody leaves a role without a server."""

from __future__ import annotations

import shlex

from tasks.desired.host import Instance
from tasks.desired.paths import LOCK_DIRECTORY, LOCK_FILE, REPLACED, life_record, log_directory, snapshot_file
from tasks.observed.bounds import ASIDE_PATIENCE
from tasks.observed.script import script
from tasks.steps.sandbox import as_role

LONGEST = 12 * 3600  # seconds that a restore may take from the stop on: systemd ends the watch then
LOADING = 900  # seconds for a server to start or end by itself


def watching(role: str) -> str:
    """The unit that watches over a restore of a role."""
    return f"caas-redis-restore-{role}.service"


def watch_script(instance: Instance, stamp: str, runs: bool, back: str, note: str = "", noted: str = "") -> str:
    """Shell that begins to watch over a restore that sets aside as `stamp`. Pure.

    `runs`: whether its server ran before. `back`: the job that gives what was set aside its name again. `note`: the
    command that notes of which data the next copies are, `noted` the words that it leaves.
    """
    name, role = instance.name, instance.role
    run = _directory(name)
    job = script(
        "watch-restore",
        file=LOCK_FILE,
        unit=instance.unit,
        role=name,
        was="active" if runs else "inactive",
        log=log_directory(role),
        snapshot=snapshot_file(role),
        replaced=f"{REPLACED}{stamp}",
        back=as_role(instance, back, ASIDE_PATIENCE, stopped=instance.unit),
        note=note,
        noted=noted,
        lives=life_record(name),
        open=f"{run}/job",
        patience=LOADING,
    )
    begun = script("detach", unit=watching(name), run=run, job=job, patience=LONGEST, waits="no")
    return f"echo | sh -c {shlex.quote(begun)}"


def unwatch_script(role: str) -> str:
    """Shell that ends the watch: the restore has ended, one way or the other. Pure."""
    return f"systemctl stop {watching(role)} 2>/dev/null; rm -rf {_directory(role)}"


def while_watched(role: str, command: str) -> str:
    """Shell that runs `command` unless the watch has taken over. Pure."""
    return f"[ -e {_directory(role)}/job ] || {{ echo 'the host has ended this restore'; exit 1; }}\n{command}"


def _directory(role: str) -> str:
    return f"{LOCK_DIRECTORY}/restore-{role}"

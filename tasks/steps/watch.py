"""Watch: a unit of the host that ends a restore whose controller is gone: nobody leaves a role without a server."""

from __future__ import annotations

import shlex

from tasks.desired.host import Instance
from tasks.desired.paths import (
    LOCK_DIRECTORY,
    LOCK_FILE,
    REPLACED,
    UNITS,
    data_directory,
    life_record,
    log_directory,
    snapshot_file,
    unrestored_record,
    unrestored_unit,
)
from tasks.desired.rendering import render
from tasks.observed.bounds import ASIDE_PATIENCE
from tasks.observed.script import prepared, script
from tasks.steps.sandbox import as_role

LONGEST = 12 * 3600  # seconds that a restore may take from the stop on: systemd ends the watch then
AT_BOOT = "its host went down amid its restore"
ENDED_THERE = "the host has ended this restore"
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
        kept=_kept(name),
    )
    record, unit_file, wanted = _kept(name)
    text = render(
        "unrestored.service.j2",
        role=name,
        record=record,
        unit=instance.unit,
        data_directory=data_directory(name),
        patience=LONGEST,
    )
    at_boot = prepared(f"why={shlex.quote(AT_BOOT)}\n{job}")
    keep = script("keep-watch", record=record, unit_file=unit_file, wanted=wanted, text=text, job=at_boot)
    begun = script("detach", unit=watching(name), run=run, job=job, patience=LONGEST, waits="no")
    forget = f"{{ rm -f {' '.join(_kept(name))}; exit 1; }}"
    return f"(\n{keep}\n) || {forget}\necho | sh -c {shlex.quote(begun)} || {forget}"


def unwatch_script(role: str) -> str:
    """Shell that ends the watch: the restore has ended, one way or the other; one that has taken over goes on. Pure."""
    run = _directory(role)
    return (
        f"[ -e {run}/job ] || exit 0\nsystemctl stop {watching(role)} 2>/dev/null\n"
        f"rm -f {' '.join(_kept(role))} && rm -rf {run}"
    )


def _kept(role: str) -> tuple[str, str, str]:
    """The record of a restore that is under way, its unit's file, and what makes a boot start that."""
    unit = unrestored_unit(role)
    return unrestored_record(role), f"{UNITS}/{unit}", f"{UNITS}/multi-user.target.wants/{unit}"


def while_watched(role: str, command: str) -> str:
    """Shell that runs `command` unless the watch has taken over. Pure."""
    return f"[ -e {_directory(role)}/job ] || {{ echo '{ENDED_THERE}'; exit 1; }}\n{command}"


def said_there(role: str) -> str:
    """Where the host says what came of a restore that it has ended by itself."""
    return f"journalctl -u {watching(role)} -u {unrestored_unit(role)}"


def _directory(role: str) -> str:
    return f"{LOCK_DIRECTORY}/restore-{role}"

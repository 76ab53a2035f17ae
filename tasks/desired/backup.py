"""What must be true of a host whose roles are backed up: restic, its units, and what they are told. Pure.

Nothing of it where no role is: no package, no file, no unit (docs/decisions/0025).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from tasks.catalogue.backup import PASSWORD, PERIODS, READER, SETTINGS, Backup, with_login
from tasks.catalogue.secret import all_of, revealed
from tasks.desired.host import File, Instance, Passwords, Plan, Unit
from tasks.desired.paths import (
    BACKUP_TOOLS,
    UNITS,
    backup_file,
    backup_unit,
    copy_drop_in,
    data_directory,
    proof_unit,
    snapshot_file,
)
from tasks.desired.rendering import MANAGED, render

PACKAGE = "restic"
SOURCES = Path(__file__).parents[2] / "templates" / "backup"
PARTS = ("copy.pl", "moments.pl", "unpack.pl")
TOOL = f"{BACKUP_TOOLS}/backup"
SCRATCH, SCRATCH_BASE = 1.25, 128 << 20  # of maxmemory, and bytes, that the server of a proof never takes more than
SPREAD = 12  # a timer's delay is up to a twelfth of its period


def backup_plan(host: str, instance: Instance, backup: Backup, on_both: bool = False) -> Plan:
    """How an instance of a host is backed up; `on_both`: its other host has backups, too."""
    role = instance.role
    parameters = {
        "role": role.name,
        "unit": instance.unit,
        "user": instance.user,
        "directory": data_directory(role.name),
        "log": role.appenddirname if role.appendonly else "",
        "name": role.appendfilename,
        "snapshot": snapshot_file(role).rpartition("/")[2],
        "databases": str(role.databases),
        "address": str(role.address),
        "port": str(role.port),
        "tls": "yes" if role.speaks_tls(role.port) else "no",
        "host": re.sub("[^A-Za-z0-9_.-]", "-", host),
        "keep": " ".join(backup.keep.options) if backup.keep else "",
        "memory": str(int(role.maxmemory * SCRATCH) + SCRATCH_BASE) if role.maxmemory else "infinity",
    }
    return Plan(role, backup, parameters, on_both)


def tool_command(plan: Plan, verb: str, *words: str) -> str:
    """The command on the host that does what its units do, by a person's word."""
    given = [f"{name}={value}" for name, value in plan.parameters.items()]
    return shlex.join(["env", *given, "/bin/sh", TOOL, verb, *words])


def backup_files(plans: Sequence[Plan], passwords: Passwords) -> Iterator[File]:
    """The files of a host's backups; of what is secret no content while a password is still to be generated."""
    if not plans:
        return
    yield File(BACKUP_TOOLS, None, mode="0755")
    for name, source in (("backup", "backup.sh"), *((name, name) for name in PARTS)):
        yield File(f"{BACKUP_TOOLS}/{name}", f"# {MANAGED}\n{_source(source)}")
    yield File(f"{BACKUP_TOOLS}/sample", f"# {MANAGED}\n{one_line(_source('sample.lua'))}")
    for plan in plans:
        name = plan.role.name
        yield File(backup_file(name), settings_text(plan, passwords), mode="0600", role=name, secret=True)
        for unit, verb, what, period in (
            (backup_unit(name), "make", "A copy", plan.backup.schedule),
            (proof_unit(name), "prove", "The proof of a copy", plan.backup.prove),
        ):
            yield File(f"{UNITS}/{unit}.service", _service(plan, verb, what), role=name)
            yield File(f"{UNITS}/{unit}.timer", _timer(plan, what, period), role=name)


def backup_timers(plans: Sequence[Plan]) -> list[Unit]:
    """The timers that run, and start the rest. Of no role: a start of a timer is none of a server."""
    return [
        Unit(f"{unit}.timer", "enabled", "active")
        for plan in plans
        for unit in (backup_unit(plan.role.name), proof_unit(plan.role.name))
    ]


def settings_text(plan: Plan, passwords: Passwords) -> str:
    """What restic and the reader log in with; empty while a password is still to be generated."""
    own = passwords.get(plan.role.name, {})
    password, reader = own.get(PASSWORD), own.get(READER)
    if password is None or reader is None:
        return ""
    before = all_of(password)[1:]
    settings = {name: revealed(value) for name, value in passwords.get(SETTINGS, {}).items() if value is not None}
    lines = {
        "RESTIC_REPOSITORY": with_login(plan.backup.of(plan.role.name), settings),
        "RESTIC_PASSWORD": revealed(password),
        **({"BEFORE": revealed(before[0])} if before else {}),
        "READER": revealed(reader),
        **settings,
    }
    return f"# {MANAGED}\n" + "".join(f"{name}={value}\n" for name, value in lines.items())


def _service(plan: Plan, verb: str, what: str) -> str:
    repository = plan.backup.repository
    return render(
        "backup/backup.service.j2",
        role=plan.role,
        what=what,
        verb=verb,
        parameters=plan.parameters,
        data_directory=data_directory(plan.role.name),
        settings_file=backup_file(plan.role.name),
        tool=TOOL,
        local=repository if repository.startswith("/") else "",
        standby=copy_drop_in(plan.role.name) if plan.on_both else "",
    )


def _timer(plan: Plan, what: str, period: str) -> str:
    spread = PERIODS[period] // SPREAD
    return render("backup/backup.timer.j2", role=plan.role, what=what, period=period, spread=spread)


@cache
def _source(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


def one_line(script: str) -> str:
    """A script in Lua as redis-cli takes it in quotes on one line: it has neither \" nor \\ in it, nor a comment."""
    lines = (line.strip() for line in script.splitlines())
    text = " ".join(line for line in lines if line and not line.startswith("--"))
    if '"' in text or "\\" in text:
        raise ValueError("a script of a backup has a quote or backslash, which redis-cli would take for its own")
    return f"{text}\n"

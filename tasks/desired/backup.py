"""What must be true of a host whose roles are backed up: restic, its units, and what they are told. Pure.

Nothing of it where no role is: no package, no file, no unit (docs/decisions/0025).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from tasks.catalogue.backup import PASSWORD, PERIODS, READER, Backup, settings_of, with_login
from tasks.catalogue.roles import Role
from tasks.catalogue.secret import all_of, revealed
from tasks.desired.host import Away, File, Passwords, Plan, Unit
from tasks.desired.paths import (
    BACKUP_TOOLS,
    PROOFS,
    PROVER,
    PROVER_FILE,
    UNITS,
    backup_file,
    backup_unit,
    copy_drop_in,
    data_directory,
    proof_unit,
    snapshot_file,
    unit_name,
    user_name,
)
from tasks.desired.rendering import MANAGED, render

PACKAGE = "restic"
SOURCES = Path(__file__).parents[2] / "templates" / "backup"
PARTS = ("copy.pl", "moments.pl", "unpack.pl")
TOOL = f"{BACKUP_TOOLS}/backup"
SCRATCH, SCRATCH_BASE = 1.25, 128 << 20  # of maxmemory, and bytes, that the server of a proof never takes more than
SPREAD = 12  # a timer's delay is up to a twelfth of its period


def backup_plan(host: str, role: Role, backup: Backup, of: str = "", on_both: bool = False, also: str = "") -> Plan:
    """How a role of a host is backed up; `of`: the host whose copies `host` only proves, where it is one of those.

    `on_both`: the role's other host has backups, too. `also`: that one, of copies that `host` only proves.
    """
    parameters = {
        "role": role.name,
        "unit": unit_name(role.name),
        "user": PROVER if of else user_name(role.name),
        "directory": data_directory(role.name),
        "log": role.appenddirname if role.appendonly else "",
        "name": role.appendfilename,
        "snapshot": snapshot_file(role).rpartition("/")[2],
        "databases": str(role.databases),
        "address": role.reached,
        "port": str(role.port),
        "tls": "yes" if role.speaks_tls(role.port) else "no",
        "host": host_word(of or host),
        "keep": " ".join(backup.keep.options) if backup.keep else "",
        "memory": str(int(role.maxmemory * SCRATCH) + SCRATCH_BASE) if role.maxmemory else "infinity",
    }
    plan = Plan(role, backup, parameters, of, on_both, also)
    if of:
        parameters |= {"elsewhere": "proves", "late": str(plan.too_old), "keep": ""}
        parameters |= {"also": host_word(also)} if also else {}
    elif not plan.is_proved_here:
        parameters |= {"elsewhere": "proved"}
    return plan


def host_word(name: str) -> str:
    """A host's name as its copies bear it."""
    return re.sub("[^A-Za-z0-9_.-]", "-", name)


def tool_command(plan: Plan, verb: str, *words: str) -> str:
    """The command on the host that does what its units do, by a person's word."""
    given = [f"{name}={value}" for name, value in plan.parameters.items()]
    return shlex.join(["env", *given, "/bin/sh", TOOL, verb, *words])


def backup_files(plans: Sequence[Plan], passwords: Passwords, away: Sequence[tuple[Plan, Away]]) -> Iterator[File]:
    """The files of a host's backups; of what is secret no content while a password is still to be generated.

    `away`: the plans of other hosts' copies, which it proves.
    """
    if not plans and not away:
        return
    yield File(BACKUP_TOOLS, None, mode="0755")
    for name, source in (("backup", "backup.sh"), *((name, name) for name in PARTS)):
        yield File(f"{BACKUP_TOOLS}/{name}", f"# {MANAGED}\n{_source(source)}")
    yield File(f"{BACKUP_TOOLS}/sample", f"# {MANAGED}\n{one_line(_source('sample.lua'))}")
    if away:
        yield File(PROVER_FILE, render("backup/prover.conf.j2", user=PROVER, directory=PROOFS))
    for plan, known in [*((plan, passwords) for plan in plans), *((plan, item.passwords) for plan, item in away)]:
        name = plan.role.name
        yield File(backup_file(name), settings_text(plan, known), mode="0600", role=name, secret=True)
        for unit, verb, what, period in _units_of(plan):
            yield File(f"{UNITS}/{unit}.service", _service(plan, verb, what), role=name)
            yield File(f"{UNITS}/{unit}.timer", _timer(plan, what, period), role=name)


def _units_of(plan: Plan) -> Iterator[tuple[str, str, str, str]]:
    """Of each unit with a timer: its name, what it does, that in words, and how often."""
    name, backup = plan.role.name, plan.backup
    if not plan.of:
        yield backup_unit(name), "make", "A copy", backup.schedule
    if plan.is_proved_here:
        yield proof_unit(name), "prove", "The proof of a copy", backup.prove


def backup_timers(plans: Sequence[Plan]) -> list[Unit]:
    """The timers that run, and start the rest. Of no role: a start of a timer is none of a server."""
    return [Unit(f"{unit}.timer", "enabled", "active") for plan in plans for unit, *_ in _units_of(plan)]


def settings_text(plan: Plan, passwords: Passwords) -> str:
    """What restic and the reader log in with; empty while a password is still to be generated.

    Who only proves asks no server of the role, and is not told how.
    """
    own = passwords.get(plan.role.name, {})
    password, reader = own.get(PASSWORD), own.get(READER)
    if password is None or (reader is None and not plan.of):
        return ""
    before = all_of(password)[1:]
    known = settings_of(passwords, plan.role.name)
    settings = {name: revealed(value) for name, value in known.items() if value is not None}
    lines = {
        "RESTIC_REPOSITORY": with_login(plan.backup.of(plan.role.name), settings),
        "RESTIC_PASSWORD": revealed(password),
        **({"BEFORE": revealed(before[0])} if before else {}),
        **({} if plan.of or reader is None else {"READER": revealed(reader)}),
        **settings,
    }
    return f"# {MANAGED}\n" + "".join(f"{name}={value}\n" for name, value in lines.items())


def _service(plan: Plan, verb: str, what: str) -> str:
    return render(
        "backup/backup.service.j2",
        role=plan.role,
        what=what,
        of=plan.whose,
        verb=verb,
        parameters=plan.parameters,
        data_directory="" if plan.of else data_directory(plan.role.name),
        settings_file=backup_file(plan.role.name),
        tool=TOOL,
        local="" if plan.of else _written(plan),
        standby=copy_drop_in(plan.role.name) if plan.on_both else "",
    )


def _written(plan: Plan) -> str:
    """The directory that the first copy makes a repository in; empty of one that is not on the host."""
    given, place = plan.backup.repository, plan.backup.of(plan.role.name)
    if not place.startswith("/"):
        return ""
    below = isinstance(given, str) and place == f"{given}/{plan.role.name}"
    return str(given) if below else place.rpartition("/")[0] or place


def _timer(plan: Plan, what: str, period: str) -> str:
    spread = PERIODS[period] // SPREAD
    return render("backup/backup.timer.j2", role=plan.role, what=what, of=plan.whose, period=period, spread=spread)


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

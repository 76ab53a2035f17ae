"""Backups: what is left of those that a host has no more, and whether those that it has are recent and proved. Pure.

What its units record lies where no role can write (docs/decisions/0025); it is typed here all the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tasks.catalogue.backup import NAME, PASSWORD, place_of
from tasks.catalogue.printable import excerpt
from tasks.compare.difference import Difference, Remedy
from tasks.compare.unwell import Code, Health, Severity
from tasks.desired.host import Host, Plan
from tasks.desired.paths import (
    BACKUP_TOOLS,
    BACKUP_UNITS,
    CONFIG_DIRECTORY,
    PROOFS,
    UNITS,
    backup_file,
    backup_record,
    backup_unit,
    proof_record,
    proof_unit,
    scratch_directory,
)
from tasks.observed.state import Observed

ROLE = "[a-z][a-z0-9_-]*"
OURS = re.compile(
    rf"{UNITS}/{BACKUP_UNITS}((backup|proof)-{ROLE}\.(service|timer)|begun-{ROLE}\.(service|path))|"
    rf"{BACKUP_TOOLS}/(backup|sample|copy\.pl|moments\.pl|unpack\.pl)"
)
SCRATCH = re.compile(rf"{PROOFS}/({ROLE})")
SETTINGS = re.compile(rf"{CONFIG_DIRECTORY}/({ROLE})\.backup")
HOUR = 3600
SLACK = 60  # seconds that one clock may be ahead of another: what is of later than that is of a time to come
SHOWN = 300  # characters of what a unit said


@dataclass(frozen=True)
class Record:
    """What came of the last copy or proof: `good` is when the last one that succeeded began, 0 where none has."""

    failed: bool
    at: int
    good: int = 0
    first: int = 0
    keys: str = ""
    said: str = ""
    life: str = ""  # of which data its copies are
    after: str = ""  # of which life that goes on, and until which moment (tasks/observed/copies.py); empty: began here
    run: str = ""  # of the last copy that was made
    where: str = ""  # to which place: tasks/catalogue/backup.py, place_of
    repository: str = ""  # to which repository there, by restic's own number
    since: int = 0  # when the first copy went to that repository
    begun: str = ""  # what was there at the first copy of that life: empty or data; "": not known
    kept: str = ""  # why older copies could not be forgotten
    unopened: bool = False  # it failed for its repository could not be opened, and nothing else was wrong before
    rotated: bool = False  # the newest of two passwords opens the repository, and which key is the other's is known


def read_record(text: str) -> Record | None:
    """A record of a unit, None of what is none."""
    fields = dict(line.partition(" ")[::2] for line in text.splitlines())
    numbers = {name: fields.get(name, "0") for name in ("at", "good", "first", "since")}
    if fields.get("result") not in ("ok", "failed") or not all(
        re.fullmatch("[0-9]{1,12}", item) for item in numbers.values()
    ):
        return None
    at, good, first, since = map(int, numbers.values())
    keys, said, kept = (excerpt(fields.get(name, ""), SHOWN)[1:-1] for name in ("keys", "said", "kept"))
    life, after, begun = (fields.get(name, "") for name in ("life", "after", "begun"))
    run, where, repository = (fields.get(name, "") for name in ("run", "where", "repository"))
    return Record(
        failed=fields["result"] == "failed",
        at=at,
        good=good,
        first=first,
        since=since,
        keys=keys,
        said=said,
        kept=kept,
        life=life if re.fullmatch("[0-9a-f]{16}", life) else "",
        unopened=fields["result"] == "failed" and fields.get("opens") == "no",
        rotated=fields.get("rotated") == "yes",
        after=after if re.fullmatch("[0-9a-f]{16}-[0-9]{1,12}", after) else "",
        run=run if re.fullmatch("[0-9a-f]{16}", run) else "",
        where=where if re.fullmatch("[0-9a-f]{16}", where) else "",
        repository=repository if re.fullmatch("[0-9a-f]{1,64}", repository) else "",
        begun=begun if begun in ("empty", "data") else "",
    )


def recorded(path: str, observed: Observed) -> Record | None:
    """What a unit has recorded in a file, None of none."""
    state = observed.files.get(path)
    return read_record(state.content) if state is not None and state.kind == "file" else None


def backup_leftovers(desired: Host, observed: Observed) -> Iterator[Difference]:
    """Timers and files of backups that the host is not to have; its copies stay where they are.

    Of a role that is backed up a copy lies there while it is proved; what a proof left is removed by the next run.
    """
    proved = {scratch_directory(plan.role.name) for plan in (*desired.backups, *desired.proofs)}
    wanted = proved | {unit.name for unit in desired.units} | {file.path for file in desired.files}
    for name, state in sorted(observed.units.items()):
        ours = OURS.fullmatch(f"{UNITS}/{name}")
        if ours and name not in wanted and state["LoadState"] != "not-found":
            yield Difference(None, "unit", name, "absent", state["ActiveState"], Remedy.DISABLE)
    for path in sorted(observed.files):
        if path not in wanted and _is_ours(path, observed.files):
            yield Difference(None, "file", path, "absent", "present", Remedy.REMOVE)


def _is_ours(path: str, files: Collection[str]) -> bool:
    """Whether this tool has written a file. Anybody may call a copy of a file `*.backup`: ours has a unit beside it."""
    settings = SETTINGS.fullmatch(path)
    if settings is None:
        return SCRATCH.fullmatch(path) is not None or OURS.fullmatch(path) is not None
    beside = (backup_unit(settings[1]), proof_unit(settings[1]))
    return any(f"{UNITS}/{unit}.service" in files for unit in beside)


def lost_repository_passwords(
    desired: Host, observed: Observed, file: str, lacking: Iterable[tuple[str, str]]
) -> Iterator[str]:
    """Repositories whose password the secrets file has lost: another one would open none of their copies."""
    known = set(lacking)
    for plan in (*desired.backups, *(plan for plan in desired.proofs if plan.of)):
        name, path = plan.role.name, backup_file(plan.role.name)
        if (name, PASSWORD) in known and path in observed.files:
            yield (
                f"{name}: {file} has no password of its repository of backups, and the host has one ({path}), "
                f"expected the same in both: bring the secrets file back, or copy what stands there behind "
                f"RESTIC_PASSWORD= into it, as {name}: {{{PASSWORD}: …}}; a new one would open no copy"
            )


def unfinished_repositories(hosts: Mapping[str, tuple[Host, Observed]], roles: Iterable[str]) -> Iterator[str]:
    """Of roles whose repository is to lose its password of before: why that would leave none that opens it.

    Only who makes a role's copies can tell: of a pair that is one host, and the other's record is of another time.
    """
    for role in roles:
        makers = [
            (name, observed)
            for name, (desired, observed) in sorted(hosts.items())
            if any(plan.role.name == role for plan in desired.copied)
        ]
        if not makers:
            yield (
                f"{role}: {PASSWORD}: no host that makes its copies was seen, expected the one that serves it: mend "
                f"that, then this again; or keep the password before: --data rotate_undo={role}:{PASSWORD}"
            )
        for name, observed in makers:
            if not _takes_the_newest(role, observed):
                yield (
                    f"{name}: {role}: {PASSWORD}: no copy was made since its repository takes the newest password, "
                    f"expected one: tasks/backup.py --data backup={role}, then this again; or keep the one before: "
                    f"--data rotate_undo={role}:{PASSWORD}"
                )


def _takes_the_newest(role: str, observed: Observed) -> bool:
    """Whether a copy was made with the passwords that the host has; an older one tells of another rotation."""
    record, settings = recorded(backup_record(role), observed), observed.files.get(backup_file(role))
    if record is None or settings is None or not record.rotated:
        return False
    # When it began, for a copy of a snapshot is as old as that; of one behind which another failed no more is known.
    return (record.good if record.failed else record.at) >= settings.modified


def without_backup(hosts: Iterable[Host]) -> list[str]:
    """What a person should know of roles that have no backup; one line, or none."""
    names = sorted({role.name for host in hosts for role in host.roles if not role.backed_up})
    if not names:
        return []
    return [f"no backup off the host: {', '.join(names)}: their data is gone with its disk (README, Backups: {NAME})"]


def backup_health(desired: Host, observed: Observed) -> Iterator[Health]:
    """What is not well with the copies of a host's roles, and with the proofs that run there."""
    for plan in desired.copied:
        name = plan.role.name
        if backup_file(name) not in observed.files:
            continue  # listed as a difference
        copy, proof = recorded(backup_record(name), observed), recorded(proof_record(name), observed)
        yield from _copy(plan, copy, observed.files[backup_file(name)].modified, observed.asked_at)
        if copy is not None and plan.is_proved_here:
            yield from _proof(plan, copy, proof, observed.asked_at)
    for plan in desired.proofs:
        name = plan.role.name
        if plan.of and backup_file(name) in observed.files:
            begun = observed.files[backup_file(name)].modified
            yield from _proof_of_another(plan, recorded(proof_record(name), observed), begun, observed.asked_at)


def _copy(plan: Plan, record: Record | None, begun: int, now: int) -> Iterator[Health]:
    """`begun`: when its settings were written: no copy can be older, so that none is missing before one would be."""
    name = plan.role.name
    see = f"journalctl -u {backup_unit(name)}, then make one: tasks/backup.py"
    age = now - record.good if record is not None and record.good else None
    if age is None or age > plan.too_old or age < -SLACK:
        found = "no copy was ever made from here" if age is None else f"the last copy is {in_words(age)} old"
        if age is not None and age < -SLACK:
            found = f"the last copy is of a time to come, in {in_words(-age)}: a clock was ahead, its age is not known"
        said = f"; the last try said: {record.said}" if record is not None and record.failed else ""
        soon = age is None and -SLACK <= now - begun <= plan.too_old
        severity: Severity = "warning" if soon else "critical"
        yield Health(name, Code.BACKUP_OLD, severity, f"{found}{said}", in_words(plan.too_old), see)
    elif record is not None and record.failed:
        yield Health(name, Code.BACKUP_FAILED, "warning", record.said, "a copy each time", see)
    elif record is not None and record.kept:
        yield Health(name, Code.BACKUP_FAILED, "warning", record.kept, "older copies forgotten as planned", see)


def _proof(plan: Plan, copy: Record, record: Record | None, now: int) -> Iterator[Health]:
    if record is not None and record.repository and copy.repository and not _same_place(record, copy):
        record = None  # of a repository to which no copies go any more
    yield from _judged(plan, record, proved(record, copy) or copy.since or copy.first, now)


def _proof_of_another(plan: Plan, record: Record | None, begun: int, now: int) -> Iterator[Health]:
    """`begun`: when what opens the repository was written there: none is missing before one would be."""
    record = record if is_of(plan, record) else None
    yield from _judged(plan, record, (record.good if record is not None else 0) or begun, now)


def is_of(plan: Plan, record: Record | None) -> bool:
    """Whether a record is of the place where the plan's copies go now."""
    return record is not None and record.where == place_of(plan.backup.of(plan.role.name))


def _judged(plan: Plan, record: Record | None, since: int, now: int) -> Iterator[Health]:
    """`since`: when a copy was proved last, or could have been from then on."""
    name = plan.role.name
    whose = f"of {plan.whose}: " if plan.of else ""
    see = f"journalctl -u {proof_unit(name)}, mend it, then: systemctl start {proof_unit(name)}"
    if record is not None and record.failed:
        yield Health(name, Code.PROOF_FAILED, "critical", f"{whose}{record.said}", "a copy that a server loads", see)
    elif since and not -SLACK <= now - since <= plan.proof_too_old:
        found = f"no copy was proved for {in_words(now - since)}"
        if since > now:
            found = f"the last proof is of a time to come, in {in_words(since - now)}: a clock was ahead"
        yield Health(name, Code.PROOF_OLD, "warning", f"{whose}{found}", in_words(plan.proof_too_old), see)


def proved(proof: Record | None, copy: Record | None) -> int:
    """When a copy of the repository that copies go to was proved last, 0 where none was."""
    if proof is None or (copy is not None and not _same_place(proof, copy)):
        return 0
    return proof.good


def _same_place(one: Record, other: Record) -> bool:
    return (one.repository, one.where) == (other.repository, other.where)


def in_words(seconds: int) -> str:
    """How long that is."""
    hours = seconds // HOUR
    if hours >= 72:
        return f"{hours // 24} days"
    return f"{hours} hours" if hours >= 2 else f"{max(seconds, 0) // 60} minutes"

"""What a rehearsal did and proved, of which page and summary are made, and its JSON, version 1."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from tasks.catalogue.printable import encodable
from tasks.catalogue.roles import describe

VERSION = 1
# What a rehearsal can do, in the order of the report, and how people call it. A drill with another name comes behind.
DRILLS = {
    "full": "memory full",
    "crash": "server killed",
    "power": "power cut",
    "reboot": "reboot",
    "reboot_late_address": "reboot with a late address",
    "disk_full": "disk full",
    "log_truncated": "log truncated",
    "log_damaged": "log damaged",
    "log_foreign_owner": "log owned by root",
    "rewrite_memory_short": "rewrite with memory short",
    "busy_script": "busy script",
    "maxclients": "maxclients reached",
    "slow_subscriber": "slow subscriber",
    "stampede": "client stampede",
    "latency": "latency through a rewrite",
    "tamper": "tampering",
}

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Text = Annotated[str, BeforeValidator(lambda value: encodable(value) if isinstance(value, str) else value)]
Seconds = Annotated[float, Field(ge=0)]
Port = Annotated[int, Field(ge=1, le=65535)]
Size = Annotated[int, Field(ge=0, lt=1 << 63)]
# Beyond these nothing is measured, and no program reads the JSON without a loss.
Whole = Annotated[int, Field(gt=-(1 << 63), lt=1 << 63)]
Measured = Annotated[float, Field(ge=-1e15, le=1e15)]
Moment = Annotated[float, Field(ge=-1e9, le=1e9)]


@dataclass(frozen=True, config=_STRICT)
class RehearsedHost:
    """A machine of the rehearsal. `debian`, `kernel`, `redis` are the versions it ran, as it calls them itself.

    `machine`: what it is, as systemd-detect-virt says; `disk`: what its roles' data is on, and its file system.
    """

    name: Text
    address: Text
    debian: Text
    kernel: Text
    redis: Text
    memory_mib: Size
    machine: Text = ""
    disk: Text = ""


@dataclass(frozen=True, config=_STRICT)
class RehearsedRole:
    """A role as it ran on one host; `maxmemory` in bytes, after scaling."""

    name: Text
    host: Text
    address: Text
    port: Port
    inner_port: Port | None
    maxmemory: Size
    maxmemory_policy: Text
    appendonly: bool
    appendfsync: Text
    services: tuple[Text, ...]


@dataclass(frozen=True, config=_STRICT)
class Scaled:
    """A setting that the rehearsal made smaller than what production asks for; without a role it is the hosts'."""

    role: Text | None
    setting: Text
    wanted: Text
    used: Text


@dataclass(frozen=True, config=_STRICT)
class Step:
    """A command of the rehearsal: deploy, the drills, verify, drift. `said`: the lines worth keeping."""

    name: Text
    command: Text
    seconds: Seconds
    passed: bool
    said: tuple[Text, ...]


@dataclass(frozen=True, config=_STRICT)
class Figure:
    """One number, or word, that was found. A unit `bytes` is shown as KiB, MiB or GiB."""

    value: float | Whole | Text
    unit: Text


@dataclass(frozen=True, config=_STRICT)
class Series:
    """What was measured over time: points and marks at seconds since the drill began.

    Points are in order of time. Series of one drill with the same unit share a plot; marks hold for all of them.
    """

    name: Text
    unit: Text
    points: tuple[tuple[Moment, Measured], ...]
    marks: tuple[tuple[Moment, Text], ...]

    def __post_init__(self) -> None:
        times = [time for time, _ in self.points]
        if times != sorted(times):
            raise ValueError(f"{self.name}: its points are not in order of time: sort them")


@dataclass(frozen=True, config=_STRICT)
class DrillResult:
    """What a drill showed of one promise: of a role, or of the host as a whole when `role` is None.

    `promise` is a sentence, `proved_by` says what was done and seen; of `figures` the first ones matter most.
    """

    drill: Text
    role: Text | None
    host: Text
    promise: Text
    passed: bool
    seconds: Seconds
    proved_by: Text
    figures: Mapping[Text, Figure]
    series: tuple[Series, ...]
    said: tuple[Text, ...]


@dataclass(frozen=True, config=_STRICT)
class NotRun:
    """A drill that was left out, of a role or of all (None), and why: what it would have proved is not proved."""

    drill: Text
    role: Text | None
    why: Text


@dataclass(frozen=True, config=_STRICT)
class Rehearsal:
    """A rehearsal: when it began (UTC), how long it took, what was deployed where, and all that came of it.

    `came_from` is the git ref that was deployed before `commit`, `like` the inventory whose catalogue was taken.
    Raises ValueError for a time that is not UTC, an end beyond the calendar, a host or role that appears twice, and
    one that nobody declared.
    """

    began: datetime
    seconds: Seconds
    inventory: Text
    commit: Text
    came_from: Text | None
    like: Text | None
    hosts: tuple[RehearsedHost, ...]
    roles: tuple[RehearsedRole, ...]
    scaled: tuple[Scaled, ...]
    steps: tuple[Step, ...]
    drills: tuple[DrillResult, ...]
    not_run: tuple[NotRun, ...]

    def __post_init__(self) -> None:
        if self.began.utcoffset() != timedelta(0):
            raise ValueError(f"began: {self.began.isoformat()} is not in UTC")
        try:
            _ = self.ended
        except OverflowError as error:
            raise ValueError(f"seconds: {self.seconds:g} end beyond the calendar, expected what it took") from error
        wrong = [*_twice(self), *_undeclared(self)]
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def passed(self) -> bool:
        """Something was tried, and all that was tried went as promised. What was not tried is in `not_proved`."""
        return bool(self.drills) and not self.failed and not self.failed_steps

    @property
    def failed(self) -> tuple[DrillResult, ...]:
        """The promises that did not hold."""
        return tuple(item for item in self.drills if not item.passed)

    @property
    def failed_steps(self) -> tuple[Step, ...]:
        """The commands that failed."""
        return tuple(item for item in self.steps if not item.passed)

    @property
    def drill_names(self) -> tuple[str, ...]:
        """Every drill that there is and every one that is spoken of, in the order of the report."""
        spoken = dict.fromkeys([*(item.drill for item in self.drills), *(item.drill for item in self.not_run)])
        return (*DRILLS, *(name for name in spoken if name not in DRILLS))

    @property
    def not_proved(self) -> tuple[NotRun, ...]:
        """What was left out, and what nobody says a word of: that is not proved, either."""
        return (*self.not_run, *_silent(self))

    @property
    def untried(self) -> int:
        """How many promises were not tried: one for each drill and role without a result, as `drills` counts them."""
        if not self.roles:
            return len({item.drill for item in self.not_proved})
        return sum(not _shown(self, drill, role) for drill in self.drill_names for role in self.roles)

    @property
    def ended(self) -> datetime:
        """When the last command ended."""
        return self.began + timedelta(seconds=self.seconds)


def _twice(rehearsal: Rehearsal) -> Iterator[str]:
    hosts = Counter(host.name for host in rehearsal.hosts)
    roles = Counter(f"{role.name} on {role.host}" for role in rehearsal.roles)
    for kind, counted in (("hosts", hosts), ("roles", roles)):
        if twice := sorted(name for name, times in counted.items() if times > 1):
            yield f"{kind}: {', '.join(twice)} stands twice: name each once"


def _undeclared(rehearsal: Rehearsal) -> Iterator[str]:
    """A result of a role that nobody sees among the roles would be read as nobody's."""
    hosts, roles = {host.name for host in rehearsal.hosts}, {(role.name, role.host) for role in rehearsal.roles}
    names = {name for name, _ in roles}
    for role in rehearsal.roles:
        if role.host not in hosts:
            yield f"roles: {role.name} is on {role.host}, which is not one of hosts: add it"
    for drill in rehearsal.drills:
        if drill.host not in hosts:
            yield f"drills: {drill.drill} ran on {drill.host}, which is not one of hosts: add it"
        elif drill.role is not None and (drill.role, drill.host) not in roles:
            yield f"drills: {drill.drill} is of {drill.role} on {drill.host}, which is not one of roles: add it"
    spoken: Iterable[tuple[str, str | None]] = (
        *(("scaled", item.role) for item in rehearsal.scaled),
        *(("not_run", item.role) for item in rehearsal.not_run),
    )
    for field, name in spoken:
        if name is not None and name not in names:
            yield f"{field}: {name} is not one of roles: add it"


def _shown(rehearsal: Rehearsal, drill: str, role: RehearsedRole) -> bool:
    """Whether a drill has a result of a role, or of its host as a whole."""
    of = (role.name, None)
    return any(item.drill == drill and item.host == role.host and item.role in of for item in rehearsal.drills)


def _silent(rehearsal: Rehearsal) -> Iterator[NotRun]:
    """Drills without a result and without a reason: all of one, or for some of the roles."""
    left_out = {(item.drill, item.role) for item in rehearsal.not_run}
    spoken = {item.drill for item in rehearsal.drills} | {drill for drill, _ in left_out}
    names = Counter(role.name for role in rehearsal.roles)
    for drill in rehearsal.drill_names:
        if (drill, None) in left_out:
            continue
        if drill not in spoken:
            yield NotRun(drill, None, "not asked for: --drills all (make rehearse) has it")
            continue
        for role in rehearsal.roles:
            if not _shown(rehearsal, drill, role) and (drill, role.name) not in left_out:
                where = f" on {role.host}" if names[role.name] > 1 else ""
                yield NotRun(drill, role.name, f"neither run{where} nor left out with a reason")


_ADAPTER = TypeAdapter(Rehearsal)


def to_json(rehearsal: Rehearsal) -> str:
    """One JSON document on one line, the same text for the same rehearsal; `jq .` lays it out for people."""
    document = {"version": VERSION, **_ADAPTER.dump_python(rehearsal, mode="json")}
    return json.dumps(document) + "\n"


def from_json(text: str) -> Rehearsal:
    """The rehearsal that `to_json` wrote. Raises ValueError, in words, for anything else."""
    try:
        document: Any = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not a rehearsal's report: not JSON: {error}") from error
    version = document.pop("version", None) if isinstance(document, dict) else None
    if version != VERSION:
        raise ValueError(f"not a rehearsal's report: its version is {version!r}, expected {VERSION}")
    try:
        return _ADAPTER.validate_json(json.dumps(document))
    except ValidationError as error:
        problems = "\n".join(describe(error, "every field of version 1 is written"))
        raise ValueError(f"not a rehearsal's report:\n{problems}") from error

"""Backups off the host: `redis_backup` of host or group data at the door. Off unless it is set. Pure.

restic stores, encrypts and forgets; here is what of its settings an operator chooses (docs/decisions/0025).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tasks.catalogue.roles import Role, describe
from tasks.catalogue.secret import all_of

NAME = "redis_backup"
PASSWORD = "backup"  # of a role's repository: in the place of a user's in the secrets file, and no user of Redis
READER = "reader"  # the ACL user that counts keys and takes samples for a copy's manifest
SETTINGS = "RESTIC"  # block of the secrets file: restic's own variables; no role can have this name

# Seconds between two copies or proofs, by the names that systemd has for them (systemd.time(7)).
PERIODS: Mapping[str, int] = {"hourly": 3600, "daily": 86400, "weekly": 7 * 86400, "monthly": 31 * 86400}
LATE = 3  # periods after which a copy or a proof is too old: one that failed may be made up for by the next
WAYS = "an absolute path, sftp:USER@HOST:/PATH, rest:https://HOST/PATH, s3:https://HOST/BUCKET"
FORMS = r"/[^/]|sftp:(//)?[^:/@]|rest:https?://[^/@:]|s3:(https?://)?[^/@:]|(swift|b2|azure|gs|rclone):."
VARIABLE = re.compile(r"(AWS|B2|AZURE|GOOGLE|OS|ST|SWIFT|RCLONE|RESTIC_REST)_[A-Z0-9_]{1,60}")
MOST_COPIES = 10_000
MOST_PASSWORDS = 2  # of a repository: the newest, and the one before it while it is rotated
LAST = 6  # copies that stay in any case: one made after a mistake displaces none of the same hour from before it


def _repository(value: str) -> str:
    # What is no such place may be one with a password in it, in whatever form: it is not repeated.
    if "@" in value and not re.match(r"/|sftp:[^:/@]+@|sftp://[^:/@]+@", value):
        raise ValueError(
            "has a user or password in it, which everybody reads who reads the inventory: put them into the secrets "
            f"file, as {SETTINGS}: {{RESTIC_REST_USERNAME: …, RESTIC_REST_PASSWORD: …}}"
        )
    if value.startswith("sftp:") and value.count("@") > 1:
        raise ValueError(f"has more than one @, expected no password in it: ssh logs in by a key: write {WAYS}")
    if re.search(r"[\s\x00-\x1f\x7f]", value):
        raise ValueError(f"has blanks, expected {WAYS}: correct it")
    if not re.match(FORMS, value):
        raise ValueError(f"has another form than {WAYS}, or another one that restic has: correct it")
    return value.rstrip("/")


def _period(value: str) -> str:
    if value not in PERIODS:
        raise ValueError(f"{value!r}: write one of {', '.join(PERIODS)}")
    return value


Period = Annotated[str, Field(strict=True), AfterValidator(_period)]
Count = Annotated[int, Field(strict=True, ge=1, le=MOST_COPIES)]


class Keep(BaseModel):
    """How many of the copies that are last in their hour, day, week or month stay."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hourly: Count | None = None
    daily: Count | None = None
    weekly: Count | None = None
    monthly: Count | None = None

    @model_validator(mode="after")
    def _something_stays(self) -> Keep:
        if not self.options:
            raise ValueError("keeps nothing: say how many, as {hourly: 24, daily: 14, weekly: 8}")
        return self

    @property
    def options(self) -> list[str]:
        """As restic forget takes them."""
        given = {name: getattr(self, name) for name in ("hourly", "daily", "weekly", "monthly")}
        last = [f"--keep-last={LAST}"] if any(given.values()) else []
        return [*last, *(f"--keep-{name}={count}" for name, count in given.items() if count)]


class Backup(BaseModel):
    """Where the copies of one host's roles go, and when; each role has a repository of its own below `repository`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: Annotated[str, Field(strict=True, min_length=2, max_length=1000), AfterValidator(_repository)]
    schedule: Period = "hourly"
    keep: Keep | None = Keep(hourly=24, daily=14, weekly=8)  # None: whoever has the repository forgets them
    roles: tuple[str, ...] | None = None  # all that the host carries
    prove: Period = "weekly"

    def of(self, role: str) -> str:
        """The repository of one role."""
        return f"{self.repository}/{role}"

    def includes(self, role: str) -> bool:
        """Whether a role that the host carries is backed up."""
        return self.roles is None or role in self.roles


@dataclass(frozen=True)
class Source:
    """What a host's data says of its backups, None of none, and what is wrong with that."""

    backup: Backup | None
    problems: tuple[str, ...] = ()


def read_backup(host: str, value: object, known: Collection[str]) -> Source:
    """One host's backups; `known`: the roles of the catalogue."""
    if value is None:
        return Source(None)
    if not isinstance(value, Mapping):
        # Which may have a password in it.
        found = f"a {type(value).__name__}"
        return Source(None, (f"{host}: {NAME}: expected {{'repository': {WAYS}, …}}, observed {found}: correct it",))
    try:
        backup = Backup.model_validate(dict(value))
    except ValidationError as error:
        # What was given may have a password in it that was put in the wrong place.
        lines = (re.sub(r"^repository: .* was given: ", "repository: ", line) for line in describe(error, "add it"))
        return Source(None, tuple(f"{host}: {NAME}: {line}" for line in lines))
    named = backup.roles or ()
    problems = [
        f"{host}: {NAME}: roles: {name}: no such role, expected one of {', '.join(sorted(known))}: correct the name"
        for name in named
        if name not in known
    ]
    return Source(backup, tuple(problems))


def backed_up(roles: Iterable[Role], backup: Backup | None) -> tuple[Role, ...]:
    """The roles of a host, those that are backed up marked so."""
    return tuple(
        role.model_copy(update={"backed_up": True}) if backup is not None and backup.includes(role.name) else role
        for role in roles
    )


def with_login(repository: str, settings: Mapping[str, str]) -> str:
    """A repository behind restic's REST server with its user in it: Debian 12's restic takes that no other way."""
    user, password = settings.get("RESTIC_REST_USERNAME"), settings.get("RESTIC_REST_PASSWORD")
    match = re.fullmatch(r"(rest:https?://)(.*)", repository)
    if match is None or not user:
        return repository
    return f"{match[1]}{quote(user, safe='')}:{quote(password or '', safe='')}@{match[2]}"


def place_of(repository: str) -> str:
    """How the tool on a host notes where its copies go, whoever logs in there. Pure."""
    return hashlib.sha256(f"{repository}\n".encode()).hexdigest()[:16]


def setting_problems(
    source: object, passwords: Mapping[str, Mapping[str, Any]], roles: Iterable[Role]
) -> Iterator[str]:
    """What is wrong with the backups' part of a secrets source; shows none of it."""
    for name, value in sorted(passwords.get(SETTINGS, {}).items()):
        if not VARIABLE.fullmatch(name):
            yield (
                f"{source}: {SETTINGS}: {name}: expected a variable with which restic finds its way in "
                "(AWS_ACCESS_KEY_ID, RESTIC_REST_PASSWORD, …): correct or remove it"
            )
        elif _several(value):
            yield f"{source}: {SETTINGS}: {name}: expected one text, observed a list: leave one"
    for role in roles:
        count = len(all_of(passwords.get(role.name, {}).get(PASSWORD, "")))
        if count > MOST_PASSWORDS:
            yield (
                f"{source}: {role.name}: {PASSWORD}: expected its repository's password, or the newest and the one "
                f"before it, observed a list of {count}: leave these two"
            )


def _several(value: Any) -> bool:
    return len(all_of(value)) > 1

"""Backups off the host: `redis_backup` of host or group data at the door. Off unless it is set. Pure.

restic stores, encrypts and forgets; here is what of its settings an operator chooses (docs/decisions/0025).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tasks.catalogue.roles import Role, describe
from tasks.catalogue.secret import all_of

NAME = "redis_backup"
PASSWORD = "backup"  # of a role's repository: in the place of a user's in the secrets file, and no user of Redis
READER = "reader"  # the ACL user that counts keys and takes samples for a copy's manifest
SETTINGS = "RESTIC"  # block of the secrets file: restic's own variables; no role can have this name
OF_ROLE = f"{SETTINGS}-"  # begins the name of a block that is one role's, and takes the place of that one for it

# Seconds between two copies or proofs, by the names that systemd has for them (systemd.time(7)).
PERIODS: Mapping[str, int] = {"hourly": 3600, "daily": 86400, "weekly": 7 * 86400, "monthly": 31 * 86400}
LATE = 3  # periods after which a copy or a proof is too old: one that failed may be made up for by the next
WAYS = "an absolute path, sftp:USER@HOST:/PATH, rest:https://HOST/PATH, s3:https://HOST/BUCKET"
ITS_NAME = "{role}"  # in a repository: the role's name
FORMS = r"/[^/]|sftp:(//)?[^:/@]|rest:https?://[^/@:]|s3:(https?://)?[^/@:]|(swift|b2|azure|gs|rclone):."
VARIABLE = re.compile(r"(AWS|B2|AZURE|GOOGLE|OS|ST|SWIFT|RCLONE|RESTIC_REST)_[A-Z0-9_]{1,60}")
LONGEST = 1000  # characters of a repository
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
    if re.search("[{}]", value.replace(ITS_NAME, "")):
        raise ValueError(f"has other braces than {ITS_NAME}, which the role's name takes the place of: correct it")
    return value.rstrip("/")


def _repositories(value: object) -> str | dict[str, str]:
    """One for all roles, or one for each; what is no text may have a password in it."""
    if isinstance(value, str):
        return _one(value)
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for pair in value.items() for item in pair):
        raise ValueError(f"expected {WAYS}, or one for each role as ROLE → repository: correct it")
    found, problems = {}, []
    for role, place in sorted(value.items()):
        try:
            found[role] = _one(place)
        except ValueError as error:
            problems.append(f"{role}: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return found


def _one(value: str) -> str:
    if not 2 <= len(value) <= LONGEST:
        raise ValueError(f"has {len(value)} characters, expected 2 to {LONGEST}: correct it")
    return _repository(value)


def _provers(value: object) -> object:
    names = list(value.values()) + list(value) if isinstance(value, Mapping) else [value]
    if value is not None and not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"expected the name of a host, or ROLE → host, observed {value!r}: correct it")
    return value


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
    """Where the copies of one host's roles go, and when; each role has a repository of its own.

    `repository`: below which, or which by the role's name in it, or by role. `prove_on`: which host proves them, or by
    role; those of which none is named are proved where they are made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: Annotated[str | dict[str, str], BeforeValidator(_repositories)]
    schedule: Period = "hourly"
    keep: Keep | None = Keep(hourly=24, daily=14, weekly=8)  # None: whoever has the repository forgets them
    roles: tuple[str, ...] | None = None  # all that the host carries
    prove: Period = "weekly"
    prove_on: Annotated[str | dict[str, str] | None, BeforeValidator(_provers)] = None

    def of(self, role: str) -> str:
        """The repository of one role; of one for each, "" of a role that has none."""
        if isinstance(self.repository, dict):
            return self.repository.get(role, "")
        if ITS_NAME in self.repository:
            return self.repository.replace(ITS_NAME, role)
        return f"{self.repository}/{role}"

    def prover(self, role: str) -> str | None:
        """The other host that proves a role's copies, None where they are made there."""
        return self.prove_on.get(role) if isinstance(self.prove_on, dict) else self.prove_on

    def includes(self, role: str) -> bool:
        """Whether a role that the host carries is backed up."""
        return self.roles is None or role in self.roles


@dataclass(frozen=True)
class Source:
    """What a host's data says of its backups, None of none, and what is wrong with that."""

    backup: Backup | None
    problems: tuple[str, ...] = ()


def read_backup(host: str, value: object, known: Collection[str], carried: Collection[str] = ()) -> Source:
    """One host's backups; `known`: the roles of the catalogue, `carried`: those of the host."""
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
    named = {
        "roles": backup.roles or (),
        "repository": backup.repository if isinstance(backup.repository, dict) else (),
        "prove_on": backup.prove_on if isinstance(backup.prove_on, dict) else (),
    }
    problems = [
        f"{where}: {name}: no such role, expected one of {', '.join(sorted(known))}: correct the name"
        for where, names in named.items()
        for name in names
        if name not in known
    ]
    problems += _shared_places(backup, [name for name in sorted(carried) if backup.includes(name)])
    return Source(backup, tuple(f"{host}: {NAME}: {problem}" for problem in problems))


def _shared_places(backup: Backup, roles: Iterable[str]) -> Iterator[str]:
    """Roles that have no repository, or one that another has: who opens that would have both."""
    if not isinstance(backup.repository, dict):
        return
    owners: dict[str, list[str]] = {}
    for name in roles:
        owners.setdefault(backup.of(name), []).append(name)
    for name in owners.pop("", []):
        yield f"repository: {name}: none, expected a place of its own: add it, or leave {name} out of roles"
    for names in owners.values():
        if len(names) > 1:
            yield f"repository: {' and '.join(names)} have the same, expected one for each role: correct it"


Proved = tuple[str, str]  # a host, and a role of whose copies


def provers(
    carried: Mapping[str, Collection[str]],
    backups: Mapping[str, Backup | None],
    peers: Mapping[Proved, str] = MappingProxyType({}),
) -> tuple[dict[str, list[Proved]], list[str]]:
    """Host → the roles of other hosts that it proves, and what is wrong with that; `carried`: host → its roles. Pure.

    One host proves one host's copies of a role, and none of a role of its own: unit, record and scratch place of a
    proof are called by the role. Of a pair (`peers`: the other host of each that has one) the one that serves makes the
    copies, so what proves one of the two proves what either makes, and is named once.
    """
    found: dict[str, list[Proved]] = {}
    problems: dict[str, None] = {}
    for home, role, name in _sent_away(carried, backups):
        doubled = next((other for other, known in found.get(name, []) if known == role), "")
        peer = peers.get((home, role), "")
        words = _no_prover(name, home, role, carried, "" if doubled == peer else doubled)
        if words := words or _apart(name, role, peer, backups.get(home), backups.get(peer)):
            problems[f"{home}: {NAME}: prove_on: {name}: {words}"] = None
        elif not doubled:
            found.setdefault(name, []).append((home, role))
    return found, list(problems)


def _apart(name: str, role: str, peer: str, own: Backup | None, other: Backup | None) -> str:
    """Why a host cannot prove what both hosts of a pair make, empty where it can, or only one of them makes copies."""
    if own is None or other is None or not other.includes(role) or own.of(role) == other.of(role):
        return ""
    return (
        f"{role} has another repository on {peer}, its other host, expected the same on both: {name} would find no "
        "copies of whichever of the two does not serve: name one repository"
    )


def for_both(role: str, own: Backup, other: Backup) -> Backup:
    """How copies that either host of a pair makes are proved: late where both plans have them so."""
    schedule = max(own.schedule, other.schedule, key=lambda name: PERIODS[name])
    here = [own.prove] + [other.prove] * (own.prover(role) == other.prover(role))
    return own.model_copy(update={"schedule": schedule, "prove": min(here, key=lambda name: PERIODS[name])})


def _sent_away(
    carried: Mapping[str, Collection[str]], backups: Mapping[str, Backup | None]
) -> Iterator[tuple[str, str, str]]:
    """(host, role, the host that is named to prove its copies)."""
    for home, backup in sorted(backups.items()):
        for role in sorted(carried.get(home, ())):
            name = backup.prover(role) if backup is not None and backup.includes(role) else None
            if name is not None:
                yield home, role, name


def _no_prover(name: str, home: str, role: str, carried: Mapping[str, Collection[str]], doubled: str) -> str:
    """Why a host cannot prove another's copies of a role, empty where it can; `doubled`: whose it proves already."""
    able = sorted(host for host, roles in carried.items() if roles and host != home)
    others = f"one of {', '.join(able)}" if able else "another one, and the inventory has none"
    if name not in carried:
        return f"no such host in the inventory, expected {others}: correct the name"
    if name == home:
        return (
            f"is the host whose copies it would prove, expected {others}: a role that none is named for is proved at "
            "home ({ROLE: host} names one for each)"
        )
    if not carried[name]:
        return f"carries no role, expected {others}: name one that this tool keeps"
    if role in carried[name]:
        return f"carries {role} itself, expected one that does not: its proof of that role is its own: name another"
    if doubled:
        return f"proves {role} of {doubled} already, expected one host's copies of a role: name another"
    return ""


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


def settings_of(passwords: Mapping[str, Mapping[str, Any]], role: str) -> Mapping[str, Any]:
    """restic's own variables for a role: its own, or those of all. With its own it is told no others."""
    own = passwords.get(f"{OF_ROLE}{role}")
    return passwords.get(SETTINGS, {}) if own is None else own


def is_of_settings(block: str) -> bool:
    """Whether a block of the secrets file has restic's own variables, and no passwords of users."""
    return block == SETTINGS or block.startswith(OF_ROLE)


def setting_problems(
    source: object,
    passwords: Mapping[str, Mapping[str, Any]],
    roles: Iterable[Role],
    known: Collection[str],
) -> Iterator[str]:
    """What is wrong with the backups' part of a secrets source; shows none of it. `known`: roles of the catalogue."""
    for block in sorted(filter(is_of_settings, passwords)):
        if block != SETTINGS and block.removeprefix(OF_ROLE) not in known:
            names = ", ".join(sorted(known))
            yield f"{source}: {block}: no such role, expected {SETTINGS} or {OF_ROLE}ROLE of one of {names}: correct it"
            continue
        for name, value in sorted(passwords[block].items()):
            if not VARIABLE.fullmatch(name):
                yield (
                    f"{source}: {block}: {name}: expected a variable with which restic finds its way in "
                    "(AWS_ACCESS_KEY_ID, RESTIC_REST_PASSWORD, …): correct or remove it"
                )
            elif _several(value):
                yield f"{source}: {block}: {name}: expected one text, observed a list: leave one"
    for role in roles:
        count = len(all_of(passwords.get(role.name, {}).get(PASSWORD, "")))
        if count > MOST_PASSWORDS:
            yield (
                f"{source}: {role.name}: {PASSWORD}: expected its repository's password, or the newest and the one "
                f"before it, observed a list of {count}: leave these two"
            )


def _several(value: Any) -> bool:
    return len(all_of(value)) > 1

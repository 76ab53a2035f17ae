"""Standbys at the door: group `redis_<role>_standby` names the one other host that replicates a role for good. Pure.

The two hosts of a role are its pair. Which of them serves is state of the hosts: a handover swaps it, no inventory does
(tasks/compare/pairs.py, docs/decisions/0032).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import MappingProxyType

from tasks.catalogue.along import NOWHERE, Place, along_problems
from tasks.catalogue.roles import Role
from tasks.catalogue.tls import Tls

STANDBY = "_standby"  # ends the name of a group, behind that of the role
# What each host of a pair has of its own: where the role answers there, and whom it lets in beside the other one.
OWN = ("address", "port", "inner_port", "allow_from", "tls", "backed_up", "measured", "paired", "own_address")


@dataclass(frozen=True)
class Carried:
    """What the inventory says of one host's roles: its own data and, among them, those that it is the standby of."""

    host: str
    roles: tuple[Role, ...]
    standby_of: tuple[str, ...]
    secrets: object  # where its passwords are
    version: str | None  # of Redis, where it is pinned
    place: Place = NOWHERE


def named(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """The roles that groups give to a host, by their names without `redis_`, and those of them as a standby."""
    words = set(words)
    standby_of = sorted(word.removesuffix(STANDBY) for word in words if word.endswith(STANDBY))
    return sorted({word.removesuffix(STANDBY) for word in words}), standby_of


def doubly_named(host: str, words: Collection[str]) -> Iterator[str]:
    """A host that is to be the standby of itself; `words`: its groups without `redis_`."""
    for word in sorted(words):
        if word.endswith(STANDBY) and word.removesuffix(STANDBY) in words:
            role = word.removesuffix(STANDBY)
            yield (
                f"{host}: is in groups redis_{role} and redis_{word}, expected one of them: a standby is another host"
            )


def unfit_names(roles: Iterable[str]) -> Iterator[str]:
    """Roles whose group would be that of another one's standby."""
    for role in sorted(roles):
        if role.endswith(STANDBY):
            yield f"roles.yaml: {role}: ends in {STANDBY}, which names the group of a role's standby: rename it"


def paired(
    roles: Iterable[Role], names: Collection[str], own: Mapping[str, IPv4Address] = MappingProxyType({})
) -> tuple[Role, ...]:
    """The roles of a host, marked where they are those of a pair.

    `own`: by role, the host's own address, where the role's goes along with who serves it.
    """
    return tuple(
        role.model_copy(update={"paired": True, "own_address": own.get(role.name)}) if role.name in names else role
        for role in roles
    )


def pairs(hosts: Iterable[Carried]) -> tuple[Mapping[str, tuple[Carried, Carried]], list[str]]:
    """Role → the host that its group names and its standby, of those that have one; and why some cannot have it."""
    hosts = list(hosts)
    found: dict[str, tuple[Carried, Carried]] = {}
    problems: list[str] = []
    for role in sorted({name for host in hosts for name in host.standby_of}):
        standbys = [host for host in hosts if role in host.standby_of]
        own = [host for host in hosts if role not in host.standby_of and any(item.name == role for item in host.roles)]
        wrong = list(_counted(role, own, standbys))
        if not wrong and own and standbys:
            wrong = list(_unlike(role, own[0], standbys[0]))
            both = {host.host: (_role(role, host), host.place) for host in (own[0], standbys[0])}
            wrong += along_problems(role, both, {item.address for host in hosts for item in host.roles})
        problems += wrong
        if not wrong and own and standbys:
            found[role] = (own[0], standbys[0])
    return found, problems


def _role(name: str, host: Carried) -> Role:
    return next(item for item in host.roles if item.name == name)


def _counted(role: str, own: Collection[Carried], standbys: Collection[Carried]) -> Iterator[str]:
    group = f"redis_{role}{STANDBY}"
    names = ", ".join(sorted(host.host for host in standbys))
    if len(standbys) > 1:
        yield f"{group}: names {names}, expected one host: a role has one standby"
    if not own:
        yield f"{group}: names {names}, and no host is in group redis_{role}, expected one: put the role's host there"
    if len(own) > 1:
        others = ", ".join(sorted(host.host for host in own))
        yield f"redis_{role}: names {others}, and {role} has a standby ({names}), expected one host of each"


def _unlike(role: str, own: Carried, standby: Carried) -> Iterator[str]:
    """Why two hosts cannot take each other's place."""
    first, other = (_role(role, host) for host in (own, standby))
    differ = sorted(name for name, value in first.model_dump().items() if value != getattr(other, name))
    differ = [*(name for name in differ if name not in OWN), *_spoken_otherwise(first.tls, other.tls)]
    if differ:
        yield (
            f"{standby.host}: {role}: {', '.join(differ)} of its standby is not that of {own.host}, expected the same "
            "of both, for the two take each other's place: say it in roles.yaml, or in redis_overrides of both"
        )
    if own.secrets != standby.secrets:
        yield (
            f"{standby.host}: {role}: its passwords are in {standby.secrets}, those of {own.host} in {own.secrets}, "
            "expected one place: give both hosts the same redis_secrets_file or redis_secrets_command"
        )
    if is_older(standby.version, own.version):
        yield (
            f"{standby.host}: {role}: its Redis {standby.version} is older than {own.version} of {own.host}, which "
            "could never hand over to it: pin redis_version to the same, or let the standby be the newer one"
        )


def _spoken_otherwise(first: Tls | None, other: Tls | None) -> Iterator[str]:
    """What of two blocks makes two servers speak differently; each has its own files, and its own port for a switch."""
    if first is None or other is None:
        yield from ["tls"] * (first is not other)
        return
    if first.client_auth != other.client_auth:
        yield "tls.client_auth"
    if (first.port is None) != (other.port is None):
        yield "tls.port"


def is_older(version: str | None, than: str | None) -> bool:
    """Whether data of a server of one version could not be read by the other one: a release before it."""
    ours, theirs = release(version), release(than)
    return bool(ours and theirs) and ours < theirs


def release(version: str | None) -> tuple[int, ...]:
    """The first two numbers of a version of Redis, as it says it or Debian does: `5:7.0.15-1` is (7, 0)."""
    match = re.match(r"(?:[0-9]+:)?([0-9]+)\.([0-9]+)", version or "")
    return tuple(map(int, match.groups())) if match else ()

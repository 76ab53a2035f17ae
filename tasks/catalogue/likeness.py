"""A rehearsal's hosts made like another inventory's, `--data like=FILE`: what its roles are, never where. Pure.

It acts where data comes in, as `scale` does (tasks/catalogue/scaling.py), so that deploy, proof, drift and drills all
want the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.catalogue.limits import NAME as HEALTH

LIKE = "like"  # the inventory whose roles a rehearsal takes
MEANT_FOR_DRILLS = "redis_rehearsal"
OVERRIDES = "redis_overrides"
OF_A_HOST = ("redis_version", "redis_sysctl", HEALTH)  # what else of a host's data changes what its roles are
# Where a role answers is its own host's, as passwords, SSH and what is to be left alone there are.
ADDRESS = "address"
PLACE = (ADDRESS, "port", "inner_port")


@dataclass(frozen=True)
class Carrier:
    """A host of an inventory: the roles it is to carry, by name, and its data."""

    name: str
    roles: tuple[str, ...]
    data: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Taken:
    """What each host has in the place of its own data, by its name; what a person should know; what is wrong."""

    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def wish(name: str, hosts: Iterable[Carrier]) -> tuple[object, list[str]]:
    """What `--data NAME=…` says, None when nothing; and why that is no one thing for all hosts."""
    found: list[object] = []
    for host in hosts:
        if host.data.get(name) not in found:
            found.append(host.data.get(name))
    if len(found) > 1:
        shown = ", ".join("nothing" if item is None else repr(item) for item in found)
        return None, [f"{name}: {shown} for hosts of one run, expected the same for all: give it by --data {name}=…"]
    return (found[0] if found else None), []


def kept(hosts: Iterable[Carrier], words: Sequence[str]) -> Iterator[str]:
    """Hosts of which production would be asked for something else than its own catalogue says."""
    names = [host.name for host in hosts if host.data.get(MEANT_FOR_DRILLS) is not True]
    if names:
        yield (
            f"{' and '.join(words)}: {MEANT_FOR_DRILLS} is not True of {_some(names)}, expected throw-away hosts only: "
            f"leave {' and '.join(words)} out, or choose their inventory"
        )


def likened(own: Sequence[Carrier], other: Sequence[Carrier], like: str) -> Taken:
    """The data with which the hosts `own` carry their roles as the hosts `other` of inventory `like` do.

    A role's fields but its address, the version, kernel values and limits are those of `other`; where a role answers is
    `own`'s, if that says so. Nothing else of `other` is looked at: no password, no SSH.
    """
    problems = list(_unmatched(own, other, like)) or list(_malformed(other, like))
    if problems:
        return Taken(problems=tuple(problems))
    data: dict[str, Mapping[str, Any]] = {}
    idle: dict[str, list[str]] = {}
    for host in own:
        if not host.roles:
            continue
        overrides = {}
        for role in host.roles:
            carriers = [item for item in other if role in item.roles]
            problems += _unlike(role, carriers, like)
            mine = _fields(host, role)
            theirs = {name: value for name, value in _fields(carriers[0], role).items() if name != ADDRESS}
            overrides[role] = {**theirs, **{name: mine[name] for name in PLACE if name in mine}}
            for name in mine.keys() - {*PLACE}:
                idle.setdefault(f"{role}.{name} of {OVERRIDES}", []).append(host.name)
        carriers = [item for item in other if set(item.roles) & set(host.roles)]
        problems += _in_two_ways(host, carriers, like)
        of_host = {name: carriers[0].data.get(name) for name in OF_A_HOST}
        for name, value in of_host.items():
            if host.data.get(name) not in (None, value):
                idle.setdefault(name, []).append(host.name)
        data[host.name] = {OVERRIDES: overrides, **of_host}
    notes = [
        f"{LIKE}={like}: {what} here ({_some(names)}) is not used: {like} says what a role is"
        for what, names in sorted(idle.items())
    ]
    return Taken(data, tuple(notes), tuple(dict.fromkeys(problems)))


def _unmatched(own: Sequence[Carrier], other: Sequence[Carrier], like: str) -> Iterator[str]:
    """Roles that only one of the two inventories has hosts for."""
    here = {role: [host.name for host in own if role in host.roles] for host in own for role in host.roles}
    there = {role: [host.name for host in other if role in host.roles] for host in other for role in host.roles}
    if not there:
        yield f"{LIKE}={like}: no host in a group redis_<role> there: name the inventory that is to be rehearsed"
        return
    for role in sorted(here.keys() - there.keys()):
        yield (
            f"{LIKE}={like}: {role}: no host there carries it, {_some(here[role])} of this run does: take it out of "
            f"redis_{role} here, or name an inventory that has the role"
        )
    for role in sorted(there.keys() - here.keys()):
        yield (
            f"{LIKE}={like}: {role}: {_some(there[role])} carries it there, no host of this run does: put a throw-away "
            f"host into group redis_{role}"
        )


def _malformed(other: Iterable[Carrier], like: str) -> Iterator[str]:
    for host in other:
        overrides = host.data.get(OVERRIDES) or {}
        if not isinstance(overrides, Mapping):
            yield f"{LIKE}={like}: {host.name}: {OVERRIDES}: expected role → fields, observed {overrides!r}"
            continue
        for role in host.roles:
            if not isinstance(overrides.get(role, {}), Mapping):
                yield (
                    f"{LIKE}={like}: {host.name}: {OVERRIDES}: {role}: {overrides[role]!r} is not a mapping of fields "
                    "to values"
                )


def _unlike(role: str, carriers: Sequence[Carrier], like: str) -> Iterator[str]:
    """A role that is not the same on all hosts that carry it there."""
    first = _fields(carriers[0], role)
    for item in carriers[1:]:
        fields = _fields(item, role)
        differ = sorted(
            name for name in {*first, *fields} - {ADDRESS} if first.get(name, KEEP) != fields.get(name, KEEP)
        )
        if differ:
            yield (
                f"{LIKE}={like}: {role}: {', '.join(differ)} of {carriers[0].name} is not that of {item.name}, "
                f"expected one {role} to be like: rehearse each by an inventory of its own"
            )


KEEP = object()  # a field that nobody overrides


def _in_two_ways(host: Carrier, carriers: Sequence[Carrier], like: str) -> Iterator[str]:
    """What one host cannot have as several have it there."""
    for name in OF_A_HOST:
        for item in carriers[1:]:
            if item.data.get(name) != carriers[0].data.get(name):
                yield (
                    f"{LIKE}={like}: {host.name}: {name} of {carriers[0].name} is not that of {item.name}, expected "
                    f"the same for {' and '.join(host.roles)}: give each role a throw-away host of its own"
                )
                break


def _fields(host: Carrier, role: str) -> Mapping[str, Any]:
    overrides = host.data.get(OVERRIDES)
    fields = overrides.get(role) if isinstance(overrides, Mapping) else None
    return fields if isinstance(fields, Mapping) else {}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def one_for_all(data: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """The data of hosts, by name, as one that all of them can be given; and what of it only some can.

    Overrides of a role reach the hosts that carry it, all else every host. What nobody has is left out.
    """
    told: dict[str, Any] = {OVERRIDES: {}}
    whose: dict[str, str] = {}
    problems = []
    for host, own in data.items():
        parts = [(f"{OVERRIDES} of {role}", told[OVERRIDES], role, value) for role, value in own[OVERRIDES].items()]
        parts += [(name, told, name, value) for name, value in own.items() if name != OVERRIDES]
        for what, where, name, value in parts:
            first = whose.setdefault(what, host)
            if where.setdefault(name, value) != value:
                problems.append(
                    f"{what}: {first} and {host} have different ones, expected the same: the deploy of an older state "
                    "gets one for all hosts: rehearse them one after the other"
                )
    return {name: value for name, value in told.items() if value not in (None, {})}, problems

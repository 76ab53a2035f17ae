"""A pair whose address goes along with who serves, at the door: both hosts name one, and an interface for it. Pure.

Two hosts whose data gives a role the same address, and which both have it from this tool (`redis_interface`), are such
a pair: nothing else says so. Each server listens on its host's own address besides, where the other one follows and
asks it (docs/decisions/0035).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from tasks.catalogue.interface import NAME, OWN
from tasks.catalogue.roles import Role


@dataclass(frozen=True)
class Place:
    """How a host has its roles' addresses; `own`: by which the other hosts reach it, empty where nobody says."""

    interface: str | None = None
    own: str = ""


NOWHERE = Place()


def own_of(said: str | None, ssh: str) -> str:
    """The host's own address, as its data says it; else where SSH goes to, where that is a number; else empty."""
    try:
        return said or str(IPv4Address(ssh))
    except ValueError:
        return ""


def goes_along(one: Role, other: Role) -> bool:
    """Whether a role of two hosts has one address, which is where the role is served."""
    return one.address == other.address


def along_problems(
    role: str, hosts: Mapping[str, tuple[Role, Place]], others: Collection[IPv4Address]
) -> Iterator[str]:
    """Why the address of a pair could not go along; `hosts`: its two, by name; `others`: of every role of the run."""
    (one, (first, its_place)), (other, (standby, place)) = hosts.items()
    if not goes_along(first, standby):
        return
    for name, own in ((one, its_place), (other, place)):
        if problem := _of_host(name, own, (one, other), others):
            yield f"{name}: {role}: {first.address} {problem}"
    if place.own and place.own == its_place.own:
        yield f"{other}: {role}: {place.own} is the own address of {one}, too, expected one of its own: correct {OWN}"
    differ = [item for item in ("port", "inner_port") if getattr(first, item) != getattr(standby, item)]
    if differ:
        yield (
            f"{other}: {role}: {', '.join(differ)} of its standby is not that of {one}, expected the same of both, for "
            f"{first.address} goes along: say it in roles.yaml, or in redis_overrides of both"
        )
    if first.tls is not None or standby.tls is not None:
        yield (
            f"{other}: {role}: it has tls, expected none of a role whose address goes along with who serves it: give "
            "the standby an address of its own in redis_overrides"
        )


def _of_host(name: str, place: Place, both: tuple[str, str], others: Collection[IPv4Address]) -> str:
    """What keeps a host from being one of such a pair, in words behind the address; empty where nothing does."""
    if place.interface is None:
        return (
            f"is its address on {both[0]} and on {both[1]}, and {NAME} of {name} is not set, expected it on both, by "
            "which the address is where the role is served: set it, or give the standby an address of its own in "
            "redis_overrides"
        )
    if not place.own:
        return (
            f"goes along with who serves it, and by which address of its own {name} is reached is not said: write it "
            f"into its host data {OWN}"
        )
    if IPv4Address(place.own) in others:
        return (
            f"goes along with who serves it, and {place.own}, by which {name} is reached, is a role's, expected one "
            f"that stays with the host: write that into its host data {OWN}"
        )
    return ""

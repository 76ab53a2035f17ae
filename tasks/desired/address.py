"""What must be true of a host that has its roles' addresses from this tool: a unit for each. Pure.

Nothing of it where no `redis_interface` is: no package, no file, no unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

from tasks.catalogue.roles import Role
from tasks.desired.host import File, OwnAddress
from tasks.desired.paths import (
    UNITS,
    copy_drop_in,
    guard_file,
    handed_over_drop_in,
    unit_name,
)
from tasks.desired.rendering import render, unit_digest

ARPING = "iputils-arping"


def address_plans(roles: Sequence[Role], interface: str | None) -> tuple[OwnAddress, ...]:
    """The addresses that are kept on an interface; none without one."""
    if interface is None:
        return ()
    return tuple(OwnAddress(role, interface, unit_digest(_text(role, interface, ""))) for role in roles)


def address_files(plans: Sequence[OwnAddress]) -> Iterator[File]:
    """The units that keep them."""
    for plan in plans:
        name = plan.role.name
        yield File(f"{UNITS}/{plan.unit}", _text(plan.role, plan.interface, plan.digest), role=name)


def apart(address: str) -> str:
    """The loopback address by which a role's server is spoken to on its own host when the role's address has left it.

    Another one for each address, for each may have the port of another role. All of 127/8 is the host's own.
    """
    return str(IPv4Address((127 << 24) | (int(IPv4Address(address)) & 0xFFFFFF)))


def _text(role: Role, interface: str, digest: str) -> str:
    name = role.name
    return render(
        "redis-address.service.j2",
        role=role,
        unit=unit_name(name),
        interface=interface,
        digest=digest,
        kept_back=[copy_drop_in(name), handed_over_drop_in(name)],
        guard=guard_file(name),
    )

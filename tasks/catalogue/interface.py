"""The interface on which this tool keeps a host's roles' addresses: host or group data `redis_interface`. Pure.

Off unless it is set: then whoever configures the host's network gives it the addresses, and this tool only looks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import AddressValueError, IPv4Address

from tasks.catalogue.roles import Role

NAME = "redis_interface"
OWN = "redis_own_address"  # of the host itself: by which the others reach it, whatever role is there
# net/core/dev.c, dev_valid_name: 15 bytes, no slash, colon or blank. Narrower: it stands in a unit's name and commands.
INTERFACE = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")


def interface_of(value: object) -> str | None:
    """The interface that is meant; None where none is, or something malformed."""
    return value if isinstance(value, str) and INTERFACE.fullmatch(value) and value != "lo" else None


def own_address_of(value: object) -> str | None:
    """The address of the host's own that is meant; None where none is, or something malformed."""
    try:
        return str(IPv4Address(value)) if isinstance(value, str) else None
    except AddressValueError:
        return None


def own_address_problems(host: str, value: object) -> Iterator[str]:
    """What is wrong with one host's `redis_own_address`, as far as its data shows it."""
    if value is not None and own_address_of(value) is None:
        form = "an IPv4 address of the host's own, by which the other hosts reach it"
        yield f"{host}: {OWN}: expected {form}, observed {value!r}: correct it (`ip -4 address` on the host lists them)"


def interface_problems(host: str, value: object, roles: Iterable[Role], ssh: str) -> Iterator[str]:
    """What is wrong with one host's `redis_interface`; `ssh`: where SSH goes to."""
    if value is None:
        return
    if interface_of(value) is None:
        form = "the name of an interface that others reach, as eth0: up to 15 letters, digits, `_`, `.` or `-`"
        yield f"{host}: {NAME}: expected {form}, observed {value!r}: correct it (`ip link` on the host lists them)"
        return
    for role in roles:
        if str(role.address) == ssh:
            yield (
                f"{host}: {NAME}: ssh_hostname is {ssh}, the address of {role.name}, which leaves the host when the "
                "role does; expected an address of the host's own: give it one, and write that into ssh_hostname"
            )

"""Whether a role moves along with its address, and by which addresses of the hosts' own it does meanwhile. Pure.

The address is the role's: the one host's unit gives it up, the other's takes it (docs/decisions/0033). Until then the
copy listens on its host's own address, where the old host reaches it; the old server, when its address has gone, on a
loopback address.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from tasks.catalogue.interface import OWN
from tasks.compare.addresses import kept_units
from tasks.desired.address import apart
from tasks.desired.host import Host, Instance
from tasks.desired.paths import address_unit
from tasks.observed.state import Leftover, Observed

Seen = Mapping[str, tuple[Host, Observed]]  # by inventory name


@dataclass(frozen=True)
class Along:
    """What brings a role's address along: the unit that keeps it on both hosts, and the new one's interface.

    `own`: the new host's own address, where the copy listens; `apart`: where the old server is reached in the end.
    `pair`: the two stay, and each is reached at its host's own address at any time.
    """

    address: str
    keeper: str
    interface: str
    own: str
    apart: str
    pair: bool = False

    @property
    def bound(self) -> str:
        """Where the new server listens in the end, as its `bind` says it."""
        return f"{self.address} {self.own}" if self.pair else self.address


def along_with(
    name: str, source: str, instance: Instance, leftover: Leftover, hosts: Seen
) -> tuple[Along | None, list[str]]:
    """What brings the address of a role that moves from one host to another; None where that is another one there.

    And, in words, what forbids it, and what to do.
    """
    desired, _ = hosts[name]
    plan = next((plan for plan in desired.addresses if plan.role.name == instance.name), None)
    if plan is None or leftover.endpoint not in places(instance):
        return None, []
    own, why = own_address(name, hosts)
    problems = [*_obstacles(name, source, instance, leftover, hosts), *([why] if why else [])]
    return Along(instance.address, plan.unit, plan.interface, own, apart(instance.address)), problems


def places(instance: Instance) -> tuple[tuple[str, int], tuple[str, int]]:
    """Where a role's server listens, and where it does when its address has gone along without it."""
    port = instance.role.port
    return (instance.address, port), (apart(instance.address), port)


def _obstacles(name: str, source: str, instance: Instance, leftover: Leftover, hosts: Seen) -> Iterator[str]:
    address, keeper = instance.address, address_unit(instance.name)
    there_desired, there = hosts[source]
    if keeper not in kept_units(there):
        yield (
            f"its address {address} is given to {source} by that host's network, expected by {keeper}, which can give "
            "it up: take it out of the network's configuration behind a deploy with redis_interface there, or give the "
            "role another address here"
        )
    if there_desired.ssh == address:
        yield (
            f"ssh_hostname of {source} is {address}, which leaves it, expected an address of the host's own: write one "
            "into ssh_hostname"
        )
    if address in hosts[name][1].addresses and leftover.info.get("role") != "slave":
        yield f"{address} is on {name} already, beside {source}: take it from there (ip -4 address show to {address})"


def own_address(name: str, hosts: Seen) -> tuple[str, str]:
    """The address by which other hosts reach one, whatever roles it has; or in words why none is known."""
    desired, observed = hosts[name]
    roles = {item.address for one, _ in hosts.values() for item in one.instances}
    roles |= {item.endpoint[0] for _, seen in hosts.values() for item in seen.leftovers if item.endpoint is not None}
    own = sorted(observed.addresses - roles - {item for item in observed.addresses if IPv4Address(item).is_loopback})
    said = desired.own_address
    for wanted in (said, desired.ssh):
        if wanted in own:
            return str(wanted), ""
    if said is None and len(own) == 1:
        return own[0], ""
    found = f"{OWN} is {said}, and {name} has" if said else f"{name} has"
    return "", (
        f"the address by which other hosts reach {name} while the role's is not there is not known: {found} "
        f"{', '.join(own) or 'none beside those of roles'}: write it into its host data {OWN}"
    )

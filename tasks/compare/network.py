"""Whether the roles' ports are reached over the network: which are tried from where, and what follows. Pure.

A look sees a host from the inside, and a proof comes through SSH: neither passes what filters packets on the way in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from tasks.compare.difference import ByHand, Difference
from tasks.compare.unknown import Kind, Unknown
from tasks.desired.host import Host
from tasks.observed.state import Observed

LET_IN = "see whose rules or translation let it in: nft list ruleset, on the host and on the way"
FROM = 2  # hosts that try a port; one of them may be on the same switch, or be let through by itself

Endpoint = tuple[str, int]  # address and port


@dataclass(frozen=True)
class Tries:
    """The ports of one host that are tried, each with its role, and the hosts that try them.

    `closed`: which host is to find which port closed to it. `unsure`: which is not to try it, for only some of its
    addresses may connect.
    """

    ports: Mapping[Endpoint, str]
    hosts: tuple[str, ...]
    closed: frozenset[tuple[str, Endpoint]] = frozenset()
    unsure: frozenset[tuple[str, Endpoint]] = frozenset()


def tries(seen: Mapping[str, tuple[Host, Observed]]) -> dict[str, Tries]:
    """host → what is tried of it; `seen`: the hosts of a run with roles. Where there is one host only, nothing is."""
    names = sorted(seen)
    planned = {
        name: _let_in(seen, name, Tries(_open(*seen[name]), tuple([other for other in names if other != name][:FROM])))
        for name in names
    }
    return {name: item for name, item in planned.items() if item.ports and item.hosts}


def _let_in(seen: Mapping[str, tuple[Host, Observed]], name: str, tried: Tries) -> Tries:
    """`tried` of host `name`, with what its `allow_from` says of the hosts that try."""
    networks = {item.role: [IPv4Network(text) for text in item.networks] for item in seen[name][0].fences}
    if not networks:
        return tried
    closed, unsure = set(), set()
    for other in tried.hosts:
        addresses = [IPv4Address(text) for text in seen[other][1].addresses]
        addresses = [address for address in addresses if not address.is_loopback]
        for port, role in tried.ports.items():
            if role in networks:
                let_in = {any(address in network for network in networks[role]) for address in addresses}
                if let_in == {False}:
                    closed.add((other, port))
                elif let_in != {True}:
                    unsure.add((other, port))
    return replace(tried, closed=frozenset(closed), unsure=frozenset(unsure))


def _open(desired: Host, observed: Observed) -> dict[Endpoint, str]:
    """Where clients get in as far as the host itself knows; what is wrong with others it has said."""
    listening = {(item.address, item.port) for item in observed.listeners}
    open_ports: dict[Endpoint, str] = {}
    for role, address in ((one, place) for one in desired.roles for place in (str(one.address), one.reached)):
        if (address, role.port) not in listening or address not in observed.addresses:
            continue
        own = {port for port in role.listens_on if (address, port) in listening}
        target = f"{address}:{role.port}"
        led = {
            port for chain, led, port, to in observed.forwards if (chain, led, to) == ("prerouting", address, target)
        }
        open_ports |= {(address, port): role.name for port in role.ports if port in own | led}
    return open_ports


def to_try(planned: Mapping[str, Tries]) -> dict[str, list[Endpoint]]:
    """host → the ports of others that it tries, in one command."""
    asked: dict[str, list[Endpoint]] = {}
    for item in planned.values():
        for name in item.hosts:
            ports = [port for port in item.ports if (name, port) not in item.unsure]
            if ports:
                asked.setdefault(name, []).extend(ports)
    return asked


def differences(tried: Tries, heard: Mapping[str, Mapping[Endpoint, str]]) -> list[Difference]:
    """The ports of a host that another does not reach; `heard`: host that tried → port → why not, empty if it did."""
    found = []
    for (address, port), role in tried.ports.items():
        where = (address, port)
        answers = {name: heard[name][where] for name in tried.hosts if where in heard.get(name, {})}
        said = {name: why for name, why in answers.items() if (name, where) not in tried.closed}
        got_in = [name for name, why in answers.items() if not why and (name, where) in tried.closed]
        if got_in:
            expected = "closed to whom its allow_from leaves out"
            shown = f"reached over the network from {', '.join(got_in)}"
            found.append(Difference(role, "listener", f"{address}:{port}", expected, shown, ByHand(LET_IN)))
        closed = [f"{why} from {name}" for name, why in said.items() if why]
        if closed:
            remedy = ByHand("let the packet filters of the host and on the way admit it: see nft list ruleset")
            expected = f"reached over the network from {', '.join(said)}"
            found.append(Difference(role, "listener", f"{address}:{port}", expected, "; ".join(closed), remedy))
    return found


def unheard(tried: Tries, failed: Mapping[str, str]) -> list[Unknown]:
    """That nobody could try the ports of a host; `failed`: host that was to try → why it could not."""
    if not set(tried.hosts) <= failed.keys():
        return []
    because = "; ".join(f"{name} could not try: {failed[name]}" for name in tried.hosts)
    return [Unknown(None, "whether its ports are reached over the network", because, "try again", Kind.UNTRIED)]


def hosts_with_roles(seen: Mapping[str, tuple[Host, Observed | None]]) -> dict[str, tuple[Host, Observed]]:
    """Those that carry roles and were seen."""
    return {
        name: (desired, observed)
        for name, (desired, observed) in seen.items()
        if observed is not None and desired.roles and "listeners" not in observed.unseen
    }

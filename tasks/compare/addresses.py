"""The addresses that roles answer on: who gives them to their host, and whether it has them. Pure.

With `redis_interface` this tool does, by a unit for each role (docs/decisions/0031). A role that leaves takes its unit
along last; one that stays keeps it until somebody else gives the address: without it nobody would reach the role.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from tasks.catalogue.interface import NAME, OWN
from tasks.compare.difference import ByHand, Difference, Remedy
from tasks.desired.host import Host, OwnAddress
from tasks.desired.paths import UNITS, address_unit
from tasks.observed.state import Observed

UNIT = re.compile(address_unit("([a-z][a-z0-9_-]*)").replace(".", r"\."))
ELSEWHERE = "on this host alone"


def address_differences(desired: Host, observed: Observed) -> Iterator[Difference]:
    """What is not so with the addresses of a host's roles, and with those that it kept for others."""
    own = {plan.role.name: plan for plan in desired.addresses}
    for role in desired.roles:
        if role.own_address is not None and role.reached not in observed.addresses:
            remedy = ByHand(f"give the host this address, which is its own, or correct {OWN}")
            yield Difference(role.name, "address", role.reached, "on this host", "absent", remedy)
        if role.name in own:
            yield from (_away if own[role.name].there else _own)(own[role.name], observed)
        elif str(role.address) not in observed.addresses:
            remedy = ByHand("give the host this address, or correct it in group_data/roles.yaml")
            yield Difference(role.name, "address", str(role.address), "on this host", "absent", remedy)
    yield from _kept(desired, observed)


def _kept(desired: Host, observed: Observed) -> Iterator[Difference]:
    """The units that keep addresses on the host, and are not to."""
    own = {plan.role.name for plan in desired.addresses}
    carried = {role.name: str(role.address) for role in desired.roles}
    for unit in kept_units(observed):
        name, state = role_of_unit(unit), observed.unit(unit)["ActiveState"]
        if name not in carried:
            yield Difference(name, "address", unit, "absent", state, Remedy.RETIRE)
        elif name not in own:
            advice = (
                f"give the host {carried[name]} in the configuration of its network, then there: systemctl disable "
                f"--now {unit}, rm {UNITS}/{unit}, systemctl daemon-reload; or set {NAME} again"
            )
            expected, found = f"from the host's own network, no {unit}", f"{state}: the role needs it"
            yield Difference(name, "address", carried[name], expected, found, ByHand(advice))


def kept_units(observed: Observed) -> list[str]:
    """The units on a host that keep an address, loaded or not, in order."""
    files = (path.rpartition("/")[2] for path in observed.files if path.rpartition("/")[0] == UNITS)
    loaded = (name for name, state in observed.units.items() if state.get("LoadState", "not-found") != "not-found")
    return sorted({name for name in (*files, *loaded) if UNIT.fullmatch(name)})


def role_of_unit(name: str) -> str:
    """The role whose address a unit keeps."""
    match = UNIT.fullmatch(name)
    return match[1] if match else name


def _own(plan: OwnAddress, observed: Observed) -> Iterator[Difference]:
    """What keeps an address from being kept; what its unit's file lacks is listed with all files."""
    state = observed.unit(plan.unit)
    found = ""
    if (state.get("UnitFileState") or state["LoadState"]) != "enabled":
        found = state.get("UnitFileState") or "absent"
    elif state["ActiveState"] != "active":
        found = f"{plan.unit} is {state['ActiveState']}" + (f" ({state['Result']})" if state.get("Result") else "")
    elif str(plan.role.address) not in observed.addresses:
        found = f"absent, while {plan.unit} runs"
    elif observed.started.get(plan.unit) != plan.digest:
        found = f"{plan.unit} was started before it changed"
    elif state.get("NeedDaemonReload") == "yes":
        found = f"{plan.unit} changed on disk"
    if found:
        expected = f"on {plan.interface}, kept there by {plan.unit}"
        yield Difference(plan.role.name, "address", str(plan.role.address), expected, found, Remedy.PLACE)


def _away(plan: OwnAddress, observed: Observed) -> Iterator[Difference]:
    """What of an address is here, or would be after a boot, that the host has which serves the role."""
    state, address = observed.unit(plan.unit), str(plan.role.address)
    found = [
        "on this host as well" if address in observed.addresses else "",
        f"{plan.unit} is {state['ActiveState']}" if state["ActiveState"] not in ("inactive", "failed") else "",
        f"{plan.unit} is enabled" if state.get("UnitFileState") == "enabled" else "",
    ]
    if any(found):
        expected = f"on {plan.there} alone, which serves the role"
        yield Difference(plan.role.name, "address", address, expected, ", ".join(filter(None, found)), Remedy.LEAVE)


def twice(
    hosts: Mapping[str, tuple[Host, Observed]], moving: Collection[tuple[str, str, str]] = ()
) -> dict[str, list[Difference]]:
    """Inventory name → its roles' addresses that another host of the run has too: who asks for one may reach either.

    Only of those that this tool gives: what a network has on purpose on several machines is its own business. `moving`:
    (role, host that it leaves, host that it comes to) of those that move along with their address. What a standby has
    of the address of its pair is listed there.
    """
    found: dict[str, list[Difference]] = {}
    away = {(plan.role.name, name) for name, (desired, _) in hosts.items() for plan in desired.addresses if plan.there}
    for name, (desired, _) in sorted(hosts.items()):
        for plan in desired.addresses:
            if plan.there:
                continue
            address = str(plan.role.address)
            others = [
                other
                for other, (_, seen) in sorted(hosts.items())
                if other != name and address in seen.addresses
                if (plan.role.name, other, name) not in moving and (plan.role.name, other) not in away
            ]
            if others:
                there = ", ".join(others)
                advice = (
                    f"take it from there (`ip -4 address show to {address}` says what has it); it comes along with a "
                    "role that moves from there"
                )
                item = Difference(plan.role.name, "address", address, ELSEWHERE, f"on {there} as well", ByHand(advice))
                found.setdefault(name, []).append(item)
    return found

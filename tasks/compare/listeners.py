"""Compare who listens on a host, and where the inner ports lead, with the desired state. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from tasks.catalogue.roles import Role
from tasks.compare.adoption import adopted_pids
from tasks.compare.difference import ByHand, Difference, Remedy
from tasks.desired.host import CLOSED, FENCE_CHAIN, Host, Instance, fence_chains, fence_rule, from_chain
from tasks.desired.paths import INNER_PORT_TABLE, INNER_PORT_UNIT, PACKAGED_UNIT
from tasks.observed.foreign_listeners import EVERYWHERE, ignored_pids
from tasks.observed.state import Observed, Server

PLACE = ("bind", "port", "tls-port")  # directives that say where a server listens
NO_OTHER = "no other Redis"
AWAY = "stop that process, it belongs to no role, or keep it by its unit or socket in redis_ignore: "


def listener_differences(desired: Host, observed: Observed) -> Iterator[Difference]:
    """What listens that should not, what does not that should, and where the inner ports lead."""
    units = (PACKAGED_UNIT, *(instance.unit for instance in desired.instances), *observed.our_units)
    pids = {observed.pid(unit) for unit in units}
    pids |= adopted_pids(desired, observed) | ignored_pids(desired, observed)
    for instance in desired.instances if "listeners" not in observed.unseen else ():
        yield from _own_listeners(instance, observed)
    for listener in observed.listeners if desired.roles else ():  # elsewhere a Redis is not this tool's business
        if listener.process.startswith("redis-") and not any(map(listener.is_of, pids)):
            where = f"{listener.address}:{listener.port}"
            found = f"{listener.process}, pid {listener.pid}"
            yield Difference(None, "listener", where, NO_OTHER, found, ByHand(f"{AWAY}{where}"))
    for role in desired.roles:
        yield from _others_in_its_place(role, observed, pids)
    if "forwards" not in observed.unseen:
        yield from _inner_ports(desired, observed)
        yield from _fences(desired, observed)
        yield from _foreign_forwards(desired, observed)


def passing_listeners(desired: Host, observed: Observed) -> frozenset[int]:
    """Processes on a port of a role whose unit is tried again and again, and which are not its process by now.

    One of its own tries, gone since, or somebody else, who is in its way: another look tells.
    """
    return frozenset(
        listener.pid
        for instance in desired.instances
        if observed.unit(instance.unit)["ActiveState"] == "activating"
        for listener in observed.listeners
        if listener.address in (instance.address, instance.role.reached, *EVERYWHERE)
        and listener.port in instance.role.listens_on
        and not listener.is_of(observed.pid(instance.unit))
    )


def _own_listeners(instance: Instance, observed: Observed) -> Iterator[Difference]:
    pid = observed.pid(instance.unit)
    if observed.unit(instance.unit)["ActiveState"] != "active" or not pid:
        return
    config = observed.servers.get(instance.name, Server()).config
    wanted_place = {"tls-port": "0", **instance.settings, **instance.following}
    if any(config.get(name, wanted_place[name]) != wanted_place[name] for name in PLACE):
        return  # its cause, the setting, is listed
    wanted = {f"{address}:{port}" for address in instance.bound for port in instance.role.listens_on}
    found = {f"{item.address}:{item.port}" for item in observed.listeners if item.is_of(pid)}
    for lacking in sorted(wanted - found):
        yield Difference(instance.name, "listener", lacking, "listens", "does not listen", Remedy.RESTART)
    for other in sorted(found - wanted):
        yield Difference(instance.name, "listener", other, "not listened on", "listens", Remedy.RESTART)


def _others_in_its_place(role: Role, observed: Observed, pids: Collection[int]) -> Iterator[Difference]:
    """Whoever listens where a role's clients go, and is no Redis, of which another difference tells."""
    for listener in observed.listeners:
        its_place = listener.port in role.ports and listener.address in (str(role.address), role.reached, *EVERYWHERE)
        if its_place and not listener.process.startswith("redis-") and not any(map(listener.is_of, pids)):
            where = f"{listener.address}:{listener.port}"
            found = f"{listener.process}, pid {listener.pid}" if listener.pid else "another process"
            remedy = ByHand("stop that process, or let it listen elsewhere")
            yield Difference(role.name, "listener", where, "nobody beside the role", found, remedy)


def _foreign_forwards(desired: Host, observed: Observed) -> Iterator[Difference]:
    """A rule of somebody else's that takes a role's connections."""
    for role in desired.roles:
        for port in sorted(role.ports):
            where, remedy = f"{role.address}:{port}", ByHand(f"remove that rule, or let it leave out {role.address}")
            for item in observed.takings:
                if item.table != INNER_PORT_TABLE and item.takes(str(role.address), port):
                    found = f"{item.table}: {item.rule}"
                    yield Difference(role.name, "listener", where, "led by no other table", found, remedy)


def _owner(observed: Observed) -> Iterator[Difference]:
    """Rules that another than the unit's process owns, or none: no flush passes those by (docs/decisions/0015)."""
    owner, unit = observed.forwards_owner, observed.unit(INNER_PORT_UNIT)
    if owner and unit["ActiveState"] == "active":
        return
    if unit["ActiveState"] == "active" and not observed.pid(INNER_PORT_UNIT):
        return  # the unit is one of before, which had no process: that is listed
    found = f"owned by a process {owner} of somebody else's" if owner else "owned by nobody, so that a flush takes it"
    remedy = ByHand("end that process: ps -C NAME, by its name") if owner else Remedy.LEAD
    table = f"table ip {INNER_PORT_TABLE}"
    yield Difference(None, "listener", table, f"owned by {INNER_PORT_UNIT}", found, remedy)


def _inner_ports(desired: Host, observed: Observed) -> Iterator[Difference]:
    wanted = {
        (chain, item.address, item.inner_port, f"{item.address}:{item.port}")
        for item in desired.forwards
        for chain in ("prerouting", "output")
    }
    if _are_unseen(desired, observed, bool(wanted)):
        return
    if (wanted and observed.forwards) or (desired.fences and observed.fences):
        yield from _owner(observed)
    role_at = {str(role.address): role.name for role in desired.roles}
    for address, port in sorted({(rule[1], rule[2]) for rule in wanted ^ observed.forwards}):
        expected = sorted({rule[3] for rule in wanted if rule[1:3] == (address, port)})
        found = sorted(f"{rule[0]} to {rule[3]}" for rule in observed.forwards if rule[1:3] == (address, port))
        yield Difference(
            role_at.get(address),
            "listener",
            f"{address}:{port}" if port else address,
            f"led to {', '.join(expected)}" if expected else "not led anywhere",
            ", ".join(found) or "not led anywhere",
            Remedy.LEAD,
        )


def _are_unseen(desired: Host, observed: Observed, wanted: bool) -> bool:
    """Whether nothing is to be said of rules: without nft nothing is known, and the missing package is listed."""
    unasked = INNER_PORT_UNIT not in observed.units and not wanted
    return unasked or ("nftables" in desired.packages and "nftables" not in observed.packages)


def _fences(desired: Host, observed: Observed) -> Iterator[Difference]:
    """Who may connect to the roles, by the rules in force."""
    wanted, found = fence_chains(desired.fences), observed.fences
    if wanted == found or _are_unseen(desired, observed, bool(wanted)):
        return
    said = set()
    for role in desired.roles:
        expected, seen = _let_in(role, wanted), _let_in(role, found)
        if expected != seen:
            where = f"{role.address}:{role.port}"
            said |= {from_chain(role.name), FENCE_CHAIN}
            yield Difference(role.name, "listener", where, f"open to {expected}", f"open to {seen}", Remedy.LEAD)
    for chain in sorted((wanted.keys() | found.keys()) - said):
        if wanted.get(chain) != found.get(chain):
            odd = [line for line in found.get(chain, ()) if line not in wanted.get(chain, ())]
            shown = "; ".join(odd[:3]) or "other rules, or other order"
            expected = "as rendered" if chain in wanted else "absent"
            yield Difference(None, "listener", f"chain {chain}", expected, shown, Remedy.LEAD)


def _let_in(role: Role, chains: Mapping[str, tuple[str, ...]]) -> str:
    """Who may connect to a role by these rules, in words."""
    rules = {fence_rule(role.name, str(role.address), port) for port in role.listens_on}
    *lines, last = chains.get(from_chain(role.name), ("",))
    if not rules <= {*chains.get(FENCE_CHAIN, ())} or last != CLOSED:
        return "everybody"
    return ", ".join(line.removeprefix("ip saddr ").removesuffix(" accept") for line in lines) or "nobody"

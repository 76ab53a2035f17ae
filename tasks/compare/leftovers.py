"""What is left of roles that a host no longer carries: units, which go, and data, which stays until purged. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tasks.compare.difference import Difference, Remedy
from tasks.desired.host import Forward, Host
from tasks.desired.paths import INNER_PORT_RULES, INNER_PORT_UNIT, UNITS, data_directory, role_of
from tasks.observed.state import Observed


def leftover_differences(desired: Host, observed: Observed) -> Iterator[Difference]:
    """Units that this tool wrote for roles the host no longer carries, and data that is to be deleted.

    Kept data is no difference: it stays for as long as nobody asks for its end.
    """
    known = {unit.name for unit in desired.units}
    for name in observed.our_units:
        if name not in known:
            found = f"{observed.unit(name)['ActiveState']}, with data in {data_directory(role_of(name))}"
            yield Difference(role_of(name), "unit", name, "absent", found, Remedy.RETIRE)
    for role in sorted(set(desired.requests.purge) - _carried(desired)):
        directory = data_directory(role)
        if directory in observed.data_used:
            found = f"{observed.data_used[directory] / (1 << 20):.1f} MiB"
            yield Difference(role, "persistence", directory, "absent", found, Remedy.PURGE)


def ends_last(desired: Host, observed: Observed, differences: Iterable[Difference]) -> list[Difference]:
    """The differences that the deploy removes when every host is proved: what ends, and cannot be taken back.

    The inner port of a role that leaves leads to it until then, unless a role of the host has that very one.
    """
    listed = list(differences)
    retiring = any(item.remedy == Remedy.RETIRE for item in listed)
    inner = retiring and (has_inner_ports(desired, observed) or bool(leaving_forwards(desired, observed)))
    return [item for item in listed if item.remedy in (Remedy.RETIRE, Remedy.PURGE) or (inner and of_inner_ports(item))]


def has_inner_ports(desired: Host, observed: Observed) -> bool:
    """Whether all inner ports of the host's roles lead to them."""
    return {
        (chain, item.address, item.inner_port, f"{item.address}:{item.port}")
        for item in desired.forwards
        for chain in ("prerouting", "output")
    } <= observed.forwards


def leaving_forwards(desired: Host, observed: Observed) -> tuple[Forward, ...]:
    """The inner ports that lead to roles which have left the host, and that none of its roles has now."""
    taken = {(item.address, item.inner_port) for item in desired.forwards}
    roles = {item.endpoint: item.role for item in observed.leftovers if item.endpoint is not None}
    led = {
        (address, inner_port, int(target.rpartition(":")[2]))
        for _, address, inner_port, target in observed.forwards
        if target and (address, inner_port) not in taken
    }
    return tuple(
        Forward(roles[address, port], address, inner_port, port)
        for address, inner_port, port in sorted(led)
        if (address, port) in roles
    )


def of_inner_ports(item: Difference) -> bool:
    """Whether a difference is removed by writing and loading the rules of the inner ports, or by their end."""
    files = item.subject == "file" and item.name in (INNER_PORT_RULES, f"{UNITS}/{INNER_PORT_UNIT}")
    stops = item.remedy == Remedy.DISABLE and item.name == INNER_PORT_UNIT
    return files or stops or item.remedy == Remedy.LEAD


def nothing_to_purge(hosts: Iterable[tuple[Host, Observed]]) -> list[str]:
    """In words, the names that `purge=` gives and no host of the run has data of."""
    seen = list(hosts)
    named = {role for desired, _ in seen for role in desired.requests.purge}
    there = {role for role in named for _, observed in seen if data_directory(role) in observed.data_used}
    return [
        f"purge={role}: no host of this run has {data_directory(role)}: nothing to delete"
        for role in sorted(named - there)
    ]


def _carried(desired: Host) -> set[str]:
    return {role.name for role in desired.roles}


def purge_problems(desired: Host, observed: Observed) -> Iterator[str]:
    """Why data that `purge=` names must not be deleted on this host."""
    for role in desired.requests.purge:
        directory = data_directory(role)
        if role in _carried(desired):
            yield (
                f"{role}: purge={role}: this host carries {role}, expected a host that does not: take the role off it "
                "first, or --limit the run to the host whose kept data is meant"
            )
        elif any(path.rpartition("/")[0] == directory and path.endswith(".manifest") for path in observed.data_files):
            yield (
                f"{role}: purge={role}: {directory} is the append-only log of a server that works in its parent, "
                "expected the directory of a role: delete it by hand if it is not needed"
            )

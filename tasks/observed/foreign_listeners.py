"""Who is foreign on a port of a role: Redis processes of no unit of ours, and where they can be spoken to. Pure.

Found in what the seen says anyway; only then are they asked anything (tasks/observed/foreign.py).
"""

from __future__ import annotations

from tasks.catalogue.ignored import is_unit, socket
from tasks.catalogue.roles import Role
from tasks.desired.host import Host
from tasks.desired.paths import PACKAGED_UNIT
from tasks.observed.state import ForeignServer, Listener, Observed

PROCESSES = ("redis-", "valkey-")
EVERYWHERE = ("0.0.0.0", "*", "::")
LOOPBACK = ("127.", "::1")


def meets(role: Role, address: str, port: int) -> bool:
    """Whether a client of the role, or one of the host itself, could mean the role and reach that socket."""
    return port in role.ports and (address in (str(role.address), *EVERYWHERE) or address.startswith(LOOPBACK))


def ignored_pids(desired: Host, observed: Observed) -> frozenset[int]:
    """Processes that the operator means to keep beside the roles."""
    sockets = {socket(name) for name in desired.ignored}
    units = {observed.pid(name) for name in desired.ignored if is_unit(name)} - {0}
    return frozenset(units | {item.pid for item in observed.listeners if (item.address, item.port) in sockets})


def foreign_listeners(desired: Host, observed: Observed) -> dict[int, list[Listener]]:
    """Sockets of Redis processes of no unit of ours on a port of a role of this host, by process id.

    The distribution's own instance counts wherever it listens, if at all: a deploy masks it.
    """
    packaged = observed.pid(PACKAGED_UNIT) if desired.roles else 0
    ours = {observed.pid(unit) for unit in (*(item.unit for item in desired.instances), *observed.our_units)}
    ours |= ignored_pids(desired, observed)
    found: dict[int, list[Listener]] = {packaged: []} if packaged else {}
    for item in observed.listeners:
        foreign = item.process.startswith(PROCESSES) and not any(map(item.is_of, ours))
        met = any(meets(role, item.address, item.port) for role in desired.roles)
        if item.pid == packaged > 0 or (foreign and met):
            found.setdefault(item.pid, []).append(item)
    return found


def endpoint(server: ForeignServer) -> tuple[str, int]:
    """Where the server is best spoken to: over loopback, where protected mode admits everybody."""
    best = min(server.listens, key=lambda item: (not item[0].startswith(LOOPBACK), item[0] not in EVERYWHERE, item))
    address, port = best
    return {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "::": "::1"}.get(address, address), port


def roles_met(desired: Host, server: ForeignServer) -> list[Role]:
    """The roles of the host whose ports the server holds."""
    return [role for role in desired.roles if any(meets(role, *where) for where in server.listens)]

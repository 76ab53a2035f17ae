"""A Redis of somebody else's on a role's port: which those are, what they hold, and which role takes over which. Pure.

Found in what the snapshot says anyway; only then are they asked anything (tasks/observed/foreign.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from tasks.catalogue.roles import Role
from tasks.compare.difference import ADOPT, Difference
from tasks.desired.host import Host, Instance
from tasks.desired.paths import PACKAGED_UNIT, data_directory
from tasks.observed.state import ForeignServer, Listener, Marker, Observed, count_keys

PROCESSES = ("redis-", "valkey-")
EVERYWHERE = ("0.0.0.0", "*", "::")
LOOPBACK = ("127.", "::1")
RECORDED = ("server", "pid", "unit", "rdb", "before")  # what a marker's file says


@dataclass(frozen=True)
class Adoption:
    """What one role takes over: a server that runs, or the rest of an adoption that was interrupted."""

    instance: Instance
    server: ForeignServer | None
    marker: Marker | None


def meets(role: Role, address: str, port: int) -> bool:
    """Whether a client of the role, or one of the host itself, could mean the role and reach that socket."""
    return port in role.ports and (address in (str(role.address), *EVERYWHERE) or address.startswith(LOOPBACK))


def foreign_listeners(desired: Host, observed: Observed) -> dict[int, list[Listener]]:
    """Sockets of Redis processes of no unit of ours on a port of a role of this host, by process id.

    The distribution's own instance counts wherever it listens, if at all: a deploy masks it.
    """
    packaged = observed.pid(PACKAGED_UNIT) if desired.roles else 0
    ours = {observed.pid(unit) for unit in (*(item.unit for item in desired.instances), *observed.our_units)}
    found: dict[int, list[Listener]] = {packaged: []} if packaged else {}
    for item in observed.listeners:
        foreign = item.process.startswith(PROCESSES) and item.pid not in ours
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


def key_count(info: Mapping[str, str]) -> int | None:
    """Keys of all databases, None when the server did not say or has not loaded them yet."""
    if not info or info.get("loading", "0") != "0":
        return None
    return count_keys(info)[0]


def has_data(server: ForeignServer) -> bool:
    """Whether stopping the server could lose anything: keys, files, or that nobody knows."""
    return bool(server.files) or key_count(server.info) != 0


def described(server: ForeignServer) -> str:
    """Who the server is, as an operator finds it."""
    unit = f", unit {server.unit}" if server.unit else ""
    return f"{server.process}, pid {server.pid}{unit}"


def held(server: ForeignServer) -> str:
    """How much the server holds, and where."""
    keys = key_count(server.info)
    amount = f"keys unknown ({server.refusal})" if keys is None else f"{keys} key{'' if keys == 1 else 's'}"
    return f"{amount}, directory {server.directory or 'unknown'}"


def snapshot_of(server: ForeignServer) -> str:
    """The file that the server saves its data set to."""
    return f"{server.directory.rstrip('/')}/{server.config.get('dbfilename', 'dump.rdb')}"


def chosen_server(role: Role, observed: Observed) -> list[ForeignServer]:
    """The servers that `adopt=ROLE` can mean: those on the assigned port if there is one, else on the inner port."""
    for port in role.ports:
        found = [
            server
            for server in observed.foreign
            if any(number == port and meets(role, address, number) for address, number in server.listens)
        ]
        if found:
            return found
    return []


def has_own_data(instance: Instance, observed: Observed) -> bool:
    """Whether the role has begun a life of its own here, which an adoption would have to be merged with."""
    if observed.is_active(instance.unit):
        return True
    if instance.name in observed.adopting:
        return False  # what lies there is a copy that was not finished
    return any(path.startswith(f"{data_directory(instance.name)}/") for path in observed.data_files if _is_data(path))


def _is_data(path: str) -> bool:
    return path.endswith((".rdb", ".aof", ".manifest")) and "/temp-" not in path


def adoptions(desired: Host, observed: Observed) -> list[Adoption]:
    """What is to be adopted on this host: asked for and there, or begun before and not ended."""
    found = []
    for instance in desired.instances:
        marker = observed.adopting.get(instance.name)
        servers = chosen_server(instance.role, observed) if instance.name in desired.requests.adopt else []
        if servers and not has_own_data(instance, observed):
            found.append(Adoption(instance, servers[0], marker))
        elif marker is not None:
            found.append(Adoption(instance, None, marker))
    return found


def adopted_pids(desired: Host, observed: Observed) -> frozenset[int]:
    """Processes that an adoption of this run stops by itself, and nothing else may."""
    return frozenset(item.server.pid for item in adoptions(desired, observed) if item.server is not None)


def packaged_is_adopted(desired: Host, observed: Observed) -> bool:
    """Whether the distribution's own instance must go on until its data is taken over."""
    return observed.pid(PACKAGED_UNIT) in adopted_pids(desired, observed) - {0}


def adoption_differences(desired: Host, observed: Observed) -> Iterator[Difference]:
    """The data of a role that is still an older server's."""
    for item in adoptions(desired, observed):
        if item.server is not None:
            found = f"{held(item.server)}, of {described(item.server)}"
        elif item.marker is not None:
            found = f"adoption of {item.marker.server} began and did not end"
        expected = f"in {data_directory(item.instance.name)}"
        yield Difference(item.instance.name, "persistence", "data", expected, found, ADOPT)


def can_go_on(marker: Marker) -> bool:
    """Whether the old server's last save is on disk, which it ends with: until then its RDB was the one `before`."""
    return bool(marker.before) and marker.found not in ("", marker.before) and not marker.unfinished


def marker_text(marker: Marker) -> str:
    """The file of an adoption."""
    return json.dumps({name: asdict(marker)[name] for name in RECORDED}, sort_keys=True) + "\n"


def read_marker(text: str) -> Marker:
    """What a marker's file says; one that cannot be read stands for an adoption that did not get far."""
    try:
        recorded = {name: value for name, value in json.loads(text).items() if name in RECORDED}
        marker = Marker(**recorded)
        if isinstance(marker.pid, int) and all(isinstance(recorded[name], str) for name in recorded if name != "pid"):
            return marker
    except (ValueError, TypeError, AttributeError):
        pass
    return Marker("a server that its marker does not name", 0, "", "")

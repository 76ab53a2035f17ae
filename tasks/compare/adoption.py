"""What a Redis of somebody else's on a role's port holds, and which role takes over which. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tasks.catalogue.roles import Role
from tasks.compare.data_files import gone_data, pieces
from tasks.compare.difference import Difference, Remedy
from tasks.desired.host import Host, Instance
from tasks.desired.paths import PACKAGED_UNIT, data_directory
from tasks.observed.foreign_listeners import meets
from tasks.observed.state import ForeignServer, Marker, Observed, count_keys


@dataclass(frozen=True)
class Adoption:
    """What one role takes over: a server that runs, or the rest of an adoption that was interrupted."""

    instance: Instance
    server: ForeignServer | None
    marker: Marker | None


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
    """Whether the role has begun a life of its own here: it runs, or would not begin empty."""
    if observed.is_active(instance.unit):
        return True
    if instance.name in observed.adopting:
        return False  # what lies there is a copy that was not finished
    return bool(pieces(instance.name, observed))


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


def adopted_directories(desired: Host, observed: Observed) -> frozenset[str]:
    """Where the servers save whose data this run adopts."""
    return frozenset(item.server.directory for item in adoptions(desired, observed) if item.server is not None)


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
        yield Difference(item.instance.name, "persistence", "data", expected, found, Remedy.ADOPT)


def can_go_on(marker: Marker) -> bool:
    """Whether the old server's last save is on disk, which it ends with: until then its RDB was the one `before`."""
    return bool(marker.before) and marker.found not in ("", marker.before) and not marker.unfinished


def missed_data(desired: Host, observed: Observed) -> Iterator[Difference]:
    """Data that is gone and that a person has to bring back: its role does not begin without, nor adopt another's."""
    meant = {*desired.requests.begin_empty, *(item.instance.name for item in adoptions(desired, observed))}
    for instance in desired.instances:
        if observed.is_active(instance.unit) or instance.name not in meant:
            yield from gone_data(instance, observed)

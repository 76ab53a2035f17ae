"""Why a deploy must stop before it takes a port from a Redis of somebody else's, or data it cannot take whole. Pure.

Without `adopt=` a server with data is refused wherever it stands in a role's place. With it, everything that could
make the role hold less than the old server did is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tasks.catalogue.roles import Role
from tasks.catalogue.values import show_memory
from tasks.compare.adoption import (
    adopted_pids,
    adoptions,
    can_go_on,
    chosen_server,
    described,
    has_data,
    has_own_data,
    held,
    snapshot_of,
)
from tasks.desired.host import Host, Instance
from tasks.desired.paths import PACKAGED_UNIT, begun_file, data_directory, marker_file, old_marker_file
from tasks.observed.foreign_listeners import endpoint, roles_met
from tasks.observed.state import ForeignServer, Marker, Observed

BUILT_IN_MODULES = ("vectorset",)  # MODULE LIST of Redis 8.0 names it (redis-facts §1)
Version = tuple[int, int]


def foreign_problems(desired: Host, observed: Observed, version: Version | None, allow_eviction: bool) -> list[str]:
    """Everything about servers of others that must stop the run; `version` of Redis is what the host will run."""
    return [
        *_data_at_stake(desired, observed),
        *_wrong_choices(desired, observed),
        *(
            problem
            for item in adoptions(desired, observed)
            if item.server is not None
            for problem in _unadoptable(item.instance.role, item.server, version, allow_eviction)
        ),
        *_interrupted(desired, observed),
        *_old_markers(desired, observed),
    ]


def refused_pids(desired: Host, observed: Observed) -> frozenset[int]:
    """Processes that these findings speak of: that they hold a port need not be said again."""
    return frozenset(item.pid for item in observed.foreign if has_data(item)) | adopted_pids(desired, observed)


def _data_at_stake(desired: Host, observed: Observed) -> Iterator[str]:
    adopted = adopted_pids(desired, observed)
    for server in observed.foreign:
        if has_data(server) and server.pid not in adopted:
            names = [role.name for role in roles_met(desired, server)]
            if not names:
                yield _packaged_elsewhere(server)
                continue
            adopt = f"--data adopt={names[0]}" if len(names) == 1 else f"--data adopt=ROLE ({' or '.join(names)})"
            yield (
                f"{', '.join(names)}: port {socket_name(*min(server.listens))} is held by {described(server)}, with "
                f"data: {held(server)}, expected free: adopt its data with {adopt}, or stop it: {stop_command(server)}"
                f"{_login(names, server)}"
            )


def _packaged_elsewhere(server: ForeignServer) -> str:
    where = ", ".join(socket_name(*item) for item in sorted(server.listens)) or "no TCP port"
    return (
        f"{PACKAGED_UNIT}: runs as {server.process}, pid {server.pid}, on {where}, with data: {held(server)}, expected "
        "nothing that a deploy would stop with it: let it listen on the port of the role that is to adopt its data, or "
        f"stop it: {stop_command(server)}"
    )


def socket_name(address: str, port: int) -> str:
    """An address and port as people write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def stop_command(server: ForeignServer) -> str:
    """How an operator ends the server for good."""
    if server.unit == PACKAGED_UNIT:
        return f"systemctl disable --now {PACKAGED_UNIT}"
    return f"systemctl disable --now {server.unit}" if server.unit else f"kill {server.pid}"


def _login(names: list[str], server: ForeignServer) -> str:
    """What lets a server be asked that did not answer for want of a password."""
    if server.refusal is None or "auth" not in server.refusal.lower():
        return ""
    return f"; to have it asked, put the password of its user default into the secrets file: {names[0]}: {{default: …}}"


def _wrong_choices(desired: Host, observed: Observed) -> Iterator[str]:
    taken: dict[int, str] = {}
    for instance in desired.instances:
        if instance.name not in desired.requests.adopt:
            continue
        servers = chosen_server(instance.role, observed)
        yield from _wrong_choice(instance, servers, observed)
        for server in servers[:1]:
            if server.pid in taken:
                yield (
                    f"{instance.name}: adopt={taken[server.pid]},{instance.name} both mean {described(server)}, "
                    "expected one role for one server: name one of them"
                )
            taken.setdefault(server.pid, instance.name)


def _wrong_choice(instance: Instance, servers: list[ForeignServer], observed: Observed) -> Iterator[str]:
    name, role = instance.name, instance.role
    own = has_own_data(instance, observed)
    if not servers and not own and name not in observed.adopting:
        ports = " or ".join(map(str, role.ports))
        yield (
            f"{name}: adopt={name}: no other Redis listens on port {ports} of {role.address}, of loopback or of every "
            "address, expected one: start it, or leave adopt out"
        )
    begun = observed.adopting.get(name)
    if begun is not None and servers and begun.rdb not in ("", snapshot_of(servers[0])):
        yield (
            f"{name}: adopt={name}: {described(servers[0])} is another server than {begun.server}, whose adoption "
            f"began and did not end, expected that one: stop this one, or remove {marker_file(name)} if the data of "
            f"the other, in {begun.rdb}, is not wanted"
        )
    if len(servers) > 1:
        which = "; ".join(described(server) for server in servers)
        yield f"{name}: adopt={name} could mean {which}, expected one: stop the one that is not to be adopted"
    if servers and own:
        yield (
            f"{name}: adopt={name}: the role has data of its own in {data_directory(name)}, expected none, two sets "
            f"cannot be merged: stop redis-{name}.service and move that directory away, or leave adopt out"
        )


def _unadoptable(role: Role, server: ForeignServer, version: Version | None, allow_eviction: bool) -> Iterator[str]:
    """What of this server would not all arrive in the role."""
    who, where = f"{role.name}: adopt={role.name}: {described(server)}", socket_name(*endpoint(server))
    if server.refusal is not None:
        yield (
            f"{who}: does not tell what it holds: {server.refusal}, expected answers to INFO and CONFIG on {where}: "
            f"put the password of its user default into the secrets file ({role.name}: {{default: PASSWORD}}), or "
            "start it so that it admits the host itself"
        )
        return
    if not server.directory or not server.reachable:
        yield (
            f"{who}: its directory {server.directory or ''} is not the host's, it runs in a container of its own, "
            "expected a directory of this host: save its RDB to one and start a server of this host there"
        )
    if server.reachable and not server.runs_as:
        yield f"{who}: as which user it runs is not known, expected it in /proc/{server.pid}/status: deploy again"
    if server.directory == data_directory(role.name):
        yield (
            f"{who}: works in {server.directory}, the role's own directory, expected another: stop it "
            f"({stop_command(server)}) and deploy without adopt: the role goes on with these files"
        )
    yield from (f"{who}: {problem}" for problem in _info_problems(role, server.info, version, allow_eviction))


def _info_problems(role: Role, info: Mapping[str, str], version: Version | None, evict: bool) -> Iterator[str]:
    if info.get("role", "master") != "master":
        master = f"{info.get('master_host')}:{info.get('master_port')}"
        yield f"is a replica of {master}, expected a master: adopt that, or REPLICAOF NO ONE first"
    if info.get("cluster_enabled", "0") != "0":
        yield "is a node of a cluster, expected a server of its own: move its keys with a client"
    module = str(info.get("module", "")).partition("name=")[2].partition(",")[0]
    if module and module not in BUILT_IN_MODULES:
        yield f"has the module {module} loaded, expected none: the role could not load that module's keys"
    found = re.match(r"(\d+)\.(\d+)", info.get("redis_version", ""))
    if found and version and (int(found[1]), int(found[2])) > version:
        wanted = ".".join(map(str, version))
        yield (
            f"is Redis {info['redis_version']}, the host's will be {wanted}, which cannot read a newer one's RDB, "
            "expected the same or older: choose a newer redis_version or move the keys with a client"
        )
    highest = max((int(name[2:]) for name in info if name.startswith("db") and name[2:].isdigit()), default=0)
    if highest >= role.databases:
        yield (
            f"has keys in database {highest}, the role has databases {role.databases}, expected more than {highest}: "
            "raise databases of the role in group_data/roles.yaml"
        )
    used = int(info.get("used_memory", "0"))
    if used > role.maxmemory and not evict:
        does = "refuse all writes" if role.maxmemory_policy == "noeviction" else "evict keys"
        yield (
            f"uses {used / (1 << 20):.0f} MiB, and maxmemory {show_memory(role.maxmemory)} would {does} "
            f"({role.maxmemory_policy}): raise maxmemory above it, or add --data allow_eviction=true"
        )


def _interrupted(desired: Host, observed: Observed) -> Iterator[str]:
    """An adoption that cannot go on from what is on disk, or whose role was started in between."""
    for item in adoptions(desired, observed):
        if item.server is not None or item.marker is None:
            continue
        marker, name = item.marker, item.instance.name
        began = f"{name}: adoption of {marker.server} began and did not end"
        if observed.is_active(item.instance.unit):
            yield (
                f"{began}, and {item.instance.unit} runs, expected not to: stop it, move {data_directory(name)} away, "
                f"start the old server again{_start_command(marker)} and deploy with --data adopt={name}"
            )
        elif not can_go_on(marker):
            yield (
                f"{began}, and {marker.rdb or 'its RDB'} is not its last save, expected all its data there: start it "
                f"again{_start_command(marker)} and deploy with --data adopt={name}; only if its data is not wanted, "
                f"remove {marker_file(name)}"
            )


def _old_markers(desired: Host, observed: Observed) -> Iterator[str]:
    """What an older version wrote while it adopted, or the role itself did: it is not believed, and not ignored either.

    A role that has run here would say nothing by it.
    """
    adopted = {item.instance.name for item in adoptions(desired, observed)}
    for instance in desired.instances:
        name, path = instance.name, old_marker_file(instance.name)
        begun = observed.is_active(instance.unit) or begun_file(name) in observed.files
        if path in observed.stored and not begun and name not in adopted:
            yield (
                f"{name}: {path} says that an adoption began and did not end, in the words of an older version or of "
                f"the role itself, which are not believed, expected absent: where one began, move "
                f"{data_directory(name)} away, start the old server again and deploy with --data adopt={name}; where "
                "none did, remove that file"
            )


def _start_command(marker: Marker) -> str:
    if not marker.unit:
        return ""
    unmask = f"systemctl unmask {marker.unit}; " if marker.unit == PACKAGED_UNIT else ""
    return f" ({unmask}systemctl start {marker.unit})"

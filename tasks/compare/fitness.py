"""Whether a host can carry its roles at all: what must stop a deploy before anything is changed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tasks.catalogue.roles import Role
from tasks.catalogue.scaling import SCALE, fitting_scale
from tasks.catalogue.values import mib, show_memory
from tasks.compare.adoptable import foreign_problems, refused_pids
from tasks.compare.adoption import missed_data
from tasks.compare.certificates import RefusedSwitch, lost_blocks
from tasks.compare.data_files import lost_manifest, pieces, storage_links, strange_snapshot
from tasks.compare.databases import database_problems
from tasks.compare.difference import ByHand, Difference, RefusedRestart
from tasks.compare.elsewhere import leftovers_in_place
from tasks.compare.leftovers import purge_problems
from tasks.compare.listeners import NO_OTHER
from tasks.compare.metrics import ALONE
from tasks.compare.server import GET_BACK_FIRST, keeps_log
from tasks.compare.standby import ahead_of_standby
from tasks.compare.unfit import Reason, Unfit, of_kind
from tasks.compare.unknown import part_in_words
from tasks.desired.host import Host, Instance
from tasks.desired.paths import DATA_ROOT, data_directory, manifest_file, snapshot_file, unit_name
from tasks.observed.state import Listener, Observed

# docs: redis-facts §9 (a full allkeys-lru instance, slow rewrite under writes: 2.12) and §7.
REWRITE_PEAK = 2.15  # resident memory ÷ maxmemory at the worst moment of a rewrite
LOADED = 1.1  # resident memory ÷ maxmemory of a server that has only loaded its data (redis-facts §9)
OS_MEMORY = 512 << 20  # bytes left to the operating system
DISK_PER_MAXMEMORY = 3.5  # base and log at 100 % growth, and the new base beside them
OWN_CLIENTS = 4  # connections of this tool at a time: a look and a proof, and an operator who wonders
OLDEST_REDIS = (7, 0)
GIB = 1 << 30


def unfit(
    desired: Host, observed: Observed, differences: list[Difference], allow_eviction: bool = False
) -> list[Reason]:
    """Every reason why `desired` cannot be brought onto this host; `thing: observed, expected, what to do`.

    `allow_eviction`: the operator accepts that a smaller maxmemory evicts keys, or stops writes under noeviction.
    """
    if observed.uid != 0 and (desired.roles or differences):
        words = "not root: uid is not 0: set ssh_user to root or _sudo = True in the inventory"
        return [Reason(words, Unfit.HOST)]
    if not desired.roles:
        return [*of_kind(Unfit.PURGE, purge_problems(desired, observed))]
    version = redis_number(redis_version(desired, observed))
    return [
        *of_kind(Unfit.HOST, _system(desired, observed), _memory(desired, observed)),
        *of_kind(Unfit.HOST, _no_such_sysctls(desired, observed)),
        *of_kind(Unfit.UNSEEN, _not_known(desired, observed)),
        *of_kind(Unfit.HOST, ahead_of_standby(desired, observed)),
        *of_kind(Unfit.HOST, _disk(desired, observed)),
        *of_kind(Unfit.TLS, lost_blocks(desired, observed)),
        *of_kind(Unfit.CERTIFICATE, _over(desired)),
        *of_kind(Unfit.HOST, (_in_words(item) for item in differences if _needs_an_address(item))),
        *of_kind(Unfit.PORT, _taken_ports(desired, observed), _other_servers(desired, observed, differences)),
        *of_kind(Unfit.DATA, map(_in_words, storage_links(desired, observed))),
        *of_kind(Unfit.GONE, map(_in_words, missed_data(desired, observed))),
        *_refused(differences),
        *of_kind(Unfit.PORT, _swapped_ports(desired, observed)),
        *of_kind(Unfit.PORT, (_in_words(item) for item in differences if item.expected == ALONE)),
        *of_kind(Unfit.DATA, _data_without_manifest(desired, observed), _renamed_data(desired, observed)),
        *of_kind(Unfit.DATA, _left_log(desired, observed)),
        *of_kind(Unfit.LIMIT, _too_full(desired, observed, allow_eviction)),
        *of_kind(Unfit.CLIENTS, _too_many_clients(desired, observed)),
        *of_kind(Unfit.LIMIT, *(database_problems(instance, observed) for instance in desired.instances)),
        *of_kind(Unfit.FOREIGN, foreign_problems(desired, observed, version, allow_eviction)),
        *of_kind(Unfit.PURGE, purge_problems(desired, observed)),
    ]


def _over(desired: Host) -> Iterator[str]:
    """Certificates with which nobody could connect."""
    return (f"{item.name}: {why}" for item in desired.instances if item.credentials for why in item.credentials.over)


def _needs_an_address(item: Difference) -> bool:
    """Whether it is an address that no deploy gives to the host."""
    return item.subject == "address" and isinstance(item.remedy, ByHand)


def _refused(differences: Iterable[Difference]) -> Iterator[Reason]:
    """What a deploy would have to do and does not."""
    for item in differences:
        if isinstance(item.remedy, RefusedRestart | RefusedSwitch):
            kind = Unfit.RESTART if isinstance(item.remedy, RefusedRestart) else Unfit.TLS
            yield Reason(_in_words(item), kind)


def _in_words(item: Difference) -> str:
    where = f"{item.role}: " if item.role else ""
    return f"{where}{item.subject} {item.name}: {item.observed}, expected {item.expected}: {item.to_do}"


def _system(desired: Host, observed: Observed) -> Iterator[str]:
    os = observed.os
    name = os.get("PRETTY_NAME", "unknown system")
    if not observed.systemd:
        yield f"init of {name}: not systemd, expected systemd: choose another machine"
    family = f"{os.get('ID', '')} {os.get('ID_LIKE', '')}".split()
    if "debian" not in family:
        yield f"system: {name}, expected Debian 12, 13 or a derivative: choose another machine"
        return
    version = redis_version(desired, observed)
    if os.get("ID") == "debian" and os.get("VERSION_ID", "") in ("12", "13"):
        return
    number = redis_number(version)
    if number is None or number < OLDEST_REDIS:
        found = version or "no redis-server package"
        yield f"system: {name} offers {found}, expected redis-server 7.0 or newer: upgrade it or add a package source"


def redis_version(desired: Host, observed: Observed) -> str:
    """The version of Redis that the host will run."""
    return desired.redis_version or observed.packages.get("redis-server") or observed.candidate


def redis_number(version: str) -> tuple[int, int] | None:
    """Major and minor number in a Debian version: `5:7.0.15-1` is (7, 0)."""
    match = re.match(r"(?:\d+:)?(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else None


def memory_needed(roles: Iterable[Role], proved: Iterable[Role] = ()) -> int:
    """Bytes of RAM that a host of these roles has to have; `proved`: those whose copies are proved there."""
    return int(sum(role.maxmemory for role in roles) * REWRITE_PEAK) + OS_MEMORY + proof_memory(proved)


def proof_memory(proved: Iterable[Role]) -> int:
    """Bytes for the server that proves a copy: one role's after the other, and the largest counts."""
    return int(max((role.maxmemory for role in proved), default=0) * LOADED)


def _no_such_sysctls(desired: Host, observed: Observed) -> Iterator[str]:
    """systemd-sysctl passes over a name that it does not know; in a container nothing is set anyway."""
    missing = sorted(desired.sysctls.keys() - observed.sysctls.keys())
    if missing and not observed.container:
        yield (
            f"kernel: {', '.join(missing)}: not known to this kernel, expected a name that sysctl -a lists: correct "
            "redis_sysctl"
        )


def _memory(desired: Host, observed: Observed) -> Iterator[str]:
    proved = [plan.role for plan in desired.proofs]
    needed = memory_needed(desired.roles, proved)
    if needed > observed.memory:
        of = sorted({f" of {plan.whose}" for plan in desired.proofs if plan.of})
        proof = f" + {mib(proof_memory(proved))} for the proof of backups{','.join(of)}" if proved else ""
        names = " and ".join(f"{role.name} {show_memory(role.maxmemory)}" for role in desired.roles)
        yield (
            f"memory: {names} need {mib(needed)} of RAM at the peak of a rewrite "
            f"({REWRITE_PEAK} × maxmemory + {mib(OS_MEMORY)}{proof}), the host has {mib(observed.memory)}: "
            + (
                _room(desired, (observed.memory - OS_MEMORY) / REWRITE_PEAK, "memory")
                or "lower maxmemory in group_data/roles.yaml or move a role"
            )
        )


def _room(desired: Host, room: float, what: str) -> str:
    """What makes the roles of a rehearsal's host fit; empty of others. `room`: for all their maxmemory, in bytes."""
    if desired.scale is None:
        return ""
    fits = fitting_scale([role.maxmemory for role in desired.roles], room, desired.scale)
    way = f"rehearse it smaller by --data {SCALE}={fits:g}, or" if fits else f"no {SCALE}= is small enough:"
    return f"{way} give the machine more {what}"


def _not_known(desired: Host, observed: Observed) -> Iterator[str]:
    """What a start of a role depends on and the look did not see."""
    if all(observed.is_active(instance.unit) for instance in desired.instances):
        return
    for part, unseen in observed.unseen.items():
        what, remedy = part_in_words(part, unseen)
        yield f"{what}: unknown, {unseen.because}, expected to be seen before anything is started: {remedy}"


def _disk(desired: Host, observed: Observed) -> Iterator[str]:
    if "disk" in observed.unseen:
        return  # said as unknown
    needed = int(sum(role.maxmemory for role in desired.roles) * DISK_PER_MAXMEMORY)
    used = sum(observed.data_used.get(data_directory(role.name), 0) for role in desired.roles)
    if needed > observed.disk_free + used:
        yield (
            f"disk: {DATA_ROOT} needs {mib(needed)} ({DISK_PER_MAXMEMORY} × maxmemory), "
            f"{mib(observed.disk_free)} are free and {mib(used)} used by its roles: "
            + (_room(desired, (observed.disk_free + used) / DISK_PER_MAXMEMORY, "disk") or "enlarge it or move a role")
        )


def _other_servers(desired: Host, observed: Observed, differences: Iterable[Difference]) -> Iterator[str]:
    """A Redis that is in no role's way and no role's: said before the deploy, which could not end well."""
    refused = refused_pids(desired, observed)
    said = {f"{item.address}:{item.port}" for item in observed.listeners if item.pid in refused}
    said |= {
        f"{item.address}:{item.port}" for item in observed.listeners for role in desired.roles if _clash(role, item)
    }
    yield from (_in_words(item) for item in differences if item.expected == NO_OTHER and item.name not in said)


def _clash(role: Role, listener: Listener) -> bool:
    """Whether the listener has a port of the role on its address."""
    return listener.address in (str(role.address), role.reached, "0.0.0.0", "*", "::") and listener.port in role.ports


def _taken_ports(desired: Host, observed: Observed) -> Iterator[str]:
    ours = {observed.pid(instance.unit) for instance in desired.instances} - {0}
    ours |= refused_pids(desired, observed)
    ours |= {observed.pid(unit_name(leftover.role)) for _, leftover in leftovers_in_place(desired, observed)}
    for role in desired.roles:
        for listener in observed.listeners:
            if _clash(role, listener) and not any(map(listener.is_of, ours)):
                who = f"{listener.process}, pid {listener.pid}" if listener.pid else "another process"
                yield (
                    f"{role.name}: port {role.address}:{listener.port} is held by {who} "
                    f"(listening on {listener.address}), expected free: stop it or change the role's port"
                )


def _swapped_ports(desired: Host, observed: Observed) -> Iterator[str]:
    """A role gets its port live, one role after the other: it cannot have one that another role still listens on."""
    owners = {observed.pid(item.unit): item.name for item in desired.instances} | {0: ""}
    for role in desired.roles:
        for listener in observed.listeners:
            owner = owners.get(listener.pid, "")
            if _clash(role, listener) and listener.port == role.port and owner not in ("", role.name):
                yield (
                    f"{role.name}: port {role.address}:{role.port} is {owner}'s until this deploy moves that, expected "
                    f"free: deploy {owner} with a port that nobody uses first, then both as they are to be"
                )


def _data_without_manifest(desired: Host, observed: Observed) -> Iterator[str]:
    """A server that would begin empty over data, or load other data than somebody meant it to."""
    for instance in desired.instances:
        yield from map(_in_words, lost_manifest(instance, observed))
        yield from map(_in_words, strange_snapshot(instance, observed))
        down = not observed.is_active(instance.unit) and instance.name not in observed.adopting
        down = down and not instance.is_standby
        if down and not instance.role.appendonly:
            yield from _data_without_snapshot(instance, observed, pieces(instance.name, observed))


def _data_without_snapshot(instance: Instance, observed: Observed, data: list[str]) -> Iterator[str]:
    """A server started without a log looks for its snapshot under one name only."""
    snapshot = snapshot_file(instance.role)
    if data and snapshot not in data and manifest_file(instance.role) not in observed.data_files:
        yield (
            f"{instance.name}: {data_directory(instance.name)} holds {', '.join(sorted(data)[:3])} but no {snapshot}: "
            "a start without appendonly would begin empty: move the files away, or rename the snapshot"
        )


def _renamed_data(desired: Host, observed: Observed) -> Iterator[str]:
    """Redis looks for its data under the names in its file: under another name it starts empty."""
    for instance in desired.instances:
        config = observed.servers[instance.name].config if instance.name in observed.servers else {}
        for name in ("dir", "appenddirname", "appendfilename", "dbfilename"):
            found, wanted = config.get(name), instance.settings[name]
            if found is not None and found != wanted:
                yield (
                    f"{instance.name}: {name} is {found} in the running server, expected {wanted}: a restart would "
                    f"begin empty: set {name.replace('-', '_')} back in group_data/roles.yaml; to rename for good, "
                    "stop the instance and rename its files first"
                )


def _left_log(desired: Host, observed: Observed) -> Iterator[str]:
    """A configuration without a log would leave the only copy of what a start has skipped."""
    for instance in desired.instances:
        server = observed.servers.get(instance.name)
        if server is None or server.refusal is not None or instance.role.appendonly:
            continue
        if keeps_log(instance, server):
            yield (
                f"{instance.name}: appendonly is no in the catalogue, and the running server's log has writes that its "
                f"start skipped, expected yes until then: {GET_BACK_FIRST.advice}"
            )


def _too_full(desired: Host, observed: Observed, allow_eviction: bool) -> Iterator[str]:
    """A limit below what is in use evicts at once, and for good, or refuses every write."""
    for instance in desired.instances:
        server = observed.servers.get(instance.name)
        if allow_eviction or server is None or "maxmemory" not in server.config:
            continue
        used, limit = int(server.info.get("used_memory", "0")), instance.role.maxmemory
        if used > limit and server.config["maxmemory"] != str(limit):
            does = "refuse all writes" if instance.role.maxmemory_policy == "noeviction" else "evict keys at once"
            yield (
                f"{instance.name}: uses {mib(used)}, and maxmemory {show_memory(limit)} would {does} "
                f"({instance.role.maxmemory_policy}): keep maxmemory above it, or add --data allow_eviction=true"
            )


def _too_many_clients(desired: Host, observed: Observed) -> Iterator[str]:
    """Redis keeps those who are connected and turns every new one away: this tool, too, so nothing could be proved."""
    for instance in desired.instances:
        server = observed.servers.get(instance.name)
        if server is None or "maxclients" not in server.config:
            continue
        connected, limit = int(server.info.get("connected_clients", "0")), instance.role.maxclients
        if connected + OWN_CLIENTS > limit and int(server.config["maxclients"]) > limit:
            yield (
                f"{instance.name}: {connected} clients are connected, and maxclients {limit} would turn every new one "
                f"away, this tool among them, expected at most {limit - OWN_CLIENTS}: close some (CLIENT LIST as "
                "operator shows whose they are), or raise maxclients; with `fit`, raise maxmemory"
            )

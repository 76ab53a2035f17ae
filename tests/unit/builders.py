"""Desired hosts, and observed ones that are exactly what was desired: a test breaks one thing and looks.

Passwords are made from names, so that a test can search any output for them and for their hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address
from runpy import run_path
from types import MappingProxyType
from typing import Any

from tasks.catalogue.acl_rules import DEFAULT_RULES, categories_in
from tasks.catalogue.backup import Backup, backed_up, place_of
from tasks.catalogue.limits import NAME as HEALTH
from tasks.catalogue.limits import Limits, read_limits
from tasks.catalogue.metrics import Metrics, measured
from tasks.catalogue.roles import Catalogue, Role, build_roles, read_catalogue
from tasks.catalogue.secret import Secret, revealed
from tasks.catalogue.secrets_file import entries_of
from tasks.catalogue.standby import paired
from tasks.catalogue.tls import Credentials
from tasks.compare.difference import ByHand, Difference, Remedy, Subject
from tasks.compare.server import defaults
from tasks.desired.build import desired_host
from tasks.desired.guard import NOTE
from tasks.desired.host import Away, Host, Instance, Pair, Plan, User, fence_chains
from tasks.desired.paths import (
    INNER_PORT_UNIT,
    METRICS_UNIT,
    PROVER,
    SYSCTL_FILE,
    THP_FILE,
    acl_file,
    backup_record,
    begun_file,
    copy_drop_in,
    credential,
    data_directory,
    proof_record,
    served_file,
)
from tasks.observed.state import FileState, FileUser, Listener, Observed, Served, Server
from tests.tree import ROLES, tree

ROLES_FILE = tree() / ROLES
FIVE = ("gateway", "socket", "shared", "compliance", "crypto")  # as the platform has them
OTHERS = ("scratch", "reports", "ledger", "night_jobs")  # without a log, a snapshot or an inner port, or with odd ones
EVERY = (*FIVE, *OTHERS)
SYSCTLS = {"vm.overcommit_memory": 1, "net.core.somaxconn": 4096}
VERSION = "5:7.0.15-1~deb12u10"
FIRST_PID, LAST_PID = 700, 900
NOW = 1795800000  # when a host was looked at; a minute after its last copy and proof
RECORD = f"result ok\nat {NOW - 60}\nfirst {NOW - 60}\ngood {NOW - 60}\nkeys 5\nlife 00000000000000aa\n"
BACKUP = Backup(repository="/mnt/backups")
METRICS = Metrics(address="172.28.2.1:9121")
LOG = ("appendonlydir/appendonly.aof.manifest", "appendonlydir/appendonly.aof.1.incr.aof")
SNAPSHOT = ("dump.rdb",)
# A few commands of each category: enough to tell rules apart, in the form ACL CAT lists them.
CATEGORIES = {
    "admin": frozenset({"acl", "config", "debug", "replicaof", "shutdown"}),
    "dangerous": frozenset({"acl", "config", "debug", "flushall", "info", "keys", "shutdown", "sort"}),
    "scripting": frozenset({"eval", "evalsha", "fcall", "script|load", "script|flush", "function|load"}),
}


@cache
def catalogue() -> Catalogue:
    """The tests' own catalogue: tests/fixtures/group_data/roles.yaml."""
    read, problems = read_catalogue(ROLES_FILE.read_text())
    assert read is not None
    assert problems == []
    return read


def roles(**overrides: Mapping[str, Any]) -> dict[str, Role]:
    """Every role of it, with overrides by role name."""
    built, problems = build_roles(catalogue(), overrides, "test")
    assert problems == []
    return built


def password(role: str, user: str) -> str:
    """The password that every test gives to a user."""
    return f"secret-of-{role}-{user}"


def sha256(text: str) -> str:
    """The hash as Redis stores it."""
    return hashlib.sha256(text.encode()).hexdigest()


def passwords(*built: Role) -> dict[str, dict[str, str | None]]:
    """A password for every user of these roles."""
    return {role.name: {user: password(role.name, user) for user in entries_of(role)} for role in built}


def secrets_of(*built: Role) -> list[str]:
    """Everything that no output may show: the passwords of these roles and their hashes."""
    known = [text for users in passwords(*built).values() for text in users.values() if text]
    return [*known, *map(sha256, known)]


def desired(
    *names: str,
    version: str | None = None,
    backup: Backup | None = None,
    interface: str | None = None,
    metrics: Metrics | None = None,
    name: str = "host-1",
    pairs: Sequence[Pair] = (),
    away: Sequence[Away] = (),
    at_home: Mapping[str, str] = MappingProxyType({}),
    **overrides: Mapping[str, Any],
) -> Host:
    """The desired state of one host that carries these roles; gateway alone when none is named.

    `at_home`: by role whose address goes along with who serves it, the host's own.
    """
    built = roles(**overrides)
    carried = measured(backed_up([built[role] for role in names or ("gateway",)], backup), metrics)
    carried = paired(carried, {pair.role for pair in pairs}, {name: IPv4Address(own) for name, own in at_home.items()})
    own = {role.name: CREDENTIALS for role in carried if role.tls is not None}
    known = passwords(*carried)
    host = desired_host(
        name,
        carried,
        known,
        SYSCTLS,
        version,
        credentials=own,
        backup=backup,
        interface=interface,
        metrics=metrics,
        pairs=pairs,
        away=away,
    )
    return replace(host, limits=limits())


PAIR = {"one": "172.28.2.1", "other": "172.28.2.2"}  # the two hosts of a role with a standby, and its address on each


def pair_of(
    role: str = "crypto",
    backups: Mapping[str, Backup | None] = MappingProxyType({}),
    along: bool = False,
    **overrides: Any,
) -> dict[str, Host]:
    """The two hosts of a role: `one`, which the inventory names, and `other`, its standby; with these backups.

    `along`: its address goes along with who serves it.
    """
    port = roles()[role].port
    found = {}
    for name, peer in (("one", "other"), ("other", "one")):
        pair = Pair(role, peer, (PAIR[peer], port), name == "other", name == "other", ssh_there=PAIR[peer])
        pair = replace(pair, backed_up_there=backups.get(peer) is not None)
        own: dict[str, Any] = {role: {**({} if along else {"address": PAIR[name]}), **overrides}}
        found[name] = desired(
            role,
            name=name,
            backup=backups.get(name),
            pairs=(pair,),
            interface="eth0" if along else None,
            at_home={role: PAIR[name]} if along else {},
            **own,
        )
    return found


TLS = {"certificate": "tls/server.crt", "key": "tls/server.key", "ca": "tls/ca.crt"}  # a role's block
CREDENTIALS = Credentials("a certificate\n", Secret("a key\n"), "an authority\n", "c0ffee" * 8, 1 << 33)
SERVED = Served(CREDENTIALS.digest, "2242-03-16", 1 << 32)


@cache
def limits(**changes: int) -> Limits:
    """The tests' own limits of health: tests/fixtures/group_data/all.py, with some of them changed."""
    read, problems = read_limits("test", run_path(str(tree() / "group_data" / "all.py"))[HEALTH] | changes)
    assert read is not None, problems
    return read


def as_desired(host: Host) -> Observed:
    """A virtual machine on which everything is as `host` wants it."""
    pids = {instance.unit: FIRST_PID + number for number, instance in enumerate(host.instances)}
    owner = {INNER_PORT_UNIT: FIRST_PID + len(pids)} if host.has_rules else {}
    exporter = {METRICS_UNIT: FIRST_PID + len(pids) + 1} if host.exporter else {}
    standbys = {item.name for item in host.instances if item.is_standby}
    return Observed(
        os={"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"},
        systemd=True,
        container="",
        uid=0,
        memory=16 << 30,
        memory_available=12 << 30,
        packages={name: version or VERSION for name, version in host.packages.items()},
        candidate="",
        disk_free=100 << 30,
        free_of={data_directory(instance.name): 100 << 30 for instance in host.instances},
        data_used={data_directory(instance.name): 1 << 20 for instance in host.instances},
        addresses=frozenset(
            {
                "127.0.0.1",
                *(address for item in host.instances for address in (*item.bound, item.role.reached)),
                *([host.exporter.address] if host.exporter else []),
            }
        ),
        listeners=(
            Listener("0.0.0.0", 22, "sshd", 35),
            *(
                Listener(host.exporter.address, host.exporter.port, "prometheus-redi", pid)
                for pid in exporter.values()
                if host.exporter
            ),
            *(
                Listener(address, port, "redis-server", pids[instance.unit])
                for instance in host.instances
                for address in instance.bound
                for port in instance.role.listens_on
            ),
        ),
        sysctls=dict(host.sysctls),
        thp=f"always madvise [{host.thp}]",
        boot_sysctls={name: (value, SYSCTL_FILE) for name, value in host.sysctls.items()},
        boot_thp={THP_FILE: host.thp},
        our_units=tuple(
            sorted(unit.name for unit in host.units if unit.enabled == "enabled" and unit.name.startswith("redis-"))
        ),
        units={
            unit.name: _unit(unit.enabled, unit.active, (pids | owner | exporter).get(unit.name, 0))
            | ({"DropInPaths": copy_drop_in(unit.role)} if unit.role in standbys else {})
            for unit in host.units
        }
        | {
            plan.unit: _unit("disabled", "inactive", 0) if plan.there else _unit("enabled", "active", LAST_PID + number)
            for number, plan in enumerate(host.addresses)
        },
        binaries={
            **dict.fromkeys(pids.values(), "/usr/bin/redis-check-rdb"),
            **dict.fromkeys(owner.values(), "/usr/sbin/nft"),
        },
        descriptors={1: 1048576, **{pids[instance.unit]: instance.descriptors for instance in host.instances}},
        started={
            **{instance.unit: instance.unit_digest for instance in host.instances},
            **{unit.name: unit.digest for unit in host.units if unit.digest},
            **{plan.unit: plan.digest for plan in host.addresses if not plan.there},
        },
        files={
            file.path: FileState(
                "directory" if file.content is None else "file",
                file.owner,
                file.group,
                file.mode,
                file.observable or "",
            )
            for file in host.files
            if file.path not in {begun_file(item.name) for item in host.instances if item.is_standby}
        }
        | {
            served_file(pair.role): FileState("file", "root", "root", "0600", f"{NOTE}\n")
            for pair in host.pairs
            if not pair.is_standby
        }
        | {
            path: FileState("file", "root", "root", "0600", RECORD)
            for plan in host.backups
            for path in (backup_record(plan.role.name), proof_record(plan.role.name))
        }
        | {
            proof_record(plan.role.name): FileState("file", "root", "root", "0600", f"{RECORD}where {place(plan)}\n")
            for plan in host.proofs
            if plan.of
        }
        | {
            credential(METRICS_UNIT, name): FileState("file", "root", "root", "0440", file.observable or "")
            for name, file in (host.exporter.files if host.exporter else {}).items()
        },
        asked_at=NOW if host.backups or host.proofs else 0,
        forwards=frozenset(
            (chain, item.address, item.inner_port, f"{item.address}:{item.port}")
            for item in host.forwards
            for chain in ("prerouting", "output")
        ),
        forwards_owner="nft" if host.has_rules else "",
        fences=fence_chains(host.fences),
        statoverrides=dict(host.statoverrides),
        accounts=frozenset(
            [*(instance.user for instance in host.instances), *(PROVER for plan in host.proofs if plan.of)]
        ),
        replayable=frozenset(acl_file(instance.name) for instance in host.instances),
        stored={
            f"{data_directory(instance.name)}/{name}": FileState(kind, instance.user, instance.user, mode, "")
            for instance in host.instances
            for kind, mode, names in (("directory", "0700", ["appendonlydir"]), ("file", "0600", _data(instance)))
            for name in names
            if kind == "file" or instance.role.appendonly
        },
        acl_users={
            acl_file(instance.name): (FileUser("default"), *map(file_user, instance.users))
            for instance in host.instances
        },
        configured={instance.name: (instance.address, instance.role.port) for instance in host.instances},
        data_files={
            f"{data_directory(instance.name)}/{name}": 88 for instance in host.instances for name in _data(instance)
        },
        servers={instance.name: replace(server(instance), endpoint=instance.where) for instance in host.instances},
    )


def place(plan: Plan) -> str:
    """Where its copies go, as records have it."""
    return place_of(plan.backup.of(plan.role.name))


def away(role: str, backup: Backup, host: str = "host-2", **overrides: Mapping[str, Any]) -> Away:
    """Copies that another host makes of a role, to be proved by the one that is built."""
    (built,) = backed_up([roles(**overrides)[role]], backup)
    return Away(host, built, backup, passwords(built))


def file_user(user: User) -> FileUser:
    """A user as the rendered ACL file names it."""
    return FileUser(user.name, tuple(item[:4] for item in user.passwords_sha256))


def _data(instance: Instance) -> tuple[str, ...]:
    """The files that a role's data is in."""
    return LOG if instance.role.appendonly else SNAPSHOT if instance.role.save else ()


def fresh(host: Host) -> Observed:
    """The same machine with nothing of `host` on it but its addresses."""
    units = {"LoadState": "not-found", "ActiveState": "inactive", "MainPID": "0", "UnitFileState": ""}
    return replace(
        as_desired(host),
        packages={},
        candidate=VERSION,
        data_used={},
        listeners=(Listener("0.0.0.0", 22, "sshd", 35),),
        sysctls={"vm.overcommit_memory": "0", "net.core.somaxconn": "4096"},
        thp="[always] madvise never",
        boot_sysctls={},
        boot_thp={},
        our_units=(),
        units={unit.name: units for unit in host.units},
        binaries={},
        started={},
        files={},
        forwards=frozenset(),
        forwards_owner="",
        fences={},
        statoverrides={},
        data_files={},
        stored={},
        replayable=frozenset(),
        acl_users={},
        configured={},
        servers={},
    )


def _unit(enabled: str, active: str, pid: int) -> dict[str, str]:
    load = {"enabled": "loaded", "disabled": "loaded", "masked": "masked", "absent": "not-found"}[enabled]
    return {
        "LoadState": load,
        "ActiveState": active,
        "SubState": "running" if pid else "exited" if active == "active" else "dead",
        "UnitFileState": "" if enabled == "absent" else enabled,
        "MainPID": str(pid),
        "NeedDaemonReload": "no",
        "NRestarts": "0",
        "Result": "success",
        "DropInPaths": "",
    }


def server(instance: Instance) -> Server:
    """What the instance answers when everything is as desired; words of ACL rules as Redis gives them."""
    users = {user.name: _user(user.passwords_sha256 or ("",), user.rules) for user in instance.users}
    info = {
        "redis_version": "7.0.15",
        "loading": "0",
        "uptime_in_seconds": "864000",
        "used_memory": "2000000",
        "connected_clients": "9",
        "aof_enabled": str(int(instance.role.appendonly)),
        "aof_last_write_status": "ok",
        "aof_last_bgrewrite_status": "ok",
    }
    return Server(
        config={**defaults("7.0"), **instance.settings, **_said(instance), "requirepass": ""},
        info={
            **info,
            **_replication(instance),
            "run_id": hashlib.sha1(instance.name.encode()).hexdigest(),
        },
        certificate=replace(SERVED, digest=instance.credentials.digest) if instance.credentials else None,
        users={"default": {**_user(("",), DEFAULT_RULES), "flags": ["off"], "passwords": []}, **users},
        categories={name: CATEGORIES[name] for name in categories_in(user.rules for user in instance.users)},
    )


def _said(instance: Instance) -> dict[str, str]:
    """What a standby says beside its role's settings: in clear, as CONFIG GET does."""
    return {name: revealed(text) for name, text in instance.following.items()}


def _replication(instance: Instance) -> dict[str, str]:
    """What a server of a role with a standby says of both."""
    return SYNCED if instance.is_standby else SERVES if instance.role.paired else {}


SERVES = {
    "role": "master",
    "master_repl_offset": "1000",
    "slave0": "ip=172.28.2.2,port=6383,state=online,offset=1000,lag=0",
}
SYNCED = {  # of INFO of a standby that has all that its primary has
    "role": "slave",
    "master_host": "172.28.2.1",
    "master_port": "6383",
    "master_link_status": "up",
    "master_sync_in_progress": "0",
    "master_last_io_seconds_ago": "1",
    "slave_repl_offset": "1000",
}


def _user(passwords_sha256: tuple[str, ...], rules: str) -> dict[str, object]:
    words = rules.split()
    return {
        "flags": ["on", "sanitize-payload"],
        "passwords": [*passwords_sha256],
        "commands": " ".join(word for word in words if word[0] in "+-"),
        "keys": " ".join(word for word in words if word[0] in "~%"),
        "channels": " ".join(word for word in words if word[0] == "&"),
        "selectors": [],
    }


def differs(role: str | None, subject: Subject, name: str, expected: str, observed: str, remedy: str) -> Difference:
    """A difference with its remedy in words, as reports show it."""
    known = {str(item): item for item in Remedy}
    return Difference(
        role, subject, name, expected, observed, known.get(remedy) or ByHand(remedy.removeprefix("by hand: "))
    )


def with_server(observed: Observed, role: str, **changes: Any) -> Observed:
    """`observed` with parts of one role's server replaced."""
    return replace(observed, servers={**observed.servers, role: replace(observed.servers[role], **changes)})


def with_setting(observed: Observed, role: str, directive: str, value: str) -> Observed:
    """`observed` whose server of `role` answers `value` for `directive`."""
    return with_server(observed, role, config={**observed.servers[role].config, directive: value})


def with_user(observed: Observed, role: str, user: str, **changes: object) -> Observed:
    """`observed` whose server of `role` describes `user` otherwise."""
    users = observed.servers[role].users
    return with_server(observed, role, users={**users, user: {**users.get(user, {}), **changes}})


def with_unit(observed: Observed, unit: str, **changes: str) -> Observed:
    """`observed` with properties of a unit replaced."""
    return replace(observed, units={**observed.units, unit: {**observed.units[unit], **changes}})


def with_file(observed: Observed, path: str, **changes: Any) -> Observed:
    """`observed` with parts of a file's state replaced."""
    return replace(observed, files={**observed.files, path: replace(observed.files[path], **changes)})


def without_file(observed: Observed, path: str) -> Observed:
    """`observed` in which there is no such file."""
    return replace(observed, files={name: state for name, state in observed.files.items() if name != path})


def with_listener(observed: Observed, address: str, port: int, process: str = "nginx", pid: int = 4711) -> Observed:
    """`observed` with one more listening socket."""
    return replace(observed, listeners=(*observed.listeners, Listener(address, port, process, pid)))


def stopped(observed: Observed, role: str) -> Observed:
    """`observed` in which an instance does not run: no process, no socket, no answer."""
    unit = f"redis-{role}.service"
    pid = observed.pid(unit)
    return replace(
        with_unit(observed, unit, ActiveState="inactive", SubState="dead", MainPID="0"),
        listeners=tuple(item for item in observed.listeners if item.pid != pid),
        binaries={number: process for number, process in observed.binaries.items() if number != pid},
        started={name: digest for name, digest in observed.started.items() if name != unit},
        servers={name: state for name, state in observed.servers.items() if name != role},
    )

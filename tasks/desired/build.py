"""Build desired state: everything that must be true of one host, from its roles and data alone. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from types import MappingProxyType

from tasks.catalogue.acl_rules import (
    METRICS_RULES,
    OPERATOR,
    OPERATOR_RULES,
    READER_RULES,
    REPLICATION,
    STANDBY_RULES,
)
from tasks.catalogue.backup import READER, Backup
from tasks.catalogue.metrics import METRICS, Metrics
from tasks.catalogue.requested import NOTHING, Requests
from tasks.catalogue.roles import Role
from tasks.catalogue.rotation import finished, named
from tasks.catalogue.secret import all_of, revealed
from tasks.catalogue.tls import Credentials, server_settings
from tasks.catalogue.users import users_of
from tasks.desired.address import ARPING, address_files, address_plans
from tasks.desired.backup import PACKAGE as RESTIC
from tasks.desired.backup import backup_files, backup_plan, backup_timers
from tasks.desired.guard import with_guards
from tasks.desired.host import (
    OF_EXPORTER,
    Away,
    Fence,
    File,
    Forward,
    Host,
    Instance,
    Pair,
    Passwords,
    Unit,
    User,
    descriptors,
    fence_chains,
    sha256,
)
from tasks.desired.metrics import NO_UNIT, exporter, exporter_files, exporter_units, no_exporter_files
from tasks.desired.metrics import PACKAGE as EXPORTER
from tasks.desired.paths import (
    APT_PIN_FILE,
    CONFIG_DIRECTORY,
    DATA_ROOT,
    INNER_PORT_RULES,
    INNER_PORT_TABLE,
    INNER_PORT_UNIT,
    PACKAGED_UNIT,
    PROVER_FILE,
    RECORDS,
    SYSCTL_FILE,
    SYSUSERS,
    THP_FILE,
    UNITS,
    account_file,
    acl_file,
    begun_file,
    begun_unit,
    config_file,
    data_directory,
    guard_file,
    loaded_file,
    manifest_file,
    marker_file,
    previous_file,
    root_directory,
    snapshot_file,
    start_files,
    tls_files,
    trusted_file,
    unit_name,
    user_name,
)
from tasks.desired.rendering import acl_text, config_text, render, unit_digest
from tasks.desired.standby import with_pairs, with_peer

OWN_USERS = {OPERATOR: OPERATOR_RULES, READER: READER_RULES, METRICS: METRICS_RULES, REPLICATION: STANDBY_RULES}


def desired_host(
    name: str,
    roles: Sequence[Role],
    passwords: Passwords,
    sysctls: Mapping[str, int | str],
    redis_version: str | None = None,
    requests: Requests = NOTHING,
    awaited: Collection[tuple[str, str]] = (),
    credentials: Mapping[str, Credentials] = MappingProxyType({}),
    backup: Backup | None = None,
    interface: str | None = None,
    metrics: Metrics | None = None,
    pairs: Sequence[Pair] = (),
    away: Sequence[Away] = (),
) -> Host:
    """Everything that must be true of host `name` carrying `roles`; `credentials` of those that speak TLS.

    `away`: the copies of other hosts that it proves.

    `awaited`: (role, user) of those that are to get one more password, which a run that only plans does not make up.
    """
    roles = tuple(sorted(roles, key=lambda role: role.name))
    forwards = tuple(
        Forward(role.name, str(role.address), role.forwarded_port, role.port)
        for role in roles
        if role.forwarded_port is not None
    )
    fences = tuple(
        Fence(role.name, address, port, tuple(map(_as_listed, with_peer(role.allow_from, role.name, pairs))))
        for role in roles
        if role.allow_from is not None
        for address in dict.fromkeys((str(role.address), role.reached))
        for port in role.listens_on
    )
    if metrics is not None and metrics.allow_from is not None:
        fences = (*fences, Fence(OF_EXPORTER, metrics.host, metrics.port, tuple(map(_as_listed, metrics.allow_from))))
    instances = tuple(
        replace(
            _instance(role, passwords[role.name], [user for name, user in awaited if name == role.name], requests),
            accepts_loss=role.name in requests.accept_loss,
            new_passwords=role.name in requests.new_passwords,
            switches_tls=role.name in requests.tls_switch,
            credentials=credentials.get(role.name),
        )
        for role in roles
    )
    both = {pair.role for pair in pairs if pair.backed_up_there}
    plans = tuple(
        backup_plan(name, role, backup, on_both=role.name in both)
        for role in roles
        if backup is not None and role.backed_up
    )
    others = [(backup_plan(name, item.role, item.backup, item.host, also=item.also), item) for item in away]
    proofs = (*(plan for plan in plans if plan.is_proved_here), *(plan for plan, _ in others))
    values = {key: str(value) for key, value in sorted(sysctls.items())}
    files = _host_files(values, forwards, fences, redis_version) + [
        file for instance in instances for file in _role_files(instance)
    ]
    files += backup_files(plans, passwords, others)
    addresses = address_plans(roles, interface)
    files += address_files(addresses)
    measuring = None if metrics is None else exporter(metrics, instances, passwords)
    files += [] if measuring is None else exporter_files(measuring)
    host = Host(
        name=name,
        roles=roles,
        packages=_packages(bool(forwards or fences), redis_version)
        | ({RESTIC: None} if plans or others else {})
        | ({ARPING: None} if addresses else {})
        | ({EXPORTER: None} if measuring else {}),
        files=tuple(sorted(files, key=lambda file: file.path)),
        absent=(
            *_absent(roles, bool(forwards or fences), redis_version),
            *no_exporter_files(measuring),
            *([] if others else [PROVER_FILE]),
        ),
        units=(
            *_units(roles, bool(forwards or fences)),
            *_begun_units(roles),
            *backup_timers([*plans, *(plan for plan, _ in others)]),
            *([NO_UNIT] if measuring is None else exporter_units(measuring)),
        ),
        sysctls=values,
        thp="never",
        forwards=forwards,
        fences=fences,
        instances=instances,
        redis_version=redis_version,
        statoverrides={CONFIG_DIRECTORY: "root root 711", DATA_ROOT: "root root 711"},
        requests=requests,
        backups=plans,
        proofs=proofs,
        addresses=addresses,
        exporter=measuring,
    )
    return with_guards(with_pairs(host, pairs, passwords), passwords)


def with_forwards(host: Host, more: Sequence[Forward]) -> Host:
    """`host`, whose rules lead some inner ports more than those of its roles."""
    forwards = (*host.forwards, *more)
    rules = _inner_port_rules(forwards, host.fences)
    files = (replace(file, content=rules) if file.path == INNER_PORT_RULES else file for file in host.files)
    return replace(host, forwards=forwards, files=tuple(files)) if more else host


def host_without_roles(name: str, requests: Requests = NOTHING) -> Host:
    """A host that carries no role, perhaps no longer: nothing that acts is left of this tool, and nothing is put there.

    What only guards stays where it is: packages and their rules, the masked packaged unit, kernel values.
    """
    return Host(
        name=name,
        roles=(),
        packages={},
        files=(),
        absent=(INNER_PORT_RULES, f"{UNITS}/{INNER_PORT_UNIT}", *no_exporter_files(None), PROVER_FILE),
        units=(Unit(INNER_PORT_UNIT, "absent", "inactive"), NO_UNIT),
        sysctls={},
        thp="",
        forwards=(),
        instances=(),
        requests=requests,
    )


def _packages(rules: bool, version: str | None) -> dict[str, str | None]:
    packages: dict[str, str | None] = {"redis-server": version, "redis-tools": version}
    return packages | ({"nftables": None} if rules else {})


def _absent(roles: Sequence[Role], rules: bool, version: str | None) -> tuple[str, ...]:
    inner_port = () if rules else (INNER_PORT_RULES, f"{UNITS}/{INNER_PORT_UNIT}")
    previous = (previous_file(path) for role in roles for path in start_files(role.name))
    return (*inner_port, *(() if version else (APT_PIN_FILE,)), *previous)


def _units(roles: Sequence[Role], rules: bool) -> tuple[Unit, ...]:
    inner_port = Unit(INNER_PORT_UNIT, "absent", "inactive")
    if rules:
        inner_port = Unit(INNER_PORT_UNIT, "enabled", "active", digest=unit_digest(_inner_port_unit("")))
    return (
        Unit(PACKAGED_UNIT, "masked", "inactive"),
        inner_port,
        *(Unit(unit_name(role.name), "enabled", "active", role.name) for role in roles),
    )


def _host_files(
    sysctls: Mapping[str, str], forwards: Sequence[Forward], fences: Sequence[Fence], version: str | None
) -> list[File]:
    files = [
        File("/etc/apt/apt.conf.d/60-redis", render("apt-unattended.conf.j2")),
        File("/etc/needrestart", None, mode="0755"),
        File("/etc/needrestart/conf.d", None, mode="0755"),
        File("/etc/needrestart/conf.d/60-redis.conf", render("needrestart.conf.j2")),
        # What a role can read it can hold (flock), what it can write it can forge.
        File(RECORDS, None, mode="0700"),
        # The package makes it redis:redis 0750: a role could put a link in the place of its directory, or another's.
        File(DATA_ROOT, None, mode="0711"),
        # The package makes it 2770 redis:redis: Redis itself could then rewrite what this tool wrote.
        File(CONFIG_DIRECTORY, None, mode="0711"),
        File(SYSUSERS, None, mode="0755"),  # Debian 12 has none
        File(SYSCTL_FILE, render("sysctl.conf.j2", sysctls=sysctls.items())),
        File(THP_FILE, render("thp.conf.j2", thp="never")),
    ]
    if version:
        files.append(File(APT_PIN_FILE, render("apt-preferences.j2", version=version)))
    if forwards or fences:
        files += [
            File(INNER_PORT_RULES, _inner_port_rules(forwards, fences)),
            File(f"{UNITS}/{INNER_PORT_UNIT}", _inner_port_unit(unit_digest(_inner_port_unit("")))),
        ]
    return files


def _begun_units(roles: Sequence[Role]) -> list[Unit]:
    """Of no role, as timers of backups: a start of one is none of a server."""
    return [Unit(f"{begun_unit(role.name)}.path", "enabled", "active") for role in roles if not role.appendonly]


def _saved_files(role: Role, text: str) -> list[File]:
    """What notes, at its first save, that a role without a log has data here; `text`: what it notes.

    With a log it has data from its first start on, which a deploy notes.
    """
    if role.appendonly:
        return []
    unit, directory, snapshot = begun_unit(role.name), data_directory(role.name), snapshot_file(role)
    values = {"role": role, "snapshot": snapshot, "data_directory": directory, "text": text}
    service = render("begun.service.j2", **values, begun=begun_file(role.name), records=RECORDS)
    return [
        File(f"{UNITS}/{unit}.service", service, role=role.name),
        File(f"{UNITS}/{unit}.path", render("begun.path.j2", **values), role=role.name),
    ]


def _role_files(instance: Instance) -> list[File]:
    role, user = instance.role, instance.user
    begun = render("begun.j2", role=role, data_directory=data_directory(role.name))
    return [
        File(begun_file(role.name), begun, role=role.name),
        *_saved_files(role, begun),
        File(
            account_file(role.name),
            render("sysusers.conf.j2", role=role, user=user, data_directory=data_directory(role.name)),
            role=role.name,
        ),
        File(data_directory(role.name), None, user, user, "0750", role.name),
        File(config_file(role.name), config_text(role, instance.settings), "root", user, "0640", role.name),
        File(acl_file(role.name), acl_text(instance.users), "root", user, "0640", role.name, secret=True),
        File(instance.unit_file, instance.unit_text, role=role.name),
        *_tls_files(instance),
    ]


def _tls_files(instance: Instance) -> list[File]:
    """What a role that speaks TLS reads; of none of it more than a digest leaves the host."""
    if instance.credentials is None:
        return []
    own = instance.credentials
    texts = (own.certificate + revealed(own.key), own.ca)
    files = [
        File(path, text, "root", instance.user, "0640", instance.name, secret=True)
        for path, text in zip(tls_files(instance.name), texts, strict=True)
    ]
    if instance.asks_certificates:
        files.append(File(trusted_file(instance.name), f"{sha256(own.ca)}\n", role=instance.name))
    return files


def _instance(
    role: Role, passwords: Mapping[str, str | None], awaited: Collection[str], requests: Requests
) -> Instance:
    finishing = tuple(named(requests.rotate_finish, role))
    # Of whom a finish drops the others they are still known here: its server may not have the newest yet.
    own = {name: all_of(passwords.get(name)) for name in sorted(users_of(role))}
    wanted = {name: finished(known) if name in finishing else known for name, known in own.items()}
    users = tuple(
        replace(
            _user(role, name, known, name in awaited),
            dropped_sha256=tuple(filter(None, map(sha256, own[name][len(known) :]))),
        )
        for name, known in wanted.items()
    )
    digest = unit_digest(_unit_text(role, ""))
    return Instance(role, settings(role), users, digest, _unit_text(role, digest), finishing=finishing)


def _user(role: Role, name: str, passwords: Sequence[str], awaits: bool) -> User:
    hashes = tuple(filter(None, map(sha256, passwords)))
    rules = OWN_USERS.get(name) or role.rights_of(name).rules
    return User(name, tuple(sorted(hashes)), rules, hashes[0] if hashes else None, awaits)


def _as_listed(network: IPv4Network) -> str:
    """A network as nft lists it."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _inner_port_rules(forwards: Sequence[Forward], fences: Sequence[Fence]) -> str:
    return render("inner-port.nft.j2", table=INNER_PORT_TABLE, forwards=forwards, chains=fence_chains(fences))


def _inner_port_unit(digest: str) -> str:
    return render("redis-inner-port.service.j2", table=INNER_PORT_TABLE, rules_file=INNER_PORT_RULES, digest=digest)


def settings(role: Role) -> dict[str, str]:
    """Every directive of a role's redis.conf: its own, and those that place and fence the instance."""
    placed = {
        "bind": " ".join(dict.fromkeys((str(role.address), role.reached))),
        "protected-mode": "yes",  # second fence, should the ACL file ever be lost (redis.io docs, security)
        "daemonize": "no",
        "supervised": "systemd",
        "pidfile": f"/run/redis-{role.name}/redis.pid",
        "logfile": "",  # the journal
        "always-show-logo": "no",
        "aclfile": acl_file(role.name),
        "enable-protected-configs": "no",
        "enable-debug-command": "no",
        "enable-module-command": "no",
        "dir": data_directory(role.name),
    }
    return {**role.directives(), **placed, **_tls_settings(role)}


def _tls_settings(role: Role) -> dict[str, str]:
    """What of a role's settings makes its ports speak TLS; nothing of one that does not."""
    if role.tls is None:
        return {}
    ports = {"port": str(role.plain_port or 0), "tls-port": str(role.tls_port)}
    # Of either of a pair: nothing has to be told when the two take each other's place.
    copies = {"tls-replication": "yes"} if role.copies_by_tls else {}
    return {**ports, **copies, **server_settings(role.tls.client_auth, *tls_files(role.name))}


def _unit_text(role: Role, digest: str) -> str:
    return render(
        "redis.service.j2",
        role=role,
        digest=digest,
        user=user_name(role.name),
        config_file=config_file(role.name),
        acl_file=acl_file(role.name),
        data_directory=data_directory(role.name),
        root=root_directory(role.name),
        manifest=manifest_file(role) if role.appendonly else "",
        data=loaded_file(role),
        snapshot=snapshot_file(role),
        marker=marker_file(role.name),
        begun=begun_file(role.name),
        guard=guard_file(role.name),
        descriptors=descriptors(role),
    )

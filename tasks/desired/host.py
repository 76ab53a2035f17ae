"""Desired state: everything that must be true of one host, from its roles and data alone. Nothing looks at a host."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tasks.catalogue.requested import NOTHING, Requests
from tasks.catalogue.roles import Role
from tasks.desired.paths import (
    APT_PIN_FILE,
    CONFIG_DIRECTORY,
    INNER_PORT_RULES,
    INNER_PORT_UNIT,
    PACKAGED_UNIT,
    SYSCTL_FILE,
    THP_FILE,
    UNITS,
    acl_file,
    config_file,
    data_directory,
    manifest_file,
    marker_file,
    previous_file,
    snapshot_file,
    start_files,
    unit_name,
)
from tasks.desired.rendering import acl_text, config_text, render

SPARE_DESCRIPTORS = 1024  # beyond maxclients: Redis keeps 32 for itself, modules and AOF files take some

OPERATOR = "operator"
OPERATOR_RULES = "~* &* +@all"
# What an application needs and no administration; `info` because client libraries ask it when they connect.
SERVICE_RULES = "~* &* +@all -@admin -@dangerous +info"


@dataclass(frozen=True)
class File:
    """A file (or, without content, a directory) with its owner, group and octal mode."""

    path: str
    content: str | None
    owner: str = "root"
    group: str = "root"
    mode: str = "0644"
    role: str | None = None
    secret: bool = False

    @property
    def observable(self) -> str | None:
        """What a look at the host says of the content: of a secret file its SHA-256 only."""
        return _sha256(self.content) if self.secret else self.content


@dataclass(frozen=True)
class Unit:
    """A systemd unit: `enabled` as systemctl is-enabled says it, `active` as is-active does."""

    name: str
    enabled: Literal["enabled", "masked", "absent"]
    active: Literal["active", "inactive"]
    role: str | None = None


@dataclass(frozen=True)
class User:
    """An ACL user; `password_sha256` is None while its password is still to be generated."""

    name: str
    password_sha256: str | None
    rules: str


@dataclass(frozen=True)
class Forward:
    """An inner port led to the assigned one on the same address."""

    role: str
    address: str
    inner_port: int
    port: int


@dataclass(frozen=True, eq=False)
class Instance:
    """A running server: every setting as CONFIG GET says it, its users, the digest of its unit's text."""

    role: Role
    settings: Mapping[str, str]
    users: tuple[User, ...]
    unit_digest: str
    unit_text: str

    @property
    def unit_file(self) -> str:
        return f"{UNITS}/{self.unit}"

    @property
    def name(self) -> str:
        return self.role.name

    @property
    def unit(self) -> str:
        return unit_name(self.role.name)

    @property
    def address(self) -> str:
        return str(self.role.address)

    @property
    def descriptors(self) -> int:
        """Open files that its process may have."""
        return _descriptors(self.role)


@dataclass(frozen=True)
class Host:
    """Everything that must be true of one host."""

    name: str
    roles: tuple[Role, ...]
    packages: Mapping[str, str | None]
    files: tuple[File, ...]
    absent: tuple[str, ...]
    units: tuple[Unit, ...]
    sysctls: Mapping[str, str]
    thp: str
    forwards: tuple[Forward, ...]
    instances: tuple[Instance, ...]
    redis_version: str | None = None
    statoverrides: Mapping[str, str] = field(default_factory=dict)
    requests: Requests = NOTHING


def desired_host(
    name: str,
    roles: Sequence[Role],
    passwords: Mapping[str, Mapping[str, str | None]],
    sysctls: Mapping[str, int | str],
    redis_version: str | None = None,
    requests: Requests = NOTHING,
) -> Host:
    """Everything that must be true of host `name` carrying `roles`.

    `passwords`: role → user → password, None for one still to be generated.
    """
    roles = tuple(sorted(roles, key=lambda role: role.name))
    forwards = tuple(
        Forward(role.name, str(role.address), role.forwarded_port, role.port)
        for role in roles
        if role.forwarded_port is not None
    )
    instances = tuple(_instance(role, passwords[role.name]) for role in roles)
    values = {key: str(value) for key, value in sorted(sysctls.items())}
    files = _host_files(values, forwards, redis_version) + [
        file for instance in instances for file in _role_files(instance)
    ]
    return Host(
        name=name,
        roles=roles,
        packages=_packages(forwards, redis_version),
        files=tuple(sorted(files, key=lambda file: file.path)),
        absent=_absent(roles, forwards, redis_version),
        units=_units(roles, forwards),
        sysctls=values,
        thp="never",
        forwards=forwards,
        instances=instances,
        redis_version=redis_version,
        statoverrides={CONFIG_DIRECTORY: "root redis 750"},
        requests=requests,
    )


def _packages(forwards: Sequence[Forward], version: str | None) -> dict[str, str | None]:
    packages: dict[str, str | None] = {"redis-server": version, "redis-tools": version}
    return packages | ({"nftables": None} if forwards else {})


def _absent(roles: Sequence[Role], forwards: Sequence[Forward], version: str | None) -> tuple[str, ...]:
    inner_port = () if forwards else (INNER_PORT_RULES, f"{UNITS}/{INNER_PORT_UNIT}")
    previous = (previous_file(path) for role in roles for path in start_files(role.name))
    return (*inner_port, *(() if version else (APT_PIN_FILE,)), *previous)


def _units(roles: Sequence[Role], forwards: Sequence[Forward]) -> tuple[Unit, ...]:
    inner_port = Unit(INNER_PORT_UNIT, "enabled", "active") if forwards else Unit(INNER_PORT_UNIT, "absent", "inactive")
    return (
        Unit(PACKAGED_UNIT, "masked", "inactive"),
        inner_port,
        *(Unit(unit_name(role.name), "enabled", "active", role.name) for role in roles),
    )


def _host_files(sysctls: Mapping[str, str], forwards: Sequence[Forward], version: str | None) -> list[File]:
    files = [
        File("/etc/apt/apt.conf.d/60-redis", render("apt-unattended.conf.j2")),
        File("/etc/needrestart", None, mode="0755"),
        File("/etc/needrestart/conf.d", None, mode="0755"),
        File("/etc/needrestart/conf.d/60-redis.conf", render("needrestart.conf.j2")),
        # The package makes it 2770 redis:redis: Redis itself could then rewrite what this tool wrote.
        File(CONFIG_DIRECTORY, None, "root", "redis", "0750"),
        File(SYSCTL_FILE, render("sysctl.conf.j2", sysctls=sysctls.items())),
        File(THP_FILE, render("thp.conf.j2", thp="never")),
    ]
    if version:
        files.append(File(APT_PIN_FILE, render("apt-preferences.j2", version=version)))
    if forwards:
        unit = render("redis-inner-port.service.j2", rules_file=INNER_PORT_RULES)
        files += [
            File(INNER_PORT_RULES, render("inner-port.nft.j2", forwards=forwards)),
            File(f"{UNITS}/{INNER_PORT_UNIT}", unit),
        ]
    return files


def _role_files(instance: Instance) -> list[File]:
    role = instance.role
    return [
        File(data_directory(role.name), None, "redis", "redis", "0750", role.name),
        File(config_file(role.name), config_text(role, instance.settings), "root", "redis", "0640", role.name),
        File(acl_file(role.name), acl_text(instance.users), "root", "redis", "0640", role.name, secret=True),
        File(instance.unit_file, instance.unit_text, role=role.name),
    ]


def _instance(role: Role, passwords: Mapping[str, str | None]) -> Instance:
    users = tuple(
        User(name, _sha256(passwords.get(name)), OPERATOR_RULES if name == OPERATOR else SERVICE_RULES)
        for name in sorted((*role.services, OPERATOR))
    )
    digest = hashlib.sha256(process_part(_unit_text(role, "")).encode()).hexdigest()[:16]
    return Instance(role, settings(role), users, digest, _unit_text(role, digest))


def process_part(unit_text: str) -> str:
    """What of a unit's text its running process depends on: not the assertions, which only the next start asks."""
    return "".join(line for line in unit_text.splitlines(keepends=True) if not line.startswith(("#", "Assert")))


def _sha256(password: str | None) -> str | None:
    return None if password is None else hashlib.sha256(password.encode()).hexdigest()


def settings(role: Role) -> dict[str, str]:
    """Every directive of a role's redis.conf: its own, and those that place and fence the instance."""
    placed = {
        "bind": str(role.address),
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
    return {**role.directives(), **placed}


def _unit_text(role: Role, digest: str) -> str:
    return render(
        "redis.service.j2",
        role=role,
        digest=digest,
        config_file=config_file(role.name),
        data_directory=data_directory(role.name),
        manifest=manifest_file(role) if role.appendonly else "",
        snapshot=snapshot_file(role),
        marker=marker_file(role.name),
        descriptors=_descriptors(role),
    )


def _descriptors(role: Role) -> int:
    return max(65535, role.maxclients + SPARE_DESCRIPTORS)

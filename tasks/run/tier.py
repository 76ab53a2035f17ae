"""The tier of one run: the desired state of every inventory host, or everything that is wrong with the data.

Reads the catalogue, the inventory's host data and the secrets file; contacts no host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyinfra.api.host import Host as PyinfraHost

from tasks.catalogue.data_names import idle_overrides, slips
from tasks.catalogue.ignored import NAME as IGNORE
from tasks.catalogue.ignored import ignore_problems, ignored
from tasks.catalogue.limits import NAME as HEALTH
from tasks.catalogue.limits import Limits, read_limits
from tasks.catalogue.requested import WORDS, Requests, malformed, requests, unmet
from tasks.catalogue.roles import Role, build_roles, read_catalogue, same_endpoint
from tasks.catalogue.secret import Secret
from tasks.catalogue.secrets_command import NAME as SECRETS_COMMAND
from tasks.catalogue.secrets_command import SecretsCommand, malformed_command, passwords_from
from tasks.catalogue.secrets_file import generate, judge, missing, read_passwords, to_paste, users_of
from tasks.catalogue.tls import Credentials, read_credentials
from tasks.desired.build import desired_host, host_without_roles
from tasks.desired.host import Host, Passwords
from tasks.desired.paths import unit_name

CATALOGUE = Path("group_data") / "roles.yaml"  # in the directory that pyinfra runs in, as all of group_data
GROUP_PREFIX = "redis_"
Source = Path | SecretsCommand  # of passwords


@dataclass(frozen=True)
class Tier:
    """Desired state and passwords by inventory host name, and the passwords made up for this run.

    `sources`: where each host's passwords are; `lacking`: the passwords that each of them has not, (role, user);
    `unplaced`: roles of the catalogue that no host carries.
    """

    hosts: Mapping[str, Host]
    passwords: Mapping[str, Passwords] = field(repr=False)
    generated: Mapping[Path, Mapping[tuple[str, str], str]] = field(default_factory=dict, repr=False)
    sources: Mapping[str, Source] = field(default_factory=dict)
    lacking: Mapping[Source, Sequence[tuple[str, str]]] = field(default_factory=dict)
    unplaced: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()  # about the passwords in the secrets files

    def placed(self, *names: str) -> dict[str, list[str]]:
        """Which of the hosts `names` carry each role."""
        found: dict[str, list[str]] = {}
        for name in names:
            for role in self.hosts[name].roles:
                found.setdefault(role.name, []).append(name)
        return found

    def notices(self) -> list[str]:
        """What a person should know of the tier as a whole, and what to do about it."""
        return [
            f"{role}: no host of the inventory carries this role of roles.yaml: put its host into group "
            f"{GROUP_PREFIX}{role}, or remove the role"
            for role in self.unplaced
        ] + list(self.doubts)


@dataclass(frozen=True)
class HostInput:
    """What the inventory says of one host, which may carry no role."""

    name: str
    roles: tuple[Role, ...]
    secrets: Source
    sysctls: Mapping[str, int | str]
    redis_version: str | None
    requests: Requests
    limits: Limits | None
    ignored: tuple[str, ...]


def build_tier(
    hosts: Iterable[PyinfraHost], inventory_file: str, new_passwords: bool, catalogue_file: Path = CATALOGUE
) -> tuple[Tier, list[str]]:
    """The tier of `hosts` and the problems with their data; a tier with problems must not be used.

    Missing passwords are generated when `new_passwords`, else they stay None.
    """
    inputs, unplaced, problems = read_inputs(hosts, inventory_file, catalogue_file)
    problems += same_endpoint({host.name: list(host.roles) for host in inputs})
    read: dict[Source, dict[str, dict[str, str]]] = {}
    lacking: dict[Source, list[tuple[str, str]]] = {}
    doubts: list[str] = []
    for source in sorted({host.secrets for host in inputs if host.roles}, key=str):
        read[source], wrong = read_passwords(source) if isinstance(source, Path) else passwords_from(source)
        problems += wrong
        needing = [role for host in inputs if host.secrets == source for role in host.roles]
        weak, doubtful = judge(source, read[source], needing)
        problems += weak
        doubts += doubtful
        lacking[source] = list(dict.fromkeys(missing(read[source], needing)))
        if isinstance(source, SecretsCommand) and lacking[source] and new_passwords and not wrong:
            problems += to_paste(str(source), lacking[source])
    generated = {
        source: {key: generate() for key in keys}
        for source, keys in lacking.items()
        if keys and new_passwords and isinstance(source, Path)
    }
    known = {
        source: _merged(own, generated.get(source, {}) if isinstance(source, Path) else {})
        for source, own in read.items()
    }
    passwords = {host.name: _passwords(host.roles, known.get(host.secrets, {})) for host in inputs}
    desired = {}
    for host in inputs:
        credentials, wrong = _credentials(host)
        problems += wrong
        desired[host.name] = _desired(host, passwords[host.name], credentials)
    sources = {host.name: host.secrets for host in inputs}
    return Tier(desired, passwords, generated, sources, lacking, unplaced, tuple(doubts)), problems


def _credentials(host: HostInput) -> tuple[dict[str, Credentials], list[str]]:
    """The certificates of a host's roles, and what is wrong with them."""
    found: dict[str, Credentials] = {}
    problems: list[str] = []
    now = datetime.now(UTC)
    for role in host.roles:
        if role.tls is not None:
            read, wrong = read_credentials(role.tls, role.address, users_of(role), now)
            found |= {} if read is None else {role.name: read}
            problems += [f"{host.name}: {role.name}: {problem}" for problem in wrong]
    return found, problems


def _desired(host: HostInput, passwords: Passwords, credentials: Mapping[str, Credentials]) -> Host:
    if not host.roles:
        return host_without_roles(host.name, host.requests)
    desired = desired_host(
        host.name, host.roles, passwords, host.sysctls, host.redis_version, host.requests, credentials
    )
    return replace(desired, limits=host.limits, ignored=host.ignored)


def _merged(known: Mapping[str, Mapping[str, str]], new: Mapping[tuple[str, str], str]) -> dict[str, dict[str, str]]:
    merged = {role: dict(users) for role, users in known.items()}
    for (role, user), password in new.items():
        merged.setdefault(role, {})[user] = password
    return merged


def _passwords(roles: Iterable[Role], known: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str | None]]:
    """Passwords of these roles' users, and those of other roles in the file: one may have left a server on the host."""
    hidden = {role: {user: Secret(text) for user, text in users.items()} for role, users in known.items()}
    wanted: dict[str, dict[str, str | None]] = {role: dict(users) for role, users in hidden.items()}
    for role in roles:
        # Beside its users, `default` of an old server whose data it adopts (tasks/observed/foreign.py).
        own = hidden.get(role.name, {})
        wanted[role.name] = {**own, **{user: own.get(user) for user in users_of(role)}}
    return wanted


def read_inputs(
    hosts: Iterable[PyinfraHost], inventory_file: str, catalogue_file: Path
) -> tuple[list[HostInput], tuple[str, ...], list[str]]:
    """What the inventory and the catalogue say of each host, the roles that none carries, and every problem."""
    if not catalogue_file.exists():
        return [], (), [f"{catalogue_file}: no such file in {Path.cwd()}: run pyinfra in the repository"]
    catalogue, problems = read_catalogue(catalogue_file.read_text(encoding="utf-8"))
    if catalogue is None:
        return [], (), problems
    sound = not problems
    inputs: list[HostInput] = []
    asked: list[tuple[list[str], Requests]] = []
    overridden: dict[str, tuple[list[str], list[str]]] = {}
    given: dict[str, list[str]] = {}
    for host in hosts:
        for word in host.data.dict():
            given.setdefault(word, []).append(host.name)
        names = sorted({group.removeprefix(GROUP_PREFIX) for group in host.groups if group.startswith(GROUP_PREFIX)})
        problems += [
            f"{host.name}: group {GROUP_PREFIX}{name} names no role of roles.yaml "
            f"(roles: {', '.join(sorted(catalogue.roles))}): correct the group or add the role"
            for name in names
            if name not in catalogue.roles
        ]
        asked.append((names, requests({word: host.data.get(word) for word in WORDS})))
        overrides = host.data.get("redis_overrides") or {}
        if not isinstance(overrides, Mapping):
            problems.append(f"{host.name}: redis_overrides: expected role → fields, observed {overrides!r}")
            continue
        overridden[host.name] = (names, [str(role) for role in overrides if role in catalogue.roles])
        source = f"{host.name}: redis_overrides"
        roles, wrong = build_roles(catalogue, overrides, source)
        # What the catalogue has wrong by itself is said of it already, and not of every host again.
        own = set() if sound else set(build_roles(catalogue, {}, source)[1])
        problems += [problem for problem in wrong if problem not in own]
        carried = tuple(roles[name] for name in names if name in roles)
        inputs.append(_input(host, carried, inventory_file))
        problems += _check(inputs[-1], host.data)
    if not any(item.roles for item in inputs) and not problems:
        source = inventory_file or "the inventory"
        problems.append(f"{source}: no host is in a group {GROUP_PREFIX}<role>: put each role's host there")
    problems += [*unmet(asked, catalogue.roles), *idle_overrides(overridden), *slips(given)]
    unplaced = sorted(set(catalogue.roles) - {name for names, _ in asked for name in names})
    return inputs, tuple(unplaced), problems


def _input(host: PyinfraHost, roles: tuple[Role, ...], inventory_file: str) -> HostInput:
    sysctls = host.data.get("redis_sysctl")
    return HostInput(
        name=host.name,
        roles=roles,
        secrets=_source(host.data, inventory_file),
        sysctls=sysctls if isinstance(sysctls, Mapping) else {},
        redis_version=host.data.get("redis_version"),
        requests=requests({word: host.data.get(word) for word in WORDS}),
        limits=read_limits(host.name, host.data.get(HEALTH))[0],
        ignored=ignored(host.data.get(IGNORE)),
    )


def _source(data: Any, inventory_file: str) -> Source:
    """Where a host's passwords are; what is wrong with that, `_check_source` says."""
    command, file = data.get(SECRETS_COMMAND), data.get("redis_secrets_file")
    if command is not None and not file and not malformed_command(command):
        return SecretsCommand(tuple(command))
    return Path(str(file or Path("secrets") / f"{Path(inventory_file).stem or 'inventory'}.yaml"))


def _check_source(name: str, data: Any) -> Iterable[str]:
    """Problems with where a host's passwords are."""
    command, file = data.get(SECRETS_COMMAND), data.get("redis_secrets_file")
    if not isinstance(file or "", str | Path):
        yield f"{name}: redis_secrets_file: expected a path, observed {file!r}"
    if command is None:
        return
    if problem := malformed_command(command):
        yield f"{name}: {problem}"
    elif file:
        yield f"{name}: {SECRETS_COMMAND} and redis_secrets_file are both there, expected one of them: remove one"


def _check(host: HostInput, data: Any) -> Iterable[str]:
    """Problems with one host's own data, beside those of its roles."""
    yield from malformed(host.name, {word: data.get(word) for word in WORDS})
    if not isinstance(data.get("allow_eviction", False), bool):
        yield f"{host.name}: allow_eviction: expected true or false, observed {data.get('allow_eviction')!r}"
    yield from read_limits(host.name, data.get(HEALTH))[1]
    yield from ignore_problems(host.name, data.get(IGNORE), host.roles, [unit_name(role.name) for role in host.roles])
    yield from _check_source(host.name, data)
    if host.redis_version is not None and not isinstance(host.redis_version, str):
        yield f"{host.name}: redis_version: expected a Debian version in quotes, observed {host.redis_version!r}"
    if not isinstance(data.get("redis_sysctl"), Mapping):
        yield f"{host.name}: redis_sysctl: expected the mapping of group_data/all.py: run pyinfra in the repository"
        return
    for name, value in host.sysctls.items():
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield f"{host.name}: redis_sysctl: {name}: expected a number or text, observed {value!r}"
    yield from _check_backlog(host)


def _check_backlog(host: HostInput) -> Iterable[str]:
    """The kernel cuts an accept backlog to its own ceiling without a word."""
    ceiling = str(host.sysctls.get("net.core.somaxconn", "4096"))
    if not ceiling.isdigit():
        yield f"{host.name}: redis_sysctl: net.core.somaxconn: expected a number, observed {ceiling!r}"
        return
    for role in host.roles:
        if role.tcp_backlog > int(ceiling):
            yield (
                f"{host.name}: {role.name}: tcp_backlog {role.tcp_backlog} is above net.core.somaxconn {ceiling}, "
                f"which would cut it silently: lower it in roles.yaml or raise redis_sysctl"
            )

"""What a service needs in order to connect: a file of environment variables for each, a list of them all. Pure.

The values are written so that systemd's EnvironmentFile, docker's env-file and a shell read the same: without quotes,
of characters that none of them and no URL takes for anything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from types import MappingProxyType

from tasks.catalogue.roles import Role
from tasks.catalogue.secret import revealed

INNER = "inner"
PORTS = ("assigned", INNER)
HEAD = "# Written by tasks/endpoints.py: how {} reaches Redis. It holds passwords.\n"
OURS = re.compile(re.escape(HEAD).replace(r"\{\}", r"[A-Za-z0-9._-]+"))
PLAIN = re.compile(r"[A-Za-z0-9._-][A-Za-z0-9._~-]*")  # what RFC 3986 calls unreserved; a shell expands a first ~
DATABASE = 0  # the one that services use
NO_COMMANDS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Access:
    """A service's way into one role."""

    service: str
    role: Role
    host: str  # of the inventory
    password: str = field(repr=False)
    tls_files: Mapping[str, str] = field(default_factory=dict)  # how a variable ends → the path that it has


def accesses(
    carried: Iterable[tuple[str, Role]],
    passwords: Mapping[str, Mapping[str, Mapping[str, str | None]]],
    commands: Mapping[str, str] = NO_COMMANDS,
) -> tuple[list[Access], list[str]]:
    """Every service's way into every role, and why a file of it could not be used.

    `carried`: (host, role) of a run; `passwords`: host → role → user → password, None where it is not known;
    `commands`: host → the command that prints its passwords, of a host without a secrets file.
    """
    found: list[Access] = []
    hosts: dict[str, list[str]] = {}
    problems: list[str] = []
    for host, role in sorted(carried, key=lambda item: (item[1].name, item[0])):
        hosts.setdefault(role.name, []).append(host)
        own = passwords[host][role.name]
        lacking = [service for service in role.services if not own.get(service)]
        odd = [service for service in role.services if own.get(service) and not _is_plain(own[service])]
        command = commands.get(host)
        source, add = (command, "add it there, and") if command else ("the secrets file", "bring the file back, or")
        problems += [
            f"{role.name}: {source} has no password for {service}, expected one: {add} deploy" for service in lacking
        ]
        problems += [
            f"{role.name}: the password of {service} has other characters than letters, digits and . _ - or ~ behind "
            f"the first, which URLs and shells read otherwise: deploy with --data rotate={role.name}:{service}, which "
            f"{'says how to put one' if command else 'puts one'} of letters and digits first"
            for service in odd
        ]
        found += [Access(service, role, host, own[service] or "") for service in role.services]
    problems += [
        f"{name}: {' and '.join(names)} carry it, expected one host: name that by --limit"
        for name, names in hosts.items()
        if len(names) > 1
    ]
    return found, [*problems, *_alike(hosts)]


def _is_plain(password: str | None) -> bool:
    return password is not None and PLAIN.fullmatch(revealed(password)) is not None


def _alike(names: Iterable[str]) -> Iterable[str]:
    """Roles whose variables would have one name."""
    prefixes: dict[str, list[str]] = {}
    for name in names:
        prefixes.setdefault(prefix(name), []).append(name)
    for text, both in sorted(prefixes.items()):
        if len(both) > 1:
            yield f"{' and '.join(both)}: both would be {text}_URL, expected names that differ by more than - and _"


def prefix(role: str) -> str:
    """How the names of a role's variables begin."""
    return f"REDIS_{role.upper().replace('-', '_')}"


def environment_files(found: Sequence[Access], inner: bool = False) -> dict[str, str]:
    """Name → text of every service's file, role by role; `inner`: with the inner ports, where roles have one."""
    own = {name: [item for item in found if item.service == name] for name in sorted({item.service for item in found})}
    return {f"{name}.env": _environment(name, items, inner) for name, items in own.items()}


def _environment(service: str, own: Iterable[Access], inner: bool) -> str:
    lines = []
    for item in own:
        name, address, number = prefix(item.role.name), item.role.address, item.role.way_in(inner)
        password = revealed(item.password)
        lines += [
            f"{name}_URL={'rediss' if item.role.speaks_tls(number) else 'redis'}://{service}:{password}@{address}:{number}/{DATABASE}",
            f"{name}_HOST={address}",
            f"{name}_PORT={number}",
            f"{name}_USERNAME={service}",
            f"{name}_PASSWORD={password}",
            *(f"{name}_{end}={path}" for end, path in item.tls_files.items() if item.role.speaks_tls(number)),
        ]
    return HEAD.format(service) + "".join(f"{line}\n" for line in lines)


def _tls(item: Access) -> dict[str, object] | None:
    """How a role speaks TLS: on which ports, and the names of the files beside this list; None of one that does not."""
    role = item.role
    if role.tls is None:
        return None
    names = {end.lower(): PurePath(path).name for end, path in sorted(item.tls_files.items())}
    ports = [port for port in role.ports if role.speaks_tls(port)]
    return {"ports": ports, "client_auth": role.tls.client_auth, **names}


VERSION = 1  # of the list


def listed_services(text: str) -> dict[str, dict[str, object]]:
    """service → what a list says of it. Raises ValueError for what `as_json` has not written."""
    known = json.loads(text)
    services = known.get("services") if isinstance(known, dict) and known.get("version") == VERSION else None
    if not isinstance(services, dict) or not all(isinstance(item, dict) for item in services.values()):
        raise ValueError("no list of services")
    return services


def as_json(found: Iterable[Access], kept: Mapping[str, object] = MappingProxyType({})) -> str:
    """service → role → where it answers and as whom, without passwords, for inventories of others.

    `kept`: what is said of services that are not of this run.
    """
    services: dict[str, dict[str, object]] = {}
    for item in found:
        services.setdefault(item.service, {})[item.role.name] = {
            "host": item.host,
            "address": str(item.role.address),
            "port": item.role.port,
            "inner_port": item.role.inner_port,
            "username": item.service,
            "database": DATABASE,
            "tls": _tls(item),
        }
    return json.dumps({"version": VERSION, "services": {**kept, **services}}, indent=2, sort_keys=True) + "\n"

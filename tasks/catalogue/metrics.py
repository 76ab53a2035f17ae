"""Metrics of a host's roles by HTTP: `redis_metrics` of host or group data at the door. Off unless it is set. Pure.

Debian's prometheus-redis-exporter asks the servers; here is where an operator wants it (docs/decisions/0030).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tasks.catalogue.roles import Role, describe, networks

NAME = "redis_metrics"
METRICS = "metrics"  # the ACL user that the exporter logs in as
FORM = "172.28.2.1:9121"


def _place(value: str) -> str:
    match = re.fullmatch(r"([0-9.]{7,15}):([1-9][0-9]{0,4})", value)
    try:
        address = IPv4Address(match[1]) if match else None
    except AddressValueError:
        address = None
    if match is None or address is None or int(match[2]) > 65535:
        raise ValueError(f"{value!r}: write an IPv4 address of the host and a port, as {FORM}")
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"{value!r} is no address of one host: write the one that Prometheus connects to, as {FORM}")
    return value


class Metrics(BaseModel):
    """Where one host's exporter listens, for all of its roles; `allow_from`: who may connect, everybody if None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: Annotated[str, Field(strict=True, max_length=21), AfterValidator(_place)]
    allow_from: Annotated[tuple[IPv4Network, ...] | None, BeforeValidator(networks)] = None

    @property
    def host(self) -> str:
        """The address without its port."""
        return self.address.partition(":")[0]

    @property
    def port(self) -> int:
        """The port alone."""
        return int(self.address.partition(":")[2])


@dataclass(frozen=True)
class Source:
    """What a host's data says of its metrics, None of none, and what is wrong with that."""

    metrics: Metrics | None
    problems: tuple[str, ...] = ()


def read_metrics(host: str, value: object, roles: Iterable[Role]) -> Source:
    """One host's metrics; `roles`: those that it carries."""
    if value is None:
        return Source(None)
    if not isinstance(value, Mapping):
        wanted = f"{{'address': '{FORM}'}}"
        return Source(None, (f"{host}: {NAME}: expected {wanted}, observed {value!r}: correct it",))
    try:
        metrics = Metrics.model_validate(dict(value))
    except ValidationError as error:
        return Source(None, tuple(f"{host}: {NAME}: {line}" for line in describe(error, "add it")))
    return Source(metrics, tuple(_of_roles(host, metrics, roles)))


def _of_roles(host: str, metrics: Metrics, roles: Iterable[Role]) -> Iterator[str]:
    for role in roles:
        if str(role.address) == metrics.host and metrics.port in role.ports:
            yield f"{host}: {NAME}: address: {metrics.address} is a port of {role.name}: choose another one"


def same_place(asked: Mapping[str, Metrics | None]) -> list[str]:
    """Problems with places that several hosts claim; each host has a loopback of its own. `asked`: by host name."""
    owners: dict[str, list[str]] = {}
    for name, metrics in sorted(asked.items()):
        if metrics is not None and not IPv4Address(metrics.host).is_loopback:
            owners.setdefault(metrics.address, []).append(name)
    return [
        f"{NAME}: {address} is claimed by {' and '.join(names)}: give each host an address of its own"
        for address, names in sorted(owners.items())
        if len(names) > 1
    ]


def measured(roles: Iterable[Role], metrics: Metrics | None) -> tuple[Role, ...]:
    """The roles of a host, marked where they are measured."""
    return tuple(role if metrics is None else role.model_copy(update={"measured": True}) for role in roles)

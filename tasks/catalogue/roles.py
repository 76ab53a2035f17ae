"""The catalogue at the door: roles.yaml and its overrides become validated, frozen roles, or a list of problems."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from tasks.catalogue.acl_rules import DEFAULT, OPERATOR, REPLICATION
from tasks.catalogue.clients import client_problem, with_fitting_clients
from tasks.catalogue.directives import Flag, Port, Settings, text_rule
from tasks.catalogue.given_tls import TLS
from tasks.catalogue.rights import FIELDS, OWN_RIGHTS, SERVICES, Rights, services_over, with_own_rights
from tasks.catalogue.tls import Tls

# Those that nobody logs in as yet are promised to what is to come.
# The last is no user: what stands in the place of one among the secrets.
RESERVED_USERS = (DEFAULT, OPERATOR, "reader", "metrics", "backup", REPLICATION, TLS)
DEFAULTS = "defaults"  # the block of roles.yaml that every role inherits


def _plain_address(value: IPv4Address) -> IPv4Address:
    if value.is_unspecified or value.is_multicast or value.is_loopback:
        raise ValueError(f"{value} is not an address of one host: write the address that clients connect to")
    return value


NO_NETWORK = "is no IPv4 network: write it as 10.8.0.0/16, or one address as 10.9.1.7"


def networks(value: object) -> tuple[IPv4Network, ...] | None:
    """Networks in order, none of them in another, or None; what is wrong with them in words."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"{value!r}: list the networks that may connect, as [10.8.0.0/16, 10.9.1.7], or leave it out")
    return tuple(collapse_addresses(map(_network, value)))


def _network(value: object) -> IPv4Network:
    if isinstance(value, IPv4Network):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[0-9.]{7,15}(/[0-9]{1,2})?", value):
        raise ValueError(f"{value!r} {NO_NETWORK}")
    try:
        network = IPv4Network(value, strict=False)
    except ValueError as error:
        raise ValueError(f"{value!r} {NO_NETWORK}") from error
    if IPv4Address(value.partition("/")[0]) != network.network_address:
        raise ValueError(f"{value!r} has bits of a host: write {network}, or the one address without /")
    if network.prefixlen == 0:
        raise ValueError(f"{value!r} is everybody: leave allow_from out")
    return network


Text = Annotated[str, text_rule(str)]
# Of the length that, with .env behind it, is the name of a file everywhere.
UserName = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
ROLE_NAME = r"^[a-z][a-z0-9_-]{0,30}$"
OURS = ("name", OWN_RIGHTS, "backed_up", "measured", "paired", "own_address")  # fields of a Role that no file says
# With redis- before it, it is the name of a user, of at most 31 characters.
RoleName = Annotated[str, Field(strict=True, pattern=ROLE_NAME, max_length=25)]


class Role(Settings, Rights):
    """One Redis instance of the platform: what it is for, where it answers, how it is set.

    Memory is in bytes. `allow_from`: who may connect, everybody where it is None. Its rights are those of each service
    that has none of its own. `tls`: both ports speak TLS; `plain_inner_port`: all but the inner one.
    Source: group_data/roles.yaml and the `redis_overrides` of one host.
    """

    name: RoleName
    purpose: Text
    address: Annotated[IPv4Address, AfterValidator(_plain_address)]
    inner_port: Port | None
    allow_from: Annotated[tuple[IPv4Network, ...] | None, BeforeValidator(networks)] = None
    tls: Tls | None = None
    plain_inner_port: Flag = False
    services: Annotated[tuple[UserName, ...], Field(min_length=1)]
    own_rights: Annotated[Mapping[str, Rights], Field(alias=OWN_RIGHTS)]
    stores: tuple[Text, ...]
    reason: Text
    backed_up: Flag = False  # as its host's redis_backup says (tasks/catalogue/backup.py)
    measured: Flag = False  # as its host's redis_metrics says (tasks/catalogue/metrics.py)
    paired: Flag = False  # as a group says: it has a standby (tasks/catalogue/standby.py)
    own_address: IPv4Address | None = None  # of its host, of one whose address goes along with who serves it (ibid.)

    @model_validator(mode="after")
    def _services_are_distinct_users(self) -> Role:
        doubles = sorted({service for service in self.services if self.services.count(service) > 1})
        reserved = sorted(set(self.services) & set(RESERVED_USERS))
        if doubles:
            raise ValueError(f"services: {', '.join(doubles)} is listed twice: list each service once")
        if reserved:
            raise ValueError(f"services: {', '.join(reserved)} is a user of Redis or of this tool: rename it")
        return self

    @model_validator(mode="after")
    def _clients_fit_into_memory(self) -> Role:
        problem = client_problem(self.maxclients, self.maxmemory, self.maxmemory_clients)
        if problem:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _ports_speak_one_way(self) -> Role:
        own = self.tls.port if self.tls else None
        if own is not None and own in (self.port, self.inner_port):
            raise ValueError(f"tls.port: {own} is a port of the role in clear: name another one")
        if not self.plain_inner_port:
            return self
        if self.tls is None:
            raise ValueError("plain_inner_port: true, and the role has no tls: remove it, or add tls")
        if self.inner_port in (None, self.port):
            raise ValueError(
                "plain_inner_port: true, and inner and assigned port are one: change one of them, or remove "
                "plain_inner_port"
            )
        if own is not None:
            raise ValueError("plain_inner_port and tls.port are both there: with tls.port both ports are in clear")
        return self

    def rights_of(self, service: str) -> Rights:
        """What one of the services may do."""
        return self.own_rights.get(service, self)

    @property
    def reached(self) -> str:
        """The address on which its server listens on its host, whether it serves there or is the standby."""
        return str(self.own_address or self.address)

    @property
    def forwarded_port(self) -> int | None:
        """The inner port when it has to be led to the assigned one; None when they are one, or there is none.

        In clear beside TLS the server listens there itself.
        """
        return self.inner_port if self.inner_port != self.port and not self.plain_inner_port else None

    @property
    def listens_on(self) -> tuple[int, ...]:
        """The ports that its server itself listens on, the assigned one first."""
        more = self.inner_port if self.plain_inner_port else self.tls.port if self.tls else None
        return (self.port,) if more is None else (self.port, more)

    @property
    def tls_port(self) -> int | None:
        """Of these, the one that speaks TLS."""
        return None if self.tls is None else self.tls.port or self.port

    @property
    def plain_port(self) -> int | None:
        """Of these, the one that does not."""
        return next((port for port in self.listens_on if port != self.tls_port), None)

    def speaks_tls(self, port: int) -> bool:
        """Whether a client of the role speaks TLS on this port of it."""
        return self.tls_port is not None and (self.port if port == self.forwarded_port else port) == self.tls_port

    @property
    def copies_by_tls(self) -> bool:
        """Whether its two servers speak TLS to each other: where they meet, which is its assigned port."""
        return self.paired and self.speaks_tls(self.port)

    def way_in(self, inner: bool) -> int:
        """The port that its services are told; a role without an inner one has the assigned one only.

        While it changes over to TLS on a port of its own, that one.
        """
        if self.tls is not None and self.tls.port is not None:
            return self.tls.port
        return self.inner_port if inner and self.inner_port is not None else self.port

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port the role answers on, the assigned one first."""
        return self.listens_on if self.forwarded_port is None else (*self.listens_on, self.forwarded_port)

    def directives(self) -> dict[str, str]:
        """Every setting of the role as directive name → the value CONFIG GET answers with."""
        return {name.replace("_", "-"): _redis_text(getattr(self, name)) for name in sorted(Settings.model_fields)}


def _redis_text(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


class Catalogue(BaseModel):
    """roles.yaml as read: shapes checked, values not yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    defaults: dict[str, Any] = Field(default_factory=dict)
    roles: dict[str, dict[str, Any]]


class _UniqueKeys(yaml.CSafeLoader):
    """YAML in which a key may stand once: of two equal ones the last would win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        doubles = sorted({name for name in names if names.count(name) > 1})
        if doubles:
            line = node.start_mark.line + 1
            raise ValueError(f"{', '.join(doubles)} stands twice in the block at line {line}: keep one")
        return super().construct_mapping(node, deep)


def read_catalogue(text: str) -> tuple[Catalogue | None, list[str]]:
    """The catalogue in `text` (YAML), or None and what is wrong with it, one line per problem."""
    try:
        data = yaml.load(text, Loader=_UniqueKeys)
        if data is None:
            return None, ["roles.yaml: nothing is in it, expected `defaults` and `roles`: bring the file back"]
        catalogue = Catalogue.model_validate(data)
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, ValidationError):
            return None, [f"roles.yaml: {line}" for line in describe(error)]
        return None, [f"roles.yaml: not readable as YAML: {' '.join(str(error).split())}"]
    _, problems = build_roles(catalogue, {}, "roles.yaml")
    return catalogue, problems


def build_roles(catalogue: Catalogue, overrides: Mapping[str, Any], source: str) -> tuple[dict[str, Role], list[str]]:
    """Every role of the catalogue with `overrides` (role → fields) merged in, and the problems found.

    `source` opens each problem's line: where the person looks first.
    """
    problems = [
        f"{source}: {name}: overrides name a role that roles.yaml does not have "
        f"(roles: {', '.join(sorted(catalogue.roles))}): correct the name"
        for name in overrides
        if name not in catalogue.roles
    ]
    roles: dict[str, Role] = {}
    said: dict[str, set[str]] = {}
    for name in sorted(catalogue.roles):
        override = overrides.get(name, {})
        if not isinstance(override, Mapping):
            problems.append(f"{source}: {name}: {override!r} is not a mapping of fields to values")
            continue
        fields = _laid_over(_laid_over(catalogue.defaults, catalogue.roles[name]), override)
        problems += [
            f"{source}: {name}: {key}: unknown key: correct its spelling or remove it" for key in OURS if key in fields
        ]
        try:
            roles[name] = Role.model_validate({"name": name, **with_own_rights(with_fitting_clients(fields))})
        except ValidationError as error:
            for line in describe(error):
                field = re.split(r"[.:]", line, maxsplit=1)[0]
                inherited = field in catalogue.defaults and field not in catalogue.roles[name] and field not in override
                said.setdefault(line, set()).add(DEFAULTS if inherited else name)
    # What defaults have wrong, or lack, every role would say again.
    for line, names in said.items():
        everybody = len(names) > 1 and names == set(catalogue.roles)
        problems += [f"{source}: {where}: {line}" for where in ([DEFAULTS] if everybody else names)]
    return roles, sorted(problems)


def _laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a role with another layer's laid over them."""
    merged = merge(base, over)
    if SERVICES in base and SERVICES in over:
        merged[SERVICES] = services_over(base[SERVICES], merged[SERVICES])
    return merged


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on it: mappings merge at every depth, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


SHOWN = 64  # characters of what was given below tls: a private key is longer
_WORDS = {
    "extra_forbidden": "unknown key: correct its spelling or remove it",
    "too_short": "empty: list at least one",
}


def describe(error: ValidationError, missing: str = "add it to the role or to defaults") -> list[str]:
    """One line per problem: `field: observed, expected`, in a stable order; `missing` is what to do about a field."""
    words = {**_WORDS, "missing": f"missing: {missing}"}
    lines = []
    for problem in error.errors(include_url=False):
        where = ".".join(SERVICES if part == OWN_RIGHTS else str(part) for part in problem["loc"])
        kind = problem["type"]
        said = words.get(kind) or problem["msg"].removeprefix("Value error, ")
        if kind not in words and kind != "value_error":
            # Below tls a person may have put the key itself, in the place of its file's name.
            given = repr(problem["input"])
            if "tls" in problem["loc"] and len(given) > SHOWN:
                given = "something long"
            said = f"{given} was given: {said[0].lower()}{said[1:]}"
            said = said.replace("a valid tuple", "a list").replace(
                "a valid dictionary or instance of Rights", "a mapping"
            )
        if kind == "extra_forbidden" and OWN_RIGHTS in problem["loc"]:
            said = f"{said}; a service has {', '.join(FIELDS)}"
        lines.append(f"{where}: {said}" if where else said)
    return sorted(lines)


def same_endpoint(roles: Mapping[str, list[Role]], pairs: Collection[str] = ()) -> list[str]:
    """Problems with endpoints claimed twice. `roles`: host name → the roles it carries.

    `pairs`: roles with a standby, which may have one address on both hosts (tasks/catalogue/along.py).
    """
    owners: dict[tuple[IPv4Address, int], dict[str, str]] = {}
    for host in sorted(roles):
        for role in roles[host]:
            claim = f"{role.name} on {host}"
            for port in role.ports:
                owners.setdefault((role.address, port), {}).setdefault(
                    role.name if role.name in pairs else claim, claim
                )
            for port in role.listens_on if role.own_address else ():
                owners.setdefault((IPv4Address(role.reached), port), {})[claim] = claim
    return [
        f"{address}:{port} is claimed by {' and '.join(claims.values())}: give each role an address and port of its own"
        for (address, port), claims in sorted(owners.items())
        if len(claims) > 1
    ]


__all__ = ["Catalogue", "Role", "build_roles", "describe", "merge", "read_catalogue"]

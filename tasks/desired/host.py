"""The shapes of desired state: what must be true of one host, ready to be compared with what is seen of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tasks.catalogue.backup import LATE, PERIODS, Backup
from tasks.catalogue.limits import Limits
from tasks.catalogue.requested import NOTHING, Requests
from tasks.catalogue.roles import Role
from tasks.catalogue.tls import Credentials
from tasks.desired.paths import UNITS, address_unit, unit_name, user_name

Passwords = Mapping[str, Mapping[str, str | None]]  # role → user → password, None for one still to be generated

USER_NAMESPACES = "user.max_user_namespaces"  # a kernel value that PrivateUsers= of the units depends on
REDIS_DESCRIPTORS = 32  # beyond maxclients, for itself (server.h: CONFIG_MIN_RESERVED_FDS)
SPARE_DESCRIPTORS = 1024  # beyond maxclients: those, modules and AOF files


@dataclass(frozen=True)
class File:
    """A file (or, without content, a directory) with its owner, group and octal mode."""

    path: str
    content: str | None = field(repr=False)  # of a secret one, hashes of passwords
    owner: str = "root"
    group: str = "root"
    mode: str = "0644"
    role: str | None = None
    secret: bool = False

    @property
    def observable(self) -> str | None:
        """What a look at the host says of the content: of a secret file its SHA-256 only."""
        return sha256(self.content) if self.secret else self.content


@dataclass(frozen=True)
class Unit:
    """A systemd unit: `enabled` as systemctl is-enabled says it, `active` as is-active does.

    `digest`: of the text that its process has to be started from; empty where an `Instance` has it, or nothing runs.
    """

    name: str
    enabled: Literal["enabled", "masked", "absent"]
    active: Literal["active", "inactive"]
    role: str | None = None
    digest: str = ""


@dataclass(frozen=True)
class User:
    """An ACL user; `passwords_sha256`: of all that let it in, in no order; empty while one is still to be generated.

    `awaits`: one more is to be generated beside them. `dropped_sha256`: of those that a finish drops, as far
    as they are known here.
    """

    name: str
    passwords_sha256: tuple[str, ...] = field(repr=False)
    rules: str
    newest_sha256: str | None = field(default=None, repr=False)  # of the one that is handed out
    awaits: bool = False
    dropped_sha256: tuple[str, ...] = field(default=(), repr=False)

    @property
    def has_several(self) -> bool:
        """Whether more than one password lets it in, or is to: its rotation is under way."""
        return len(self.passwords_sha256) + self.awaits > 1


@dataclass(frozen=True)
class Forward:
    """An inner port led to the assigned one on the same address."""

    role: str
    address: str
    inner_port: int
    port: int


@dataclass(frozen=True)
class Fence:
    """Who may connect to a role, or to the exporter of metrics, from elsewhere: networks as nft lists them."""

    role: str
    address: str
    port: int
    networks: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """A role that this host and another one have: one of the two serves it, the other, its standby, replicates it.

    `there`: where the other one's server listens. `is_standby`: whether this host's is the standby, as the hosts say
    once they were seen (tasks/compare/pairs.py), until then as the inventory does. `says` and `files`: of a standby,
    whether this host's is one or not.
    """

    role: str
    peer: str  # inventory name
    there: tuple[str, int]
    is_standby: bool
    by_inventory: bool  # whether the inventory says that it is the standby
    backed_up_there: bool = False  # by the other one's redis_backup
    ssh_there: str = ""  # where SSH goes to, on the other one
    own_there: str = ""  # its redis_own_address
    primary: str = ""  # the version of Redis that serves, where it is the other one's, as far as that was seen
    says: Mapping[str, str] = field(default_factory=dict, repr=False)  # beside its role's settings, as CONFIG GET does
    files: tuple[File, ...] = field(default=(), repr=False)  # what it is started from, and what starts it so


@dataclass(frozen=True, eq=False)
class Instance:
    """A running server: every setting as CONFIG GET says it, its users, the digest of its unit's text.

    `following`: what a standby says beside those, its primary and the password for it among them; empty of any other.
    """

    role: Role
    settings: Mapping[str, str]
    users: tuple[User, ...]
    unit_digest: str
    unit_text: str
    accepts_loss: bool = False  # the operator gives up what a start skipped in its log, or a log that is gone
    new_passwords: bool = False  # the operator replaces passwords that its users have
    finishing: tuple[str, ...] = ()  # users of which the operator drops all passwords but the newest
    rotated: frozenset[str] = frozenset()  # users of whom the controller keeps a step of a rotation
    switches_tls: bool = False  # the operator locks out who still connects as before
    credentials: Credentials | None = None  # of its TLS
    following: Mapping[str, str] = field(default_factory=dict, repr=False)
    held_there: str = ""  # what the other host of its pair has of its data, in words, where it is gone on this one

    @property
    def is_standby(self) -> bool:
        """Whether it replicates the role's server on another host."""
        return bool(self.following)

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
    def user(self) -> str:
        return user_name(self.role.name)

    @property
    def address(self) -> str:
        return str(self.role.address)

    @property
    def where(self) -> tuple[str, int]:
        """Where it is spoken to on its host, whether it serves there or is the standby."""
        return self.role.reached, self.role.port

    @property
    def bound(self) -> tuple[str, ...]:
        """The addresses that it listens on: a standby has none that is where its role is served."""
        goes_along = self.role.own_address is not None
        return tuple(dict.fromkeys([*([] if goes_along and self.is_standby else [self.address]), self.role.reached]))

    @property
    def asks_certificates(self) -> bool:
        """Whether its clients may or must show certificates, which its ca has signed."""
        return self.credentials is not None and self.settings.get("tls-auth-clients", "no") != "no"

    @property
    def needed_descriptors(self) -> int:
        """Open files without which Redis lowers maxclients."""
        return self.role.maxclients + REDIS_DESCRIPTORS

    @property
    def descriptors(self) -> int:
        """Open files that its process may have."""
        return descriptors(self.role)


@dataclass(frozen=True)
class Away:
    """Copies that another host makes of a role and this one proves; `passwords`: of that host's roles.

    `also`: the other host of the role's pair, where either makes them.
    """

    host: str
    role: Role
    backup: Backup
    passwords: Passwords = field(repr=False)
    also: str = ""


@dataclass(frozen=True)
class Plan:
    """The backups of one role: where to, when, and what its units are told.

    `of`: the host that makes the copies, where this one only proves them; empty where it makes them. `also`: the other
    host of the role's pair, where the one that serves makes them.
    """

    role: Role
    backup: Backup
    parameters: Mapping[str, str]
    of: str = ""
    on_both: bool = False  # of a pair whose hosts both have backups: the one that serves makes copies
    also: str = ""

    @property
    def homes(self) -> tuple[str, ...]:
        """The hosts whose copies this one only proves."""
        return tuple(filter(None, (self.of, self.also)))

    @property
    def whose(self) -> str:
        """Those in words, empty where it makes the copies."""
        return " or ".join(self.homes)

    @property
    def is_proved_here(self) -> bool:
        """Whether the proof runs on the host that has this plan."""
        return bool(self.of) or self.backup.prover(self.role.name) is None

    @property
    def too_old(self) -> int:
        """Seconds after which its last copy is too old."""
        return LATE * PERIODS[self.backup.schedule]

    @property
    def proof_too_old(self) -> int:
        """Seconds after which its last proof is too old."""
        return LATE * PERIODS[self.backup.prove]


@dataclass(frozen=True)
class OwnAddress:
    """A role's address that this tool keeps on an interface of its host; `digest`: of the text of its unit.

    `there`: the host that has it instead, where the role's address goes along with who serves it and that one does.
    """

    role: Role
    interface: str
    digest: str
    there: str = ""

    @property
    def unit(self) -> str:
        return address_unit(self.role.name)


@dataclass(frozen=True)
class Exporter:
    """What measures the roles of one host: where it listens, how a scrape names each role, and what it is started with.

    `files`: by the name of the credential that its process gets each one as.
    """

    address: str
    port: int
    targets: Mapping[str, str]
    files: Mapping[str, File] = field(repr=False)

    @property
    def place(self) -> str:
        """Where Prometheus finds it."""
        return f"{self.address}:{self.port}"


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
    limits: Limits | None = None  # of its health; None where there is nothing to judge
    fences: tuple[Fence, ...] = ()
    ignored: tuple[str, ...] = ()  # units and sockets of other Redis servers that are to stay
    backups: tuple[Plan, ...] = ()  # of its roles
    proofs: tuple[Plan, ...] = ()  # what is proved there: copies of its roles, and of other hosts'
    addresses: tuple[OwnAddress, ...] = ()  # none where the network gives them
    exporter: Exporter | None = None  # of metrics
    pairs: tuple[Pair, ...] = ()  # of its roles that have a standby
    leaving: Mapping[str, Credentials] = field(default_factory=dict, repr=False)  # of roles that other hosts carry
    ssh: str = ""  # where SSH goes to
    own_address: str | None = None  # by which other hosts reach it, where its data says so
    scale: float | None = None  # by which a rehearsal made its roles smaller; None where it is no rehearsal's

    @property
    def has_rules(self) -> bool:
        """Whether anything of it is to be in the kernel's rules."""
        return bool(self.forwards or self.fences)

    @property
    def copied(self) -> tuple[Plan, ...]:
        """The backups of the roles that are copied here: not of a standby whose primary is copied itself."""
        standbys = {item.name for item in self.instances if item.is_standby}
        return tuple(plan for plan in self.backups if not (plan.on_both and plan.role.name in standbys))

    def pair_of(self, role: str) -> Pair | None:
        """The pair of a role; None of one without a standby."""
        return next((item for item in self.pairs if item.role == role), None)


def fence_chains(fences: Sequence[Fence]) -> dict[str, tuple[str, ...]]:
    """chain → its lines as nft lists them; none without fences. What comes from the host itself comes in by lo.

    An input hook sees inner ports translated. Every packet is judged, so that a network which is taken off the list is
    cut off at once.
    """
    if not fences:
        return {}
    chains = {
        from_chain(item.role): (*(f"ip saddr {network} accept" for network in item.networks), CLOSED) for item in fences
    }
    led = (fence_rule(item.role, item.address, item.port) for item in fences)
    return {**chains, FENCE_CHAIN: ("type filter hook input priority filter; policy accept;", *led)}


def fence_rule(role: str, address: str, port: int) -> str:
    """The rule of the input chain that leads to whom a role lets in."""
    return f'iifname != "lo" ip daddr {address} tcp dport {port} goto {from_chain(role)}'


FENCE_CHAIN = "input"
OF_EXPORTER = "EXPORTER"  # in the place of a role where the exporter of metrics is let in: no role can be called so
CLOSED = "reject with tcp reset"  # a service that was forgotten is told, and does not wait


def from_chain(role: str) -> str:
    """The chain that lists who may connect to a role."""
    return f"from_{role}"


def sha256(text: str | None) -> str | None:
    """The digest of a text, None of none."""
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


def descriptors(role: Role) -> int:
    """Open files that a role's process may have."""
    return max(65535, role.maxclients + SPARE_DESCRIPTORS)

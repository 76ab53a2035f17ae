"""Observed state: the shapes of what one look and one exchange per instance say of a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from tasks.observed.refusal import Refusal


@dataclass(frozen=True)
class FileState:
    """A file of the host: `kind` is file, directory, link or other.

    `content` of a link is its target, of a secret file its SHA-256: what is secret does not leave the host.
    """

    kind: str
    owner: str
    group: str
    mode: str
    content: str
    modified: int = 0  # seconds since the epoch
    changed: int = 0  # when it was put there, or its owner or mode was changed
    links: int = 1  # names that a regular file has


# The first hexadecimal digits of a password's hash that leave the host, sixteen bits: another password is seen (a wrong
# one is taken for the right one once in 65,536), and nobody can tell from them whether a guess is right.
PASSWORD_DIGITS = 4


@dataclass(frozen=True)
class FileUser:
    """A user as a line of an ACL file names it: the beginnings of its passwords' hashes, `>` for one in plain words."""

    name: str
    passwords: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listener:
    """A TCP socket that listens: `address` as ss prints it, without brackets or interface."""

    address: str
    port: int
    process: str
    pid: int
    shared: tuple[int, ...] = ()  # other processes that have the same socket, a child of its own that saves for one

    def is_of(self, pid: int) -> bool:
        """Whether the process has the socket."""
        return pid > 0 and pid in (self.pid, *self.shared)


Ranges = tuple[tuple[int, int], ...]  # first and last number of each range


@dataclass(frozen=True)
class Taking:
    """A rule of the kernel's that may give connections to these IPv4 addresses and TCP ports another end."""

    table: str
    rule: str
    addresses: Ranges
    ports: Ranges

    def takes(self, address: str, port: int) -> bool:
        """Whether it may do so with a connection to `address:port`."""
        meant = ((int(IPv4Address(address)), self.addresses), (port, self.ports))
        return all(any(low <= number <= high for low, high in ranges) for number, ranges in meant)


@dataclass(frozen=True)
class Unseen:
    """Why a part of the look failed; `missing`: the program that would say it is not there."""

    because: str
    missing: bool = False


@dataclass(frozen=True)
class Client:
    """A connection to a server: who is logged in by it, from where, and for how many seconds it is there."""

    user: str
    address: str
    age: int


@dataclass(frozen=True)
class Served:
    """A certificate that a server shows: its SHA-256, the day of its end, and the seconds until then."""

    digest: str
    ends: str
    left: int


@dataclass(frozen=True)
class Server:
    """What a running instance answered its operator at `endpoint`, or in `refusal` why it did not."""

    refusal: Refusal | None = None
    endpoint: tuple[str, int] = ("", 0)
    config: Mapping[str, str] = field(default_factory=dict)
    info: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, Mapping[str, object]] = field(default_factory=dict, repr=False)  # with hashes of passwords
    categories: Mapping[str, frozenset[str]] = field(default_factory=dict)
    certificate: Served | None = None  # of one that was spoken to by TLS
    other: Refusal | None = None  # why TLS did not begin on the port that it has beside the one in clear
    said: tuple[str, ...] = ()  # its journal's first lines since it started; read only when `info` gives a reason to
    said_from_start: bool = True  # whether the journal still reaches back to the start; when it was read
    clients: tuple[Client, ...] = ()  # asked for only where passwords are to be dropped
    proofs_tried: int = 0  # wrong passwords of its log that were this tool's; asked for only where many were refused


@dataclass(frozen=True)
class ForeignServer:
    """A Redis that no unit of ours runs and that listens on a port of a role.

    `directory` is the one it works in, which for Redis is its `dir`; `reachable` when that path means the same
    directory to the host. `unit`: whose main process it is. `refusal`: why it did not tell all that was asked.
    `runs_as`: the numbers of its user, group and further groups, `UID:GID:GROUP GROUP …`.
    """

    pid: int
    process: str
    listens: tuple[tuple[str, int], ...]
    directory: str = ""
    reachable: bool = True
    unit: str = ""
    refusal: str | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    info: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)  # its data on disk, path → bytes
    runs_as: str = ""


@dataclass(frozen=True)
class Leftover:
    """A unit of this tool's of a role that the host does not carry, and the keys of its server.

    `endpoint` is where its process listens, or would by its configuration when it does not run. `keys` is None when
    nobody knows, `because` says why. `users`: those of the secrets file that it has, with the hashes of their
    passwords; None when it did not tell. `sealed`: by its file it speaks nothing but TLS.
    """

    role: str
    running: bool
    endpoint: tuple[str, int] | None
    keys: int | None = None
    because: str = ""
    info: Mapping[str, str] = field(default_factory=dict, repr=False)
    users: Mapping[str, frozenset[str]] | None = field(default=None, repr=False)
    sealed: bool = False


@dataclass(frozen=True)
class Marker:
    """An adoption that began on this host and has not ended: what its file says, and what is there now.

    `before` is the identity of the old server's RDB just before that server was told to stop, empty until then;
    `found` its identity now. `unfinished`: a save of the old server was cut off. `runs_as`: as a ForeignServer has it.
    """

    server: str
    pid: int
    unit: str
    rdb: str
    before: str = ""
    runs_as: str = ""
    found: str = ""
    unfinished: bool = False


@dataclass(frozen=True)
class Observed:
    """One host at one moment. Sizes in bytes."""

    os: Mapping[str, str]
    systemd: bool
    container: str
    uid: int
    memory: int
    packages: Mapping[str, str]
    candidate: str
    disk_free: int  # where all data is, unless a directory has a disk of its own
    data_used: Mapping[str, int]
    addresses: frozenset[str]
    listeners: tuple[Listener, ...]
    sysctls: Mapping[str, str]
    thp: str
    boot_sysctls: Mapping[str, tuple[str, str]]
    boot_thp: Mapping[str, str]
    our_units: tuple[str, ...]
    units: Mapping[str, Mapping[str, str]]
    binaries: Mapping[int, str]  # main process of a unit → what it executes
    started: Mapping[str, str]
    files: Mapping[str, FileState]
    forwards: frozenset[tuple[str, str, int, str]]
    statoverrides: Mapping[str, str]
    data_files: Mapping[str, int]
    accounts: frozenset[str] = frozenset()  # users of roles, each with a group of its name
    stored: Mapping[str, FileState] = field(default_factory=dict)  # what lies in data directories, without content
    replayable: frozenset[str] = frozenset()  # ACL files that let the next start replay every write
    machine: tuple[str, str] = ("", "")  # machine-id and boot-id
    acl_users: Mapping[str, tuple[FileUser, ...]] = field(default_factory=dict)  # ACL file → users, line by line
    configured: Mapping[str, tuple[str, int]] = field(default_factory=dict)  # role → where it listens by its file
    sealed: frozenset[str] = frozenset()  # roles that speak nothing but TLS by their files
    leftovers: tuple[Leftover, ...] = ()
    last_deploy: str = ""  # who held the host last, since when; empty when nobody did since it booted
    unseen: Mapping[str, Unseen] = field(default_factory=dict)  # by the part of the look that failed
    heard: Mapping[str, str] = field(default_factory=dict)  # role → what its other host says to who asks before a start
    is_carried: bool = False  # sshd forbids tunnels: commands on the host carry what servers are told
    memory_available: int = 0  # what the kernel says that programs may still take
    automatic: frozenset[str] = frozenset()  # packages that an autoremove may take along
    descriptors: Mapping[int, int] = field(default_factory=dict)  # main process of a unit, or 1 → its open files
    free_of: Mapping[str, int] = field(default_factory=dict)  # data directory → bytes free on its disk
    fences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # chain → who may connect, line by line
    forwards_owner: str = ""  # the process without which they end, and which alone can change them
    takings: tuple[Taking, ...] = ()
    asked_at: int = 0  # seconds since the epoch, by the controller's clock
    servers: Mapping[str, Server] = field(default_factory=dict)
    foreign: tuple[ForeignServer, ...] = ()
    adopting: Mapping[str, Marker] = field(default_factory=dict)  # by role
    copies: frozenset[str] = frozenset()  # roles whose data was being copied here, which stand for none until it is
    superseded: frozenset[str] = frozenset()  # roles whose data here is of before they moved to another host

    def unit(self, name: str) -> Mapping[str, str]:
        """systemd's properties of a unit; those of one that does not exist when it was not seen."""
        return self.units.get(name, {"LoadState": "not-found", "ActiveState": "inactive", "MainPID": "0"})

    def is_active(self, unit: str) -> bool:
        """Whether the unit's main process runs."""
        return self.unit(unit)["ActiveState"] in ("active", "reloading", "activating") and self.pid(unit) > 0

    def time(self, unit: str, name: str) -> int:
        """One of systemd's times of a unit, in seconds since the epoch; 0 when there was none since the host booted."""
        return int(self.unit(unit).get(name, "").lstrip("@") or 0)

    def pid(self, unit: str) -> int:
        """Process id of a unit's main process, 0 when there is none."""
        return int(self.unit(unit).get("MainPID") or 0)


def count_keys(info: Mapping[str, str]) -> tuple[int, int]:
    """Keys of all databases in INFO, and how many of them have a TTL."""
    rows = [
        dict(item.split("=", 1) for item in text.split(","))
        for name, text in info.items()
        if name.startswith("db") and name[2:].isdigit()
    ]
    return sum(int(row["keys"]) for row in rows), sum(int(row["expires"]) for row in rows)


def tells_of_skips(info: Mapping[str, str]) -> bool:
    """Whether a server's counters tell of commands that it skipped while loading, or were set back since."""
    return info.get("unexpected_error_replies", "0") != "0" or "cmdstat_config|resetstat" in info


def tells_of_a_cut(info: Mapping[str, str], log_size: int) -> bool:
    """Whether a server may have cut the end off its log when it started; `log_size`: bytes on disk before it was asked.

    What it cut off stays in its own count until it writes the log anew. What clients wrote meanwhile looks the same.
    """
    anew = int(info.get("aof_last_rewrite_time_sec", "-1")) >= 0 and info.get("aof_last_bgrewrite_status") == "ok"
    return info.get("aof_enabled", "0") != "0" and not anew and int(info.get("aof_current_size", "0")) > log_size


@dataclass(frozen=True)
class Apt:
    """What apt says of packages that are to be installed (apt.py).

    `offered`: package → versions that a source has; `refuses`: why it would not install, in its own words.

    `group_of_user`: number of the group of a user `redis`, empty where there is none; `group`: of the group `redis`.
    """

    has_lists: bool
    offered: Mapping[str, tuple[str, ...]]
    held: tuple[str, ...]
    is_interrupted: bool
    refuses: tuple[str, ...]
    unwritable: tuple[str, ...]
    group_of_user: str
    group: str
    is_at_work: bool = False  # another apt or dpkg, of which all this may be a moment's

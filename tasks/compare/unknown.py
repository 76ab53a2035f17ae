"""What could not be seen: neither as desired nor different. Nothing is done about it but by a person. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from tasks.catalogue.acl_rules import OPERATOR
from tasks.catalogue.printable import printable
from tasks.compare.acl_file import is_in_file, users_in_file
from tasks.compare.difference import Difference, Remedy
from tasks.compare.leftovers import of_inner_ports
from tasks.desired.host import Host, Instance
from tasks.desired.paths import INNER_PORT_UNIT, acl_file, tls_files
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Observed, Unseen


class Kind(Enum):
    """What kept somebody from knowing, where it is not a server that did not tell: those are Cause."""

    LISTENERS = "listeners"  # this one and the next three: the parts of a look of a host
    FORWARDS = "forwards"
    DISK = "disk"
    WAY = "way"
    LOADING = "its data is being loaded"
    ENDING = "it is being stopped"
    CHANGED = "it runs with other users than its ACL file has"
    UNTRIED = "no other host could try its ports"
    SAME_MACHINE = "its host has two names"
    UNSERVED = "it was handed over, and is not seen to serve"
    PAIR = "one of its two hosts was not seen, or did not tell"
    TWO = "two servers of it take writes"
    NOBODY = "nobody serves it, and which of the two would is not known"
    ALONE = "nobody serves it, and its standby has in memory what no disk has"


@dataclass(frozen=True)
class Unknown:
    """Something that nobody knows, why, and what a person can do. Never a remedy of the tool's."""

    role: str | None
    what: str
    because: str
    remedy: str
    kind: Kind | Cause

    def __str__(self) -> str:
        where = f"{self.role}: " if self.role else ""
        return printable(f"{where}{self.what}: unknown, because {self.because}: {self.remedy}")


def unknowns(desired: Host, observed: Observed) -> list[Unknown]:
    """Everything of the desired state of which this look does not know whether it is so."""
    found = [*_unseen_parts(desired, observed)]
    for instance in desired.instances:
        found += [*_between_states(instance, observed), *_unseen_server(instance, observed)]
        found += _unknown_passwords(instance, observed)
        found += _untold(instance, observed)
    return found


def acted_on(
    desired: Host, observed: Observed | None, differences: Iterable[Difference], unknown: Iterable[Unknown]
) -> tuple[Difference, ...]:
    """The differences that a deploy does something about: none of a role of which something is not known.

    A file may be right for a server as it should be and wrong for one as it is: `appendonly yes` begins empty where
    no log was begun. Only what the next start needs in order to lose nothing is written all the same, and the inner
    ports' rules, which are one table for all roles: where each of those was seen to listen as the rules will say.
    """
    roles = {item.role for item in unknown} - {None}
    are_held = any(
        item.name in roles and _is_in_rules(item, desired) and not (observed and _listens_in_place(item, observed))
        for item in desired.instances
    )
    return tuple(
        item
        for item in differences
        if not (are_held and _loads_rules(item)) and (item.role not in roles or item.remedy in ALWAYS)
    )


def _is_in_rules(instance: Instance, desired: Host) -> bool:
    return instance.role.forwarded_port is not None or any(item.role == instance.name for item in desired.fences)


def _listens_in_place(instance: Instance, observed: Observed) -> bool:
    """Whether the instance's own process was seen to listen on all of its ports."""
    pid = observed.pid(instance.unit)
    found = {(item.address, item.port) for item in observed.listeners if item.is_of(pid)}
    return {(address, port) for address in instance.bound for port in instance.role.listens_on} <= found


def _loads_rules(item: Difference) -> bool:
    """Whether what is done about a difference puts the rules of the inner ports into force, as the last or alone."""
    return of_inner_ports(item) or item.name == INNER_PORT_UNIT or (item.subject, item.name) == ("package", "nftables")


ALWAYS = (Remedy.REPLAY, Remedy.LEAD)

ALLOW_TUNNELS = (
    "allow tunnels to this login in sshd_config: AllowTcpForwarding yes, DisableForwarding no, PermitOpen any, and no "
    "`restrict` before its key"
)
# What a look of a host can fail to see by itself: part → (what it is, how it becomes visible).
PARTS = {
    "listeners": ("who listens on the host", "see on it, as root, what ss -Hltnp says"),
    "forwards": ("where the inner ports lead", "see on it, as root, what nft list ruleset ip says"),
    "disk": ("free disk space", "see on it what df -k says"),
    "way": ("how its instances can be spoken to", f"{ALLOW_TUNNELS}; or let it run bash there"),
}
PACKAGE_OF = {"listeners": "iproute2"}  # with the program that is missing there


def part_in_words(part: str, unseen: Unseen) -> tuple[str, str]:
    """What of the host was not seen, and what a person can do."""
    what, remedy = PARTS[part]
    return what, f"install {PACKAGE_OF[part]}" if unseen.missing and part in PACKAGE_OF else remedy


def _unseen_parts(desired: Host, observed: Observed) -> Iterator[Unknown]:
    for part, unseen in sorted(observed.unseen.items()):
        what, remedy = part_in_words(part, unseen)
        if desired.roles:
            yield Unknown(None, what, unseen.because, remedy, Kind(part))


def _between_states(instance: Instance, observed: Observed) -> Iterator[Unknown]:
    """An instance whose process runs, and which neither serves nor has ended."""
    state, server = observed.unit(instance.unit)["ActiveState"], observed.servers.get(instance.name)
    if state == "deactivating":
        because = "it is being stopped, and its process has not ended"
        remedy = (
            f"see journalctl -u {instance.unit} and wait; where that says slow script, SCRIPT KILL (FUNCTION KILL) as "
            "operator, or if that is UNKILLABLE, SHUTDOWN NOSAVE, which leaves it what its log has; where it cannot "
            f"save, make room on the disk, then systemctl kill -s TERM {instance.unit} once more (never KILL: that "
            "loses what is not on disk)"
        )
        yield Unknown(instance.name, "whether it serves", because, remedy, Kind.ENDING)
    elif server is not None and server.refusal is None and server.info.get("loading", "0") != "0":
        done = server.info.get("loading_loaded_perc", "?")
        because = f"it loads its data ({done} %)"
        remedy = "wait until it has loaded: nothing is done about it"
        yield Unknown(instance.name, "its data", because, remedy, Kind.LOADING)


def _unseen_server(instance: Instance, observed: Observed) -> Iterator[Unknown]:
    server = observed.servers.get(instance.name)
    if server is None or server.refusal is None or instance.where[0] not in observed.addresses:
        return  # it does not run, was seen, or its cause, the missing address, is listed
    listed = is_own_silence(server.refusal) and "listeners" not in observed.unseen
    if listed or is_difference(instance, server.refusal):
        return
    remedy, kind = _way_out_here(instance, observed, server.refusal)
    yield Unknown(instance.name, "its settings, users and data", str(server.refusal), remedy, kind)


def _way_out_here(instance: Instance, observed: Observed, refusal: Refusal) -> tuple[str, Kind | Cause]:
    """What a person can do, by what else was seen of the host: a password that its file has is not a lost one."""
    unseen = [part for part in ("listeners", "forwards") if part in observed.unseen]
    if refusal.cause is Cause.TAKEN and unseen:
        return part_in_words(unseen[0], observed.unseen[unseen[0]])[1], Kind(unseen[0])
    if refusal.cause in LOCKED_OUT and is_in_file(instance, OPERATOR, observed):
        return f"{acl_file(instance.name)} has that password: {load_its_file(instance)}", Kind.CHANGED
    return way_out(instance, refusal), refusal.cause


def _untold(instance: Instance, observed: Observed) -> Iterator[Unknown]:
    """A port for a change over, of which nobody knows how it speaks. One with another certificate is a difference."""
    server = observed.servers.get(instance.name)
    if server is not None and server.other is not None and server.other.cause is not Cause.CERTIFICATE:
        what = f"what its clients meet on {instance.role.tls_port}"
        yield Unknown(instance.name, what, str(server.other), way_out(instance, server.other), server.other.cause)


def _unknown_passwords(instance: Instance, observed: Observed) -> Iterator[Unknown]:
    """Users that the instance has and whose passwords nobody here knows; of none of them an unseen server told."""
    server = observed.servers.get(instance.name)
    if server is not None and server.refusal is not None:
        return
    if instance.new_passwords:
        return  # they are made up, and replace what is there: a difference
    there = users_in_file(instance, observed).keys() | (server.users.keys() if server else set())
    lost = [user.name for user in instance.users if not user.passwords_sha256 and user.name in there]
    if lost:
        because = f"the secrets file has none for {', '.join(lost)}"
        remedy = way_out(instance, Refusal(Cause.NO_PASSWORD, because))
        yield Unknown(instance.name, "whether passwords are right", because, remedy, Cause.NO_PASSWORD)


def is_difference(instance: Instance, refusal: Refusal) -> bool:
    """Whether the refusal itself shows what is wrong: somebody opened `default`, or new passwords are asked for.

    A server that refuses the operator takes them when it starts, from its ACL file.
    """
    return refusal.cause is Cause.DENIED or (instance.new_passwords and refusal.cause in LOCKED_OUT)


LOCKED_OUT = (Cause.WRONGPASS, Cause.NO_PASSWORD)


def load_its_file(instance: Instance) -> str:
    """What a person does about a server that runs with other users than its ACL file has."""
    return (
        "somebody changed the running server alone: whoever can log in there as an administrator lets it load that "
        "file (ACL LOAD; on Redis 7.0 every client has to connect again); if nobody can, --data "
        f"new_passwords={instance.name} restarts it, and changes no password that the file has"
    )


def is_own_silence(refusal: Refusal) -> bool:
    """Whether nothing of the instance listens: the sockets show it, and the difference is listed with them."""
    return refusal.cause is Cause.NOT_ITS_OWN


def way_out(instance: Instance, refusal: Refusal) -> str:
    """What a person can do about a refusal; the first advice never destroys data."""
    role, port = instance.name, instance.role.port
    ways = {
        Cause.NO_PASSWORD: (
            "bring the secrets file back, from its backup or another checkout (or add it to what the command prints)"
        ),
        Cause.NOT_ITS_OWN: "see with ss -ltnp who listens on its address",
        Cause.TAKEN: (
            f"remove that rule or end that process, or let it leave out {instance.address}: whoever may answer there "
            "gets no password"
        ),
        Cause.FORBIDDEN: ALLOW_TUNNELS,
        Cause.CLOSED: f"see with ss -ltnp whether {instance.where[0]}:{port} is listened on, and try again",
        Cause.BROKEN: "try again; if it stays, see the journal of sshd and of the unit",
        Cause.SILENT: (
            f"see whether its process is stopped or swaps (ps -o stat,rss,cmd -p PID), or wait: "
            f"CLIENT PAUSE ends by itself, and so does one command over large keys: {instance.unit} is left alone"
        ),
        Cause.LOADING: "wait until it has loaded its data",
        Cause.BUSY: "wait for the script to end, or SCRIPT KILL (FUNCTION KILL) as operator",
        Cause.MAXCLIENTS: (
            f"see who holds the connections (ss -tn state established sport = :{port}), close those, or raise "
            "maxmemory in group_data/roles.yaml: maxclients follows"
        ),
        Cause.WRONGPASS: (
            "bring the secrets file back that the server was deployed with; to give it new passwords: "
            f"--data new_passwords={role}"
        ),
        Cause.NOPERM: "somebody took rights from operator: restart the unit by hand, which loads the ACL file",
        Cause.CERTIFICATE: (
            "where a new ca issues certificates, let tls.ca hold the old one too until the new certificate is served; "
            f"else see who put another one into {tls_files(role)[0]}, bring the role's files back, and load them: "
            f"systemctl restart {instance.unit}; one that asks for a certificate is shown what tls.clients has; a role "
            "that is to speak TLS no more gets its tls block back and tls.port first (README, TLS): it is left alone"
        ),
        Cause.STRANGE: f"see with ss -ltnp who answers on {instance.where[0]}:{port}",
        Cause.DENIED: "somebody opened the user default: deploy",
    }
    return ways[refusal.cause]

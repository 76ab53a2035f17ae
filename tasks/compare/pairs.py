"""Which host of a pair serves its role, and which replicates it: the hosts say, not the inventory. Pure.

Decided before anything else is compared. What a server says of itself counts, and where none runs what lies on its
host: a copy's next start is that of a copy. Where nobody can tell, nothing of the role is done: none serves rather than
two.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from tasks.catalogue.printable import printable
from tasks.compare.adoption import has_own_data
from tasks.compare.data_files import pieces
from tasks.compare.unknown import Kind, Unknown
from tasks.compare.unwell import Code, Health
from tasks.desired.guard import with_notes
from tasks.desired.host import Host, Instance
from tasks.desired.paths import (
    begun_file,
    copy_drop_in,
    data_directory,
    handed_over_drop_in,
    manifest_file,
    moved_file,
    promoted_file,
    unit_name,
)
from tasks.desired.standby import oriented
from tasks.observed.state import Observed

Hosts = Mapping[str, tuple[Host, Observed | None]]  # by inventory name; None of one that was not seen


class Stance(Enum):
    """What a role's server on one host is, as far as that can be seen there."""

    UNSEEN = "was not seen"
    UNTOLD = "runs and does not tell what it is"
    SERVES = "serves"
    FOLLOWS = "follows another server"  # by what it was started from
    ASTRAY = "follows a server that is none of its two hosts'"
    DEMOTED = "follows another server, which it was handed over to"
    TOLD = "follows another server by a command only"  # nothing on its host says why, and the next start forgets it
    COPY = "is a standby that does not run"
    HOLLOW = "is a standby that has no data yet, and does not run"
    FENCED = "was handed over, or was about to be, and does not run"
    KEEPS = "does not run, and has data"
    LOST = "does not run, and its data is gone"
    PROMOTED = "does not run, and was put in the place of the other one"
    OLD = "does not run, and has data of before it moved"
    EMPTY = "has nothing of it"


@dataclass(frozen=True)
class Side:
    """One host of a pair."""

    host: str
    stance: Stance
    by_inventory: bool  # whether the inventory says that it is the standby
    follows: str = ""  # ADDRESS:PORT that its server says it follows

    def __str__(self) -> str:
        return f"{self.host} {self.stance.value}" + (f" ({self.follows})" if self.follows else "")


@dataclass(frozen=True)
class Verdict:
    """Which of two hosts serves, by its name; where that is empty, why nobody can tell, and what a person does."""

    serves: str
    because: str = ""
    remedy: str = ""
    kind: Kind = Kind.PAIR


def orient(hosts: Hosts) -> tuple[dict[str, Host], dict[str, list[Unknown]]]:
    """The hosts as they are to be, each pair as it was found; and by host the pairs of which nobody can tell."""
    standby: dict[str, dict[str, bool]] = {}
    settled: dict[str, bool] = {}  # role whose server is known → whether both hosts tell what theirs is
    unknown: dict[str, list[Unknown]] = {}
    for role, names in sorted(_pairs(hosts).items()):
        sides = [_side(name, role, hosts) for name in names]
        found = _by_word(role, sides, hosts) or verdict(role, *sides)
        if found.serves:
            settled[role] = all(side.stance not in (Stance.UNSEEN, Stance.UNTOLD) for side in sides)
        for side in sides:
            mine = side.host != found.serves if found.serves else _by_itself(side)
            standby.setdefault(side.host, {})[role] = mine
            if not found.serves and hosts[side.host][1] is not None:
                item = Unknown(role, WHICH, found.because, found.remedy, found.kind)
                unknown.setdefault(side.host, []).append(item)
    as_found = {name: with_notes(oriented(host, standby.get(name, {})), settled) for name, (host, _) in hosts.items()}
    return {name: _with_versions(host, hosts) for name, host in as_found.items()}, unknown


def _with_versions(host: Host, hosts: Hosts) -> Host:
    """A host whose pairs know the version of Redis that the other one runs."""
    pairs = tuple(replace(pair, primary=_version(pair.role, pair.peer, hosts)) for pair in host.pairs)
    return replace(host, pairs=pairs) if pairs else host


def _version(role: str, name: str, hosts: Hosts) -> str:
    observed = hosts[name][1] if name in hosts else None
    server = observed.servers.get(role) if observed is not None else None
    return server.info.get("redis_version", "") if server is not None and server.refusal is None else ""


def _by_word(role: str, sides: Sequence[Side], hosts: Hosts) -> Verdict | None:
    """That the one that is seen serves, by a person's word that the other one, which is not, was not promoted."""
    seen = [side for side in sides if side.stance is not Stance.UNSEEN]
    if len(seen) != 1 or seen[0].stance not in KEEPING or role not in hosts[seen[0].host][0].requests.serve_alone:
        return None
    return Verdict(seen[0].host)


WHICH = "which of its two hosts serves it"


def undecided(unknown: Collection[Unknown]) -> list[str]:
    """Why a deploy does not begin: pairs that were seen, and of which it must not be guessed who serves.

    One whose other host is only not seen is left as it is.
    """
    return [str(item) for item in unknown if item.kind in (Kind.TWO, Kind.NOBODY)]


def unserved_pairs(unknown: Collection[Unknown]) -> list[Health]:
    """What is not well with pairs of which nobody can tell who serves: for alerts, which know no words."""
    codes = {Kind.TWO: Code.TWO_SERVE, Kind.NOBODY: Code.NONE_SERVES}
    return [
        Health(item.role, codes[item.kind], "critical", item.because, "one of them serves", item.remedy)
        for item in unknown
        if isinstance(item.kind, Kind) and item.kind in codes
    ]


def _pairs(hosts: Hosts) -> dict[str, tuple[str, str]]:
    """Role → its two hosts, of which one may be none of this run; the one that the inventory names first."""
    found: dict[str, tuple[str, str]] = {}
    for name, (host, _) in sorted(hosts.items()):
        for pair in host.pairs:
            found[pair.role] = (pair.peer, name) if pair.by_inventory else (name, pair.peer)
    return found


def _side(name: str, role: str, hosts: Hosts) -> Side:
    host, observed = hosts.get(name, (None, None))
    if host is None:
        other = next(
            pair for item, _ in hosts.values() for pair in item.pairs if (pair.role, pair.peer) == (role, name)
        )
        return Side(name, Stance.UNSEEN, not other.by_inventory)
    pair, instance = host.pair_of(role), next(item for item in host.instances if item.name == role)
    by_inventory = pair is not None and pair.by_inventory
    if observed is None:
        return Side(name, Stance.UNSEEN, by_inventory)
    server = observed.servers.get(role)
    info = server.info if server is not None and server.refusal is None else {}
    follows = f"{info['master_host']}:{info.get('master_port')}" if "master_host" in info else ""
    own = stance(instance, observed)
    if own is Stance.FOLLOWS and follows and pair is not None and follows != f"{pair.there[0]}:{pair.there[1]}":
        own = Stance.ASTRAY
    return Side(name, own, by_inventory, printable(follows))


def stance(instance: Instance, observed: Observed) -> Stance:
    """What a role's server on a host is."""
    role = instance.name
    drop_ins = observed.unit(unit_name(role)).get("DropInPaths", "").split()
    is_copy, is_fenced = copy_drop_in(role) in drop_ins, handed_over_drop_in(role) in drop_ins
    if observed.is_active(instance.unit):
        server = observed.servers.get(role)
        says = server.info.get("role") if server is not None and server.refusal is None else None
        follows = Stance.FOLLOWS if is_copy else Stance.DEMOTED if is_fenced else Stance.TOLD
        running = {"master": Stance.SERVES, "slave": follows}
        return running.get(says or "", Stance.UNTOLD)
    if is_copy:
        return Stance.COPY if pieces(role, observed) else Stance.HOLLOW
    if is_fenced:
        return Stance.FENCED
    if moved_file(role) in observed.files:
        return Stance.OLD
    if promoted_file(role) in observed.files:
        return Stance.PROMOTED
    if begun_file(role) in observed.files and role not in observed.adopting and _is_gone(instance, observed):
        return Stance.LOST
    return Stance.KEEPS if has_own_data(instance, observed) or role in observed.adopting else Stance.EMPTY


def _is_gone(instance: Instance, observed: Observed) -> bool:
    """Whether a role that has run here would not begin with all it had: nothing is there, or its log is not."""
    log = instance.role.appendonly and manifest_file(instance.role) not in observed.data_files
    return log or not pieces(instance.name, observed)


def _by_itself(side: Side) -> bool:
    """Whether a server is a standby, where nobody can tell of both."""
    if side.stance in (*COPIES, Stance.ASTRAY, Stance.HOLLOW):
        return True
    return side.by_inventory and side.stance not in (Stance.SERVES, *KEEPING, Stance.TOLD, Stance.LOST)


def verdict(role: str, first: Side, other: Side) -> Verdict:
    """Which of the two hosts of a role serves it; `first`: the one that the inventory names."""
    sides = (first, other)
    seen = f"{first}, and {other}"
    serving = [side for side in sides if side.stance is Stance.SERVES]
    if len(serving) == 2:
        return Verdict("", f"{seen}: two servers take writes", _two(role, sides), Kind.TWO)
    if serving:
        return Verdict(serving[0].host)
    if any(side.stance is Stance.UNTOLD for side in sides):
        return Verdict("", seen, "see what the one that does not tell says in its journal, and look again")
    if unseen := [side for side in sides if side.stance is Stance.UNSEEN]:
        here = next((side for side in sides if side not in unseen), None)
        if here is not None and here.stance is Stance.FOLLOWS:
            return Verdict(unseen[0].host)
        way = "let both hosts take part: without --limit and --exclude, and reachable"
        if here is not None and here.stance in KEEPING:
            way += (
                f"; where {unseen[0].host} is lost and nobody has promoted it: --data serve_alone={role}, which starts "
                f"the one on {here.host}"
            )
        return Verdict("", seen, way)
    return _of_what_lies_there(role, first, other)


COPIES = (Stance.FOLLOWS, Stance.DEMOTED, Stance.COPY)
NOTHING = (Stance.EMPTY, Stance.HOLLOW, Stance.LOST)  # of which no start would have data
KEEPING = (Stance.KEEPS, Stance.PROMOTED)


def _of_what_lies_there(role: str, first: Side, other: Side) -> Verdict:
    """Both were seen, and neither serves: who would, if it were started."""
    sides = (first, other)
    promoted = [side for side in sides if side.stance is Stance.PROMOTED]
    keeping = promoted if len(promoted) == 1 else [side for side in sides if side.stance in KEEPING]
    is_odd = any(side.stance in (Stance.ASTRAY, Stance.TOLD) for side in sides)
    if len(keeping) == 1 and not is_odd:
        return Verdict(keeping[0].host)
    lost = next((side.host for side in sides if side.stance is Stance.LOST), "")
    if all(side.stance in (*NOTHING, *([Stance.OLD] if lost else [])) for side in sides):
        return Verdict(lost or first.host)
    because = f"{first}, and {other}: nobody serves it"
    return Verdict("", because, _way_out(role, sides, len(keeping) == 2), Kind.NOBODY)


def _way_out(role: str, sides: tuple[Side, Side], both_keep: bool) -> str:
    """What a person does where neither of two serves, and it must not be guessed which would."""
    if both_keep:
        return _both(role, sides)
    of = {side.stance: side for side in sides}
    if Stance.ASTRAY in of:
        return (
            f"see what {of[Stance.ASTRAY].follows} is: where that serves the role, put its host back into the pair "
            "and deploy; hand over before a host of a pair is replaced"
        )
    if Stance.TOLD in of:
        return f"if what it follows has no newer data, there: systemctl restart {unit_name(role)}, which forgets it"
    if Stance.FENCED in of and any(it in COPIES for it in of):
        return _fenced(role, of[Stance.FENCED], sides)
    if Stance.DEMOTED in of and any(it in COPIES for it in of):
        return f"tasks/handover.py --data handover={role}, which finishes a handover that was cut off"
    return (
        "start the one that served last, if its host and data are there (mount its disk); where they are lost, the "
        f"standby has the data: tasks/handover.py --data promote={role} (docs/runbook.md, Promote a standby); do not "
        "let the other one begin empty, or with a backup: the standby would copy that"
    )


def _fenced(role: str, fenced: Side, sides: tuple[Side, ...]) -> str:
    """What a person does where the old server's host went down amid a handover: whether the copy was told, it knows."""
    copy = next(side.host for side in sides if side is not fenced)
    return (
        f"see on {copy} whether it was told to serve since: {begun_file(role)} is there, or journalctl -u "
        f"{unit_name(role)} says MASTER MODE enabled; if neither, on {fenced.host}: rm {handed_over_drop_in(role)}, "
        f"systemctl daemon-reload, systemctl start {unit_name(role)}, which serves as before; else on {copy}: "
        f"systemctl stop {unit_name(role)}, rm {copy_drop_in(role)}, systemctl daemon-reload, and deploy with --limit "
        f"{copy} --data serve_alone={role}; then deploy to both"
    )


def _two(role: str, sides: tuple[Side, Side]) -> str:
    """What a person does where two servers take writes."""
    names = " or ".join(side.host for side in sides)
    return (
        "choose whose writes are to stay (its services' endpoint, its newest keys), and stop the other one, on "
        f"{names}: systemctl stop {unit_name(role)}; rm -f {copy_drop_in(role)}; systemctl daemon-reload, which keeps "
        "its data and says that it is no copy; then deploy to both: it is the standby, and "
        f"{data_directory(role)} there is set aside, not deleted"
    )


def _both(role: str, sides: tuple[Side, Side]) -> str:
    """What a person does where either of two stopped servers may have the newest data."""
    names = " or ".join(side.host for side in sides)
    return (
        f"see which served last (journalctl -u {unit_name(role)}, ls -l {data_directory(role)}), and start "
        f"that one of {names}: deploy with --limit to its host and --data serve_alone={role}; then deploy to both: the "
        "other is its standby"
    )

"""Which host of a pair serves its role, and which replicates it: the hosts say, not the inventory. Pure.

Decided before anything else is compared. What a server says of itself counts, and where none runs what lies on its
host: a copy's next start is that of a copy. Where nobody can tell, nothing of the role is done: none serves rather than
two.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from tasks.catalogue.moments import in_utc
from tasks.catalogue.printable import printable
from tasks.compare.adoption import has_own_data
from tasks.compare.data_files import pieces, snapshot_is_meant
from tasks.compare.unknown import Kind, Unknown
from tasks.compare.unwell import Code, Health
from tasks.desired.guard import Mark, files_of_a_pair, with_notes
from tasks.desired.host import Host, Instance
from tasks.desired.paths import (
    begun_file,
    copy_drop_in,
    data_directory,
    handed_over_drop_in,
    moved_file,
    promoted_file,
    snapshot_file,
    unit_name,
)
from tasks.desired.standby import oriented
from tasks.observed.state import Observed, count_keys

Hosts = Mapping[str, tuple[Host, Observed | None]]  # by inventory name; None of one that was not seen


class Stance(Enum):
    """What a role's server on one host is, as far as that can be seen there."""

    UNSEEN = "was not seen"
    UNTOLD = "runs and does not tell what it is"
    SERVES = "serves"
    FOLLOWS = "follows the other one"  # by what it was started from
    STRAYS = "follows a server of neither of its two hosts"
    DEMOTED = "follows the other one, which it was handed over to"
    TOLD = "follows another server by a command only"  # nothing on its host says why, and the next start forgets it
    COPY = "is a standby that does not run"
    FENCED = "was handed over, or was about to be, and does not run"
    KEEPS = "does not run, and has data"
    LOST = "does not run, and has run there, and its data is gone"
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
    holds: str = ""  # data that it has of the role, in words; empty where it has none, or it is not asked
    told: bool = False  # whether it serves though its next start is that of a copy: by a command, or a handover's
    outlives: bool = True  # whether what a server of the role has outlives it, on its disk

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
    held: dict[str, dict[str, str]] = {}  # host → role whose data is gone there → what the other one has
    settled: dict[str, Mark] = {}  # role whose server is known
    unknown: dict[str, list[Unknown]] = {}
    for role, names in sorted(_pairs(hosts).items()):
        sides = [_side(name, role, hosts) for name in names]
        found = _by_word(role, sides, hosts) or verdict(role, *sides)
        if found.serves:
            settled[role] = _mark(role, sides if sides[0].host == found.serves else sides[::-1], hosts)
        for side, other in zip(sides, sides[::-1], strict=True):
            if side.stance is Stance.LOST and other.stance in HOLDING and other.holds:
                held.setdefault(side.host, {})[role] = f"{other.host} has {other.holds}"
            mine = side.host != found.serves if found.serves else _by_itself(side)
            standby.setdefault(side.host, {})[role] = mine
            if not found.serves and hosts[side.host][1] is not None:
                item = Unknown(role, WHICH, found.because, found.remedy, found.kind)
                unknown.setdefault(side.host, []).append(item)
    as_found = {name: with_notes(oriented(host, standby.get(name, {})), settled) for name, (host, _) in hosts.items()}
    as_found = {name: _held_there(host, held.get(name, {})) for name, host in as_found.items()}
    return {name: _with_versions(host, hosts) for name, host in as_found.items()}, unknown


def _mark(role: str, sides: Sequence[Side], hosts: Hosts) -> Mark:
    """What becomes of the note that nobody can have been put in the place of the first one, which serves.

    The other one can be from the moment in which it is a copy that has something. It cannot where it has nothing, or is
    kept from its start, or where nothing on the first one's host is of a pair yet. One of which is not known that it is
    no copy may have been in sync all the same, from before that: unless the first one says that it has none.
    """
    own, other = sides
    if other.stance in COPIES:
        return Mark.GONE if other.holds else Mark.STAYS
    if other.stance in (Stance.FENCED, Stance.EMPTY):
        return Mark.MADE
    observed = hosts[own.host][1] if own.host in hosts else None
    if observed is None or observed.files.keys() & {*files_of_a_pair(role)}:
        return Mark.STAYS
    may_follow = other.stance in (Stance.UNSEEN, Stance.UNTOLD, Stance.TOLD)
    return Mark.STAYS if may_follow and not _has_no_copy(role, observed) else Mark.MADE


def _has_no_copy(role: str, observed: Observed) -> bool:
    """Whether a server says that nothing copies it, nor has of late: it keeps its last writes for an hour behind that.

    That of a copy that has gone for longer is not told from that of none.
    """
    server = observed.servers.get(role)
    info = server.info if server is not None and server.refusal is None else {}
    return info.get("connected_slaves") == "0" == info.get("repl_backlog_active")


def _held_there(host: Host, held: Mapping[str, str]) -> Host:
    """A host that knows of its roles whose data is gone there what their other host has."""
    if not held and not any(item.held_there for item in host.instances):
        return host
    instances = tuple(replace(item, held_there=held.get(item.name, "")) for item in host.instances)
    return replace(host, instances=instances)


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

    One whose other host is only not seen is left as it is, and one that has its data in a server's memory alone.
    """
    return [str(item) for item in unknown if item.kind in (Kind.TWO, Kind.NOBODY)]


def unserved_pairs(unknown: Collection[Unknown]) -> list[Health]:
    """What is not well with pairs of which nobody can tell who serves: for alerts, which know no words."""
    codes = {Kind.TWO: Code.TWO_SERVE, Kind.NOBODY: Code.NONE_SERVES, Kind.ALONE: Code.NONE_SERVES}
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
    what = stance(instance, observed)
    if pair is not None and what in (Stance.FOLLOWS, Stance.DEMOTED) and follows != "{}:{}".format(*pair.there):
        what = Stance.STRAYS
    outlives = instance.role.appendonly or bool(instance.role.save)
    told = what is Stance.SERVES and copy_drop_in(role) in observed.unit(instance.unit).get("DropInPaths", "").split()
    return Side(name, what, by_inventory, printable(follows), _held(instance, observed), told, outlives)


def _held(instance: Instance, observed: Observed) -> str:
    """What a host has of a role, in words; empty of nothing. Of a server that runs it is what that says of itself."""
    server = observed.servers.get(instance.name)
    if observed.is_active(instance.unit) and server is not None and server.refusal is None:
        info = server.info
        keys, offset = count_keys(info)[0], info.get("slave_repl_offset", info.get("master_repl_offset", ""))
        nothing = {"number_of_functions": ("", "0"), "slave_repl_offset": NEVER_IN_SYNC, "loading": ("", "0")}
        if not keys and all(info.get(name, "") in values for name, values in nothing.items()):
            return ""
        return printable(f"{keys} key{'' if keys == 1 else 's'}, up to byte {offset or '?'} of its history")
    files = pieces(instance.name, observed)
    newest = max((observed.stored[path].modified for path in files if path in observed.stored), default=0)
    when = f", written last {in_utc(newest)}" if newest else ""
    return f"{sum(observed.data_files[path] for path in files)} bytes of data{when}" if files else ""


NEVER_IN_SYNC = ("0", "1")  # offsets of a server that has followed none since its start (replication.c)


def stance(instance: Instance, observed: Observed) -> Stance:
    """What a role's server on a host is; which server it follows is not asked."""
    role = instance.name
    drop_ins = observed.unit(unit_name(role)).get("DropInPaths", "").split()
    is_copy, is_fenced = copy_drop_in(role) in drop_ins, handed_over_drop_in(role) in drop_ins
    if observed.is_active(instance.unit):
        server = observed.servers.get(role)
        says = server.info.get("role") if server is not None and server.refusal is None else None
        follows = Stance.DEMOTED if is_fenced else Stance.FOLLOWS if is_copy else Stance.TOLD
        running = {"master": Stance.SERVES, "slave": follows}
        return running.get(says or "", Stance.UNTOLD)
    if is_copy:
        return Stance.COPY
    if is_fenced:
        return Stance.FENCED
    if moved_file(role) in observed.files:
        return Stance.OLD
    if _is_lost(instance, observed):
        return Stance.LOST
    if promoted_file(role) in observed.files:
        return Stance.PROMOTED
    keeps = has_own_data(instance, observed) or begun_file(role) in observed.files
    return Stance.KEEPS if keeps or role in observed.adopting else Stance.EMPTY


def _is_lost(instance: Instance, observed: Observed) -> bool:
    """Whether a stopped server has run here, and what it had is gone: all of it, or its log beside an older snapshot.

    Whatever a person has said to begin without: that says nothing of the other host.
    """
    role = instance.role
    if begun_file(role.name) not in observed.files or role.name in observed.adopting:
        return False
    found = pieces(role.name, observed)
    is_cut = role.appendonly and found == [snapshot_file(role)]
    return not found or (is_cut and not snapshot_is_meant(replace(instance, accepts_loss=False), observed))


def _by_itself(side: Side) -> bool:
    """Whether a server is a standby, where nobody can tell of both."""
    if side.stance in COPIES:
        return True
    return side.by_inventory and side.stance not in (Stance.SERVES, *BEGUN, Stance.TOLD)


def verdict(role: str, first: Side, other: Side) -> Verdict:
    """Which of the two hosts of a role serves it; `first`: the one that the inventory names."""
    sides = (first, other)
    seen = f"{first}, and {other}"
    serving = [side for side in sides if side.stance is Stance.SERVES]
    if len(serving) == 2:
        return Verdict("", f"{seen}: two servers take writes", _two(role, sides), Kind.TWO)
    if serving:
        (other_one,) = [side for side in sides if side is not serving[0]]
        if serving[0].told and other_one.stance in (Stance.UNSEEN, Stance.UNTOLD):
            return Verdict("", seen, _told_alone(serving[0], other_one))
        return Verdict(serving[0].host)
    if any(side.stance is Stance.STRAYS for side in sides):
        are_told = all(side.stance not in (Stance.UNSEEN, Stance.UNTOLD) for side in sides)
        return Verdict("", seen, _strays(role, sides), Kind.NOBODY if are_told else Kind.PAIR)
    if any(side.stance is Stance.UNTOLD for side in sides):
        return Verdict("", seen, "see what the one that does not tell says in its journal, and look again")
    if unseen := [side for side in sides if side.stance is Stance.UNSEEN]:
        return _of_one_unseen(role, sides, unseen)
    return _of_what_lies_there(role, first, other)


COPIES = (Stance.FOLLOWS, Stance.STRAYS, Stance.DEMOTED, Stance.COPY)
KEEPING = (Stance.KEEPS, Stance.PROMOTED)
BEGUN = (*KEEPING, Stance.LOST)
HOLDING = (*COPIES, Stance.FENCED)  # where there is data, it may be all that is left of it
WITHOUT = (Stance.LOST, Stance.EMPTY)


def _of_one_unseen(role: str, sides: tuple[Side, Side], unseen: Sequence[Side]) -> Verdict:
    """None serves of those that were seen, one at most."""
    here = next((side for side in sides if side not in unseen), None)
    if here is not None and here.stance is Stance.FOLLOWS:
        return Verdict(unseen[0].host)
    way = "let both hosts take part: without --limit and --exclude, and reachable"
    if here is not None and here.stance is Stance.LOST:
        way += (
            f"; where {unseen[0].host} is lost for good, too: leave {here.host} alone in group redis_{role}, and "
            "deploy: README, Data that is gone"
        )
    elif here is not None and here.stance in KEEPING:
        way += (
            f"; where {unseen[0].host} is lost and nobody has promoted it: --data serve_alone={role}, which starts "
            f"the one on {here.host}"
        )
    return Verdict("", f"{sides[0]}, and {sides[1]}", way)


def _of_what_lies_there(role: str, first: Side, other: Side) -> Verdict:
    """Both were seen, and neither serves: who would, if it were started."""
    sides, seen = (first, other), f"{first}, and {other}"
    promoted = [side for side in sides if side.stance is Stance.PROMOTED]
    begun = promoted if len(promoted) == 1 else [side for side in sides if side.stance in BEGUN]
    if len(begun) == 2:
        return Verdict("", f"{seen}: nobody serves it", _both(role, sides), Kind.NOBODY)
    if any(side.stance is Stance.TOLD for side in sides):
        way = f"if what it follows has no newer data, there: systemctl restart {unit_name(role)}, which forgets it"
        return Verdict("", f"{seen}: nobody serves it", way, Kind.NOBODY)
    for without, holder in (sides, sides[::-1]):
        if without.stance in WITHOUT and holder.stance in HOLDING:
            return _of_one(role, without, holder)
    if begun:
        return Verdict(begun[0].host)
    if first.stance is other.stance is Stance.EMPTY:
        return Verdict(first.host)
    if all(side.stance in (Stance.FOLLOWS, Stance.COPY) for side in sides):
        return Verdict("", f"{seen}: nobody serves it", _two_copies(role, sides), Kind.NOBODY)
    way = _half_way(role, sides) or (
        "start the one that served last, if its data is there; where its host is lost: tasks/handover.py --data "
        f"promote={role} (docs/runbook.md, Promote a standby)"
    )
    return Verdict("", f"{seen}: nobody serves it", way, Kind.NOBODY)


def _of_one(role: str, without: Side, holder: Side) -> Verdict:
    """One host has nothing of a role, and whatever the other one has is all there is: none begins beside it."""
    if not holder.holds:
        return Verdict(without.host)  # it is a copy of nothing: a first deploy of both was cut off, say
    has = f"{without}, and {holder}"
    if not holder.outlives and without.stance is Stance.EMPTY and holder.stance is Stance.FOLLOWS:
        way = (
            f"on {without.host}: systemctl start {unit_name(role)}, which begins empty, as each start of it does, and "
            f"{holder.host} with it; to keep what that one has ({holder.holds}): {_promote(role, without, holder)}"
        )
        return Verdict("", f"{has}: nobody serves it", way, Kind.ALONE)
    way = (
        f"{holder.host} has {holder.holds}, and may be all that has it: if the disk "
        f"of {without.host} is only not there, mount it (findmnt {data_directory(role)}), and start it; where its data "
        f"is lost: {_fenced(role, holder) if holder.stance is Stance.FENCED else _promote(role, without, holder)}; "
        f"whatever {without.host} began with, {holder.host} would copy that, and lose its own"
    )
    return Verdict("", f"{has}: nobody serves it", way, Kind.NOBODY)


def _promote(role: str, without: Side, holder: Side) -> str:
    """How what a standby has is served, where its primary's host is there and has nothing, in words."""
    start = f"start it (on {holder.host}: systemctl start {unit_name(role)}), " if holder.stance is Stance.COPY else ""
    return (
        f"{start}tasks/handover.py --data promote={role} --data old_data_is_lost=true (docs/runbook.md, Promote a "
        f"standby), which keeps {without.host} from its start first, and deploy: it is the standby then"
    )


def _half_way(role: str, sides: tuple[Side, Side]) -> str:
    """What a person does about a handover that neither was begun nor has ended; empty where there is none."""
    gone = next((side for side in sides if side.stance in (Stance.DEMOTED, Stance.FENCED)), None)
    if gone is None or not any(side.stance in COPIES for side in sides):
        return ""
    return (
        f"tasks/handover.py --data handover={role}, which finishes a handover that was cut off, or starts the old one "
        "again where the other was not told"
    )


def by_hand(role: str, fenced: str, copy: str) -> str:
    """What a person does where the old server's host went down amid a handover, and its copy may have been told."""
    return (
        f"see on {copy} whether it was told to serve since: {begun_file(role)} is there, or journalctl -u "
        f"{unit_name(role)} says MASTER MODE enabled; if neither, on {fenced}: rm {handed_over_drop_in(role)}, "
        f"systemctl daemon-reload, systemctl start {unit_name(role)}, which serves as before; else on {copy}: "
        f"systemctl stop {unit_name(role)}, rm {copy_drop_in(role)}, systemctl daemon-reload, and deploy with --limit "
        f"{copy} --data serve_alone={role}; then deploy to both"
    )


def _two_copies(role: str, sides: tuple[Side, Side]) -> str:
    """What a person does where either server starts as a copy of the other: neither gives the other one anything."""
    names, unit = " or ".join(side.host for side in sides), unit_name(role)
    return (
        f"see which of {names} served last: on that one journalctl -u {unit} says MASTER MODE enabled last, or "
        f"{begun_file(role)} is there. On the other one: systemctl stop {unit}; cp -a {data_directory(role)} "
        f"/root/{role}-copy. On the one that served last: systemctl stop {unit}; rm {copy_drop_in(role)}; systemctl "
        f"daemon-reload; deploy with --limit to its host and --data serve_alone={role}; then deploy to both"
    )


def _fenced(role: str, holder: Side) -> str:
    """How the one that was handed over goes on, where what it was handed over to has lost that, in words."""
    return (
        f"on {holder.host}: rm {handed_over_drop_in(role)}, systemctl daemon-reload; deploy with --limit {holder.host} "
        f"--data serve_alone={role}, which starts it; then deploy to both"
    )


def _told_alone(told: Side, other: Side) -> str:
    """What a person does about a standby that serves by a command, whose primary may serve, too, in words."""
    return (
        f"let {other.host} take part, too: somebody told the standby on {told.host} to serve (REPLICAOF NO ONE), or a "
        f"handover was cut off. Do not restart it: its next start copies {other.host}, and loses what it took since"
    )


def _strays(role: str, sides: tuple[Side, Side]) -> str:
    """What a person does about a server that is to be one of a pair, and follows a third one."""
    stray = next(side for side in sides if side.stance is Stance.STRAYS)
    return (
        f"see what {stray.follows} is: where that one serves {role}, put its host back into the pair (groups "
        f"redis_{role} and redis_{role}_standby: that one and {stray.host}), deploy, hand over to {stray.host}, and "
        "replace it then; where its host is lost, put it back into its group all the same, and promote "
        f"{stray.host} (docs/runbook.md, Promote a standby); where no server of {role} was ever there, on "
        f"{stray.host}: systemctl stop {unit_name(role)}, and deploy"
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

"""Which roles move to another host with their data, and what of a move that was cut off is left. Pure.

A copy is started by a drop-in of its unit, an old server that was handed over is kept from its next start by another:
both lie where root alone can write, and last as long as what they say (docs/decisions/0029). They say what was meant;
whether a server that runs is one, it says itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from tasks.catalogue.tls import may_follow
from tasks.compare.adoption import adoptions, has_own_data
from tasks.compare.along import Along, along_with
from tasks.compare.data_files import pieces, put_back_commands
from tasks.compare.difference import ByHand, Difference, Remedy
from tasks.compare.passwords import keep_password
from tasks.desired.host import Host, Instance, User
from tasks.desired.paths import (
    NEW,
    begun_file,
    copy_drop_in,
    copy_file,
    data_directory,
    handed_over_drop_in,
    moved_file,
    unit_name,
)
from tasks.desired.standby import IS_A_STANDBY
from tasks.observed.state import Leftover, Observed

Seen = Mapping[str, tuple[Host, Observed]]  # by inventory name

A_COPY = "a copy of the role on another host, not finished"
KEPT = (Remedy.START, Remedy.ENABLE)  # of a role that moves: what the move itself does, when its data is there


@dataclass(frozen=True)
class Sealed:
    """What the servers of a role that speaks TLS show each other.

    `old`, `new`: the addresses that their certificates are for. `asks`: who connects has to show a certificate, too.
    """

    old: str
    new: str
    asks: bool


@dataclass(frozen=True)
class Move:
    """A role that comes to host `target` with the data that its server on host `source` has, listening at `where`.

    `handed_over`: the old server has become the follower of the new one already. `again`: a copy of before is there.
    `aside`: data of the role is there, from before it moved away.
    """

    role: str
    source: str
    target: str
    where: tuple[str, int]
    to: tuple[str, int]
    keys: int
    size: int  # bytes of memory
    handed_over: bool = False
    again: bool = False
    aside: bool = False
    along: Along | None = None  # how its address comes along
    tls: Sealed | None = None  # how its servers speak to each other; in clear without

    @property
    def copied_at(self) -> tuple[str, int]:
        """Where the old host reaches the copy, until that serves."""
        return self.to if self.along is None else (self.along.own, self.to[1])

    def __str__(self) -> str:
        if self.handed_over:
            return f"move: {self.role} from {self.source} to {self.target}: handed over already, it is finished"
        keys = f"{self.keys} key{'' if self.keys == 1 else 's'}"
        anew = ", begun anew: a copy that was cut off is discarded" if self.again else ""
        anew += ", what it kept here of before is set aside" if self.aside else ""
        address = f", then at {self.to[0]}:{self.to[1]}" if self.to != self.where else ""
        address = f", {self.to[0]} comes along" if self.along else address
        return (
            f"move: {self.role} from {self.source} to {self.target}, {keys}, {self.size / (1 << 20):.1f} MiB, "
            f"clients pause about 1 s{address}{anew}"
        )


def moves(hosts: Seen) -> tuple[list[Move], list[str]]:
    """The roles that move with their data, and why some cannot: `host: role: …, what to do`.

    One moves whose server runs and tells what it holds on a host that does not carry it, when it would begin empty on
    one that does. What else is elsewhere, and why it is no move, is elsewhere.py's to say.
    """
    found: list[Move] = []
    problems: list[str] = []
    for name, (desired, observed) in sorted(hosts.items()):
        for instance in desired.instances:
            if instance.is_standby:
                continue  # it has its primary's data
            problems += [f"{name}: {item}" for item in _replaced(instance, observed)]
            sources = list(_sources(name, instance, hosts))
            if len(sources) != 1 or not _begins_here(instance, desired, observed):
                problems += [f"{name}: {item}" for item in _stranded(instance, desired, observed)]
                continue
            source, leftover = sources[0]
            along, wrong = along_with(name, source, instance, leftover, hosts)
            wrong = [*_obstacles(instance, desired, observed, leftover, hosts[source][1]), *wrong]
            problems += [f"{name}: {instance.name}: cannot be moved here from {source}: {item}" for item in wrong]
            if not wrong and leftover.endpoint is not None:
                move = replace(_move(instance, name, source, leftover, observed), along=along)
                found.append(replace(move, tls=_sealed(instance, move)))
    return found, problems


def _sealed(instance: Instance, move: Move) -> Sealed | None:
    if instance.credentials is None:
        return None
    return Sealed(instance.address if move.along else move.where[0], instance.address, instance.asks_certificates)


def _move(instance: Instance, name: str, source: str, leftover: Leftover, observed: Observed) -> Move:
    info, role = leftover.info, instance.name
    to = (instance.address, instance.role.port)
    return Move(
        role,
        source,
        name,
        leftover.endpoint or to,
        to,
        leftover.keys or 0,
        _size(info, "used_memory"),
        handed_over=info.get("role") == "slave",
        again=role in observed.copies,
        aside=role in observed.superseded,
    )


def _replaced(instance: Instance, observed: Observed) -> Iterator[str]:
    """Why a role does not go on where it was handed over from: it would not start, or serve beside another one."""
    role = instance.name
    if instance.role.paired:
        return  # its two hosts take each other's place, and what of that was cut off pairs.py says
    if is_handed_over(role, observed) and _says(role, observed) != "master":
        server = observed.servers.get(role)
        info = server.info if server is not None else {}
        where = f", and it follows {info['master_host']}:{info.get('master_port')}" if "master_host" in info else ""
        yield (
            f"{role}: its data was handed over from here to another host, or was about to be "
            f"({handed_over_drop_in(role)}){where}, expected that nobody starts it here before that one has ended: put "
            f"the host that has it into group redis_{role} in place of this one and deploy, which finishes the move; "
            "then the role can move back; if no host serves it: see docs/availability.md, A copy that lacks something"
        )


def _stranded(instance: Instance, desired: Host, observed: Observed) -> Iterator[str]:
    """What a move has left that this run cannot finish, begin anew or begin with: nothing begins with it unasked."""
    role = instance.name
    if role in observed.copies and _is_a_standby(role, observed):
        yield (
            f"{role}: what is here is the standby of a host that is no part of this run, expected both: it has what "
            f"that one had, and may be all that does. Put that host back into group redis_{role} and this one into "
            f"redis_{role}_standby; where that host is lost it may be off for that: tasks/handover.py --data "
            f"promote={role} (docs/runbook.md, Promote a standby); once this one serves, the other may leave the "
            "inventory"
        )
        return
    unseen = "was not seen to run and to tell what it holds, expected that its host is in this run: deploy to both"
    if role in observed.copies:
        yield (
            f"{role}: what runs here is {A_COPY}, and the server that it copies {unseen}; where that one was handed "
            "over and is down: see docs/availability.md, A copy that lacks something; to begin without that data: "
            f"systemctl stop {instance.unit}, rm {copy_drop_in(role)}, systemctl daemon-reload, mv "
            f"{data_directory(role)} elsewhere"
        )
    elif role in observed.superseded:
        yield (
            f"{role}: what it keeps here is of before it moved to another host ({moved_file(role)}), and its server "
            f"there {unseen}, which moves it back; to begin with what is here, without what was written since: --data "
            f"accept_loss={role}"
        )
    elif _is_aside_only(instance, observed) and role not in desired.requests.begin_empty:
        yield (
            f"{role}: would begin empty: what it kept here of before it moved is set aside, as a move back that was "
            f"cut off leaves it, and its server elsewhere {unseen}; to begin with what was set aside: "
            f"{put_back_commands(instance, observed)}, and deploy again; to begin empty: --data begin_empty={role}"
        )


def _is_a_standby(role: str, observed: Observed) -> bool:
    """Whether a role's copy here was a standby, and no copy of a move."""
    file = observed.files.get(copy_drop_in(role))
    return file is not None and IS_A_STANDBY in file.content


def _is_aside_only(instance: Instance, observed: Observed) -> bool:
    """Whether all that a role that has moved away keeps here is what a move back has set aside."""
    role = instance.name
    if moved_file(role) not in observed.files or observed.is_active(instance.unit) or pieces(role, observed):
        return False
    return bool(put_back_commands(instance, observed))


def _begins_here(instance: Instance, desired: Host, observed: Observed) -> bool:
    """Whether nothing of the role is on the host: it neither runs, nor has data, nor takes over another server's."""
    adopted = {item.instance.name for item in adoptions(desired, observed)}
    asked = instance.name in (*desired.requests.begin_empty, *adopted, *observed.adopting)
    return not asked and not observed.is_active(instance.unit) and not has_own_data(instance, observed)


def _sources(name: str, instance: Instance, hosts: Seen) -> Iterator[tuple[str, Leftover]]:
    """Running servers of the role that tell what they hold, on hosts that do not carry it, copies left out."""
    for other, (_, observed) in sorted(hosts.items()):
        for leftover in observed.leftovers:
            tells = leftover.running and leftover.keys is not None
            if other != name and leftover.role == instance.name and tells and not is_copy(instance.name, observed):
                yield other, leftover


def _obstacles(
    instance: Instance, desired: Host, observed: Observed, leftover: Leftover, there: Observed
) -> Iterator[str]:
    """Why a role cannot be moved from a server, in words, and what to do."""
    info, role = leftover.info, instance.role
    if role.paired:
        yield (
            "it has a standby, expected none while it moves: let this host be its standby first, in place of the other "
            f"one (group redis_{role.name}_standby), deploy, and hand over: README, A standby"
        )
    yield from _tls_obstacles(instance, leftover)
    if info.get("role") != "master" and not (is_handed_over(role.name, there) and role.name in observed.copies):
        yield (
            "its server follows another one, expected one that serves: if that one has no newer data, there systemctl "
            f"restart {instance.unit}, for it follows by a command only, which a start forgets (a role without a log "
            "or snapshots begins empty so); then deploy again"
        )
    if was_newer := _newer(info.get("redis_version", ""), version_to_be(desired, observed)):
        yield f"{was_newer}: data never goes back to an older version: install the newer one here"
    yield from _passwords(instance, leftover)
    used = _size(info, "used_memory") - _size(info, "mem_not_counted_for_evict")
    # One that is full is as full here, where its limit is none that is smaller.
    fits = 0 < _size(info, "maxmemory") <= role.maxmemory
    if role.maxmemory and used > role.maxmemory and not fits:
        yield f"it uses {used >> 20} MiB, and maxmemory is to be {role.maxmemory >> 20} MiB: raise it in roles.yaml"
    beyond = [name for name in info if re.fullmatch("db[0-9]+", name) and int(name[2:]) >= role.databases]
    if beyond:
        yield f"{', '.join(sorted(beyond))} in use, and databases is to be {role.databases}: raise it in roles.yaml"


def _tls_obstacles(instance: Instance, leftover: Leftover) -> Iterator[str]:
    """Why a role that is to speak TLS cannot be moved by it."""
    role = instance.role
    if role.tls is not None and not leftover.sealed:
        yield (
            "its server speaks in clear on a port, and here it has tls, expected that both speak TLS alone, for a "
            "move switches nothing: end the switch first where it is (docs/runbook.md, Turn on TLS; a "
            "plain_inner_port is a port in clear, too)"
        )
    elif role.tls is not None and role.plain_port is not None:
        yield "here it is to have a port in clear, expected that it moves with TLS alone: open that behind the move"
    if instance.credentials and instance.asks_certificates and not may_follow(instance.credentials, instance.address):
        yield (
            "its clients have to show certificates, and its own may not be shown by a client, expected one that may, "
            "for a copy is a client of its server: let tls.certificate be issued for clientAuth, too, and deploy first"
        )


def _size(info: Mapping[str, str], name: str) -> int:
    """Bytes that a server tells of; 0 where it does not."""
    text = info.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() else 0


def _passwords(instance: Instance, leftover: Leftover) -> Iterator[str]:
    """That its services would be locked out: what they log in with there is not what they would be given here."""
    if instance.new_passwords:
        return
    if leftover.users is None:
        yield "its server did not tell whose passwords it has, expected those of the secrets file: look why, and again"
        return
    others = [user.name for user in instance.users if _is_replaced(instance, user, leftover.users.get(user.name))]
    if others:
        yield (
            f"{', '.join(others)}: its server has passwords that the secrets file has not, expected the same: "
            f"{keep_password(instance).advice}"
        )


def _is_replaced(instance: Instance, user: User, has: Collection[str] | None) -> bool:
    """Whether a password that a user has would be none any more, unasked. `has`: hashes; None of one that is new."""
    drops = user.name in instance.finishing and user.newest_sha256 in (has or ())
    return bool(has) and not set(has or ()) <= set(user.passwords_sha256) and not drops


def version_to_be(desired: Host, observed: Observed) -> str:
    """The Debian version of Redis that the host has after the run; empty where nobody knows."""
    return desired.redis_version or observed.packages.get("redis-server") or observed.candidate


def _newer(source: str, target: str) -> str:
    """In words, that the old server is of a newer version than the new one will be; empty where it is not."""
    then, now = _release(source), _release(target.rpartition(":")[2])
    return f"it is Redis {source}, and here {target} is installed" if then and now and then > now else ""


def _release(text: str) -> tuple[int, ...]:
    match = re.match(r"([0-9]+)\.([0-9]+)\.([0-9]+)", text)
    return tuple(map(int, match.groups())) if match else ()


# --- What a move that was cut off has left


def _drop_ins(role: str, observed: Observed) -> list[str]:
    return observed.unit(unit_name(role)).get("DropInPaths", "").split()


def is_copy(role: str, observed: Observed) -> bool:
    """Whether a role's server, if there is one, is a copy: one that serves is none, whatever it was started as."""
    return copy_drop_in(role) in _drop_ins(role, observed) and _says(role, observed) != "master"


def is_handed_over(role: str, observed: Observed) -> bool:
    """Whether a role's server was handed over to another host, or a handover was cut off."""
    return handed_over_drop_in(role) in _drop_ins(role, observed)


def has_moved(role: str, observed: Observed) -> bool:
    """Whether something of a move of the role is on the host."""
    return copy_drop_in(role) in _drop_ins(role, observed) or is_handed_over(role, observed)


def serves_nobody(leftover: Leftover, observed: Observed) -> bool:
    """Whether a server that is to end is known to be none that clients write to: a copy, or one that was replaced.

    It says that it follows another one, and the host knows why: what nobody knows is not ended for.
    """
    follows = leftover.info.get("role") == "slave"
    return follows and (is_copy(leftover.role, observed) or is_handed_over(leftover.role, observed))


def serves(role: str, observed: Observed) -> bool:
    """Whether a role's server on the host says that it serves."""
    return _says(role, observed) == "master"


def keeps_older_data(role: str, observed: Observed) -> bool:
    """Whether what a host keeps of a role that ends there is of before a move, or half of what came by one.

    So it is where a move has left what says so and the server does not say that it serves: also where it does not run.
    Where that is not known, it is older: nothing begins with it unasked.
    """
    return has_moved(role, observed) and not serves(role, observed)


def _says(role: str, observed: Observed) -> str:
    """What a role's server on the host says that it is; empty where none runs, or none tells."""
    server = observed.servers.get(role)
    told = [server.info] if server is not None and server.refusal is None else []
    told += [item.info for item in observed.leftovers if item.role == role]
    return next((info["role"] for info in told if "role" in info), "")


def without_copies(desired: Host, observed: Observed) -> Observed:
    """`observed` as if copies were not there, nor data that another host has newer: a role begins with none of them."""
    carried = [item for item in desired.instances if not item.is_standby]
    roles = frozenset(item.name for item in carried if is_copy(item.name, observed))
    older = frozenset(item.name for item in carried if _is_superseded(item, desired, observed)) - roles
    for role in roles:
        observed = _without(role, observed)
    for role in older:
        observed = _without_data(role, observed)
    return replace(observed, copies=roles, superseded=older) if roles or older else observed


def _is_superseded(instance: Instance, desired: Host, observed: Observed) -> bool:
    """Whether a role's data on its host is of before it moved away, and nobody has asked to begin with it."""
    role = instance.name
    asked = instance.accepts_loss or role in desired.requests.begin_empty
    return moved_file(role) in observed.files and not asked and not observed.is_active(instance.unit)


def _without(role: str, observed: Observed) -> Observed:
    unit = unit_name(role)
    pid = observed.pid(unit)
    left = [path for path in _drop_ins(role, observed) if path != copy_drop_in(role)]
    state = {**observed.unit(unit), "ActiveState": "inactive", "MainPID": "0", "NRestarts": "0"}
    return replace(
        _without_data(role, observed),
        units={**observed.units, unit: {**state, "DropInPaths": " ".join(left), "NeedDaemonReload": "no"}},
        listeners=tuple(item for item in observed.listeners if not item.is_of(pid)),
        servers={name: item for name, item in observed.servers.items() if name != role},
        started={name: item for name, item in observed.started.items() if name != unit},
    )


def _without_data(role: str, observed: Observed) -> Observed:
    directory, inside = data_directory(role), f"{data_directory(role)}/"
    return replace(
        observed,
        data_files={path: item for path, item in observed.data_files.items() if not path.startswith(inside)},
        stored={path: item for path, item in observed.stored.items() if not path.startswith(inside)},
        data_used={path: item for path, item in observed.data_used.items() if path != directory},
    )


def named_copies(differences: list[Difference], observed: Observed) -> list[Difference]:
    """The differences, a copy called what it is."""
    return [
        replace(item, observed=A_COPY) if item.role in observed.copies and item.remedy == Remedy.START else item
        for item in differences
    ]


def handover_differences(desired: Host, observed: Observed) -> Iterator[Difference]:
    """What a handover that was cut off has left on a host that carries the role.

    What keeps it from its next start goes where its server serves: it was not replaced. Of any other nobody here knows
    which host has newer data. What makes it a copy goes where it is none: at its next start it would be one.
    """
    for instance in desired.instances:
        role = instance.name
        if instance.is_standby:
            continue  # what makes it one is desired
        if is_handed_over(role, observed):
            path = handed_over_drop_in(role)
            advice = (
                f"its data was handed over to another host, or was about to be: put that one into group "
                f"redis_{role} if it serves; if none does, rm {path}, systemctl daemon-reload, and deploy"
            )
            if instance.role.paired:
                advice = f"its handover was cut off: tasks/handover.py --data handover={role}, which settles that"
            remedy = Remedy.REMOVE if _says(role, observed) == "master" else ByHand(advice)
            yield Difference(role, "file", path, "absent", "keeps it from its next start", remedy)
        if moved_file(role) in observed.files and role not in (*observed.copies, *observed.superseded):
            found = "says that another host has newer data of it"
            yield Difference(role, "file", moved_file(role), "absent", found, Remedy.REMOVE)
        if role not in observed.copies:
            for path, found in _of_a_copy(role, observed):
                yield Difference(role, "file", path, "absent", found, Remedy.REMOVE)


def _of_a_copy(role: str, observed: Observed) -> Iterator[tuple[str, str]]:
    """Files that make the role a copy, and what each of them does."""
    if copy_drop_in(role) in _drop_ins(role, observed):
        yield copy_drop_in(role), "makes it a copy at its next start"
    for path in (copy_file(role), copy_file(role) + NEW):
        if path in observed.files:
            yield path, "left of a copy, with its password"


def of_moves(differences: tuple[Difference, ...], moving: list[Move]) -> tuple[Difference, ...]:
    """The differences without what the moves do themselves: a role does not start on its own data."""
    roles = {item.role for item in moving}
    records = {begun_file(role) for role in roles}
    coming = {item.role for item in moving if item.along}
    return tuple(
        item
        for item in differences
        if not (item.role in roles and (item.remedy in KEPT or (item.subject == "file" and item.name in records)))
        and not (item.role in coming and item.subject == "address" and item.remedy == Remedy.PLACE)
    )

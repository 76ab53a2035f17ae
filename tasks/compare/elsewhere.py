"""Where the data of roles is, over all hosts of a run: a role that would begin empty while it is elsewhere. Pure.

A role that was moved to another host, or renamed, looks like a new one beside an old one that nobody wants any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tasks.catalogue.moments import in_utc
from tasks.compare.adoption import adoptions, has_own_data
from tasks.compare.data_files import pieces
from tasks.compare.moving import serves_nobody
from tasks.desired.host import Host, Instance
from tasks.desired.paths import data_directory, unit_name
from tasks.observed.state import Leftover, Observed, count_keys

Seen = Mapping[str, tuple[Host, Observed]]  # by inventory name
Placed = Mapping[str, Sequence[str]]  # role → hosts of the inventory that carry it and that the run leaves out

# A log of no keys, its manifest and a snapshot: 264 bytes on 7.0.15 and 8.0.2.
NEXT_TO_NOTHING = 1 << 10  # bytes


def moved_roles(hosts: Seen, moving: Collection[str] = ()) -> list[str]:
    """Every role that would begin empty, or with old data, while its data is elsewhere in the run, or end there.

    Not those `moving`, whose data comes along. `host: role: …, what to do`
    """
    begun = [
        f"{name}: {problem}"
        for name, (desired, observed) in sorted(hosts.items())
        for instance in desired.instances
        if instance.name not in moving and not instance.is_standby
        for problem in _problems(name, instance, hosts)
    ]
    return begun + [
        f"{name}: {problem}"
        for name, (_, observed) in sorted(hosts.items())
        for leftover in observed.leftovers
        if _holds_keys(leftover) and not serves_nobody(leftover, observed)
        for problem in _second_servers(name, leftover, hosts)
    ]


def unserved_roles(hosts: Seen, left_out: Placed) -> list[str]:
    """Every role that would end on a host while one that carries it now was not looked at: nobody knows who serves it.

    `host: role: …, what to do`
    """
    return [
        f"{name}: {leftover.role}: {_described(leftover.role, name, leftover, observed)}, and {', '.join(outside)}, "
        "which the inventory gives the role to, is no part of this run, expected to be seen to serve it before it ends "
        f"here: deploy to all of them at once, without --limit and --exclude, or with --limit {name} --limit "
        f"{' --limit '.join(outside)}"
        for name, (_, observed) in sorted(hosts.items())
        for leftover in observed.leftovers
        if (outside := sorted(left_out.get(leftover.role, ())))
    ]


def unseen_beginnings(hosts: Seen, left_out: Sequence[str], moving: Collection[str] = ()) -> list[str]:
    """Notes on the roles that begin, empty or with what they kept, in a run without some hosts of the inventory."""
    return [
        f"{instance.name} begins {how} is on a host that this run leaves out is not known ({', '.join(left_out)})"
        for name, (desired, observed) in sorted(hosts.items())
        for instance in desired.instances
        if left_out and instance.name not in moving and not instance.is_standby
        if (how := _beginning(name, instance, desired, observed))
    ]


def known_beginnings(hosts: Seen, lacking: Collection[str]) -> list[str]:
    """Notes on the roles that begin empty and whose passwords were there before: they may have run, and a host is new.

    `lacking`: roles of which passwords are made up in this run. Empty ones ask nobody for what they once had.
    """
    found: dict[str, list[str]] = {}
    for name, (desired, observed) in sorted(hosts.items()):
        for instance in desired.instances:
            asked = instance.name in desired.requests.begin_empty or instance.is_standby
            if instance.name not in lacking and not asked and _begins_empty(instance, desired, observed):
                found.setdefault(name, []).append(instance.name)
    return [
        f"{' and '.join(names)} {'begins' if len(names) == 1 else 'begin'} empty on {name}, "
        "with passwords that were there before. If it has ever run, bring its data first (docs/runbook.md, Host "
        "installed anew)"
        for name, names in found.items()
    ]


def _beginning(name: str, instance: Instance, desired: Host, observed: Observed) -> str:
    """How an instance begins on its host, and what nobody knows then; empty when it runs or gets other data."""
    if _begins_empty(instance, desired, observed):
        return f"empty on {name}: whether its data"
    if observed.is_active(instance.unit) or not has_own_data(instance, observed):
        return ""
    return f"on {name} with what it has there ({_held(instance.name, observed)}): whether newer data"


def endings(hosts: Seen) -> list[str]:
    """Notes on the servers that a run ends and that hold keys, or do not tell."""
    return [
        f"{_described_with_age(leftover, name, observed)}: it ends when all hosts are proved"
        for name, (_, observed) in sorted(hosts.items())
        for leftover in observed.leftovers
        if _holds_keys(leftover)
    ]


def kept_data(role: str, name: str, hosts: Seen, moved: Collection[str] = ()) -> str:
    """What a host keeps of a role that ended there, as it was before the run, and how to delete it.

    That is not offered where the role's new host had no data that is as new: this may be the only copy. `moved`: roles
    whose data went from here to their new hosts in this run.
    """
    observed = hosts[name][1]
    leftover = next((item for item in observed.leftovers if item.role == role), None)
    held = _held(role, observed)
    keys = "" if leftover is None or leftover.keys is None else f"{_keys(leftover)}, "
    others = [other for other, (desired, _) in sorted(hosts.items()) if any(i.name == role for i in desired.instances)]
    if role in moved or (leftover is not None and serves_nobody(leftover, observed)):
        where = ", ".join(others) or "the host that it was handed over to"
        return f"{keys}{held}: of before it moved, {where} has all that; --data purge={role} deletes it"
    place = _Place("", "", leftover, held)
    behind = [
        other
        for other in others
        if _is_behind(own := _held(role, hosts[other][1]), place)
        or (held.newest > own.newest and (leftover is None or leftover.keys != 0))
    ]
    if behind:
        return f"{keys}{held}: newer than what {', '.join(behind)} had of it, and maybe the only copy"
    return f"{keys}{held}; --data purge={role} deletes it"


def leftovers_in_place(desired: Host, observed: Observed) -> Iterator[tuple[Instance, Leftover]]:
    """Servers of roles that the host no longer carries, on the address and a port of one that it carries now."""
    for instance in desired.instances:
        ports = {(instance.address, port) for port in instance.role.ports}
        for leftover in observed.leftovers:
            if leftover.running and leftover.endpoint in ports:
                yield instance, leftover


def _problems(name: str, instance: Instance, hosts: Seen) -> Iterator[str]:
    desired, observed = hosts[name]
    for held, leftover in leftovers_in_place(desired, observed):
        if held is instance:
            yield _renamed(instance.name, leftover)
            return
    if instance.name in desired.requests.begin_empty or observed.is_active(instance.unit):
        return
    places = list(_of_its_name(name, instance, hosts))
    own = _held(instance.name, observed)
    if _begins_empty(instance, desired, observed):
        places += _of_its_address(instance, hosts)
        begins, with_what = "empty", ""
    elif has_own_data(instance, observed):
        places = [place for place in places if _is_behind(own, place) and not place.replaced]
        begins = f"with what it has here ({own}) in {data_directory(instance.name)}"
        with_what = "begins with what is here and "
    else:
        return
    if places:
        yield (
            f"{instance.name}: would begin {begins}, and {'; '.join(place.words for place in places)}: "
            f"{places[0].way}; or --data begin_empty={instance.name}, which {with_what}leaves that data where it is"
        )


def _second_servers(name: str, leftover: Leftover, hosts: Seen) -> Iterator[str]:
    """Why a server with keys does not end for another one that has other keys; one that does not run is asked before.

    No run brings data from one host to another: what runs elsewhere began without what was written here since.
    """
    role = leftover.role
    others = {
        other: there
        for other, (desired, observed) in sorted(hosts.items())
        if other != name and role not in desired.requests.begin_empty and (there := _serves(role, other, hosts))
    }
    if others:
        places = " or ".join(others)
        yield (
            f"{role}: {_described_with_age(leftover, name, hosts[name][1])}, and {'; '.join(others.values())}, "
            f"expected keys in one of them before the other ends: put {name} back into group redis_{role}, in place of "
            f"{places} if its data is wanted; or stop the one whose data is not wanted, which keeps that: systemctl "
            f"disable --now {unit_name(role)}; or --data begin_empty={role}, which ends the one on {name} after all "
            "hosts are proved, and leaves its data where it is"
        )


def _serves(role: str, name: str, hosts: Seen) -> str:
    """In words, what serves a role on a host that carries it; empty where nothing does, or nothing with data."""
    desired, observed = hosts[name]
    instance = next((item for item in desired.instances if item.name == role), None)
    if instance is None:
        return ""
    if observed.is_active(instance.unit):
        return _described_with_age(_as_leftover(instance, observed), name, observed)
    if not _begins_empty(instance, desired, observed) and not has_own_data(instance, observed):
        return f"{role} on {name} takes over the data of another server"
    return ""


def _holds_keys(leftover: Leftover) -> bool:
    """Whether a server that is to end runs, and has keys or does not tell."""
    return leftover.running and leftover.keys != 0


def _as_leftover(instance: Instance, observed: Observed) -> Leftover:
    """A running server of a role that its host carries, in the words of one that is to end."""
    server = observed.servers.get(instance.name)
    endpoint = instance.where
    if server is None or server.refusal is not None or server.info.get("loading") != "0":
        return Leftover(instance.name, True, endpoint, because="it does not tell")
    return Leftover(instance.name, True, server.endpoint, count_keys(server.info)[0])


def _described_with_age(leftover: Leftover, host: str, observed: Observed) -> str:
    text = _described(leftover.role, host, leftover, observed)
    newest = _held(leftover.role, observed).newest
    return f"{text}, written last {in_utc(newest)}" if newest else text


@dataclass(frozen=True)
class _Held:
    """The data files of a role on a host: bytes of all of them, and when one was written last."""

    size: int
    newest: int

    def __str__(self) -> str:
        return f"{self.size} bytes, written last {in_utc(self.newest)}" if self.newest else "no file with data was seen"


@dataclass(frozen=True)
class _Place:
    """Where data of a role is, what is there in words, and how to go on from there."""

    words: str
    way: str
    leftover: Leftover | None = None
    held: _Held = _Held(0, 0)
    replaced: bool = False  # its server follows the one of another host, which was put in its place


def _held(role: str, observed: Observed) -> _Held:
    files = pieces(role, observed)
    times = (observed.stored[path].modified for path in files if path in observed.stored)
    return _Held(sum(observed.data_files[path] for path in files), max(times, default=0))


def _is_behind(own: _Held, place: _Place) -> bool:
    """Whether a role's data on its host is not what it had last: a server elsewhere has keys, or files are newer."""
    if place.leftover is not None and place.leftover.running and place.leftover.keys is not None:
        return place.leftover.keys > 0
    if place.leftover is not None and place.leftover.running:
        return True
    later = place.held.size > NEXT_TO_NOTHING and place.held.newest > own.newest
    return later or own.size <= NEXT_TO_NOTHING < place.held.size


def _begins_empty(instance: Instance, desired: Host, observed: Observed) -> bool:
    adopted = {item.instance.name for item in adoptions(desired, observed)}
    return instance.name not in adopted and not has_own_data(instance, observed)


def _renamed(role: str, leftover: Leftover) -> str:
    """Two servers cannot hold one port, and the old one ends last."""
    old, unit = leftover.role, unit_name(leftover.role)
    return (
        f"{role}: {_where(leftover)} is served by {unit} with {_keys(leftover)}, expected free, and no role of this "
        f"host is called {old} any more: if {old} is {role} now, call it {old} again; to rename it for good: systemctl "
        f"disable --now {unit}, then mv {data_directory(old)} {data_directory(role)}, and {old} to {role} in the "
        f"secrets file; if they are two roles, give {role} a port of its own until {old} is gone"
    )


def _of_its_name(name: str, instance: Instance, hosts: Seen) -> Iterator[_Place]:
    """Places with data of the role on hosts that do not carry it, and how to go on from there."""
    role = instance.name
    for other, (desired, observed) in sorted(hosts.items()):
        if other == name or any(item.name == role for item in desired.instances):
            continue
        leftover = next((item for item in observed.leftovers if item.role == role), None)
        if (leftover is not None and leftover.running) or pieces(role, observed):
            aside = bool(pieces(role, hosts[name][1]))
            words, way = _described(role, other, leftover, observed), _way_back(role, other, leftover, aside)
            replaced = leftover is not None and serves_nobody(leftover, observed)
            yield _Place(words, way, leftover, _held(role, observed), replaced)


def _of_its_address(instance: Instance, hosts: Seen) -> Iterator[_Place]:
    """Servers and data of other names that have, or had, the address and port of the role."""
    endpoint = (instance.address, instance.role.port)
    for other, (desired, observed) in sorted(hosts.items()):
        for leftover in observed.leftovers:
            if leftover.role == instance.name or leftover.endpoint != endpoint:
                continue
            if leftover.running or pieces(leftover.role, observed):
                words = f"{_described(leftover.role, other, leftover, observed)}, which has its address and port"
                yield _Place(words, _way_to_rename(leftover.role, instance.name, other))
        yield from _strangers(instance, other, desired, observed)


def _strangers(instance: Instance, other: str, desired: Host, observed: Observed) -> Iterator[_Place]:
    """A Redis of somebody else's on the role's address, on a host that has nothing to do with the role."""
    if any(item.name == instance.name for item in desired.instances):
        return  # it is asked what it holds: tasks/compare/adoptable.py
    ours = {observed.pid(unit) for unit in (*observed.our_units, *(item.unit for item in desired.instances))}
    for item in observed.listeners:
        here = (item.address, item.port) == (instance.address, instance.role.port)
        if here and item.pid not in ours and item.process.startswith(("redis-", "valkey-")):
            where = f"{item.address}:{item.port} on {other}"
            words = f"{item.process}, pid {item.pid}, serves {where}"
            yield _Place(words, f"bring its data here, or stop it there ({other})")


def _described(role: str, host: str, leftover: Leftover | None, observed: Observed) -> str:
    size = observed.data_used.get(data_directory(role), 0) / (1 << 20)
    data = f"{data_directory(role)} ({size:.1f} MiB)"
    if leftover is None:
        return f"{host} has data of {role}: keys unknown, {data}"
    does = f"serves {_where(leftover)}" if leftover.running else "is stopped"
    return f"{unit_name(role)} on {host} {does}: {_keys(leftover)}, {data}"


def _where(leftover: Leftover) -> str:
    return "nobody knows where" if leftover.endpoint is None else "{}:{}".format(*leftover.endpoint)


def _keys(leftover: Leftover) -> str:
    if leftover.keys is None:
        return f"keys unknown ({leftover.because})"
    return f"{leftover.keys} key{'' if leftover.keys == 1 else 's'}"


def _way_back(role: str, host: str, leftover: Leftover | None, aside: bool) -> str:
    """`aside`: there is data of the role on its new host already."""
    stop = f"there systemctl disable --now {unit_name(role)}, then " if leftover and leftover.running else ""
    directory = data_directory(role)
    first = f"here mv {directory} {directory}.old, " if aside else ""
    return (
        f"put {host} back into group redis_{role}; or take the data along: {first}{stop}copy {directory} to this host "
        "(cp -a; the deploy gives it to its user)"
    )


def _way_to_rename(old: str, role: str, host: str) -> str:
    return (
        f"call it {old} again; or rename it for good: on {host} systemctl disable --now {unit_name(old)}, then move "
        f"{data_directory(old)} to {data_directory(role)} on this host"
    )

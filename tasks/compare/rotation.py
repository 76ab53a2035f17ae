"""Users with more than one password: since when, who is connected from before, and whether the older ones may go. Pure.

Since when is recorded on the host (tasks/compare/rotation_record.py). Where it is not, nobody knows, and every
connection counts as one from before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasks.catalogue.moments import in_utc
from tasks.compare.acl_file import has_newest, users_in_file
from tasks.compare.difference import Difference, Remedy
from tasks.compare.passwords import other_password
from tasks.compare.rotation_record import recorded
from tasks.desired.host import Host, Instance, User
from tasks.desired.paths import acl_file, rotation_file
from tasks.observed.state import Client, Observed, Server

SHOWN = 10  # connections of a user that are listed one by one


def begins_anew(instance: Instance, observed: Observed) -> list[str]:
    """Users with several passwords of which one is about to become valid: since when is not what is recorded."""
    server = observed.servers.get(instance.name)
    users = server.users if server is not None and server.refusal is None else {}
    return [
        user.name
        for user in instance.users
        if user.has_several and user.name in users and other_password(user, users[user.name])
    ]


def record_differences(desired: Host, observed: Observed) -> Iterator[Difference]:
    """What the host should say of who has more than one password, and does not."""
    for instance in desired.instances:
        wanted = {user.name for user in instance.users if user.has_several}
        found = recorded(instance, observed)
        due = wanted ^ found.keys() | {*begins_anew(instance, observed)}
        path = rotation_file(instance.name)
        if due or (path in observed.files and not wanted):
            expected = f"since when of {', '.join(sorted(wanted))}" if wanted else "absent"
            said = f"since when of {', '.join(sorted(found))}" if found else "nothing"
            anew = f", begins anew for {', '.join(sorted(due & wanted))}" if due & wanted & found.keys() else ""
            yield Difference(instance.name, "file", path, expected, said + anew, Remedy.RECORD)


def rotation_notices(desired: Host, observed: Observed) -> Iterator[str]:
    """Users that have more than one password in a running server, and since when."""
    for instance in desired.instances:
        server = observed.servers.get(instance.name)
        if server is None or server.refusal is not None:
            continue
        known, since = {user.name for user in instance.users}, recorded(instance, observed)
        said: dict[tuple[int, int], list[str]] = {}
        for name, user in sorted(server.users.items()):
            hashes = user.get("passwords")
            if name in known and isinstance(hashes, list) and len(hashes) > 1:
                said.setdefault((len(hashes), since.get(name, 0)), []).append(name)
        for (count, began), names in said.items():
            each = "has" if len(names) == 1 else "have each"
            yield (
                f"{instance.name}: {', '.join(names)} {each} {count} passwords, {when(began)}: --data "
                f"rotate_finish={instance.name} drops all but the newest"
            )


def when(seconds: int) -> str:
    """`since 2026-01-31 12:00:00 UTC`."""
    return f"since {in_utc(seconds)}" if seconds else "since nobody knows when"


def finish_problems(desired: Host, observed: Observed, anyway: bool, knows: bool = False) -> list[str]:
    """Why older passwords must not be dropped now. `anyway`: who is connected from before is to be turned away.

    `knows`: all that were valid are known here, in the secrets file or beside it, but where that is not the newest.
    """
    return [
        problem
        for instance in desired.instances
        for user in instance.users
        if user.name in instance.finishing
        for problem in (
            *_unfinished(instance, user, observed, anyway),
            *(_not_known_here(instance, user, observed) if knows and not anyway else ()),
        )
    ]


def _not_known_here(instance: Instance, user: User, observed: Observed) -> Iterator[str]:
    """A password of a server's that nobody here knows may be the newest, and services may have it."""
    server = observed.servers.get(instance.name)
    if server is None or server.refusal is not None:
        return
    others = set(_hashes(server, user.name)) - {*user.passwords_sha256, *user.dropped_sha256}
    if others:
        yield (
            f"{instance.name}: {user.name}: {len(others)} of the server's passwords are neither in the secrets file "
            "nor kept beside it, expected none: bring the file back if it is older than the server; or drop those "
            "all the same: --data rotate_anyway=true"
        )


def _unfinished(instance: Instance, user: User, observed: Observed, anyway: bool) -> Iterator[str]:
    server = observed.servers.get(instance.name)
    where = f"{instance.name}: {user.name}"
    found = users_in_file(instance, observed).get(user.name)
    if found is not None and not has_newest(user, found):  # a start would load what the secrets file has no more
        yield f"{where}: {acl_file(instance.name)} lacks its newest password, expected it: {FIRST}"
    elif server is None:
        return
    elif server.refusal is not None:
        yield f"{where}: who is connected is not known ({server.refusal}), expected that it is: mend that first"
    elif user.name in server.users and user.newest_sha256 not in _hashes(server, user.name):
        yield f"{where}: the running server lacks its newest password, expected it: {FIRST}"
    elif not anyway and (before := from_before(instance, user.name, observed)):
        listed = ", ".join(f"{item.address} (for {item.age} s)" for item in before[:SHOWN])
        more = f" and {len(before) - SHOWN} more" if len(before) > SHOWN else ""
        since = recorded(instance, observed).get(user.name, 0)
        yield (
            f"{where}: connections from before the rotation, {when(since)}: {listed}{more}, expected none: give that "
            "service its new password and restart it, or drop the old one all the same: --data rotate_anyway=true"
        )


FIRST = "deploy once without rotate_finish"


def _hashes(server: Server, user: str) -> list[object]:
    hashes = server.users.get(user, {}).get("passwords")
    return list(hashes) if isinstance(hashes, list) else []


def from_before(instance: Instance, user: str, observed: Observed) -> list[Client]:
    """Connections of a user that began before the newest password was there, the oldest first.

    None where it has no other password that could have let them in.
    """
    server = observed.servers[instance.name]
    if len(_hashes(server, user)) < 2:
        return []
    began, now = recorded(instance, observed).get(user), clock(server.info)
    own = [client for client in server.clients if client.user == user]
    early = [client for client in own if began is None or client.age < 0 or now - client.age <= began]
    return sorted(early, key=lambda client: (-client.age, client.address))


def clock(info: Mapping[str, str]) -> int:
    """What time it is to a server, in seconds since the epoch; 0, where everything is from before, if it says none."""
    return int(info.get("server_time_usec", "0")) // 1_000_000


def finish_notices(desired: Host, observed: Observed) -> Iterator[str]:
    """What a person should know whose finish turns nobody away who is connected: who comes anew may be."""
    for instance in desired.instances:
        server = observed.servers.get(instance.name)
        if server is None or server.refusal is not None:
            continue
        for user in instance.finishing:
            if user in server.users and len(_hashes(server, user)) > 1:
                count = sum(client.user == user for client in server.clients)
                yield (
                    f"{instance.name}: {user}: its connections ({count}) stay. Redis does not say which password one "
                    "used: who still has an old one is refused when it connects anew, and let in again after --data "
                    f"rotate_undo={instance.name}:{user}"
                )

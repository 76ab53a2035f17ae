"""Look at the servers of roles that a host carries no more: where they listen, and how many keys they hold.

Costs nothing where there is none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pyinfra.api.host import Host as PyinfraHost

from tasks.catalogue.acl_rules import OPERATOR
from tasks.desired.host import Host, Passwords
from tasks.desired.paths import role_of
from tasks.observed.connection import begin
from tasks.observed.exchange import ExchangeError, Reply, ReplyError, exchange, info_fields
from tasks.observed.own_server import Endpoint, listens_at, own_endpoint, sockets_of
from tasks.observed.refusal import Refusal
from tasks.observed.replies import StrangeReply, pairs
from tasks.observed.state import Leftover, Observed, count_keys
from tasks.observed.tls import Trust, learn


def with_leftovers(host: PyinfraHost, desired: Host, seen: Observed, passwords: Passwords) -> Observed:
    """`seen`, with the units that this tool wrote for roles the host no longer carries."""
    known = {unit.name for unit in desired.units}
    found = [unseen_leftover(unit, seen, desired.leaving) for unit in seen.our_units if unit not in known]
    learn(host, leftover_trusts(found, desired, seen))
    jobs = [begin(partial(ask, host, item, passwords.get(item.role, {}))) for item in found]
    return replace(seen, leftovers=tuple(job.result() for job in jobs)) if jobs else seen


def leftover_trusts(found: Sequence[Leftover], desired: Host, seen: Observed) -> dict[Endpoint, Trust]:
    """Where servers of roles that the host carries no more are spoken to by TLS: their ca is another host's, too. Pure.

    The certificate is for the address of its file, wherever the server is spoken to.
    """
    return {
        item.endpoint: Trust(desired.leaving[item.role], True, seen.configured[item.role][0])
        for item in found
        if item.sealed and item.endpoint is not None and {item.role} <= desired.leaving.keys() & seen.configured.keys()
    }


def unseen_leftover(unit: str, seen: Observed, trusted: Collection[str] = ()) -> Leftover:
    """What the host says of a unit, before its server is asked. `trusted`: roles whose ca is known. Pure."""
    role = role_of(unit)
    configured = seen.configured.get(role)
    if not seen.is_active(unit):
        return Leftover(role, False, configured, because="it does not run")
    pid = seen.pid(unit)
    sealed = role in seen.sealed
    if sealed and not (role in trusted and configured):  # nobody knows its ca any more, and in clear nobody is told
        return Leftover(role, True, None, because="it speaks TLS", sealed=True)
    where, own = listens_at(pid, configured, seen.listeners), own_endpoint(pid, configured, sockets_of(seen))
    return Leftover(role, True, where, because=own.said if isinstance(own, Refusal) else "", sealed=sealed)


def ask(host: PyinfraHost, leftover: Leftover, passwords: Mapping[str, str | None]) -> Leftover:
    """The leftover with the number of its keys, and its users; only its own process gets its operator's password.

    `passwords`: by user. Of the others only their names are sent.
    """
    password, names = passwords.get(OPERATOR), sorted(passwords)
    if leftover.because or leftover.endpoint is None:
        return leftover
    if password is None:
        return replace(leftover, because="its operator's password is not in the secrets file")
    try:
        commands = [("AUTH", OPERATOR, password), ("INFO", "default"), *(("ACL", "GETUSER", name) for name in names)]
        login, info, *users = exchange(host, *leftover.endpoint, commands)
        refused = next((str(reply) for reply in (login, info) if isinstance(reply, ReplyError)), "")
        fields = {} if refused else info_fields(info)
    except ExchangeError as error:
        return replace(leftover, because=str(error))
    if refused or fields.get("loading", "0") != "0":
        return replace(leftover, because=refused or "it loads its data")
    return replace(leftover, keys=count_keys(fields)[0], info=fields, users=read_users(names, users))


def read_users(names: Sequence[str], replies: Sequence[Reply]) -> dict[str, frozenset[str]] | None:
    """The users that the replies to ACL GETUSER describe, each with the hashes of its passwords; None for odd ones."""
    try:
        described = {
            name: pairs(reply, "ACL GETUSER")["passwords"]
            for name, reply in zip(names, replies, strict=True)
            if reply is not None
        }
    except (KeyError, StrangeReply):
        return None
    if not all(isinstance(hashes, list) for hashes in described.values()):
        return None
    return {name: frozenset(map(str, hashes)) for name, hashes in described.items() if isinstance(hashes, list)}

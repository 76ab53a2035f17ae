"""Log in to a unit's own process only: a password goes to nobody else who may answer at its address and port.

Shown are the process that holds the socket, that no other one listens there, and that no rule of the kernel's gives the
connection another end. Between that look and the login is a moment in which this may change: docs/decisions/0014.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from pyinfra.api.host import Host

from tasks.observed.bounds import PROGRAM
from tasks.observed.connection import Unobserved, read_host
from tasks.observed.exchange import ExchangeError, Reply, exchange
from tasks.observed.foreign_listeners import EVERYWHERE
from tasks.observed.listeners import read_listeners
from tasks.observed.nft import OUR_TABLE, forwards, legacy_takings, read_rules, takings
from tasks.observed.reader import addresses_in, unless_unseen, unseen_parts
from tasks.observed.records import lines_of, number, split_parts
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Listener, Observed, Taking, Unseen

Endpoint = tuple[str, int]
Login = tuple[str, str]  # user and password

PARTS = ("listeners", "pid", "addresses", "forwards", "legacy", "unseen")


@dataclass(frozen=True)
class Sockets:
    """What a look shows of who takes connections on a host."""

    listeners: tuple[Listener, ...]
    addresses: frozenset[str]
    takings: tuple[Taking, ...]
    forwards: frozenset[tuple[str, str, int, str]]
    unseen: Mapping[str, Unseen]


def sockets_of(observed: Observed) -> Sockets:
    """That part of a whole look."""
    return Sockets(observed.listeners, observed.addresses, observed.takings, observed.forwards, observed.unseen)


def own_endpoint(pid: int, wanted: Endpoint | None, seen: Sockets) -> Endpoint | Refusal:
    """Where a process may be logged in to: at `wanted`, or else where it listens before a change; or why nowhere."""
    where = listens_at(pid, wanted, seen.listeners)
    if where is None and "listeners" in seen.unseen:
        return Refusal(Cause.TAKEN, f"who listens was not seen: {seen.unseen['listeners'].because}")
    if where is None:
        return Refusal(Cause.NOT_ITS_OWN, "its own process was not seen to listen anywhere")
    return taken(pid, where, seen) or where


def is_its_own(pid: int, where: Endpoint, seen: Sockets) -> bool:
    """Whether it is shown that only this process answers there."""
    return own_endpoint(pid, where, seen) == where


def listens_at(pid: int, wanted: Endpoint | None, listeners: Iterable[Listener]) -> Endpoint | None:
    """Where a process listens: at `wanted` if also there, nowhere is None. Of all addresses, that of `wanted`."""
    everywhere = wanted[0] if wanted else "127.0.0.1"
    own = sorted(
        (everywhere if item.address == "0.0.0.0" else item.address, item.port)
        for item in listeners
        if pid and item.is_of(pid) and "." in item.address
    )
    return wanted if wanted in own else own[0] if own else None


def taken(pid: int, where: Endpoint, seen: Sockets) -> Refusal | None:
    """Why a connection to `where`, where this process listens, may end at another one; None where it may not."""
    address, port = where
    if ":" in address:
        return Refusal(Cause.TAKEN, f"[{address}]:{port} is reached over IPv6, of which the rules are not read")
    if address not in seen.addresses and not address.startswith("127."):  # all of those are
        return Refusal(Cause.NOT_ITS_OWN, f"{address} is no address of its host: another may answer there")
    unseen = (
        f"who else may take its connections was not seen: {why.because}"
        for part, why in seen.unseen.items()
        if part in ("listeners", "forwards")
    )
    said = next(chain(_beside(pid, where, seen), _led_away(where, seen), unseen), None)
    return None if said is None else Refusal(Cause.TAKEN, said)


def _beside(pid: int, where: Endpoint, seen: Sockets) -> Iterator[str]:
    """Other processes that listen there, or everywhere: the kernel may choose one of them, now or in a moment."""
    address, port = where
    for item in seen.listeners:
        if item.port == port and item.address in (address, *EVERYWHERE) and not item.is_of(pid):
            who = f"{item.process}, pid {item.pid}," if item.pid else "another process"
            yield f"{who} listens on {item.address}:{port} beside it"


def _led_away(where: Endpoint, seen: Sockets) -> Iterator[str]:
    address, port = where
    for rule in seen.takings:
        if rule.takes(address, port):
            yield f"a rule may lead connections to {address}:{port} elsewhere: table {rule.table}: {rule.rule}"
    for chain_name, led, inner, target in sorted(seen.forwards):
        if (led, inner) == where:
            yield f"table {OUR_TABLE}, chain {chain_name}, leads {address}:{port} to {target}"


def is_led_inward(address: str, inner_port: int, port: int, observed: Observed) -> bool:
    """Whether a client on the host that connects to `address:inner_port` comes to `address:port`, and nowhere else."""
    wanted = {(name, address, inner_port, f"{address}:{port}") for name in ("prerouting", "output")}
    found = {rule for rule in observed.forwards if rule[1:3] == (address, inner_port)}
    return found == wanted and not any(rule.takes(address, inner_port) for rule in observed.takings)


def exchange_as(
    host: Host, unit: str, where: Endpoint, login: Login, commands: Sequence[Sequence[str]]
) -> tuple[Reply, list[Reply]]:
    """The reply to the login and those to `commands`, from the main process of `unit`: looked at right before.

    Raises ExchangeError when it is not shown that only that process answers there (nothing is sent then), when there is
    no connection or it breaks.
    """
    refusal = refusal_of(host, unit, where)
    if refusal is not None:
        raise ExchangeError(refusal.cause, refusal.said)
    first, *replies = exchange(host, *where, [("AUTH", *login), *commands])
    return first, replies


def exchange_with(
    host: Host, pid: int, where: Endpoint, login: Sequence[Sequence[str]], commands: Sequence[Sequence[str]]
) -> list[Reply]:
    """The replies to `commands` from a process of somebody else's: looked at right before when there is a `login`.

    Raises ExchangeError as exchange_as does.
    """
    refusal = refusal_of(host, "", where, pid) if login else None
    if refusal is not None:
        raise ExchangeError(refusal.cause, refusal.said)
    return exchange(host, *where, [*login, *commands], in_clear=True)[len(login) :]


def refusal_of(host: Host, unit: str, where: Endpoint, pid: int = 0) -> Refusal | None:
    """Why it is not shown that only the main process of `unit`, or `pid`, answers at `where`; None where it is."""
    try:
        main, seen = read_host(host.state, host, "who-serves", [unit], read_sockets, patience=PROGRAM)
    except Unobserved as error:
        return Refusal(Cause.BROKEN, str(error))
    pid = pid or main
    found = own_endpoint(pid, where, seen)
    if isinstance(found, Refusal):
        return found
    if found != where:
        said = "its own process listens on {}:{}, not on {}:{}".format(*found, *where)
        return Refusal(Cause.NOT_ITS_OWN, said)
    return None


def read_sockets(text: str, mark: str) -> tuple[int, Sockets]:
    """The main process of a unit, 0 if none, and who takes connections, as who-serves.sh says. Raises Unreadable."""
    parts = {name: lines_of(part) for name, part in split_parts(text, mark, PARTS).items()}
    unseen = dict(unseen_parts(parts["unseen"]))
    rules = unless_unseen(unseen, "forwards", read_rules, parts["forwards"]) or {}
    sockets = Sockets(
        listeners=tuple(unless_unseen(unseen, "listeners", read_listeners, parts["listeners"]) or ()),
        addresses=frozenset(addresses_in(parts["addresses"])),
        takings=(*takings(rules), *legacy_takings(parts["legacy"])),
        forwards=frozenset(forwards(rules.get(OUR_TABLE, []))),
        unseen=unseen,
    )
    return number("".join(parts["pid"]) or "0", "the main process of a unit"), sockets

"""What an instance does right now: asked of itself, and of its host's kernel, which answers when it does not.

Beside the look of tasks/observed/look.py, for people who look on: nothing here is compared or acted upon.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import COMMANDS, OPERATOR
from tasks.catalogue.printable import printable
from tasks.desired.host import Instance
from tasks.desired.paths import DEPLOYS_FILE
from tasks.observed.big_keys import Command, biggest_keys, databases_in
from tasks.observed.bounds import PROGRAM
from tasks.observed.connection import read_host
from tasks.observed.exchange import ExchangeError, Reply, ReplyError
from tasks.observed.look import CLIENTS, read_clients
from tasks.observed.moment import BigKeys, HostNow, Latency, Process, ServerNow, Slow
from tasks.observed.own_server import exchange_as
from tasks.observed.records import Unreadable, lines_of, matching, number, split_parts
from tasks.observed.refusal import refusal
from tasks.observed.refused import LOG, items, reach, read_refusals, short_name, whole_number
from tasks.observed.replies import StrangeReply
from tasks.observed.state import Server

PARTS = ("time", "connections", "processes", "deploys")
JOURNAL_LINES = 400  # of the journal of deploys, which has no more
JOURNAL_BYTES = 512 << 10
SHOWN = 10  # entries of a server's slow log
MOST_CLIENTS = 5000  # more are counted, not listed: 5000 take 1.5 MiB and some milliseconds of the server


def ask_host(state: State, host: PyinfraHost, instances: Sequence[Instance]) -> HostNow:
    """What the host says of its instances. Raises Unobserved."""
    endpoints = [f"{address}:{port}" for item in instances for address in item.bound for port in item.role.listens_on]
    return read_host(
        state,
        host,
        "look-now",
        [],
        parse_now,
        endpoints=endpoints,
        units=[item.unit for item in instances],
        journal=DEPLOYS_FILE,
        lines=JOURNAL_LINES,
        size=JOURNAL_BYTES,
        patience=PROGRAM,
    )


def parse_now(text: str, mark: str) -> HostNow:
    """What look-now.sh printed. Raises Unreadable."""
    parts = {name: lines_of(part) for name, part in split_parts(text, mark, PARTS).items()}
    connections: dict[tuple[str, int], dict[str, int]] = {}
    for line in parts["connections"]:
        count, where, peer = _words(line, 3)
        address, _, port = where.rpartition(":")
        peers = connections.setdefault((address, number(port, "a port")), {})
        peers[matching(r"[0-9a-fA-F:.\[\]%a-z]{1,64}", peer, "an address")] = number(count, "a number of connections")
    return HostNow(
        time=number("".join(parts["time"]), "the time"),
        connections=connections,
        processes=_processes(parts["processes"]),
        deploys=tuple(line for line in parts["deploys"] if line.strip()),
    )


def _words(line: str, count: int) -> list[str]:
    words = line.split()
    if len(words) != count:
        raise Unreadable("a line of it has another number of words")
    return words


OF_PROCESS = re.compile(r"/proc/([0-9]{1,10})/status:(?:State:\s*([A-Za-z])\b.*|(VmRSS|VmSwap):\s*([0-9]{1,15}) kB)")


def _processes(lines: Sequence[str]) -> dict[int, Process]:
    found: dict[int, Process] = {}
    for line in lines:
        match = OF_PROCESS.fullmatch(line)
        if not match:
            raise Unreadable("what it says of a process is of no known form")
        pid, state, name, size = match.groups()
        known = found.get(int(pid), Process())
        if state:
            known = replace(known, state=state)
        elif name == "VmRSS":
            known = replace(known, resident=int(size) * 1024)
        else:
            known = replace(known, swapped=int(size) * 1024)
        found[int(pid)] = known
    return found


def ask_server(host: PyinfraHost, unit: str, server: Server, password: str, addresses: Collection[str]) -> ServerNow:
    """What a server that has answered a look says of this moment; nothing of what it does not tell.

    `addresses`: those of its host, from one of which this tool connects.
    """
    few = int(server.info.get("connected_clients") or 0) <= MOST_CLIENTS
    commands: list[tuple[str, ...]] = [
        ("INFO", "stats"),
        ("SLOWLOG", "GET", str(SHOWN)),
        ("LATENCY", "LATEST"),
        LOG,
        *([CLIENTS] if few else []),
    ]
    try:
        login, replies = exchange_as(host, unit, server.endpoint, (OPERATOR, password), commands)
        if isinstance(login, ReplyError):
            return ServerNow(untold=(f"this moment: {printable(str(login))[:120]}",))
        return read_now(replies, time.monotonic(), addresses)
    except ExchangeError as error:
        return ServerNow(untold=(f"this moment: {error.refusal}",))
    except StrangeReply as error:
        return ServerNow(untold=(f"this moment: it does not speak as Redis does: {error}",))


def ask_big_keys(host: PyinfraHost, unit: str, server: Server, password: str) -> BigKeys:
    """The biggest keys of a server that has answered a look; in `untold` why it says nothing, or no more, of them."""
    databases = databases_in(server.info)

    def ask(commands: list[Command]) -> list[Reply]:
        login, replies = exchange_as(host, unit, server.endpoint, (OPERATOR, password), commands)
        if isinstance(login, ReplyError):
            raise ExchangeError(refusal(login).cause, printable(str(login))[:120])
        return replies

    try:
        return biggest_keys(ask, databases)
    except ExchangeError as error:
        return BigKeys(sum(databases.values()), untold=str(error.refusal))
    except StrangeReply as error:
        return BigKeys(sum(databases.values()), untold=f"it does not speak as Redis does: {error}")


def read_now(replies: Sequence[Reply], at: float, addresses: Collection[str]) -> ServerNow:
    """The replies behind the login to a server of a host with `addresses`. Raises StrangeReply: no Redis says it."""
    info, slow, latency, denied, *clients = replies
    names = ("counters", "slow commands", "latency events", "refused logins", "clients")
    untold = tuple(
        f"{name}: {printable(str(reply))[:120]}"
        for name, reply in zip(names, replies, strict=False)
        if isinstance(reply, ReplyError)
    )
    listed = clients[0] if clients and not isinstance(clients[0], ReplyError) else None
    return ServerNow(
        clients=None if listed is None else read_clients(listed),
        slow=tuple(_slow(item) for item in items(slow)),
        latency=tuple(_latency(item) for item in items(latency)),
        denied=read_refusals(denied, addresses),
        log_reach=reach(denied),
        evicted=_evicted(info),
        at=at,
        untold=untold,
    )


def _evicted(reply: Reply) -> int | None:
    found = re.search(r"^evicted_keys:([0-9]{1,19})\r?$", reply, re.MULTILINE) if isinstance(reply, str) else None
    return int(found[1]) if found else None


def _slow(entry: list[Reply]) -> Slow:
    """`[id, time, microseconds, [command, argument, …], address, name]`."""
    if len(entry) < 4 or not isinstance(entry[3], list) or not entry[3]:
        raise StrangeReply("an entry of the slow log has another form")
    words = [str(word).lower() for word in entry[3][:2]]
    whole = "|".join(words)
    command = whole.replace("|", " ") if whole in COMMANDS else words[0] if words[0] in COMMANDS else "(unknown)"
    client = short_name(entry[4]) if len(entry) > 4 else ""
    return Slow(
        whole_number(entry[1], "a time"), whole_number(entry[2], "a duration"), command, len(entry[3]) - 1, client
    )


def _latency(entry: list[Reply]) -> Latency:
    if len(entry) < 4:
        raise StrangeReply("a latency event has another form")
    return Latency(short_name(entry[0]), *(whole_number(value, "a latency") for value in entry[1:4]))

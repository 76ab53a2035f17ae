"""Ask a Redis of somebody else's what it holds, and the host what becomes of adoptions that were interrupted.

Costs nothing where there is neither: no command, no exchange.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import DEFAULT
from tasks.catalogue.printable import excerpt
from tasks.desired.host import Host, Passwords
from tasks.desired.paths import marker_file
from tasks.observed.connection import read_host
from tasks.observed.exchange import ExchangeError, Reply, ReplyError, exchange, info_fields
from tasks.observed.foreign_listeners import endpoint, foreign_listeners, roles_met
from tasks.observed.marker import RUNS_AS, read_marker
from tasks.observed.own_server import sockets_of, taken
from tasks.observed.reader import UNIT
from tasks.observed.records import number, read_records, split_parts
from tasks.observed.state import ForeignServer, Marker, Observed

FILE_NAME = r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]+"
# As redis.conf of every version has them; of a server that does not tell, these are looked for.
DEFAULTS = {"dbfilename": "dump.rdb", "appendfilename": "appendonly.aof", "appenddirname": "appendonlydir"}

DIRECTIVES = ("dir", "dbfilename", "appendonly", "appenddirname", "appendfilename", "save", "shutdown-on-sigterm")


def with_foreign(state: State, host: PyinfraHost, desired: Host, seen: Observed, passwords: Passwords) -> Observed:
    """`seen`, with the servers of others on ports of roles and the adoptions that were interrupted."""
    servers = [
        ForeignServer(
            pid, sockets[0].process if sockets else "redis-server", tuple((item.address, item.port) for item in sockets)
        )
        for pid, sockets in foreign_listeners(desired, seen).items()
    ]
    files = {role.name: seen.files.get(marker_file(role.name)) for role in desired.roles}
    # One that is not root's own file says nothing but that there is one: the role does not start, nothing is done.
    markers = {
        role: read_marker(file.content if (file.kind, file.owner) == ("file", "root") else "")
        for role, file in files.items()
        if file is not None
    }
    if not servers and not markers:
        return seen
    servers = [ask(host, desired, server, passwords, seen) for server in servers]
    said = read_host(state, host, "ask-others", questions(servers, markers), read_answers)
    return replace(
        seen,
        foreign=tuple(complete_server(server, said.get(str(server.pid), Answer())) for server in servers),
        adopting={
            role: replace(
                marker,
                found=said.get(role, Answer()).pairs.get("found", ""),
                unfinished="unfinished" in said.get(role, Answer()).pairs,
            )
            for role, marker in markers.items()
        },
    )


def ask(host: PyinfraHost, desired: Host, server: ForeignServer, passwords: Passwords, seen: Observed) -> ForeignServer:
    """The server with what it says of itself; it gets the password for its `default` only if it demands one."""
    if not server.listens:
        return replace(server, refusal="it listens on no TCP port")
    questions = [("INFO",), *(("CONFIG", "GET", name) for name in DIRECTIVES)]
    where = endpoint(server)
    try:
        replies = exchange(host, *where, questions, in_clear=True)
        known = logins(desired, server, passwords, seen) if demands_login(replies) else []
        other = taken(server.pid, where, sockets_of(seen)) if known else None
        if other is not None:
            return replace(server, refusal=f"{replies[0]} (not logged in: {other})")
        if known:
            replies = exchange(host, *where, [*known, *questions], in_clear=True)[len(known) :]
        return read_replies(server, replies)
    except ExchangeError as error:
        return replace(server, refusal=str(error))


def demands_login(replies: Sequence[Reply]) -> bool:
    """Whether a server answers nobody who has not logged in."""
    return any(isinstance(reply, ReplyError) and str(reply).startswith("NOAUTH") for reply in replies)


def logins(desired: Host, server: ForeignServer, passwords: Passwords, seen: Observed) -> list[tuple[str, str]]:
    """What an old server is told first, if anything. In the form that every version understands.

    An operator puts the password of its user `default` into the secrets file: `ROLE: {default: PASSWORD}`. It is for
    the server in that role's place, so no role that runs by itself has one any more; where a server holds ports of
    several roles, the one that is to adopt its data tells which password is its.
    """
    waiting = {item.name for item in desired.instances if not seen.is_active(item.unit)}
    roles = [role.name for role in roles_met(desired, server) if role.name in waiting]
    known = {role: passwords.get(role, {}).get(DEFAULT) for role in roles}
    for some in (known, {role: known[role] for role in roles if role in desired.requests.adopt}):
        found = {password for password in some.values() if password}
        if len(found) == 1:
            return [("AUTH", found.pop())]
    return []


def read_replies(server: ForeignServer, replies: Sequence[Reply]) -> ForeignServer:
    """The server with its INFO and configuration, or with the reason why it did not tell."""
    info, *answers = replies
    if isinstance(info, ReplyError):
        return replace(server, refusal=str(info))
    server = replace(server, info=info_fields(info))
    if server.info.get("loading", "0") != "0":
        return replace(server, refusal="it is still loading its data")
    refused = [str(answer) for answer in answers if isinstance(answer, ReplyError)]
    if refused:
        return replace(server, refusal=f"CONFIG GET: {refused[0]}")
    pairs = [answer for answer in answers if isinstance(answer, list) and len(answer) == 2]
    config = {str(name): str(value) for name, value in pairs}
    for name in DEFAULTS:
        # Redis takes no other; root will look for it, and copy it.
        if not re.fullmatch(FILE_NAME, config.get(name, "")) and name in config:
            return replace(server, refusal=f"its {name} is {excerpt(config[name])}, expected the name of a file")
    return replace(server, config=config)


def questions(servers: Iterable[ForeignServer], markers: Mapping[str, Marker]) -> list[str]:
    """The arguments of ask-others.sh: these processes, and the last saves of the markers' old servers."""
    asked: list[str] = []
    for server in servers:
        asked += ["process", str(server.pid), *(server.config.get(name) or usual for name, usual in DEFAULTS.items())]
    for role, marker in markers.items():
        asked += ["save", role, marker.rdb, unfinished_save(marker)]
    return asked


def unfinished_save(marker: Marker) -> str:
    """The file that the old server writes while it saves."""
    return f"{marker.rdb.rpartition('/')[0]}/temp-{marker.pid}.rdb"


@dataclass(frozen=True)
class Answer:
    """What the host says under one title: `name=value` lines, and files with their sizes."""

    pairs: dict[str, str] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)


def read_answers(text: str, mark: str) -> dict[str, Answer]:
    """The output of ask-others.sh by process id and role."""
    answers: dict[str, Answer] = {}
    for who, name, value in read_records(split_parts(text, mark, ["answers"])["answers"], 3):
        answer = answers.setdefault(who, Answer())
        if name == "file":
            size, _, path = value.partition(" ")
            answer.files[re.sub("^/+", "/", path)] = number(size, f"the size of {excerpt(path)}")
        else:
            answer.pairs[name] = value
    return answers


def complete_server(server: ForeignServer, said: Answer) -> ForeignServer:
    """The server with what the host knows of its process."""
    unit, runs_as = said.pairs.get("unit", ""), said.pairs.get("runs_as", "")
    return replace(
        server,
        directory=said.pairs.get("directory", ""),
        reachable="reachable" in said.pairs,
        unit=unit if re.fullmatch(UNIT, unit) else "",
        files=said.files,
        runs_as=runs_as if re.fullmatch(RUNS_AS, runs_as) else "",
    )

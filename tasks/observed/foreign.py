"""Ask a Redis of somebody else's what it holds, and the host what becomes of adoptions that were interrupted.

Costs nothing where there is neither: no command, no exchange.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import DEFAULT
from tasks.catalogue.roles import Role
from tasks.desired.host import Host, Passwords
from tasks.desired.paths import marker_file
from tasks.observed.connection import run_command
from tasks.observed.exchange import ExchangeError, Reply, ReplyError, exchange, info_fields
from tasks.observed.foreign_listeners import endpoint, foreign_listeners, roles_met
from tasks.observed.marker import read_marker
from tasks.observed.state import ForeignServer, Marker, Observed

DIRECTIVES = ("dir", "dbfilename", "appendonly", "appenddirname", "appendfilename", "save", "shutdown-on-sigterm")

# A process in a container of its own works in a directory that the host has under another path, if at all.
PROCESS = r"""
echo '@@ {pid}'
if directory=$(readlink /proc/{pid}/cwd); then
  echo "directory=$directory"
  [ /proc/{pid}/cwd -ef "$directory" ] && echo reachable=yes
  unit=$(sed -n 's,^\(0:\|[0-9]*:name=systemd\):.*/\([^/]*\.service\)$,\2,p' /proc/{pid}/cgroup | head -n 1)
  [ -n "$unit" ] && [ "$(systemctl show --property=MainPID --value -- "$unit")" = {pid} ] && echo "unit=$unit"
  find "$directory" -maxdepth 2 -type f -printf 'file=%s %P\n' 2>/dev/null | grep -E '{names}'
fi
"""
INTERRUPTED = r"""
echo '@@ {role}'
echo "found=$(stat -c '%i %.9Y' {rdb} 2>/dev/null)"
[ -e {temporary} ] && echo unfinished=yes
"""


def with_foreign(state: State, host: PyinfraHost, desired: Host, snapshot: Observed, passwords: Passwords) -> Observed:
    """`snapshot`, with the servers of others on ports of roles and the adoptions that were interrupted."""
    servers = [
        ForeignServer(
            pid, sockets[0].process if sockets else "redis-server", tuple((item.address, item.port) for item in sockets)
        )
        for pid, sockets in foreign_listeners(desired, snapshot).items()
    ]
    files = {role.name: snapshot.files.get(marker_file(role.name)) for role in desired.roles}
    markers = {role: read_marker(file.content) for role, file in files.items() if file is not None}
    if not servers and not markers:
        return snapshot
    servers = [ask(host, desired, server, passwords) for server in servers]
    said = read_answers(run_command(state, host, script(servers, markers)).stdout.splitlines())
    return replace(
        snapshot,
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


def ask(host: PyinfraHost, desired: Host, server: ForeignServer, passwords: Passwords) -> ForeignServer:
    """The server with what it says of itself, asked with the password for `default` if the secrets file has one."""
    if not server.listens:
        return replace(server, refusal="it listens on no TCP port")
    known = logins(roles_met(desired, server), passwords)
    questions = [("CONFIG", "GET", name) for name in DIRECTIVES]
    try:
        replies = exchange(host, *endpoint(server), [*known, ("INFO",), *questions])
    except ExchangeError as error:
        return replace(server, refusal=str(error))
    return read_replies(server, replies[len(known) :])


def logins(roles: Iterable[Role], passwords: Passwords) -> list[tuple[str, str]]:
    """What an old server on ports of these roles is told first. In the form that every version understands.

    An operator puts the password of its user `default` into the secrets file: `ROLE: {default: PASSWORD}`.
    A server without a password refuses it and goes on, as one does to which another of these is the right one.
    """
    known = [passwords.get(role.name, {}).get(DEFAULT) for role in roles]
    return [("AUTH", password) for password in dict.fromkeys(known) if password]


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
    return replace(server, config={str(name): str(value) for name, value in pairs})


def script(servers: Iterable[ForeignServer], markers: Mapping[str, Marker]) -> str:
    """One command that reads what the host knows of these processes and of the old servers' last saves."""
    parts = [PROCESS.replace("{pid}", str(item.pid)).replace("{names}", data_names(item)) for item in servers]
    for role, marker in markers.items():
        temporary = f"{marker.rdb.rpartition('/')[0]}/temp-{marker.pid}.rdb"
        words = {"role": role, "rdb": shlex.quote(marker.rdb), "temporary": shlex.quote(temporary)}
        part = INTERRUPTED
        for name, text in words.items():
            part = part.replace("{" + name + "}", text)
        parts.append(part)
    return "".join([*parts, "true"])


def data_names(server: ForeignServer) -> str:
    """A pattern for the lines of its data files: nothing else that lies in its directory is its data."""
    names = {name: _literally(server.config.get(name) or default) for name, default in DEFAULTS.items()}
    inside = f"{names['appenddirname']}/[^/]*"
    return f"^file=[0-9]+ ({names['dbfilename']}|{names['appendfilename']}|{inside})$"


# As redis.conf of every version has them; of a server that does not tell, these are looked for.
DEFAULTS = {"dbfilename": "dump.rdb", "appendfilename": "appendonly.aof", "appenddirname": "appendonlydir"}


def _literally(text: str) -> str:
    """`text` in a pattern of grep -E between single quotes, whatever its characters: others match any one."""
    return "".join(char if char.isalnum() or char in "-_" else "." for char in text)


@dataclass(frozen=True)
class Answer:
    """What the host says under one title: `name=value` lines, and files with their sizes."""

    pairs: dict[str, str] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)


def read_answers(lines: Iterable[str]) -> dict[str, Answer]:
    """The output of `script` by title."""
    answers: dict[str, Answer] = {}
    current = Answer()
    for line in lines:
        name, _, value = line.partition("=")
        if line.startswith("@@ "):
            current = answers.setdefault(line.removeprefix("@@ "), Answer())
        elif name == "file":
            size, _, path = value.partition(" ")
            current.files[path] = int(size)
        else:
            current.pairs[name] = value
    return answers


def complete_server(server: ForeignServer, said: Answer) -> ForeignServer:
    """The server with what the host knows of its process."""
    directory = said.pairs.get("directory", "")
    return replace(
        server,
        directory=directory,
        reachable="reachable" in said.pairs,
        unit=said.pairs.get("unit", ""),
        files={f"{directory.rstrip('/')}/{name}": size for name, size in said.files.items()},
    )

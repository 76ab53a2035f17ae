"""Replay: the next start of every instance keeps what its clients wrote in transactions and scripts.

Comes before everything else that a deploy does, and needs no restart: whatever fails later, a boot loads what is right.
docs/decisions/0009-default-replays-the-log.md
"""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import DEFAULT, DEFAULT_LINE, DEFAULT_RULES, OPERATOR
from tasks.compare.difference import Remedy, chosen
from tasks.desired.host import Instance, Passwords
from tasks.desired.paths import acl_file
from tasks.observed.connection import run_command
from tasks.observed.exchange import ExchangeError, ReplyError
from tasks.observed.own_server import exchange_as
from tasks.observed.script import script
from tasks.observed.state import Server
from tasks.run.survey import Look
from tasks.steps.operations import call

# Whoever logged in as `default` while somebody had opened it stays logged in: nobody may, and nobody is, in one step.
# Not "reset", which takes its rights away: a server that loads its log just then would drop every transaction.
CLOSE_DEFAULT: tuple[tuple[str, ...], ...] = (
    ("MULTI",),
    ("ACL", "SETUSER", DEFAULT, "off", "resetpass"),
    ("CLIENT", "KILL", "USER", DEFAULT),
    ("EXEC",),
)
ENABLE_REPLAY = ("ACL", "SETUSER", DEFAULT, "reset", "off", *DEFAULT_RULES.split())


def keep_replayable(seen: Look) -> None:
    """Every ACL file lets the next start replay its log, and so does every running server; no other line changes."""
    roles = {item.role for item in chosen(seen.differences, "acl", remedy=Remedy.REPLAY)}
    instances = [instance for instance in seen.desired.instances if instance.name in roles]
    if instances:
        call(
            name="Let the next start replay every write",
            function=make_replayable,
            instances=instances,
            servers=dict(seen.observed.servers) if seen.observed else {},
            passwords=seen.passwords,
        )


def make_replayable(
    state: State, host: Host, instances: Sequence[Instance], servers: dict[str, Server], passwords: Passwords
) -> bool:
    """The files first: a host that goes down in between starts with them."""
    written = run_command(state, host, file_script(instances))
    problems = [] if written.succeeded else [f"the ACL files were not changed: {written.output}"]
    for instance in instances:
        server = servers.get(instance.name)
        if server is not None and server.refusal is None:
            wrong = grant_replay(host, instance, server, passwords[instance.name].get(OPERATOR) or "")
            problems += [f"{instance.name}: {problem}" for problem in wrong]
    for problem in problems:
        host.log_styled(problem, fg="red", log_func=logger.error)
    return not problems


def file_script(instances: Sequence[Instance]) -> str:
    """Shell that gives each ACL file there is the line of `default`, first and whole or not at all. Pure."""
    files = [acl_file(instance.name) for instance in instances]
    return script("make-replayable", files=files, default=DEFAULT, default_line=DEFAULT_LINE)


def grant_replay(host: Host, instance: Instance, server: Server, password: str) -> list[str]:
    """The running server's `default` has every right and no way in; nobody who was logged in as it still is.

    Two exchanges: rights only after the answer that nobody holds a connection.
    """
    closed = send(host, instance, server, password, CLOSE_DEFAULT)
    return closed or send(host, instance, server, password, [ENABLE_REPLAY])


def send(
    host: Host, instance: Instance, server: Server, password: str, commands: Sequence[tuple[str, ...]]
) -> list[str]:
    """What the server refused its operator of `commands`, in words that show no password."""
    try:
        login, replies = exchange_as(host, instance.unit, server.endpoint, (OPERATOR, password), commands)
    except ExchangeError as error:
        return [str(error)]
    if isinstance(login, ReplyError):
        return [f"{OPERATOR} cannot log in: {login}"]
    return [
        f"{' '.join(command[:3])}: {error}"
        for command, reply in zip(commands, replies, strict=True)
        for error in (reply if isinstance(reply, list) else [reply])  # EXEC answers with a list
        if isinstance(error, ReplyError)
    ]

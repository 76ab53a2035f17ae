"""The ways in which a client can send commands: each returns when all are acknowledged, or raises."""

import hashlib
from collections.abc import Callable, Sequence

import redis

from tests.hosts.dataset.server import Command, ask

Send = Callable[["redis.Redis", Sequence[Command]], None]

# Commands are given as arguments, each behind the number of its words: no byte of them is ever Lua.
SEND_ALL = """
local at, sent = 1, 0
while at <= #ARGV do
    local last = at + tonumber(ARGV[at])
    redis.call(unpack(ARGV, at + 1, last))
    at, sent = last + 1, sent + 1
end
return sent
"""
FUNCTION = "send_all"
LIBRARY = f"#!lua name={FUNCTION}\nredis.register_function('{FUNCTION}', function(KEYS, ARGV)\n{SEND_ALL}\nend)\n"


def plainly(client: "redis.Redis", commands: Sequence[Command]) -> None:
    """One after the other."""
    for command in commands:
        ask(client, *command)


def by_pipeline(client: "redis.Redis", commands: Sequence[Command]) -> None:
    """At once, without a transaction."""
    _queued(client.pipeline(transaction=False), commands)


def by_transaction(client: "redis.Redis", commands: Sequence[Command]) -> None:
    """MULTI, EXEC: what redis-py's pipeline() does unless told otherwise."""
    _queued(client.pipeline(), commands)


def by_watched_transaction(client: "redis.Redis", commands: Sequence[Command]) -> None:
    """WATCH, a look, MULTI, EXEC; again when the key was changed in between, which also its TTL may do."""

    def queue(pipeline: "redis.client.Pipeline") -> None:
        pipeline.exists(commands[0][1])
        pipeline.multi()
        for command in commands:
            ask(pipeline, *command)

    client.transaction(queue, commands[0][1])


def by_script(client: "redis.Redis", commands: Sequence[Command]) -> None:
    """EVAL."""
    _counted(client.eval(SEND_ALL, 0, *_arguments(commands)), commands)


def by_script_of_one_command(client: "redis.Redis", commands: Sequence[Command]) -> None:
    """EVAL for each of them, with the flags that newer scripts declare."""
    for command in commands:
        _counted(client.eval(f"#!lua flags=allow-oom\n{SEND_ALL}", 0, *_arguments([command])), [command])


def by_digest(client: "redis.Redis", commands: Sequence[Command]) -> None:
    """EVALSHA; the script is loaded when the server does not have it (any more), as every client library does."""
    digest = hashlib.sha1(SEND_ALL.encode()).hexdigest()
    try:
        done = client.evalsha(digest, 0, *_arguments(commands))
    except redis.exceptions.NoScriptError:
        client.script_load(SEND_ALL)
        done = client.evalsha(digest, 0, *_arguments(commands))
    _counted(done, commands)


def by_function(client: "redis.Redis", commands: Sequence[Command]) -> None:
    """FCALL; the library was loaded before."""
    _counted(client.fcall(FUNCTION, 0, *_arguments(commands)), commands)


def by_script_in_a_transaction(client: "redis.Redis", commands: Sequence[Command]) -> None:
    """EVAL within MULTI and EXEC, beside plain commands."""
    first, *others = commands
    with client.pipeline() as pipeline:
        ask(pipeline, *first)
        pipeline.eval(SEND_ALL, 0, *_arguments(others))
        _counted(pipeline.execute()[-1], others)


WAYS: dict[str, Send] = {
    "plain": plainly,
    "pipeline": by_pipeline,
    "transaction": by_transaction,
    "watched transaction": by_watched_transaction,
    "script": by_script,
    "script of one command": by_script_of_one_command,
    "digest": by_digest,
    "function": by_function,
    "script in a transaction": by_script_in_a_transaction,
}


def load_library(client: "redis.Redis") -> None:
    """The server has the function that `by_function` calls."""
    client.function_load(LIBRARY, replace=True)


def _queued(pipeline: "redis.client.Pipeline", commands: Sequence[Command]) -> None:
    for command in commands:
        ask(pipeline, *command)
    pipeline.execute()


def _arguments(commands: Sequence[Command]) -> list[bytes]:
    return [word for command in commands for word in (b"%d" % len(command), *command)]


def _counted(sent: object, commands: Sequence[Command]) -> None:
    if sent != len(commands):
        raise redis.ResponseError(f"{sent} commands were acknowledged, expected {len(commands)}")

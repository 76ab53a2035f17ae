"""A dataset written in every way that a client has, each write of it acknowledged by the server."""

import time
from collections.abc import Callable

import redis

from tests.hosts.dataset import special_texts as special
from tests.hosts.dataset import texts
from tests.hosts.dataset.commands import commands
from tests.hosts.dataset.server import Command, answering_bytes, ask, clock, info, libraries, names, version
from tests.hosts.dataset.ways import (
    WAYS,
    Send,
    by_pipeline,
    by_script,
    by_script_of_one_command,
    by_transaction,
    load_library,
    plainly,
)

PREFIX = b"every-way:"
LIBRARIES = b"every_way_"
AN_HOUR = 3600  # seconds; longer than any test
LARGE = 20 << 20  # bytes
PATIENCE = 10.0  # seconds until the server is as far as it has to be


def write_every_way(service: "redis.Redis", operator: "redis.Redis", *, large: bool = False) -> None:
    """The server holds a dataset of keys that begin with PREFIX, and one with an empty name, in several databases.

    It must not be there yet. `service` may do what the roles' services may, `operator` everything. `large`: three
    values of 20 MB, too.
    """
    load_library(operator)
    with answering_bytes(service) as client, answering_bytes(service) as other, answering_bytes(operator) as admin:
        ask(client, "SET", b"", "a key without a name")
        for number, (name, send) in enumerate(WAYS.items()):
            prefix = PREFIX + name.encode() + b":"
            for batch in _for_everybody(client, prefix):
                send(client, batch)
            _over_what_ran_out(client, prefix, send)
            _to_one_who_waits(client, other, prefix, send)
            send(admin, _for_the_operator(admin, prefix))
            if send is not by_script_of_one_command:  # its SELECT ends with the script
                send(admin, commands(special.FLUSHED, prefix))
            _functions(admin, number, send)
    if large:
        _large(service)


def remove_every_way(operator: "redis.Redis") -> None:
    """Nothing of the dataset is left; the library that all ways share stays."""
    with answering_bytes(operator) as admin:
        ask(admin, "UNLINK", b"")
        for db in range(int(ask(admin, "CONFIG", "GET", "databases")[1])):
            ask(admin, "SELECT", db)
            for name in names(admin, PREFIX + b"*"):
                ask(admin, "UNLINK", name)
        for library in libraries(admin):
            if library.startswith(LIBRARIES):
                ask(admin, "FUNCTION", "DELETE", library)


def _for_everybody(client: "redis.Redis", prefix: bytes) -> list[list[Command]]:
    """What every client may do, as far as the server's version has it: one batch for each type."""
    later = int(ask(client, "TIME")[0]) + AN_HOUR
    newer = [text for since, text in texts.NEWER.items() if since <= version(client)]
    return [commands(text, prefix, later) for text in (*texts.EVERYBODY, *newer)]


def _for_the_operator(admin: "redis.Redis", prefix: bytes) -> list[Command]:
    (made,) = commands(special.TO_DUMP, prefix)
    ask(admin, *made)
    later = int(ask(admin, "TIME")[0]) + AN_HOUR
    return commands(special.OPERATOR, prefix, later, ask(admin, "DUMP", made[1]))


def _over_what_ran_out(client: "redis.Redis", prefix: bytes, send: Send) -> None:
    plainly(client, commands(special.RUNS_OUT, prefix))
    began = clock(client)
    _wait(lambda: clock(client) > began + 1000, "the TTLs run out")  # no look at the keys, which would delete them
    send(client, commands(special.OVER_WHAT_RAN_OUT, prefix))


def _to_one_who_waits(client: "redis.Redis", other: "redis.Redis", prefix: bytes, send: Send) -> None:
    plainly(client, commands(special.BEFORE_WAITING, prefix))
    for waited, push in zip(commands(special.WAITED_FOR, prefix), commands(special.SERVED, prefix), strict=True):
        blocked = _blocked(client)
        waiter = other.connection_pool.get_connection()
        try:
            waiter.send_command(*waited)  # type: ignore[no-untyped-call]
            _wait(lambda: _blocked(client) > blocked, "the other client waits")  # noqa: B023
            send(client, [push])
            assert waiter.read_response()
        finally:
            other.connection_pool.release(waiter)


def _functions(admin: "redis.Redis", number: int, send: Send) -> None:
    """Libraries that stay, are replaced and are deleted. No script may do that."""
    kept, replaced, deleted = (LIBRARIES + b"%s_%d" % (what, number) for what in (b"kept", b"replaced", b"deleted"))
    changes: list[Command] = [
        (b"FUNCTION", b"LOAD", _library(kept, b"kept")),
        (b"FUNCTION", b"LOAD", _library(replaced, b"old")),
        (b"FUNCTION", b"LOAD", b"REPLACE", _library(replaced, b"new")),
        (b"FUNCTION", b"LOAD", _library(deleted, b"deleted")),
        (b"FUNCTION", b"DELETE", deleted),
    ]
    (send if send in (by_pipeline, by_transaction) else plainly)(admin, changes)


def _library(name: bytes, says: bytes) -> bytes:
    return b"#!lua name=%s\nredis.register_function('%s', function() return '%s' end)" % (name, name, says)


def _large(service: "redis.Redis") -> None:
    for number, send in enumerate((plainly, by_transaction, by_script)):
        value = b"%d" % number * LARGE
        # One connection each: its buffers stay for a while, and all clients share a fifth of the role's memory.
        with answering_bytes(service) as client:
            send(client, [(b"SET", PREFIX + b"large:%d" % number, value)])


def _blocked(client: "redis.Redis") -> int:
    return int(info(client, "blocked_clients"))


def _wait(condition: Callable[[], bool], what: str) -> None:
    """Asks again and again: it is a matter of a millisecond."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"

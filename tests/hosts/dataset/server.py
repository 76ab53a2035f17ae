"""A server, asked by a client that takes its answers as they are: bytes in the shapes of RESP2, never parsed."""

from collections.abc import Iterator, Sequence
from typing import Any

import redis

Command = tuple[bytes, ...]
PATIENCE = 60  # seconds for one answer: a large one, on a busy machine


def answering_bytes(client: "redis.Redis", db: int = 0) -> "redis.Redis":
    """A client of the same server, as the same user, on one connection of its own. Its pipelines take another one."""
    pool = client.connection_pool
    wanted = {name: pool.connection_kwargs.get(name) for name in ("host", "port", "username", "password")}
    wanted |= {"db": db, "protocol": 2, "socket_timeout": PATIENCE}
    own_pool = redis.ConnectionPool(connection_class=pool.connection_class, **wanted)
    own = redis.Redis(connection_pool=own_pool, single_connection_client=True)
    own.response_callbacks.clear()
    return own


def ask(server: "redis.Redis", *words: object) -> Any:
    """The answer to one command; within a pipeline, the pipeline."""
    return server.execute_command(*words)  # type: ignore[no-untyped-call]


def ask_all(server: "redis.Redis", commands: Sequence[tuple[object, ...]]) -> list[Any]:
    """The answers to all commands, asked at once."""
    pipeline = server.pipeline(transaction=False)
    for command in commands:
        ask(pipeline, *command)
    return list(pipeline.execute())


def clock(server: "redis.Redis") -> int:
    """The server's own, in microseconds since 1970."""
    seconds, microseconds = ask(server, "TIME")
    return int(seconds) * 1_000_000 + int(microseconds)


def info(server: "redis.Redis", name: str) -> str:
    """One line of INFO."""
    lines = bytes(ask(server, "INFO")).decode().splitlines()
    (found,) = (line.partition(":")[2] for line in lines if line.startswith(f"{name}:"))
    return found


def version(server: "redis.Redis") -> tuple[int, ...]:
    """Of Redis."""
    return tuple(int(number) for number in info(server, "redis_version").split("."))


def used_databases(server: "redis.Redis") -> list[int]:
    """The numbers of those that hold keys."""
    lines = bytes(ask(server, "INFO", "keyspace")).decode().split()
    return [int(line.partition(":")[0][2:]) for line in lines if line.startswith("db")]


def libraries(server: "redis.Redis") -> dict[bytes, bytes]:
    """The code of each library of functions."""
    found = [pairs(library) for library in ask(server, "FUNCTION", "LIST", "WITHCODE")]
    return {library["library_name"]: library["library_code"] for library in found}


def names(server: "redis.Redis", pattern: bytes = b"*") -> list[bytes]:
    """The keys of the client's database, sorted."""
    found: set[bytes] = set()
    cursor = b"0"
    while True:
        cursor, some = ask(server, "SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        found.update(some)
        if cursor == b"0":
            return sorted(found)


def pairs(flat: Sequence[Any]) -> dict[str, Any]:
    """A map, as RESP2 says it; its keys are words of Redis."""
    return {name.decode(): value for name, value in two_by_two(flat)}


def two_by_two(flat: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Neighbours: names with their values."""
    return zip(flat[::2], flat[1::2], strict=True)

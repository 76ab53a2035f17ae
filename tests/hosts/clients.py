"""Plain redis-py clients whose sockets live in a lab's network namespace."""

import ctypes
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import redis
from redis.connection import Connection

T = TypeVar("T")
CLONE_NEWNET = 0x40000000


def in_namespace(netns: str, action: Callable[[], T]) -> T:
    """The result of `action`, done by a thread that has joined the namespace; its sockets stay there."""
    outcome: list[T | BaseException] = []

    def work() -> None:
        try:
            with Path(f"/run/netns/{netns}").open() as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns {netns}")
            outcome.append(action())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def client(
    netns: str, address: str, port: int, username: str | None = None, password: str | None = None, **options: Any
) -> "redis.Redis":
    """A redis-py client in `netns`; closes like any other. Answers are text."""

    class LabConnection(Connection):
        def _connect(self) -> socket.socket:
            return in_namespace(netns, lambda: socket.create_connection((address, port), timeout=5))

    pool = redis.ConnectionPool(
        connection_class=LabConnection,
        host=address,
        port=port,
        username=username,
        password=password,
        decode_responses=True,
        **{"retry": None, **options},
    )
    return redis.Redis(connection_pool=pool)


def can_connect(netns: str, address: str, port: int) -> bool:
    """Whether anything accepts a connection there."""
    try:
        in_namespace(netns, lambda: socket.create_connection((address, port), timeout=2)).close()
    except OSError:
        return False
    return True


__all__ = ["can_connect", "client", "in_namespace"]

"""Plain redis-py clients whose sockets live in a lab's network namespace."""

import ctypes
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import redis
from redis.connection import Connection

T = TypeVar("T")
CLONE_NEWNET = 0x40000000


def in_namespace(netns: str, action: Callable[[], T]) -> T:
    """The result of `action`, done in the namespace; sockets it opens stay there, this process does not.

    No thread of its own: pyinfra patches threads into greenlets of the main one as soon as a test imports it.
    """
    with Path("/proc/thread-self/ns/net").open() as home, Path("/run/netns", netns).open() as lab:
        _enter(lab.fileno())
        try:
            return action()
        finally:
            _enter(home.fileno())


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


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

"""Plain redis-py clients whose sockets live in a lab's network namespace."""

import ctypes
import secrets
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


class WithEveryRight(Connection):
    """A connection of the operator, who gives itself every right when it is made."""

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Called by redis-py for each new connection: the login, and what follows it."""
        wanted, self.db = self.db, 0  # selected by who may do everything
        try:
            super().on_connect_check_health(check_health)  # type: ignore[no-untyped-call]
        finally:
            self.db = wanted
        become_default(self)
        if wanted:
            self.send_command("SELECT", wanted)  # type: ignore[no-untyped-call]
            self.read_response()  # type: ignore[no-untyped-call]


def become_default(connection: Connection) -> None:
    """Who is connected as the operator may do all that `default` may: a test's set-up flushes, scans, loads, reads.

    `default` has a password for that moment, and none again: a connection outlives it. Where its rights were taken from
    it, the operator stays who he is.
    """
    token = secrets.token_hex(16)

    def ask(*command: str) -> Any:
        connection.send_command(*command)  # type: ignore[no-untyped-call]
        return connection.read_response()  # type: ignore[no-untyped-call]

    try:
        known = str(ask("ACL", "GETUSER", "default"))  # of texts or bytes, a list or a mapping
        if "'+@all'" not in known or "'off'" not in known:
            return
        ask("ACL", "SETUSER", "default", "on", f">{token}")
        ask("AUTH", "default", token)
        ask("ACL", "SETUSER", "default", "off", "resetpass")
    except redis.exceptions.ResponseError:
        return  # loading, busy, or another operator's


def client(
    netns: str,
    address: str,
    port: int,
    username: str | None = None,
    password: str | None = None,
    *,
    every_right: bool = False,
    **options: Any,
) -> "redis.Redis":
    """A redis-py client in `netns`; closes like any other. Answers are text.

    `every_right`: the operator logs in, and gives itself those of `default` (see `become_default`).
    """

    class LabConnection(WithEveryRight if every_right else Connection):  # type: ignore[misc]
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


__all__ = ["WithEveryRight", "can_connect", "client", "in_namespace"]

"""Servers on loopback, without a host: Debian's Redis, and listeners that are none."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from tests.lab.tools import redis_programs

PASSWORD = "a-password-of-both"
ACL = f"user default on nopass ~* &* +@all\nuser replication on >{PASSWORD} -@all +psync +replconf +ping +role\n"


@contextmanager
def server(directory: Path, *options: str, acl: str = ACL) -> Iterator[int]:
    """A Redis server with these options; its port. It has not answered yet."""
    directory.mkdir(exist_ok=True)
    port = free_port()
    (directory / "users.acl").write_text(acl)
    words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--aclfile", "users.acl", *options]
    process = subprocess.Popen(
        [str(redis_programs() / "bin" / "redis-server"), *words], stdout=subprocess.DEVNULL, cwd=directory
    )
    try:
        wait_for(lambda: answers(port), "the server answers")
        yield port
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether it says anything, that it loads among it."""
    try:
        with redis.Redis(port=port) as client:
            return bool(client.info("replication"))
    except redis.ConnectionError:
        return False


@contextmanager
def speaker(say: Callable[[socket.socket], None]) -> Iterator[int]:
    """A listener that is no Redis: `say` has each connection; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        say(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def replies(*texts: bytes) -> Callable[[socket.socket], None]:
    """One that answers each command with the next of these, and then stays silent until it is left."""

    def say(connection: socket.socket) -> None:
        for text in texts:
            if not connection.recv(65536):
                return
            connection.sendall(text)
        while connection.recv(65536):
            pass

    return say

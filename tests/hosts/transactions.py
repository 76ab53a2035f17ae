"""Services that never stop to send transactions, each on one connection of its own: a process with the plain library.

Standard input: one line of JSON, a list of {host, port, username, password}, then one line per wanted report; its end
ends the process. Standard output: a report after the first transaction of each, and one for each that is asked for:
{username: {"done": …, "failed": [texts], "connections": …}}, by `HOST:PORT USER`.
"""

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.retry import Retry

PROGRAM = "tests.hosts.transactions"
PAUSE = 0.005  # seconds between two rounds
PATIENCE = 10.0  # seconds for one answer


@dataclass
class Sent:
    """What the services of one process met."""

    process: "subprocess.Popen[str]"

    def report(self) -> dict[str, dict[str, Any]]:
        """By user: transactions done, failures in words, connections made until now."""
        assert self.process.stdin
        self.process.stdin.write("report\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> dict[str, dict[str, Any]]:
        """The next report."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"the services ended with {self.process.wait()}"
        found: dict[str, dict[str, Any]] = json.loads(line)
        return found


@contextmanager
def sending(netns: Any, repository: Any, logins: list[dict[str, Any]]) -> Iterator[Sent]:
    """They send as long as the body runs."""
    sent = Sent(
        subprocess.Popen(
            ["nsenter", f"--net={netns}", "--", sys.executable, "-m", PROGRAM],
            cwd=repository,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    assert sent.process.stdin
    try:
        sent.process.stdin.write(json.dumps(logins) + "\n")  # never in an argument list
        sent.process.stdin.flush()
        sent.read()
        yield sent
    finally:
        sent.process.stdin.close()
        sent.process.wait(timeout=30)


class Service:
    """One user on one connection: a transaction after the other, and what came of them."""

    def __init__(self, login: dict[str, Any]) -> None:
        made: list[float] = []

        class Counted(Connection):
            def _connect(self) -> Any:
                made.append(time.monotonic())
                return super()._connect()  # type: ignore[no-untyped-call]

        self.name = f"{login['host']}:{login['port']} {login['username']}"
        self._key = f"test:transactions:{login['username']}"
        self._plain = login["username"] != "operator"  # who has no keys
        self._made, self._done = made, 0
        self._failed: list[str] = []
        retry = Retry(NoBackoff(), 0)  # type: ignore[no-untyped-call]
        pool = redis.ConnectionPool(
            connection_class=Counted, decode_responses=True, socket_timeout=PATIENCE, retry=retry, **login
        )
        self._client = redis.Redis(connection_pool=pool, single_connection_client=False)

    def send(self) -> None:
        """One transaction; its failure is counted."""
        try:
            with self._client.pipeline(transaction=True) as pipe:
                for command in [("INCR", self._key), ("GET", self._key)] if self._plain else [("PING",)] * 2:
                    pipe.execute_command(*command)  # type: ignore[no-untyped-call]
                first, second = pipe.execute()
            if str(first) != str(second):
                self._failed.append(f"answered {first} and {second}")
            self._done += 1
        except (redis.RedisError, OSError) as error:
            self._failed.append(f"{type(error).__name__}: {error}")

    def said(self) -> dict[str, Any]:
        """What it met."""
        return {"done": self._done, "failed": self._failed[:5], "connections": len(self._made)}


def main() -> None:
    """Send until standard input ends."""
    services = [Service(login) for login in json.loads(sys.stdin.readline())]
    told = False
    while True:
        for service in services:
            service.send()
        if not told:
            _tell(services)
            told = True
        if select.select([sys.stdin], [], [], PAUSE)[0]:
            if not sys.stdin.readline():
                return
            _tell(services)


def _tell(services: list[Service]) -> None:
    print(json.dumps({service.name: service.said() for service in services}), flush=True)


if __name__ == "__main__":
    main()

"""A service that never stops writing numbers, each in another way: a process of its own, with the plain redis library.

Standard input: one line of JSON (host, port, username, password, prefix), then one line per wanted report; its end
ends the process. Standard output: a report after the first acknowledged write, and one for each that is asked for.
"""

import io
import json
import select
import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.retry import Retry

from tests.hosts.dataset import numbers

PAUSE = 0.0015  # seconds between two writes: some hundred keys a second, far from any maxmemory
PATIENCE = 10.0  # seconds for one answer; longer than any stall that a live change may cause
ERRORS_KEPT = 5


class Counted(Connection):
    """A connection that counts how often it was made: a service would have to log in again each time."""

    made = 0

    def _connect(self) -> Any:
        Counted.made += 1
        return super()._connect()  # type: ignore[no-untyped-call]


class Writer:
    """Writes number after number, each once, and remembers which of them the server acknowledged."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self._client, self._prefix = client, prefix
        self._next = 0
        self._failed = 0
        self._acknowledged: list[list[int]] = []  # first and last number of each unbroken run
        self._errors: list[str] = []
        self._last = 0.0  # when the latest write was acknowledged
        self._longest = 0.0

    def write(self) -> None:
        """One number is written, or its failure is counted. A retry would be another request: there is none."""
        number, self._next = self._next, self._next + 1
        try:
            numbers.write(self._client, self._prefix, number)
        except (redis.RedisError, OSError) as error:
            self._failed += 1
            text = f"{type(error).__name__}: {error}"
            if text not in self._errors and len(self._errors) < ERRORS_KEPT:
                self._errors.append(text)
        else:
            self._acknowledge(number)

    def _acknowledge(self, number: int) -> None:
        now = time.monotonic()
        self._longest = max(self._longest, now - (self._last or now))
        self._last = now
        if self._acknowledged and self._acknowledged[-1][1] == number - 1:
            self._acknowledged[-1][1] = number
        else:
            self._acknowledged.append([number, number])
            if len(self._acknowledged) == 1:
                self.report()

    def report(self) -> None:
        """One line of JSON; a gap that has not ended yet counts as long as it already is."""
        open_gap = time.monotonic() - self._last if self._last else 0.0
        report = {
            "acknowledged": self._acknowledged,
            "attempted": self._next,
            "failed": self._failed,
            "errors": self._errors,
            "longest_gap": max(self._longest, open_gap),
            "connections": Counted.made,
        }
        print(json.dumps(report), flush=True)


def connect(wanted: dict[str, Any]) -> "redis.Redis":
    """A client on one connection, made anew at once when it broke, without retries inside the library."""
    pool = redis.ConnectionPool(
        connection_class=Counted,
        **wanted,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
    )
    return redis.Redis(connection_pool=pool)


def main() -> None:
    """Write until standard input ends."""
    commands = io.FileIO(0)  # unbuffered: select() has to see every line that is still to be read
    wanted = json.loads(commands.readline())
    prefix = wanted.pop("prefix")
    writer = Writer(connect(wanted), prefix)
    while True:
        writer.write()
        if select.select([commands], [], [], PAUSE)[0]:
            if not commands.readline():
                return
            writer.report()


if __name__ == "__main__":
    main()

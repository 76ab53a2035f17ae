"""A service that writes numbers in every way until its server is gone: how many of them were acknowledged.

    python -m tests.hosts.cut_off_writer ADDRESS PORT [PASSWORD]

A process of its own, in the namespace that it was started in. It writes to one database after the other.
"""

import itertools
import sys
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.hosts.dataset import numbers
from tests.hosts.dataset.ways import load_library

DATABASES = 3
PREFIX = "written:"
PAUSE = 0.0005  # seconds between two numbers: others test on the same two cores


def database(number: int) -> int:
    """Where a number is written: a whole round of all ways goes to each database."""
    return number // numbers.ROUND % DATABASES


def main(address: str, port: str, password: str | None = None) -> None:
    """Write until cut off, then print how many numbers were acknowledged, from 0 on, and when the last one was."""
    once = Retry(NoBackoff(), 0)  # a number that was sent twice proves nothing
    connections = [
        redis.Redis(address, int(port), db, password, retry=once, socket_timeout=60) for db in range(DATABASES)
    ]
    load_library(connections[0])
    last = time.monotonic()
    print("writing", flush=True)
    for number in itertools.count():
        try:
            numbers.write(connections[database(number)], PREFIX, number)
        except redis.exceptions.ConnectionError:
            print(number, last, flush=True)
            return
        last = time.monotonic()
        time.sleep(PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:])

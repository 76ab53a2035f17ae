"""A service that writes numbered keys as fast as it is answered, until its server is gone: how many were acknowledged.

    python -m tests.hosts.cut_off_writer ADDRESS PORT [PASSWORD]

A process of its own, in the namespace that it was started in. Key N goes to database N modulo 3.
"""

import itertools
import sys
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

DATABASES = 3
PAUSE = 0.0005  # seconds between two keys: others test on the same two cores


def main(address: str, port: str, password: str | None = None) -> None:
    """Write until cut off, then print how many keys were acknowledged, from 0 on, and when the last one was."""
    once = Retry(NoBackoff(), 0)  # a key that was sent twice proves nothing
    connections = [
        redis.Redis(address, int(port), db, password, retry=once, socket_timeout=60) for db in range(DATABASES)
    ]
    last = time.monotonic()
    print("writing", flush=True)
    for number in itertools.count():
        try:
            assert connections[number % DATABASES].set(f"written:{number}", number)
        except redis.exceptions.ConnectionError:
            print(number, last, flush=True)
            return
        last = time.monotonic()
        time.sleep(PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:])

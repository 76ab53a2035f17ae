"""Clients in every form that follow a role to its new address: a process with the plain library.

Standard input: one line of JSON, {servers: [[host, port], …], login: {username, password, …}, pause}; its end ends the
process. Standard output: a line when all of them have been answered, and at the end what came of each: {form: {…}}.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis

from tests.bench.handover import FORMS, Client, Server
from tests.hosts import figures
from tests.hosts.conftest import Tier
from tests.lab.containers import REPOSITORY

PROGRAM = "tests.hosts.followers"
FOLLOWERS = "followers of a role that moves: acknowledged, longest gap in ms by form"


@dataclass
class Followed:
    """What they met; filled in when the body has ended."""

    forms: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def gap(self) -> float:
        """Seconds that a client that writes was not answered, at most."""
        return float(max(self.forms[form]["gap"] for form in ("set", "multi", "script", "function", "push")))


@contextmanager
def following(
    tier: Tier, scenario: str, user: str, password: str, *servers: tuple[str, int], pause: float = 0, **options: Any
) -> Iterator[Followed]:
    """They write and read as long as the body runs, on the first of these servers that takes their writes.

    `pause`: seconds of each between two steps; `options`: of redis-py, by which they speak TLS.
    """
    found = Followed()
    process = subprocess.Popen(
        ["nsenter", f"--net={tier.lab.record.netns}", "--", sys.executable, "-m", PROGRAM],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        # Never in an argument list.
        login = {"username": user, "password": password, **options}
        process.stdin.write(json.dumps({"servers": servers, "login": login, "pause": pause}) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "begun\n"
        yield found
    finally:
        process.stdin.close()
        said = process.stdout.read()
        process.wait(timeout=60)
    found.forms |= json.loads(said)
    gaps = {form: round(1000 * item["gap"]) for form, item in found.forms.items()}
    figures.add(FOLLOWERS, f"{sum(item['count'] for item in found.forms.values()):7}  {scenario}: {gaps}")


def lacking(known: "redis.Redis", followed: Followed) -> dict[str, int]:
    """Acknowledged writes that a server lacks, by form; of a key it has the last one only, by its number."""
    found = {
        form: max(0, *(followed.forms[form]["last"] - int(known.get(f"{form}:{number}") or 0) for number in numbers))
        for form, numbers in (("set", (1,)), ("multi", (1, 2)), ("script", (1, 2)), ("function", (1, 2)))
    }
    pushed, taken = followed.forms["push"]["count"], followed.forms["blpop"]["count"]
    return {**found, "queue": max(0, pushed - taken - known.llen("queue"))}


def main() -> None:
    """Follow until standard input ends."""
    told = json.loads(sys.stdin.readline())
    servers = [Server(port, host, told["login"]) for host, port in told["servers"]]
    clients = [Client(form, servers[0], servers[-1], pause=told["pause"]) for form in FORMS]
    for item in clients:
        item.start()
    while not all(item.acknowledged for item in clients):
        time.sleep(0.01)
    print("begun", flush=True)
    sys.stdin.read()
    for item in clients:
        item.ends.set()
    for item in clients:
        item.join()
    print(
        json.dumps(
            {
                item.form: {
                    "last": item.acknowledged[-1][0],
                    "count": len(item.acknowledged),
                    "gap": item.gap(),
                    "met": item.met,
                }
                for item in clients
            }
        )
    )


if __name__ == "__main__":
    main()

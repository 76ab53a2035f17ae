"""What a handover costs: FAILOVER against CLIENT PAUSE and REPLICAOF, two servers on loopback, clients in every form.

python -m tests.bench.handover [--server PROGRAM] [--runs N]    (docs/decisions/0029)

One JSON line per run: how long no client was answered, acknowledged writes that the new server lacks, whether both
servers took writes at one time, and what clients met.
"""

import argparse
import json
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

FORMS = ("set", "multi", "script", "function", "push", "blpop", "publish", "subscribe")
SCRIPT = "redis.call('SET', KEYS[1], ARGV[1]); return redis.call('SET', KEYS[2], ARGV[1])"
LIBRARY = (
    "#!lua name=handover\nredis.register_function('both', function(keys, args) "
    "redis.call('SET', keys[1], args[1]); return redis.call('SET', keys[2], args[1]) end)"
)
BALLAST = 100_000
UNDER_LOAD = 1.0  # seconds before and after


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Return when `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.002)


@dataclass
class Server:
    """Where a server is, and who logs in there."""

    port: int
    host: str = "127.0.0.1"
    login: dict[str, Any] = field(default_factory=dict, repr=False)

    def client(self) -> "redis.Redis":
        retry = Retry(NoBackoff(), 0)  # type: ignore[no-untyped-call]
        return redis.Redis(
            host=self.host, port=self.port, decode_responses=True, socket_timeout=10, retry=retry, **self.login
        )

    def info(self) -> dict[str, Any]:
        with self.client() as client:
            return dict(client.info("replication"))


@contextmanager
def server(program: str, directory: Path, *options: str) -> Iterator[Server]:
    """It runs as long as the body."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    directory.mkdir()
    words = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--appendonly", "yes"]
    process = subprocess.Popen([*words, *options], stdout=subprocess.DEVNULL)
    try:
        found = Server(port)
        wait_for(lambda: answers(found), "the server answers")
        yield found
    finally:
        process.kill()
        process.wait()


def answers(found: Server) -> bool:
    """Whether it does."""
    with suppress(redis.RedisError), found.client() as client:
        return bool(client.ping())
    return False


class Client(threading.Thread):
    """One client in one form, on the old server until that refuses it, then on the new one."""

    def __init__(self, form: str, old: Server, new: Server, stays: bool = False, pause: float = 0) -> None:
        super().__init__(daemon=True)
        self.form, self.stays, self.pause = form, stays, pause  # seconds between two steps
        self.servers = [old, new]
        self.acknowledged: list[tuple[int, float]] = []
        self.met: dict[str, int] = {}
        self.ends = threading.Event()

    def run(self) -> None:
        number = 0
        client: Any = None
        while not self.ends.is_set():
            number += 1
            try:
                if client is None:
                    client = self.servers[0].client()
                    channel = client.pubsub(ignore_subscribe_messages=True) if self.form == "subscribe" else None
                    if channel is not None:
                        channel.subscribe("channel")
                if self.once(client, number, channel):
                    self.acknowledged.append((number, time.monotonic()))
                self.ends.wait(self.pause)
            except (redis.RedisError, OSError) as error:
                text = f"{type(error).__name__}: {str(error)[:60]}"
                self.met[text] = self.met.get(text, 0) + 1
                client = None
                if not self.stays:
                    self.servers.reverse()

    def once(self, client: Any, number: int, channel: Any) -> bool:
        """Whether one step of it was acknowledged."""
        keys = [f"{self.form}:1", f"{self.form}:2"]
        if self.form == "multi":
            with client.pipeline(transaction=True) as pipe:
                for key in keys:
                    pipe.set(key, number)
                pipe.execute()
            return True
        ways: dict[str, Callable[[], object]] = {
            "set": lambda: client.set(keys[0], number),
            "stays": lambda: client.set(f"stays:{self.servers[0].port}", number),
            "script": lambda: client.eval(SCRIPT, 2, *keys, number),
            "function": lambda: client.fcall("both", 2, *keys, number),
            "push": lambda: client.rpush("queue", number),
            "blpop": lambda: client.blpop(["queue"], timeout=0.5),
            "publish": lambda: client.publish("channel", number),
            "subscribe": lambda: channel.get_message(timeout=0.5),
        }
        return ways[self.form]() is not None

    def gap(self) -> float:
        """The longest time between two acknowledged steps."""
        times = [at for _, at in self.acknowledged]
        return max((b - a for a, b in pairwise(times)), default=0.0)

    def lost(self, new: "redis.Redis") -> int:
        """Acknowledged writes that the server lacks; of a key, which has the last one only, by its number."""
        if self.form in ("blpop", "publish", "subscribe", "push") or not self.acknowledged:
            return 0
        last = self.acknowledged[-1][0]
        found = [int(str(new.get(f"{self.form}:{n}") or 0)) for n in ((1,) if self.form == "set" else (1, 2))]
        return sum(max(0, last - item) for item in found)


def by_failover(old: Server, new: Server) -> None:
    """The server does it itself."""
    with old.client() as client:
        client.execute_command("FAILOVER", "TO", "127.0.0.1", new.port, "TIMEOUT", 2000)
        wait_for(lambda: old.info()["role"] == "slave" or old.info()["master_failover_state"] == "no-failover", "ended")


def by_pause(old: Server, new: Server) -> None:
    """Paused, at one offset, the old one a replica, then the new one none any more: never two that are writable."""
    with old.client() as first, new.client() as second:
        first.execute_command("CLIENT", "PAUSE", 2000, "WRITE")
        offset = first.info("replication")["master_repl_offset"]
        wait_for(lambda: second.info("replication")["slave_repl_offset"] >= offset, "one offset", 2)
        first.execute_command("REPLICAOF", "127.0.0.1", new.port)
        second.execute_command("REPLICAOF", "NO", "ONE")
        first.execute_command("CLIENT", "UNPAUSE")


WAYS = {"failover": by_failover, "pause": by_pause}


def measure(way: str, program: str, directory: Path) -> dict[str, Any]:
    """One handover under load."""
    with server(program, directory / "old") as old, server(program, directory / "new") as new:
        with old.client() as client:
            client.function_load(LIBRARY)
            for at in range(0, BALLAST, 5000):
                client.mset({f"ballast:{number}": "x" * 100 for number in range(at, at + 5000)})
        with new.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", old.port)
            wait_for(lambda: client.info("replication")["master_link_status"] == "up", "in sync")
        clients = [Client(form, old, new) for form in FORMS]
        stay = [Client("stays", item, item, stays=True) for item in (old, new)]
        for item in (*clients, *stay):
            item.start()
        time.sleep(UNDER_LOAD)
        began = time.monotonic()
        WAYS[way](old, new)
        took = time.monotonic() - began
        time.sleep(UNDER_LOAD)
        for item in (*clients, *stay):
            item.ends.set()
        for item in (*clients, *stay):
            item.join()
        with new.client() as client:
            pushed = {number for number, _ in clients[FORMS.index("push")].acknowledged}
            taken = len(clients[FORMS.index("blpop")].acknowledged)
            return {
                "way": way,
                "version": client.info("server")["redis_version"],
                "took_ms": round(1000 * took),
                "gap_ms": {item.form: round(1000 * item.gap()) for item in clients},
                "acknowledged": sum(len(item.acknowledged) for item in clients),
                "lost": {item.form: item.lost(client) for item in clients}
                | {"queue": len(pushed) - taken - int(str(client.llen("queue")))},
                "both_took_writes_ms": round(1000 * max(0.0, last(stay[0]) - first(stay[1]))),
                "roles": [str(item.info()["role"]) for item in (old, new)],
                "met": {item.form: item.met for item in clients},
            }


def first(client: Client) -> float:
    return client.acknowledged[0][1] if client.acknowledged else float("inf")


def last(client: Client) -> float:
    return client.acknowledged[-1][1] if client.acknowledged else 0.0


# --- The answer to the new server's promotion is lost on the way


def proxy(target: int) -> int:
    """A port that leads to `target`, and cuts the connection by which a promotion was asked for, once it is done."""
    listener = socket.create_server(("127.0.0.1", 0))
    cut = threading.Event()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                if b"FAILOVER" in data.upper() and not cut.is_set():
                    cut.set()
                    break
        for item in (source, sink):
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while True:
            source, _ = listener.accept()
            sink = socket.create_connection(("127.0.0.1", target))
            for pair in ((source, sink), (sink, source)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def cut_amid(program: str, directory: Path) -> dict[str, Any]:
    """Which servers are primary when FAILOVER's last answer does not arrive."""
    with server(program, directory / "old") as old, server(program, directory / "new") as new:
        port = proxy(new.port)
        with new.client() as client:
            client.config_set("replica-announce-port", port)
            client.execute_command("REPLICAOF", "127.0.0.1", old.port)
            wait_for(lambda: client.info("replication")["master_link_status"] == "up", "in sync")
        with old.client() as client:
            wait_for(lambda: client.info("replication").get("slave0", {}).get("state") == "online", "it is online")
            client.execute_command("FAILOVER", "TO", "127.0.0.1", port, "TIMEOUT", 2000)
            wait_for(lambda: client.info("replication")["master_failover_state"] == "no-failover", "it has ended", 20)
            version = client.info("server")["redis_version"]
        time.sleep(1)
        return {"way": "failover, cut", "version": version, "roles": [str(item.info()["role"]) for item in (old, new)]}


def main() -> None:
    """Every way, `--runs` times."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--server", default="redis-server")
    words.add_argument("--runs", type=int, default=3)
    given = words.parse_args()
    for way in WAYS:
        for _ in range(given.runs):
            with tempfile.TemporaryDirectory() as directory:
                print(json.dumps(measure(way, given.server, Path(directory))), flush=True)
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(cut_amid(given.server, Path(directory))), flush=True)


if __name__ == "__main__":
    main()

"""What two real servers say of a handover that was cut off: whether the copy was told, and who has served since."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from tasks.compare.cut_short import has_served, may_have_served
from tests.hosts.on_loopback import ACL, PASSWORD, answers, free_port, wait_for
from tests.lab.tools import redis_programs

pytestmark = pytest.mark.hosts


LOGGED = {"enabled": 1, "rewrite_in_progress": 0, "rewrite_scheduled": 0}


class Server:
    """One of a pair, with a log; `start` may come again."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "users.acl").write_text(ACL)
        self.directory, self.port = directory, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """It answers; with its log, as each start of it."""
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory), "--appendonly", "yes"]
        login = ["--masteruser", "replication", "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"]
        program = redis_programs() / "bin" / "redis-server"
        self.process = subprocess.Popen(
            [str(program), *words, "--aclfile", "users.acl", *login, *options],
            stdout=subprocess.DEVNULL,
            cwd=self.directory,
        )
        wait_for(lambda: answers(self.port), "the server answers")

    def lose_power(self) -> None:
        """It ends at once, and says nothing to anybody."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True)

    def has_its_log(self) -> bool:
        """Whether what is written from now on is in its log: behind a copy that is begun anew."""
        found = self.client.info("persistence")
        return all(found[f"aof_{name}"] == wanted for name, wanted in LOGGED.items())

    def says(self) -> Mapping[str, str]:
        """What it says of its replication, as the tool reads it."""
        return {name: str(value) for name, value in self.client.info("replication").items()}


@contextmanager
def two(directory: Path) -> Iterator[tuple[Server, Server]]:
    """One that serves, with a key, and its copy in sync."""
    old, new = Server(directory / "old"), Server(directory / "new")
    try:
        old.start()
        old.client.set("before", "1")
        new.start("--replicaof", f"127.0.0.1 {old.port}")
        wait_for(lambda: new.says()["master_link_status"] == "up", "in sync")
        wait_for(new.has_its_log, "its log has all that it copied, as a handover waits for it")
        yield old, new
    finally:
        for item in (old, new):
            with suppress(OSError):
                item.lose_power()


def test_a_copy_whose_server_went_down_says_that_it_was_not_told_and_one_that_was_started_does_not(
    tmp_path: Path,
) -> None:
    with two(tmp_path) as (old, new):
        where = ("127.0.0.1", old.port)
        assert may_have_served(new.says(), False, where) == ""
        old.lose_power()
        wait_for(lambda: new.says()["master_link_status"] == "down", "it has noticed")
        assert may_have_served(new.says(), False, where) == ""
        new.client.replicaof("NO", "ONE")
        assert may_have_served(new.says(), False, where)
        new.client.replicaof("127.0.0.1", str(old.port))
        assert may_have_served(new.says(), False, where)
        new.lose_power()
        new.start("--replicaof", f"127.0.0.1 {old.port}")
        assert may_have_served(new.says(), False, where)


def test_an_old_server_that_has_followed_the_new_one_says_that_it_served_whatever_becomes_of_it(tmp_path: Path) -> None:
    with two(tmp_path) as (old, new):
        history, to = old.says()["master_replid"], ("127.0.0.1", new.port)
        old.client.replicaof("127.0.0.1", str(new.port))
        assert has_served(old.says(), history, False, to) == ""
        wait_for(lambda: old.says()["master_link_status"] == "up" or "master_link_down_since_seconds" in old.says(), "")
        assert has_served(old.says(), history, False, to) == ""  # also where they follow each other
        new.client.replicaof("NO", "ONE")
        new.client.set("since", "2")
        wait_for(lambda: old.client.get("since") == "2", "it follows")
        assert has_served(old.says(), history, False, to)
        new.lose_power()
        new.start("--replicaof", f"127.0.0.1 {old.port}")  # what made it a copy was still there
        wait_for(lambda: old.says()["master_link_status"] == "down", "it has noticed")
        assert has_served(old.says(), history, False, to)
        assert new.client.config_set("replica-serve-stale-data", "yes")
        # It may copy the old one right then, which has that, too.
        wait_for(lambda: new.client.get("since") == "2", "it has what it acknowledged")


def test_a_copy_that_was_started_anew_before_it_was_told_has_not_served(tmp_path: Path) -> None:
    with two(tmp_path) as (old, new):
        history, to = old.says()["master_replid"], ("127.0.0.1", new.port)
        old.client.replicaof("127.0.0.1", str(new.port))
        new.lose_power()
        new.start("--replicaof", f"127.0.0.1 {old.port}")
        wait_for(lambda: old.says()["master_link_status"] == "down", "it has noticed")
        assert has_served(old.says(), history, False, to) == ""

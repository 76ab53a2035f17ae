"""templates/scripts/start-guard.sh asks real servers, and some that are none: never do two of a pair start.

No host is made for it: Debian's programs run here, on loopback.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tasks.desired.guard import PATIENCE, guard_text, peer_text
from tasks.desired.paths import copy_drop_in, peer_file, promoted_file, served_file
from tests.hosts.on_loopback import ACL, PASSWORD, free_port, replies, server, speaker
from tests.lab.tools import redis_programs

pytestmark = pytest.mark.hosts

OLDER, STRANGE = "a-password-from-before", "a-password-of-another"
OWN = ("127.0.0.1", 6399)
NO_ROLE = ACL.replace(" +role", "")
BOUND = 8.0  # seconds in which it has decided, whatever the other one does


@dataclass
class Start:
    """What became of one start."""

    begins: bool
    said: str
    served: bool
    promoted: bool
    took: float


@dataclass
class Pair:
    """One side of a pair, of which `port` is the other one's; `tls`: how redis-cli speaks TLS to it."""

    directory: Path
    port: int
    tls: tuple[str, ...] = ()

    def path(self, path: str) -> Path:
        return self.directory / path.lstrip("/")

    def start(
        self,
        *passwords: str,
        notes: tuple[str, ...] = (),
        copy: bool = False,
        host: str = "127.0.0.1",
        patience: int = PATIENCE,
        tries: bool = False,
    ) -> Start:
        """What the program says before a start, with these notes there, and when it asks for so many seconds."""
        text = guard_text("crypto", OWN, (host, self.port), self.tls)
        text = text.replace(f"patience={PATIENCE}\n", f"patience={patience}\n")
        for path in (peer_file("crypto"), served_file("crypto"), promoted_file("crypto")):
            text = text.replace(f"={path}\n", f"={self.path(path)}\n")
        for name in notes:
            note = self.path({"served": served_file, "promoted": promoted_file}[name]("crypto"))
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
        if passwords:
            peer = self.path(peer_file("crypto"))
            peer.parent.mkdir(parents=True, exist_ok=True)
            peer.write_text(peer_text(passwords))
        bin = self.directory / "bin"
        bin.mkdir(exist_ok=True)
        drop_ins = f"/etc/systemd/system/service.d/other.conf {copy_drop_in('crypto') if copy else ''}"
        (bin / "systemctl").write_text(f"#!/bin/sh\necho '{drop_ins}'\n")
        (bin / "systemctl").chmod(0o755)
        program = self.directory / "guard"
        program.write_text(text)
        began = time.monotonic()
        done = subprocess.run(
            ["/bin/sh", str(program), *(["try"] if tries else [])],
            env={"PATH": f"{bin}:{redis_programs() / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert bool(done.stdout) <= tries
        assert not done.stderr or not tries
        assert not any(word in done.stderr for word in (PASSWORD, OLDER, STRANGE))
        served, promoted = (self.path(path("crypto")).exists() for path in (served_file, promoted_file))
        return Start(
            done.returncode == 0, done.stdout if tries else done.stderr, served, promoted, time.monotonic() - began
        )


def endless(connection: socket.socket) -> None:
    """A text of half a terabyte, as fast as it is taken."""
    connection.recv(65536)
    connection.sendall(b"+OK\r\n$499999999999\r\n")
    while True:
        connection.sendall(b"x" * (1 << 20))


def slow(connection: socket.socket) -> None:
    """A byte each tenth of a second, of an answer that would let it start."""
    connection.recv(65536)
    for letter in f"+OK\r\n*5\r\n$5\r\nslave\r\n$9\r\n{OWN[0]}\r\n:{OWN[1]}\r\n".encode() * 9:
        connection.sendall(bytes([letter]))
        time.sleep(0.1)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path


ALL_NOTES = [(), ("served",), ("promoted",), ("served", "promoted")]


@pytest.mark.parametrize("notes", ALL_NOTES)
def test_one_whose_other_one_serves_never_starts_and_says_what_to_do(here: Path, notes: tuple[str, ...]) -> None:
    with server(here / "other") as port:
        found = Pair(here, port).start(PASSWORD, notes=notes)
    assert not found.begins
    assert f"crypto: not started: 127.0.0.1:{port} serves it" in found.said
    assert "deploy, which makes this one its standby" in found.said


def test_one_whose_other_one_loads_what_it_will_serve_never_starts(here: Path) -> None:
    options = ("--enable-debug-command", "yes", "--save", "")
    with server(here / "other", *options) as port, redis.Redis(port=port) as client:
        client.execute_command("DEBUG", "POPULATE", 30_000, "key", 100)
        client.save()
    slowly = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024", "--save", "")
    with server(here / "other", *slowly) as port:
        with redis.Redis(port=port) as client:
            assert client.info("persistence")["loading"] == 1
        found = Pair(here, port).start(PASSWORD, notes=("served",))
        with redis.Redis(port=port) as client:
            assert client.info("persistence")["loading"] == 1
    assert not found.begins


@pytest.mark.parametrize("notes", ALL_NOTES)
def test_one_that_the_other_one_follows_starts_at_once_and_may_be_replaced_from_then_on(
    here: Path, notes: tuple[str, ...]
) -> None:
    with server(here / "other", "--replicaof", f"{OWN[0]} {OWN[1]}") as port:
        found = Pair(here, port).start(PASSWORD, notes=notes)
    assert found.begins
    assert not found.said
    assert found.served
    assert not found.promoted
    assert found.took < 1.5


def test_it_asks_from_the_roles_own_address_as_replication_does(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps strangers off a role lets that in, and no other address of the host."""
    monkeypatch.setattr(sys.modules[__name__], "OWN", ("127.0.0.7", 6399))
    came: list[str] = []

    def look(connection: socket.socket) -> None:
        came.append(connection.getpeername()[0])
        replies(b"+OK\r\n", b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.7\r\n:6399\r\n$9\r\nconnected\r\n:9\r\n")(connection)

    with speaker(look) as port:
        assert Pair(here, port).start(PASSWORD).begins
    assert came == ["127.0.0.7"]


def test_a_rotation_that_has_reached_one_of_the_two_only_keeps_none_from_its_start(here: Path) -> None:
    with server(here / "other", "--replicaof", f"{OWN[0]} {OWN[1]}") as port:
        assert Pair(here, port).start(STRANGE, PASSWORD).begins


def test_a_copy_starts_whoever_serves_and_what_was_noted_of_its_serving_goes(here: Path) -> None:
    with server(here / "other") as port:
        found = Pair(here, port).start(PASSWORD, notes=("served",), copy=True)
    assert found.begins
    assert not found.served


SILENT = "no answer of a Redis server within 1 s"
UNKNOWN: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "silent": (replies(), SILENT),
    "slow": (slow, SILENT),
    "no Redis": (replies(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "no answer of a Redis server within 3 s"),
    "hangs up": (lambda connection: None, "no answer of a Redis server within 3 s"),
    "endless": (endless, ""),
    "loading, and no more": (replies(b"+OK\r\n", b"-LOADING Redis is loading the dataset in memory\r\n"), "LOADING"),
    "no login asked for": (replies(b"+OK\r\n", b"-NOAUTH Authentication required.\r\n"), "NOAUTH"),
    "full": (replies(b"-ERR max number of clients reached\r\n"), "max number of clients"),
    "another kind": (replies(b"+OK\r\n", b"*2\r\n$8\r\nsentinel\r\n*0\r\n"), "sentinel"),
    "an empty list": (replies(b"+OK\r\n", b"*0\r\n"), ""),
    "half of it": (replies(b"+OK\r\n", b"*5\r\n$5\r\nslave\r\n"), SILENT),
    "control characters": (replies(b"+OK\r\n", b"+\x1b[2Jmaster\r\n"), "[2Jmaster"),
    "one that has two masters' words": (
        replies(b"+OK\r\n", b"*2\r\n$5\r\nslave\r\n$6\r\nmaster\r\n"),
        "it follows master",
    ),
}


def judge(found: Start, notes: tuple[str, ...], why: str) -> None:
    """Not known: it starts where a note says that nobody can have been put in its place, else it waits and says so."""
    assert found.took < BOUND
    assert why in found.said
    assert "serves it is not known (" in found.said
    assert found.begins == bool(notes)
    assert found.served == bool(notes)
    assert found.promoted == ("promoted" in notes)
    assert found.said.count("\n") == 1
    assert found.said[:-1].isprintable()
    assert len(found.said) < 600
    if not notes:
        assert "deploy with --data serve_alone=crypto" in found.said


@pytest.mark.parametrize("notes", ALL_NOTES[:3])
@pytest.mark.parametrize("other", UNKNOWN)
def test_an_answer_that_tells_nothing_lets_it_start_only_where_nobody_can_have_taken_its_place(
    here: Path, other: str, notes: tuple[str, ...]
) -> None:
    say, why = UNKNOWN[other]
    silent = why == SILENT
    with speaker(say) as port:
        found = Pair(here, port).start(PASSWORD, notes=notes, patience=1 if silent else PATIENCE)
    judge(found, notes, why)


@pytest.mark.parametrize("notes", ALL_NOTES[:3])
def test_so_does_no_answer_at_all(here: Path, notes: tuple[str, ...]) -> None:
    judge(Pair(here, free_port()).start(PASSWORD, notes=notes), notes, "Connection refused")
    # Of a network that is not there yet, as at a boot.
    judge(Pair(here, 6383).start(PASSWORD, notes=notes, host="255.255.255.254"), notes, "")


@pytest.mark.parametrize("notes", ALL_NOTES[:3])
@pytest.mark.parametrize(
    ("acl", "why"),
    [
        (ACL.replace(PASSWORD, STRANGE), "WRONGPASS"),
        (ACL.partition("user replication")[0], "WRONGPASS"),
        (NO_ROLE, "NOPERM"),
    ],
)
def test_so_does_a_server_that_does_not_let_it_in(here: Path, acl: str, why: str, notes: tuple[str, ...]) -> None:
    with server(here / "other", acl=acl) as port:
        found = Pair(here, port).start(PASSWORD, OLDER, notes=notes)
    judge(found, notes, why)


@pytest.mark.parametrize("notes", ALL_NOTES[:3])
def test_so_does_one_that_follows_somebody_else(here: Path, notes: tuple[str, ...]) -> None:
    with server(here / "other", "--replicaof", "127.0.0.9 6400") as port:
        found = Pair(here, port).start(PASSWORD, notes=notes)
    judge(found, notes, "it follows 127.0.0.9:6400, expected 127.0.0.1:6399")


@pytest.mark.parametrize("notes", ALL_NOTES[:3])
def test_so_does_a_password_file_that_is_not_there(here: Path, notes: tuple[str, ...]) -> None:
    judge(Pair(here, free_port()).start(notes=notes), notes, "cannot be read, or has no password: deploy")


def test_what_is_asked_before_a_start_can_be_tried_and_changes_nothing(here: Path) -> None:
    """By a look, of one that is linked; of one that is not nothing is said."""
    with server(here / "other", "--replicaof", f"{OWN[0]} {OWN[1]}") as port, redis.Redis(port=port) as linked:
        linked.ping()
        for copy in (False, True):
            for notes in ALL_NOTES:
                found = Pair(here, port).start(PASSWORD, notes=notes, copy=copy, tries=True)
                assert found.said == f"slave {OWN[0]} {OWN[1]}\n"
                assert (found.served, found.promoted) == ("served" in notes, "promoted" in notes)
                for note in ("served", "promoted"):
                    Pair(here, port).path({"served": served_file, "promoted": promoted_file}[note]("crypto")).unlink(
                        missing_ok=True
                    )
        assert "WRONGPASS" in Pair(here, port).start(STRANGE, tries=True).said
    assert Pair(here, port).start(PASSWORD, tries=True, host="127.0.0.77").said == ""


def test_neither_of_two_that_booted_starts_before_one_says_that_it_follows(here: Path) -> None:
    """A rack without power: the one that was a copy comes up as a copy, and lets the other one serve."""
    assert not Pair(here / "one", free_port()).start(PASSWORD).begins
    with server(here / "other", "--replicaof", f"{OWN[0]} {OWN[1]}") as port:
        assert Pair(here / "one", port).start(PASSWORD).begins


def test_the_program_is_never_started_with_a_password(here: Path) -> None:
    """Neither its own arguments nor those of what it starts have one, and no environment that others can read."""
    seen: list[str] = []

    def look(connection: socket.socket) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                seen.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        replies(b"+OK\r\n", b"*0\r\n")(connection)

    with speaker(look) as port:
        Pair(here, port).start(PASSWORD)
    assert [line for line in seen if f"127.0.0.1 {port}" in line]
    assert not [line for line in seen if PASSWORD in line]
    assert os.environ.get("REDISCLI_AUTH") is None

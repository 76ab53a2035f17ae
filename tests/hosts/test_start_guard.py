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
    systemctl: str = ""  # what that does instead
    sync: str = ""

    @property
    def synced(self) -> Path:
        """Directories that were made sure to be on disk as they are: what each had then, and its name."""
        return self.directory / "synced"

    def path(self, path: str) -> Path:
        return self.directory / path.lstrip("/")

    def start(
        self,
        *passwords: str,
        notes: tuple[str, ...] = (),
        copy: str = "",
        host: str = "127.0.0.1",
        patience: int = PATIENCE,
        mode: str = "",
    ) -> Start:
        """What the program says before a start, with these notes there, and when it asks for so many seconds.

        `copy`: whether what makes it a copy is `loaded` by systemd, or there as a `file`; `mode`: what it is run with.
        """
        text = guard_text("crypto", OWN, (host, self.port), self.tls)
        text = text.replace(f"patience={PATIENCE}\n", f"patience={patience}\n")
        drop_in = copy_drop_in("crypto")
        for path in (peer_file("crypto"), served_file("crypto"), promoted_file("crypto"), drop_in):
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
        drop_ins = f"/etc/systemd/system/service.d/other.conf {self.path(drop_in) if 'loaded' in copy else ''}"
        self.path(drop_in).parent.mkdir(parents=True, exist_ok=True)
        self.path(drop_in).unlink(missing_ok=True)
        if "file" in copy:
            self.path(drop_in).touch()
        self.synced.write_text("")
        # The second notes what is there when it is called, and does it.
        for name, does in (
            ("systemctl", self.systemctl or f"echo '{drop_ins}'"),
            ("sync", self.sync or f'ls "$@" >>{self.synced} && echo "$@:" >>{self.synced} && exec /usr/bin/sync "$@"'),
        ):
            (bin / name).write_text(f"#!/bin/sh\n{does}\n")
            (bin / name).chmod(0o755)
        program = self.directory / "guard"
        program.write_text(text)
        began = time.monotonic()
        done = subprocess.run(
            ["/bin/sh", str(program), *([mode] if mode else [])],
            env={"PATH": f"{bin}:{redis_programs() / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        tries = mode == "try"
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


def linked(say: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """A speaker that takes one connection more, which stays while another one is told something."""
    first: list[socket.socket] = []

    def either(connection: socket.socket) -> None:
        if first:
            say(connection)
        else:
            first.append(connection.dup())

    return either


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


def test_that_it_may_be_replaced_is_on_disk_before_it_starts(here: Path) -> None:
    """Else a cut brings back the mark, and it starts beside the one that was put in its place after that."""
    with server(here / "other", "--replicaof", f"{OWN[0]} {OWN[1]}") as port:
        pair = Pair(here, port)
        assert pair.start(PASSWORD, notes=("promoted",)).begins
        assert pair.synced.read_text() == f"{pair.path(promoted_file('crypto')).parent}:\n"
        failing = Pair(here, port, sync="echo 'sync: Input/output error' >&2; exit 1")
        found = failing.start(PASSWORD, notes=("served", "promoted"))
    assert not found.begins
    assert "crypto: not started, asked again: that it may be replaced is not on disk" in found.said


def test_a_host_without_records_starts_when_the_other_one_follows(here: Path) -> None:
    with server(here / "other", "--replicaof", f"{OWN[0]} {OWN[1]}") as port:
        pair = Pair(here, port)
        assert not pair.path(promoted_file("crypto")).parent.exists()
        assert pair.start(PASSWORD).begins


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
        found = Pair(here, port).start(PASSWORD, notes=("served",), copy="loaded")
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
    # What a shell's echo would make of it: another line, more of them, and an end before the line's.
    "what an echo would print": (
        replies(b"+OK\r\n", b"-a\\0033[2J\\ncrypto: started, nothing to do\\c\r\n"),
        r"a\0033[2J\ncrypto: started, nothing to do\c",
    ),
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
        for copy in ("", "loaded", "file"):
            for notes in ALL_NOTES:
                found = Pair(here, port).start(PASSWORD, notes=notes, copy=copy, mode="try")
                assert found.said == f"slave {OWN[0]} {OWN[1]}\n"
                assert (found.served, found.promoted) == ("served" in notes, "promoted" in notes)
                for note in ("served", "promoted"):
                    Pair(here, port).path({"served": served_file, "promoted": promoted_file}[note]("crypto")).unlink(
                        missing_ok=True
                    )
        assert "WRONGPASS" in Pair(here, port).start(STRANGE, mode="try").said
    assert Pair(here, port).start(PASSWORD, mode="try", host="127.0.0.77").said == ""


def test_what_the_other_one_says_is_one_printable_line_of_what_is_tried(here: Path) -> None:
    """Its first connection is the link, which says nothing."""
    for words in (rb"a\0033[2J\nb\c", b"x" * 4000, b"\x1b[2J\x07b"):
        say = linked(replies(b"+OK\r\n", b"-" + words + b"\r\n"))
        with speaker(say) as port, socket.create_connection(("127.0.0.1", port)):
            said = Pair(here, port).start(PASSWORD, mode="try").said
        assert said.count("\n") == 1
        assert said.endswith("\n")
        assert said[:-1].isprintable()
        assert said[:1] in words.decode()


# --- What takes the role's address asks before it does (docs/decisions/0035)

ASKS = "asks"


@pytest.mark.parametrize("notes", ALL_NOTES)
def test_what_takes_the_address_notes_nothing_for_no_server_has_started_by_it(
    here: Path, notes: tuple[str, ...]
) -> None:
    with server(here / "other", "--replicaof", f"{OWN[0]} {OWN[1]}") as port:
        found = Pair(here, port).start(PASSWORD, notes=notes, mode=ASKS)
    assert found.begins
    assert not found.said
    assert (found.served, found.promoted) == ("served" in notes, "promoted" in notes)


@pytest.mark.parametrize("notes", ALL_NOTES)
def test_nor_where_nothing_is_told(here: Path, notes: tuple[str, ...]) -> None:
    found = Pair(here, free_port()).start(PASSWORD, notes=notes, mode=ASKS)
    assert found.begins == bool(notes)
    assert (found.served, found.promoted) == ("served" in notes, "promoted" in notes)
    if not notes:
        assert "crypto: address not taken, asked again: whether 127.0.0.1:" in found.said


def test_it_does_not_take_it_where_the_other_one_serves_and_this_one_has_not_since_its_boot(here: Path) -> None:
    with server(here / "other") as port:
        found = Pair(here, port).start(PASSWORD, notes=("promoted",), mode=ASKS)
        assert not found.begins
        assert f"crypto: address not taken: 127.0.0.1:{port} serves it" in found.said
        assert not found.served
    # Of one that serves nobody has to be asked to give its address back.
    assert Pair(here, free_port()).start(notes=("served",), mode=ASKS).said == ""


@pytest.mark.parametrize("notes", ALL_NOTES)
@pytest.mark.parametrize("copy", ["loaded", "file", "loaded file"])
def test_a_copy_does_not_take_it_by_what_is_loaded_nor_by_what_is_there(
    here: Path, copy: str, notes: tuple[str, ...]
) -> None:
    with server(here / "other", "--replicaof", f"{OWN[0]} {OWN[1]}") as port:
        found = Pair(here, port).start(PASSWORD, notes=notes, copy=copy, mode=ASKS)
    assert not found.begins
    assert "crypto: address not taken: this host does not serve it" in found.said
    assert (found.served, found.promoted) == ("served" in notes, "promoted" in notes)


def test_nor_does_one_of_which_systemd_does_not_say_what_it_is(here: Path) -> None:
    with server(here / "other", "--replicaof", f"{OWN[0]} {OWN[1]}") as port:
        found = Pair(here, port, systemctl="exit 1").start(PASSWORD, notes=("served",), mode=ASKS)
    assert not found.begins
    assert "crypto: address not taken, asked again: systemctl show redis-crypto.service fails" in found.said


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

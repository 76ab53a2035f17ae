"""templates/scripts/start-guard.sh asks by TLS where the role speaks it: real servers, and some that are none."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.certificates import DAY, Authority, Files
from tests.hosts.on_loopback import ACL, PASSWORD, free_port, replies, server, speaker
from tests.hosts.test_start_guard import ALL_NOTES, BOUND, OWN, STRANGE, UNKNOWN, Pair, endless, judge

pytestmark = pytest.mark.hosts

HERE = "127.0.0.1"
FAILED = "SSL_connect failed: certificate verify failed"
FOLLOWS = ("--replicaof", f"{OWN[0]} {OWN[1]}")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    """Of the other one, whose certificate is for its address, and may be shown by a client."""
    return Files(tmp_path / "files", HERE, authority).renew()


@contextmanager
def sealed(directory: Path, files: Files, *options: str, asks: str = "yes", acl: str = ACL) -> Iterator[int]:
    """A server that speaks TLS with these files; its port."""
    port, own = free_port(), files.directory
    words = ["--tls-port", str(port), "--tls-auth-clients", asks, "--tls-ca-cert-file", str(own / "ca.crt")]
    words += ["--tls-cert-file", str(own / "server.crt"), "--tls-key-file", str(own / "server.key")]
    with server(directory, *words, *options, acl=acl):
        yield port


def asking(here: Path, port: int, files: Files, shown: bool = True) -> Pair:
    """One side of a pair, which knows these files; `shown`: its certificate, where the other one asks for it."""
    own = files.directory
    pair = ("--cert", str(own / "server.crt"), "--key", str(own / "server.key")) if shown else ()
    return Pair(here, port, ("--tls", "--cacert", str(own / "ca.crt"), *pair))


@pytest.mark.parametrize("notes", ALL_NOTES)
def test_one_whose_other_one_serves_by_tls_never_starts(tmp_path: Path, files: Files, notes: tuple[str, ...]) -> None:
    with sealed(tmp_path / "other", files) as port:
        found = asking(tmp_path, port, files).start(PASSWORD, notes=notes)
    assert not found.begins
    assert f"crypto: not started: {HERE}:{port} serves it" in found.said


@pytest.mark.parametrize("asks", ["yes", "no"])
def test_one_that_the_other_one_follows_starts_at_once(tmp_path: Path, files: Files, asks: str) -> None:
    with sealed(tmp_path / "other", files, *FOLLOWS, asks=asks) as port:
        found = asking(tmp_path, port, files, shown=asks == "yes").start(STRANGE, PASSWORD, notes=("promoted",))
    assert (found.begins, found.said, found.served, found.promoted) == (True, "", True, False)
    assert found.took < BOUND


def test_it_asks_from_the_roles_own_address(tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["tests.hosts.test_start_guard"], "OWN", ("127.0.0.7", 6399))
    came: list[str] = []
    with speaker(lambda connection: came.append(connection.getpeername()[0])) as port:
        assert not asking(tmp_path, port, files).start(PASSWORD).begins
    assert came == ["127.0.0.7"]


@pytest.mark.parametrize("notes", ALL_NOTES[:3])
def test_what_does_not_show_that_it_is_the_roles_tells_nothing(
    tmp_path: Path, files: Files, notes: tuple[str, ...]
) -> None:
    """Nor is it told the password: another authority's server, one in clear, one whose days are over, …"""
    another = Files(tmp_path / "another", HERE, Authority("another")).renew()
    with sealed(tmp_path / "strange", another, *FOLLOWS, asks="no") as port:
        judge(asking(tmp_path, port, files).start(PASSWORD, notes=notes), notes, f"at {HERE}:{port}: {FAILED}")
    ended = Files(tmp_path / "ended", HERE, files.authority).renew(ends=-DAY)
    with sealed(tmp_path / "over", ended, *FOLLOWS, asks="no") as port:
        judge(asking(tmp_path, port, files).start(PASSWORD, notes=notes), notes, FAILED)
    with server(tmp_path / "clear", *FOLLOWS) as port:
        judge(
            asking(tmp_path, port, files).start(PASSWORD, notes=notes), notes, "no answer of a Redis server within 3 s"
        )
    with sealed(tmp_path / "asks", files, *FOLLOWS) as port:
        judge(asking(tmp_path, port, files, shown=False).start(PASSWORD, notes=notes), notes, "")
    with sealed(tmp_path / "login", files, *FOLLOWS, acl=ACL.replace(PASSWORD, STRANGE)) as port:
        judge(asking(tmp_path, port, files).start(PASSWORD, notes=notes), notes, "WRONGPASS")
    judge(asking(tmp_path, free_port(), files).start(PASSWORD, notes=notes), notes, "Connection refused")


@pytest.mark.parametrize("other", ["silent", "endless", "hangs up"])
@pytest.mark.parametrize("notes", ALL_NOTES[:2])
def test_whoever_does_not_come_to_an_end_is_left(
    tmp_path: Path, files: Files, other: str, notes: tuple[str, ...]
) -> None:
    with speaker(UNKNOWN[other][0]) as port:
        judge(asking(tmp_path, port, files).start(PASSWORD, notes=notes, patience=1), notes, "")


def test_one_with_a_certificate_of_the_authority_that_says_too_much_is_left(tmp_path: Path, files: Files) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.directory / "server.crt", files.directory / "server.key")

    def say(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as inside:
            endless(inside)

    with speaker(say) as port:
        judge(asking(tmp_path, port, files).start(PASSWORD), (), "")


def test_nothing_of_it_is_left_nor_shows_a_password(tmp_path: Path, files: Files) -> None:
    seen: list[str] = []

    def look(connection: socket.socket) -> None:
        connection.recv(1)  # of redis-cli: it is there
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                seen.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        replies(b"\0")(connection)

    with speaker(look) as port:
        asking(tmp_path, port, files).start(PASSWORD, notes=("served",))
    assert [line for line in seen if line.startswith("redis-cli")]
    assert not [line for line in seen if PASSWORD in line]
    assert [path.name for path in tmp_path.rglob("*.asks*")] == []
    deadline = time.monotonic() + 10
    while left := [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(files.directory) in text(path)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""

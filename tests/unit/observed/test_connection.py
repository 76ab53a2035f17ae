"""What callers meet at the door to a host (tasks/observed/connection.py), against a real SSH server in this process."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from tasks.observed.connection import (
    SILENCE,
    STARTUP_LINES,
    Channel,
    ConnectionBroken,
    TunnelRefused,
    begin,
    is_connected,
    notice_loss,
    open_tunnel,
)

FORBIDDEN, REFUSED, OPEN = 1, 2, 3  # ports of the server below


class Server(paramiko.ServerInterface):
    """Admits everybody, and leads to port OPEN only."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self.transport = transport

    def check_auth_none(self, username: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_direct_tcpip_request(self, chanid: int, origin: Any, destination: Any) -> int:
        codes = {
            FORBIDDEN: paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
            REFUSED: paramiko.common.OPEN_FAILED_CONNECT_FAILED,
        }
        return codes.get(destination[1], paramiko.common.OPEN_SUCCEEDED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        """A command is what this server dies of, before it has answered."""
        assert not isinstance(self.transport.sock, paramiko.Channel)
        self.transport.sock.shutdown(socket.SHUT_RDWR)
        return paramiko.common.OPEN_FAILED_CONNECT_FAILED


@dataclass
class Link:
    """A host that is connected: what pyinfra would hand over, and both ends of its SSH connection."""

    near: paramiko.Transport
    far: paramiko.Transport
    host: Any = field(init=False)

    def __post_init__(self) -> None:
        client = paramiko.SSHClient()
        client._transport = self.near  # type: ignore[attr-defined]
        self.host = SimpleNamespace(connector=SimpleNamespace(client=client))

    def tunnel(self, patience: float = 10) -> tuple[Channel, paramiko.Channel]:
        """A tunnel and its other end."""
        near = open_tunnel(self.host, "172.28.2.1", OPEN, patience)
        far = self.far.accept(10)
        assert far is not None
        return near, far


class Proxy(paramiko.ProxyCommand):
    """Ends once, however often paramiko says so."""

    def close(self) -> None:
        with suppress(ProcessLookupError):
            super().close()


def linked(near: Any, far: Any, stack: ExitStack) -> Link:
    """SSH between two ends of something that carries bytes."""
    link = Link(paramiko.Transport(near), paramiko.Transport(far))
    stack.callback(link.far.close)
    stack.callback(link.near.close)
    link.far.add_server_key(paramiko.ECDSAKey.generate())
    link.far.start_server(server=Server(link.far), event=threading.Event())
    link.near.start_client(timeout=30)
    link.near.auth_none("root")
    return link


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what a test began."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def link(stack: ExitStack) -> Link:
    """A host behind a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        near = socket.create_connection(door.getsockname())
        far, _ = door.accept()
    return linked(near, far, stack)


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once it holds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("port", "words"),
    [(FORBIDDEN, "sshd forbids TCP forwarding (AllowTcpForwarding)"), (REFUSED, "connection refused")],
)
def test_a_tunnel_that_is_refused_says_by_whom(link: Link, port: int, words: str) -> None:
    with pytest.raises(TunnelRefused) as caught:
        open_tunnel(link.host, "172.28.2.1", port, 10)
    assert str(caught.value) == words


def test_a_tunnel_carries_bytes_both_ways_and_ends_with_none(link: Link) -> None:
    near, far = link.tunnel()
    near.send(b"PING\r\n")
    assert far.recv(100) == b"PING\r\n"
    far.sendall(b"+PONG\r\n")
    assert near.receive() == b"+PONG\r\n"
    far.close()
    assert near.receive() == b""
    near.close()


def test_an_answer_is_read_without_its_end_and_what_a_login_prints_before_is_skipped(link: Link) -> None:
    near, far = link.tunnel()
    far.sendall(b"Welcome, M\xfcller\nheld\n\nno line end0f held\nmore")
    assert near.read_marked("0f") == "held"


@pytest.mark.parametrize("said", [b"", b"welcome\n", b"0f\n"])
def test_whoever_says_nothing_has_no_answer(link: Link, said: bytes) -> None:
    near, far = link.tunnel()
    far.sendall(said)
    far.close()
    assert near.read_marked("0f") == ""


def test_what_a_login_prints_without_end_is_not_read_for_ever(link: Link) -> None:
    near, far = link.tunnel()
    far.sendall(b"y\n" * (STARTUP_LINES + 1) + b"0f held\n")
    assert near.read_marked("0f") == ""


def test_silence_is_a_broken_connection(link: Link) -> None:
    near, _ = link.tunnel(patience=0.05)
    with pytest.raises(ConnectionBroken, match="no answer"):
        near.receive()


def test_whatever_is_said_over_a_lost_connection_breaks_in_one_way(link: Link) -> None:
    near, _ = link.tunnel()
    assert is_connected(link.host)
    link.far.close()
    wait_for(lambda: not is_connected(link.host))
    with pytest.raises(ConnectionBroken):
        near.send(b"PING\r\n")
    with pytest.raises(ConnectionBroken):
        link.tunnel()


@pytest.mark.parametrize("connector", [SimpleNamespace(client=None), SimpleNamespace()])
def test_a_host_without_ssh_is_not_connected_and_no_fault_of_the_program(connector: Any) -> None:
    host: Any = SimpleNamespace(connector=connector)
    assert not is_connected(host)
    notice_loss(host)
    with pytest.raises(ConnectionBroken, match="there is no SSH connection"):
        open_tunnel(host, "172.28.2.1", OPEN, 10)


def test_a_connection_that_ends_under_a_command_is_an_error_that_pyinfra_knows(link: Link) -> None:
    notice_loss(link.host)
    with pytest.raises(paramiko.SSHException, match="the other side is gone"):
        link.host.connector.client.exec_command("true")


def silence(transport: paramiko.Transport) -> int:
    """Milliseconds after which the kernel gives a connection up."""
    assert not isinstance(transport.sock, paramiko.Channel)
    found: int = transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    return found


def test_silence_is_bounded(link: Link) -> None:
    assert silence(link.near) == 0
    notice_loss(link.host)
    assert silence(link.near) == SILENCE * 1000


def test_behind_a_jump_host_silence_is_bounded_on_the_way_to_it(link: Link, stack: ExitStack) -> None:
    near = link.near.open_channel("direct-tcpip", ("10.0.0.9", OPEN), ("127.0.0.1", 0))
    far = link.far.accept(10)
    notice_loss(linked(near, far, stack).host)
    assert silence(link.near) == SILENCE * 1000


def test_a_proxy_command_is_left_to_bound_its_own_silence(stack: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        proxy = Proxy(f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 & exec cat >&3'")
        far, _ = door.accept()
    link = linked(proxy, far, stack)
    notice_loss(link.host)
    near, other = link.tunnel()
    other.sendall(b"still there")
    assert near.receive() == b"still there"


def test_work_goes_on_beside_and_its_error_waits_for_who_asks(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(secret: str) -> str:
        raise ValueError("refused")

    good, bad = begin(lambda: 3), begin(lambda: fail("PASSWORD"))
    assert good.result() == good.result() == 3
    for _ in range(2):
        with pytest.raises(ValueError, match="refused"):
            bad.result()
    assert capfd.readouterr() == ("", "")

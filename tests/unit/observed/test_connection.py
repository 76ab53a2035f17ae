"""What callers meet at the door to a host (tasks/observed/connection.py), against a real SSH server in this process."""

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import paramiko
import pytest
from pyinfra.api import Config, Inventory, State

from tasks.observed.bounds import CHANGE, EXCHANGE, LINE, SILENCE, Bound, Patience
from tasks.observed.connection import (
    Channel,
    ConnectionBroken,
    OutOfBounds,
    TunnelForbidden,
    TunnelRefused,
    begin,
    bound_connection,
    bound_greetings,
    is_carried,
    is_connected,
    open_command,
    open_tunnel,
    patient,
    run_command,
)

FORBIDDEN, REFUSED, OPEN = 1, 2, 3  # ports of the server below


Answer = Callable[[paramiko.Channel, str], None]  # what a host does that was given a command


class Server(paramiko.ServerInterface):
    """Admits everybody, leads to port OPEN only, and does with commands what `answer` does."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self.transport = transport
        self.answer: Answer | None = None
        self.refuses = 0  # sessions, before it opens one: as sshd while it has MaxSessions of them

    def check_auth_none(self, username: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_direct_tcpip_request(self, chanid: int, origin: Any, destination: Any) -> int:
        codes = {
            FORBIDDEN: paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
            REFUSED: paramiko.common.OPEN_FAILED_CONNECT_FAILED,
        }
        return codes.get(destination[1], paramiko.common.OPEN_SUCCEEDED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        """A command is what this server dies of, before it has answered, if it has nothing to do with it."""
        if self.refuses:
            self.refuses -= 1
            return paramiko.common.OPEN_FAILED_CONNECT_FAILED
        if self.answer is not None:
            return paramiko.common.OPEN_SUCCEEDED
        assert not isinstance(self.transport.sock, paramiko.Channel)
        self.transport.sock.shutdown(socket.SHUT_RDWR)
        return paramiko.common.OPEN_FAILED_CONNECT_FAILED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        """It is done beside."""
        assert self.answer is not None
        threading.Thread(target=self.answer, args=(channel, command.decode()), daemon=True).start()
        return True


@dataclass
class Link:
    """A host that is connected: what pyinfra would hand over, and both ends of its SSH connection."""

    near: paramiko.Transport
    far: paramiko.Transport
    server: Server = field(init=False)
    state: State = field(init=False)
    host: Any = field(init=False)

    def __post_init__(self) -> None:
        client = paramiko.SSHClient()
        client._transport = self.near  # type: ignore[attr-defined]
        self.server = Server(self.far)
        inventory = Inventory((["redis-1"], {}))
        self.state = State(inventory, Config())
        self.host = inventory.get_host("redis-1")
        self.host.connector.client = client

    def tunnel(self, bound: Bound = EXCHANGE) -> tuple[Channel, paramiko.Channel]:
        """A tunnel and its other end."""
        near = open_tunnel(self.host, "172.28.2.1", OPEN, bound)
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
    link.far.start_server(server=link.server, event=threading.Event())
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


def test_a_tunnel_that_the_host_refuses_says_so(link: Link) -> None:
    with pytest.raises(TunnelRefused, match=r"^connection refused$"):
        open_tunnel(link.host, "172.28.2.1", REFUSED)


# --- Where tunnels are forbidden, by the script that hosts run, on this machine's loopback


def runs(channel: paramiko.Channel, command: str) -> None:
    """A login that greets, and runs what it is told."""
    channel.sendall(b"Welcome, M\xfcller\n")
    process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def forth() -> None:
        assert process.stdin is not None
        with suppress(OSError), process.stdin:
            while data := channel.recv(1 << 16):
                while data:
                    data = data[process.stdin.write(data) :]

    threading.Thread(target=forth, daemon=True).start()
    assert process.stdout is not None
    while data := process.stdout.read(1 << 16):
        channel.sendall(data)
    channel.close()
    process.wait()


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that says what it is told, and ends with its client."""

    def serve(client: socket.socket) -> None:
        with client, suppress(OSError):
            while data := client.recv(1 << 16):
                client.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=accept, daemon=True).start()
        yield door.getsockname()[1]


@pytest.fixture
def fenced(link: Link) -> Link:
    """A host whose sshd forbids every tunnel."""
    link.server.answer = runs
    link.server.check_channel_direct_tcpip_request = (  # type: ignore[method-assign]
        lambda *_: paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
    )
    return link


ROOMY = Bound("it", 60, 64 << 20, silence=20)


@pytest.mark.parametrize(
    "said", [b"PING\r\n", bytes(range(256)), os.urandom(3 << 20)], ids=["a command", "every byte", "3 MiB"]
)
def test_a_command_carries_bytes_where_tunnels_are_forbidden(fenced: Link, echo: int, said: bytes) -> None:
    near = open_tunnel(fenced.host, "127.0.0.1", echo, ROOMY)
    sending = begin(partial(near.send, said))
    heard = b""
    while len(heard) < len(said):
        data = near.receive()
        assert data, len(heard)
        heard += data
    sending.result()
    assert heard == said
    assert is_carried(fenced.host)
    near.close()


def test_it_is_known_from_the_first_time_that_tunnels_are_forbidden(fenced: Link, echo: int) -> None:
    asked: list[object] = []

    def forbid(*words: object) -> int:
        asked.append(words)
        return int(paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)

    fenced.server.check_channel_direct_tcpip_request = forbid  # type: ignore[method-assign, assignment]
    for _ in range(3):
        open_tunnel(fenced.host, "127.0.0.1", echo).close()
    assert len(asked) == 1


def test_what_nobody_listens_to_is_refused_by_a_command_as_by_a_tunnel(fenced: Link) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    with pytest.raises(TunnelRefused, match=r"^connection refused$") as caught:
        open_tunnel(fenced.host, "127.0.0.1", port)
    assert not isinstance(caught.value, TunnelForbidden)


def ends(channel: paramiko.Channel, command: str) -> None:
    channel.close()


def refuses(channel: paramiko.Channel, command: str) -> None:
    channel.sendall(b"This account is currently not available.\n")
    channel.close()


@pytest.mark.parametrize("answer", [ends, refuses])
def test_where_no_command_carries_either_both_are_said(fenced: Link, answer: Answer) -> None:
    fenced.server.answer = answer
    for _ in range(2):
        with pytest.raises(TunnelForbidden) as caught:
            open_tunnel(fenced.host, "127.0.0.1", 1)
        assert str(caught.value) == (
            "sshd forbids TCP forwarding (AllowTcpForwarding), and no command carries it: it ended before it had begun"
        )
    assert not is_carried(fenced.host)


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


def test_silence_is_a_broken_connection(link: Link) -> None:
    near, _ = link.tunnel(Bound("it", 10, 100, silence=0.05))
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
    bound_connection(host)
    with pytest.raises(ConnectionBroken, match="there is no SSH connection"):
        open_tunnel(host, "172.28.2.1", OPEN)


def test_a_connection_that_ends_under_a_command_is_an_error_that_pyinfra_knows(link: Link) -> None:
    bound_connection(link.host)
    with pytest.raises(paramiko.SSHException, match="the other side is gone"):
        link.host.connector.client.exec_command("true")


def silence(transport: paramiko.Transport) -> int:
    """Milliseconds after which the kernel gives a connection up."""
    assert not isinstance(transport.sock, paramiko.Channel)
    found: int = transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    return found


def test_silence_is_bounded(link: Link) -> None:
    assert silence(link.near) == 0
    bound_connection(link.host)
    assert silence(link.near) == SILENCE * 1000


def test_behind_a_jump_host_silence_is_bounded_on_the_way_to_it(link: Link, stack: ExitStack) -> None:
    near = link.near.open_channel("direct-tcpip", ("10.0.0.9", OPEN), ("127.0.0.1", 0))
    far = link.far.accept(10)
    bound_connection(linked(near, far, stack).host)
    assert silence(link.near) == SILENCE * 1000


@pytest.mark.parametrize("greeting", [b"A" * 4096, b"A" * 100 + b"\n"], ids=["one line", "many lines"])
def test_a_host_whose_greeting_has_no_end_is_refused_and_others_go_on(greeting: bytes) -> None:
    bound_greetings()
    bound_greetings()  # once is enough
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as door:
        near = socket.create_connection(door.getsockname())
        far, _ = door.accept()

    def greet() -> None:
        with far, suppress(OSError):
            while not ended.is_set():
                far.sendall(greeting)

    thread = threading.Thread(target=greet)
    thread.start()
    beside = begin(lambda: [time.sleep(0.05) for _ in range(5)])  # type: ignore[func-returns-value]
    transport = paramiko.Transport(near)
    try:
        began = time.monotonic()
        with pytest.raises((paramiko.SSHException, EOFError)):
            transport.start_client(timeout=30)
        assert len(beside.result()) == 5
        assert time.monotonic() - began < 25
    finally:
        ended.set()
        transport.close()
        thread.join(10)


def test_a_proxy_command_is_left_to_bound_its_own_silence(stack: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        proxy = Proxy(f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 & exec cat >&3'")
        far, _ = door.accept()
    link = linked(proxy, far, stack)
    bound_connection(link.host)
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


# Whatever a host does, it ends: in time and in bytes. The hosts of these tests may take a fifth of a second.

SHORT = Bound("the command", 0.2, 1 << 20)
LARGE = Bound("the command", 20, 1 << 20)
LONG = Bound("the command", 20, 1 << 20, ends=False)


def mark_in(command: str) -> str:
    """What a command is to print before its output."""
    return str(re.findall("echo ([0-9a-f]{32})", command)[0])


def drip(channel: paramiko.Channel, command: str) -> None:
    """One byte now and then, for ever."""
    with suppress(OSError):
        while True:
            channel.sendall(b".")
            time.sleep(0.02)


def hang(channel: paramiko.Channel, command: str) -> None:
    """Nothing at all, for ever."""


def begin_and_hang(channel: paramiko.Channel, command: str) -> None:
    """The command begins, says something, and hangs."""
    channel.sendall(f"welcome\n{mark_in(command)}\nabc".encode())


def end_without_status(channel: paramiko.Channel, command: str) -> None:
    """Both outputs end, and nothing says how the command did."""
    channel.sendall(f"{mark_in(command)}\nabc".encode())
    channel.shutdown_write()


def flood(what: bytes, of: Callable[[paramiko.Channel], Callable[[bytes], None]]) -> Answer:
    """The same for ever."""

    def answer(channel: paramiko.Channel, command: str) -> None:
        channel.sendall(f"{mark_in(command)}\n".encode())
        with suppress(OSError):
            while True:
                of(channel)(what * (65536 // len(what)))

    return answer


def stdout(channel: paramiko.Channel) -> Callable[[bytes], None]:
    return channel.sendall


def stderr(channel: paramiko.Channel) -> Callable[[bytes], None]:
    return channel.sendall_stderr


def says(out: bytes, err: bytes = b"", status: int = 0) -> Answer:
    """A command that says this, the mark in the place of MARK, and ends."""

    def answer(channel: paramiko.Channel, command: str) -> None:
        channel.sendall(out.replace(b"MARK", mark_in(command).encode()))
        channel.sendall_stderr(err)
        channel.send_exit_status(status)
        channel.close()

    return answer


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        (hang, "it has not even begun: log in there as this run does and see whether the shell or sudo hangs"),
        (drip, "it has not even begun: log in there as this run does and see whether the shell or sudo hangs"),
        (begin_and_hang, "it runs on there: see with ps what it waits for"),
        (end_without_status, "it runs on there: see with ps what it waits for"),
    ],
)
def test_a_command_that_does_not_end_is_given_up(link: Link, answer: Answer, where: str) -> None:
    link.server.answer = answer
    bound_connection(link.host)
    # Long enough for a busy machine to have begun it.
    bound = SHORT if answer in (hang, drip) else replace(SHORT, seconds=2)
    done = run_command(link.state, link.host, "true", bound=bound)
    assert not done.succeeded
    said = f"the command has not ended after {bound.seconds:.0f} s, expected far less: {where}"
    assert (done.stdout, done.output) == ("", said)


@pytest.mark.parametrize("refused", [1, 5])
def test_a_command_waits_for_room_where_sshd_has_as_many_sessions_as_it_may(link: Link, refused: int) -> None:
    link.server.answer, link.server.refuses = hang, refused
    bound_connection(link.host)
    done = run_command(link.state, link.host, "true", bound=replace(SHORT, seconds=2))
    assert "the command has not ended" in done.output  # it was opened
    assert link.server.refuses == 0


def test_an_sshd_that_never_has_room_is_said(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.observed.connection.SESSION", 0.3)
    link.server.refuses = 1000
    bound_connection(link.host)
    done = run_command(link.state, link.host, "true")
    assert "sshd has opened no session more on this connection for 0.3 s (MaxSessions)" in done.output


@pytest.mark.parametrize("of", [stdout, stderr])
@pytest.mark.parametrize("what", [b"yes\n", b"\n", b"A", b"\xff\0"])
def test_a_command_that_says_too_much_is_ended(link: Link, what: bytes, of: Any) -> None:
    link.server.answer = flood(what, of)
    bound_connection(link.host)
    done = run_command(link.state, link.host, "true", bound=LARGE)
    assert not done.succeeded
    assert "the command says more than 1 MiB, expected far less: it runs on there" in done.output
    assert is_connected(link.host)  # and the host can be asked something else


def test_a_change_that_says_much_goes_on_and_only_the_rest_is_left_out(link: Link) -> None:
    link.server.answer = says(b"MARK\nfirst\n" + b"y\n" * (2 * LONG.size // LINE) + b"\nMARK\n")
    bound_connection(link.host)
    done = run_command(link.state, link.host, "true", bound=LONG)
    assert done.succeeded
    said = done.stdout.split("\n")
    assert said[0] == "first"
    assert LONG.size // LINE * 0.9 < len(said) <= LONG.size // LINE


def test_a_change_that_takes_long_is_spoken_of(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("tasks.observed.reading.WORD", 0.05)
    monkeypatch.setattr("tasks.observed.connection._tell", lambda host, words: told.append(words))

    def answer(channel: paramiko.Channel, command: str) -> None:
        wait_for(lambda: len(told) >= 2)
        says(b"MARK\ndone\n\nMARK\n")(channel, command)

    link.server.answer = answer
    bound_connection(link.host)
    assert run_command(link.state, link.host, "true", bound=LONG).stdout == "done"
    assert told[0] == "goes on since 0 s (at most 20 s are waited for)"


def test_what_a_command_prints_is_read_whatever_bytes_it_has(link: Link) -> None:
    link.server.answer = says(
        b"M\xfcller\nno line endMARK\na\n\xff\nb\nMARK\nbye\n", b"sudo: unable to resolve host\n", 3
    )
    bound_connection(link.host)
    done = run_command(link.state, link.host, "false")
    assert not done.succeeded
    assert (done.stdout, done.output) == ("a\n\ufffd\nb", "a\n\ufffd\nb\nsudo: unable to resolve host")


@pytest.mark.parametrize(
    ("said", "complained", "words"),
    [
        (b"This account is currently not available.\n", b"", "'This account is currently not available.'"),
        (b"hello\n", b"x\nsudo: sorry, you must have a tty\n\n", "'sudo: sorry, you must have a tty'"),
        (b"\x1b[2J" + b"A" * 400, b"", r"'\x1b[2J" + "A" * 193 + "…'"),
        (b"", b"", "nothing was printed"),
    ],
)
def test_a_command_that_did_not_run_is_told_by_the_last_that_was_said(
    link: Link, said: bytes, complained: bytes, words: str
) -> None:
    link.server.answer = says(said, complained, 1)
    bound_connection(link.host)
    assert run_command(link.state, link.host, "true").output == f"the command did not run: {words}"


def test_a_host_that_starts_nothing_after_the_login_is_given_up(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    bound_connection(link.host)
    monkeypatch.setattr("tasks.observed.connection.START", 0.1)
    monkeypatch.setattr(Server, "check_channel_exec_request", lambda *_: time.sleep(1))
    link.server.answer = hang
    words = "the host has been logged in to and starts no command"
    assert words in run_command(link.state, link.host, "true").output
    with pytest.raises(ConnectionBroken, match="no answer"):
        open_command(link.state, link.host, "true")


# Who looks on does not wait that long.


def speaks(out: bytes, err: bytes, times: int = 15) -> Answer:
    """A command that says this again and again, then ends."""

    def answer(channel: paramiko.Channel, command: str) -> None:
        channel.sendall(f"{mark_in(command)}\n".encode())
        for _ in range(times):
            time.sleep(0.1)
            channel.sendall(out)
            channel.sendall_stderr(err)
        channel.sendall(f"{mark_in(command)}\n".encode())
        channel.send_exit_status(0)
        channel.close()

    return answer


@pytest.mark.parametrize("answer", [hang, begin_and_hang])
def test_who_looks_on_gives_a_host_up_that_says_nothing(link: Link, answer: Answer, capfd: Any) -> None:
    link.server.answer = answer
    bound_connection(link.host)
    began = time.monotonic()
    with patient(Patience(began, 0.4, answered=[0.1])):
        done = begin(lambda: run_command(link.state, link.host, "true")).result()
    assert time.monotonic() - began < 5
    assert re.match(
        r"a command that takes a second has said nothing for [01]\.[0-9] s, expected far less: it", done.output
    )
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("out", "err"), [(b"a\n", b""), (b"", b"a\n")], ids=["on stdout", "on stderr"])
def test_a_host_that_says_something_now_and_then_is_heard_to_its_end(link: Link, out: bytes, err: bytes) -> None:
    link.server.answer = speaks(out, err)
    bound_connection(link.host)
    with patient(Patience(time.monotonic(), 1.2, answered=[0.3])):
        assert run_command(link.state, link.host, "true").output == "\n".join(["a"] * 15)


def test_who_looks_on_gives_a_host_up_that_begins_no_command(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    bound_connection(link.host)
    monkeypatch.setattr(Server, "check_channel_exec_request", lambda *_: time.sleep(1))
    link.server.answer = hang
    with patient(Patience(time.monotonic(), 0.4)):
        words = "the host has been logged in to and starts no command within 0.6 s"
        assert words in run_command(link.state, link.host, "true").output


def test_who_looks_on_gives_a_server_up_that_says_nothing_and_waits_as_before_afterwards(link: Link) -> None:
    began = time.monotonic()
    with patient(Patience(began, 0.4)):
        near, _ = link.tunnel()
        with pytest.raises(ConnectionBroken, match="no answer"):
            near.receive()
    assert time.monotonic() - began < 5
    near, far = link.tunnel()
    threading.Timer(1, far.sendall, [b"late"]).start()
    assert near.receive() == b"late"


def test_a_host_that_does_not_greet_is_given_up_in_time() -> None:
    bound_greetings(0.2)
    with socket.create_server(("127.0.0.1", 0)) as door, socket.create_connection(door.getsockname()) as near:
        transport = paramiko.Transport(near)
        began = time.monotonic()
        with pytest.raises((paramiko.SSHException, EOFError)):
            transport.start_client(timeout=30)
        transport.close()
    bound_greetings()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("what", [b".", b"y\n" * 3000, b"\n" * 6000, b"A" * 2_000_000])
@pytest.mark.parametrize("marked", [False, True])
def test_a_server_that_never_stops_is_given_up(link: Link, what: bytes, marked: bool) -> None:
    near, far = link.tunnel(Bound("the server", 0.5, 1 << 20, silence=0.4))

    def speak() -> None:
        with suppress(OSError):
            while True:
                far.sendall(what)
                time.sleep(0.01)

    threading.Thread(target=speak, daemon=True).start()
    with pytest.raises(OutOfBounds, match=r"the server (has not ended after|says more than)"):
        while near.read_marked("0f") if marked else near.receive():
            pass


def test_many_tunnels_that_are_refused_at_once_are_refused_in_the_same_words(link: Link) -> None:
    link.server.answer = ends
    ports = [FORBIDDEN, REFUSED] * 5
    jobs = [begin(partial(open_tunnel, link.host, "172.28.2.1", port)) for port in ports]
    for port, job in zip(ports, jobs, strict=True):
        # Once tunnels are known to be forbidden the others are not tried.
        with pytest.raises(TunnelRefused, match="forbids" if port == FORBIDDEN else "connection refused|forbids"):
            job.result()


class Gone:
    """A channel of paramiko's whose machine has gone away."""

    def close(self) -> None:
        raise EOFError


def test_a_channel_to_a_machine_that_is_gone_can_be_closed() -> None:
    Channel(cast(paramiko.Channel, Gone()), CHANGE).close()


def test_a_command_for_a_machine_that_could_not_be_reached_again_fails_in_words(link: Link) -> None:
    link.host.connector.client = paramiko.SSHClient()  # as a connection that has failed leaves it
    done = run_command(link.state, link.host, "uname -r")
    assert (done.succeeded, done.output) == (False, "the connection broke: there is none any more")

"""The one door to a host: commands, channels, tunnels, and work with several hosts at once.

Whatever knows paramiko, gevent or the inside of pyinfra's connectors stands here; callers meet the errors below only.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast

import gevent
import paramiko
from pyinfra.api import FactBase, StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.facts import get_fact
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import make_unix_command_for_host

from tasks.catalogue.printable import excerpt
from tasks.observed.records import LIMIT, Unreadable, new_mark, unframe
from tasks.observed.script import marked, prepared, script

T = TypeVar("T")

BEAT = 5  # seconds between two signs of life on a connection
SILENCE = 30  # seconds without an answer after which either side takes the other for gone

STARTUP_LINES = 1000  # that a login may print before what it runs does

BREAKS = (OSError, EOFError, paramiko.SSHException)  # how a connection that is lost shows

# A refused channel is an observation, reported with its address; paramiko would print it without one.
logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)


class CannotRun(Exception):
    """A command cannot be run on the host; the message says why."""


class ConnectionBroken(CannotRun):
    """The host, or what was spoken to on it, does not answer any more; the message says how that showed."""


class NoAnswer(ConnectionBroken):
    """The other side has said nothing for as long as it may be silent."""


class TunnelRefused(Exception):
    """The host leads no connection to that address and port; the message says why."""


class TunnelForbidden(TunnelRefused):
    """The host's sshd leads no connection anywhere, or not there."""


class Unobserved(Exception):
    """The host could not be read; the message says why."""


@dataclass(frozen=True)
class CommandResult:
    """How a command ended on a host, and what it printed; what a login prints before is no part of it.

    Read an answer from `stdout`: sudo and shells print warnings on the other. `output` is both for people.
    """

    succeeded: bool
    stdout: str
    output: str


def run_command(state: State, host: Host, command: str, stdin: str | None = None) -> CommandResult:
    """What came of `command`, which reads `stdin`, on the host.

    A lost connection is a failure, and nothing is an answer then.
    """
    mark = new_mark()
    arguments = _arguments(state, host) | ({} if stdin is None else {"_stdin": [stdin]})
    try:
        status, said = host.run_shell_command(StringCommand(marked(command, mark)), **arguments)
    except BREAKS as error:
        return CommandResult(False, "", f"the connection broke: {error}")
    if not status and not is_connected(host):
        return CommandResult(False, "", f"the connection broke: {said.output}".rstrip(": "))
    lines = said.stdout_lines
    at = next((number for number, line in enumerate(lines, 1) if line.endswith(mark)), None)
    if at is None:
        return CommandResult(False, "", f"the command did not run: {said.output or 'nothing was printed'}")
    own = lines[at:]
    return CommandResult(status, "\n".join(own), "\n".join([*own, *said.stderr_lines]))


def read_host(state: State, host: Host, name: str, arguments: Sequence[str], read: Callable[[str, str], T]) -> T:
    """What the reading script `name` says of the host (tasks/observed/records.py), through `read`, given text and mark.

    Raises Unobserved when that cannot be read.
    """
    mark = new_mark()
    result = run_command(state, host, script(name, *arguments, mark=mark, limit=LIMIT))
    try:
        return read(unframe(result.stdout.split("\n"), mark), mark)
    except Unreadable as error:
        why = f"cannot be read: {error}" if result.succeeded else excerpt(result.output, 200)
        raise Unobserved(f"what {name}.sh says of the host: {why}") from error


def read_fact(state: State, host: Host, fact: type[FactBase[T]], arguments: Mapping[str, Any]) -> T | None:
    """What a fact says of the host, None when its command failed, which pyinfra prints. Raises CannotRun."""
    try:
        said: T | None = get_fact(state, host, fact, kwargs=arguments, apply_failed_hosts=False)
    except EOFError as error:  # pyinfra asks the terminal for sudo's password
        raise CannotRun("sudo asks for a password, and there is no terminal to give it") from error
    except BREAKS as error:
        raise ConnectionBroken(f"the connection broke: {error}") from error
    if said is None and not is_connected(host):
        raise ConnectionBroken("the connection broke")
    return said


def is_connected(host: Host) -> bool:
    """Whether the host can still be spoken to."""
    transport = _transport(host)
    return transport is not None and bool(transport.is_active())


def reconnect(host: Host) -> bool:
    """Whether the host could be connected to anew."""
    try:
        host.disconnect()
        host.connect(show_errors=False, raise_exceptions=True)
    except (ConnectError, *BREAKS):
        return False
    return True


def notice_loss(host: Host) -> None:
    """A new connection to the host that is lost ends, after SILENCE at the latest, with an error that pyinfra knows.

    paramiko raises EOFError too, which is no OSError and ends a whole run with a traceback when an operation meets it.
    """
    _bound_silence(host)
    client = getattr(host.connector, "client", None)
    if client is not None:
        client.exec_command = partial(_execute, client.exec_command)


def _execute(execute: Callable[..., T], *words: Any, **options: Any) -> T:
    try:
        return execute(*words, **options)
    except EOFError as error:
        raise paramiko.SSHException("the other side is gone") from error


def _bound_silence(host: Host) -> None:
    """A cut cable would hold a run for ever.

    Behind a jump host that is the connection to it. A proxy command has a process of its own, which sees to that.
    """
    transport = _transport(host)
    while transport is not None:
        transport.set_keepalive(BEAT)
        sock = transport.sock
        transport = sock.get_transport() if isinstance(sock, paramiko.Channel) else None
        if transport is None and hasattr(sock, "setsockopt"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE * 1000)


class Channel:
    """Bytes to and from a command or a server on a host. Whatever breaks it, silence too, raises ConnectionBroken."""

    def __init__(self, channel: paramiko.Channel, patience: float) -> None:
        channel.settimeout(patience)
        self._channel = channel

    def send(self, data: bytes) -> None:
        """All of `data` is on its way."""
        with _own_errors():
            self._channel.sendall(data)

    def receive(self) -> bytes:
        """What has come, at least a byte; nothing when the other side has closed."""
        with _own_errors():
            return self._channel.recv(65536)

    def read_marked(self, mark: str) -> str:
        """What stands behind the mark in the first line that has it; empty when the other side has closed.

        What a login prints before is skipped.
        """
        with _own_errors():
            lines = self._channel.makefile("rb")
            for _ in range(STARTUP_LINES):
                line = lines.readline(4096)
                _, found, said = line.decode(errors="replace").partition(f"{mark} ")
                if found or not line:
                    return str(said).strip()
        return ""

    def close(self) -> None:
        """The other side sees the end."""
        self._channel.close()


def open_command(state: State, host: Host, command: str, patience: float) -> Channel:
    """A channel on which `command` runs until it ends or the channel is closed.

    Raises ConnectionBroken, the channel too when nothing comes for `patience` seconds.
    """
    arguments = _arguments(state, host)
    for name in ("_get_pty", "_timeout", "_stdin", "_success_exit_codes"):
        arguments.pop(name, None)
    words = make_unix_command_for_host(state, host, StringCommand(prepared(command)), **arguments).get_raw_value()
    with _own_errors():
        channel = _connected(host).open_session()
        channel.exec_command(words)
    return Channel(channel, patience)


def open_tunnel(host: Host, address: str, port: int, patience: float) -> Channel:
    """A channel to whoever listens at `address:port`, as a client on the host would reach it.

    Raises TunnelRefused or ConnectionBroken, the channel too when nothing comes for `patience` seconds.
    """
    try:
        with _own_errors():
            to, origin = (address, port), ("127.0.0.1", 0)
            return Channel(_connected(host).open_channel("direct-tcpip", to, origin, timeout=patience), patience)
    except ConnectionBroken as error:
        if isinstance(error.__cause__, paramiko.ChannelException):
            if error.__cause__.code == 1:  # "administratively prohibited", RFC 4254
                raise TunnelForbidden("sshd forbids TCP forwarding (AllowTcpForwarding)") from error
            raise TunnelRefused("connection refused" if error.__cause__.code == 2 else str(error)) from error
        raise


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise NoAnswer("no answer") from error
    except BREAKS as error:
        raise ConnectionBroken(str(error) or "no answer") from error


def _transport(host: Host) -> paramiko.Transport | None:
    """What the connector speaks SSH on; None when it is not connected."""
    client = getattr(host.connector, "client", None)
    return client.get_transport() if client is not None else None


def _connected(host: Host) -> paramiko.Transport:
    transport = _transport(host)
    if transport is None:
        raise ConnectionBroken("there is no SSH connection")
    return transport


def _arguments(state: State, host: Host) -> dict[str, Any]:
    """The global arguments that say how to run something: as whom, in which shell."""
    arguments, _ = pop_global_arguments(state, host, {})
    return {key: value for key, value in arguments.items() if key in CONNECTOR_ARGUMENT_KEYS}


class Job(Generic[T]):
    """Work that goes on beside what began it."""

    def __init__(self, greenlet: gevent.Greenlet[..., tuple[T | None, Exception | None]]) -> None:
        self._greenlet = greenlet

    def result(self) -> T:
        """What the work came to, once it has ended. Raises what it raised."""
        result, error = self._greenlet.get()
        if error is not None:
            raise error
        return cast(T, result)


def begin(action: Callable[[], T]) -> Job[T]:
    """`action` goes on by itself from here.

    An error waits for whoever asks for the result: gevent would print it, with the arguments of what failed.
    """

    def outcome() -> tuple[T | None, Exception | None]:
        try:
            return action(), None
        except Exception as error:
            return None, error

    return Job(gevent.spawn(outcome))

"""The one door to a host: commands, channels, tunnels, and work with several hosts at once.

Whatever knows paramiko, gevent or the inside of pyinfra's connectors stands here; callers meet the errors below only.
"""

from __future__ import annotations

import logging
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, cast
from weakref import WeakKeyDictionary, WeakSet

import gevent
import paramiko
from gevent.lock import BoundedSemaphore
from pyinfra import logger
from pyinfra.api import StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State, StateStage
from pyinfra.connectors.util import make_unix_command_for_host

from tasks.catalogue.printable import printable
from tasks.observed.bounds import (
    BEAT,
    CHANGE,
    EXCHANGE,
    GREETED,
    GREETING,
    HOLD,
    LOOK,
    SESSION,
    SILENCE,
    START,
    Bound,
    Patience,
)
from tasks.observed.reading import Meter, lines
from tasks.observed.records import LIMIT, Unreadable, last_words, new_mark, unframe
from tasks.observed.script import Parameter, between, marked, prepared, script

T = TypeVar("T")

BREAKS = (OSError, EOFError, paramiko.SSHException)  # how a connection that is lost shows

# A refused channel is an observation, reported with its address; paramiko would print it without one.
logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)


def bound_greetings(seconds: float = GREETED) -> None:
    """From here on a host whose greeting has no end, or does not come within so many seconds, is refused.

    paramiko would read on, and as there is always more to read, no other host would have its turn.
    """
    packetizer: Any = paramiko.packet.Packetizer
    packetizer.greeted_within = seconds
    read_more = packetizer._read_timeout
    if getattr(read_more, "is_bounded", False):
        return

    def bounded(self: Any, timeout: float) -> bytes:
        more: bytes = read_more(self, min(timeout, self.greeted_within))
        # A line is read in pieces: what has come before and holds no end of one.
        self.greeted = 0 if b"\n" in more else getattr(self, "greeted", 0) + len(more)
        if self.greeted > GREETING:
            raise paramiko.SSHException("it greets with a line without end")
        gevent.sleep(0)
        return more

    bounded.is_bounded = True  # type: ignore[attr-defined]
    packetizer._read_timeout = bounded


def end_proxies_once() -> None:
    """A proxy command that has ended by itself is no fault: paramiko would print one when the program ends."""
    close = paramiko.ProxyCommand.close
    if getattr(close, "is_forgiving", False):
        return

    def forgiving(self: Any) -> None:
        with suppress(ProcessLookupError):
            close(self)

    forgiving.is_forgiving = True  # type: ignore[attr-defined]
    paramiko.ProxyCommand.close = forgiving  # type: ignore[method-assign]


class ConnectionBroken(Exception):
    """The host, or what was spoken to on it, does not answer any more; the message says how that showed."""


class NoAnswer(ConnectionBroken):
    """The other side has said nothing for as long as it may be silent."""


class OutOfBounds(ConnectionBroken, paramiko.SSHException):
    """The other side takes longer or says more than its bound (bounds.py); of a kind that pyinfra knows."""


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


@dataclass
class _Asked:
    """What this run waits for on a connection: its bound, and the mark that shows that the command has begun."""

    bound: Bound
    mark: str
    began: bool = False
    left_out: bool = False  # whether not all of its output was kept


_asked: ContextVar[_Asked | None] = ContextVar("asked", default=None)
_patience: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def patient(patience: Patience) -> Iterator[None]:
    """Whatever is asked of hosts and servers within this, also by jobs that begin here, is given up by `patience`."""
    before = _patience.set(patience)
    try:
        yield
    finally:
        _patience.reset(before)


def _narrowed(bound: Bound) -> Bound:
    patience = _patience.get()
    return bound if patience is None else patience.narrowed(bound, time.monotonic())


def _start() -> float:
    """Seconds for a host to begin something."""
    patience = _patience.get()
    return START if patience is None else patience.to_begin(START)


def heard() -> None:
    """A host has said how it is: who looks on knows how long that takes."""
    if (patience := _patience.get()) is not None:
        patience.heard(time.monotonic())


def run_command(state: State, host: Host, command: str, stdin: str | None = None, bound: Bound = LOOK) -> CommandResult:
    """What came of `command`, which reads `stdin`, on the host, within `bound`.

    A lost connection and a bound that is reached are failures, and nothing is an answer then.
    """
    asked = _Asked(bound, new_mark())
    arguments = _arguments(state, host) | ({} if stdin is None else {"_stdin": [stdin]})
    before = _asked.set(asked)
    try:
        with _lost(host):
            status, said = host.run_shell_command(StringCommand(marked(command, asked.mark)), **arguments)
    except OutOfBounds as error:
        where = "it runs on there: see with ps what it waits for" if asked.began else HANGING
        return CommandResult(False, "", f"{error}: {where}")
    except EOFError:  # pyinfra asks the terminal for sudo's password
        return CommandResult(False, "", "sudo asks for a password, and there is no terminal to give it")
    except PyinfraError as error:  # of its script that gives sudo a password
        return CommandResult(False, "", f"the command did not run: {last_words(str(error))}")
    except BREAKS as error:
        return CommandResult(False, "", f"the connection broke: {error}")
    finally:
        _asked.reset(before)
    if not status and not is_connected(host):
        return CommandResult(False, "", f"the connection broke: {last_words(said.output)}")
    out, err = said.stdout_lines, said.stderr_lines
    own = between(out + [asked.mark] * asked.left_out, asked.mark)
    if own is None:
        seen = last_words("\n".join(err)) or last_words("\n".join(out)) or "nothing was printed"
        what = "was cut off" if asked.began else "did not run"
        return CommandResult(False, "", f"the command {what}: {seen}")
    return CommandResult(status, "\n".join(own), "\n".join([*own, *err]))


@contextmanager
def _lost(host: Host) -> Iterator[None]:
    """A host that could not be connected to again shows as an error of paramiko's own, which has no transport then."""
    try:
        yield
    except AttributeError as error:
        if is_connected(host):
            raise
        raise paramiko.SSHException("there is none any more") from error


HANGING = "it has not even begun: log in there as this run does and see whether the shell or sudo hangs"


def read_host(
    state: State,
    host: Host,
    name: str,
    arguments: Sequence[str],
    read: Callable[[str, str], T],
    **parameters: Parameter,
) -> T:
    """What the reading script `name` says of the host (tasks/observed/records.py), through `read`, given text and mark.

    Raises Unobserved when that cannot be read.
    """
    mark = new_mark()
    result = run_command(state, host, script(name, *arguments, mark=mark, limit=LIMIT, **parameters))
    try:
        return read(unframe(result.stdout.split("\n"), mark), mark)
    except Unreadable as error:
        why = result.output if not result.stdout and not result.succeeded else f"what it says cannot be read: {error}"
        raise Unobserved(f"{name}.sh: {why}") from error


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


def bound_connection(host: Host) -> None:
    """Whatever is done over a new connection to the host ends: when it is lost, after SILENCE, else at its bound.

    With an error that pyinfra knows, and what is kept of its output is bounded, too.
    """
    _bound_silence(host)
    client = getattr(host.connector, "client", None)
    if client is not None:
        client.exec_command = partial(_execute, host, client.exec_command)
    if (transport := _transport(host)) is not None:
        transport.open_session = partial(_open_session, transport.open_session)  # type: ignore[method-assign]


def _open_session(open_session: Callable[..., paramiko.Channel], *words: Any, **options: Any) -> paramiko.Channel:
    """A session, when there is room for one: sshd opens ten at once on a connection, and no more (MaxSessions)."""
    deadline = time.monotonic() + SESSION
    while True:
        try:
            return open_session(*words, **options)
        except paramiko.ChannelException as error:
            if error.code != 2:  # "connect failed", RFC 4254
                raise
            if time.monotonic() > deadline:
                said = f"sshd has opened no session more on this connection for {SESSION} s (MaxSessions)"
                raise paramiko.SSHException(said) from error
        gevent.sleep(0.1)


def _execute(host: Host, execute: Callable[..., Any], *words: Any, **options: Any) -> tuple[Any, _Output, _Output]:
    """As paramiko's SSHClient.exec_command does it, which has no bound for a host that hangs, nor for what it says."""
    asked, start = _asked.get() or _Asked(_usual_bound(host), ""), _start()
    try:
        with _within(start):
            stdin, stdout, _ = execute(*words, **options)
    except EOFError as error:
        raise paramiko.SSHException("the other side is gone") from error
    except TimeoutError as error:
        raise OutOfBounds(f"the host has been logged in to and starts no command within {start:.3g} s") from error
    patience = _patience.get() if asked.bound.ends else None  # a change goes on
    meter = Meter(asked.bound, partial(_tell, host), patience.for_a_host if patience else None)
    channel: paramiko.Channel = stdout.channel
    channel.settimeout(SILENCE)  # of what it is given on standard input
    return stdin, _Output(channel, channel.recv, meter, asked), _Output(channel, channel.recv_stderr, meter, asked)


def _usual_bound(host: Host) -> Bound:
    """That of what pyinfra itself runs: an operation may install, anything else only looks."""
    stage = getattr(getattr(host, "state", None), "current_stage", None)
    return CHANGE if stage == StateStage.Execute else LOOK


def _tell(host: Host, words: str) -> None:
    logger.info(f"{host.print_prefix}{words}")


@dataclass
class _Output:
    """One of the two outputs of a command, as pyinfra reads it: its lines, and by `channel` its exit status."""

    _channel: paramiko.Channel
    _receive: Callable[[int], bytes]
    _meter: Meter
    _asked: _Asked = field(repr=False)

    def __iter__(self) -> Iterator[str]:
        try:
            for line in lines(self._meter, self._wait):
                self._asked.began = self._asked.began or bool(self._asked.mark and line.endswith(self._asked.mark))
                yield line
        except TimeoutError:
            self._meter.fell_silent()
        self._asked.left_out = self._meter.left_out
        if self._meter.hit:
            self._channel.close()  # ends the other one

    def _wait(self, seconds: float) -> bytes:
        self._channel.settimeout(seconds)
        return self._receive(PIECE)

    @property
    def channel(self) -> _Output:
        """What is asked for the exit status."""
        return self

    def recv_exit_status(self) -> int:
        """The exit status, once both outputs have been read. Raises OutOfBounds when they were not to their end."""
        try:
            with _within(self._meter.left):
                status = self._channel.recv_exit_status()
        except TimeoutError:
            self._meter.over_time()
            self._channel.close()
        if self._meter.hit:
            raise OutOfBounds(self._meter.hit)
        return status


PIECE = 65536  # bytes that are taken at once


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """What has no bound of its own is given up after so many seconds, by a TimeoutError."""
    with gevent.Timeout(max(seconds, 0.001), TimeoutError("no answer")):
        yield


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
            # A request in two packets would wait for a delayed acknowledgement: 40 ms an exchange.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Channel:
    """Bytes to and from a command or a server on a host. Whatever breaks it raises ConnectionBroken: its bound, too."""

    def __init__(self, channel: paramiko.Channel, bound: Bound) -> None:
        self._channel = channel
        self._meter = Meter(bound)
        self._left = b""  # what has come behind the line that was waited for

    def send(self, data: bytes) -> None:
        """All of `data` is on its way."""
        with _own_errors(), _within(self._meter.bound.seconds):
            self._channel.settimeout(self._meter.bound.silence)
            self._channel.sendall(data)

    def receive(self) -> bytes:
        """What has come, at least a byte; nothing when the other side has closed."""
        left, self._left = self._left, b""
        if left:
            return left
        with _own_errors():
            data = self._meter.read(self._wait)
        self._check()
        return data

    def read_marked(self, mark: str) -> str:
        """What stands behind the mark in the first line that has it; empty when the other side has closed.

        What a login prints before is skipped.
        """
        with _own_errors():
            for line in lines(self._meter, self._wait):
                _, found, said = line.partition(f"{mark} ")
                if found:
                    return said.strip()
        self._check()
        return ""

    def skip_to(self, mark: str) -> str:
        """What stands behind the mark in the first line that has it, as `read_marked`; what comes next is kept."""
        come = b""
        while data := self.receive():
            *ended, come = (come + data).split(b"\n")
            for number, line in enumerate(ended, 1):
                _, found, said = line.partition(f"{mark} ".encode())
                if found:
                    self._left = b"\n".join([*ended[number:], come])
                    return said.decode(errors="replace").strip()
        return ""

    def close(self) -> None:
        """The other side sees the end, if it is there still."""
        with suppress(*BREAKS):
            self._channel.close()

    def _wait(self, seconds: float) -> bytes:
        self._channel.settimeout(seconds)
        return self._channel.recv(PIECE)

    def _check(self) -> None:
        if self._meter.hit:
            raise OutOfBounds(self._meter.hit)


def open_command(state: State, host: Host, command: str, bound: Bound = HOLD) -> Channel:
    """A channel on which `command` runs until it ends or the channel is closed; `bound` is that of its answer.

    Raises ConnectionBroken.
    """
    arguments = _arguments(state, host)
    for name in ("_get_pty", "_timeout", "_stdin", "_success_exit_codes"):
        arguments.pop(name, None)
    words = make_unix_command_for_host(state, host, StringCommand(prepared(command)), **arguments).get_raw_value()
    with _own_errors(), _within(START):
        channel = _connected(host).open_session(timeout=2 * START)
        channel.exec_command(words)
    return Channel(channel, bound)


def open_tunnel(host: Host, address: str, port: int, bound: Bound = EXCHANGE) -> Channel:
    """A channel to whoever listens at `address:port`, as a client on the host would reach it.

    Where sshd forbids tunnels a command on the host carries the bytes (docs/decisions/0017).
    Raises TunnelRefused or ConnectionBroken.
    """
    transport, bound = _connected(host), _narrowed(bound)
    if transport not in _without_tunnels:
        try:
            return _direct(transport, address, port, bound)
        except TunnelForbidden:
            _without_tunnels.add(transport)
    try:
        return _carried(host, address, port, bound)
    except TunnelForbidden as error:
        raise TunnelForbidden(f"{FORBIDDEN}, and no command carries it: {error}") from error


FORBIDDEN = "sshd forbids TCP forwarding (AllowTcpForwarding)"


def is_carried(host: Host) -> bool:
    """Whether commands carry what servers on this host are told, for sshd was seen to forbid tunnels."""
    return _transport(host) in _carries


def _direct(transport: paramiko.Transport, address: str, port: int, bound: Bound) -> Channel:
    patience = bound.silence or bound.seconds
    try:
        # One after the other: paramiko keeps one refusal of a connection, and tells it to one of those who wait.
        with _own_errors(), _opening.setdefault(transport, BoundedSemaphore()), _within(patience):
            to, origin = (address, port), ("127.0.0.1", 0)
            return Channel(transport.open_channel("direct-tcpip", to, origin, timeout=2 * patience), bound)
    except ConnectionBroken as error:
        if isinstance(error.__cause__, paramiko.ChannelException):
            if error.__cause__.code == 1:  # "administratively prohibited", RFC 4254
                raise TunnelForbidden(FORBIDDEN) from error
            raise TunnelRefused("connection refused" if error.__cause__.code == 2 else str(error)) from error
        raise


def _carried(host: Host, address: str, port: int, bound: Bound) -> Channel:
    """The same by a command that the login itself runs: what is sent is its standard input."""
    transport, mark = _connected(host), new_mark()
    command = script("carry", mark=mark, address=address, port=port, seconds=round(bound.seconds))
    try:
        with _own_errors(), _within(_start()):
            channel = transport.open_session(timeout=2 * START)
            channel.exec_command(f"sh -c {shlex.quote(prepared(command))}")
        carrying = Channel(channel, bound)
        said = carrying.skip_to(mark)
    except (ConnectionBroken, TimeoutError) as error:
        raise TunnelForbidden(str(error)) from error
    if said == "open":
        _carries.add(transport)
        return carrying
    carrying.close()
    raise TunnelRefused(printable(said.lower())) if said else TunnelForbidden("it ended before it had begun")


_without_tunnels: WeakSet[paramiko.Transport] = WeakSet()
_carries: WeakSet[paramiko.Transport] = WeakSet()
_opening: WeakKeyDictionary[paramiko.Transport, BoundedSemaphore] = WeakKeyDictionary()


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except ConnectionBroken:
        raise
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

    patience = _patience.get()  # gevent gives a greenlet a context of its own

    def outcome() -> tuple[T | None, Exception | None]:
        _patience.set(patience)
        try:
            return action(), None
        except Exception as error:
            return None, error

    return Job(gevent.spawn(outcome))

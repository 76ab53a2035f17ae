"""A client that stays connected: what a service has, and what a one-off exchange cannot show."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

import hiredis
from pyinfra.api.host import Host

from tasks.desired.host import Instance
from tasks.observed.bounds import Bound
from tasks.observed.connection import ConnectionBroken, TunnelRefused
from tasks.observed.exchange import ExchangeError, Reply, ReplyError, cause_of, read_replies, secrets_in
from tasks.observed.own_server import refusal_of
from tasks.observed.replies import StrangeReply
from tasks.observed.tls import Untrusted, open_stream

# A client of a drill, which writes and reads for as long as the drill takes.
CLIENT = Bound("the client of a drill", 1800, 1 << 30, silence=15)


class DrillFailed(Exception):
    """What was expected of a drill, and what was found; on further lines what shows why."""


class Client:
    """One user's connection to an instance, open until `close`, or the end of the `with` block.

    It logs in only where the unit's own process was seen to listen. Raises ExchangeError when there is no connection or
    it breaks; a refused login is its reply.
    """

    def __init__(self, host: Host, instance: Instance, user: str, password: str, check: bool = True) -> None:
        address, port = instance.address, instance.role.port
        self._where = f"{address}:{port}"
        if check and (refused := refusal_of(host, instance.unit, (address, port))):
            raise ExchangeError(refused.cause, refused.said)
        try:
            self._channel, _ = open_stream(host, address, port, CLIENT)
        except (ConnectionBroken, TunnelRefused, Untrusted) as error:
            raise ExchangeError(cause_of(error), f"no connection to {self._where}: {error}") from error
        (self.greeting,) = self.ask(("AUTH", user, password))

    def ask(self, *commands: Sequence[str]) -> list[Reply]:
        """The replies to `commands`, sent at once. Raises ExchangeError when the connection is gone."""
        self.send(*commands)
        try:
            return read_replies(self._channel, len(commands), self._where, secrets_in(commands))
        except (ConnectionBroken, Untrusted) as error:
            raise ExchangeError(cause_of(error), f"{self._where} broke off: {error}") from error
        except StrangeReply as error:
            raise ExchangeError(cause_of(error), f"{self._where} does not speak as Redis does: {error}") from error

    def send(self, *commands: Sequence[str]) -> None:
        """The commands are on their way; nobody reads what comes back yet."""
        try:
            self._channel.send(b"".join(hiredis.pack_command(tuple(command)) for command in commands))  # type: ignore[arg-type]
        except (ConnectionBroken, Untrusted) as error:
            raise ExchangeError(cause_of(error), f"{self._where} broke off: {error}") from error

    def answer(self, *commands: Sequence[str]) -> list[Reply]:
        """As `ask`, where no error is expected. Raises DrillFailed for one."""
        replies = self.ask(*commands)
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, ReplyError):
                raise DrillFailed(f"{command[0]} on {self._where}: {reply}, expected an answer")
        return replies

    def timed(self, *command: str) -> float:
        """Seconds until one command was answered. Raises DrillFailed for an error."""
        began = time.monotonic()
        self.answer(command)
        return time.monotonic() - began

    def close(self) -> None:
        """The server sees the end."""
        self._channel.close()

    def __enter__(self) -> Client:
        if isinstance(self.greeting, ReplyError):
            self.close()
            raise DrillFailed(f"a login on {self._where}: {self.greeting}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

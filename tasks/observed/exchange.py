"""Speak to a Redis instance through the host's SSH connection: one channel, all commands at once.

A direct-tcpip channel reaches the instance on its assigned address, as a client on the host would; passwords
travel inside the connection only, never in an argument list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import hiredis
from pyinfra.api.host import Host

from tasks.catalogue.printable import excerpt, printable
from tasks.catalogue.secret import all_of, revealed
from tasks.observed.connection import ConnectionBroken, NoAnswer, OutOfBounds, TunnelForbidden, TunnelRefused
from tasks.observed.refusal import Cause, Refusal, refusal
from tasks.observed.replies import (
    HEADER,
    LINES,
    Reply,
    ReplyError,
    StrangeReply,
    checked,
    require_an_end,
    require_numbers,
    without,
)
from tasks.observed.state import Served
from tasks.observed.tls import Stream, Untrusted, open_stream

__all__ = ["ExchangeError", "Reply", "ReplyError", "cause_of", "converse", "exchange", "info_fields", "read_replies"]


class ExchangeError(Exception):
    """The instance could not be spoken to; `refusal` says where and why."""

    def __init__(self, cause: Cause, said: str) -> None:
        super().__init__(said)
        self.refusal = Refusal(cause, said)


def exchange(
    host: Host, address: str, port: int, commands: Sequence[Sequence[str]], in_clear: bool = False
) -> list[Reply]:
    """The replies to `commands`, in order, from the instance at `address:port` of `host`.

    An error reply is a ReplyError in its place. Raises ExchangeError when there is no connection, it breaks, or its
    bound is reached (EXCHANGE). `in_clear`: a server of somebody else's, whatever the role in that place speaks.
    """
    return converse(host, address, port, commands, in_clear)[0]


def converse(
    host: Host,
    address: str,
    port: int,
    commands: Sequence[Sequence[str]],
    in_clear: bool = False,
) -> tuple[list[Reply], Served | None]:
    """As `exchange`, with the certificate that the server showed: None of one that speaks in clear."""
    try:
        channel, served = open_stream(host, address, port, in_clear=in_clear)
    except (ConnectionBroken, TunnelRefused, Untrusted) as error:
        raise ExchangeError(cause_of(error), f"no connection to {address}:{port}: {error}") from error
    try:
        replies: list[Reply] = []
        sent = secrets_in(commands)
        for batch in batches(commands):
            replies += _conversation(channel, batch, f"{address}:{port}", sent)
        return replies, served
    except (ConnectionBroken, Untrusted) as error:
        raise ExchangeError(cause_of(error), f"{address}:{port} broke off: {error}") from error
    except StrangeReply as error:
        raise ExchangeError(Cause.STRANGE, f"{address}:{port} does not speak as Redis does: {error}") from error
    finally:
        channel.close()


def _conversation(channel: Stream, batch: Sequence[Sequence[str]], where: str, secrets: Sequence[str]) -> list[Reply]:
    """The replies to commands that are sent at once. A login with several passwords comes first, by one that is taken.

    What follows it is sent when it is let in: it would be somebody else's command otherwise.
    """
    first, *rest = batch
    logins = [(*first[:-1], item) for item in all_of(first[-1])] if first[0] == "AUTH" else []
    if len(logins) < 2:
        return _said(channel, batch, where, secrets)
    login = _said(channel, logins[:1], where, secrets)
    for other in logins[1:]:
        if isinstance(login[0], ReplyError) and refusal(login[0]).cause is Cause.WRONGPASS:
            login = _said(channel, [other], where, secrets)
    return login + (_said(channel, rest, where, secrets) if rest else [])


def _said(channel: Stream, commands: Sequence[Sequence[str]], where: str, secrets: Sequence[str]) -> list[Reply]:
    channel.send(b"".join(hiredis.pack_command(tuple(command)) for command in commands))  # type: ignore[arg-type]
    return read_replies(channel, len(commands), where, secrets)


def secrets_in(commands: Sequence[Sequence[str]]) -> list[str]:
    """What of these commands nobody may read: passwords of AUTH, ACL SETUSER and masterauth, and hashes. Pure."""
    found: set[str] = set()
    for command in commands:
        if command[0] == "AUTH":
            found |= {revealed(item) for item in all_of(command[-1])}
        elif command[:2] == ("ACL", "SETUSER"):
            found |= {word[1:] for word in command if word[:1] in (">", "#", "<", "!")}
        elif "masterauth" in command:
            found.add(revealed(command[command.index("masterauth") + 1]))
    return sorted(found - {""}, key=len, reverse=True)


def batches(commands: Sequence[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    """The commands in what may be sent at once: everything up to the next AUTH.

    Redis 8.0 leaves out the error reply of a failed AUTH while earlier replies of the same pipeline are unsent.
    """
    batch: list[Sequence[str]] = []
    for command in commands:
        if command[0] == "AUTH" and batch:
            yield batch
            batch = []
        batch.append(command)
    if batch:
        yield batch


def read_replies(channel: Stream, count: int, where: str, secrets: Sequence[str]) -> list[Reply]:
    """The next `count` replies on a channel. Raises ExchangeError, StrangeReply or ConnectionBroken.

    `where`: how the server is called in an error; `secrets`: what no reply may repeat.
    """
    reader = hiredis.Reader(encoding="utf-8", errors="replace")
    replies: list[Reply] = []
    before, lines = b"", 0
    while len(replies) < count:
        data = channel.receive()
        if not data:
            last = replies[-1] if replies and isinstance(replies[-1], ReplyError) else None
            said = f": {printable(str(last))}"[:120] if last else ""
            cause = refusal(last).cause if last else Cause.BROKEN
            raise ExchangeError(
                cause, f"{where} closed the connection{said} ({len(replies)} of {count} replies had come)"
            )
        require_an_end(before + data)
        lines += data.count(b"\n")
        if lines > LINES:
            raise StrangeReply(f"more than {LINES} lines")
        before = data[-HEADER:]
        reader.feed(data)
        replies += [without(secrets, reply) for reply in _complete(reader)]
    if len(replies) > count or reader.has_data():
        raise StrangeReply(f"more replies than the {count} that it was asked for")
    return replies


def _complete(reader: hiredis.Reader) -> Iterator[Reply]:
    """The replies that have come whole. Raises StrangeReply for what is none."""
    while True:
        try:
            reply = reader.gets()
        except (hiredis.HiredisError, MemoryError, TypeError, ValueError) as error:
            raise StrangeReply(excerpt(str(error) or type(error).__name__)) from error
        if reply is False:
            return
        yield checked(reply)


def cause_of(error: Exception) -> Cause:
    """Which cause a broken connection is."""
    if isinstance(error, Untrusted):
        return Cause.CERTIFICATE
    if isinstance(error, TunnelForbidden):
        return Cause.FORBIDDEN
    if isinstance(error, TunnelRefused):
        return Cause.CLOSED
    if isinstance(error, OutOfBounds):
        return Cause.STRANGE
    return Cause.SILENT if isinstance(error, NoAnswer) else Cause.BROKEN


def info_fields(reply: Reply) -> dict[str, str]:
    """An INFO reply as field → value, its section titles left out. Raises ExchangeError for one that none gives."""
    try:
        if not isinstance(reply, str):
            raise StrangeReply("INFO is no text")
        found = dict(line.split(":", 1) for line in reply.splitlines() if ":" in line)
        require_numbers(found, "INFO")
    except StrangeReply as error:
        raise ExchangeError(Cause.STRANGE, f"it does not speak as Redis does: {error}") from error
    return found

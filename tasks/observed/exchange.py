"""Speak to a Redis instance through the host's SSH connection: one channel, all commands at once.

A direct-tcpip channel reaches the instance on its assigned address, as a client on the host would; passwords
travel inside the connection only, never in an argument list.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import hiredis
from paramiko import ChannelException, SSHException
from pyinfra.api.host import Host

ReplyError = hiredis.ReplyError
Reply: TypeAlias = "str | int | hiredis.ReplyError | list[Reply] | None"

# A refused channel is an observation, reported with its address; paramiko would print it without one.
logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)

TIMEOUT = 10.0  # seconds a server may be silent; a loading one answers at once with -LOADING


class ExchangeError(Exception):
    """The instance could not be spoken to; the message says where and why."""


def exchange(host: Host, address: str, port: int, commands: Sequence[Sequence[str]]) -> list[Reply]:
    """The replies to `commands`, in order, from the instance at `address:port` of `host`.

    An error reply is a ReplyError in its place. Raises ExchangeError when there is no connection or it breaks.
    """
    try:
        transport = host.connector.client.get_transport()
        channel = transport.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=TIMEOUT)
    except (SSHException, AttributeError, EOFError) as error:
        raise ExchangeError(f"no connection to {address}:{port}: {_reason(error)}") from error
    try:
        channel.settimeout(TIMEOUT)
        replies: list[Reply] = []
        for batch in batches(commands):
            channel.sendall(b"".join(hiredis.pack_command(tuple(command)) for command in batch))  # type: ignore[arg-type]
            replies += _read(channel, len(batch), f"{address}:{port}")
        return replies
    except (OSError, SSHException, EOFError) as error:
        raise ExchangeError(f"{address}:{port} broke off: {str(error) or 'no answer'}") from error
    finally:
        channel.close()


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


def _read(channel: object, count: int, where: str) -> list[Reply]:
    reader = hiredis.Reader(encoding="utf-8", errors="replace")
    replies: list[Reply] = []
    while len(replies) < count:
        data = channel.recv(65536)  # type: ignore[attr-defined]
        if not data:
            said = f": {replies[-1]}" if replies and isinstance(replies[-1], ReplyError) else ""
            raise ExchangeError(f"{where} closed the connection{said[:120]} ({len(replies)} of {count} replies)")
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            replies.append(reply)
    return replies


def info_fields(reply: Reply) -> dict[str, str]:
    """An INFO reply as field → value, its section titles left out."""
    return dict(line.split(":", 1) for line in str(reply).splitlines() if ":" in line)


def _reason(error: Exception) -> str:
    if isinstance(error, ChannelException):
        return {1: "sshd forbids TCP forwarding (AllowTcpForwarding)", 2: "connection refused"}.get(
            error.code, str(error)
        )
    return str(error) or type(error).__name__

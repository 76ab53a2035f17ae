"""End a Redis of somebody else's so that it loses nothing: it shows that it can save, then ends itself with a save."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pyinfra.api.host import Host

from tasks.desired.paths import PACKAGED_UNIT
from tasks.observed.bounds import PATIENCE
from tasks.observed.exchange import ExchangeError, Reply, ReplyError, info_fields
from tasks.observed.foreign_listeners import endpoint
from tasks.observed.own_server import exchange_with
from tasks.observed.script import script
from tasks.observed.state import ForeignServer
from tasks.steps.gate import POLL, is_busy

Logins = Sequence[tuple[str, str]]

# Points that no server ever reaches: it saves when it ends (SIGTERM does so only where there are save points), and
# not in between, so that a newer RDB is the last one. (redis.io docs, signals; redis.conf, shutdown-on-sigterm)
NEVER = "2147483647 2147483647"


class AdoptionFailed(Exception):
    """What was expected of an adoption, what was found, and how to go on."""


def prepare(host: Host, who: str, server: ForeignServer, known: Logins) -> None:
    """The server has shown that it can save, and will do so when it ends. Raises AdoptionFailed, all as it was."""
    commands = [("CONFIG", "SET", "save", NEVER)]
    flags = server.config.get("shutdown-on-sigterm", "default").split()
    if "nosave" in flags or "force" in flags:
        commands.append(("CONFIG", "SET", "shutdown-on-sigterm", "save"))
    ask_server(host, who, server, known, *commands)
    try:
        wait_until_calm(host, who, server, known)
        ask_server(host, who, server, known, ("BGSAVE",))
        status = wait_until_calm(host, who, server, known).get("rdb_last_bgsave_status")
        if status != "ok":
            raise AdoptionFailed(
                f"{who}: BGSAVE ended with {status}, expected ok: give it room and the right to write in "
                f"{server.directory}, see its log; it goes on serving"
            )
    except AdoptionFailed:
        restore(host, server, known)
        raise


def restore(host: Host, server: ForeignServer, known: Logins) -> None:
    """A server that goes on serving has its own save points again, if it answers."""
    names = [name for name in ("save", "shutdown-on-sigterm") if name in server.config]
    try:
        own = [("CONFIG", "SET", name, server.config[name]) for name in names]
        exchange_with(host, server.pid, endpoint(server), known, own)
    except ExchangeError:
        return


def ask_server(host: Host, who: str, server: ForeignServer, known: Logins, *commands: Sequence[str]) -> list[Reply]:
    """Replies of the old server. Raises AdoptionFailed when it refuses one."""
    try:
        replies = exchange_with(host, server.pid, endpoint(server), known, commands)
    except ExchangeError as error:
        raise AdoptionFailed(f"{who}: {error}") from error
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, ReplyError):
            raise AdoptionFailed(f"{who}: {' '.join(command[:3])}: {reply}, expected it to be allowed")
    return replies


def wait_until_calm(host: Host, who: str, server: ForeignServer, known: Logins) -> dict[str, str]:
    """INFO of the old server once it neither saves nor rewrites."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            info = info_fields(ask_server(host, who, server, known, ("INFO",))[0])
        except ExchangeError as error:
            raise AdoptionFailed(f"{who}: {error}") from error
        if not is_busy(info):
            return info
        if time.monotonic() > deadline:
            raise AdoptionFailed(f"{who}: still saves after {PATIENCE:.0f} s, expected it to end: deploy again later")
        time.sleep(POLL)


def stop_script(server: ForeignServer) -> str:
    """End the server by SIGTERM and wait for it, however long its save takes; never SIGKILL. Pure."""
    unit = "" if server.unit == PACKAGED_UNIT else server.unit
    return script("end-server", pid=server.pid, unit=unit, patience=int(PATIENCE))


def settle_script(unit: str) -> str:
    """Nothing starts the old server's unit any more. The packaged one is masked by another step. Pure."""
    return "true" if not unit or unit == PACKAGED_UNIT else script("settle-unit", unit=unit)

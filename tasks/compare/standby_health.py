"""Health of a role with a standby: whether that replicates it, and how much of it is missing there. Pure.

Each of the two says its own: a standby whether it is linked, a primary whether somebody follows it, and how far behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.catalogue.limits import Limits
from tasks.catalogue.printable import printable
from tasks.catalogue.values import mib
from tasks.compare.unwell import Code, Health
from tasks.desired.host import Instance, Pair
from tasks.observed.state import Server

COPY = re.compile(r"ip=[^,]{1,64},port=[0-9]{1,5},state=([a-z_]{1,20}),offset=([0-9]{1,19}),lag=([0-9]{1,10})")


@dataclass(frozen=True)
class Lag:
    """What a standby lacks of its primary: bytes of its history, and seconds since it was last heard of."""

    size: int
    seconds: int


def standby_health(instance: Instance, server: Server, pair: Pair | None, limits: Limits) -> Iterator[Health]:
    """What is not well with the replication of a role that has a standby; nothing of another."""
    if pair is None:
        return
    if instance.is_standby:
        yield from _link(instance, server, pair)
        return
    found = lag(server)
    if found is None:
        yield Health(
            instance.name,
            Code.STANDBY_DOWN,
            "warning",
            f"{pair.peer} does not replicate it",
            "its standby in sync",
            f"see on {pair.peer} systemctl status redis-{instance.name} and its journal; deploy to both",
        )
    elif found.size > limits.standby_mib_warning << 20 or found.seconds > limits.standby_seconds_warning:
        yield Health(
            instance.name,
            Code.STANDBY_LAG,
            "warning",
            f"{pair.peer} lacks {mib(found.size)}, and was heard of {found.seconds} s ago",
            f"{limits.standby_mib_warning} MiB, {limits.standby_seconds_warning} s",
            "see the network between the two, and the disk and load of the standby: what it lacks is lost when this "
            "host is",
        )


def _link(instance: Instance, server: Server, pair: Pair) -> Iterator[Health]:
    info = server.info
    if info.get("role") != "slave" or info.get("master_link_status") == "up":
        return
    copying = info.get("master_sync_in_progress") == "1"
    since = info.get("master_link_down_since_seconds", "")
    how_long = f" for {since} s" if since.isdecimal() else ""
    yield Health(
        instance.name,
        Code.STANDBY_DOWN,
        "warning" if copying else "critical",
        f"it copies all from {pair.peer}" if copying else f"it has no link to {pair.peer}{how_long}",
        "in sync",
        "wait until it has all"
        if copying
        else f"see its journal (journalctl -u {instance.unit}), and whether {pair.there[0]}:{pair.there[1]} is reached",
    )


def hearing(instance: Instance, server: Server, pair: Pair | None, said: str | None) -> Iterator[Health]:
    """That what is asked before each start gets no answer. `said`: what it was told; None where nobody was asked.

    Only of two that are linked: else that is listed, and nobody knows whether the other one is there to answer. Nor is
    silence judged behind a connection that was taken: a host may be busy.
    """
    is_linked = server.info.get("master_link_status") == "up" if instance.is_standby else lag(server) is not None
    if (
        pair is None
        or said is None
        or not said.strip()
        or not is_linked
        or said.split(" ", 1)[0] in ("master", "slave")
    ):
        return
    yield Health(
        instance.name,
        Code.PAIR_UNHEARD,
        "critical",
        f"{pair.peer} replicates with it, and does not say what it is: {printable(said)[:120]}",
        "its ROLE",
        f"let connections through from {instance.role.reached} to {pair.there[0]}:{pair.there[1]}, and its user "
        "replication in: at its next boot this host would wait for that word for ever",
    )


def lag(server: Server) -> Lag | None:
    """How far the standby of a primary is behind, as that one says; None where no standby is linked."""
    info = server.info
    copies = (COPY.match(text) for name, text in info.items() if re.fullmatch("slave[0-9]{1,3}", name))
    online = [found for found in copies if found and found[1] == "online"]
    offset = info.get("master_repl_offset", "")
    if not online or not offset.isdecimal():
        return None
    behind = ((max(0, int(offset) - int(found[2])), int(found[3])) for found in online)
    return Lag(*min(behind))

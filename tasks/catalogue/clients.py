"""How many clients a role can hold: their memory counts inside maxmemory. Pure.

Redis cuts off the greediest client beyond maxmemory_clients. Until there a stampede of clients evicts keys, or makes a
role that may not evict refuse writes (docs/decisions/0012-clients-fit-into-memory.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.catalogue.values import BYTES_OR_PERCENT, mib, parse_memory, show_memory

FIT = "fit"  # the value of maxclients that means: as many as maxmemory_clients holds
CLIENT_BYTES = 37_760  # the most that a client weighed which had just logged in, of 7.0.15 and 8.0.2, measured
CLIENT_SHARE = 25  # % of maxmemory that all clients may hold at most: the rest is for what the role stores


def client_memory(maxmemory: int, maxmemory_clients: str) -> int:
    """Bytes that all clients together may hold, from a canonical maxmemory-clients; 0 for no bound."""
    if maxmemory_clients.endswith("%"):
        return maxmemory * int(maxmemory_clients[:-1]) // 100
    return int(maxmemory_clients)


def with_fitting_clients(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """A role's fields, `maxclients: fit` replaced by the number."""
    if fields.get("maxclients") != FIT:
        return fields
    try:
        share = BYTES_OR_PERCENT.canonical(str(fields["maxmemory_clients"]))
        most = client_memory(parse_memory(str(fields["maxmemory"])), share) // CLIENT_BYTES
    except (KeyError, ValueError):
        most = 1  # what is wrong is said of the fields themselves
    return {**fields, "maxclients": max(1, most)}


def client_problem(maxclients: int, maxmemory: int, maxmemory_clients: str) -> str | None:
    """Why these three promises cannot be kept together; None when they can."""
    held, most = client_memory(maxmemory, maxmemory_clients), maxmemory * CLIENT_SHARE // 100
    if not 0 < held <= most:
        return (
            f"maxmemory_clients {maxmemory_clients}: expected more than 0 and at most {CLIENT_SHARE}% of maxmemory "
            f"{show_memory(maxmemory)}: what clients hold there, keys cannot: write {CLIENT_SHARE}% or less"
        )
    if maxclients * CLIENT_BYTES > held:
        return (
            f"maxclients {maxclients}: at {CLIENT_BYTES} bytes each they weigh {mib(maxclients * CLIENT_BYTES)}, "
            f"expected at most the {mib(held)} of maxmemory_clients {maxmemory_clients} of {show_memory(maxmemory)}, "
            f"beyond which Redis cuts clients off: write {FIT} (that is {held // CLIENT_BYTES}), or raise maxmemory"
        )
    return None

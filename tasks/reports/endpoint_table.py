"""The endpoints of the tier as a table: role, host, address and ports, users, and on wide terminals what it holds."""

from __future__ import annotations

from rich.table import Table

from tasks.catalogue.values import show_memory
from tasks.desired.host import Host

WIDE = 110  # columns; below that a row keeps what is needed to connect


def endpoint_table(hosts: list[Host], width: int) -> Table:
    """One row per role: where it answers, and its users, one a line; with room what it holds, and does when full."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    more = ("memory", "when full") if width >= WIDE else ()
    for title in ("role", "host", "address:port", "also on", *more):
        table.add_column(title, overflow="fold")
    table.add_column("users (each with its password)" if width >= WIDE else "users", overflow="fold")
    rows = [(role, host.name) for host in hosts for role in host.roles]
    for role, name in sorted(rows, key=lambda row: (str(row[0].address), row[0].port)):
        also = f":{role.forwarded_port}" if role.forwarded_port else ""
        holds = (show_memory(role.maxmemory), role.maxmemory_policy) if more else ()
        table.add_row(role.name, name, f"{role.address}:{role.port}", also, *holds, "\n".join(role.services))
    return table

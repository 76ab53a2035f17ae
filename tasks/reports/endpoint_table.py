"""The endpoints of the tier as a table: role, host, address and ports, services, what it is for."""

from __future__ import annotations

from rich.table import Table

from tasks.catalogue.values import show_memory
from tasks.desired.host import Host


def endpoint_table(hosts: list[Host]) -> Table:
    """One row per role: where it answers, how much it holds and what it does when full, and its users."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("role", "host", "address:port", "also on", "memory", "when full", "services"):
        table.add_column(title, overflow="fold")
    rows = [(role, host.name) for host in hosts for role in host.roles]
    for role, name in sorted(rows, key=lambda row: (str(row[0].address), row[0].port)):
        also = f":{role.forwarded_port}" if role.forwarded_port else ""
        memory = show_memory(role.maxmemory)
        users = ", ".join(role.services)
        table.add_row(role.name, name, f"{role.address}:{role.port}", also, memory, role.maxmemory_policy, users)
    return table

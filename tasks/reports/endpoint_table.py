"""The endpoints of the tier as tables: where each role answers and as whom, and what its users may do there.

Nothing of it is markup: a pattern of keys may be session:[ab]* or :100:.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from tasks.catalogue.values import show_memory
from tasks.desired.host import Host
from tasks.reports.rights import rows

WIDE = 110  # columns; below that a row keeps what is needed to connect


def endpoint_table(hosts: list[Host], width: int) -> Table:
    """One row per role: where it answers, and its users, one a line; with room what it holds, and does when full."""
    more = ("memory", "when full") if width >= WIDE else ()
    users = "users (each with its password)" if width >= WIDE else "users"
    table = _table("role", "host", "address:port", "also on", *more, users)
    found = [(role, host.name) for host in hosts for role in host.roles]
    for role, name in sorted(found, key=lambda row: (str(row[0].address), row[0].port)):
        also = f":{role.forwarded_port}" if role.forwarded_port else ""
        holds = (show_memory(role.maxmemory), role.maxmemory_policy) if more else ()
        _add(table, role.name, name, f"{role.address}:{role.port}", also, *holds, _lines(role.services))
    return table


def rights_table(hosts: list[Host]) -> Table:
    """What the users of each role may do; one row where all may do the same on all roles."""
    table = _table("role", "users", "keys", "channels", "commands")
    roles = sorted((role for host in hosts for role in host.roles), key=lambda role: (str(role.address), role.port))
    for row in rows(roles):
        role, users = (row.roles[0], _lines(row.services)) if len(row.roles) == 1 else ("every role", "every user")
        _add(table, role, users, _lines(row.keys), _lines(row.channels), _lines(row.commands))
    return table


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(Text(cell) for cell in cells))


def _lines(items: Iterable[str]) -> str:
    return "\n".join(items)

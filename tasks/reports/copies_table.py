"""The copies that a tier has off its hosts, as a table of 80 columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from tasks.observed.copies import Copy

SHOWN = 40  # copies of a role; older ones are counted


def copies_table(copies: Mapping[str, Sequence[Copy]]) -> Table:
    """`copies`: role → its copies, the newest first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("role", "copy of (UTC)"):
        table.add_column(name, no_wrap=True)
    for name in ("keys", "MiB"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("Redis", "at=", "from"):
        table.add_column(name, no_wrap=name != "from", overflow="fold")
    for role, own in sorted(copies.items()):
        for copy in own[:SHOWN]:
            keys = "?" if copy.keys is None else str(copy.keys)
            size = f"{copy.size / (1 << 20):.1f}"
            whose = f"{copy.host} {copy.machine[:4]}" + "".join(f", odd {item}" for item in copy.odd)
            table.add_row(role, f"{copy.at:%Y-%m-%d %H:%M:%S}", keys, size, copy.server or "?", copy.run, whose)
        if len(own) > SHOWN:
            table.add_row(role, f"and {len(own) - SHOWN} older ones")
        if not own:
            table.add_row(role, "none")
    return table

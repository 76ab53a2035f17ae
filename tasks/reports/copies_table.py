"""The copies that a tier has off its hosts, as a table, in 80 columns a line for each. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from tasks.observed.copies import Copy

SHOWN = 40  # copies of a role; older ones are counted
WIDE = 100  # columns in which there is room for the host's name in each line


def copies_table(copies: Mapping[str, Sequence[Copy]], width: int) -> Table:
    """`copies`: role → its copies, the newest first. Where it is narrow a host's name stands above its copies."""
    wide = width >= WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("role", no_wrap=True)
    table.add_column("copy of (UTC)" if wide else "host, copy of (UTC)", no_wrap=wide, min_width=19, overflow="fold")
    for name in ("keys", "MiB"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("Redis", "at="):
        table.add_column(name, no_wrap=True)
    if wide:
        table.add_column("from", overflow="fold")
    for role, own in sorted(copies.items()):
        for row in _wide(own[:SHOWN]) if wide else _narrow(own[:SHOWN]):
            table.add_row(role if len(row) > 1 else "", *row)
        if len(own) > SHOWN or not own:
            table.add_row(role, f"and {len(own) - SHOWN} older ones" if own else "none")
    return table


def _wide(copies: Sequence[Copy]) -> Iterator[tuple[str, ...]]:
    for copy in copies:
        yield *_cells(copy), ", ".join([_whose(copy), *_odd(copy)])


def _narrow(copies: Sequence[Copy]) -> Iterator[tuple[str, ...]]:
    above = ""
    for copy in copies:
        if _whose(copy) != above:
            above = _whose(copy)
            yield (above,)
        yield _cells(copy)
        yield from ((item,) for item in _odd(copy))


def _whose(copy: Copy) -> str:
    return f"{copy.host} {copy.machine[:4]}"


def _odd(copy: Copy) -> list[str]:
    return [f"odd {item}" for item in copy.odd]


def _cells(copy: Copy) -> tuple[str, ...]:
    keys = "?" if copy.keys is None else str(copy.keys)
    return f"{copy.at:%Y-%m-%d %H:%M:%S}", keys, f"{copy.size / (1 << 20):.1f}", copy.server or "?", copy.run

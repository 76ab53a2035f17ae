"""The table of copies: one line each in 80 columns, by which it is named for a restore."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from tasks.observed.copies import Copy
from tasks.reports.copies_table import copies_table

NOW = datetime(2026, 11, 27, 13, 0, 5, tzinfo=UTC)
ONE = Copy("compliance", "a" * 16, "b" * 16, NOW, "redis-compliance", 1234567, "7.0.15", 300 << 20, 0, "ab12cd34")
COPIES = {
    "compliance": [
        replace(ONE, run=f"{number:016x}", at=NOW - timedelta(hours=number), host=host)
        for number, host in enumerate(("redis-compliance", "redis-compliance", "the-host-of-before"))
    ],
    "crypto": [],
}


def shown(copies: dict[str, list[Copy]], width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as printed:
        console.print(copies_table(copies, width))
    return [line.rstrip() for line in printed.get().splitlines()]


@pytest.mark.parametrize("width", [80, 99, 100, 200])
def test_each_copy_is_one_line_however_wide_a_terminal_is(width: int) -> None:
    lines = shown(COPIES, width)
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if line.startswith("compliance ")]
    for copy, row in zip(COPIES["compliance"], rows, strict=True):
        assert {f"{copy.at:%H:%M:%S}", "1234567", "300.0", "7.0.15", copy.run} <= {*row.split()}
    assert lines[-1].split() == ["crypto", "none"]


def test_in_80_columns_whose_copies_are_next_stands_above_them_once() -> None:
    lines = shown(COPIES, 80)
    assert [line.split()[0] for line in lines] == [
        "role",
        "redis-compliance",
        "compliance",
        "compliance",
        "the-host-of-before",
        "compliance",
        "crypto",
    ]
    assert lines[1].split() == ["redis-compliance", "ab12"]


@pytest.mark.parametrize("width", [80, 120])
def test_what_is_odd_about_a_copy_is_said_with_it(width: int) -> None:
    lines = shown({"compliance": [replace(ONE, odd=("its time",))]}, width)
    assert "odd its time" in " ".join(lines)


def test_older_copies_than_forty_are_counted() -> None:
    lines = shown({"compliance": [ONE] * 42}, 80)
    assert lines[-1].split() == ["compliance", "and", "2", "older", "ones"]

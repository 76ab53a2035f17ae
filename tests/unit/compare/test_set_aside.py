"""What deploys and restores have put aside is said, and how much it takes: nobody but a person deletes it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.compare.health import health
from tasks.compare.host import compare, notices
from tasks.compare.set_aside import set_aside
from tasks.observed.state import FileState, Observed
from tests.unit.builders import as_desired, desired

HOST = desired("crypto")
DIRECTORY = "/var/lib/redis/crypto"
MIB = 1 << 20
ASIDE = (
    "appendonlydir.old",
    "appendonlydir.old-20261127120000",
    "appendonlydir.old-20261127120000-2",
    "appendonlydir.replaced-20261127120000",
    "appendonlydir.replaced-20261127120000-failed",
    "dump.rdb.replaced-20261127120000",
)
NOT = ("appendonlydir", "appendonlydir.new", "appendonlydir.older", "appendonlydir.old-x", "dump.rdb", "temp-1.rdb")


def holding(observed: Observed, *names: str, size: int = 3 * MIB) -> Observed:
    """`observed` with these in the role's directory: a log with one file, or a file."""
    stored, sizes = dict(observed.stored), dict(observed.data_files)
    for name in names:
        path = f"{DIRECTORY}/{name}"
        if name.startswith("appendonlydir"):
            stored[path] = FileState("directory", "redis-crypto", "redis-crypto", "0700", "")
            path += "/appendonly.aof.1.base.rdb"
        stored[path] = FileState("file", "redis-crypto", "redis-crypto", "0600", "")
        sizes[path] = size
    return replace(observed, stored=stored, data_files=sizes)


@pytest.mark.parametrize("name", ASIDE)
def test_what_is_put_aside_is_named_with_its_size_and_its_entry(name: str) -> None:
    seen = holding(as_desired(HOST), name)
    (note,) = [line for line in notices(HOST, seen) if "put aside" in line]
    assert f"{DIRECTORY}/{name}" in note
    assert "3.0 MiB" in note
    assert "docs/runbook.md#data-put-aside" in note
    assert compare(HOST, seen) == []


@pytest.mark.parametrize("name", NOT)
def test_what_a_server_has_is_not_put_aside(name: str) -> None:
    assert set_aside(HOST.instances[0], holding(as_desired(HOST), name)).paths == ()


def test_all_that_is_put_aside_is_one_line() -> None:
    seen = holding(as_desired(HOST), *ASIDE)
    (note,) = [line for line in notices(HOST, seen) if "put aside" in line]
    assert f"{len(ASIDE) * 3}.0 MiB" in note


def test_a_full_disk_says_how_much_of_it_was_put_aside() -> None:
    full = replace(holding(as_desired(HOST), *ASIDE), disk_free=63 * MIB, free_of={})
    (item,) = health(HOST, full)
    assert f"{len(ASIDE) * 3} MiB of that put aside" in item.observed
    assert "docs/runbook.md#data-put-aside" in item.remedy


def test_a_full_disk_on_which_nothing_was_put_aside_speaks_of_none() -> None:
    (item,) = health(HOST, replace(as_desired(HOST), disk_free=63 * MIB, free_of={}))
    assert "put aside" not in item.observed + item.remedy

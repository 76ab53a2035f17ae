"""A disk that takes seconds to make a log safe: the thread of a server that waits for it is held for that long."""

import ctypes
import json
import os
import re
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import redis

from tests.hosts.conftest import Tier, output, wait_for
from tests.hosts.runbook_steps import follow, sees, service
from tests.runbook import entries

pytestmark = pytest.mark.hosts

ROLE = "gateway"  # whose log is made safe each second: the others wait for the disk in the command itself
SEIZE, INTERRUPT, DETACH, ALL = 0x4206, 0x4207, 17, 0x40000000


def ptrace(request: int, thread: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(request, thread, None, None):
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")


def syncing_thread(tier: Tier) -> int:
    """The thread that calls fsync, as this machine numbers it: hosts of the lab have numbers of their own."""
    for directory in Path("/proc").glob("[0-9]*/task/[0-9]*"):
        try:
            if (directory / "comm").read_text().startswith("bio_aof"):  # bio_aof_fsync in 7.0
                status = (directory.parents[1] / "status").read_text()
                own = [int(number) for number in re.findall(r"^NSpid:\t(.*)$", status, re.MULTILINE)[0].split()]
                if own[-1] == tier.pid(ROLE) and tier.host(ROLE).leader in ancestors(own[0]):
                    return int(directory.name)
        except FileNotFoundError:
            continue
    raise AssertionError("no thread of the server begins with bio_aof")


def ancestors(process: int) -> list[int]:
    found = [process]
    while found[-1] > 1:
        found.append(int(re.findall(r"^PPid:\t(\d+)", Path(f"/proc/{found[-1]}/status").read_text(), re.MULTILINE)[0]))
    return found


@contextmanager
def held(thread: int) -> Iterator[None]:
    """This one thread stands still: what is waited for here is what a disk that hangs makes a server wait for."""
    ptrace(SEIZE, thread)
    try:
        ptrace(INTERRUPT, thread)
        os.waitpid(thread, ALL)
        yield
    finally:
        ptrace(DETACH, thread)


def delayed(writer: "redis.Redis", before: int) -> bool:
    """Whether a write has waited; each one may be that which does."""
    writer.incr("test:slow")
    return int(writer.info("persistence")["aof_delayed_fsync"]) > before


def test_disk_slow(onebox: Tier) -> None:
    (slow,) = entries()["disk-slow"].quotes
    limits = runpy.run_path(str(onebox.repository / "group_data" / "all.py"))["redis_health"]
    once = ("--data", f"redis_health={json.dumps({**limits, 'delayed_fsyncs_warning': 1})}")
    with service(onebox, ROLE) as writer:
        before = int(writer.info("persistence")["aof_delayed_fsync"])
        with held(syncing_thread(onebox)):
            wait_for(partial(delayed, writer, before), "a write has waited", 60)
        sees(onebox.run("tasks/verify.py", *once), slow)
        counters, writers, *_ = map(output, follow(onebox, "disk-slow", ROLE))
        assert re.search(r"aof_delayed_fsync:[1-9]", counters)
        assert "write_bytes" in writers
        assert "DISK-SLOW" not in output(onebox.run("tasks/verify.py", *once))
        assert writer.delete("test:slow")

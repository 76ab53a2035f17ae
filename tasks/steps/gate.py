"""Start instances, and restart them one at a time over the whole inventory behind a health gate."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gevent.lock import Semaphore
from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.desired import OPERATOR, Instance, data_directory
from tasks.exchange import ExchangeError, ReplyError, exchange, info_fields
from tasks.remote import run_command
from tasks.run import Passwords

PATIENCE = 600.0  # seconds to wait for a rewrite to end, or for a server to load its data
POLL = 0.2  # seconds between two looks

_one_at_a_time = Semaphore(1)
_stopped: list[str] = []  # why no further restart of this run may be made


def start(state: State, host: Host, instances: Sequence[Instance]) -> bool:
    """The instances run and have loaded their data; systemd reports them ready only then."""
    units = " ".join(instance.unit for instance in instances)
    started, output = run_command(state, host, f"systemctl start {units}")
    if not started:
        _report(state, host, units, output)
    return started


def _report(state: State, host: Host, units: str, output: str) -> None:
    names = " ".join(f"-u {unit}" for unit in units.split())
    _, journal = run_command(state, host, f"journalctl --no-pager -n 15 -o cat {names}")
    host.log_styled(f"{units}: did not start, expected active: {output}\n{journal}", fg="red", log_func=logger.error)


def restart_gated(state: State, host: Host, instances: Sequence[Instance], passwords: Passwords) -> bool:
    """Each instance was restarted with its keys kept; after the first gate that fails, no other one is."""
    for instance in instances:
        with _one_at_a_time:
            problem = _stopped[0] if _stopped else _restart(state, host, instance, passwords)
        if problem:
            _stopped.append(f"not restarted: {instance.name} on {host.name} failed its gate")
            host.log_styled(f"{instance.name}: {problem}", fg="red", log_func=logger.error)
            return False
    return True


def _restart(state: State, host: Host, instance: Instance, passwords: Passwords) -> str | None:
    """Restart one instance; what went wrong in words, None when all is well."""
    password = passwords[instance.name].get(OPERATOR) or ""
    manifest = f"{data_directory(instance.name)}/{instance.role.appenddirname}/{instance.role.appendfilename}.manifest"
    if instance.role.appendonly and not run_command(state, host, f"test -s {manifest}")[0]:
        return f"{manifest} is missing, a restart would begin empty: bring it back first"
    before = wait_until_calm(host, instance, password)
    if before is not None and before.get("aof_last_write_status", "ok") != "ok":
        return "the last write to the append-only file failed: free disk space first"
    restarted, output = run_command(state, host, f"systemctl restart {instance.unit}")
    if not restarted:
        _report(state, host, instance.unit, output)
        return "did not come up again"
    after = wait_until_calm(host, instance, password)
    if after is None:
        return "does not answer its operator after the restart"
    return _lost_keys(before, after)


def wait_until_calm(host: Host, instance: Instance, password: str) -> dict[str, str] | None:
    """INFO of an instance once it neither loads, saves nor rewrites; None when it does not let us in."""
    deadline = time.monotonic() + PATIENCE
    while True:
        info = read_info(host, instance, password)
        if info is None or not is_busy(info) or time.monotonic() > deadline:
            return info
        time.sleep(POLL)


def is_busy(info: dict[str, str]) -> bool:
    """Whether a load, a save or a rewrite is under way."""
    signs = ("loading", "rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
    return any(info.get(name, "0") != "0" for name in signs)


def read_info(host: Host, instance: Instance, password: str) -> dict[str, str] | None:
    """INFO of an instance as a mapping; None when it cannot be had."""
    try:
        replies = exchange(host, instance.address, instance.role.port, [("AUTH", OPERATOR, password), ("INFO",)])
    except ExchangeError:
        return None
    if any(isinstance(reply, ReplyError) for reply in replies):
        return None
    return info_fields(replies[1])


def _lost_keys(before: dict[str, str] | None, after: dict[str, str]) -> str | None:
    if before is None:
        return None
    had, could_expire = count_keys(before)
    has, _ = count_keys(after)
    if has >= had - could_expire:
        return None
    return f"had {had} keys ({could_expire} with a TTL) before the restart and has {has}: stop and look at its journal"


def count_keys(info: dict[str, str]) -> tuple[int, int]:
    """Keys of all databases in INFO, and how many of them have a TTL."""
    rows = [
        dict(item.split("=", 1) for item in text.split(","))
        for name, text in info.items()
        if name.startswith("db") and name[2:].isdigit()
    ]
    return sum(int(row["keys"]) for row in rows), sum(int(row["expires"]) for row in rows)

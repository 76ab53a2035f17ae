"""The gate around a restart: what must hold of an instance before it may stop and after it has come up again."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import DEFAULT_LINE, OPERATOR
from tasks.compare.databases import are_fewer, left_out
from tasks.compare.loading import cut_tails, load_faults
from tasks.desired.host import Instance, Passwords
from tasks.desired.paths import acl_file, data_directory, manifest_file
from tasks.observed.connection import run_command
from tasks.observed.exchange import ExchangeError, Reply, ReplyError, exchange, info_fields
from tasks.observed.journal import said_since_start
from tasks.observed.state import Server, count_keys
from tasks.steps import witness
from tasks.steps.witness import Witness

PATIENCE = 900.0  # seconds to wait for a rewrite to end, or for a server to load its data
POLL = 0.1  # seconds between two looks
SPARE_DISK = 64 << 20  # bytes beside the snapshot that a server with save points writes when it stops

Info = Mapping[str, str]
Endpoint = tuple[str, int]

# Commands that can take keys away, as commandstats names them: what they did is not lost.
REMOVING = (
    *("del", "unlink", "getdel", "rename", "renamenx", "move", "expire", "pexpire", "expireat", "pexpireat"),
    *("spop", "srem", "lpop", "rpop", "lmpop", "ltrim", "lrem", "zpopmin", "zpopmax", "zmpop", "zrem", "hdel"),
    *("smove", "lmove", "rpoplpush", "blpop", "brpop", "xdel", "flushdb", "flushall", "eval", "evalsha", "fcall"),
)


@dataclass
class Before:
    """What an instance had right before it was stopped: its INFO, its log's files by size, and the witnesses in it."""

    info: Info
    sizes: Mapping[str, int] = field(default_factory=dict)
    witnesses: list[Witness] = field(default_factory=list)  # those that were acknowledged and not read back yet
    at: float = 0.0  # when they were written, on a clock that only goes forward


def before(
    state: State, host: Host, instance: Instance, own: Mapping[str, str | None], previously: Server | None = None
) -> tuple[Before | None, list[str]]:
    """What an instance has that may be stopped now, None when it lets nobody in; and what forbids to stop it.

    No save or rewrite is under way, its log is whole and writable, and the disk holds what it writes when it stops.
    `own`: passwords by user; `previously`: what it said before this deploy changed anything.
    """
    password = own.get(OPERATOR) or ""
    info = wait_until_calm(host, instance, password)
    problems = not_replayable(state, host, [instance])
    sizes, free = _on_disk(state, host, instance)
    manifest = manifest_file(instance.role)
    if instance.role.appendonly and manifest.rpartition("/")[2] not in sizes:
        problems.append(f"{manifest} is missing, a restart would begin empty: bring it back first")
    if info is None:
        return None, problems
    if is_busy(info):
        problems.append(f"still loads, saves or rewrites after {PATIENCE:.0f} s: wait for it and deploy again")
    problems += _unhealthy(info)
    needed = int(info.get("used_memory", "0")) + SPARE_DISK
    if free < needed:
        problems.append(f"the disk has {free >> 20} MiB free, stopping safely may take {needed >> 20} MiB: free space")
    if not problems and previously is not None and are_fewer(instance, previously):
        problems += _forget_other_databases(host, instance, password, info)
    found = Before(info, sizes)
    if not problems:
        _write_witnesses(host, instance, own, found)
    return found, problems


def _on_disk(state: State, host: Host, instance: Instance) -> tuple[dict[str, int], int]:
    """Bytes of each file of the log that is not empty, and bytes free where it lies."""
    directory = data_directory(instance.name)
    log = manifest_file(instance.role).rpartition("/")[0]
    # A role may give its files names with line ends in them.
    files_of_log = f"find {log} -maxdepth 1 -type f -size +0 ! -name '*[!A-Za-z0-9._-]*' -printf '%s %f\\n'"
    _, output = run_command(state, host, f"df -k --output=avail {directory} | tail -n 1; {files_of_log} 2>/dev/null")
    free, *files = output.splitlines() or [""]
    rows = [row.partition(" ") for row in files]
    sizes = {name: int(size) for size, _, name in rows if size.isdigit()}
    return sizes, int(free) * 1024 if free.strip().isdigit() else 0


def _forget_other_databases(host: Host, instance: Instance, password: str, info: Info) -> list[str]:
    """The log speaks only of databases that the next start has: it is written anew, from a server with none beyond."""
    if found := left_out(instance, info):
        return [f"{', '.join(found)} in use, and databases is to be {instance.role.databases}: move those keys first"]
    where = (instance.address, instance.role.port)
    if info.get("aof_enabled") != "1":
        return []
    try:
        replies = exchange(host, *where, [("AUTH", OPERATOR, password), ("BGREWRITEAOF",)])
    except ExchangeError as error:
        return [str(error)]
    refused = [str(reply) for reply in replies if isinstance(reply, ReplyError)]
    now = wait_until_calm(host, instance, password)
    if refused or now is None or is_busy(now):
        return [f"its log could not be written anew for fewer databases: {', '.join(refused) or 'not in time'}"]
    return _unhealthy(now)


def _write_witnesses(host: Host, instance: Instance, own: Mapping[str, str | None], found: Before) -> None:
    """A service wrote in every way, unless the role would drop keys for it; what is refused is no witness."""
    if witness.is_full(found.info):
        return
    service = instance.role.services[0]
    written = witness.of_a_gate(instance.name, secrets.token_hex(8))
    login = ("AUTH", service, own.get(service) or "")
    try:
        first, *replies = exchange(host, instance.address, instance.role.port, [login, *witness.writes(written)])
    except ExchangeError:
        return  # the gate after the restart asks for the same login, and says what is wrong with it
    if not isinstance(first, ReplyError):
        found.witnesses, found.at = witness.acknowledged(written, replies), time.monotonic()


def not_replayable(state: State, host: Host, instances: Sequence[Instance]) -> list[str]:
    """Of each instance whose next start would drop what transactions and scripts wrote, what to do."""
    files = {acl_file(instance.name): instance.name for instance in instances}
    command = f"grep -LsxF {shlex.quote(DEFAULT_LINE)} {' '.join(map(shlex.quote, files))} || true"
    known, output = run_command(state, host, command)
    lacking = output.split() if known else list(files)
    return [
        f"{files[path]}: {path} lacks the line {DEFAULT_LINE!r}, a start would drop what transactions and scripts "
        "wrote: deploy again, which writes it first"
        for path in lacking
        if path in files
    ]


def said_while_loading(state: State, host: Host, instance: Instance) -> list[str]:
    """The lines of its journal that tell of writes the instance skipped or cut off when it started."""
    return load_faults(said_since_start(state, host, [instance.unit]).get(instance.unit, ()))


def words_for(faults: Sequence[str], problems: Sequence[str], was: Before | None) -> str:
    """What is wrong with a start that has not loaded all of its data, and what to do."""
    more = f" (and {len(faults) - 1} more such lines in its journal)" if len(faults) > 1 else ""
    cut = "".join(f"; {text}" for text in cut_tails(faults, was.sizes if was else {}))
    found = "; ".join(problems) or "it runs and serves"
    return (
        f"has not loaded all of its data, it said: {faults[0]!r}{more}{cut}; {found}; not rolled back, which would "
        "load the same, and no other is restarted: README, Writes that a start skipped"
    )


def after(
    host: Host, instance: Instance, passwords: Passwords, was: Before | None, previously: Server | None = None
) -> list[str]:
    """What is wrong with an instance that has been started: silent, unhealthy, not serving, or short of keys.

    The witnesses in `was` are read and removed. `previously`: it runs as it did before this deploy, at the address and
    port and with the log it had then.
    """
    own = passwords[instance.name]
    where = previously.endpoint if previously else (instance.address, instance.role.port)
    info = wait_until_calm(host, instance, own.get(OPERATOR) or "", where)
    if info is None:
        return ["does not answer its operator after the start"]
    if is_busy(info):
        return [f"still loads, saves or rewrites {PATIENCE:.0f} s after the start"]
    wanted = previously.config.get("appendonly") == "yes" if previously else instance.role.appendonly
    enabled = "1" if wanted else "0"
    problems = _unhealthy(info)
    if info.get("aof_enabled", enabled) != enabled:
        problems.append(f"aof_enabled is {info['aof_enabled']}, expected {enabled}")
    service = instance.role.services[0]
    witnesses = was.witnesses if was else []
    ask = [("PING",), *witness.reads(witnesses)]
    answer, replies = _as_service(host, where, (service, own.get(service) or ""), [*ask, *_removing(witnesses)])
    if answer != "PONG":
        problems.append(f"PING of {service} is answered {answer}, expected PONG")
    if was is None:
        return problems
    lost = witness.gone(witnesses, replies) if replies else []
    if witness.can_be_judged(info, time.monotonic() - was.at):
        problems += witness.in_words(lost, witnesses)
    if replies:
        was.witnesses = []
    return problems + _lost_keys(was.info, info, len(witness.keys([item for item in witnesses if item not in lost])))


def _unhealthy(info: Info) -> list[str]:
    return [
        f"{name} is {info[name]}, expected ok: free disk space, look at the journal of the unit"
        for name in ("aof_last_write_status", "aof_last_bgrewrite_status")
        if info.get(name, "ok") != "ok"
    ]


def _removing(witnesses: Sequence[Witness]) -> list[tuple[str, ...]]:
    return [("UNLINK", *witness.keys(witnesses))] if witnesses else []


def _as_service(
    host: Host, where: Endpoint, login: tuple[str, str], commands: Sequence[tuple[str, ...]]
) -> tuple[str, list[Reply]]:
    """What the first of a service's commands was answered, and the other replies; none when it is not let in."""
    try:
        first, *replies = exchange(host, *where, [("AUTH", *login), *commands])
    except ExchangeError as error:
        return str(error), []
    return (str(first), []) if isinstance(first, ReplyError) else (str(replies[0]), replies[1:])


def wait_until_calm(host: Host, instance: Instance, password: str, where: Endpoint | None = None) -> Info | None:
    """INFO of an instance once it neither loads, saves nor rewrites; None when it does not let us in."""
    began = time.monotonic()
    next_word = began + 2
    while True:
        info = read_info(host, where or (instance.address, instance.role.port), password)
        now = time.monotonic()
        if info is None or not is_busy(info) or now > began + PATIENCE:
            return info
        if now > next_word:
            host.log_styled(f"{instance.name}: loads, saves or rewrites its data, waiting", fg="yellow")
            next_word = now + 30
        time.sleep(POLL)


def is_busy(info: Info) -> bool:
    """Whether a load, a save or a rewrite is under way."""
    signs = ("loading", "rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
    return any(info.get(name, "0") != "0" for name in signs)


def read_info(host: Host, where: Endpoint, password: str) -> Info | None:
    """INFO of an instance as a mapping; None when it cannot be had."""
    commands = [("AUTH", OPERATOR, password), ("INFO", "everything")]
    try:
        replies = exchange(host, *where, commands)
    except ExchangeError:
        return None
    if any(isinstance(reply, ReplyError) for reply in replies):
        return None
    return info_fields(replies[1])


def _lost_keys(was: Info, now: Info, own: int = 0) -> list[str]:
    """Fewer keys than before the restart, and neither expiry nor eviction nor a client explains it.

    `own`: witnesses among the keys there are now; there were none when the others were counted.
    """
    if any(f"cmdstat_{name}" in now for name in REMOVING):
        return []
    had, could_expire = count_keys(was)
    has = count_keys(now)[0] - own
    if has >= had - could_expire - int(now.get("evicted_keys", "0")):
        return []
    return [f"had {had} keys ({could_expire} with a TTL) before the restart and has {has}: stop and read its journal"]

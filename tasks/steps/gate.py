"""The gate around a restart: what must hold of an instance before it may stop and after it has come up again."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import DEFAULT_LINE, OPERATOR
from tasks.catalogue.roles import Role
from tasks.compare.databases import are_fewer, left_out
from tasks.compare.restarts import keeps_on_disk, restart_refusals, unhealthy
from tasks.compare.server import keeps_log
from tasks.compare.unknown import way_out
from tasks.desired.host import Instance, Passwords
from tasks.desired.paths import acl_file, data_directory, manifest_file, snapshot_file
from tasks.observed.bounds import PASSING, PATIENCE
from tasks.observed.connection import run_command
from tasks.observed.exchange import ExchangeError, Reply, ReplyError, info_fields
from tasks.observed.own_server import Endpoint, Login, exchange_as
from tasks.observed.refusal import Cause, Refusal, refusal
from tasks.observed.state import Server, count_keys
from tasks.steps import witness
from tasks.steps.witness import Witness

POLL = 0.1  # seconds between two looks, at first
LONGEST_POLL = 1.0  # and later: each is a command on the host, too
SPARE_DISK = 64 << 20  # bytes beside the snapshot that a server with save points writes when it stops

Info = Mapping[str, str]

NOT_THERE = (Cause.CLOSED, Cause.NOT_ITS_OWN)  # nothing of the instance listens where it is spoken to

# Commands that can take keys away, as commandstats names them: what they did is not lost.
REMOVING = (
    *("del", "unlink", "getdel", "rename", "renamenx", "move", "expire", "pexpire", "expireat", "pexpireat"),
    *("spop", "srem", "lpop", "rpop", "lmpop", "ltrim", "lrem", "zpopmin", "zpopmax", "zmpop", "zrem", "hdel"),
    *("smove", "lmove", "rpoplpush", "blpop", "brpop", "xdel", "flushdb", "flushall", "eval", "evalsha", "fcall"),
)


@dataclass
class Before:
    """What an instance had right before it was stopped: its INFO, and the witnesses in it."""

    info: Info
    witnesses: list[Witness] = field(default_factory=list)  # those that were acknowledged and not read back yet
    at: float = 0.0  # when they were written, on a clock that only goes forward


def before(
    state: State,
    host: Host,
    instance: Instance,
    own: Mapping[str, str | None],
    previously: Server | None,
    cured: Callable[[Refusal], bool],
) -> tuple[Before | None, list[str]]:
    """What an instance has that may be stopped now, and what forbids to stop it.

    No save or rewrite is under way, its keys are on disk or will be, its log is whole and writable, speaks of no
    database that the next start has not, and the disk holds what it writes when it stops. Nobody restarts what could
    not be looked at: None only where the refusal is what a restart `cured`. `own`: passwords by user; `previously`:
    what it said before this deploy.
    """
    info = wait_until_calm(host, instance, own.get(OPERATOR) or "")
    if isinstance(info, Refusal) and not cured(info):
        return None, [f"it cannot be looked at: {info}: {way_out(instance, info)}"]
    problems = [*not_replayable(state, host, [instance]), *_skipped_before(instance, previously)]
    looked = run_command(state, host, before_script(instance.role))
    words = looked.stdout.split()
    if "looked" not in words or not words[0].isdecimal():
        return None, [*problems, f"its host cannot be looked at: {looked.output or 'no answer'}: deploy again"]
    problems += _about_files(instance.role, words)
    if isinstance(info, Refusal):
        return None, problems
    if is_busy(info):
        problems.append(f"still loads, saves or rewrites after {PATIENCE:.0f} s: wait for it and deploy again")
    problems += [*restart_refusals(instance.role, info), *_too_full(info, int(words[0]) * 1024)]
    if not problems and previously is not None and are_fewer(instance, previously):
        problems += _forget_other_databases(host, instance, own.get(OPERATOR) or "", info)
    found = Before(info)
    if not problems and keeps_on_disk(instance.role):
        _write_witnesses(host, instance, own, found)
    return found, problems


def _about_files(role: Role, words: Collection[str]) -> list[str]:
    """What forbids a stop of all that before_script printed."""
    problems = []
    if "blocked" in words:
        file = snapshot_file(role)
        problems.append(f"{file} is a directory, where it would save as it stops, and not stop: move it away")
    if role.appendonly and "manifest" not in words:
        problems.append(f"{manifest_file(role)} is missing, a restart would begin empty: bring it back first")
    return problems


def _skipped_before(instance: Instance, previously: Server | None) -> list[str]:
    """Nobody merges old writes into new ones unasked: a counter, a lock or a list may then say what never was."""
    if previously is None or not keeps_log(instance, previously):
        return []
    return [
        "its log has writes that its start skipped, and a restart would put them before all that was written since: "
        "restart it by hand if that is wanted (README, Writes that a start skipped), or give them up by accept_loss"
    ]


def before_script(role: Role) -> str:
    """Shell that prints the KiB free for the role's data, `manifest` if its log has one, and `looked` last. Pure.

    `blocked`, too, where a directory lies under the name of its snapshot.
    """
    free = f"df -k --output=avail {data_directory(role.name)} | tail -n 1"
    log = f"if test -s {manifest_file(role)}; then echo manifest; fi"
    return f"{free} && {log} && if test -d {snapshot_file(role)}; then echo blocked; fi && echo looked"


def _forget_other_databases(host: Host, instance: Instance, password: str, info: Info) -> list[str]:
    """The log speaks only of databases that the next start has: it is written anew, from a server with none beyond."""
    if found := left_out(instance, info):
        return [f"{', '.join(found)} in use, and databases is to be {instance.role.databases}: move those keys first"]
    return write_log_anew(host, instance, password) if info.get("aof_enabled") == "1" else []


def write_log_anew(host: Host, instance: Instance, password: str) -> list[str]:
    """The log holds what the server has, and nothing else: a rewrite has begun after this call and ended well."""
    where = instance.where
    try:
        login, replies = exchange_as(host, instance.unit, where, (OPERATOR, password), [("BGREWRITEAOF",)])
    except ExchangeError as error:
        return [f"its log was not written anew: {error}"]
    refused = [str(reply) for reply in (login, *replies) if isinstance(reply, ReplyError)]
    info = refused or wait_until_calm(host, instance, password)
    if not isinstance(info, Mapping) or is_busy(info):
        why = info if isinstance(info, Refusal) else ", ".join(refused) or "not in time"
        return [f"its log was not written anew: {why}: deploy again"]
    return unhealthy(info)


def _write_witnesses(host: Host, instance: Instance, own: Mapping[str, str | None], found: Before) -> None:
    """A service wrote in every way it may, unless the role would drop keys for it; what is refused is no witness."""
    if witness.is_full(found.info):
        return
    where = instance.where
    service, written = witness.of_a_service(instance.role, witness.of_a_gate(instance.name, secrets.token_hex(8)))
    try:
        login = service, own.get(service) or ""
        first, replies = exchange_as(host, instance.unit, where, login, witness.writes(written))
    except ExchangeError:
        return  # the gate after the restart asks for the same login, and says what is wrong with it
    if not isinstance(first, ReplyError):
        found.witnesses, found.at = witness.acknowledged(written, replies), time.monotonic()


def _too_full(info: Info, free: int) -> list[str]:
    needed = int(info.get("used_memory", "0")) + SPARE_DISK
    if free >= needed:
        return []
    return [f"the disk has {free >> 20} MiB free, stopping safely may take {needed >> 20} MiB: free space"]


def not_replayable(state: State, host: Host, instances: Sequence[Instance]) -> list[str]:
    """Of each instance whose next start would drop what transactions and scripts wrote, what to do."""
    files = {acl_file(instance.name): instance.name for instance in instances}
    command = f"grep -LsxF {shlex.quote(DEFAULT_LINE)} {' '.join(map(shlex.quote, files))} || true"
    known = run_command(state, host, command)
    lacking = known.stdout.split() if known.succeeded else list(files)
    return [
        f"{files[path]}: {path} lacks the line {DEFAULT_LINE!r}, a start would drop what transactions and scripts "
        "wrote: deploy again, which writes it first"
        for path in lacking
        if path in files
    ]


def after(
    host: Host, instance: Instance, passwords: Passwords, was: Before | None, previously: Server | None = None
) -> list[str] | Refusal:
    """What is wrong with an instance that has been started: unhealthy, not serving, or short of keys.

    A Refusal when it runs and does not let itself be looked at, which says nothing against it. The witnesses in `was`
    are read and removed.

    `previously`: it runs as it did before this deploy, at the address and port and with the log it had then.
    """
    own = passwords[instance.name]
    where = previously.endpoint if previously else instance.where
    info = wait_until_calm(host, instance, own.get(OPERATOR) or "", where)
    if isinstance(info, Refusal):
        return ["nothing of it listens after the start"] if info.cause in NOT_THERE else info
    if is_busy(info):
        return [f"still loads, saves or rewrites {PATIENCE:.0f} s after the start"]
    wanted = previously.config.get("appendonly") == "yes" if previously else instance.role.appendonly
    enabled = "1" if wanted else "0"
    problems = unhealthy(info)
    if info.get("aof_enabled", enabled) != enabled:
        problems.append(f"aof_enabled is {info['aof_enabled']}, expected {enabled}")
    if instance.is_standby:  # it answers no service until it is in sync, and has what its primary has
        return problems + _not_linked(host, instance, own.get(OPERATOR) or "")
    service, _ = witness.of_a_service(instance.role, witness.of_a_gate(instance.name, ""))
    witnesses = was.witnesses if was else []
    asked = [("PING",), *witness.reads(witnesses), *witness.removing(witnesses)]
    answer, replies = _as_service(host, instance, where, (service, own.get(service) or ""), asked)
    if answer != "PONG":
        problems.append(f"PING of {service} is answered {answer}, expected PONG")
    return problems + (_lost(was, info, replies) if was else [])


LINK = 30.0  # seconds for a standby that was started to be in sync; while it copies, it is on its way


def _not_linked(host: Host, instance: Instance, password: str) -> list[str]:
    """Why a standby that was started does not follow its primary; empty when it does."""
    began = time.monotonic()
    while True:
        info = read_info(host, instance, password)
        known = {} if isinstance(info, Refusal) else info
        if known.get("role") == "slave" and known.get("master_link_status") == "up":
            return []
        is_copying = known.get("master_sync_in_progress") == "1" or is_busy(known)
        now = time.monotonic()
        if now > began + (PATIENCE if is_copying else LINK):
            return [f"it does not follow its primary {now - began:.0f} s after the start: see the journal of its unit"]
        time.sleep(POLL)


def _as_service(
    host: Host, instance: Instance, where: Endpoint, login: Login, commands: Sequence[tuple[str, ...]]
) -> tuple[str, list[Reply]]:
    """What the first of a service's commands was answered, and the other replies; none when it is not let in."""
    try:
        first, replies = exchange_as(host, instance.unit, where, login, commands)
    except ExchangeError as error:
        return str(error), []
    return (str(first), []) if isinstance(first, ReplyError) else (str(replies[0]), replies[1:])


def _lost(was: Before, info: Info, replies: Sequence[Reply]) -> list[str]:
    """What of the data before the restart is not there, and nothing explains it. `replies`: those about witnesses."""
    witnesses, was.witnesses = was.witnesses, [] if replies else was.witnesses
    gone = witness.gone(witnesses, replies) if replies else []
    there = [item for item in witnesses if item not in gone]
    judged = gone if witness.can_be_judged(info, time.monotonic() - was.at) else []
    return [*witness.in_words(judged, witnesses), *_lost_keys(was.info, info, len(witness.keys(there)))]


def wait_until_calm(host: Host, instance: Instance, password: str, where: Endpoint | None = None) -> Info | Refusal:
    """INFO of an instance once it neither loads, saves nor rewrites, or why it does not say."""
    began = time.monotonic()
    next_word = began + 2
    while True:
        info = read_info(host, instance, password, where)
        now = time.monotonic()
        if now > began + (_patience(info) if isinstance(info, Refusal) else PATIENCE * is_busy(info)):
            return info
        if now > next_word:
            what = str(info) if isinstance(info, Refusal) else "loads, saves or rewrites its data"
            host.log_styled(f"{instance.name}: {what}: waiting", fg="yellow")
            next_word = now + 30
        time.sleep(min(max(POLL, now - began), LONGEST_POLL))


def _patience(refusal: Refusal) -> float:
    """Seconds until a refusal is taken for lasting."""
    if refusal.cause is Cause.LOADING:
        return PATIENCE
    return PASSING if refusal.cause in (Cause.BUSY, Cause.MAXCLIENTS, Cause.SILENT, Cause.BROKEN) else 0


def is_busy(info: Info) -> bool:
    """Whether a load, a save or a rewrite is under way."""
    signs = ("loading", "rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
    return any(info.get(name, "0") != "0" for name in signs)


def read_info(host: Host, instance: Instance, password: str, where: Endpoint | None = None) -> Info | Refusal:
    """INFO of an instance as a mapping, or why it cannot be had; `where` if not at its own address and port."""
    where = where or instance.where
    try:
        login, replies = exchange_as(host, instance.unit, where, (OPERATOR, password), [("INFO", "everything")])
        refused = [reply for reply in (login, *replies) if isinstance(reply, ReplyError)]
        return refusal(refused[0]) if refused else info_fields(replies[0])
    except ExchangeError as error:
        return error.refusal


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

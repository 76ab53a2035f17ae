"""Drills for throw-away hosts: kill every server, fill it to its limit, reboot the machine; nothing may be lost.

They cut clients off and fill memory, so they run only where host data says `redis_rehearsal = True`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import OPERATOR, RESERVED_PREFIX
from tasks.desired.host import Instance, Passwords
from tasks.observed.bounds import BACK_PATIENCE
from tasks.observed.connection import reconnect, run_command
from tasks.observed.exchange import ExchangeError, Reply, ReplyError, info_fields
from tasks.observed.own_server import exchange_as
from tasks.run.survey import Look
from tasks.steps import witness

KEYS = 500  # plain keys per instance; a tenth as many in every other way
FILLER = "x" * 4096  # bytes per key when an instance is filled
ROOM = 2 << 20  # bytes an instance may grow by while it is filled
FILLS = 2000  # writes of FILLER: four times ROOM


class DrillFailed(Exception):
    """What was expected after a drill, and what was found."""


def ask(host: Host, instance: Instance, passwords: Passwords, user: str, *commands: Sequence[str]) -> list[Reply]:
    """Replies to `commands` of a user logged in to an instance. Raises DrillFailed when the login is refused."""
    login, where = (user, passwords[instance.name].get(user) or ""), (instance.address, instance.role.port)
    try:
        first, replies = exchange_as(host, instance.unit, where, login, commands)
    except ExchangeError as error:
        raise DrillFailed(f"{instance.name}: {error}") from error
    if isinstance(first, ReplyError):
        raise DrillFailed(f"{instance.name}: {user} logs in: {first}")
    return replies


WITNESSES = witness.of_a_drill(KEYS)


def write_witnesses(host: Host, instance: Instance, passwords: Passwords) -> None:
    """A service of the role wrote in every way in which it may, each write acknowledged."""
    service, witnesses = witness.of_a_service(instance.role, WITNESSES)
    replies = ask(host, instance, passwords, service, *witness.writes(witnesses))
    taken = witness.acknowledged(witnesses, replies)
    if refused := [item for item in witnesses if item not in taken]:
        many = f"{len(refused)} of {len(witnesses)} writes were refused"
        raise DrillFailed(f"{instance.name}: {many}, the first made {refused[0].what}")


def read_witnesses(host: Host, instance: Instance, passwords: Passwords) -> None:
    """All that was written is there."""
    service, witnesses = witness.of_a_service(instance.role, WITNESSES)
    replies = ask(host, instance, passwords, service, *witness.reads(witnesses))
    if lost := witness.gone(witnesses, replies):
        raise DrillFailed(f"{instance.name}: {'; '.join(witness.in_words(lost, witnesses))}")


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    """Return when `condition` holds; DrillFailed after BACK_PATIENCE."""
    deadline = time.monotonic() + BACK_PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise DrillFailed(f"{what}: not within {BACK_PATIENCE:.0f} s")
        time.sleep(0.5)


def answers(host: Host, instance: Instance, passwords: Passwords) -> bool:
    """Whether a service gets an answer from a loaded server."""
    try:
        return ask(host, instance, passwords, instance.role.services[0], ("PING",)) == ["PONG"]
    except DrillFailed:
        return False


def kill_servers(state: State, host: Host, seen: Look) -> None:
    """Each server is killed without warning and comes back by itself with every acknowledged key."""
    for instance in seen.desired.instances:
        write_witnesses(host, instance, seen.passwords)
        killed = run_command(state, host, f"systemctl kill --signal=KILL {instance.unit}")
        if not killed.succeeded:
            raise DrillFailed(f"{instance.name}: cannot be killed: {killed.output}")
        wait_for(f"{instance.name} comes back", lambda one=instance: answers(host, one, seen.passwords))  # type: ignore[misc]
        read_witnesses(host, instance, seen.passwords)
        _, witnesses = witness.of_a_service(instance.role, WITNESSES)
        say(host, f"{instance.name}: killed, came back by itself with all {len(witnesses)} acknowledged writes")


def fill_servers(state: State, host: Host, seen: Look) -> None:
    """Each server is written over its limit and does what its policy promises."""
    for instance in seen.desired.instances:
        if not instance.role.rights_of(_writer(instance)).may("set"):
            say(host, f"{instance.name}: not filled, none of its services may write")
            continue
        info = info_fields(ask(host, instance, seen.passwords, OPERATOR, ("INFO", "memory"))[0])
        limit = str(int(info["used_memory"]) + ROOM)
        ask(host, instance, seen.passwords, OPERATOR, ("CONFIG", "SET", "maxmemory", limit))
        try:
            refused = fill(host, instance, seen.passwords)
        finally:
            restore = ("CONFIG", "SET", "maxmemory", str(instance.role.maxmemory))
            ask(host, instance, seen.passwords, OPERATOR, restore)
        judge_fill(host, instance, seen.passwords, refused)


def fill(host: Host, instance: Instance, passwords: Passwords) -> int:
    """Write FILLS keys with a TTL in batches; how many were refused for want of memory."""
    refused = 0
    for start in range(0, FILLS, 200):
        names = [f"{RESERVED_PREFIX}fill:{number}" for number in range(start, start + 200)]
        commands = [("SET", name, FILLER, "EX", "600") for name in names]
        replies = ask(host, instance, passwords, _writer(instance), *commands)
        refused += sum(str(reply).startswith("OOM") for reply in replies)
    return refused


def _writer(instance: Instance) -> str:
    """The service that a drill writes as: one that may, if there is one."""
    return max(instance.role.services, key=lambda service: instance.role.rights_of(service).may("set"))


def judge_fill(host: Host, instance: Instance, passwords: Passwords, refused: int) -> None:
    """noeviction refuses and loses nothing; the others take every write and evict; then the filling is removed."""
    policy = instance.role.maxmemory_policy
    fillers = [f"{RESERVED_PREFIX}fill:{number}" for number in range(FILLS)]
    (there,) = ask(host, instance, passwords, OPERATOR, ("EXISTS", *fillers))
    ask(host, instance, passwords, OPERATOR, ("UNLINK", *fillers))
    if policy == "noeviction":
        if not refused or there != FILLS - refused:
            raise DrillFailed(f"{instance.name}: {FILLS} writes over the limit: {refused} refused, {there} kept")
        read_witnesses(host, instance, passwords)
        say(host, f"{instance.name}: full, refused {refused} writes and kept every key ({policy})")
        return
    if refused or there == FILLS:
        raise DrillFailed(f"{instance.name}: {FILLS} writes over the limit: {refused} refused, {there} kept")
    if policy.startswith("volatile"):
        read_witnesses(host, instance, passwords)  # they have no TTL
    say(host, f"{instance.name}: full, took every write and evicted {FILLS - int(str(there))} ({policy})")


def reboot(state: State, host: Host, seen: Look) -> None:
    """The machine is rebooted and everything on it comes back by itself, with every key."""
    for instance in seen.desired.instances:
        write_witnesses(host, instance, seen.passwords)
    before = boot_id(state, host)
    run_command(state, host, "systemctl reboot")
    wait_for("the host comes back", lambda: came_back(state, host, before))
    for instance in seen.desired.instances:
        wait_for(f"{instance.name} comes back", lambda one=instance: answers(host, one, seen.passwords))  # type: ignore[misc]
        read_witnesses(host, instance, seen.passwords)
        ask(host, instance, seen.passwords, OPERATOR, ("UNLINK", *witness.keys(WITNESSES)))
    say(host, "rebooted, every role came back by itself with all its keys")


def boot_id(state: State, host: Host) -> str:
    """The kernel's name for this boot; empty when the host does not answer."""
    try:
        found = run_command(state, host, "cat /proc/sys/kernel/random/boot_id")
    except Exception:  # a connection that breaks during a reboot breaks in many ways
        return ""
    return found.stdout.strip()


def came_back(state: State, host: Host, before: str) -> bool:
    """Whether the host can be reached again in another boot."""
    return reconnect(host) and boot_id(state, host) not in ("", before)


def say(host: Host, text: str) -> None:
    """One line of progress."""
    logger.info(f"{host.print_prefix}{text}")


def drill(state: State, host: Host, seen: Look, exercise: Callable[[State, Host, Look], None]) -> bool:
    """Whether `exercise` went as promised; what did not is said in words."""
    try:
        exercise(state, host, seen)
    except DrillFailed as error:
        host.log_styled(str(error), fg="red", log_func=logger.error)
        return False
    return True

"""Move: a role's data comes along to its new host: a copy that follows the old server, and then serves in its place.

Until the handover whatever fails leaves the old server as it was, and the copy is discarded. It ends last (retire.py).
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import OPERATOR, REPLICATION, REPLICATION_RULES, SAMPLE_RULES
from tasks.catalogue.secret import Secret, revealed
from tasks.compare.moving import Move, of_moves
from tasks.desired.host import Instance
from tasks.desired.paths import (
    begun_file,
    config_file,
    copy_drop_in,
    copy_file,
    manifest_file,
    unit_name,
    user_name,
)
from tasks.observed.bounds import CHANGE, PATIENCE
from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.run.session import current
from tasks.run.survey import Look
from tasks.steps.gate import is_busy
from tasks.steps.handover import MoveFailed, Side, hand_over, settle, taking_over, wait_until_over, wait_until_settled
from tasks.steps.lives import carry_life
from tasks.steps.operations import call, file_command
from tasks.steps.retire import Proofs, forget_moves, purge_command
from tasks.steps.sample import differing_keys

POLL = 0.3  # seconds between two looks at a copy
TRIES = 3  # of a copy to get the whole data, after the first
BACK = 20.0  # seconds for an old server that died amid a move to answer again, before it is left to the next deploy
NO_LINK = 30.0  # seconds after which a copy that has not reached its server is given up
HELD_BACK = 30.0  # seconds between two words about a copy that is made


@dataclass
class Moves:
    """The roles that move in this run, and what was seen of their new hosts."""

    due: list[Move] = field(default_factory=list)
    seen: dict[str, Look] = field(default_factory=dict, repr=False)

    def to(self, name: str) -> list[Move]:
        """Those that come to a host."""
        return [item for item in self.due if item.target == name]


def before_the_move(state: State, seen: Look) -> Look:
    """`seen` without the start of roles that move: they have nothing to start with, and the move starts them."""
    moving = current(state).kept(Moves)
    due = moving.to(seen.desired.name)
    moving.seen[seen.desired.name] = seen
    return replace(seen, differences=of_moves(seen.differences, due)) if due else seen


def discard_copies(state: State, seen: Look) -> None:
    """Nothing is left of a copy whose move was cut off, unless it serves."""
    if any(item.again and not item.handed_over for item in current(state).kept(Moves).to(seen.desired.name)):
        call(name="Discard copies that were cut off", function=_discard_all)


def move_roles(state: State, seen: Look) -> None:
    """The roles that come to this host have their data and serve; their old servers serve nobody any more."""
    if current(state).kept(Moves).to(seen.desired.name):
        call(name="Move roles with their data", function=_move_all)


def _discard_all(state: State, host: Host) -> bool:
    due = current(state).kept(Moves).to(host.name)
    done = [_kept_to(host, move, partial(_discard_unless_it_serves, state, move)) for move in due if move.again]
    return all(done)


def _discard_unless_it_serves(state: State, move: Move) -> None:
    old, new = _sides(state, move)
    wait_until_over(move, old)
    if old.info().get("role") != "master":
        raise MoveFailed("the old server follows another one meanwhile: deploy again")
    _discard(new)


def _move_all(state: State, host: Host) -> bool:
    due = current(state).kept(Moves).to(host.name)
    done = [_kept_to(host, move, partial(_move, state, move)) for move in due]  # one that fails keeps no other back
    return all(done)


def _kept_to(host: Host, move: Move, action: Callable[[], None]) -> bool:
    """Whether it was done; what failed is said of its role."""
    try:
        action()
    except MoveFailed as error:
        host.log_styled(f"{move.role}: not moved: {error}", fg="red", log_func=logger.error)
        return False
    return True


def _sides(state: State, move: Move) -> tuple[Side, Side]:
    """The old server and the new one. Raises MoveFailed when this run has lost a host."""
    hosts = {item.name: item for item in state.active_hosts}
    lost = [name for name in (move.source, move.target) if name not in hosts]
    if lost:
        raise MoveFailed(f"{', '.join(lost)} failed before: mend that and deploy again")
    passwords = current(state).tier.passwords
    old, new = (
        Side(state, hosts[name], move.role, where, passwords[name].get(move.role, {}).get(OPERATOR) or "")
        for name, where in ((move.source, move.where), (move.target, move.to))
    )
    return old, new


def _move(state: State, move: Move) -> None:
    """One role moves. Raises MoveFailed in words that say who serves it now."""
    old, new = _sides(state, move)
    wait_until_over(move, old)
    instance = _instance(state, move)
    password = Secret(secrets.token_hex(32), ())
    if move.handed_over:
        settle(move, old, new, password)
        wait_until_settled(move, new)
    else:
        said = _copied_and_handed_over(move, instance, old, new, password)
        new.host.log_styled(f"{move.role}: moved from {move.source}: {said}", fg="green")
    current(state).kept(Proofs).moved.add(move.role)
    new.forget()
    backups = current(state).tier.hosts[move.target].backups
    carry_life(state, old.host, new.host, next((plan for plan in backups if plan.role.name == move.role), None))
    _record(state, move)


def _copied_and_handed_over(move: Move, instance: Instance, old: Side, new: Side, password: str) -> str:
    """How long its writers waited. Raises MoveFailed when the old server serves on; the copy is discarded then."""
    try:
        _begin(move, instance, old, new)
        _wait_for_copy(move, instance, old, new)
        # What came over the network lies under its snapshot's name, and is none that it saved.
        new.ask(("BGSAVE",))
        _wait_for_copy(move, instance, old, new)
        _compare(old, new)
        return hand_over(move, old, new, password)
    except MoveFailed as error:
        raise MoveFailed(f"{error}: {_undone(move, old, new)}") from error


def _undone(move: Move, old: Side, new: Side) -> str:
    """In words, who serves the role after a move that failed; a copy that never served is discarded."""
    try:
        wait_until_over(move, old)
        if _back(old).get("role") != "master":
            return f"{move.source} serves it no more, and {move.target} is not known to: nobody may: deploy again"
        _discard(new)
        old.forget()
    except MoveFailed as error:
        return f"what is left of it is not undone ({error}): deploy again"
    return f"{move.source} serves it as before, and the copy on {move.target} is discarded: mend that and deploy again"


def _back(old: Side) -> Mapping[str, str]:
    """What the old server says of itself; one that has just died is started again by systemd. Raises MoveFailed."""
    deadline = time.monotonic() + BACK
    while True:
        try:
            return old.info()
        except MoveFailed:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL)


def _begin(move: Move, instance: Instance, old: Side, new: Side) -> None:
    """A copy follows the old server, by a password that is made for it."""
    password = Secret(secrets.token_hex(32), ())
    old.allow(REPLICATION_RULES, password)
    text = copy_text(move, password)
    command = script(
        "start-copy",
        unit=instance.unit,
        drop_in=copy_drop_in(move.role),
        copy=copy_file(move.role),
        group=user_name(move.role),
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )
    done = run_command(new.state, new.host, command, text, CHANGE)
    if not done.succeeded:
        raise MoveFailed(
            f"{move.target}: the copy does not start: {done.output.strip() or 'see the journal of its unit'}"
        )


def copy_text(move: Move, password: str) -> str:
    """What a copy is started from. Pure."""
    address, port = move.where
    return (
        f"# A copy of {move.role} on {move.source}, until it serves itself: then this file goes.\n"
        f"include {config_file(move.role)}\nreplicaof {address} {port}\n"
        f'masteruser {REPLICATION}\nmasterauth "{revealed(password)}"\n'
    )


def _wait_for_copy(move: Move, instance: Instance, old: Side, new: Side) -> None:
    """The copy is in sync and all of it is on disk, where its next start looks. Raises MoveFailed when that lasts.

    One whose disk is full begins again and again, and each time the old server makes a snapshot for it.
    """
    began = linked = said = time.monotonic()
    first = _snapshots_made(old)
    while True:
        info = new.info()
        now = time.monotonic()
        if info.get("master_link_status") == "up" or info.get("master_sync_in_progress") == "1" or is_busy(info):
            linked = now
        problem = copy_problem(info, instance.role.appendonly)
        if not problem and (not instance.role.appendonly or _has_manifest(new, instance)):
            return
        if _snapshots_made(old) - first > TRIES:
            raise MoveFailed(
                f"{move.target}: the copy begins again and again: see the journal of its unit, and its disk"
            )
        if now - linked > NO_LINK or now - began > PATIENCE:
            raise MoveFailed(f"{move.target}: {problem or 'its log has no manifest'} after {now - began:.0f} s")
        if now - said > HELD_BACK:
            new.host.log_styled(f"{move.role}: {problem}: waiting", fg="yellow")
            said = now
        time.sleep(POLL)


def _snapshots_made(old: Side) -> int:
    return int(old.info().get("sync_full") or 0)


def copy_problem(info: Mapping[str, str], log: bool) -> str:
    """In words, why a copy may not be handed over to yet; empty when it may. `log`: it has to have one. Pure."""
    if info.get("role") != "slave":
        return f"its role is {info.get('role')}, expected a follower"
    if info.get("master_link_status") != "up":
        return "it has not reached the old server, or is not in sync (let the old host's networks and fences let it in)"
    if is_busy(info):
        return "it loads, saves or writes its log"
    if info.get("rdb_last_bgsave_status") != "ok":
        return "its snapshot was not written"
    if log and (info.get("aof_enabled") != "1" or info.get("aof_last_bgrewrite_status") != "ok"):
        return "its log is not written"
    return ""


def _has_manifest(new: Side, instance: Instance) -> bool:
    return run_command(new.state, new.host, f"test -s {manifest_file(instance.role)}").succeeded


def _compare(old: Side, new: Side) -> None:
    """What both hold under some keys is the same. Raises MoveFailed when it is not."""
    password = Secret(secrets.token_hex(32), ())
    # The copy's own login stays: a password more is one that the copy's connection does not need.
    for side in (old, new):
        digest = hashlib.sha256(revealed(password).encode()).hexdigest()
        side.ask(("ACL", "SETUSER", REPLICATION, "on", f"#{digest}", *SAMPLE_RULES.split()))
    wrong, asked = differing_keys(
        lambda *commands: old.ask(*commands, user=REPLICATION, password=password),
        lambda *commands: new.ask(*commands, user=REPLICATION, password=password),
    )
    if wrong:
        raise MoveFailed(
            f"{new.host.name}: {wrong} of {asked} keys that were compared differ from those of the old server"
        )


def _discard(new: Side) -> None:
    """Nothing is left of a copy that never served. Raises MoveFailed when something is, or when it serves."""
    role = new.role
    try:
        says = new.info().get("role")
    except MoveFailed:  # it was never a server
        says = ""
    if says == "master":
        raise MoveFailed(f"{new.host.name}: the copy says that it serves, expected a follower: it is left as it is")
    commands = [
        f"systemctl stop {taking_over(role)} 2>/dev/null; timeout {PATIENCE:.0f} systemctl stop {unit_name(role)}",
        purge_command(role),
        forget_moves(role),
    ]
    for command in commands:
        done = run_command(new.state, new.host, command, bound=CHANGE)
        if not done.succeeded:
            raise MoveFailed(f"{new.host.name}: the copy is not discarded: {done.output}")


def _record(state: State, move: Move) -> None:
    """It is written on the new host that the role has run there. Raises MoveFailed when that cannot be."""
    seen = current(state).kept(Moves).seen[move.target]
    hosts = {item.name: item for item in state.active_hosts}
    for file in seen.desired.files:
        if file.path == begun_file(move.role):
            done = run_command(state, hosts[move.target], file_command(file).get_raw_value(), file.content)
            if not done.succeeded:
                raise MoveFailed(f"it serves on {move.target}, and {file.path} cannot be written: {done.output}")


def _instance(state: State, move: Move) -> Instance:
    desired = current(state).tier.hosts[move.target]
    return next(item for item in desired.instances if item.name == move.role)

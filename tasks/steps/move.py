"""Move: a role's data comes along to its new host: a copy that follows the old server, and then serves in its place.

Until the handover whatever fails leaves the old server as it was, and the copy is discarded. It ends last (retire.py).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import OPERATOR, REPLICATION, REPLICATION_RULES, SAMPLE_RULES
from tasks.catalogue.printable import printable
from tasks.catalogue.roles import Role
from tasks.catalogue.secret import Secret, revealed
from tasks.compare.moving import Move, of_moves
from tasks.desired.host import Instance
from tasks.desired.paths import (
    REPLACED,
    begun_file,
    config_file,
    copy_drop_in,
    copy_file,
    log_directory,
    manifest_file,
    snapshot_file,
    unit_name,
    user_name,
)
from tasks.observed.bounds import ASIDE_PATIENCE, CHANGE, PATIENCE
from tasks.observed.connection import run_command
from tasks.observed.own_server import Endpoint
from tasks.observed.script import script
from tasks.observed.tls import Trust, learn_more
from tasks.run.fault import fault
from tasks.run.session import current
from tasks.run.survey import Look
from tasks.steps.gate import is_busy
from tasks.steps.handover import (
    BACK,
    FRESH,
    POLL,
    MoveFailed,
    Note,
    Side,
    hand_over,
    meet,
    settle,
    taking_over,
    wait_until_over,
    wait_until_settled,
    within,
)
from tasks.steps.lives import carry_life
from tasks.steps.operations import call
from tasks.steps.retire import Proofs, discard_command, forget_moves
from tasks.steps.sample import differing_keys
from tasks.steps.sandbox import as_role

TRIES = 3  # of a copy to get the whole data, after the first
NO_LINK = 30.0  # seconds after which a copy that has not reached its server is given up
HELD_BACK = 30.0  # seconds between two words about a copy that is made


@dataclass
class Moves:
    """The roles that move in this run."""

    due: list[Move] = field(default_factory=list)

    def to(self, name: str) -> list[Move]:
        """Those that come to a host."""
        return [item for item in self.due if item.target == name]


def before_the_move(state: State, seen: Look) -> Look:
    """`seen` without the start of roles that move: they have nothing to start with, and the move starts them."""
    due = current(state).kept(Moves).to(seen.desired.name)
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
    if move.tls is not None:
        old, new = replace(old, sealed=True), replace(new, sealed=True)
        trusted = _trusted(state, move)
        ways = (move.where, *([(move.along.apart, move.to[1])] if move.along else []))
        learn_more(old.host, dict.fromkeys(ways, trusted[0]))
        learn_more(new.host, dict.fromkeys((move.to, move.copied_at), trusted[1]))
    if move.along is None:
        return old, new
    bound = move.along.address
    return (
        replace(old, where=move.to, also=(move.along.apart, move.to[1]), bound=bound),
        replace(new, also=move.copied_at, bound=bound),
    )


def _trusted(state: State, move: Move) -> tuple[Trust, Trust]:
    """By what the servers of a role that speaks TLS are known: the old one and the new one. Raises MoveFailed."""
    credentials = _instance(state, move).credentials
    if credentials is None or move.tls is None:
        raise MoveFailed(f"{move.role}: it is to speak TLS, and nothing is known by which: a fault of this tool")
    return Trust(credentials, True, move.tls.old), Trust(credentials, True, move.tls.new)


def _meet(move: Move, side: Side, where: Endpoint) -> None:
    """Who answers at `where`, as seen from a side, is the other one. Raises MoveFailed when it does not show that."""
    if move.tls is not None:
        old, new = _trusted(side.state, move)
        meet(side, where, new if where == move.copied_at else old)


def _move(state: State, move: Move) -> None:
    """One role moves. Raises MoveFailed in words that say who serves it now."""
    old, new = _sides(state, move)
    wait_until_over(move, old)
    instance = _instance(state, move)
    password, note = Secret(secrets.token_hex(32), ()), _note(state, move, instance.role)
    role = within(BACK, old.info).get("role")
    if role != ("slave" if move.handed_over else "master"):
        raise MoveFailed(f"{move.source}: its role is {role} meanwhile: deploy again")
    if move.handed_over:
        settle(move, instance, old, new, password, note)
        wait_until_settled(move, new, note)
    else:
        said = _copied_and_handed_over(move, instance, old, new, password, note)
        new.host.log_styled(f"{move.role}: moved from {move.source}: {said}", fg="green")
    current(state).kept(Proofs).moved.add((move.role, move.source))
    new.forget()
    backups = current(state).tier.hosts[move.target].backups
    carry_life(state, old.host, new.host, next((plan for plan in backups if plan.role.name == move.role), None))


def _copied_and_handed_over(move: Move, instance: Instance, old: Side, new: Side, password: str, note: Note) -> str:
    """How long its writers waited. Raises MoveFailed when the old server serves on; the copy is discarded then."""
    try:
        if move.aside:
            _set_aside(move, instance, new)
        _meet(move, new, move.where)
        _begin(move, instance, old, new)
        _wait_for_copy(move, instance, old, new)
        if is_persistent(instance.role):
            # What came over the network lies under its snapshot's name, and is none that it saved.
            new.ask(("BGSAVE",))
            _wait_for_copy(move, instance, old, new)
        _compare(old, new)
        _meet(move, old, move.copied_at)
        return hand_over(move, instance, old, new, password, note)
    except Exception as error:  # a fault of this tool leaves no more behind than what a host does
        why = str(error) if isinstance(error, MoveFailed) else fault(error)
        raise MoveFailed(f"{why}: {_undone(move, old, new)}") from error


def is_persistent(role: Role) -> bool:
    """Whether a role's data outlives its server: one of another role would begin with what a copy has left on disk."""
    return role.appendonly or bool(role.save)


def _undone(move: Move, old: Side, new: Side) -> str:
    """In words, who serves the role after a move that failed; a copy that never served is discarded."""
    try:
        wait_until_over(move, old)
        if within(BACK, old.info).get("role") != "master":
            return f"{move.source} serves it no more, and {move.target} is not known to: nobody may: deploy again"
    except MoveFailed as error:
        return f"who serves it is not known ({error}): deploy again"
    steps: list[Callable[[], object]] = [partial(keep_address, move, old), old.forget, partial(_discard, new)]
    left = [str(error) for error in map(_failure, steps) if error]
    if not left:  # nobody else can serve: nothing keeps the old one from its next start any more
        done = run_command(old.state, old.host, forget_moves(move.role))
        left = [] if done.succeeded else [f"{move.source}: {done.output}"]
    if left:
        return (
            f"{move.source} serves it as before, and what is left of it is not undone ({'; '.join(left)}): deploy again"
        )
    return f"{move.source} serves it as before, and the copy on {move.target} is discarded: mend that and deploy again"


def keep_address(move: Move, old: Side) -> None:
    """The address of a role that stays is kept on its host as before. Raises MoveFailed when that is not seen.

    Before the server is bound to it. A handover has let it go only when its server followed another one.
    """
    if move.along is not None:
        done = run_command(old.state, old.host, script("keep-address", unit=move.along.keeper), bound=CHANGE)
        if not done.succeeded:
            raise MoveFailed(f"{move.source}: {move.along.keeper}: {done.output.strip()}")


def _failure(step: Callable[[], object]) -> MoveFailed | None:
    try:
        step()
    except MoveFailed as error:
        return error
    return None


def _set_aside(move: Move, instance: Instance, new: Side) -> None:
    """What the role kept here from before it moved away has another name: no start finds it. Raises MoveFailed."""
    role = instance.role
    job = script(
        "set-aside",
        log=log_directory(role),
        snapshot=snapshot_file(role),
        replaced=f"{REPLACED}{datetime.now(UTC):%Y%m%d%H%M%S}",
    )
    done = run_command(new.state, new.host, as_role(instance, job, ASIDE_PATIENCE, stopped=instance.unit), bound=CHANGE)
    if not done.succeeded:
        raise MoveFailed(f"{move.target}: what was kept there is not set aside: {done.output.strip()}")
    kept = [line.removeprefix("kept ") for line in done.stdout.splitlines() if line.startswith("kept /")]
    if kept:
        words = f"what was kept here of before is set aside; when nobody needs it: rm -rf {printable(' '.join(kept))}"
        new.host.log_styled(f"{move.role}: {words}", fg="blue")


def _begin(move: Move, instance: Instance, old: Side, new: Side) -> None:
    """A copy follows the old server, by a password that is made for it."""
    password = Secret(secrets.token_hex(32), ())
    can_bring(move, new)
    old.allow(REPLICATION, REPLICATION_RULES, password)
    text = copy_text(move, password, is_persistent(instance.role))
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


def can_bring(move: Move, new: Side) -> None:
    """The new host can take the address, which is not asked for amid the handover. Raises MoveFailed when it cannot."""
    if move.along is not None:
        there = f"test -e /sys/class/net/{move.along.interface} && test -x /usr/bin/arping"
        if not run_command(new.state, new.host, there).succeeded:
            raise MoveFailed(
                f"{move.target}: {move.along.interface} or /usr/bin/arping is not there, expected both for its address"
            )


def copy_text(move: Move, password: str, persistent: bool = True) -> str:
    """What a copy is started from. Pure.

    It answers nobody with what the old server may have changed since. `persistent`: one that is not keeps nothing of
    what came over the network: its next start would load it, whatever was written since.
    """
    address, port = move.where
    bind = f"bind {move.along.own}\n" if move.along else ""
    return (
        f"# A copy of {move.role} on {move.source}, until it serves itself: then this file goes.\n"
        f"include {config_file(move.role)}\n{bind}replicaof {address} {port}\n"
        f'masteruser {REPLICATION}\nmasterauth "{revealed(password)}"\n'
        f"{' '.join(FRESH)}\n{'' if persistent else 'rdb-del-sync-files yes' + chr(10)}"
        f"{'tls-replication yes' + chr(10) if move.tls else ''}"
    )


def _wait_for_copy(move: Move, instance: Instance, old: Side, new: Side) -> None:
    """The copy is in sync and all of it is on disk, where its next start looks. Raises MoveFailed when that lasts.

    One whose disk is full begins again and again, and each time the old server makes a snapshot for it.
    """
    began = linked = said = time.monotonic()
    first = _snapshots_made(old, old.info())
    while True:
        info, there = new.info(), old.info()
        now = time.monotonic()
        if is_on_its_way(info, there):
            linked = now
        problem = copy_problem(info, instance.role.appendonly)
        if not problem and (not instance.role.appendonly or _has_manifest(new, instance)):
            return
        if _snapshots_made(old, there) - first > TRIES:
            raise MoveFailed(
                f"{move.target}: the copy begins again and again: see the journal of its unit, and its disk"
            )
        if now - linked > NO_LINK or now - began > PATIENCE:
            raise MoveFailed(f"{move.target}: {problem or 'its log has no manifest'} after {now - began:.0f} s")
        if now - said > HELD_BACK:
            new.host.log_styled(f"{move.role}: {problem}: waiting", fg="yellow")
            said = now
        time.sleep(POLL)


def is_on_its_way(new: Mapping[str, str], old: Mapping[str, str]) -> bool:
    """Whether a copy is linked, or one of both servers works: the old one saves for it behind a rewrite only. Pure."""
    linked = new.get("master_link_status") == "up" or new.get("master_sync_in_progress") == "1"
    return linked or is_busy(new) or is_busy(old)


def _snapshots_made(old: Side, info: Mapping[str, str]) -> int:
    """How often it has given its whole data to a copy. Raises MoveFailed when it does not say that in a number."""
    said = info.get("sync_full", "")
    if not (said.isascii() and said.isdecimal()):
        raise MoveFailed(f"{old.host.name}: sync_full is {printable(said)!r}, expected a number")
    return int(said)


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
    digest = hashlib.sha256(revealed(password).encode()).hexdigest()
    try:
        # The copy's own login stays: a password more is one that the copy's connection does not need.
        for side in (old, new):
            side.ask(("ACL", "SETUSER", REPLICATION, "on", f"#{digest}", *SAMPLE_RULES.split()))
        databases = sorted(name[2:] for name in old.info() if re.fullmatch("db[0-9]{1,9}", name))
        wrong, asked = differing_keys(
            lambda *commands: old.ask(*commands, user=REPLICATION, password=password),
            lambda *commands: new.ask(*commands, user=REPLICATION, password=password),
            databases,
        )
    finally:  # on both, also where one of them fails
        again = ("ACL", "SETUSER", REPLICATION, f"!{digest}", "resetkeys", *REPLICATION_RULES.split())
        kept = (_failure(partial(old.ask, again)), _failure(partial(new.ask, ("ACL", "DELUSER", REPLICATION))))
    if problem := next(filter(None, kept), None):
        raise problem
    if wrong:
        raise MoveFailed(
            f"{new.host.name}: {wrong} of {asked} keys that were compared differ from those of the old server"
        )


def _discard(new: Side) -> None:
    """Nothing is left of a copy that never served. Raises MoveFailed when something is, when it serves, or may."""
    role, unit = new.role, unit_name(new.role)
    if new.says(f"systemctl show -P MainPID {unit}") != "0":
        try:
            says = new.info().get("role")
        except MoveFailed as error:
            raise MoveFailed(
                f"{error}: whether the copy serves is not known: it is left as it is; if no client writes to it, there "
                f"systemctl stop {unit}, and deploy again"
            ) from error
        if says != "slave":
            raise MoveFailed(
                f"{new.host.name}: the copy says that it is {says}, expected a follower: it is left as it is"
            )
    commands = [
        f"systemctl stop {taking_over(role)} 2>/dev/null; timeout {PATIENCE:.0f} systemctl stop {unit}",
        discard_command(role),
        forget_moves(role),
    ]
    for command in commands:
        done = run_command(new.state, new.host, command, bound=CHANGE)
        if not done.succeeded:
            raise MoveFailed(f"{new.host.name}: the copy is not discarded: {done.output}")


def _note(state: State, move: Move, role: Role) -> Note:
    """What its new host notes of a role when it serves there."""
    files = current(state).tier.hosts[move.target].files
    text = next(file.content or "" for file in files if file.path == begun_file(move.role))
    return Note(text, "" if role.appendonly else snapshot_file(role))


def _instance(state: State, move: Move) -> Instance:
    desired = current(state).tier.hosts[move.target]
    return next(item for item in desired.instances if item.name == move.role)

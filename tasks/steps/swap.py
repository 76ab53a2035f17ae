"""Swap: the two hosts of a role take each other's place: its writers wait, the standby serves, the old one follows it.

The machinery is that of a move (tasks/steps/handover.py, docs/decisions/0029): what may not be left half done is a unit
on the hosts. Both stay: what kept the old one from its next start is replaced by what makes it a standby.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pyinfra import logger
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import BINDER, HANDOVER, HANDOVER_RULES, OPERATOR, REBIND_RULES, SWAP_RULES
from tasks.catalogue.data_names import HANDOVER as WORD
from tasks.catalogue.requested import named_roles
from tasks.catalogue.secret import Secret, revealed
from tasks.catalogue.standby import is_older
from tasks.compare.along import Along
from tasks.compare.cut_short import may_have_served
from tasks.compare.data_files import pieces
from tasks.compare.moving import Move, Sealed
from tasks.compare.pairs import Stance, by_hand, stance
from tasks.compare.restarts import restart_refusals
from tasks.desired.guard import MARK
from tasks.desired.host import File, Host, Instance, Pair
from tasks.desired.paths import (
    begun_file,
    copy_drop_in,
    copy_file,
    handed_over_drop_in,
    promoted_file,
    served_file,
    snapshot_file,
    unit_name,
)
from tasks.desired.standby import OF_NONE
from tasks.observed.bounds import CHANGE, PATIENCE
from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.observed.state import Observed, count_keys
from tasks.run.ending import Refusal, listed
from tasks.run.options import only_plans, options
from tasks.run.session import Run, current, unreachable
from tasks.run.survey import Look, look_at_all, survey
from tasks.steps.ending import ended, stop_script
from tasks.steps.gate import is_busy
from tasks.steps.handover import (
    BACK,
    HANDED_OVER,
    NOT_HANDED_OVER,
    TOLD,
    MoveFailed,
    Note,
    Side,
    hand_over_script,
    handing_over,
    keep_snapshot,
    release_address,
    take_over_script,
    taking_over,
    told,
    unsettled,
    wait_until_over,
    wait_until_settled,
    within,
)
from tasks.steps.lives import carry_life
from tasks.steps.lock import hold_now
from tasks.steps.move import can_bring, copy_problem, is_persistent, keep_address
from tasks.steps.operations import file_command
from tasks.steps.retire import supersede_command
from tasks.steps.standby import compare_samples, meet_other, wait_until_in_sync

NOTHING = "Nothing was handed over"
BUSY = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")


@dataclass(frozen=True)
class End:
    """A role's server on one of its two hosts, as it was seen."""

    host: PyinfraHost
    desired: Host
    observed: Observed
    instance: Instance
    pair: Pair

    @property
    def name(self) -> str:
        """Of the host."""
        return str(self.host.name)

    @property
    def where(self) -> tuple[str, int]:
        """Where it listens, whether it serves there or not."""
        return self.instance.where

    @property
    def info(self) -> Mapping[str, str]:
        """What it said of itself."""
        server = self.observed.servers.get(self.instance.name)
        return server.info if server is not None and server.refusal is None else {}


@dataclass(frozen=True)
class Swap:
    """A role that host `old` serves and that host `new` is to serve; `ends`: the old one cannot follow the new one.

    `untold`: the old one went down amid its handover, and the new one was never told: the old one serves again.
    """

    role: str
    old: End
    new: End
    ends: bool
    cut_off: bool = False  # it was handed over already, and not finished
    untold: bool = False

    @property
    def move(self) -> Move:
        """As a move has it."""
        move = Move(self.role, self.old.name, self.new.name, self.old.where, self.new.where, 0, 0, self.cut_off)
        return replace(move, along=self.along, tls=self.tls)

    @property
    def tls(self) -> Sealed | None:
        """How the two speak TLS to each other; None where they speak in clear."""
        if not self.new.instance.role.copies_by_tls:
            return None
        asks = self.new.instance.asks_certificates
        return Sealed(self.old.instance.address, self.new.instance.address, asks)

    @property
    def along(self) -> Along | None:
        """How the role's address goes along; None where each host has one of its own."""
        plan = next((plan for plan in self.new.desired.addresses if plan.role.name == self.role), None)
        if plan is None or plan.role.own_address is None:
            return None
        address = str(plan.role.address)
        return Along(address, plan.unit, plan.interface, self.new.where[0], self.old.where[0], pair=True)

    def __str__(self) -> str:
        info = self.old.info
        keys, size = count_keys(info)[0], int(info.get("used_memory") or 0) / (1 << 20)
        if self.untold:
            return (
                f"{self.role}: {self.old.name} went down amid its handover, and {self.new.name} was not told to serve: "
                f"{self.old.name} is started and serves as before, {self.new.name} is its standby as before"
            )
        if self.cut_off:
            return f"{self.role}: from {self.old.name} to {self.new.name}: handed over already, it is finished"
        then = f"{self.old.name} is its standby then"
        if self.ends:
            then = (
                f"{self.old.name} is stopped then and keeps what it has: its Redis {info.get('redis_version')} cannot "
                f"follow {self.new.info.get('redis_version')}, and there is no way back"
            )
        address = f"then at {self.new.where[0]}:{self.new.where[1]}"
        if self.along is not None:
            address = f"{self.along.address} goes along"
        return (
            f"{self.role}: from {self.old.name} to {self.new.name}, {keys} key{'' if keys == 1 else 's'}, {size:.1f} "
            f"MiB, clients pause about 1 s, {address}; {then}"
        )


def hand_role_over(state: State) -> int:
    """One role's two hosts have taken each other's place; the exit code. Raises Refusal before anything is changed."""
    run = current(state)
    return run.only_once("hand over", lambda: _hand_role_over(state, run))


def _hand_role_over(state: State, run: Run) -> int:
    role = _wish(state)
    swap = chosen(state, run, role)
    logger.info(f"    {swap}")
    if only_plans():
        return 0
    confirm(role, f"{NOTHING}: nobody to confirm: add -y to hand {role} over, or --dry to look", NOTHING)
    looks = survey(state, run)
    hold_now(state, {name: looks[name] for name in (swap.old.name, swap.new.name)})
    try:
        said = _swap(state, run, swap)
    except MoveFailed as error:
        logger.error(f"{role}: {error}")
        return 1
    logger.info(f"{role}: {said}")
    return 0


def _wish(state: State) -> str:
    given = next(iter(state.inventory)).data.get(WORD)
    names = named_roles(given) or ()
    if len(names) != 1:
        raise Refusal(f"{NOTHING}: {WORD}: expected the name of one role, observed {given!r}")
    return names[0]


def confirm(role: str, unasked: str, refused: str) -> None:
    """Raises Refusal unless a person wants it."""
    if options().get("yes"):
        return
    if not sys.stdin.isatty():
        raise Refusal(unasked)
    try:
        answer = input(f"    Type {role} to go on: ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip() != role:
        raise Refusal(f"{refused}: not confirmed")


# --- Whether it may be, by a look


def chosen(state: State, run: Run, role: str) -> Swap:
    """What is handed over to what. Raises Refusal with everything that speaks against it."""
    looks = survey(state, run)
    ends = ends_of(state, run, role, looks)
    if not any(host.pair_of(role) for host in run.tier.hosts.values()):
        raise Refusal(
            f"{NOTHING}: {role}: no host is its standby, expected one: put it into group redis_{role}_standby, deploy"
        )
    if len(ends) != 2:
        lost = [f"{name}: {why}" for name, why in unreachable(state).items()]
        lost += [f"{name}: could not be read: {item.error}" for name, item in looks.items() if item.observed is None]
        both = "expected both of its hosts in this run, and seen: without --limit and --exclude"
        raise Refusal(listed(f"{NOTHING}: {role}: {both}", lost) if lost else f"{NOTHING}: {role}: {both}")
    if cut := _cut_off(role, ends) or _cut_short(role, ends, looks):
        return cut
    serving = [end for end in ends if not end.instance.is_standby]
    if len(serving) != 1 or any(item.role == role for end in ends for item in looks[end.name].unknown):
        found = [f"{end.name}: {item}" for end in ends for item in looks[end.name].unknown if item.role == role]
        raise Refusal(listed(f"{NOTHING}: {role}: who serves it, and what its standby has, is not known", found))
    (old,), (new,) = serving, [end for end in ends if end.instance.is_standby]
    problems = list(_obstacles(role, old, new, looks))
    if problems:
        raise Refusal(listed(f"{NOTHING}: {role} is served by {old.name} as before", problems))
    return Swap(role, old, new, is_older(old.info.get("redis_version"), new.info.get("redis_version")))


def ends_of(state: State, run: Run, role: str, looks: Mapping[str, Look]) -> list[End]:
    """The two hosts of a role, those of them that were seen."""
    hosts = {host.name: host for host in state.inventory.get_active_hosts()}
    return [
        End(hosts[name], seen.desired, seen.observed, instance, pair)
        for name, seen in sorted(looks.items())
        if seen.observed is not None and (pair := run.tier.hosts[name].pair_of(role)) is not None
        for instance in seen.desired.instances
        if instance.name == role
    ]


def _cut_off(role: str, ends: Sequence[End]) -> Swap | None:
    """A handover of which the old server's half is done: it follows, and what keeps it from its next start is there."""
    first, other = ends
    for old, new in ((first, other), (other, first)):
        both = stance(old.instance, old.observed), stance(new.instance, new.observed)
        if both[0] is Stance.DEMOTED and both[1] in (Stance.FOLLOWS, Stance.COPY, Stance.SERVES):
            return Swap(role, old, new, is_older(_version(old), _version(new)), cut_off=True)
    return None


def _cut_short(role: str, ends: Sequence[End], looks: Mapping[str, Look]) -> Swap | None:
    """A handover amid which the old server's host went down, and whose copy was not told to serve.

    Raises Refusal, with what a person looks at and runs, where it may have been told, or the old one has not its data.
    """
    first, other = ends
    for old, new in ((first, other), (other, first)):
        both = stance(old.instance, old.observed), stance(new.instance, new.observed)
        if both[0] is not Stance.FENCED or both[1] not in (Stance.FOLLOWS, Stance.COPY):
            continue
        noted = begun_file(role) in new.observed.files
        why = may_have_served(new.info if both[1] is Stance.FOLLOWS else None, noted, old.where)
        found = (
            [f"{new.name}: {why}: it may have been told to serve: {by_hand(role, old.name, new.name)}{_also(old)}"]
            if why
            else []
        )
        found += [f"{old.name}: {item}" for item in _not_there(old, new, looks)]
        if found:
            raise Refusal(listed(f"{NOTHING}: {role}: {old.name} went down amid its handover to {new.name}", found))
        return Swap(role, old, new, ends=False, untold=True)
    return None


def _also(end: End) -> str:
    """What a person does beside, where the role's address goes along."""
    keepers = [plan.unit for plan in end.desired.addresses if plan.role.own_address and plan.role == end.instance.role]
    return f"; before that start, where it serves again: systemctl enable --now {keepers[0]}" if keepers else ""


def _not_there(old: End, new: End, looks: Mapping[str, Look]) -> list[str]:
    """Why an old server must not be started beside a copy of it, which would copy whatever it begins with."""
    data = [
        item for item in looks[old.name].differences if (item.role, item.subject) == (old.instance.name, "persistence")
    ]
    if data:
        return [str(item) for item in data]
    if is_persistent(old.instance.role) and pieces(old.instance.name, old.observed):
        return []
    return [
        f"nothing of what it had is on its disk, and {new.name} may be all that has it: take the power of {old.name} "
        "off, and promote: docs/runbook.md, Promote a standby"
    ]


def _version(end: End) -> str:
    return end.info.get("redis_version") or end.observed.packages.get("redis-server", "")


def _obstacles(role: str, old: End, new: End, looks: Mapping[str, Look]) -> list[str]:
    """Why it must not be handed over now, in words."""
    found = [
        f"{end.name}: {item}, expected none of it: deploy first"
        for end in (old, new)
        for item in looks[end.name].differences
        if item.role == role
    ]
    theirs, ours = _version(old), _version(new)
    if is_older(ours, theirs):
        found.append(
            f"{new.name}: its Redis is {ours}, and {old.name} has {theirs}: data never goes back to an older version: "
            "install the newer one there"
        )
    # One that saves or writes its log is waited for.
    calm = {**new.info, **dict.fromkeys(BUSY, "0")}
    if problem := copy_problem(calm, new.instance.role.appendonly):
        found.append(f"{new.name}: {problem}, expected a standby in sync: deploy, which says what it lacks")
    for end in (old, new):
        found += [f"{end.name}: {item}" for item in restart_refusals(end.instance.role, end.info) if end is new]
        found += [f"{end.name}: {item}" for item in _unwritten(end)]
    return list(dict.fromkeys(found))


def _unwritten(end: End) -> list[str]:
    names = ("aof_last_write_status", "rdb_last_bgsave_status")
    return [f"{name} is {end.info[name]}, expected ok" for name in names if end.info.get(name, "ok") != "ok"]


# --- The handover


def _swap(state: State, run: Run, swap: Swap) -> str:
    """How long its writers waited, in words. Raises MoveFailed in words that say who serves the role now."""
    old, new = (_side(state, run, end) for end in (swap.old, swap.new))
    wait_until_over(swap.move, old)
    if swap.untold:
        return _given_back(state, swap, old, new)
    if swap.cut_off:
        said = _finished(state, swap, old, new)
    else:
        try:
            _prepare(state, swap, old, new)
        except MoveFailed as error:
            raise MoveFailed(f"{error}: {_undone(swap, old, new)}") from error
        said = _handed_over(state, swap, old, new)
    return said + _settled(state, run, swap, old, new)


def _side(state: State, run: Run, end: End) -> Side:
    password = run.tier.passwords[end.name].get(end.instance.name, {}).get(OPERATOR) or ""
    return Side(state, end.host, end.instance.name, end.where, password)


def _prepare(state: State, swap: Swap, old: Side, new: Side) -> None:
    """The new server has all, on disk too, and the old one knows whom it will follow. Raises MoveFailed."""
    instance = swap.new.instance
    can_bring(swap.move, new)
    wait_until_in_sync(instance, old, new)
    if is_persistent(instance.role):
        # What came over the network lies under its snapshot's name, and is none that it saved.
        new.ask(("BGSAVE",))
        wait_until_in_sync(instance, old, new)
    if swap.ends and is_persistent(instance.role):
        _keep_snapshot(state, swap, old, new)
    compare_samples(old, new)
    _stage(state, swap, old)
    # Each is about to tell the other one a password, and follow it.
    meet_other(new, swap.new.instance, swap.new.pair)
    meet_other(old, swap.old.instance, swap.old.pair)


def _stage(state: State, swap: Swap, old: Side) -> None:
    """The old server knows how it will follow, and so will its next start when it is told to. Raises MoveFailed."""
    if not swap.ends:
        file = _copy_file(swap.old.pair)
        done = run_command(state, swap.old.host, str(file_command(file).get_raw_value()), file.content, CHANGE)
        if not done.succeeded:
            raise MoveFailed(f"{swap.old.name}: {copy_file(swap.role)} is not written: {done.output.strip()}")
    old.ask(("CONFIG", "SET", *_following(swap.old.pair)))


def _copy_file(pair: Pair) -> File:
    return next(file for file in pair.files if file.path == copy_file(pair.role))


def _following(pair: Pair) -> list[str]:
    """What a server says beside whom it follows, as CONFIG SET takes it. Where it listens changes when it follows."""
    later = ("replicaof", "bind")
    return [revealed(text) for name, value in pair.says.items() if name not in later for text in (name, value)]


def _keep_snapshot(state: State, swap: Swap, old: Side, new: Side) -> None:
    """What the old server has is kept beside its data: where it cannot follow, that may be all that is left of it."""
    kept = keep_snapshot(swap.old.instance, old)
    old.host.log_styled(f"{swap.role}: what it has is kept in {kept}", fg="blue")
    wait_until_in_sync(swap.new.instance, old, new)


def _handed_over(state: State, swap: Swap, old: Side, new: Side) -> str:
    """How long its writers waited, in words. Raises MoveFailed where the old server serves as before, or in doubt."""
    of_old, of_new = (Secret(secrets.token_hex(32), ()) for _ in range(2))
    note = _note(swap)
    try:
        old.allow(HANDOVER, f"{HANDOVER_RULES} {REBIND_RULES}" if swap.along else HANDOVER_RULES, of_old)
        new.allow(HANDOVER, SWAP_RULES, of_new)
        job = take_over_script(swap.move, note, "no", HANDOVER)
        begun = run_command(state, new.host, job, told(swap.move, new, of_new))
        if not begun.succeeded:
            raise MoveFailed(f"{swap.new.name}: nothing can wait there for the handover: {begun.output}")
    except MoveFailed as error:
        raise MoveFailed(f"{error}: {_undone(swap, old, new)}") from error
    # What makes the old one a standby from its next start on comes behind what makes the new one serve from its own:
    # until then a start of the old one waits for a person, and never are there only two that follow each other.
    job = hand_over_script(swap.move, HANDOVER)
    done = run_command(state, old.host, job, f"{revealed(of_old)} {revealed(of_new)}\n", CHANGE)
    said = done.stdout.strip().rpartition("\n")[2]
    if said.startswith(NOT_HANDED_OVER):
        raise MoveFailed(f"{swap.old.name}: {said}: {_undone(swap, old, new)}")
    if not said.startswith(HANDED_OVER):
        wait_until_over(swap.move, old)
        return f"{_finished(state, swap, old, new)} ({said or done.output.strip() or 'the connection broke amid it'})"
    return said


def _become(pair: Pair) -> str:
    """Shell that makes a server that was handed over the standby from its next start on. Pure."""
    drop_in = next(file for file in pair.files if file.path == copy_drop_in(pair.role))
    return script(
        "become-standby",
        copy=copy_file(pair.role),
        drop_in=drop_in.path,
        text=drop_in.content or "",
        fence=handed_over_drop_in(pair.role),
        begun=begun_file(pair.role),
        served=served_file(pair.role),
    )


def _finished(state: State, swap: Swap, old: Side, new: Side) -> str:
    """A handover of which nobody knows how far it got is finished. Raises MoveFailed unless the new one serves.

    No handover is under way any more. The old server is seen to follow, and the new one holds all that it had.
    """
    info = within(BACK, old.info)
    if info.get("role") != "slave":
        raise MoveFailed(f"{swap.old.name}: {NOT_HANDED_OVER}: {_undone(swap, old, new)}")
    unit = unit_name(swap.role)
    done = run_command(state, new.host, f"systemctl is-active --quiet {unit} || systemctl start {unit}", bound=CHANGE)
    if not done.succeeded:
        raise MoveFailed(f"{swap.new.name}: it does not start: {done.output.strip()}: nobody serves {swap.role}")
    release_address(swap.move, old)
    there = within(BACK, new.info)
    serves = there.get("role") == "master"
    lacking = "" if serves else unsettled(swap.old.instance, old, new, (info, there), swap.new.where)
    if lacking:
        raise MoveFailed(
            f"{swap.new.name}: {lacking}: nobody serves {swap.role}: see docs/availability.md, A copy that lacks "
            "something"
        )
    waiting = taking_over(swap.role)
    new.says(f"systemctl stop {waiting} 2>/dev/null; echo stopped")
    password = Secret(secrets.token_hex(32), ())
    new.allow(HANDOVER, SWAP_RULES, password)
    if there.get("role") != "master":
        new.ask(("REPLICAOF", "NO", "ONE"), user=HANDOVER, password=password)
    job = take_over_script(swap.move, _note(swap), "yes", HANDOVER)
    begun = run_command(state, new.host, job, told(swap.move, new, password), CHANGE)
    if not begun.succeeded:
        raise MoveFailed(f"{swap.new.name}: it serves, and its next start is not settled: {begun.output}: deploy")
    if is_persistent(swap.new.instance.role):
        save(new)
    return HANDED_OVER


def _given_back(state: State, swap: Swap, old: Side, new: Side) -> str:
    """The old server, which went down amid its handover, serves as before. Raises MoveFailed where it must not.

    No handover is under way any more: nobody tells the copy to serve from here on. What it says is asked once more.
    """
    waiting = taking_over(swap.role)
    new.says(f"systemctl stop {waiting} 2>/dev/null; echo stopped")
    noted = new.says(f"test -e {begun_file(swap.role)} && echo noted || echo none") != "none"
    if why := may_have_served(within(BACK, new.info), noted, swap.old.where):
        raise MoveFailed(f"{swap.new.name}: {why} meanwhile: nothing was changed: run the same command again")
    unit = unit_name(swap.role)
    if swap.along is not None:
        # Its address is there before it is; what keeps it from its start keeps that away, too.
        old.says(f"{_lifted(swap.role)} && echo lifted")
        keep_address(swap.move, old)
    start = (
        f"{_lifted(swap.role)} && timeout {PATIENCE:.0f} systemctl start {unit} && systemctl reset-failed {unit}; "
        f"systemctl is-active --quiet {unit}"
    )
    done = run_command(state, swap.old.host, start, bound=CHANGE)
    if not done.succeeded:
        raise MoveFailed(
            f"{swap.old.name}: it does not start: {done.output.strip() or 'see its journal'}: nobody serves "
            f"{swap.role}: deploy, when it does"
        )
    serve_again = within(BACK, old.info).get("role")
    if serve_again != "master":
        raise MoveFailed(f"{swap.old.name}: its role is {serve_again}, expected master: run the same command again")
    said = _undone(swap, old, new)
    wait_until_in_sync(swap.new.instance, old, new)
    return f"{NOT_HANDED_OVER}: {said}"


def _lifted(role: str) -> str:
    """Shell by which nothing keeps a server from its next start any more that was to be handed over. Pure."""
    fence = handed_over_drop_in(role)
    directory = fence.rpartition("/")[0]
    gone = f"rm -f {fence} && {{ test ! -d {directory} || sync {directory}; }}"
    return f"{gone} && {{ rmdir {directory} 2>/dev/null || true; }} && systemctl daemon-reload"


def save(new: Side) -> None:
    """What lies under its snapshot's name is its own: what came over the network is none that it saved."""
    new.ask(("BGSAVE", "SCHEDULE"))

    def saved() -> None:
        info = new.info()
        if is_busy(info) or info.get("rdb_last_bgsave_status") != "ok":
            raise MoveFailed(
                f"{new.host.name}: it serves, and its snapshot is not written: {info.get('rdb_last_bgsave_status')}"
            )

    within(PATIENCE, saved)


def _settled(state: State, run: Run, swap: Swap, old: Side, new: Side) -> str:
    """Both are what they are to be, from their next start on, too. Raises MoveFailed unless that is seen."""
    wait_until_settled(swap.move, new, _note(swap))
    of_none = [text for pair in OF_NONE.items() for text in pair]
    new.ask(("ACL", "DELUSER", HANDOVER, BINDER), ("CONFIG", "SET", *of_none))
    old.ask(("ACL", "DELUSER", HANDOVER))
    plan = next((item for item in run.tier.hosts[swap.new.name].backups if item.role.name == swap.role), None)
    carry_life(state, old.host, new.host, plan)
    if swap.ends:
        return _stopped(state, swap, old, new)
    if _is_fenced(swap, old):
        _stage(state, swap, old)
        made = run_command(state, old.host, _become(swap.old.pair), bound=CHANGE)
        if not made.succeeded:
            raise MoveFailed(
                f"{swap.new.name} serves {swap.role}; {swap.old.name} follows it, and its next start is not that of a "
                f"standby: {made.output.strip()}: deploy"
            )
    wait_until_in_sync(swap.old.instance, new, old)
    return f"; {swap.new.name} serves it, {swap.old.name} is its standby, in sync"


def _is_fenced(swap: Swap, old: Side) -> bool:
    """Whether the old server's next start is not yet that of a standby: the handover's unit does it, if it lived."""
    fence, drop_in = handed_over_drop_in(swap.role), copy_drop_in(swap.role)
    unit = handing_over(swap.role)

    def look() -> str:
        command = f"test -s {drop_in} && test ! -e {fence} && echo standby || systemctl show -P ActiveState {unit}"
        if (found := old.says(command)) in ("active", "activating", "deactivating"):
            raise MoveFailed(f"{swap.old.name}: {unit} is {found}")
        return found

    return within(TOLD, look) != "standby"


def _stopped(state: State, swap: Swap, old: Side, new: Side) -> str:
    """The old server, which cannot follow for long, has ended with what it had; what keeps it from a start stays.

    So nobody can be put in the place of the new one, which needs no word of the old one at its next start.
    """
    unit = unit_name(swap.role)
    done = ended(state, old.host, stop_script(unit), unit, swap.old.where, old.password)
    for command in (f"systemctl disable --quiet {unit}", supersede_command(swap.role)):
        done = run_command(state, old.host, command, bound=CHANGE) if done.succeeded else done
    if not done.succeeded:
        raise MoveFailed(f"{swap.new.name} serves {swap.role}; {swap.old.name} is not stopped: {done.output.strip()}")
    old.says(f"test -s {handed_over_drop_in(swap.role)} && systemctl show -P MainPID {unit} | grep -x 0")
    note = str(file_command(File(promoted_file(swap.role), f"{MARK}\n")).get_raw_value())
    done = run_command(state, new.host, note, f"{MARK}\n", CHANGE)
    if not done.succeeded:
        raise MoveFailed(
            f"{swap.new.name} serves {swap.role}, and waits at its next boot, for {promoted_file(swap.role)} is not "
            f"written: {done.output.strip()}: deploy"
        )
    return (
        f"; {swap.new.name} serves it; {swap.old.name} is stopped and keeps what it had: upgrade it, and deploy, which "
        "makes it the standby"
    )


def _undone(swap: Swap, old: Side, new: Side) -> str:
    """In words, who serves the role after a handover that failed; the standby is a standby as before."""
    role = swap.role
    try:
        wait_until_over(swap.move, old)
        if within(BACK, old.info).get("role") != "master":
            return f"{swap.old.name} serves it no more, and {swap.new.name} is not known to: run the same command again"
        # One of which it was not known who serves has left what keeps this one from its start, and its address away.
        old.says(f"{_lifted(role)} && echo lifted")
        keep_address(swap.move, old)
        if swap.along is not None:  # it may have been told to answer there no more
            old.ask(("CONFIG", "SET", "bind", f"{swap.along.address} {swap.old.where[0]}"))
        new.says(f"systemctl stop {taking_over(role)} 2>/dev/null; echo stopped")
        new.ask(("ACL", "DELUSER", HANDOVER, BINDER))
        old.ask(("ACL", "DELUSER", HANDOVER), ("CONFIG", "SET", *(text for pair in OF_NONE.items() for text in pair)))
        old.says(f"rm -f {copy_file(role)} && echo gone")
    except MoveFailed as error:
        return f"who serves it is not known, or what was begun is not undone ({error}): run the same command again"
    return f"{swap.old.name} serves it as before, {swap.new.name} is its standby as before"


def _note(swap: Swap) -> Note:
    """What the new host notes of a role when it serves there."""
    text = next(file.content or "" for file in swap.new.desired.files if file.path == begun_file(swap.role))
    snapshot = "" if swap.new.instance.role.appendonly else snapshot_file(swap.new.instance.role)
    return Note(text, snapshot, served_file(swap.role))


def looked_at_again(state: State) -> Mapping[str, Look]:
    """Every host as it is now: each pair is oriented anew."""
    return look_at_all(state, current(state))

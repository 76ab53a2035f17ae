"""Handover: a server's writers wait, its copy on another host has all they wrote, and serves; never two at once.

What may not be left half done is a unit on the hosts: a controller that is killed amid it changes nothing
(docs/decisions/0029).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import (
    BINDER,
    HANDOVER,
    HANDOVER_RULES,
    OPERATOR,
    REBIND_RULES,
    REPLICATION,
    TAKEOVER_RULES,
)
from tasks.catalogue.secret import Secret, revealed
from tasks.compare.cut_short import has_served
from tasks.compare.moving import Move
from tasks.desired.guard import NOTE, sealed_words
from tasks.desired.host import Instance
from tasks.desired.paths import (
    LOCK_DIRECTORY,
    REPLACED,
    begun_file,
    copy_drop_in,
    copy_file,
    handed_over_drop_in,
    moved_file,
    snapshot_file,
    unit_name,
)
from tasks.observed.bounds import ASIDE_PATIENCE, CHANGE
from tasks.observed.connection import ConnectionBroken, TunnelRefused, run_command
from tasks.observed.exchange import ExchangeError, Reply, ReplyError, info_fields
from tasks.observed.own_server import Endpoint, exchange_as
from tasks.observed.refusal import Cause
from tasks.observed.script import script
from tasks.observed.tls import Trust, Untrusted, meet_from
from tasks.run.session import current
from tasks.steps.sandbox import as_role

PAUSE = 10_000  # milliseconds after which a server whose handover nobody ends lets its writers go on by itself
LAG = 1_500  # milliseconds that a copy in sync may take for the last bytes, before its writers go on as before
ENDED = ("inactive", "failed")  # systemd's ActiveState of a unit that has nothing to do any more
TOLD = 60  # seconds in which a copy that was told has to say whether it serves
BACK = 20  # seconds for a server that died or was started amid a move to answer again
WATCH = 120  # seconds in which a copy becomes the role's server, or stays a copy
POLL = 0.3  # seconds between two looks
HANDED_OVER, NOT_HANDED_OVER = "handed over", "not handed over"
# What a live server has while it follows another one: it answers nobody with what that one may have changed since.
FRESH = ("replica-serve-stale-data", "no")
OWN = ("masteruser", "", "masterauth", "", "replica-serve-stale-data", "yes", "rdb-del-sync-files", "no")

Seen = TypeVar("Seen")


class MoveFailed(Exception):
    """What was expected of a move, what was found, and how to go on."""


def within(seconds: float, look: Callable[[], Seen], poll: float = POLL) -> Seen:
    """What `look` sees, asked again until it is seen. Raises the MoveFailed of its last try when `seconds` are over."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return look()
        except MoveFailed:
            if time.monotonic() > deadline:
                raise
        time.sleep(poll)


@dataclass(frozen=True)
class Note:
    """What the new host notes of a role that serves there: that it has run, in words; of one without a log, with this
    snapshot only. `served`: where one of a pair notes that it serves since the host was booted.
    """

    text: str
    snapshot: str = ""
    served: str = ""


@dataclass(frozen=True)
class Side:
    """A role's server on one host, where it listens, and its operator's password.

    `also`: where it listens instead while its address is not there; `bound`: the address that is to be its only one in
    the end, of one whose address goes along.
    """

    state: State
    host: Host
    role: str
    where: Endpoint
    password: str = field(repr=False)
    also: Endpoint | None = None
    bound: str = ""
    sealed: bool = False  # it speaks TLS to the other one

    def ask(self, *commands: Sequence[str], user: str = OPERATOR, password: str = "") -> list[Reply]:
        """Its replies. Raises MoveFailed when it refuses one, or does not answer."""
        login = (user, password or self.password)
        try:
            first, replies = self._exchange(login, commands)
        except ExchangeError as error:
            raise MoveFailed(f"{self.host.name}: {error}") from error
        for command, reply in zip((("login",), *commands), (first, *replies), strict=True):
            if isinstance(reply, ReplyError):
                raise MoveFailed(
                    f"{self.host.name}: {' '.join(command[:2])} of {user}: {reply}, expected it to be allowed"
                )
        return replies

    def _exchange(self, login: tuple[str, str], commands: Sequence[Sequence[str]]) -> tuple[Reply, list[Reply]]:
        unit = unit_name(self.role)
        if self.also is None:
            return exchange_as(self.host, unit, self.where, login, commands)
        try:
            return exchange_as(self.host, unit, self.where, login, commands)
        except ExchangeError as error:
            if error.refusal.cause is not Cause.NOT_ITS_OWN:
                raise
            return exchange_as(self.host, unit, self.also, login, commands)

    def info(self) -> Mapping[str, str]:
        """What it says of itself."""
        try:
            return info_fields(self.ask(("INFO", "everything"))[0])
        except ExchangeError as error:
            raise MoveFailed(f"{self.host.name}: {error}") from error

    def allow(self, user: str, rules: str, password: str) -> None:
        """A user of the move may do what `rules` say, by this password alone."""
        digest = hashlib.sha256(revealed(password).encode()).hexdigest()
        self.ask(("ACL", "SETUSER", user, "reset", "on", f"#{digest}", *rules.split()))

    def forget(self) -> None:
        """Nobody may copy it any more, it logs in nowhere, and nothing that it was told for a move is left."""
        own = (*OWN, "tls-replication", "no") if self.sealed else OWN
        self.ask(("ACL", "DELUSER", REPLICATION, HANDOVER), ("CONFIG", "SET", *own))
        if self.bound:
            self.ask(("CONFIG", "SET", "bind", self.bound))

    def says(self, command: str, first: str = "") -> str:
        """The word that a command on the host prints; `first`, which may fail, is run before. Raises MoveFailed."""
        done = run_command(self.state, self.host, f"{first}{command}", bound=CHANGE)
        word = done.stdout.strip()
        if not done.succeeded or not word:
            raise MoveFailed(f"{self.host.name}: not seen: {done.output.strip() or 'nothing was printed'}")
        return word


def hand_over(move: Move, instance: Instance, old: Side, new: Side, password: str, note: Note) -> str:
    """The role's writers are served by the new server, and by it alone; how long they waited, in words.

    `password`: the new server's. That by which the old one is told is made here, and valid there alone: the new host,
    to which its own is said in clear, never sees it. Raises MoveFailed when they are served by the old one as before;
    or, in words that say so, when it is not known.
    """
    of_old = Secret(secrets.token_hex(32), ())
    old.allow(HANDOVER, f"{HANDOVER_RULES} {REBIND_RULES}" if move.along else HANDOVER_RULES, of_old)
    new.allow(REPLICATION, TAKEOVER_RULES, password)
    sealed = ("tls-replication", "yes") if move.tls else ()
    old.ask(("CONFIG", "SET", "masteruser", REPLICATION, "masterauth", password, *FRESH, *sealed))
    if move.along:
        old.ask(("CONFIG", "SET", "bind", f"{move.along.address} {move.along.apart}"))
    begun = run_command(new.state, new.host, take_over_script(move, note, "no"), told(move, new, password))
    if not begun.succeeded:
        raise MoveFailed(f"{move.target}: nothing can wait there for the handover: {begun.output}")
    done = run_command(
        old.state, old.host, hand_over_script(move), f"{revealed(of_old)} {revealed(password)}\n", CHANGE
    )
    said = done.stdout.strip().rpartition("\n")[2]
    if said.startswith(NOT_HANDED_OVER):
        raise MoveFailed(f"{move.source}: {said}")
    if not said.startswith(HANDED_OVER):
        wait_until_over(move, old)
        settle(move, instance, old, new, password, note)
        said = f"{HANDED_OVER}: {said or done.output or 'the connection broke amid it'}"
    wait_until_settled(move, new, note)
    return said


def told(move: Move, new: Side, password: str) -> str:
    """What take-over.sh reads; where the address comes along, the password of who may bind the server to it, too."""
    if move.along is None:
        return f"{revealed(password)}\n"
    owner = Secret(secrets.token_hex(32), ())
    new.allow(owner_of(move), f"-@all +ping {REBIND_RULES}", owner)
    return f"{revealed(password)} {revealed(owner)}\n"


def owner_of(move: Move) -> str:
    """The user of the new server who may bind it: none of those that the old host is told a password of. Pure."""
    return BINDER if move.along and move.along.pair else HANDOVER


def meet(side: Side, where: Endpoint, trust: Trust) -> None:
    """Who answers at `where`, as seen from a side, is the role's. Raises MoveFailed when it does not show that.

    Redis and redis-cli look at who signed a certificate, and not at whom it is for: any client's would do.
    """
    try:
        meet_from(side.host, where, trust)
    except (ConnectionBroken, TunnelRefused, Untrusted) as error:
        raise MoveFailed(f"{side.host.name}: no TLS with {where[0]}:{where[1]}: {error}") from error


def wait_until_over(move: Move, old: Side) -> None:
    """No handover of before, which outlives its controller, is under way. Raises MoveFailed unless that is seen."""

    _wait_until_over(move.role, old, move.source)


def _wait_until_over(role: str, old: Side, where: str) -> None:
    def look() -> None:
        if (found := old.says(_state_of(handing_over(role)))) not in ENDED:
            raise MoveFailed(f"{where}: a handover is under way there ({found}): wait until it has ended")

    within(TOLD + 60, look)  # longer than it may take


def wait_until_serving(role: str, side: Side) -> None:
    """A server serves, and no handover of it is under way. Raises MoveFailed unless both are seen."""
    _wait_until_over(role, side, "here")
    if (found := within(BACK, side.info).get("role")) != "master":
        raise MoveFailed(f"its role is {found} meanwhile, expected master: deploy again")


def forget_handovers(
    state: State, host: Host, roles: Sequence[str], passwords: Mapping[str, Mapping[str, str | None]]
) -> bool:
    """What keeps roles that serve from their next start is gone, when that is seen right before: the look is older.

    A handover that a controller has begun goes on when that one is gone.
    """
    instances = {item.name: item for item in current(state).tier.hosts[host.name].instances}
    done = True
    for role in roles:
        where = instances[role].where
        side = Side(state, host, role, where, passwords.get(role, {}).get(OPERATOR) or "")
        fence = handed_over_drop_in(role)
        directory = fence.rpartition("/")[0]
        try:
            wait_until_serving(role, side)
            side.says(f"rm -f {fence}; rmdir {directory} 2>/dev/null; systemctl daemon-reload && echo gone")
        except MoveFailed as error:
            host.log_styled(f"{role}: {fence} stays: {error}", fg="red", log_func=logger.error)
            done = False
    return done


def _state_of(unit: str) -> str:
    return f"systemctl show -P ActiveState {unit}"


def settle(move: Move, instance: Instance, old: Side, new: Side, password: str, note: Note) -> None:
    """A handover of which nobody knows how far it got is finished: the old server is seen to follow, the new serves.

    No handover is under way any more (wait_until_over). Raises MoveFailed where the old one serves, where nobody tells,
    or where the copy is not seen to hold all that the old one had, nor to have served since.
    """
    info = old.info()
    if info.get("role") != "slave":
        raise MoveFailed(f"{move.source}: {NOT_HANDED_OVER}: its role is {info.get('role')}, it serves as before")
    _start_again(move, new, info)
    release_address(move, old)
    there = within(BACK, new.info)
    if there.get("role") != "master" and (lacking := unsettled(instance, old, new, (info, there), move.copied_at)):
        raise MoveFailed(
            f"{move.target}: {lacking}: nobody serves {move.role}, and {move.source} {_holds(info)}: see "
            "docs/availability.md, A copy that lacks something"
        )
    # One that waits by the password of an earlier run would wait in vain from here on.
    unit = taking_over(move.role)
    if (found := new.says(_state_of(unit), f"systemctl stop {unit} 2>/dev/null; ")) not in ENDED:
        raise MoveFailed(f"{move.target}: {unit} is {found}, expected that it has ended: deploy again")
    new.allow(REPLICATION, TAKEOVER_RULES, password)
    if there.get("role") != "master":
        new.ask(("REPLICAOF", "NO", "ONE"), user=REPLICATION, password=password)
    begun = run_command(new.state, new.host, take_over_script(move, note, "yes"), told(move, new, password), CHANGE)
    if not begun.succeeded:
        raise MoveFailed(f"{move.target}: it serves, and its next start is not settled: {begun.output}: deploy again")


def release_address(move: Move, old: Side) -> None:
    """A server that follows the new one has ended its clients, and its address is free. Raises MoveFailed if not seen.

    First no client is left: behind the address, which leaves, nobody would hear that his connection is gone.
    """
    if move.along is None:
        return
    old.ask(("CONFIG", "SET", "bind", move.along.apart))
    old.ask(*(("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes") for kind in ("normal", "pubsub")))
    if stays := let_go(old.state, old.host, move.along.address, move.along.keeper):
        raise MoveFailed(f"{move.source}: nobody serves {move.role}: {stays}")


def let_go(state: State, host: Host, address: str, keeper: str) -> str:
    """A host has a role's address no more, nor at its next boot; in words, why it has. Empty where it is seen gone."""
    done = run_command(state, host, script("release-address", address=address, keeper=keeper), bound=CHANGE)
    return "" if done.succeeded else done.output.strip() or "its address stays"


def _holds(info: Mapping[str, str]) -> str:
    """In words, what an old server was seen to hold, which nobody has asked for each key."""
    rows = (re.match("keys=([0-9]{1,18})(,|$)", text) for name, text in info.items() if re.fullmatch("db[0-9]+", name))
    return f"was seen to have {sum(int(row[1]) for row in rows if row)} keys of it"


def _start_again(move: Move, new: Side, info: Mapping[str, str]) -> None:
    """A copy that does not run, as after a reboot of its host, runs as a copy again. Raises MoveFailed when not."""
    unit, drop_in, copy = unit_name(move.role), copy_drop_in(move.role), copy_file(move.role)
    command = (
        f"systemctl is-active --quiet {unit} || {{ test -s {drop_in} && test -s {copy} && systemctl start {unit}; }}"
    )
    done = run_command(new.state, new.host, command, bound=CHANGE)
    if not done.succeeded:
        raise MoveFailed(
            f"{move.target}: the copy does not run and does not start ({done.output.strip() or 'see its journal'}): "
            f"nobody serves {move.role}, and {move.source} {_holds(info)}: see docs/availability.md, A copy that "
            "lacks something"
        )


def unsettled(
    instance: Instance, old: Side, new: Side, said: tuple[Mapping[str, str], Mapping[str, str]], to: Endpoint
) -> str:
    """In words, why a copy must not serve where an old server follows it; empty where it may. `said`: what both say.

    It may where it holds all that the old one had. One that has served since, and was started as a copy again, has on
    its disk what it acknowledged, where it has a log; what the old one has of it is kept beside its data then, for that
    may be the last moment of it. Raises MoveFailed where that is not kept.
    """
    info, there = said
    lacking = lacks(info, there, to)
    if not lacking:
        return ""
    fence, begun = handed_over_drop_in(old.role), begun_file(old.role)
    then = old.says(f"sed -n 's/^# history: //p' {fence} 2>/dev/null | grep . || echo unknown")
    noted = new.says(f"test -e {begun} && echo noted || echo none") == "noted"
    served = has_served(info, then, noted, to)
    if not served:
        return lacking
    if not instance.role.appendonly:
        return f"{lacking}; {served}, and it has no log: which of the two has the newest data is not known"
    kept = keep_snapshot(instance, old)
    old.host.log_styled(f"{old.role}: {new.host.name} has served since ({served}); what is here is kept in {kept}")
    return ""


def keep_snapshot(instance: Instance, old: Side) -> str:
    """Where what a server has is kept, beside its data. Raises MoveFailed where it is not."""
    stale = ("CONFIG", "SET", "replica-serve-stale-data")
    save = ("BGSAVE",)
    # One that has lost whom it follows saves only while it would answer everybody, as it does for no longer than that.
    follows = old.info().get("role") == "slave"
    old.ask(*([(*stale, "yes"), save, (*stale, "no")] if follows else [save]))

    def saved() -> None:
        info = old.info()
        if info.get("rdb_bgsave_in_progress") != "0" or info.get("rdb_last_bgsave_status") != "ok":
            raise MoveFailed(f"{old.host.name}: its snapshot was not written: {info.get('rdb_last_bgsave_status')}")

    within(CHANGE.seconds, saved)
    kept = f"{snapshot_file(instance.role)}{REPLACED}{datetime.now(UTC):%Y%m%d%H%M%S}"
    job = script("keep-snapshot", snapshot=snapshot_file(instance.role), kept=kept)
    done = run_command(old.state, old.host, as_role(instance, job, ASIDE_PATIENCE), bound=CHANGE)
    if not done.succeeded:
        raise MoveFailed(f"{old.host.name}: its snapshot is not kept: {done.output.strip()}")
    return kept


PING = 14  # bytes by which a server's offset grows each ten seconds without a write


def lacks(old: Mapping[str, str], new: Mapping[str, str], to: Endpoint) -> str:
    """In words, why a copy is not known to hold all that the old server had, which was told to follow it. Pure.

    Empty when it holds all. A copy that died meanwhile comes back from its disk: with another history, or less of it.
    """
    follows = f"{old.get('master_host')}:{old.get('master_port')}"
    if follows != f"{to[0]}:{to[1]}":
        return f"the old server follows {follows}, expected {to[0]}:{to[1]}"
    if not old.get("master_replid") or new.get("master_replid") != old.get("master_replid"):
        found = f"its history is {new.get('master_replid')}, that of the old server {old.get('master_replid')}"
        return f"{found}: it has been started anew, or has copied another one"
    had, has = (_number(text) for text in (old.get("master_repl_offset"), new.get("slave_repl_offset")))
    if had is None or has is None or had - has not in (PING, *range(-PING, 1)):
        return f"it has {has} bytes of the old server's history, which has {had}"
    return ""


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() else None


def wait_until_settled(move: Move, new: Side, note: Note) -> None:
    """The new server's next start is that of the role's server. Raises MoveFailed unless that is seen."""
    drop_in, moved, begun = copy_drop_in(move.role), moved_file(move.role), begun_file(move.role)
    noted = f"test -s {begun}" + (f" || test ! -s {note.snapshot}" if note.snapshot else "")
    units = (unit_name(move.role), *([move.along.keeper] if move.along else []))
    # Of several at once systemctl says that one of them is.
    runs = " && ".join(f"systemctl is-enabled --quiet {unit} && systemctl is-active --quiet {unit}" for unit in units)
    here = f"ip -o -4 address show to {move.along.address}/32 | grep -q . && " if move.along else ""
    command = (
        f"test ! -e {drop_in} && test ! -e {moved} && {{ {noted}; }} && {here}{runs} && echo settled || echo waiting"
    )

    def look() -> None:
        if new.says(command) != "settled":
            raise MoveFailed(
                f"{move.target}: it serves, and its next start is not settled: expected neither {drop_in} nor {moved}, "
                f"{begun} written, and {' and '.join(units)} enabled and active: deploy again"
            )

    within(WATCH, look, 0.1)


def hand_over_script(move: Move, new_user: str = REPLICATION) -> str:
    """Shell that hands a role's writers over, in a unit of its own. Pure."""
    words = (
        f"{move.role} was handed over to {move.to[0]}:{move.to[1]}, or was about to be: deploy, which says what to do"
    )
    new_host, new_port = move.copied_at
    job = script(
        "hand-over",
        tls=tls_words(move),
        address=move.along.address if move.along else "",
        keeper=move.along.keeper if move.along else "",
        unit=unit_name(move.role),
        old_user=HANDOVER,
        new_user=new_user,
        host=move.along.apart if move.along else move.where[0],
        port=move.where[1],
        new_host=new_host,
        new_port=new_port,
        fence=handed_over_drop_in(move.role),
        words=words,
        pause=PAUSE,
        lag=LAG,
        patience=TOLD,
    )
    return detached("hand-over", move.role, job, TOLD + 30, "yes")


def take_over_script(move: Move, note: Note, waits: str, user: str = REPLICATION) -> str:
    """Shell that waits until a copy serves, in a unit of its own, and then makes it last. Pure."""
    host, port = move.copied_at
    job = script(
        "take-over",
        tls=tls_words(move),
        address=move.along.address if move.along else "",
        bound=move.along.bound if move.along else "",
        interface=move.along.interface if move.along else "",
        keeper=move.along.keeper if move.along else "",
        owner=owner_of(move),
        user=user,
        host=host,
        port=port,
        drop_in=copy_drop_in(move.role),
        copy=copy_file(move.role),
        unit=unit_name(move.role),
        patience=WATCH,
        begun=begun_file(move.role),
        moved=moved_file(move.role),
        text=note.text,
        snapshot=note.snapshot,
        served=note.served,
        serving=NOTE,
    )
    return detached("take-over", move.role, job, WATCH + 30, waits)


def tls_words(move: Move) -> list[str]:
    """The options of redis-cli by which it speaks to both servers of a role. Pure.

    It checks who signed the certificate, and not whom that is for: who answers is met before (move.py).
    """
    return [] if move.tls is None else sealed_words(move.role, move.tls.asks)


def handing_over(role: str) -> str:
    """The unit that hands a role over."""
    return f"redis-hand-over-{role}.service"


def taking_over(role: str) -> str:
    """The unit that waits for a copy to serve."""
    return f"redis-take-over-{role}.service"


def detached(what: str, role: str, job: str, patience: int, waits: str) -> str:
    """Shell that runs a job in a unit of its own, whatever becomes of the controller. Pure."""
    unit, run = f"redis-{what}-{role}.service", f"{LOCK_DIRECTORY}/{what}-{role}"
    return script("detach", unit=unit, run=run, job=job, patience=patience, waits=waits)

"""Promote: a standby serves in the place of its primary, whose host is lost, and stays that (decision 0034).

What is done on the host is a unit of its own: a controller that is killed amid it changes nothing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from pyinfra import logger
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import HANDOVER, HANDOVER_RULES, OPERATOR, REBIND_RULES
from tasks.catalogue.data_names import DATA_IS_LOST, OLD_IS_OFF, PROMOTE
from tasks.catalogue.printable import printable
from tasks.catalogue.requested import named_roles
from tasks.catalogue.secret import Secret, revealed
from tasks.compare.addresses import kept_units
from tasks.compare.data_files import pieces
from tasks.compare.pairs import WITHOUT, Stance, stance
from tasks.compare.promotion import NotReached, lag, promotion_problems
from tasks.desired.guard import MARK, NOTE, sealed_words
from tasks.desired.host import Host, Instance, OwnAddress, Pair
from tasks.desired.paths import (
    begun_file,
    copy_drop_in,
    copy_file,
    handed_over_drop_in,
    moved_file,
    promoted_file,
    served_file,
    snapshot_file,
    unit_name,
)
from tasks.desired.standby import OF_NONE
from tasks.observed.answer import Answer
from tasks.observed.bounds import CHANGE
from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.observed.state import Observed, count_keys
from tasks.run.ending import Refusal, listed
from tasks.run.options import only_plans
from tasks.run.session import Run, current, not_answering, unreachable
from tasks.run.survey import Look, look_at_all, survey
from tasks.steps.handover import MoveFailed, Side, detached, let_go
from tasks.steps.lock import hold_now
from tasks.steps.move import is_persistent
from tasks.steps.swap import confirm, save

HOLDS = 60_000  # milliseconds for which nothing is written amid it, at most: it asks the old host once more meanwhile
BACK = 20  # seconds for a standby to follow again where it is not promoted after all
PATIENCE = 120  # seconds for all of it, beside those for which its primary has to be silent
QUIET = 20  # of these, two pings
PROMOTED, NOT_PROMOTED = "promoted: ", "not promoted: "
NOTHING = "Nothing was promoted"


@dataclass(frozen=True)
class Place:
    """The host whose server is promoted, as it was seen."""

    host: PyinfraHost
    instance: Instance
    pair: Pair
    seen: Look = field(repr=False)

    @property
    def observed(self) -> Observed:
        """What was seen of the host."""
        assert self.seen.observed is not None
        return self.seen.observed

    def say(self, words: str, color: str = "blue") -> None:
        """One line of what is, or was, done."""
        self.host.log_styled(f"{self.instance.name}: {words}", fg=color)


def promote_role(state: State) -> int:
    """The standby of one role serves it; returns the exit code. Raises Refusal before anything is changed."""
    run = current(state)
    return run.only_once("promote", lambda: _promote_role(state, run))


def _promote_role(state: State, run: Run) -> int:
    role, old_is_off, data_is_lost = _wish(state)
    place = _place(state, run, role)
    old = _without_data(state, run, place)
    server = place.observed.servers.get(role)
    if server is None or server.refusal is not None:
        why = "does not run" if server is None else str(server.refusal)
        raise Refusal(f"{NOTHING}: {role}: its server on {place.host.name} does not tell what it is: {why}")
    if server.info.get("role") == "master":
        place.say(f"is served by {place.host.name} already", "green")
        if only_plans() or promoted_file(role) not in place.observed.files:
            return 0
        hold_now(state, {place.host.name: place.seen})
        return 0 if _kept(place, partial(_finish, _side(state, run, place), place)) else 1
    timeout = server.config.get("repl-timeout", "")
    lacks = lag(server.info, int(timeout) if timeout.isdecimal() else 60)
    keys = count_keys(server.info)[0]
    place.say(f"the standby on {place.host.name} has {keys} keys; {lacks}")
    looks_only, ssh = only_plans(), _ssh(state, place.pair)
    said = None if old is None else data_is_lost or looks_only
    problems = list(promotion_problems(place.pair, server.info, keys, ssh, old_is_off or looks_only, said))
    problems += _given_by_its_network(state, old)
    if problems:
        raise Refusal(listed(NOTHING, [f"{role}: {problem}" for problem in problems]))
    if ssh is not None and ssh.answer is not Answer.NOBODY:
        place.say(f"whether {place.pair.peer} answers SSH is not known, {ssh}", "yellow")
    where = f"{place.host.name} in the place of {place.pair.peer}"
    if looks_only:
        place.say(f"could be served by {where}{_word(place, old, old_is_off)}")
        return 0
    place.say(f"to be served by {where}")
    return _replace(state, run, place, old)


def _word(place: Place, old: Place | None, old_is_off: bool) -> str:
    """What a person has to say yet."""
    if old is not None:
        return f", with --data {DATA_IS_LOST}=true, for {old.host.name} is there, down, and has nothing of it"
    return "" if old_is_off else f", with --data {OLD_IS_OFF}=true, when the power of {place.pair.peer} is off"


def _replace(state: State, run: Run, place: Place, old: Place | None) -> int:
    """The exit code; `old`: the other host, where that is there and has lost its data."""
    role = place.instance.name
    confirm(role, f"{NOTHING}: nobody to confirm: add -y to promote {role}, or --dry to look", NOTHING)
    hold_now(state, {it.host.name: it.seen for it in (place, old) if it is not None})
    if old is None:
        return 0 if _promote(state, run, place) else 1
    return 0 if _kept(place, partial(_fence, state, run, old)) and _promote(state, run, place, old) else 1


def _wish(state: State) -> tuple[str, bool, bool]:
    """The role, and whether somebody has said that its old host is off, or its data lost. Raises Refusal with all that
    is wrong.
    """
    data = next(iter(state.inventory)).data
    names = named_roles(data.get(PROMOTE)) or ()
    off, lost = (data.get(name, False) for name in (OLD_IS_OFF, DATA_IS_LOST))
    problems = []
    if len(names) != 1:
        problems.append(f"{PROMOTE}: expected the name of one role, observed {data.get(PROMOTE)!r}")
    for name, said in ((OLD_IS_OFF, off), (DATA_IS_LOST, lost)):
        if not isinstance(said, bool):
            problems.append(f"{name}: expected true or false, observed {said!r}")
    if problems:
        raise Refusal(listed(NOTHING, problems))
    return names[0], off, lost


def _without_data(state: State, run: Run, place: Place) -> Place | None:
    """The other host of a role, where it was seen to be there, its server down, and what that had gone; else None."""
    seen = survey(state, run).get(place.pair.peer)
    pair = run.tier.hosts[place.pair.peer].pair_of(place.instance.name) if seen is not None else None
    if seen is None or seen.observed is None or pair is None:
        return None
    instance = _instance(seen.desired, place.instance.name)
    host = next(item for item in state.inventory.get_active_hosts() if item.name == place.pair.peer)
    what = stance(instance, seen.observed)
    is_bare = what in WITHOUT or (what is Stance.FENCED and not pieces(instance.name, seen.observed))
    return Place(host, instance, pair, seen) if is_bare else None


def _goes_along(place: Place) -> OwnAddress | None:
    """What keeps the role's address on a host, where that goes along with who serves it."""
    plans = (plan for plan in place.seen.desired.addresses if plan.role.name == place.instance.name)
    return next((plan for plan in plans if plan.role.own_address is not None), None)


def _given_by_its_network(state: State, old: Place | None) -> list[str]:
    """Why the old host, which is there, cannot let the role's address go, in words."""
    plan = _goes_along(old) if old is not None else None
    if old is None or plan is None:
        return []
    address = str(plan.role.address)
    look = (
        f"found=$(ip -o -4 address show to {address}/32) || exit 1; "
        f"printf '%s' \"$found\" | grep -vF ' {address}/32 ' || test $? = 1"
    )
    asked = run_command(state, old.host, look)
    if not asked.succeeded:
        return [f"{old.host.name}: whether it can let {address} go is not known: {printable(asked.output.strip())}"]
    found = asked.stdout.strip()
    if not found and (plan.unit in kept_units(old.observed) or address not in old.observed.addresses):
        return []
    how = printable(found)[:200] or f"no {plan.unit}"
    return [
        f"{old.host.name} has {address} by its network's configuration ({how}), "
        f"expected by {plan.unit} alone, which can let it go: take it out of that configuration, or switch the host off"
    ]


def _fence(state: State, run: Run, old: Place) -> None:
    """A server whose data is gone starts no more, and that is seen, as that it is gone still. Raises MoveFailed.

    So is its role's address, where that goes along: behind the fence, and before another one asks for it.
    """
    role, name = old.instance.name, str(old.host.name)
    words = f"{role} was put in the place of this one on {old.pair.peer}: deploy, which makes this one its standby"
    job = script("fence-start", unit=unit_name(role), fence=handed_over_drop_in(role), words=words)
    done = run_command(state, old.host, job, bound=CHANGE)
    if not done.succeeded:
        raise MoveFailed(f"{name}: it is not kept from its start: {done.output.strip()}: nothing was promoted")
    plan = _goes_along(old)
    if plan is not None and (stays := let_go(state, old.host, str(plan.role.address), plan.unit)):
        left = _unfence(state, old)
        raise MoveFailed(f"{name}: {stays}: nothing was promoted{left}")
    now = look_at_all(state, run)[name].observed
    if now is None or stance(old.instance, now) is not Stance.FENCED or pieces(role, now) != pieces(role, old.observed):
        left = _unfence(state, old)
        raise MoveFailed(
            f"{name}: it is not down without its data any more, as it was seen to be: nothing was promoted{left}"
        )


def _unfence(state: State, old: Place) -> str:
    """Its next start is as before, and its address where it was; in words, what is not."""
    fence = handed_over_drop_in(old.instance.name)
    directory = fence.rpartition("/")[0]
    run_command(state, old.host, f"rm -f {fence}; rmdir {directory} 2>/dev/null; systemctl daemon-reload", bound=CHANGE)
    if (plan := _goes_along(old)) is None:
        return ""
    # Behind what keeps the address away, too.
    done = run_command(state, old.host, script("keep-address", unit=plan.unit), bound=CHANGE)
    return "" if done.succeeded else f"; {plan.role.address} is not there again: {printable(done.output.strip())}"


def _place(state: State, run: Run, role: str) -> Place:
    """Where the role's standby is. Raises Refusal where that is not known."""
    pairs = {name: pair for name, host in run.tier.hosts.items() if (pair := host.pair_of(role)) is not None}
    if not pairs:
        raise Refusal(
            f"{NOTHING}: {role} has no standby in this inventory, expected a host in group "
            f"redis_{role}_standby: restore a backup (docs/runbook.md, Host installed anew)"
        )
    looks = survey(state, run)
    hosts = {host.name: host for host in state.inventory.get_active_hosts()}
    seen = {name: looks[name] for name in pairs if name in looks and looks[name].observed is not None}
    if not seen:
        lost = "; ".join(f"{name}: {why}" for name, why in unreachable(state).items())
        raise Refusal(f"{NOTHING}: {role}: neither of {' and '.join(sorted(pairs))} was seen: {lost}")
    standbys = [name for name in sorted(seen) if _is_standby(role, seen[name])]
    name = standbys[0] if len(standbys) == 1 else next((name for name in sorted(seen) if _serves(role, seen[name])), "")
    if not name:
        raise Refusal(
            f"{NOTHING}: {role}: {' and '.join(sorted(seen))}: no server that follows another one was seen, "
            "expected the standby: look at it by tasks/status.py"
        )
    desired = seen[name].desired
    return Place(hosts[name], _instance(desired, role), pairs[name], seen[name])


def _instance(desired: Host, role: str) -> Instance:
    return next(item for item in desired.instances if item.name == role)


def _says(role: str, look: Look) -> str:
    server = look.observed.servers.get(role) if look.observed else None
    return server.info.get("role", "") if server is not None and server.refusal is None else ""


def _is_standby(role: str, look: Look) -> bool:
    return _says(role, look) == "slave"


def _serves(role: str, look: Look) -> bool:
    return _says(role, look) == "master"


def _ssh(state: State, pair: Pair) -> NotReached | None:
    """How SSH does not get to the other host of a pair; None where it does. Raises Refusal where it was not tried."""
    if any(host.name == pair.peer for host in state.activated_hosts):
        return None
    lost = unreachable(state)
    if pair.peer not in lost:
        raise Refusal(
            f"{NOTHING}: {pair.peer} takes no part in this run, expected that it is tried whether it "
            "answers: without --limit and --exclude"
        )
    return NotReached(not_answering(state, pair.peer), lost[pair.peer])


def _side(state: State, run: Run, place: Place) -> Side:
    role, instance = place.instance.name, place.instance
    operator = run.tier.passwords[place.host.name].get(role, {}).get(OPERATOR) or ""
    return Side(state, place.host, role, instance.where, operator)


def _kept(place: Place, action: Callable[[], None]) -> bool:
    """Whether it was done; what failed is said."""
    try:
        action()
    except MoveFailed as error:
        words = f"{place.instance.name}: {error}: run it again, which says what is"
        place.host.log_styled(words, fg="red", log_func=logger.error)
        return False
    return True


def _promote(state: State, run: Run, place: Place, fenced: Place | None = None) -> bool:
    """Whether it serves; `fenced`: the old one, where that is there and kept from its start, so that nobody asks it."""
    own, said = _side(state, run, place), ""
    password = Secret(secrets.token_hex(32))
    places = [] if fenced else [f"{place.pair.there[0]}:{place.pair.there[1]}", *_ssh_place(state, place.pair)]
    command = promote_script(place.seen.desired, place.instance, place.pair, places, _quiet(place))
    rules = f"{HANDOVER_RULES} {REBIND_RULES}" if place.instance.role.own_address else HANDOVER_RULES
    if not _kept(place, lambda: own.allow(HANDOVER, rules, password)):
        return False
    done = run_command(state, place.host, command, f"{revealed(password)}\n", CHANGE)
    said = done.stdout.strip().rpartition("\n")[2]
    if not said.startswith(PROMOTED):
        broken = "the connection broke amid it: run it again, which says what is"
        words = printable(said or done.output.strip() or broken)
        place.host.log_styled(f"{place.instance.name}: {words}", fg="red", log_func=logger.error)
        _kept(place, lambda: _forget(own))
        if fenced is not None and said.startswith(NOT_PROMOTED) and (left := _unfence(state, fenced)):
            fenced.say(f"as before{left}", "red")
        return False
    if not _kept(place, partial(_finish, own, place)):
        return False
    where = f"{place.instance.address}:{place.instance.role.port}"
    anew = "" if place.instance.role.own_address else "; endpoints are to be written anew"
    place.say(
        f"promoted: served by {place.host.name} at {where}; {place.pair.peer} serves it no more, whenever it is back: "
        f"deploy then, which makes it the standby and keeps what is there{anew}",
        "green",
    )
    if lacks := said.removeprefix(PROMOTED).partition("; ")[2]:
        place.host.log_styled(f"{place.instance.name}: {printable(lacks)}", fg="red", log_func=logger.error)
    return not lacks


def _forget(own: Side) -> None:
    """Nobody may promote it any more."""
    own.ask(("ACL", "DELUSER", HANDOVER))


def _finish(own: Side, place: Place) -> None:
    """Nothing of a standby is left in a server that serves, and its snapshot is its own. Raises MoveFailed."""
    _forget(own)
    own.ask(("CONFIG", "SET", *(word for item in OF_NONE.items() for word in item)))
    if is_persistent(place.instance.role):
        save(own)


def _ssh_place(state: State, pair: Pair) -> list[str]:
    """Where SSH goes to on the other host, as far as it is named by number."""
    data = next(host.data for host in state.inventory if host.name == pair.peer)
    named = re.fullmatch(r"[0-9.]{7,15}", pair.ssh_there)
    return [f"{pair.ssh_there}:{data.get('ssh_port') or 22}"] if named else []


def _quiet(place: Place) -> int:
    """Seconds without a word after which a primary is gone, or its standby gives the link up by itself."""
    config = place.observed.servers[place.instance.name].config
    said = [config.get(name, "") for name in ("repl-ping-replica-period", "repl-timeout")]
    ping, timeout = (int(text) if text.isdecimal() else usual for text, usual in zip(said, (10, 60), strict=True))
    return min(2 * ping, timeout)


def promote_script(desired: Host, instance: Instance, pair: Pair, places: Sequence[str], quiet: int = QUIET) -> str:
    """Shell that promotes a standby, in a unit of its own. Pure.

    `places`: where the old host is tried; `quiet`: seconds in which a primary that is there is heard.
    """
    role = instance.name
    plan = next((plan for plan in desired.addresses if plan.role.name == role and plan.role.own_address), None)
    # Whoever answers there is the old one: it goes along with who serves the role.
    at_role = [f"{instance.address}:{instance.role.port}"] if plan else []
    text = next(file.content or "" for file in desired.files if file.path == begun_file(role))
    job = script(
        "promote",
        role=role,
        unit=unit_name(role),
        user=HANDOVER,
        host=instance.where[0],
        port=instance.role.port,
        tls=sealed_words(role, instance.asks_certificates) if instance.role.copies_by_tls else [],
        places=[*places, *at_role] if places else [],
        old_host=pair.there[0],
        old_port=pair.there[1],
        drop_in=copy_drop_in(role),
        copy=copy_file(role),
        begun=begun_file(role),
        moved=moved_file(role),
        text=text,
        snapshot="" if instance.role.appendonly else snapshot_file(instance.role),
        promoted=promoted_file(role),
        mark=MARK,
        served=served_file(role),
        note=NOTE,
        pause=HOLDS,
        patience=BACK,
        quiet=quiet,
        address=instance.address if plan else "",
        bound=" ".join((instance.address, instance.where[0])),
        keeper=plan.unit if plan else "",
    )
    return detached("promote", role, job, PATIENCE + quiet, "yes")

"""Promote: a standby serves in the place of its primary, whose host is lost, and stays that (decision 0034).

What is done on the host is a unit of its own: a controller that is killed amid it changes nothing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from pyinfra import logger
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import HANDOVER, HANDOVER_RULES, OPERATOR
from tasks.catalogue.data_names import OLD_IS_OFF, PROMOTE
from tasks.catalogue.printable import printable
from tasks.catalogue.requested import named_roles
from tasks.catalogue.secret import Secret, revealed
from tasks.compare.promotion import lag, promotion_problems
from tasks.desired.guard import NOTE, sealed_words
from tasks.desired.host import Host, Instance, Pair
from tasks.desired.paths import (
    begun_file,
    copy_drop_in,
    copy_file,
    moved_file,
    promoted_file,
    served_file,
    snapshot_file,
    unit_name,
)
from tasks.desired.standby import OF_NONE
from tasks.observed.bounds import CHANGE
from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.observed.state import Observed, count_keys
from tasks.run.ending import Refusal, listed
from tasks.run.options import only_plans
from tasks.run.session import Run, current, unreachable
from tasks.run.survey import Look, survey
from tasks.steps.handover import MoveFailed, Side, detached
from tasks.steps.lock import hold_now
from tasks.steps.move import is_persistent
from tasks.steps.swap import confirm, save

HOLDS = 60_000  # milliseconds for which nothing is written amid it, at most: it asks the old host once more meanwhile
BACK = 20  # seconds for a standby to follow again where it is not promoted after all
PATIENCE = 120  # seconds for all of it
PROMOTED = "promoted: "
NOTHING = "Nothing was promoted"
MARK = "# This host was put in the place of {peer} for {role}: that one was not there. Gone when it is the standby."


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
    role, old_is_off = _wish(state)
    place = _place(state, run, role)
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
    looks_only = only_plans()
    problems = list(
        promotion_problems(place.pair, server.info, keys, _ssh(state, place.pair), old_is_off or looks_only)
    )
    if problems:
        raise Refusal(listed(NOTHING, [f"{role}: {problem}" for problem in problems]))
    where = f"{place.host.name} in the place of {place.pair.peer}"
    if looks_only:
        word = "" if old_is_off else f", with --data {OLD_IS_OFF}=true, when the power of {place.pair.peer} is off"
        place.say(f"could be served by {where}{word}")
        return 0
    place.say(f"to be served by {where}")
    confirm(role, f"{NOTHING}: nobody to confirm: add -y to promote {role}, or --dry to look", NOTHING)
    hold_now(state, {place.host.name: place.seen})
    return 0 if _promote(state, run, place) else 1


def _wish(state: State) -> tuple[str, bool]:
    """The role, and whether somebody has said that its old host is off. Raises Refusal with all that is wrong."""
    data = next(iter(state.inventory)).data
    names, off = named_roles(data.get(PROMOTE)) or (), data.get(OLD_IS_OFF, False)
    problems = []
    if len(names) != 1:
        problems.append(f"{PROMOTE}: expected the name of one role, observed {data.get(PROMOTE)!r}")
    if not isinstance(off, bool):
        problems.append(f"{OLD_IS_OFF}: expected true or false, observed {off!r}")
    if problems:
        raise Refusal(listed(NOTHING, problems))
    return names[0], off


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


def _ssh(state: State, pair: Pair) -> str | None:
    """Why SSH does not get to the other host of a pair; None where it does. Raises Refusal where it was not tried."""
    if any(host.name == pair.peer for host in state.activated_hosts):
        return None
    lost = unreachable(state)
    if pair.peer not in lost:
        raise Refusal(
            f"{NOTHING}: {pair.peer} takes no part in this run, expected that it is tried whether it "
            "answers: without --limit and --exclude"
        )
    return lost[pair.peer]


def _side(state: State, run: Run, place: Place) -> Side:
    role, instance = place.instance.name, place.instance
    operator = run.tier.passwords[place.host.name].get(role, {}).get(OPERATOR) or ""
    return Side(state, place.host, role, (instance.address, instance.role.port), operator)


def _kept(place: Place, action: Callable[[], None]) -> bool:
    """Whether it was done; what failed is said."""
    try:
        action()
    except MoveFailed as error:
        words = f"{place.instance.name}: {error}: run it again, which says what is"
        place.host.log_styled(words, fg="red", log_func=logger.error)
        return False
    return True


def _promote(state: State, run: Run, place: Place) -> bool:
    own, said = _side(state, run, place), ""
    password = Secret(secrets.token_hex(32))
    command = promote_script(place.seen.desired, place.instance, place.pair, _ssh_place(state, place.pair))
    if not _kept(place, lambda: own.allow(HANDOVER, HANDOVER_RULES, password)):
        return False
    done = run_command(state, place.host, command, f"{revealed(password)}\n", CHANGE)
    said = done.stdout.strip().rpartition("\n")[2]
    if not said.startswith(PROMOTED):
        broken = "the connection broke amid it: run it again, which says what is"
        words = printable(said or done.output.strip() or broken)
        place.host.log_styled(f"{place.instance.name}: {words}", fg="red", log_func=logger.error)
        _kept(place, lambda: _forget(own))
        return False
    if not _kept(place, partial(_finish, own, place)):
        return False
    where = f"{place.instance.address}:{place.instance.role.port}"
    place.say(
        f"promoted: served by {place.host.name} at {where}; {place.pair.peer} serves it no more, whenever it is back: "
        "deploy then, which makes it the standby and keeps what is there; endpoints are to be written anew",
        "green",
    )
    return True


def _forget(own: Side) -> None:
    """Nobody may promote it any more."""
    own.ask(("ACL", "DELUSER", HANDOVER))


def _finish(own: Side, place: Place) -> None:
    """Nothing of a standby is left in a server that serves, and its snapshot is its own. Raises MoveFailed."""
    _forget(own)
    own.ask(("CONFIG", "SET", *(word for item in OF_NONE.items() for word in item)))
    if is_persistent(place.instance.role):
        save(own)


def _ssh_place(state: State, pair: Pair) -> str:
    """Where SSH goes to on the other host, as far as it is named by number."""
    data = next(host.data for host in state.inventory if host.name == pair.peer)
    return f"{pair.ssh_there}:{data.get('ssh_port') or 22}" if re.fullmatch(r"[0-9.]{7,15}", pair.ssh_there) else ""


def promote_script(desired: Host, instance: Instance, pair: Pair, ssh: str = "") -> str:
    """Shell that promotes a standby, in a unit of its own. Pure. `ssh`: where that host answers SSH, if it does."""
    role = instance.name
    text = next(file.content or "" for file in desired.files if file.path == begun_file(role))
    job = script(
        "promote",
        role=role,
        unit=unit_name(role),
        user=HANDOVER,
        host=instance.address,
        port=instance.role.port,
        tls=sealed_words(role, instance.asks_certificates) if instance.role.copies_by_tls else [],
        places=[f"{pair.there[0]}:{pair.there[1]}", *([ssh] if ssh else [])],
        old_host=pair.there[0],
        old_port=pair.there[1],
        drop_in=copy_drop_in(role),
        copy=copy_file(role),
        begun=begun_file(role),
        moved=moved_file(role),
        text=text,
        snapshot="" if instance.role.appendonly else snapshot_file(instance.role),
        promoted=promoted_file(role),
        mark=MARK.format(peer=pair.peer, role=role),
        served=served_file(role),
        note=NOTE,
        pause=HOLDS,
        patience=BACK,
    )
    return detached("promote", role, job, PATIENCE, "yes")

"""Standby: the servers that replicate a role for good follow the one that serves it, and are in sync.

Whose server that is was found before anything was compared (tasks/compare/pairs.py). Its primary notices nothing: it is
neither restarted nor paused. Data that lies on the standby's host and is no copy is set aside, never deleted.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import HANDOVER, OPERATOR, SAMPLE_RULES
from tasks.catalogue.printable import printable
from tasks.catalogue.secret import Secret
from tasks.compare.difference import Remedy
from tasks.desired.guard import Mark, with_notes
from tasks.desired.host import Instance, Pair
from tasks.desired.paths import RECORDS, REPLACED, UNITS, log_directory, promoted_file, snapshot_file
from tasks.observed.bounds import ASIDE_PATIENCE, CHANGE, PATIENCE
from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.observed.state import count_keys
from tasks.observed.tls import Trust
from tasks.run.session import current
from tasks.run.survey import Look
from tasks.steps.handover import BACK, POLL, MoveFailed, Side, meet, within
from tasks.steps.instances import by_role
from tasks.steps.move import HELD_BACK, NO_LINK, TRIES, copy_problem, is_on_its_way
from tasks.steps.operations import call
from tasks.steps.sample import differing_keys
from tasks.steps.sandbox import as_role

FOLLOWS = "Bring standbys into sync"
OURS = (Remedy.FOLLOW, Remedy.RENEW)


def bring_into_sync(seen: Look) -> None:
    """Every standby of the host follows its primary and has what that has. After the start of those that serve.

    On the host of one that is to start it is an operation, too, which waits for what follows it already: pyinfra orders
    the operations of two hosts by those that they share alone.
    """
    due = [item for item in by_role(seen, OURS) if item.is_standby]
    primaries = [item for item in by_role(seen, Remedy.START, "unit") if seen.desired.pair_of(item.name) is not None]
    if due or primaries:
        told = {item.name: _paths(seen, item) for item in due}
        aside = [item.name for item in by_role(seen, Remedy.RENEW)]
        begun = [item.name for item in primaries if not item.is_standby]
        call(name=FOLLOWS, function=_follow_all, paths=told, aside=aside, begun=begun)


def _paths(seen: Look, instance: Instance) -> list[str]:
    """What says on the host that its server serves, or keeps it from its next start."""
    listed = by_role(seen, Remedy.FOLLOW, "file").get(instance, [])
    return [item.name for item in listed]


def _follow_all(
    state: State, host: Host, paths: Mapping[str, Sequence[str]], aside: Sequence[str], begun: Sequence[str]
) -> bool:
    """One that fails keeps no other back."""
    desired = current(state).tier.hosts[host.name]
    done = True
    for instance in desired.instances:
        if instance.name in begun:
            _wait_for_its_standby(state, host, instance, desired.pair_of(instance.name))
    for instance in desired.instances:
        pair = desired.pair_of(instance.name)
        if instance.name not in paths or pair is None or not instance.is_standby:
            continue
        try:
            said = follow(state, host, instance, pair, paths[instance.name], instance.name in aside)
            host.log_styled(f"{instance.name}: {said}", fg="green")
        except MoveFailed as error:
            host.log_styled(f"{instance.name}: no standby: {error}", fg="red", log_func=logger.error)
            done = False
    return done


def _wait_for_its_standby(state: State, host: Host, instance: Instance, pair: Pair | None) -> None:
    """The standby that was left without a primary has found it again; what it lacks else, the proof says."""
    if pair is None:
        return
    try:
        standby, own = sides(state, host, instance, pair)
        if standby.info().get("role") == "slave":
            wait_until_in_sync(instance, own, standby)
    except MoveFailed:
        pass


def sides(state: State, host: Host, instance: Instance, pair: Pair) -> tuple[Side, Side]:
    """The role's server on the other host of its pair, and that on this one. Raises MoveFailed when one was lost."""
    hosts = {item.name: item for item in state.active_hosts}
    if pair.peer not in hosts:
        raise MoveFailed(f"{pair.peer} failed before, or takes no part: mend that and deploy to both")
    passwords = current(state).tier.passwords
    there, here = (
        Side(state, hosts[name], pair.role, where, passwords[name].get(pair.role, {}).get(OPERATOR) or "")
        for name, where in ((pair.peer, pair.there), (host.name, instance.where))
    )
    return there, here


def follow(state: State, host: Host, instance: Instance, pair: Pair, paths: Sequence[str], aside: bool) -> str:
    """A standby follows its primary and is in sync; what it has, in words. Its files are written already.

    `paths`: what says that it serves, or keeps it down; `aside`: whether its data is none of its primary's. Raises
    MoveFailed in words; the primary serves all the while.
    """
    primary, own = sides(state, host, instance, pair)
    role = within(BACK, primary.info).get("role")
    if role != "master":
        raise MoveFailed(f"{pair.peer}: its role is {role} meanwhile, expected master: deploy again")
    meet_other(own, instance, pair)
    is_down = own.says(f"systemctl show -P MainPID {instance.unit}") == "0"
    if is_down and aside:
        set_aside(state, host, instance)
    if paths:
        directory = f"{UNITS}/{instance.unit}.d"
        gone = f"rm -f {' '.join(paths)}; rmdir {directory} 2>/dev/null; systemctl daemon-reload && echo gone"
        own.says(gone)
    if is_down:
        command = f"timeout {PATIENCE:.0f} systemctl start {instance.unit} && systemctl reset-failed {instance.unit}"
        done = run_command(state, host, command, bound=CHANGE)
        if not done.succeeded:
            raise MoveFailed(f"it does not start: {done.output.strip() or 'see the journal of its unit'}")
    wait_until_in_sync(instance, primary, own)
    _is_replaceable(state, primary)
    compare_samples(primary, own)
    keys, there = (count_keys(side.info())[0] for side in (own, primary))
    return f"the standby of {pair.peer} is in sync, {keys} keys, {there} there"


def _is_replaceable(state: State, primary: Side) -> None:
    """A primary whose standby has all can be replaced from here on: its next start asks whether it was."""
    run, name, mark = current(state), str(primary.host.name), promoted_file(primary.role)
    primary.says(f"rm -f {mark}; sync {RECORDS} && echo gone")
    as_it_is = with_notes(run.tier.hosts[name], {primary.role: Mark.GONE})
    run.tier = replace(run.tier, hosts={**run.tier.hosts, name: as_it_is})


def meet_other(own: Side, instance: Instance, pair: Pair) -> None:
    """Who answers where the other server of a pair is, as seen from this one, is that one. Raises MoveFailed.

    Where they speak in clear to each other nobody can show it.
    """
    if not instance.role.copies_by_tls:
        return
    there = next(item for item in current(own.state).tier.hosts[pair.peer].instances if item.name == pair.role)
    if there.credentials is None:
        raise MoveFailed(f"{pair.role}: it is to speak TLS, and nothing is known by which: a fault of this tool")
    meet(own, pair.there, Trust(there.credentials, True, there.address))


def set_aside(state: State, host: Host, instance: Instance) -> None:
    """What lies on the host of a stopped role has another name: no start finds it. Raises MoveFailed."""
    role = instance.role
    stamp = f"{REPLACED}{datetime.now(UTC):%Y%m%d%H%M%S}"
    job = script("set-aside", log=log_directory(role), snapshot=snapshot_file(role), replaced=stamp)
    done = run_command(state, host, as_role(instance, job, ASIDE_PATIENCE, stopped=instance.unit), bound=CHANGE)
    if not done.succeeded:
        raise MoveFailed(f"what was kept here is not set aside: {done.output.strip()}")
    kept = [line.removeprefix("kept ") for line in done.stdout.splitlines() if line.startswith("kept /")]
    if kept:
        words = (
            "what was here is set aside, for it may have writes that its primary has not; when nobody needs it: rm -rf "
            f"{printable(' '.join(kept))}"
        )
        host.log_styled(f"{role.name}: {words}", fg="blue")


def wait_until_in_sync(instance: Instance, primary: Side, own: Side) -> None:
    """A standby has what its primary has, in memory and on disk. Raises MoveFailed when that lasts.

    One whose disk is full begins again and again, and each time its primary makes a snapshot for it.
    """
    began = linked = said = time.monotonic()
    first = _snapshots(primary.info())
    while True:
        info, there = within(BACK, own.info), within(BACK, primary.info)
        now = time.monotonic()
        if is_on_its_way(info, there):
            linked = now
        problem = copy_problem(info, instance.role.appendonly)
        if not problem:
            return
        if _snapshots(there) - first > TRIES:
            raise MoveFailed("it begins again and again: see the journal of its unit, and its disk")
        if now - linked > NO_LINK or now - began > PATIENCE:
            raise MoveFailed(f"{problem} after {now - began:.0f} s")
        if now - said > HELD_BACK:
            own.host.log_styled(f"{instance.name}: {problem}: waiting", fg="yellow")
            said = now
        time.sleep(POLL)


def _snapshots(info: Mapping[str, str]) -> int:
    """How often a server has given its whole data to another one; 0 where it does not say."""
    said = info.get("sync_full", "")
    return int(said) if said.isascii() and said.isdecimal() else 0


def compare_samples(primary: Side, own: Side) -> None:
    """What both hold under some keys is the same. Raises MoveFailed when it is not."""
    password = Secret(secrets.token_hex(32), ())
    try:
        for side in (primary, own):
            side.allow(HANDOVER, SAMPLE_RULES, password)
        databases = sorted(name[2:] for name in primary.info() if name.startswith("db") and name[2:].isdecimal())
        wrong, asked = differing_keys(
            lambda *commands: primary.ask(*commands, user=HANDOVER, password=password),
            lambda *commands: own.ask(*commands, user=HANDOVER, password=password),
            databases,
        )
    finally:  # on both, also where one of them fails
        failed = [error for side in (primary, own) if (error := _forgotten(side))]
    if failed:
        raise failed[0]
    if wrong:
        raise MoveFailed(
            f"{own.host.name}: {wrong} of {asked} keys that were compared differ from those of its primary"
        )


def _forgotten(side: Side) -> MoveFailed | None:
    """Why the user that read samples may still be there; None when it is gone."""
    try:
        side.ask(("ACL", "DELUSER", HANDOVER))
    except MoveFailed as error:
        return error
    return None

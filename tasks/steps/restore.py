"""Restore: a role's data is that of a copy, proved before and after; what was there stays beside it (decision 0026)."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from pyinfra.api.state import State

from tasks.catalogue.backup import NAME
from tasks.catalogue.data_names import ANYWAY_RESTORE, AT, INTO, RESTORE
from tasks.catalogue.printable import printable
from tasks.catalogue.requested import named_roles
from tasks.compare.backups import Record, recorded
from tasks.compare.copies import MOMENT, Wish, choose, cut_second, in_place, manifest, passed_by, set_back, unfit_copy
from tasks.compare.pairs import WHICH
from tasks.compare.restarts import keeps_on_disk
from tasks.desired.backup import TOOL, tool_command
from tasks.desired.paths import (
    CONFIG_DIRECTORY,
    DATA_ROOT,
    NEW,
    backup_record,
    log_directory,
    snapshot_file,
)
from tasks.observed.connection import CommandResult
from tasks.observed.copies import RUN, Copy
from tasks.observed.records import Unreadable
from tasks.observed.script import script
from tasks.run.ending import Refusal, listed
from tasks.run.options import only_plans, options
from tasks.run.session import Run, current, unreachable
from tasks.run.survey import survey
from tasks.steps import gate
from tasks.steps.copies import known_copies
from tasks.steps.lock import hold_now
from tasks.steps.replace import Place, put_in_place, swap, tool

PLACE = r"/[A-Za-z0-9_./-]{1,200}"
OF_ROLES = (DATA_ROOT, CONFIG_DIRECTORY)  # a role's user writes below them, or reads there what is not its own


def restore_role(state: State) -> int:
    """The data of one role is that of a copy; returns the exit code. Raises Refusal before anything is changed."""
    run = current(state)
    return run.only_once("restore", lambda: _restore_role(state, run))


def is_in_place(state: State) -> bool:
    """Whether a restore was asked for that has put a copy in the place of data."""
    return not only_plans() and not any(host.data.get(INTO) for host in state.inventory)


def _restore_role(state: State, run: Run) -> int:
    wish = _wish(state)
    place = _place(state, run, wish)
    second = _own_log(place, wish)
    if second is not None:
        return _undo(place, wish, second)
    record = recorded(backup_record(wish.role), place.observed)
    try:
        copies = known_copies(state, place.host, place.plan)
    except Unreadable as error:
        raise Refusal(f"Nothing was restored: {wish.role}: {error}") from error
    _ask_for_a_word(place, copies, record, wish)
    copy, why = choose(copies, wish.at, record, place.observed.asked_at)
    if copy is None:
        raise Refusal(f"Nothing was restored: {wish.role}: {why}")
    problems = unfit_copy(place.instance, place.observed, copy, wish)
    if problems:
        raise Refusal(listed("Nothing was restored", [f"{wish.role}: {problem}" for problem in problems]))
    for words in passed_by(copy, wish):
        place.say(f"{ANYWAY_RESTORE}=true passes by: {words}", "yellow")
    place.say(f"from the copy of {copy}{why}", "blue")
    if wish.into:
        return 0 if only_plans() or _beside(place, wish.into, lambda: _fetched(place, copy, wish.into)) else 1
    place.say(f"in the place of {_replaced(place)}", "blue")
    if only_plans():
        return 0
    _confirm(wish.role)
    hold_now(state, {place.host.name: place.seen})
    return 0 if _restore(place, copy, wish) else 1


def _ask_for_a_word(place: Place, copies: Sequence[Copy], record: Record | None, wish: Wish) -> None:
    """Raises Refusal where the copies are not all that this host has made, unless a person names one or says so."""
    words = set_back(copies, record, place.plan.backup.of(wish.role))
    if not words:
        return
    if not wish.anyway and not re.fullmatch(RUN, wish.at):
        raise Refusal(
            f"Nothing was restored: {wish.role}: {words}: find out who (docs/runbook.md#backup-not-proved); to take "
            f"one that is there, name its run by {AT}=, or add --data {ANYWAY_RESTORE}=true"
        )
    place.say(f"passes by: {words}", "yellow")


def _wish(state: State) -> Wish:
    """What `--data` asks for. Raises Refusal with all that is wrong with it."""
    data = next(iter(state.inventory)).data
    names = named_roles(data.get(RESTORE)) or ()
    at, into, anyway = data.get(AT), data.get(INTO), data.get(ANYWAY_RESTORE, False)
    problems = []
    if len(names) != 1:
        problems.append(f"{RESTORE}: expected the name of one role, observed {data.get(RESTORE)!r}")
    if at is not None and not re.fullmatch(f"{RUN}|{MOMENT}", str(at)):
        problems.append(
            f"{AT}: expected a time in UTC, as '2026-11-27 13:00', or the run of a copy as tasks/backup.py --data "
            f"list=true shows it, observed {at!r}"
        )
    if into is not None and not _is_place(str(into)):
        problems.append(
            f"{INTO}: expected a directory of the role's host that is not there yet, below none of "
            f"{', '.join(OF_ROLES)}, observed {into!r}: name another, as /srv/look"
        )
    if not isinstance(anyway, bool):
        problems.append(f"{ANYWAY_RESTORE}: expected true or false, observed {anyway!r}")
    if problems:
        raise Refusal(listed("Nothing was restored", problems))
    return Wish(names[0], str(at or ""), str(into or ""), anyway)


def _is_place(text: str) -> bool:
    """Whether root may make a directory of this name for a role's user; what is there is looked at on the host."""
    inside = any(f"{text}/".startswith(f"{directory}/") for directory in OF_ROLES)
    return re.fullmatch(PLACE, text) is not None and posixpath.normpath(text) == text and not inside


def _place(state: State, run: Run, wish: Wish) -> Place:
    """Where the role is. Raises Refusal where that is not known, or it is not as deployed.

    Of two hosts of which nobody can tell who serves it, neither is started: only beside may be looked at a copy there.
    """
    hosts = {host.name: host for host in state.inventory.get_active_hosts() if host.name in run.tier.hosts}
    looks = survey(state, run)
    undecided = [
        f"{name}: {item}"
        for name, seen in sorted(looks.items())
        for item in seen.unknown
        if item.role == wish.role and item.what == WHICH
    ]
    if undecided and not wish.into:
        raise Refusal(listed("Nothing was restored, for that starts its server", undecided))
    carrying = [
        Place(state, hosts[name], instance, plan, looks[name])
        for name in sorted(looks)
        for instance in run.tier.hosts[name].instances
        for plan in run.tier.hosts[name].backups
        if plan.role.name == instance.name == wish.role
    ]
    found = [place for place in carrying if undecided or not place.instance.is_standby]
    if not found:
        lost = "; ".join(f"{name}: {why}" for name, why in unreachable(state).items())
        raise Refusal(
            f"Nothing was restored: {wish.role}: no host of this run has backups of it: set {NAME} there, and deploy"
            + (f" ({lost})" if lost else "")
        )
    if found[0].seen.observed is None:
        raise Refusal(f"Nothing was restored: {found[0].host.name} could not be read: {found[0].seen.error}")
    if TOOL not in found[0].observed.files or not _is_deployed(found[0]):
        raise Refusal(f"Nothing was restored: {wish.role} is not deployed on {found[0].host.name} yet: deploy first")
    return found[0]


def _replaced(place: Place) -> str:
    """What is no more what the role has, in words."""
    words = in_place(place.instance, place.observed)
    if not place.instance.role.paired:
        return words
    return (
        f"{words}, and of what its standby has, which copies it: where that is more than is here, promote that one "
        "instead (docs/runbook.md, Promote a standby)"
    )


def _is_deployed(place: Place) -> bool:
    """Whether what runs a role is there: only its data may be missing."""
    return place.observed.unit(place.instance.unit)["LoadState"] == "loaded" and place.instance.user in (
        place.observed.accounts
    )


def _confirm(role: str) -> None:
    """Raises Refusal unless a person wants it."""
    if options().get("yes"):
        return
    if not sys.stdin.isatty():
        raise Refusal(f"Nothing was restored: nobody to confirm: add -y to restore {role}, or --dry to look")
    try:
        answer = input(f"    Type {role} to restore it: ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip() != role:
        raise Refusal("Nothing was restored: not confirmed")


def _fetched(place: Place, copy: Copy, into: str) -> CommandResult:
    return tool(place, copy, "fetch", copy.run, f"{into}/log", f"{into}/snapshot.rdb")


def _beside(place: Place, into: str, fill: Callable[[], CommandResult]) -> bool:
    """What `fill` brings is in a new directory on the host."""
    user = place.instance.user
    made = place.run(script("make-beside", into=into, user=user))
    if not made.succeeded:
        return place.fail(f"{into} cannot be made: {printable(made.output.strip())}")
    done = fill()
    if not done.succeeded:
        place.run(f"rm -rf {into}")
        return place.fail(f"not restored: {done.output.strip()}")
    place.say(f"restored beside, in {into} on {place.host.name}: its own data is as it was")
    return True


def _restore(place: Place, copy: Copy, wish: Wish) -> bool:
    """Proved, brought here, put in place, started and proved again; whatever fails, what was there serves on."""
    proved = tool(place, copy, "prove", copy.run)
    if not proved.succeeded:
        words = f"the copy is not usable: {proved.output.strip()}"
        if not wish.anyway:
            return place.fail(f"{words}: choose another by {AT}=, or add --data {ANYWAY_RESTORE}=true")
        place.say(f"{ANYWAY_RESTORE}=true passes by: {words}", "yellow")
    else:
        place.say(printable(proved.stdout.strip().removeprefix(f"{place.instance.name}: ")))
    role = place.instance.role
    swap(place, "clear")
    fetched = tool(place, copy, "fetch", copy.run, log_directory(role) + NEW, snapshot_file(role) + NEW)
    if not fetched.succeeded:
        swap(place, "clear")
        return place.fail(f"not restored, its own data is as it was: {fetched.output.strip()}")
    problems = _may_stop(place, wish)
    if problems:
        swap(place, "clear")
        return place.fail(f"not restored: {'; '.join(problems)}")
    return put_in_place(place, f"the copy of {copy}", manifest(fetched.stdout), copy)


def _own_log(place: Place, wish: Wish) -> int | None:
    """The second at which the role's own log is cut; None where a copy is what is wanted, or all that reaches back."""
    role, server = place.instance.role, place.observed.servers.get(wish.role)
    now = server.config.get("aof-timestamp-enabled", "no") == "yes" if server is not None and server.config else None
    if not (role.aof_timestamp_enabled if now is None else now) or not re.fullmatch(MOMENT, wish.at):
        return None
    begins = place.run(tool_command(place.plan, "reach"))
    return cut_second(wish.at, begins.stdout.strip(), place.observed.asked_at) if begins.succeeded else None


def _undo(place: Place, wish: Wish, second: int) -> int:
    """The role has what its own log had at a second, here or beside: nothing of it is older than what a copy has."""
    what = f"its own log as it was at {datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S} UTC"
    place.say(f"from {what}, whose end is that second's", "blue")
    if wish.into:
        if only_plans() or _beside(place, wish.into, lambda: _cut(place, f"{wish.into}/log", second)):
            return 0
        place.fail(_instead(place, wish))
        return 1
    place.say(f"in the place of {_replaced(place)}", "blue")
    if only_plans():
        return 0
    _confirm(wish.role)
    hold_now(place.state, {place.host.name: place.seen})
    swap(place, "clear")
    cut = _cut(place, log_directory(place.instance.role) + NEW, second)
    problems = [] if cut.succeeded else [cut.output.strip(), _instead(place, wish)]
    problems = problems or _may_stop(place, wish)
    if problems:
        swap(place, "clear")
        return 0 if place.fail(f"not restored, its own data is as it was: {printable('; '.join(problems))}") else 1
    return 0 if put_in_place(place, what, {"kind": "log"}) else 1


def _instead(place: Place, wish: Wish) -> str:
    """In words, the copy that a person may take where the role's own log cannot be cut."""
    try:
        copies = known_copies(place.state, place.host, place.plan)
    except Unreadable as error:
        return f"nor is there a copy instead: {error}"
    record = recorded(backup_record(wish.role), place.observed)
    copy, why = choose(copies, wish.at, record, place.observed.asked_at)
    if copy is None:
        return f"nor is there a copy instead: {why}"
    return f"the newest copy that had ended by then is of run {copy.run}: --data {AT}={copy.run}{why}"


def _cut(place: Place, log: str, second: int) -> CommandResult:
    return place.run(tool_command(place.plan, "cut", log, str(second)))


def _may_stop(place: Place, wish: Wish) -> list[str]:
    """What speaks against stopping a server that runs: what it has may be on no disk, and is to be kept.

    A word passes by only that it could not be looked at, and never where it keeps nothing on disk.
    """
    if not place.observed.is_active(place.instance.unit):
        return []
    own = place.passwords[place.instance.name]
    seen, problems = gate.before(place.state, place.host, place.instance, own, None, lambda refusal: False)
    if seen is not None or len(problems) != 1:
        return problems
    if not keeps_on_disk(place.instance.role):
        return [f"{problems[0]}; and it keeps nothing on disk, so its keys would be gone: let it be looked at first"]
    if not wish.anyway:
        return [f"{problems[0]}, or add --data {ANYWAY_RESTORE}=true"]
    place.say(f"{ANYWAY_RESTORE}=true passes by: {problems[0]}", "yellow")
    return []

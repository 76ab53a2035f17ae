"""Restore: a role's data is that of a copy, proved before and after; what was there stays beside it (decision 0026)."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyinfra import logger
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.backup import NAME
from tasks.catalogue.data_names import ANYWAY_RESTORE, AT, INTO, RESTORE
from tasks.catalogue.printable import printable
from tasks.catalogue.requested import named_roles
from tasks.compare.backups import Record, in_words, recorded
from tasks.compare.fitness import redis_number
from tasks.desired.backup import TOOL
from tasks.desired.host import Instance, Passwords, Plan
from tasks.desired.paths import NEW, REPLACED, backup_record, data_directory, log_directory, snapshot_file
from tasks.observed.bounds import ASIDE_PATIENCE, CHANGE
from tasks.observed.connection import CommandResult, run_command
from tasks.observed.copies import Copy
from tasks.observed.records import Unreadable
from tasks.observed.refusal import Refusal as Unanswered
from tasks.observed.script import script
from tasks.observed.state import Observed, Server, count_keys
from tasks.run.ending import Refusal, listed
from tasks.run.options import only_plans, options
from tasks.run.session import Run, current, unreachable
from tasks.run.survey import Look, survey
from tasks.steps import ending, gate
from tasks.steps.convert import make_logs, make_snapshots
from tasks.steps.copies import known_copies, tool_command
from tasks.steps.lock import hold_now
from tasks.steps.sandbox import as_role

SETTLED = 7 * 86400  # seconds after which data that began empty on a new host is taken for the role's own
ROOM = 1.1  # of a copy's size, on the disk where it goes
RUN = "[0-9a-f]{16}"
MOMENT = r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2})(:[0-9]{2})?Z?"
PLACE = r"/[A-Za-z0-9_./-]{1,200}"


@dataclass(frozen=True)
class Wish:
    """What is asked for: which role, from which copy, and where it goes if not in the place of the role's data."""

    role: str
    at: str = ""
    into: str = ""
    anyway: bool = False


@dataclass(frozen=True)
class Place:
    """Where a restore goes: an instance on its host, as it was seen."""

    state: State
    host: PyinfraHost
    instance: Instance
    plan: Plan
    seen: Look = field(repr=False)

    @property
    def observed(self) -> Observed:
        """What was seen of the host."""
        assert self.seen.observed is not None
        return self.seen.observed

    @property
    def passwords(self) -> Passwords:
        """Of the host's roles."""
        return self.seen.passwords

    def run(self, command: str) -> CommandResult:
        """How a command ended on the host."""
        return run_command(self.state, self.host, command, bound=CHANGE)

    def say(self, words: str, color: str = "green") -> None:
        """One line of what was done."""
        self.host.log_styled(f"{self.instance.name}: {words}", fg=color)

    def fail(self, words: str) -> bool:
        """Say what is wrong."""
        self.host.log_styled(f"{self.instance.name}: {words}", fg="red", log_func=logger.error)
        return False


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
    record = recorded(backup_record(wish.role), place.observed)
    try:
        copies = known_copies(state, place.host, place.plan)
    except Unreadable as error:
        raise Refusal(f"Nothing was restored: {wish.role}: {error}") from error
    copy, why = choose(copies, wish.at, record, place.observed.asked_at)
    if copy is None:
        raise Refusal(f"Nothing was restored: {wish.role}: {why}")
    problems = unfit_copy(place.instance, place.observed, copy, wish)
    if problems:
        raise Refusal(listed("Nothing was restored", [f"{wish.role}: {problem}" for problem in problems]))
    place.say(f"from the copy of {copy}{why}", "blue")
    if wish.into:
        return 0 if only_plans() or _beside(place, copy, wish.into) else 1
    place.say(f"in the place of {in_place(place.instance, place.observed)}", "blue")
    if only_plans():
        return 0
    _confirm(wish.role)
    hold_now(state, {place.host.name: place.seen})
    return 0 if _restore(place, copy, wish) else 1


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
    if into is not None and (not re.fullmatch(PLACE, str(into)) or ".." in str(into)):
        problems.append(f"{INTO}: expected a directory of the role's host that is not there yet, observed {into!r}")
    if not isinstance(anyway, bool):
        problems.append(f"{ANYWAY_RESTORE}: expected true or false, observed {anyway!r}")
    if problems:
        raise Refusal(listed("Nothing was restored", problems))
    return Wish(names[0], str(at or ""), str(into or ""), anyway)


def _place(state: State, run: Run, wish: Wish) -> Place:
    """Where the role is. Raises Refusal where that is not known, or it is not as deployed."""
    hosts = {host.name: host for host in state.inventory.get_active_hosts() if host.name in run.tier.hosts}
    looks = survey(state, run)
    found = [
        Place(state, hosts[name], instance, plan, looks[name])
        for name in sorted(looks)
        for instance in run.tier.hosts[name].instances
        for plan in run.tier.hosts[name].backups
        if plan.role.name == instance.name == wish.role
    ]
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


def _is_deployed(place: Place) -> bool:
    """Whether what runs a role is there: only its data may be missing."""
    return place.observed.unit(place.instance.unit)["LoadState"] == "loaded" and place.instance.user in (
        place.observed.accounts
    )


def choose(copies: Sequence[Copy], at: str, record: Record | None, now: int) -> tuple[Copy | None, str]:
    """The copy that is meant, and in words why that one, or why none. `copies`: the newest first. Pure.

    A host in the place of a dead one began empty, and has made copies of that: what is wanted is what was before.
    """
    if not copies:
        return None, "there is no copy of it"
    if re.fullmatch(RUN, at):
        named = next((item for item in copies if item.run == at), None)
        return named, "" if named else f"no copy is of run {at}: see tasks/backup.py --data list=true"
    if at:
        moment = _moment(at)
        if moment is None:
            return None, f"{at} is no time"
        before = next((item for item in copies if item.at <= moment), None)
        return before, "" if before else f"no copy is of {at} UTC or before: the oldest is of {copies[-1]}"
    if record is not None and record.life and not record.settled and now - record.first < SETTLED:
        others = [item for item in copies if item.life != record.life]
        if others:
            began = in_words(max(now - record.first, 0))
            return others[0], (
                f", the last one from before the role began anew on this host {began} ago (its own newest is of run "
                f"{next((item.run for item in copies if item.life == record.life), 'none')}: name that by {AT}=)"
            )
    return copies[0], ""


def _moment(text: str) -> datetime | None:
    match = re.fullmatch(MOMENT, text)
    try:
        return datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3] or ':59'}+00:00") if match else None
    except ValueError:
        return None


def unfit_copy(instance: Instance, observed: Observed, copy: Copy, wish: Wish) -> list[str]:
    """Why a copy cannot take the place of a role's data. Pure."""
    problems = []
    installed, made_by = redis_number(observed.packages.get("redis-server", "")), redis_number(copy.server)
    if installed is None or made_by is None or made_by > installed:
        has = "none" if installed is None else f"{installed[0]}.{installed[1]}"
        problems.append(
            f"the copy is of Redis {copy.server}, this host has {has}, expected as new a one: an older server does not "
            "load it (it has another format); upgrade the host first"
        )
    if copy.role != wish.role and not wish.anyway:
        problems.append(
            f"the copy is of {copy.role}, expected one of {wish.role}: name another, or add --data "
            f"{ANYWAY_RESTORE}=true"
        )
    free = observed.free_of.get(data_directory(instance.name), observed.disk_free)
    if "disk" not in observed.unseen and free < copy.size * ROOM:
        problems.append(
            f"no room: {data_directory(instance.name)} has {_mib(free)} free, the copy has {_mib(copy.size)}, expected "
            f"{ROOM} times that: what is in place is kept; free space or enlarge the disk"
        )
    return problems


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def in_place(instance: Instance, observed: Observed) -> str:
    """What a restore sets aside, in words. Pure."""
    server = observed.servers.get(instance.name, Server())
    keys = f"{count_keys(server.info)[0]} keys" if server.info else "an unknown number of keys"
    own = (log_directory(instance.role), snapshot_file(instance.role))
    times = [
        state.modified
        for path, state in observed.stored.items()
        if path.startswith(own) and NEW not in path and REPLACED not in path and state.kind == "file"
    ]
    last = f"written to last {datetime.fromtimestamp(max(times), UTC):%Y-%m-%d %H:%M:%S} UTC" if times else "no file"
    return f"{keys}, {last}, which is kept beside it"


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


def _tool(place: Place, copy: Copy, verb: str, *words: str) -> CommandResult:
    """The tool on the host, about a copy that may be another role's."""
    return place.run(f"copied={copy.role} {tool_command(place.plan, verb, *words)}")


def _beside(place: Place, copy: Copy, into: str) -> bool:
    """The copy is unpacked in a new directory on the host."""
    user = place.instance.user
    made = place.run(f"mkdir -m 0700 {into} && chown {user}:{user} {into}")
    if not made.succeeded:
        return place.fail(f"{into} cannot be made: {made.output.strip()}: name a directory that is not there yet")
    done = _tool(place, copy, "fetch", copy.run, f"{into}/log", f"{into}/snapshot.rdb")
    if not done.succeeded:
        place.run(f"rm -rf {into}")
        return place.fail(f"not restored: {done.output.strip()}")
    place.say(f"restored beside, in {into} on {place.host.name}: its own data is as it was")
    return True


def _swap(place: Place, way: str, stamp: str = "") -> CommandResult:
    role = place.instance.role
    job = script(
        "swap-data",
        way=way,
        log=log_directory(role),
        snapshot=snapshot_file(role),
        new=NEW,
        replaced=f"{REPLACED}{stamp}",
    )
    return place.run(as_role(place.instance, job, ASIDE_PATIENCE))


def _restore(place: Place, copy: Copy, wish: Wish) -> bool:
    """Proved, brought here, put in place, started and proved again; whatever fails, what was there serves on."""
    proved = _tool(place, copy, "prove", copy.run)
    if not proved.succeeded:
        words = f"the copy is not usable: {proved.output.strip()}"
        if not wish.anyway:
            return place.fail(f"{words}: choose another by {AT}=, or add --data {ANYWAY_RESTORE}=true")
        place.say(words, "yellow")
    else:
        place.say(printable(proved.stdout.strip().removeprefix(f"{place.instance.name}: ")))
    role = place.instance.role
    _swap(place, "clear")
    fetched = _tool(place, copy, "fetch", copy.run, log_directory(role) + NEW, snapshot_file(role) + NEW)
    if not fetched.succeeded:
        _swap(place, "clear")
        return place.fail(f"not restored, its own data is as it was: {fetched.output.strip()}")
    problems = _may_stop(place)
    if problems and not wish.anyway:
        _swap(place, "clear")
        return place.fail(f"not restored: {'; '.join(problems)}: or add --data {ANYWAY_RESTORE}=true")
    return _put_in_place(place, copy, manifest(fetched.stdout))


def manifest(text: str) -> Mapping[str, str]:
    """The single words of a copy's manifest. Pure."""
    fields = (line.partition(" ")[::2] for line in text.splitlines())
    return {name: value for name, value in fields if name in ("kind", "low", "expires", "keys")}


def _may_stop(place: Place) -> list[str]:
    """What speaks against stopping a server that runs; what it has is kept."""
    if not place.observed.is_active(place.instance.unit):
        return []
    own = place.passwords[place.instance.name]
    _, problems = gate.before(place.state, place.host, place.instance, own, None, lambda refusal: False)
    return problems


def _put_in_place(place: Place, copy: Copy, known: Mapping[str, str]) -> bool:
    instance, stamp = place.instance, f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    began = time.monotonic()
    password = place.passwords[instance.name].get("operator") or ""
    where = (instance.address, instance.role.port)
    stopped = ending.ended(place.state, place.host, ending.stop_script(instance.unit), instance.unit, where, password)
    if not stopped.succeeded:
        return place.fail(f"not restored, its server has not ended: {stopped.output.strip()}")
    swapped = _swap(place, "in", stamp)
    problems = [] if swapped.succeeded else [swapped.output.strip()]
    problems = problems or _start(place, known)
    if problems:
        ending.ended(place.state, place.host, ending.stop_script(instance.unit), instance.unit, where, password)
        back = _swap(place, "back", stamp)
        runs = place.run(f"systemctl start {instance.unit}") if back.succeeded else back
        what = "what was there before runs again" if runs.succeeded else f"and it is down: {runs.output.strip()}"
        return place.fail(f"not restored: {'; '.join(problems)}: {what}")
    _tool(place, copy, "continue", copy.life)
    role = instance.role
    kept = " ".join(f"{path}{REPLACED}{stamp}" for path in (log_directory(role), snapshot_file(role)))
    place.say(f"restored from the copy of {copy}, down for {time.monotonic() - began:.1f} s")
    place.say(f"what was there before is kept; when nobody needs it: rm -rf {kept}", "blue")
    return True


def _start(place: Place, known: Mapping[str, str]) -> list[str]:
    """What is wrong with the server that was started with the copy; nothing when it serves what was copied."""
    instance = place.instance
    has_log = known.get("kind") == "log"
    if has_log != instance.role.appendonly:
        convert = make_logs if instance.role.appendonly else make_snapshots
        if not convert(place.state, place.host, [instance]):
            return ["it could not be brought into the form that the role loads"]
    started = place.run(f"timeout 900 systemctl start {instance.unit}")
    if not started.succeeded:
        journal = place.run(f"journalctl --no-pager -n 8 -o cat -u {instance.unit}").output
        return [f"it does not start: {printable(journal.strip())}"]
    found = gate.after(place.host, instance, place.passwords, None)
    if isinstance(found, Unanswered):
        return [f"it cannot be looked at: {found}"]
    info = gate.wait_until_calm(place.host, instance, place.passwords[instance.name].get("operator") or "")
    if not isinstance(info, Unanswered) and known.get("low", "").isdigit():
        has, low = count_keys(info)[0], int(known["low"]) - int(known.get("expires", "0"))
        if has < low and info.get("evicted_keys", "0") == "0":
            found.append(f"it has {has} keys, expected at least {low}")
    return found

"""Replace: a role serves a copy in the place of what it had, kept beside it; or what it had, still (decision 0026)."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyinfra import logger
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.printable import printable
from tasks.desired.backup import tool_command
from tasks.desired.host import Instance, Passwords, Plan
from tasks.desired.paths import FAILED, NEW, REPLACED, log_directory, snapshot_file, unrestored_record
from tasks.observed.bounds import ASIDE_PATIENCE, CHANGE
from tasks.observed.connection import CommandResult, is_connected, reconnect, run_command
from tasks.observed.copies import Copy
from tasks.observed.refusal import Refusal as Unanswered
from tasks.observed.script import script
from tasks.observed.state import Observed, count_keys
from tasks.run.fault import fault
from tasks.run.interruption import held_back
from tasks.run.survey import Look
from tasks.steps import ending, gate
from tasks.steps.convert import make_logs, make_snapshots
from tasks.steps.sandbox import as_role
from tasks.steps.watch import ENDED_THERE, said_there, unwatch_script, watch_script, while_watched

NO_LIFE = "0" * 16  # of a copy of which it is not known
AWAY = 60.0  # seconds for a host to which the connection was lost amid a restore
OWN_PATH = r"/[A-Za-z0-9_./-]{1,300}"


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


def tool(place: Place, copy: Copy, verb: str, *words: str) -> CommandResult:
    """The tool on the host, about a copy that may be another role's."""
    return place.run(_tool_text(place, copy, verb, *words))


def _tool_text(place: Place, copy: Copy, verb: str, *words: str) -> str:
    return f"copied={copy.role} {tool_command(place.plan, verb, *words)}"


def swap(place: Place, way: str, stamp: str = "") -> CommandResult:
    job = as_role(place.instance, _swap_job(place.instance, way, stamp), ASIDE_PATIENCE)
    return place.run(job if way == "clear" else while_watched(place.instance.name, job))


def _swap_job(instance: Instance, way: str, stamp: str) -> str:
    role = instance.role
    return script(
        "swap-data",
        way=way,
        log=log_directory(role),
        snapshot=snapshot_file(role),
        new=NEW,
        replaced=f"{REPLACED}{stamp}",
        failed=FAILED,
    )


def put_in_place(place: Place, what: str, known: Mapping[str, str], copy: Copy | None = None) -> bool:
    """The role serves what lies beside its data, or still what it had; `what` that is in words.

    `known`: the manifest's words; `copy`: the one that it is of, None of the role's own log.
    """
    role = place.instance.name
    with held_back(f"{role}: its data is being replaced, which is not left half-done: wait, this ends when it serves."):
        stamp = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
        watched = _watch(place, stamp, copy)
        if not watched.succeeded:
            why = printable(watched.output.strip())
            return place.fail(f"not restored, its own data is as it was: nobody would watch over it: {why}")
        try:
            return _replace(place, what, known, stamp) and (copy is None or _note(place, copy))
        finally:  # where the host is out of reach, it ends this by itself
            _unwatch(place)


def _end(place: Place) -> CommandResult:
    """Its server has ended, unless the host has ended the restore; it is never killed."""
    instance, password = place.instance, place.passwords[place.instance.name].get("operator") or ""
    where = instance.where
    command = while_watched(instance.name, ending.stop_script(instance.unit))
    return ending.ended(place.state, place.host, command, instance.unit, where, password)


def _watch(place: Place, stamp: str, copy: Copy | None) -> CommandResult:
    """The host ends this by itself if the controller is gone before it has."""
    instance = place.instance
    note, noted = "", ""
    if copy is not None:
        note, noted = _tool_text(place, copy, "continue", *_life_of(copy)), "-".join(_life_of(copy))
    back = _swap_job(instance, "back", stamp)
    return place.run(watch_script(instance, stamp, place.observed.is_active(instance.unit), back, note, noted))


def _unwatch(place: Place) -> None:
    done = place.run(unwatch_script(place.instance.name))
    if not done.succeeded and is_connected(place.host):
        record = unrestored_record(place.instance.name)
        place.fail(
            f"what would end this restore at a boot could not be removed: {printable(done.output.strip())}: on "
            f"{place.host.name}: rm {record}, or its next boot may put back what was there before"
        )


def _replace(place: Place, what: str, known: Mapping[str, str], stamp: str) -> bool:
    """The role serves the copy; or what it had, and why is said. Whatever ends this leaves it in one of both."""
    began = time.monotonic()
    by_hand = f"if it is down, on {place.host.name}: systemctl start {place.instance.unit}"
    swapped = CommandResult(False, "", "")
    problems = ["it was cut off"]
    stopped = False
    try:
        done = _end(place)
        stopped = done.succeeded
        if not stopped:
            problems = [f"its server has not ended: {done.output.strip()}"]
        else:
            swapped = swap(place, "in", stamp)
            problems = _start(place, known) if swapped.succeeded else [swapped.output.strip()]
    except Exception as error:
        problems = [fault(error)]
    finally:  # of GreenletExit, too
        if problems:
            said = _settled(place, swapped, stamp, stopped, by_hand)
            place.fail(f"not restored: {printable('; '.join(problems))}: {said}")
    if problems:
        return False
    place.say(f"restored from {what}, down for {time.monotonic() - began:.1f} s")
    kept = _paths(swapped, "kept")
    if kept:
        place.say(f"what was there before is kept; when nobody needs it: rm -rf {' '.join(kept)}", "blue")
    return True


def _settled(place: Place, swapped: CommandResult, stamp: str, stopped: bool, by_hand: str) -> str:
    """What was in place is there, and served if it was before; in words, also where nobody can say."""
    if is_connected(place.host):
        return _go_back(place, swapped, stamp) if stopped else f"its data is as it was; {by_hand}"
    # Whatever was asked last may have been done: going back finds out, step by step.
    if _connected_anew(place):
        return _go_back(place, swapped, stamp)
    log = log_directory(place.instance.role)
    return (
        f"the connection to {place.host.name} is lost and did not come back in {AWAY:.0f} s: which data is in place is "
        f"not known, and it may be down. There: where {log}{REPLACED}{stamp} is and {log} is not, or a snapshot "
        f"that ends so and not its own, give it its name again; then systemctl start {place.instance.unit}. Nothing "
        "was deleted"
    )


def _connected_anew(place: Place) -> bool:
    """Whether a connection that was lost amid a restore is there again."""
    deadline = time.monotonic() + AWAY
    place.say("the connection is lost: connecting anew", "yellow")
    while not reconnect(place.host):
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def _note(place: Place, copy: Copy) -> bool:
    """Of which data the next copies are is noted on the host."""
    words = _life_of(copy)
    noted = tool(place, copy, "continue", *words)
    if not noted.succeeded and not is_connected(place.host) and _connected_anew(place):
        noted = tool(place, copy, "continue", *words)
    if not noted.succeeded:
        return place.fail(
            f"restored, and its host could not note of which data its next copies are: {noted.output.strip()}: until "
            f"it has, name copies by their run; on {place.host.name}: {tool_command(place.plan, 'continue', *words)}"
        )
    return True


def _life_of(copy: Copy) -> tuple[str, str]:
    return copy.life or NO_LIFE, f"{copy.at.timestamp():.0f}"


def _paths(swapped: CommandResult, word: str) -> list[str]:
    """What swap-data.sh says that it has done."""
    lines = (line.partition(" ")[::2] for line in swapped.stdout.splitlines())
    return [path for first, path in lines if first == word and re.fullmatch(OWN_PATH, path)]


def _go_back(place: Place, swapped: CommandResult, stamp: str) -> str:
    """What was in place is there again, and served if it was before; in words."""
    unit, host, role = place.instance.unit, place.host.name, place.instance.name
    ended = _end(place)
    if ENDED_THERE in ended.output:
        return (
            f"{ENDED_THERE} by itself; which data is in place and serves, it says there: {said_there(role)} on {host}"
        )
    if not ended.succeeded:
        return (
            f"the server of the copy has not ended: {ended.output.strip()}: see journalctl -u {unit} on {host}; what "
            f"was there lies beside {log_directory(place.instance.role)}, its name ends in {REPLACED}{stamp}"
        )
    back = swap(place, "back", stamp)
    if not back.succeeded:
        return (
            f"and what was there could not be put back: {back.output.strip()}: it is down; on {host}, beside "
            f"{log_directory(place.instance.role)}, what ends in {REPLACED}{stamp} is what was there: give it its name "
            f"again, then systemctl start {unit}"
        )
    kept = _paths(back, "kept")
    words = f"; what was served meanwhile is kept in {' '.join(kept)}" if kept else ""
    if swapped.succeeded and not _paths(back, "back"):
        return f"nothing was there before, so the copy stays in place, and it is down: journalctl -u {unit} on {host}"
    if not place.observed.is_active(unit):
        return f"what was there before is in place, and down as it was{words}"
    runs = place.run(f"timeout 900 systemctl start {unit}")
    if runs.succeeded:
        return f"what was there before runs again{words}"
    return f"what was there before is in place, and does not start: {runs.output.strip()}: journalctl -u {unit}{words}"


def _start(place: Place, known: Mapping[str, str]) -> list[str]:
    """What is wrong with the server that was started with the copy; nothing when it serves what was copied."""
    instance = place.instance
    has_log = known.get("kind") == "log"
    if has_log != instance.role.appendonly:
        convert = make_logs if instance.role.appendonly else make_snapshots
        if not convert(place.state, place.host, [instance]):
            return ["it could not be brought into the form that the role loads"]
    started = place.run(while_watched(instance.name, f"timeout 900 systemctl start {instance.unit}"))
    if not started.succeeded:
        journal = place.run(f"journalctl --no-pager -n 8 -o cat -u {instance.unit}").output
        return [f"it does not start: {printable(journal.strip())}"]
    found = gate.after(place.host, instance, place.passwords, None)
    if isinstance(found, Unanswered) and not is_connected(place.host) and _connected_anew(place):
        found = gate.after(place.host, instance, place.passwords, None)
    if isinstance(found, Unanswered):  # which says nothing against it: it has started, and may have served
        place.say(f"it runs, and cannot be looked at: {found}", "yellow")
        return []
    info = gate.wait_until_calm(place.host, instance, place.passwords[instance.name].get("operator") or "")
    if isinstance(info, Unanswered):
        return found
    dropped = info.get("evicted_keys", "0")
    if dropped != "0":
        place.say(f"{dropped} of its keys were evicted since: the copy is larger than its maxmemory", "yellow")
    return [*found, *_lacking(info, known)]


def _lacking(info: Mapping[str, str], known: Mapping[str, str]) -> list[str]:
    """That it has fewer keys than the copy, and neither eviction nor a client since its start explains it."""
    if not known.get("low", "").isdigit() or info.get("evicted_keys", "0") != "0":
        return []
    if any(f"cmdstat_{name}" in info for name in gate.REMOVING):
        return []
    has, low = count_keys(info)[0], int(known["low"]) - int(known.get("expires", "0"))
    return [f"it has {has} keys, expected at least {low}"] if has < low else []

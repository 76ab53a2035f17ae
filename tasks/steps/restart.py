"""Start instances, and restart them one at a time over the whole inventory; what does not come up is rolled back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import OPERATOR
from tasks.compare.data_files import ALL_ROLES
from tasks.compare.databases import are_fewer
from tasks.compare.difference import Remedy, chosen
from tasks.compare.loading import is_undone_by_more_databases
from tasks.compare.server import keeps_log
from tasks.compare.unknown import is_difference, way_out
from tasks.desired.host import Instance, Passwords
from tasks.desired.paths import acl_file, previous_file, start_files
from tasks.observed.bounds import CHANGE, LOOK, PATIENCE, Bound
from tasks.observed.connection import CommandResult, run_command
from tasks.observed.refusal import Refusal
from tasks.observed.script import script
from tasks.observed.state import Server, count_keys
from tasks.run.closing import Restarted
from tasks.run.options import options
from tasks.run.session import current
from tasks.run.survey import look
from tasks.steps import ending, gate, log
from tasks.steps.gate import Before
from tasks.steps.loaded import after_a_cut, said_while_loading, words_for
from tasks.steps.log import Checked
from tasks.steps.operations import call


@dataclass
class Restarts:
    """What a run has to restart, by host name: its instances, with what each said before the run changed anything."""

    due: dict[str, tuple[Mapping[Instance, Server | None], Passwords]] = field(default_factory=dict, repr=False)
    stopped: list[str] = field(default_factory=list)  # why no further restart of this run may be made


@dataclass(frozen=True)
class Target:
    """An instance on its host; `previously` is what it said before this deploy changed anything, None when nothing."""

    state: State
    host: Host
    instance: Instance
    passwords: Passwords = field(repr=False)
    previously: Server | None = None

    @property
    def answered(self) -> Server | None:
        """What it said before this deploy, if it let its operator in."""
        return self.previously if self.previously is not None and self.previously.refusal is None else None

    def run(self, command: str, bound: Bound = LOOK) -> CommandResult:
        """How a command ended on the host, and what it printed."""
        return run_command(self.state, self.host, command, bound=bound)

    def fail(self, problem: str) -> bool:
        """Say what is wrong."""
        self.host.log_styled(f"{self.instance.name}: {problem}", fg="red", log_func=logger.error)
        return False

    def stop_others(self) -> None:
        """No restart that has not been made yet is made in this run, on any host."""
        stopped = current(self.state).kept(Restarts).stopped
        stopped.append(f"not restarted: {self.instance.name} on {self.host.name} failed its gate")


def start(
    state: State, host: Host, instances: Sequence[Instance], passwords: Passwords, tried: Sequence[Instance] = ()
) -> bool:
    """The instances run, have loaded their data and serve; one that does not runs as it did before, if it can.

    `tried`: those among them that systemd tried to start all the while. What has come up so, before its new files were
    there, is restarted through its gate.
    """
    targets = [Target(state, host, instance, passwords) for instance in tried]
    early = [item for item in targets if item.run(f"systemctl is-active --quiet {item.instance.unit}").succeeded]
    came_up = [_restart(target) for target in early]
    instances = [item for item in instances if item not in {target.instance for target in early}]
    if not instances:
        return all(came_up)
    lossy = gate.not_replayable(state, host, instances)
    for problem in lossy:
        host.log_styled(f"nothing is started: {problem}", fg="red", log_func=logger.error)
    if lossy:
        return False
    units = " ".join(instance.unit for instance in instances)
    # What systemd tried until now is no crash of what runs now: tasks/compare/server_health.py counts from here.
    command = f"timeout {PATIENCE:.0f} systemctl start {units} && systemctl reset-failed {units}"
    started = run_command(state, host, command, bound=CHANGE).succeeded
    came_up += [_come_up(Target(state, host, instance, passwords), started, None) for instance in instances]
    return all(came_up)


def restart_one_at_a_time(
    state: State, name: str, instances: Mapping[Instance, Server | None], passwords: Passwords
) -> None:
    """The instances of host `name` are restarted when the hosts before it, by name, are done with theirs.

    `instances`: with what each said before this deploy changed anything; None when it did not answer.
    """
    current(state).kept(Restarts).due[name] = (instances, passwords)
    call(name="Restart instances one at a time", function=restart_in_turn)


def restart_in_turn(state: State, host: Host) -> bool:
    """Each instance of the host was restarted with its keys kept; after the first gate that fails, no other one is."""
    run = current(state)
    due = run.kept(Restarts).due
    hosts = {item.name: item for item in state.active_hosts if item.name in due}
    # With --serial the other hosts have not come this far.
    names = [host.name] if options().get("serial") else sorted(hosts)
    done = {name: run.only_once(f"restart {name}", partial(_restart_all, state, hosts[name])) for name in names}
    return done[host.name]


def _restart_all(state: State, host: Host) -> bool:
    instances, passwords = current(state).kept(Restarts).due[host.name]
    # Every one of them: those that may not be restarted any more get their files back.
    done = [_restart(Target(state, host, instance, passwords, server)) for instance, server in instances.items()]
    return all(done)


def _restart(target: Target) -> bool:
    instance, stopped = target.instance, current(target.state).kept(Restarts).stopped
    if stopped:
        return target.fail(stopped[0] + _put_back(target))
    own, cured = target.passwords[instance.name], partial(_cured, target)
    was, problems = gate.before(target.state, target.host, instance, own, target.answered, cured)
    problems = problems or _unloadable(target, was)
    if problems:
        target.stop_others()
        return target.fail(f"not restarted: {'; '.join(problems)}{_put_back(target)}")
    began = time.monotonic()
    done = _ended(target, ending.restart_script(instance.unit))
    if ending.runs_on(done):
        target.stop_others()
        return target.fail(f"not restarted, and not rolled back: it {done.output}")
    took = time.monotonic() - began
    well = _come_up(target, done.succeeded, was)
    if well:
        keys = "unknown" if was is None else count_keys(was.info)[0]
        target.host.log_styled(f"{instance.name}: restarted in {took:.1f} s, keys before it: {keys}", fg="green")
        restarted = current(target.state).kept(Restarted)
        restarted.instances.append(f"{instance.name} on {target.host.name}")
        restarted.took.setdefault(target.host.name, []).append(f"{instance.name} {took:.1f} s")
    return well


def _ended(target: Target, command: str) -> CommandResult:
    """How a stop or a restart of the unit ended. What keeps its server from its end is ended, or said."""
    instance = target.instance
    where = instance.where
    password = target.passwords[instance.name].get(OPERATOR) or ""
    return ending.ended(target.state, target.host, command, instance.unit, where, password)


def _cured(target: Target, refusal: Refusal) -> bool:
    """Whether the refusal itself is what a restart cures, as seen just now; nothing else is restarted unseen."""
    if refusal.cause not in gate.NOT_THERE:
        return is_difference(target.instance, refusal)
    again = look(target.state, current(target.state), target.host)
    name, remedy = target.instance.name, Remedy.RESTART
    return any(item.role == name for item in chosen(again.differences, "listener", remedy=remedy))


def _unloadable(target: Target, was: Before | None) -> list[str]:
    """Why the start after a stop could not load the log, which was written anew from memory if that was possible."""
    said = target.answered.said if target.answered else ()
    keeps = was is None or keeps_log(target.instance, Server(info=was.info, said=said))
    return log.make_whole(target.state, target.host, target.instance, target.passwords, from_memory=not keeps)


def _come_up(target: Target, started: bool, was: Before | None) -> bool:
    """Whether a unit that was told to start passes its gate. If not, no other is restarted and it is rolled back.

    Not rolled back when the fault is in its data: the previous configuration would load the same. One that had more
    databases would not.
    """
    down = [] if started else _failed_unit(target)
    found = down or gate.after(target.host, target.instance, target.passwords, was)
    faults = said_while_loading(target.state, target.host, target.instance, target.passwords)
    problems = [f"it cannot be looked at: {found}"] if isinstance(found, Refusal) else found
    if not faults and not problems:
        return target.run(f"rm -f {' '.join(map(previous_file, start_files(target.instance.name)))}").succeeded
    target.stop_others()
    damaged = log.check_log(target.state, target.host, target.instance) if down else Checked(True)
    if not damaged.whole:
        return target.fail(words_for(faults or [damaged.why], problems, log.way_back(target.instance, damaged)))
    if faults and not _had_more_databases(target, faults):
        problems += after_a_cut(target.state, target.host, target.instance, target.passwords, faults)
        return target.fail(words_for(faults, problems))
    if isinstance(found, Refusal):
        return target.fail(
            f"has been started, and cannot be looked at: {found}: {way_out(target.instance, found)}; not rolled back, "
            "for nothing speaks against it, and no other is restarted"
        )
    problems += [f"it said: {line!r}" for line in faults[:1]]
    return target.fail("; ".join(problems) + _roll_back(target, was))


def _had_more_databases(target: Target, faults: Sequence[str]) -> bool:
    """Whether all that is wrong with a start is that it has fewer databases than the one before."""
    fewer = target.answered is not None and are_fewer(target.instance, target.answered)
    return fewer and is_undone_by_more_databases(faults)


def _failed_unit(target: Target) -> list[str]:
    """Why a unit is not active, in its journal's words; empty when it is."""
    unit = target.instance.unit
    active = target.run(f"systemctl is-active {unit}")
    if active.succeeded:
        return []
    journal = target.run(f"journalctl --no-pager -n 15 -o cat -u {unit}").output
    return [f"did not come up, its unit is {active.output.strip()}, expected active:\n{journal}\n"]


def _roll_back(target: Target, was: Before | None) -> str:
    """Put the previous configuration and unit back and start them; says which of the two runs."""
    user = _previous_files(target)
    if not user:
        return ": there is no previous configuration to go back to"
    if user == ALL_ROLES:
        # Its unit, of a version before, gives data to nobody. A server that still runs keeps what it writes to.
        ended = _ended(target, ending.stop_script(target.instance.unit))
        if not ended.succeeded:
            return f": not rolled back, its server has not ended: {ended.output.strip()}: deploy again when it has"
        target.run(log.own_script(target.instance, user), CHANGE)
    _ended(target, ending.restart_script(target.instance.unit))
    found = _failed_unit(target) or gate.after(target.host, target.instance, target.passwords, was, target.answered)
    problems = [f"it cannot be looked at: {found}"] if isinstance(found, Refusal) else found
    where = target.answered.endpoint if target.answered else None
    faults = said_while_loading(target.state, target.host, target.instance, target.passwords, where)
    problems += [f"it said: {line!r}" for line in faults[:1]]
    if problems:
        return f": rolled back, and the previous configuration does not run either: {'; '.join(problems)}"
    return ": rolled back, the previous configuration runs and serves"


def _put_back(target: Target) -> str:
    """The files are again what the last good start was made from: the next boot starts nothing that has not run.

    Returns the words for it; none when nothing had changed.
    """
    user = _previous_files(target)
    return ": the previous configuration is back in its place and runs on" if user else ""


def _previous_files(target: Target) -> str:
    """Puts the files back that were kept; the user that the instance's unit then has, empty when there were none."""
    paths = start_files(target.instance.name)
    files = [word for path in paths for word in (previous_file(path), path)]
    command = script("put-back", files=files, unit=target.instance.unit, acl=acl_file(target.instance.name))
    return target.run(command).stdout.strip()

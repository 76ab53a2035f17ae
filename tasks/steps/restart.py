"""Start instances, and restart them one at a time over the whole inventory; what does not come up is rolled back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from gevent.lock import Semaphore
from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.desired import OPERATOR, Instance
from tasks.observed import Server
from tasks.paths import previous_file, start_files
from tasks.remote import run_command
from tasks.run import Passwords, current
from tasks.steps import gate
from tasks.steps.gate import PATIENCE, Info

_one_at_a_time = Semaphore(1)


def start(state: State, host: Host, instances: Sequence[Instance], passwords: Passwords) -> bool:
    """The instances run, have loaded their data and serve; one that does not runs as it did before, if it can."""
    units = " ".join(instance.unit for instance in instances)
    started, _ = run_command(state, host, f"timeout {PATIENCE:.0f} systemctl start {units}")
    came_up = [_come_up(state, host, instance, passwords, started, None, None) for instance in instances]
    return all(came_up)


def restart_gated(state: State, host: Host, instances: Mapping[Instance, Server | None], passwords: Passwords) -> bool:
    """Each instance was restarted with its keys kept; after the first gate that fails, no other one is.

    `instances`: with what each said before this deploy changed anything; None when it did not answer.
    """
    # Every one of them: those that may not be restarted any more get their files back.
    done = [_restart(state, host, instance, passwords, server) for instance, server in instances.items()]
    return all(done)


def _restart(state: State, host: Host, instance: Instance, passwords: Passwords, server: Server | None) -> bool:
    stopped = current(state).stopped
    with _one_at_a_time:
        if stopped:
            return _fail(host, instance, stopped[0] + _put_back(state, host, instance)[1])
        was, problems = gate.before(state, host, instance, passwords[instance.name].get(OPERATOR) or "")
        if problems:
            stopped.append(f"not restarted: {instance.name} on {host.name} failed its gate")
            return _fail(host, instance, "not restarted: " + "; ".join(problems) + _put_back(state, host, instance)[1])
        began = time.monotonic()
        started, _ = run_command(state, host, f"timeout {PATIENCE:.0f} systemctl restart {instance.unit}")
        took = time.monotonic() - began
        well = _come_up(state, host, instance, passwords, started, was, server)
        if well:
            keys = "unknown" if was is None else gate.count_keys(was)[0]
            host.log_styled(f"{instance.name}: restarted in {took:.1f} s, keys before it: {keys}", fg="green")
        return well


def _come_up(
    state: State,
    host: Host,
    instance: Instance,
    passwords: Passwords,
    started: bool,
    was: Info | None,
    server: Server | None,
) -> bool:
    """Whether a unit that was told to start passes its gate. If not, no other is restarted and it is rolled back."""
    problems = [] if started else _failed_unit(state, host, instance)
    problems = problems or gate.after(host, instance, passwords, was)
    if not problems:
        return run_command(state, host, f"rm -f {' '.join(map(previous_file, start_files(instance.name)))}")[0]
    current(state).stopped.append(f"not restarted: {instance.name} on {host.name} failed its gate")
    return _fail(host, instance, "; ".join(problems) + _roll_back(state, host, instance, passwords, was, server))


def _failed_unit(state: State, host: Host, instance: Instance) -> list[str]:
    """Why a unit is not active, in its journal's words; empty when it is."""
    active, output = run_command(state, host, f"systemctl is-active {instance.unit}")
    if active:
        return []
    _, journal = run_command(state, host, f"journalctl --no-pager -n 15 -o cat -u {instance.unit}")
    return [f"did not come up, its unit is {output.strip()}, expected active:\n{journal}\n"]


def _roll_back(
    state: State, host: Host, instance: Instance, passwords: Passwords, was: Info | None, server: Server | None
) -> str:
    """Put the previous configuration and unit back and start them; says which of the two runs."""
    back, words = _put_back(state, host, instance)
    if not back:
        return words
    run_command(state, host, f"timeout {PATIENCE:.0f} systemctl restart {instance.unit}")
    previously = server if server is not None and server.refusal is None else None
    problems = _failed_unit(state, host, instance) or gate.after(host, instance, passwords, was, previously)
    if problems:
        return f": rolled back, and the previous configuration does not run either: {'; '.join(problems)}"
    return ": rolled back, the previous configuration runs and serves"


def _put_back(state: State, host: Host, instance: Instance) -> tuple[bool, str]:
    """The files are again what the last good start was made from: the next boot starts nothing that has not run."""
    files = [(path, previous_file(path)) for path in start_files(instance.name)]
    kept, _ = run_command(state, host, " || ".join(f"test -e {previous}" for _, previous in files))
    if not kept:
        return False, ": there is no previous configuration to go back to"
    moves = "; ".join(f"[ ! -e {previous} ] || mv -fT {previous} {path}" for path, previous in files)
    run_command(state, host, f"{moves}; systemctl daemon-reload")
    return True, ": the previous configuration is back in its place and runs on"


def _fail(host: Host, instance: Instance, problem: str) -> bool:
    host.log_styled(f"{instance.name}: {problem}", fg="red", log_func=logger.error)
    return False

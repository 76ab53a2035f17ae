"""One run of a command: its tier, read once, and one look at every host, taken together.

pyinfra runs a deploy file once per host; whatever concerns all hosts happens here, in the first of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import click
import gevent
from gevent.event import AsyncResult
from paramiko import Channel
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state
from pyinfra_cli.exceptions import CliError

from tasks.compare.difference import Difference
from tasks.compare.host import compare
from tasks.desired.host import Host, Instance
from tasks.observed.connection import Unobserved, bound_silence
from tasks.observed.look import observe
from tasks.observed.state import Observed, Server
from tasks.run.tier import Tier, build_tier

T = TypeVar("T")
Passwords = Mapping[str, Mapping[str, str | None]]


class Refusal(CliError, PyinfraError):
    """The run stops before anything is changed; the message says all the reasons.

    A PyinfraError so that no layer takes it for a fault of the program, a CliError so that it is shown without
    the place in the code that raised it.
    """


class Finished(CliError, PyinfraError):
    """The command is done: pyinfra disconnects and exits with this code, asking and executing nothing.

    Commands that only read end so: pyinfra would ask for confirmation, which needs a terminal.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code

    def show(self, file: object = None) -> None:
        """All has been said already."""


@dataclass(frozen=True)
class Look:
    """One host as seen in this run: desired, observed (None when unreadable: see `error`) and their differences."""

    desired: Host
    passwords: Passwords = field(repr=False)
    observed: Observed | None
    differences: tuple[Difference, ...]
    error: str = ""
    seconds: float = 0.0


@dataclass
class Run:
    """What the hosts of one run share."""

    tier: Tier = field(repr=False)
    once: dict[str, AsyncResult[Any]] = field(default_factory=dict)
    trials: dict[str, Mapping[str, str]] = field(default_factory=dict)  # host name → what is tried → script
    to_hold: dict[str, Look] = field(default_factory=dict, repr=False)
    held: list[Channel] = field(default_factory=list)
    restarts: dict[str, tuple[Mapping[Instance, Server | None], Passwords]] = field(default_factory=dict, repr=False)
    stopped: list[str] = field(default_factory=list)  # why no further restart of this run may be made

    def only_once(self, name: str, action: Callable[[], T]) -> T:
        """The result of `action`, done by the first host that asks; the others wait for it."""
        if name not in self.once:
            self.once[name] = AsyncResult()
            try:
                self.once[name].set(action())
            except Exception as error:
                self.once[name].set_exception(error)
        return cast(T, self.once[name].get())


_runs: WeakKeyDictionary[State, Run] = WeakKeyDictionary()


_options: dict[str, Any] = {}


def remember_options() -> None:
    """Keep the options of pyinfra's command line: click knows them in the main greenlet only, hosts run in others."""
    context = click.get_current_context(silent=True)
    _options.update(context.params if context else {})


def options() -> Mapping[str, Any]:
    """The options of pyinfra's command line in this run; empty when pyinfra is used as a library."""
    return _options


def current(state: State, new_passwords: bool = False) -> Run:
    """The run of `state`. Raises Refusal with every problem of catalogue, inventory and secrets file."""
    if state not in _runs:
        inventory_file = str(options().get("inventory") or "")
        tier, problems = build_tier(state.inventory, inventory_file, new_passwords)
        if problems:
            raise Refusal(listed("The data of this run cannot be used", problems))
        _runs[state] = Run(tier)
    return _runs[state]


def unreachable(state: State) -> list[str]:
    """Names of the hosts that this run asked for and could not connect to."""
    wanted = [host for host in state.inventory if state.is_host_in_limit(host)]
    return sorted(host.name for host in wanted if host not in state.activated_hosts)


def listed(title: str, problems: list[str]) -> str:
    """`title`, the number of problems and one line for each."""
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    return "\n    ".join([f"{title} ({count}):", *problems])


def survey(state: State, run: Run) -> dict[str, Look]:
    """One look at every active host, all at the same time, once per run; host name → what was seen."""
    return run.only_once("survey", lambda: _survey(state, run))


def _survey(state: State, run: Run) -> dict[str, Look]:
    hosts = [host for host in state.inventory.get_active_hosts() if host.name in run.tier.hosts]
    jobs = {host.name: gevent.spawn(look, state, run, host) for host in hosts}
    gevent.joinall(list(jobs.values()))
    return {name: job.get() for name, job in jobs.items()}


def look(state: State, run: Run, host: PyinfraHost) -> Look:
    """Observe one host and compare it with its desired state."""
    desired, passwords = run.tier.hosts[host.name], run.tier.passwords[host.name]
    began = time.monotonic()
    try:
        with ctx_state.use(state), ctx_host.use(host):
            bound_silence(host)
            observed = observe(state, host, desired, passwords)
    except Unobserved as error:
        return Look(desired, passwords, None, (), str(error), time.monotonic() - began)
    differences = tuple(compare(desired, observed))
    return Look(desired, passwords, observed, differences, seconds=time.monotonic() - began)

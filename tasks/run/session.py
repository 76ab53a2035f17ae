"""One run of a command: its tier, read once, and what its hosts share.

pyinfra runs a deploy file once per host; whatever concerns all hosts happens in the first of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import pyinfra
from pyinfra.api.state import State

from tasks.observed.answer import Answer
from tasks.observed.connection import Job, begin
from tasks.run.ending import Refusal, listed
from tasks.run.options import options
from tasks.run.tier import Tier, build_tier

T = TypeVar("T")
ROOT = Path(__file__).parents[2]


class Run:
    """What the hosts of one run share: the tier, what is done once for all of them, and what steps keep."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self._once: dict[str, Job[Any]] = {}
        self._kept: dict[type, Any] = {}

    def only_once(self, name: str, action: Callable[[], T]) -> T:
        """The result of `action`, begun when the first host asks; all wait for it."""
        if name not in self._once:
            self._once[name] = begin(action)
        return cast(T, self._once[name].result())

    def kept(self, kind: type[T]) -> T:
        """What a step keeps for all hosts: the one `kind` of this run, a type of the step's own, empty at first."""
        return cast(T, self._kept.setdefault(kind, kind()))


_runs: WeakKeyDictionary[State, Run] = WeakKeyDictionary()


def current(state: State, new_passwords: bool = False) -> Run:
    """The run of `state`. Raises Refusal with every problem of catalogue, inventory and secrets file."""
    if state not in _runs:
        if pyinfra.is_cli and not options():
            raise Refusal(
                f"Nothing was done: the config.py of this repository was not read, which checks the run's data: run "
                f"pyinfra in {ROOT} (cd there, or --chdir {ROOT}), without --config"
            )
        inventory_file = str(options().get("inventory") or "")
        tier, problems = build_tier(state.inventory, inventory_file, new_passwords)
        if problems:
            lines = tier.to_paste() if new_passwords else []
            raise Refusal("\n".join([listed("The data of this run cannot be used", problems), *lines]))
        _runs[state] = Run(tier)
    return _runs[state]


@dataclass
class NotConnected:
    """Why hosts could not be connected to, in words, by name."""

    why: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)  # who it was that answered, if anybody


def unreachable(state: State) -> dict[str, str]:
    """The hosts that this run asked for and could not connect to, by name: `not reachable over SSH: …`, and why."""
    why = current(state).kept(NotConnected).why
    wanted = sorted(host.name for host in state.inventory if state.is_host_in_limit(host))
    active = {host.name for host in state.activated_hosts}
    return {
        name: f"not reachable over SSH: {why.get(name, 'no reason given')}" for name in wanted if name not in active
    }


def not_answering(state: State, name: str) -> Answer:
    """Who answered, of a host that could not be connected to."""
    return current(state).kept(NotConnected).answers.get(name, Answer.UNTOLD)

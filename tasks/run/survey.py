"""One look at every host of a run, all at the same time: desired, observed, the differences and the health."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from tasks.compare.addresses import twice
from tasks.compare.difference import Difference
from tasks.compare.health import health, logins_refused
from tasks.compare.host import compare, notices
from tasks.compare.listeners import passing_listeners
from tasks.compare.moving import moves, without_copies
from tasks.compare.pairs import orient, unserved_pairs
from tasks.compare.same_machine import same_machine
from tasks.compare.unknown import Unknown, unknowns
from tasks.compare.unreadable import explained
from tasks.compare.unwell import Health
from tasks.desired.host import Host, Passwords
from tasks.observed.connection import Unobserved, begin
from tasks.observed.login import with_logins
from tasks.observed.look import Answered, observe
from tasks.observed.state import Observed
from tasks.run.fault import fault
from tasks.run.session import Run

AGAIN = 3  # looks, at most
FRESH = 5.0  # seconds; what may change behind a look may change behind any


@dataclass(frozen=True)
class Look:
    """One host as seen in this run: desired, observed, what differs, what nobody knows and what is not well.

    `observed` is None when the host could not be read: see `error`.
    """

    desired: Host
    passwords: Passwords = field(repr=False)
    observed: Observed | None
    differences: tuple[Difference, ...]
    error: str = ""
    unknown: tuple[Unknown, ...] = ()
    health: tuple[Health, ...] = ()
    logins_refused: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # role → why → since its start
    notes: tuple[str, ...] = ()  # what a person should know and nothing can be done about
    seconds: float = 0.0
    began: float = 0.0  # time.monotonic() before the host was asked
    undecided: tuple[Unknown, ...] = ()  # of `unknown`, pairs of which nobody can tell who serves: by both hosts

    @property
    def still_holds(self) -> bool:
        """Whether a second look may be saved: there was nothing to do on the host, and it was seen just now."""
        return not self.differences and not self.unknown and time.monotonic() - self.began < FRESH

    @property
    def is_due(self) -> bool:
        """Whether there is anything to do or to prove here: not where no role is, and nothing of this tool is left."""
        return bool(self.desired.roles or self.differences)


def survey(state: State, run: Run) -> dict[str, Look]:
    """One look at every active host, all at the same time, once per run; host name → what was seen."""
    return run.only_once("survey", lambda: look_at_all(state, run))


def look_at_all(state: State, run: Run, answered: Callable[[str], Answered] | None = None) -> dict[str, Look]:
    """One look at every active host, all at the same time, now.

    `answered`: for the name of a host, what is to be begun as soon as one of its servers has answered.
    """
    hosts = [host for host in state.inventory.get_active_hosts() if host.name in run.tier.hosts]
    jobs = {
        host.name: begin(partial(_look_at, state, run, host, answered(host.name) if answered else None))
        for host in hosts
    }
    seen_now = {name: job.result() for name, job in jobs.items()}
    undecided = _orient(run, seen_now)
    looks = {name: _judged(run, name, seen, undecided.get(name, ())) for name, seen in seen_now.items()}
    other_names = same_machine({name: seen.observed for name, seen in looks.items() if seen.observed})
    read = {name: (seen.desired, seen.observed) for name, seen in looks.items() if seen.observed}
    on_two = twice(read, {(item.role, item.source, item.target) for item in moves(read)[0] if item.along})
    return {
        name: replace(
            seen,
            unknown=(*seen.unknown, *filter(None, (other_names.get(name),))),
            differences=(*seen.differences, *on_two.get(name, ())),
        )
        for name, seen in looks.items()
    }


def look(
    state: State,
    run: Run,
    host: PyinfraHost,
    answered: Answered | None = None,
    undecided: Sequence[Unknown] = (),
) -> Look:
    """Observe one host and compare it with its desired state; `undecided`: what a look at all said of its pairs."""
    return _judged(run, host.name, _look_at(state, run, host, answered), undecided)


@dataclass(frozen=True)
class _Seen:
    """What was seen of a host, or in `error` why nothing was."""

    observed: Observed | None
    error: str
    seconds: float
    began: float


def _look_at(state: State, run: Run, host: PyinfraHost, answered: Answered | None) -> _Seen:
    desired, passwords = run.tier.hosts[host.name], run.tier.passwords[host.name]
    began, observed, error = time.monotonic(), None, ""
    try:
        with ctx_state.use(state), ctx_host.use(host):
            observed = _observe(state, host, desired, passwords, answered)
    except Unobserved as unobserved:
        error = explained(str(unobserved))
    except Exception as unexpected:  # a host may say what nobody thought of: its own error, which hides no other host
        error = fault(unexpected)
    return _Seen(observed, error, time.monotonic() - began, began)


def _orient(run: Run, seen: Mapping[str, _Seen]) -> Mapping[str, Sequence[Unknown]]:
    """The run's hosts are to be what was found of their pairs; of which nobody can tell who serves, by host."""
    hosts = run.tier.hosts
    if not any(host.pairs for host in hosts.values()):
        return {}
    looked_at = {name: (host, seen[name].observed if name in seen else None) for name, host in hosts.items()}
    as_found, undecided = orient(looked_at)
    run.tier = replace(run.tier, hosts=as_found)
    return undecided


def _judged(run: Run, name: str, seen: _Seen, undecided: Sequence[Unknown] = ()) -> Look:
    """What was seen of a host, compared with its desired state; `undecided`: pairs of its roles."""
    desired, passwords = run.tier.hosts[name], run.tier.passwords[name]
    result = Look(desired, passwords, None, (), seen.error)
    if seen.observed is not None:
        try:
            result = judge(desired, with_logins(passwords, seen.observed), seen.observed)
        except Exception as error:
            result = Look(desired, passwords, None, (), fault(error))
    unknown, unwell = (*result.unknown, *undecided), (*unserved_pairs(undecided), *result.health)
    result = replace(result, unknown=unknown, health=unwell, undecided=tuple(undecided))
    return replace(result, seconds=seen.seconds, began=seen.began)


def _observe(
    state: State, host: PyinfraHost, desired: Host, passwords: Passwords, answered: Answered | None
) -> Observed:
    """The host's state; looked at again while what was seen may be a server's start that has failed since."""
    observed = observe(state, host, desired, passwords, answered)
    for _ in range(AGAIN):
        passing = passing_listeners(desired, observed)
        if not passing:
            break
        observed = observe(state, host, desired, passwords, answered)
        if passing_listeners(desired, observed) == passing:
            break
    return observed


def judge(desired: Host, passwords: Passwords, observed: Observed) -> Look:
    """What was observed, with what follows from it. Pure."""
    observed = without_copies(desired, observed)
    unknown, unwell = tuple(unknowns(desired, observed)), tuple(health(desired, observed))
    notes = tuple(notices(desired, observed))
    differences, refused = tuple(compare(desired, observed)), logins_refused(desired, observed)
    seen = Look(desired, passwords, observed, differences, unknown=unknown, health=unwell, notes=notes)
    return replace(seen, logins_refused=refused)

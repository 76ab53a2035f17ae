"""The last sentence of a run that changes hosts: what was done, or what failed and what to do."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.run.options import only_plans
from tasks.run.session import current


@dataclass
class Restarted:
    """The instances that steps have restarted in this run: `crypto on redis-crypto`."""

    instances: list[str] = field(default_factory=list)
    took: dict[str, list[str]] = field(default_factory=dict)  # host → `crypto 1.2 s`, so long it was away


@dataclass(frozen=True)
class Outcome:
    """What came of a run; `changes`: host → operations that changed something there."""

    hosts: Sequence[str]
    failed: Sequence[str]
    changes: Mapping[str, int]
    restarted: Sequence[str]
    seconds: float
    planned_only: bool = False


def outcome(state: State, began: float) -> Outcome:
    """What came of the run so far; `began`: on time.monotonic()."""
    hosts = sorted(host.name for host in state.activated_hosts)
    return Outcome(
        hosts=hosts,
        failed=sorted(host.name for host in state.failed_hosts),
        changes={host.name: _changes(state, host) for host in state.activated_hosts},
        restarted=current(state).kept(Restarted).instances,
        seconds=time.monotonic() - began,
        planned_only=only_plans(),
    )


def _changes(state: State, host: Host) -> int:
    done = (item.operation_meta for item in state.ops[host].values())
    return sum(item.did_succeed(_raise_if_not_complete=False) and item.did_change() for item in done)


def sentence(found: Outcome) -> str:
    """The outcome in one sentence. Pure."""
    if found.planned_only:
        rest = ", and of some hosts not everything is known, see above" if found.failed else ""
        return f"Only planned: nothing was changed{rest}."
    changed = {name: count for name, count in found.changes.items() if count}
    total = sum(changed.values())
    done = f"{total} operation{'' if total == 1 else 's'} on {named(sorted(changed))}" if changed else "nothing changed"
    restarts = f"restarted {', '.join(found.restarted)}" if found.restarted else "no restart"
    what = f"{done}, {restarts}, in {found.seconds:.1f} s"
    if found.failed:
        return (
            f"Not done: {named(found.failed)} failed, see above why ({what}): mend what is said there and run the same "
            "command again, which goes on from here."
        )
    return f"Done: {what}; as they should be: {named(found.hosts)}."


def named(hosts: Sequence[str]) -> str:
    """Up to three names, or how many."""
    return ", ".join(hosts) if len(hosts) <= 3 else f"{len(hosts)} hosts"

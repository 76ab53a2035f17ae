"""What other hosts of a run say of the roles' ports: one command on each of two or three hosts, all at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from tasks.catalogue.data_names import TRIED
from tasks.compare.difference import Difference
from tasks.compare.network import Endpoint, differences, hosts_with_roles, to_try, tries, unheard
from tasks.compare.unknown import Unknown
from tasks.observed.connection import Unobserved, begin
from tasks.observed.network import knock
from tasks.run.fault import fault
from tasks.run.survey import Look


@dataclass(frozen=True)
class FromOthers:
    """What was found by trying ports from other hosts, by the host that has them; `commands`: how many it took."""

    differences: Mapping[str, list[Difference]] = field(default_factory=dict)
    unknown: Mapping[str, list[Unknown]] = field(default_factory=dict)
    commands: int = 0


def try_from_others(state: State, looks: Mapping[str, Look]) -> FromOthers:
    """Whether the ports that hosts have open are reached from up to two other hosts of the run that carry roles.

    Changes nothing and sends nothing. What a host has closed itself its look has said: that is not tried.
    """
    seen = hosts_with_roles({name: (item.desired, item.observed) for name, item in looks.items()})
    hosts = {host.name: host for host in state.inventory.get_active_hosts() if host.name in seen}
    planned = {
        name: item for name, item in tries(seen).items() if name in hosts and hosts[name].data.get(TRIED) is not False
    }
    asked = {name: endpoints for name, endpoints in to_try(planned).items() if name in hosts}
    jobs = {name: begin(partial(_knock, state, hosts[name], endpoints)) for name, endpoints in asked.items()}
    answers = {name: job.result() for name, job in jobs.items()}
    heard = {name: said for name, said in answers.items() if not isinstance(said, str)}
    failed = {name: said for name, said in answers.items() if isinstance(said, str)}
    return FromOthers(
        {name: differences(item, heard) for name, item in planned.items()},
        {name: unheard(item, failed) for name, item in planned.items()},
        len(jobs),
    )


def _knock(state: State, host: PyinfraHost, endpoints: list[Endpoint]) -> dict[Endpoint, str] | str:
    """What the host heard, or in words why it could not try."""
    try:
        with ctx_state.use(state), ctx_host.use(host):
            return knock(state, host, endpoints)
    except Unobserved as error:
        return str(error)
    except Exception as error:  # as in a look: it is that host's own error
        return fault(error)

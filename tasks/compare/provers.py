"""Whether a host can load the copies of another one that it is to prove. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasks.catalogue.backup import NAME
from tasks.compare.fitness import redis_number, redis_version
from tasks.desired.host import Host
from tasks.observed.state import Observed


def older_provers(hosts: Mapping[str, tuple[Host, Observed]]) -> Iterator[str]:
    """Hosts of a run whose Redis is older than that of which they prove copies: what a newer one saved it cannot load.

    Of a host that was not looked at its proof says so.
    """
    versions = {name: redis_version(desired, observed) for name, (desired, observed) in hosts.items()}
    for name, (desired, _) in sorted(hosts.items()):
        own = redis_number(versions[name])
        for role, home in ((plan.role.name, home) for plan in desired.proofs for home in plan.homes):
            other = redis_number(versions.get(home, ""))
            if own is not None and other is not None and own < other:
                yield (
                    f"{name}: {role}: it is to prove copies of {home}, which has Redis {_dotted(other)}, "
                    f"and has {_dotted(own)} itself, expected as new a one: upgrade it first, or name another in "
                    f"{NAME}: prove_on"
                )


def _dotted(number: tuple[int, int]) -> str:
    return ".".join(map(str, number))

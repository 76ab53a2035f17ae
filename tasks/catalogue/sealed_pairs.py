"""Whether the two servers of a role that has a standby and `tls` may speak TLS to each other, either way. Pure.

Redis checks who signed the other one's certificate, by its role's ca alone, and shows its own (docs/decisions/0036).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasks.catalogue.given_tls import PEM
from tasks.catalogue.tls import Credentials, may_follow

Place = tuple[str, str]  # an inventory name, and the role's address there


def sealed_pair_problems(role: str, hosts: Sequence[Place], speaking: Mapping[str, Credentials]) -> Iterator[str]:
    """What keeps its two hosts from taking each other's place; of files that could not be read that is said already.

    `hosts`: the standby last; `speaking`: its certificates by host.
    """
    known = [(name, address, speaking[name]) for name, address in hosts if name in speaking]
    for name, address, own in known:
        if own.client_auth != "no" and not may_follow(own, address):
            yield (
                f"{name}: {role}: its clients show certificates, and tls.certificate may not be shown by a client, "
                "expected one that may, for a standby is a client of its primary, and each of the two is one in its "
                "turn: have it issued for clientAuth, too"
            )
    if len(known) == 2 and _authorities(known[0][2]) != _authorities(known[1][2]):
        (first, _, _), (other, _, _) = known
        yield (
            f"{other}: {role}: tls.ca of its standby is not that of {first}, expected the same of both, for each takes "
            "the other one, and their clients follow from one to the other, by it: let both have one file, with both "
            "authorities in it where there are two"
        )


def _authorities(found: Credentials) -> frozenset[str]:
    """The certificates of its ca, in whatever order."""
    return frozenset(found.ca.split(PEM))

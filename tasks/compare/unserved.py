"""Roles that were handed over from one host and do not serve on the one that carries them: nobody may serve. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.compare.moving import Seen, is_handed_over, serves
from tasks.compare.unknown import Kind, Unknown


def unserved(hosts: Seen) -> Mapping[str, list[Unknown]]:
    """Inventory name of the host that carries it → that a role is not seen to serve there, nor where it came from.

    Of one look at all hosts. A handover takes seconds: what is seen amid it is settled at the next look.
    """
    found: dict[str, list[Unknown]] = {}
    for name, (desired, observed) in sorted(hosts.items()):
        for instance in desired.instances:
            role = instance.name
            if instance.role.paired:
                continue  # tasks/compare/pairs.py
            left = [
                other
                for other, (_, there) in sorted(hosts.items())
                if other != name and is_handed_over(role, there) and not serves(role, there)
            ]
            if left and not serves(role, observed):
                found.setdefault(name, []).append(_unknown(role, name, ", ".join(left)))
    return found


def _unknown(role: str, name: str, left: str) -> Unknown:
    return Unknown(
        role,
        f"whether anybody serves {role}",
        f"it was handed over from {left}, or was about to be, and {name} is not seen to serve it",
        "deploy to both, which finishes the move or says what to do",
        Kind.UNSERVED,
    )

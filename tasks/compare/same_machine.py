"""Two names of the inventory for one machine: each would remove what the other put there. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.compare.unknown import Kind, Unknown
from tasks.observed.state import Observed


def same_machine(hosts: Mapping[str, Observed]) -> dict[str, Unknown]:
    """Inventory name → that it is not the only name of its machine; `hosts` as seen in this run.

    Machine-id and boot-id together: clones of a disk share the one, containers of a machine may share the other.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for name, observed in hosts.items():
        if all(observed.machine):
            names.setdefault(observed.machine, []).append(name)
    return {name: _unknown(name, group) for group in names.values() for name in group if len(group) > 1}


def _unknown(name: str, group: list[str]) -> Unknown:
    others = ", ".join(sorted(set(group) - {name}))
    return Unknown(
        None,
        "which roles are to be on this machine",
        f"it is {others} as well (the same machine-id and boot-id)",
        "give it one name in the inventory, in the groups of all its roles",
        Kind.SAME_MACHINE,
    )

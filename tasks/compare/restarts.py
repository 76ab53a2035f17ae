"""Why a running instance is not restarted, whatever asks for it: by a look, and again before each restart. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.catalogue.roles import Role
from tasks.observed.state import count_keys


def restart_refusals(role: Role, info: Mapping[str, str]) -> list[str]:
    """What forbids to stop a server with this INFO, `observed, expected: what to do`; `role`: as it is to be."""
    return [*_kept_nowhere(role, info), *unhealthy(info)]


def keeps_on_disk(role: Role) -> bool:
    """A role may have neither log nor snapshots; its keys then live as long as its process."""
    return role.appendonly or bool(role.save)


def _kept_nowhere(role: Role, info: Mapping[str, str]) -> list[str]:
    keys = count_keys(info)[0]
    if keeps_on_disk(role) or keys == 0:
        return []
    return [
        f"it keeps nothing on disk, a restart would lose its keys ({keys}): deploy with appendonly: true in "
        "redis_overrides, and once more without it when that is done"
    ]


def unhealthy(info: Mapping[str, str]) -> list[str]:
    """What is wrong with the log of a server with this INFO."""
    return [
        f"{name} is {info[name]}, expected ok: free disk space, look at the journal of the unit"
        for name in ("aof_last_write_status", "aof_last_bgrewrite_status")
        if info.get(name, "ok") != "ok"
    ]

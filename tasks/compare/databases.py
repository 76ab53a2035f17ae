"""Fewer databases than before: what the next start would do with a log that still speaks of the others. Pure.

Redis leaves out a SELECT of a database that it does not have, and goes on: what was written there lands in the database
that was selected before, over its keys. A snapshot with keys there is refused as a whole (docs/decisions/0009).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tasks.compare.loading import skipped
from tasks.desired.host import Instance
from tasks.desired.paths import config_file, manifest_file, previous_file
from tasks.observed.state import Observed, Server

DEFAULT = 16  # databases of a server whose configuration says nothing of them [conf]


def are_fewer(instance: Instance, server: Server) -> bool:
    """Whether the next start has fewer databases than the running server."""
    found = server.config.get("databases", "")
    return found.isdecimal() and int(found) > instance.role.databases


def left_out(instance: Instance, info: Mapping[str, str]) -> list[str]:
    """Databases that hold keys and that the next start would not have, as INFO says it: `db9 (12 keys)`."""
    rows = [(int(name[2:]), text) for name, text in info.items() if re.fullmatch(r"db\d+", name)]
    return [
        f"db{number} ({text.partition(',')[0].removeprefix('keys=')} keys)"
        for number, text in sorted(rows)
        if number >= instance.role.databases
    ]


def database_problems(instance: Instance, observed: Observed) -> Iterator[str]:
    """Why the instance may not begin with the databases that it is to have; `thing: observed, expected, what to do`."""
    server = observed.servers.get(instance.name)
    if server is None or server.refusal is not None:
        yield from _unknown(instance, observed)
    elif are_fewer(instance, server):
        yield from _of_running(instance, server)


def _of_running(instance: Instance, server: Server) -> Iterator[str]:
    name, wanted = instance.name, instance.role.databases
    found = left_out(instance, server.info)
    if found:
        yield (
            f"{name}: {', '.join(found)} in use, expected none from db{wanted} on: with databases {wanted} a start "
            "would put what was written there into another database, over its keys: raise databases in "
            "group_data/roles.yaml, or move or delete those keys first"
        )
    elif skipped(server) and not instance.accepts_loss:
        yield (
            f"{name}: databases {server.config['databases']} in the running server, expected {wanted}, and its log is "
            "the only copy of what its start skipped, so it cannot be written anew: set databases back in "
            "group_data/roles.yaml until that is brought back (README, Writes that a start skipped)"
        )


def _unknown(instance: Instance, observed: Observed) -> Iterator[str]:
    """Nobody can ask an instance that does not answer which databases its log speaks of.

    One that panics at a database it does not have needs no guard: it stops before anything is mixed up.
    """
    wanted, before = instance.role.databases, _configured(instance, observed)
    if instance.role.propagation_error_behavior == "panic":
        return
    if instance.name in observed.adopting or manifest_file(instance.role) not in observed.data_files:
        return
    if wanted < before:
        yield (
            f"{instance.name}: does not answer, and its log may speak of {before} databases, expected {wanted}: set "
            f"databases to {before} in group_data/roles.yaml, deploy, and lower it when the instance runs"
        )


def _configured(instance: Instance, observed: Observed) -> int:
    """The most databases that the configurations on the host speak of: one that was cut off left its own beside."""
    path = config_file(instance.name)
    texts = [observed.files[name].content for name in (path, previous_file(path)) if name in observed.files]
    found = [re.findall(r"^\s*databases\s+(\d{1,9})\s*$", text, re.MULTILINE | re.IGNORECASE) for text in texts]
    numbers = [int(numbers[-1]) for numbers in found if numbers]
    return max(numbers, default=DEFAULT)

"""`like` and `scale` for the deploy of an older commit, which may know neither of the two: in words that it knows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyinfra.api.host import Host as PyinfraHost

from tasks.catalogue.likeness import LIKE, OF_A_HOST, OVERRIDES, one_for_all
from tasks.catalogue.roles import Catalogue, merge
from tasks.catalogue.scaling import SCALE, smaller_overrides
from tasks.run.like import CATALOGUE, carriers, read_file, read_likeness

REPLACED = (LIKE, SCALE, OVERRIDES, *OF_A_HOST)  # words of `--data` that are said in other words


def plain_words(hosts: Iterable[PyinfraHost], tree: Path) -> tuple[list[str], list[str]]:
    """The `--data` that makes `hosts` like the inventory, and as small, as its state in `tree` says; and problems."""
    hosts = list(hosts)
    likeness, problems = read_likeness(hosts, tree)
    catalogue, wrong = _catalogue(tree)
    if problems or catalogue is None:
        return [], [*problems, *wrong]
    if likeness.like is None and likeness.scale == 1:
        return [], []
    of_hosts: dict[str, dict[str, Any]] = {}
    for host in carriers(hosts):
        if host.roles:
            data = likeness.data[host.name]
            overrides, wrong = smaller_overrides(catalogue, data.get(OVERRIDES) or {}, host.roles, likeness.scale)
            problems += wrong
            # Of this run's own hosts all else is what that state's group_data says.
            taken = OF_A_HOST if likeness.like else ()
            of_hosts[host.name] = {OVERRIDES: overrides, **{name: data.get(name) for name in taken}}
    told, wrong = one_for_all(of_hosts)
    return [word for name, value in told.items() for word in ("--data", _written(name, value))], [*problems, *wrong]


def _written(name: str, value: object) -> str:
    return f"{name}={json.dumps(value, default=str, sort_keys=True)}"


def _catalogue(tree: Path) -> tuple[Catalogue | None, list[str]]:
    """The catalogue as it was; what it does not say yet is taken from today's `defaults`."""
    (old, wrong), (new, _) = read_file(tree / CATALOGUE), read_file(CATALOGUE)
    if old is None or new is None:
        return None, wrong
    return old.model_copy(update={"defaults": merge(new.defaults, old.defaults)}), []

"""The hosts of each lab layout: those of an inventory, each with its own address and those of its roles."""

import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.debian import LabError, Suite

REPOSITORY = Path(__file__).parents[2]
LAYOUTS = ("prod", "onebox")  # inventories whose hosts a container can be
GROUP_PREFIX = "redis_"


@dataclass(frozen=True)
class HostSpec:
    """One lab host. The first address is the primary one; every address is a /24."""

    name: str
    addresses: tuple[str, ...]
    suite: Suite = "bookworm"


def shown(path: Path) -> Path:
    """A path as people in the repository write it."""
    return path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path


def layout(name: str, suite: Suite, root: Path = REPOSITORY) -> tuple[HostSpec, ...]:
    """The hosts of inventory/NAME.py of the repository at `root`, all of them on `suite`."""
    return hosts_of(Path("inventory") / f"{name}.py", suite, root)


def hosts_of(inventory: Path, suite: Suite, root: Path = REPOSITORY) -> tuple[HostSpec, ...]:
    """The hosts that an inventory file describes, with what the catalogue at `root` gives their roles.

    Raises LabError when the inventory has a group of a role that the catalogue does not have.
    """
    roles = yaml.safe_load((root / "group_data" / "roles.yaml").read_text())["roles"]
    found: dict[str, list[str]] = {}
    for group, hosts in runpy.run_path(str(root / inventory)).items():
        if group.startswith(GROUP_PREFIX):
            for name, data in hosts:
                addresses = found.setdefault(name, [data["ssh_hostname"]])
                addresses.append(_address(group.removeprefix(GROUP_PREFIX), roles, data, inventory))
    return tuple(HostSpec(name, tuple(dict.fromkeys(addresses)), suite) for name, addresses in found.items())


def _address(role: str, roles: Mapping[str, Mapping[str, Any]], data: Mapping[str, Any], inventory: Path) -> str:
    if role not in roles:
        raise LabError(
            f"{inventory}: {GROUP_PREFIX}{role}: no such role, expected one of {', '.join(roles)}: correct it"
        )
    override = data.get("redis_overrides", {}).get(role, {})
    return str(override.get("address", roles[role]["address"]))

"""The virtual machines of the rehearsal: one for each role of the catalogue, or one for all of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.catalogue.roles import Role, build_roles, read_catalogue
from tasks.compare.fitness import memory_needed
from tests.lab.debian import LabError, Suite
from tests.lab.layouts import REPOSITORY


@dataclass(frozen=True)
class VmSpec:
    """One virtual machine. Every address is a /24 on its only interface; ssh is forwarded to the first one.

    `ssh_port` is the port on 127.0.0.1, None for any free one. `forwards` are further (address, port) pairs of
    the machine that are to be reached from 127.0.0.1, each on a free port: see Vm.forwarded.
    """

    name: str
    addresses: tuple[str, ...]
    suite: Suite = "bookworm"
    memory_mb: int = 1024
    cpus: int = 2
    ssh_port: int | None = None
    forwards: tuple[tuple[str, int], ...] = ()


Layout = Literal["each", "one"]  # a machine for each role, or one that carries them all
FIRST_SSH_PORT = 22201
ONE_SSH_PORT = 22200
MEMORY_STEP = 512  # MiB
KERNEL_MEMORY = 128  # MiB of a machine that its kernel keeps for itself


def staging(root: Path = REPOSITORY) -> dict[str, VmSpec]:
    """A machine for each role of the catalogue at `root`, in its order: a new role at its end moves no other's port.

    Raises LabError with every problem of the catalogue.
    """
    return {name: _staging(role, number) for number, (name, role) in enumerate(_roles(root).items())}


def staging_on_one(root: Path = REPOSITORY) -> dict[str, VmSpec]:
    """One machine, with every address, for all roles of the catalogue at `root`. Raises LabError as `staging` does."""
    roles = _roles(root)
    addresses = tuple(dict.fromkeys(str(role.address) for role in roles.values()))
    memory = _memory(tuple(roles.values()))
    machine = VmSpec("staging-one", addresses, memory_mb=memory, ssh_port=ONE_SSH_PORT)
    return dict.fromkeys(roles, machine)


STAGING: Mapping[Layout, Callable[[], dict[str, VmSpec]]] = {"each": lambda: staging(), "one": lambda: staging_on_one()}


def _roles(root: Path) -> dict[str, Role]:
    """The roles of the catalogue in its order. Raises LabError."""
    catalogue, problems = read_catalogue((root / "group_data" / "roles.yaml").read_text())
    if catalogue is None or problems:
        raise LabError(
            "the staging machines are those of the catalogue, which cannot be used:\n  " + "\n  ".join(problems)
        )
    roles, _ = build_roles(catalogue, {}, "roles.yaml")
    return {name: roles[name] for name in catalogue.roles}


def _staging(role: Role, number: int) -> VmSpec:
    """One CPU each: emulated machines have to share this one's, and boot sooner so."""
    name = f"staging-{role.name.replace('_', '-')}"  # host names have no _
    return VmSpec(name, (str(role.address),), memory_mb=_memory([role]), ssh_port=FIRST_SSH_PORT + number, cpus=1)


def _memory(roles: Sequence[Role]) -> int:
    """MiB with which the preflight is content, in whole steps; what a machine never touched costs nothing here."""
    needed = (memory_needed(roles) >> 20) + KERNEL_MEMORY
    return math.ceil(needed / MEMORY_STEP) * MEMORY_STEP

"""Addresses: a host has those of its roles, where this tool gives them, before anything listens there."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.compare.difference import Remedy, chosen
from tasks.desired.guard import files_of_a_pair
from tasks.desired.host import File, OwnAddress
from tasks.desired.paths import BACKUP_TOOLS, UNITS
from tasks.observed.script import script
from tasks.run.survey import Look
from tasks.steps.install import files_of
from tasks.steps.operations import run_commands, write_files


def own_addresses(seen: Look) -> None:
    """The units that keep the roles' addresses are there and run; nobody else on their networks has these addresses.

    One that comes along with its role has its file only: who gives it up still serves by it (move.py). That of a pair
    is first taken from its standby, and comes later (`addresses_of_pairs`).
    """
    files = files_with_addresses(seen)
    if files:
        asked = (BACKUP_TOOLS, *_asked(seen))
        write_files(name="Write what keeps addresses", files=files, before=asked)
    leaving, coming = _due(seen, Remedy.LEAVE), _due(seen, Remedy.PLACE)
    if leaving or _along(coming):
        # Nothing to do on the host that it comes to, which so waits for the other one: pyinfra orders the operations of
        # two hosts by those that they share alone.
        commands = [script("release-address", address=str(plan.role.address), keeper=plan.unit) for plan in leaving]
        run_commands(name="Take addresses from standbys", commands=commands)
    _keep([plan for plan in coming if plan not in _along(coming)])


def addresses_of_pairs(seen: Look) -> None:
    """The addresses that go along with who serves are there. Behind what said that it does not, and would take none."""
    _keep(_along(_due(seen, Remedy.PLACE)))


def _keep(plans: Sequence[OwnAddress]) -> None:
    if plans:
        commands = [script("keep-address", unit=plan.unit) for plan in plans]
        run_commands(name="Keep addresses on their interface", commands=commands)


def _along(plans: Sequence[OwnAddress]) -> list[OwnAddress]:
    """Those of roles of which two hosts have the one address."""
    return [plan for plan in plans if plan.role.own_address is not None]


def files_with_addresses(seen: Look) -> list[File]:
    """The files of the units that keep addresses, and of what those ask before they take one, that differ."""
    paths = {f"{UNITS}/{plan.unit}" for plan in seen.desired.addresses} | {*_asked(seen)}
    paths |= {BACKUP_TOOLS} if _asked(seen) else set()
    return [file for file in files_of(seen) if file.path in paths]


def _asked(seen: Look) -> tuple[str, ...]:
    """What is run and read before a start of units whose address goes along with who serves, if there are any."""
    roles = [plan.role.name for plan in _along(seen.desired.addresses)]
    return tuple(path for role in roles for path in files_of_a_pair(role))


def _due(seen: Look, remedy: Remedy) -> list[OwnAddress]:
    addresses = {item.name for item in chosen(seen.differences, "address", remedy=remedy)}
    return [plan for plan in seen.desired.addresses if str(plan.role.address) in addresses]

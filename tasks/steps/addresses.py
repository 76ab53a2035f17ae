"""Addresses: a host has those of its roles, where this tool gives them, before anything listens there."""

from __future__ import annotations

from tasks.compare.difference import Remedy, chosen
from tasks.desired.paths import UNITS
from tasks.observed.script import script
from tasks.run.survey import Look
from tasks.steps.install import files_of
from tasks.steps.operations import run_commands, write_files


def own_addresses(seen: Look) -> None:
    """The units that keep the roles' addresses are there and run; nobody else on their networks has these addresses.

    One that comes along with its role has its file only: who gives it up still serves by it (move.py).
    """
    files = files_of(seen, address_paths(seen))
    due = {item.name for item in chosen(seen.differences, "address", remedy=Remedy.PLACE)}
    units = [plan.unit for plan in seen.desired.addresses if str(plan.role.address) in due]
    if files:
        write_files(name="Write what keeps addresses", files=files)
    if units:
        commands = [script("keep-address", unit=unit) for unit in units]
        run_commands(name="Keep addresses on their interface", commands=commands)


def address_paths(seen: Look) -> tuple[str, ...]:
    """The files of the units that keep addresses, if there are any."""
    return tuple(f"{UNITS}/{plan.unit}" for plan in seen.desired.addresses)

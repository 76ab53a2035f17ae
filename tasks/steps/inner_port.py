"""The inner ports lead to the assigned ones: by a table of nftables that a process owns (docs/decisions/0015)."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.compare.difference import Difference, Remedy, chosen
from tasks.desired.paths import INNER_PORT_RULES, INNER_PORT_TABLE, INNER_PORT_UNIT, UNITS
from tasks.run.survey import Look
from tasks.steps.operations import run_commands

# Declared before it is deleted: stopping the unit has removed it, unless it was one that nobody owned.
NO_TABLE = f"nft 'table ip {INNER_PORT_TABLE}; delete table ip {INNER_PORT_TABLE}'"
UNIT_FILE = f"{UNITS}/{INNER_PORT_UNIT}"


def lead_inner_ports(seen: Look) -> None:
    """The inner ports lead to the assigned ones; connections through them survive a change of the rules."""
    commands = lead_commands(seen.differences, wanted=seen.desired.has_rules)
    if commands:
        name = "Lead the inner ports" if seen.desired.has_rules else "Remove the inner ports"
        run_commands(name=name, commands=commands)


def lead_commands(differences: Sequence[Difference], wanted: bool) -> list[str]:
    """What makes the rules in force those of their file, or none where no role wants them. Pure.

    A reload leaves no moment without rules. A restart leaves a short one, but none where nobody owned the rules: it is
    for those, which a reload cannot give an owner, and for a process that was started from another unit.
    """
    stray = chosen(differences, "listener", "unit", remedy=Remedy.LEAD)
    if not wanted:
        return [NO_TABLE] if stray else []
    files = chosen(differences, "file")
    unit = [item for item in stray if item.subject == "unit" or item.name.startswith("table ")]
    unit += [item for item in files if item.name == UNIT_FILE and item.expected == "content as rendered"]
    rules = [item for item in files if item.name == INNER_PORT_RULES]
    stopped = [item for item in chosen(differences, "unit", remedy=Remedy.START) if item.name == INNER_PORT_UNIT]
    unseen = [item for item in chosen(differences, "package", remedy=Remedy.INSTALL) if item.name == "nftables"]
    if unit:
        return [f"systemctl restart {INNER_PORT_UNIT}"]
    if rules or stray or stopped or unseen:
        return [f"systemctl reload-or-restart {INNER_PORT_UNIT}"]
    return []

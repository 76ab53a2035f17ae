"""What each service may do on a role, in rows for people: of the table of endpoints, and of docs/rights.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.catalogue.acl_rules import COMMANDS, may
from tasks.catalogue.rights import Rights
from tasks.catalogue.roles import Role

EVERY = "every"
NOTHING = "none"


@dataclass(frozen=True)
class Row:
    """Services of roles that may do the same."""

    roles: tuple[str, ...]
    services: tuple[str, ...]
    rights: Rights

    @property
    def keys(self) -> tuple[str, ...]:
        """Patterns; beside them each service has the keys of a proof."""
        return self.rights.keys or (NOTHING,)

    @property
    def channels(self) -> tuple[str, ...]:
        """Patterns, as `keys`."""
        return self.rights.channels or (NOTHING,)

    @property
    def commands(self) -> tuple[str, ...]:
        """The rules of commands, and whether scripts and functions are beside them."""
        return self.rights.commands, f"scripts: {_word(self.rights.scripts)}, functions: {_word(self.rights.functions)}"


def _word(granted: bool) -> str:
    return "yes" if granted else "no"


def rows(roles: Iterable[Role]) -> list[Row]:
    """A row for what a service may do on a role, those of a role in the order of its list; alike ones of a role in one.

    Where all services of all roles are alike, one row for all of them.
    """
    found: list[Row] = []
    for role in roles:
        alike: dict[Rights, list[str]] = {}
        for service in role.services:
            alike.setdefault(_bare(role.rights_of(service)), []).append(service)
        found += [Row((role.name,), tuple(services), rights) for rights, services in alike.items()]
    if len(found) > 1 and len({row.rights for row in found}) == 1:
        names = dict.fromkeys(name for row in found for name in row.roles)
        services = dict.fromkeys(name for row in found for name in row.services)
        return [Row(tuple(names), tuple(services), found[0].rights)]
    return found


def _bare(rights: Rights) -> Rights:
    """Rights alone, of a role that has much else."""
    return Rights(**{name: getattr(rights, name) for name in Rights.model_fields})


def refused(rights: Rights) -> list[str]:
    """Commands of Redis that these rights refuse, by name; a whole command where all of its subcommands are."""
    parts: dict[str, list[str]] = {}
    for name in COMMANDS:
        parts.setdefault(name.partition("|")[0], []).append(name)
    denied: list[str] = []
    for whole, names in sorted(parts.items()):
        inner = [name for name in names if name != whole] or names
        lacking = [name for name in inner if not may(rights.rules, name)]
        denied += [whole] if len(lacking) == len(inner) else lacking
    return [name.upper().replace("|", " ") for name in denied]

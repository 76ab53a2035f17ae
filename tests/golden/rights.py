"""docs/rights.md: what each service of production's catalogue may do, for the people who write services. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from tasks.catalogue.acl_rules import (
    METRICS_RULES,
    OPERATOR,
    OPERATOR_RULES,
    READER_RULES,
    REPLICATION,
    RESERVED_PREFIX,
    STANDBY_RULES,
    patterns,
)
from tasks.catalogue.backup import READER
from tasks.catalogue.metrics import METRICS
from tasks.catalogue.rights import Rights
from tasks.catalogue.roles import Role, build_roles, read_catalogue
from tasks.reports.rights import refused
from tests.tree import REPOSITORY, ROLES

PAGE = REPOSITORY / "docs" / "rights.md"
WIDTH = 120  # columns

HEAD = """\
# What each service may do

Of `group_data/roles.yaml`, written by `make golden`: change it there (README, "What a service may do"). It is what ACLs
of Redis hold each service to. `tasks/endpoints.py` shows the same for an inventory, with its `redis_overrides`.

| role | service | keys | channels | commands | scripts | functions |
|---|---|---|---|---|---|---|
"""
TAIL = f"""
- **keys**, **channels**: patterns; `*` is all. Each service also has those that begin with `{RESERVED_PREFIX}`, by
  which a proof shows that it can read and write; no service is to use them.
- **commands**: rules of Redis, of which the last one that names a command decides. What they refuse is listed below.
- **scripts**: EVAL, EVALSHA and SCRIPT LOAD. **functions**: FCALL; the operator alone loads functions.
- What is refused is answered by NOPERM and shows in `ACL LOG`. Nobody but `operator` administers (docs/decisions/0018).

## Users of this tool

No service has their passwords; that of `reader` is in clear on the role's host, for root alone (README, Backups).
Why they may no more: docs/decisions/0019, 0025 and 0030.

"""
OWN = (
    (OPERATOR, "all roles", OPERATOR_RULES),
    (READER, "those that are backed up (`redis_backup`)", READER_RULES),
    (METRICS, "those that are measured (`redis_metrics`)", METRICS_RULES),
    (REPLICATION, "those that have a standby (`redis_ROLE_standby`), by which the two hosts copy", STANDBY_RULES),
)


def page() -> str:
    """The text of the page, for the catalogue as it is."""
    catalogue, problems = read_catalogue((REPOSITORY / ROLES).read_text())
    assert catalogue is not None, problems
    roles, problems = build_roles(catalogue, {}, str(ROLES))
    assert problems == []
    return rights_page([roles[name] for name in catalogue.roles])


def rights_page(roles: Iterable[Role]) -> str:
    """The page for these roles, in their order."""
    found = [(role.name, service, role.rights_of(service)) for role in roles for service in role.services]
    denied: dict[tuple[str, ...], list[str]] = {}
    for role, service, rights in found:
        denied.setdefault(tuple(refused(rights)), []).append(f"{service} on {role}")
    sections = [
        _refused("every service" if len(denied) == 1 else ", ".join(who), names) for names, who in denied.items()
    ]
    own = "".join(_own(*item) for item in OWN)
    return HEAD + "".join(_row(*item) for item in found) + TAIL + own + "\n## Refused commands\n" + "".join(sections)


def _own(user: str, roles: str, rules: str) -> str:
    granted = ", ".join(word[1:].replace("|", " ").upper() for word in rules.split() if word[0] == "+")
    text = f"- **{user}**, of {roles}. Keys: {_code(item[1:] for item in patterns(rules))}. Commands: {granted}."
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False) + "\n"


def _refused(who: str, commands: Iterable[str]) -> str:
    return "\n" + textwrap.fill(f"To {who}: {', '.join(commands)}.", WIDTH, break_on_hyphens=False) + "\n"


def _row(role: str, service: str, rights: Rights) -> str:
    cells = (
        _code(rights.keys),
        _code(rights.channels),
        f"`{rights.commands}`",
        *("yes" if granted else "no" for granted in (rights.scripts, rights.functions)),
    )
    return f"| {role} | {service} | {' | '.join(cells)} |\n"


def _code(patterns: Iterable[str]) -> str:
    """A bar in a pattern would end its cell."""
    return " ".join(f"`{pattern}`".replace("|", "\\|") for pattern in patterns) or "none"

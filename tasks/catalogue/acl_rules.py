"""What ACL rules mean: which commands they allow, whatever words a server version uses to say so. Pure.

Redis 7.0 answers `-@dangerous +info` as `-flushall -keys …`, 8.0 in other words again; both mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

# Redis replays its append-only log as this user, and asks its rights again for every transaction and script: it has all
# of them and no way in (docs/decisions/0009).
DEFAULT = "default"
DEFAULT_RULES = "~* &* +@all"
DEFAULT_LINE = f"user {DEFAULT} off {DEFAULT_RULES}"  # of an ACL file

OPERATOR = "operator"  # the user of this tool
OPERATOR_RULES = "~* &* +@all"
# What an application needs and no administration; `info` because client libraries ask it when they connect.
SERVICE_RULES = "~* &* +@all -@admin -@dangerous +info"

Categories = Mapping[str, frozenset[str]]


def categories_in(rules: Iterable[str]) -> list[str]:
    """Every command category that these rules name, but `all`."""
    return sorted({name for rule in rules for name in re.findall(r"@(\w+)", rule)} - {"all"})


def allowed(rules: str, categories: Categories) -> tuple[str, frozenset[str]]:
    """`("all", denied)` or `("none", granted)`: the meaning of the command rules in `rules`, in their order.

    `categories`: name → commands, as ACL CAT lists them. A category that is not in it stands for itself.
    """
    base, exceptions = "none", frozenset[str]()
    for word in rules.split():
        sign, name = word[:1], word[1:].lower()
        if sign not in "+-":
            continue
        if name == "@all":
            base, exceptions = ("all" if sign == "+" else "none"), frozenset()
            continue
        commands = categories.get(name[1:], frozenset({name})) if name.startswith("@") else frozenset({name})
        denies = (sign == "-") == (base == "all")
        exceptions = exceptions | commands if denies else _without(exceptions, commands, sign)
    return base, exceptions


def _without(exceptions: frozenset[str], commands: frozenset[str], sign: str) -> frozenset[str]:
    """`exceptions` less `commands`: a whole command takes its subcommands along (`+config` allows `config|set`).

    A subcommand taken out of an exception of its whole command stays as an exception to that exception.
    """
    inner = {f"{sign}{name}" for name in commands if "|" in name and name.partition("|")[0] in exceptions}
    left = {name for name in exceptions if name not in commands and name.lstrip("+-").partition("|")[0] not in commands}
    return frozenset(left | inner)


def patterns(rules: str) -> list[str]:
    """Key and channel patterns in `rules`, sorted."""
    return sorted(word for word in rules.split() if word[:1] in "~&%")

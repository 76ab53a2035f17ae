"""What ACL rules mean: which commands they allow, whatever words a server version uses to say so. Pure.

Redis 7.0 answers `-@dangerous +info` as `-flushall -keys …`, 8.0 in other words again; both mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

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
        adds = (sign == "-") == (base == "all")
        exceptions = exceptions | commands if adds else exceptions - commands
    return base, exceptions


def patterns(rules: str) -> list[str]:
    """Key and channel patterns in `rules`, sorted."""
    return sorted(word for word in rules.split() if word[:1] in "~&%")

"""Read what nft lists: where our table leads the inner ports, and which other tables take connections. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

OUR_TABLE = "redis_inner_port"


def tables(lines: Sequence[str]) -> dict[str, list[str]]:
    """The lines of `nft list ruleset ip` by table."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        if match := re.match(r"table ip (\S+) \{", line):
            current = found.setdefault(match[1], [])
        else:
            current.append(line.strip())
    return found


def foreign_forwards(found: Mapping[str, Sequence[str]]) -> Iterable[tuple[str, str]]:
    """(table, rule) of every rule outside our table that leads connections elsewhere."""
    for table, lines in found.items():
        if table != OUR_TABLE:
            yield from ((table, line) for line in lines if re.search(r"dport .*\b(dnat (ip )?to|redirect)\b", line))


_RULE = re.compile(r"ip daddr ([0-9.]+) tcp dport ([0-9]{1,5}) dnat to ([0-9.]+:[0-9]{1,5})")


def forwards(lines: Sequence[str]) -> Iterable[tuple[str, str, int, str]]:
    """(chain, address, inner port, target) of every rule in our table; a rule of another form counts as one."""
    chain = ""
    for line in map(str.strip, lines):
        if match := re.match(r"chain (\S+) \{", line):
            chain = match[1]
        elif match := _RULE.fullmatch(line):
            yield chain, match[1], int(match[2]), match[3]
        elif line and line != "}" and not line.startswith(("table ", "type nat hook")):
            yield chain, line, 0, ""

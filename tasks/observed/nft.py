"""Read what nft lists: where our table leads the inner ports, and which other tables take connections. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tasks.catalogue.printable import excerpt
from tasks.observed.records import Unreadable

OUR_TABLE = "redis_inner_port"
NFT = "nft"  # what the look prints where nft is installed
HEADER = "payload expression, "  # begins what nft says of a field of a packet's header


def read_rules(lines: Sequence[str]) -> dict[str, list[str]]:
    """The tables in the look's part about rules; none where nft is not installed. Raises Unreadable.

    A host without any rule prints none: so nft was also asked for what it always knows.
    """
    if not lines:
        return {}
    said = [line for line in lines if line]
    if said[0] != NFT or len(said) < 2:
        raise Unreadable("nft printed nothing, not even of what it always knows")
    if not said[1].startswith(HEADER):
        raise Unreadable(f"nft says {excerpt(said[1])}, expected what it knows of a header")
    for line in said[2:]:
        if not line.startswith(("\t", " ", "}", "#", "table ip ")):
            raise Unreadable(f"nft says {excerpt(line)}, expected tables")
    return tables(said[2:])


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

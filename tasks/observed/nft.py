"""Read what nft and iptables list: where our table leads inner ports, and which rules may take connections. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from tasks.catalogue.printable import excerpt
from tasks.desired.host import FENCE_CHAIN, from_chain
from tasks.desired.paths import INNER_PORT_TABLE
from tasks.observed.records import Unreadable
from tasks.observed.state import Ranges, Taking

OUR_TABLE = INNER_PORT_TABLE
NFT = "nft"  # what the look prints where nft is installed
HEADER = "payload expression, "  # begins what nft says of a field of a packet's header
EVERY: Ranges = ((0, (1 << 32) - 1),)  # addresses or ports, as numbers
# What gives a connection another end. tproxy hands it to any socket; iptables-nft names what it cannot translate.
_TAKES = re.compile(r"\b(dnat|redirect|tproxy)\b|\bxt target \"(DNAT|REDIRECT|TPROXY)\"")
_HOOKED = re.compile(r"type \w+ hook (prerouting|output)\b")
_GOES_TO = re.compile(r"\b(?:jump|goto) ([^\s,}]+)")
_RULE = re.compile(r"ip daddr ([0-9.]+) tcp dport ([0-9]{1,5}) dnat to ([0-9.]+:[0-9]{1,5})")

Chains = dict[str, list[str]]  # chain → its rules and what it says of itself


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
        if not line.startswith(("\t", " ", "}", "#", "table ")):
            raise Unreadable(f"nft says {excerpt(line)}, expected tables")
    return tables(said[2:])


def tables(lines: Sequence[str]) -> dict[str, list[str]]:
    """The lines of `nft list ruleset` by table of IPv4: `ip` by its name, `inet`, which takes IPv4 too, by both.

    The first line of each is what nft remarks on the table, its owner's name.
    """
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        if match := re.match(r"table (\w+) (\S+) \{(.*)", line):
            family, name, remark = match.groups()
            current = found.setdefault(name if family == "ip" else f"{family} {name}", [remark.strip()])
        else:
            current.append(line.strip())
    return {name: own for name, own in found.items() if " " not in name or name.startswith("inet ")}


def takings(found: Mapping[str, Sequence[str]]) -> Iterator[Taking]:
    """Every rule that may lead connections elsewhere than where they were meant for, with what it may take.

    What is not understood of a rule counts as met. Rules of our table that have its form are not among them: see
    `forwards`.
    """
    for table, lines in found.items():
        chains = _chains(lines)
        begin = [name for name, own in chains.items() if any(map(_HOOKED.match, own))]
        for taking in dict.fromkeys(_reached(table, chains, begin)):
            if table != OUR_TABLE or not _RULE.fullmatch(taking.rule):
                yield taking


def _chains(lines: Sequence[str]) -> Chains:
    chains: Chains = {}
    current: list[str] = []
    for line in lines:
        if match := re.match(r"(?:chain|set|map|flowtable|counter|quota|limit) (\S+) \{", line):
            current = []
            if line.startswith("chain "):
                current = chains.setdefault(match[1], current)
        elif line and line != "}":
            current.append(line)
    return chains


def _reached(table: str, chains: Chains, begin: Iterable[str]) -> Iterator[Taking]:
    """Walk the chains from where packets come in, narrowing what can still get there."""
    due = [(name, EVERY, EVERY) for name in begin]
    seen = set(due)
    while due:
        name, addresses, ports = due.pop()
        for line in chains.get(name, ()):
            rule = re.sub(r'\b(comment|prefix) "[^"]*"', "", line)
            here = narrowed(addresses, addresses_of(rule)), narrowed(ports, ports_of(rule))
            if not all(here):
                continue
            if _TAKES.search(rule):
                yield Taking(table, line, *here)
            # The elements of a named map are not listed: any chain of the table may be among them.
            named = re.search(r"\bvmap @", rule)
            for other in chains if named else _GOES_TO.findall(rule):
                step = (other, *here)
                if step not in seen:
                    seen.add(step)
                    due.append(step)


def narrowed(one: Ranges, other: Ranges) -> Ranges:
    """What lies in both."""
    both = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return tuple(sorted((low, high) for low, high in both if low <= high))


def without(some: Ranges) -> Ranges:
    """All that does not lie in these."""
    left, start = [], 0
    for low, high in sorted(some):
        if low > start:
            left.append((start, low - 1))
        start = max(start, high + 1)
    return (*left, (start, EVERY[0][1])) if start <= EVERY[0][1] else tuple(left)


def addresses_of(rule: str) -> Ranges:
    """The addresses that a rule of nft may meet, as numbers."""
    return _met(r"(?<!\. )\bip daddr (!= )?(\{[^}]*\}|\S+)", rule, _address_range)


def ports_of(rule: str) -> Ranges:
    """The TCP ports that a rule of nft may meet; none when it means another protocol."""
    if re.search(r"\budp (d|s)port|\b(ip protocol|meta l4proto) (?!\{|tcp\b|!=|6\b|@)", rule):
        return ()
    return _met(r"(?<!\. )\b(?:tcp|th) dport (!= )?(\{[^}]*\}|\S+)", rule, _port_range)


def _met(pattern: str, rule: str, one: Callable[[str], tuple[int, int] | None]) -> Ranges:
    """What all conditions of this pattern leave; one that is not understood, as a named set or a map, leaves all."""
    ranges = EVERY
    for other, text in re.findall(pattern, rule):
        items = [item.split(":")[0].strip() for item in text.strip("{}").split(",") if item.strip()]
        found = tuple(filter(None, map(one, items)))
        if items and len(found) == len(items):
            ranges = narrowed(ranges, without(found) if other else found)
    return ranges


def _address_range(text: str) -> tuple[int, int] | None:
    low, _, high = text.partition("-")
    try:
        if high:
            return int(IPv4Address(low)), int(IPv4Address(high))
        network = IPv4Network(low, strict=False)
    except ValueError:
        return None
    return int(network.network_address), int(network.broadcast_address)


def _port_range(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text)
    return (int(match[1]), int(match[2] or match[1])) if match else None


def legacy_takings(lines: Iterable[str]) -> Iterator[Taking]:
    """The same of what iptables-legacy-save prints, which nft does not show. Rules are judged by themselves."""
    for line in lines:
        if not re.search(r" -j (DNAT|REDIRECT|TPROXY)\b", line) or re.search(r" -p (?!tcp\b|all\b|0\b|6\b)", line):
            continue
        addresses, ports = EVERY, EVERY
        for other, text in re.findall(r"(! )?-d ([0-9./]+)", line):
            network = _address_range(text) or EVERY[0]
            addresses = narrowed(addresses, without((network,)) if other else (network,))
        for other, text in re.findall(r"(! )?--dports? ([0-9:,]+)", line):
            found = tuple(filter(None, (_port_range(item.replace(":", "-")) for item in text.split(","))))
            ports = narrowed(ports, without(found) if other else found)
        if addresses and ports:
            yield Taking("iptables-legacy", line, addresses, ports)


def owner(lines: Sequence[str]) -> str:
    """The process that owns the table with these lines, by name: nobody else can change it, and it ends with it.

    Empty where nobody owns it.
    """
    flags = (line.removeprefix("flags ") for line in lines if line.startswith("flags "))
    if not any("owner" in re.split("[, ]+", words) for words in flags):
        return ""
    named = re.fullmatch(r"# progname ([\w.-]{1,15})", lines[0])
    return named[1] if named else "unknown"


def fences(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """chain → lines of the chains in our table that say who may connect."""
    return {name: tuple(own) for name, own in _chains(lines).items() if is_fence(name)}


def is_fence(chain: str) -> bool:
    """Whether a chain of our table says who may connect."""
    return chain == FENCE_CHAIN or chain.startswith(from_chain(""))


def forwards(lines: Sequence[str]) -> Iterable[tuple[str, str, int, str]]:
    """(chain, address, inner port, target) of every leading rule in our table; a rule of another form counts as one."""
    chain = ""
    for line in map(str.strip, lines):
        if match := re.match(r"chain (\S+) \{", line):
            chain = match[1]
        elif is_fence(chain):
            continue
        elif match := _RULE.fullmatch(line):
            yield chain, match[1], int(match[2]), match[3]
        elif line and line != "}" and not line.startswith(("type nat hook", "flags ", "comment ", "# progname ")):
            yield chain, line, 0, ""

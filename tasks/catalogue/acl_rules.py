"""What ACL rules mean: which commands they allow, whatever words a server version uses to say so. Pure.

Redis 7.0 answers `-@dangerous +info` as `-flushall -keys …`, 8.0 in other words again; both mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

# Redis replays its append-only log as this user, and asks its rights again for every transaction and script: it has all
# of them and no way in (docs/decisions/0009).
DEFAULT = "default"
DEFAULT_RULES = "~* &* +@all"
DEFAULT_LINE = f"user {DEFAULT} off {DEFAULT_RULES}"  # of an ACL file

OPERATOR = "operator"  # the user of this tool
RESERVED_PREFIX = "caas-verify:"  # of keys and channels of a proof or a drill; each service has them, none may use them
PROOF = f"{RESERVED_PREFIX}proof"  # the name of this tool's connection that tries wrong passwords

# What it sends, and what this tool's words and README tell a person to send as it. It changes no key but those that a
# drill wrote, and of others it learns the name and the size: no command of it tells a value.
_OPERATOR_COMMANDS = (
    "ping info config|get config|set config|resetstat",  # a look, a change, health
    "acl|users acl|cat acl|getuser acl|setuser acl|deluser acl|load acl|log",
    "multi exec client|kill client|list client|setname",  # nobody stays logged in as `default`; who is who
    "slowlog|get latency|latest",  # what holds it up (docs/decisions/0027)
    "select scan memory|usage",  # its biggest keys
    "bgsave bgrewriteaof shutdown",
    "script|kill function|kill function|stats",  # what keeps a server busy
    "function|load function|list function|delete",  # services may not (docs/decisions/0018)
    "exists unlink",  # what a drill wrote
)
OPERATOR_RULES = " ".join(
    ["%R~*", f"~{RESERVED_PREFIX}*", "-@all", *(f"+{name}" for words in _OPERATOR_COMMANDS for name in words.split())]
)

# Of `reader`, where a role is backed up: what a copy's manifest says of its keys. It writes nothing.
_READER_COMMANDS = (
    "ping info select randomkey type pexpiretime memory|usage object|encoding eval_ro",
    "get lrange smembers hgetall zrange xrange",
)
READER_RULES = " ".join(["~*", "-@all", *(f"+{name}" for words in _READER_COMMANDS for name in words.split())])
# Of `metrics`, where a role is measured: no key, no value of one (SLOWLOG GET shows arguments), no setting, no client
# (docs/decisions/0030).
METRICS_RULES = "-@all +info +slowlog|len +latency|latest +latency|histogram"
REPLICATION = "replication"  # a user that there is while a role moves, and for good where it has a standby
REPLICATION_RULES = "-@all +psync +replconf +ping"  # of whom a copy logs in as; without one of them it does not begin
# Of a role with a standby, on both sides, for they swap: ROLE asks the other one whether it serves.
STANDBY_RULES = f"{REPLICATION_RULES} +role"
# Whom the new server is told to serve as, and whom the old one then follows it as. On the old one the connection of its
# copy, which is the new host's, would have these rights: nobody of this name has them there.
TAKEOVER_RULES = f"{REPLICATION_RULES} +info +replicaof"
HANDOVER = "_handover"  # of the old server alone, by a password that the new host never sees; no service begins so
SWAP_RULES = "-@all +ping +info +replicaof"  # of the standby that it is handed over to, by another password
HANDOVER_RULES = "-@all +ping +info +replicaof +client|pause +client|unpause +client|kill"
# Of `_handover` where the role's address goes along: each server listens elsewhere then. On the new one by a password
# that the old host never sees.
REBIND_RULES = "+config|set"
# Of the standby that is handed over to: who it is told to serve as has a password that the old host knows.
BINDER = "_binder"
# Who copies has every key anyway. This reads some of them on both sides.
SAMPLE_RULES = (
    f"%R~* {REPLICATION_RULES} +select +randomkey +memory|usage +type +strlen +getrange +llen +lrange +scard +smembers "
    "+hlen +hgetall +zcard +zrange +xlen +xrange"
)

Categories = Mapping[str, frozenset[str]]


def _read_commands() -> Mapping[str, Mapping[str, frozenset[str]]]:
    """Redis version → command → its categories."""
    text = (Path(__file__).parent / "redis_commands.yaml").read_text(encoding="utf-8")
    known = yaml.load(text, Loader=yaml.CSafeLoader)
    return {version: {name: frozenset(words.split()) for name, words in known[version].items()} for version in known}


_OF_7_0, _OF_8_0 = _read_commands().values()
COMMANDS: Mapping[str, frozenset[str]] = {**_OF_7_0, **_OF_8_0}
# As 7.0 has them, which answers with whatever categories make its answer short; 8.0 answers with the words it got.
CATEGORIES: Categories = {
    category: frozenset(name for name, categories in _OF_7_0.items() if category in categories)
    for category in sorted(frozenset[str]().union(*_OF_7_0.values()))
}


def may(rules: str, command: str) -> bool:
    """Whether rules allow a command: the last word that concerns it decides. `command`: as in COMMANDS."""
    names = {command, command.partition("|")[0], *(f"@{category}" for category in COMMANDS[command]), "@all"}
    said = [word[0] == "+" for word in rules.split() if word[:1] in "+-" and word[1:].lower() in names]
    return bool(said) and said[-1]


def categories_in(rules: Iterable[str]) -> list[str]:
    """Every command category that these rules name, but `all`."""
    return sorted({name for rule in rules for name in re.findall(r"@(\w+)", rule)} - {"all"})


def allowed(rules: str, categories: Categories) -> tuple[str, frozenset[str]]:
    """`("all", denied)` or `("none", granted)`: the meaning of the command rules in `rules`, in their order.

    `categories`: name → commands, as ACL CAT lists them. A category that is not in it is as CATEGORIES has
    it, and stands for itself where it is unknown.
    """
    categories = {**CATEGORIES, **categories}
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
        exceptions = _with(exceptions, commands) if denies else _without(exceptions, commands, sign)
    return base, exceptions


def _with(exceptions: frozenset[str], commands: frozenset[str]) -> frozenset[str]:
    """`exceptions` and `commands`, which takes exceptions to them back."""
    inner = {name for name in exceptions if name[0] in "+-" and {name[1:], name[1:].partition("|")[0]} & commands}
    return (exceptions - inner) | commands


def _without(exceptions: frozenset[str], commands: frozenset[str], sign: str) -> frozenset[str]:
    """`exceptions` less `commands`: a whole command takes its subcommands along (`+config` allows `config|set`).

    A subcommand taken out of an exception of its whole command stays as an exception to that exception.
    """
    inner = {f"{sign}{name}" for name in commands if "|" in name and name.partition("|")[0] in exceptions}
    left = {name for name in exceptions if name not in commands and name.lstrip("+-").partition("|")[0] not in commands}
    return frozenset(left | inner)


def meaning(rules: str, categories: Categories) -> tuple[str, frozenset[str]]:
    """As `allowed`, and the same for all rules that mean the same: a whole command is its subcommands, where known.

    `-@slow` denies both CLUSTER and CLUSTER|INFO, 7.0 says `-cluster` of it.
    """
    base, exceptions = allowed(rules, categories)
    known = {name for commands in {**CATEGORIES, **categories}.values() for name in commands}
    parts: dict[str, set[str]] = {}
    for name in known:
        if "|" in name:
            parts.setdefault(name.partition("|")[0], set()).add(name)
    left = set[str]()
    for name in exceptions:
        whole = name.lstrip("+-").partition("|")[0]
        if name == whole:
            left |= {part for part in parts.get(name, {name}) if not {f"+{part}", f"-{part}"} & exceptions}
        elif name[0] not in "+-" or whole not in parts:
            left.add(name)
    return base, frozenset(left)


def patterns(rules: str) -> list[str]:
    """Key and channel patterns in `rules`, sorted."""
    return sorted(word for word in rules.split() if word[:1] in "~&%")

"""What a service may do on a role: fields of roles.yaml, of a role or of one of its services, become ACL rules. Pure.

Administration is refused at the door, whatever words would grant it; the operator alone has it (docs/decisions/0018).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, model_validator

from tasks.catalogue.acl_rules import CATEGORIES, COMMANDS, RESERVED_PREFIX, may
from tasks.catalogue.glob import matches

# What client libraries need of scripts; SCRIPT FLUSH, KILL and DEBUG, and all of FUNCTION but the call, stay out.
SCRIPTS = "+eval +evalsha +eval_ro +evalsha_ro +script|load +script|exists"
FUNCTIONS = "+fcall +fcall_ro"
NEEDED = ("ping", "info")  # client libraries ask these as they connect, and a proof does
WHOLE = ("flushall", "flushdb", "swapdb")  # take every key, whatever patterns a user has
# Of @dangerous and not of @admin, and yet no service's: they send keys, or take them, past the checks of the server.
BEYOND = ("migrate", "restore-asking")

PATTERN = re.compile(r"[^\s\"'\x00-\x20\x7f\ud800-\udfff]+")


def _pattern(text: str) -> str:
    if not PATTERN.fullmatch(text):
        raise ValueError(f"{text!r} is no pattern, expected one without blanks and quotes, as session:*")
    if text[:1] in "~&%":
        raise ValueError(f"{text!r} is a rule of an ACL, expected the pattern alone: {text.lstrip('~&%RW')!r}")
    return text


def _commands(text: str) -> str:
    """The rules with one blank between them. Raises ValueError for what is none, and for what no service may."""
    words = text.lower().split()
    if wrong := [problem for word in words if (problem := _word(word))]:
        raise ValueError("; ".join(wrong))
    rules = " ".join(words)
    if granted := [name for name in COMMANDS if _is_administration(name) and may(rules, name)]:
        some = ", ".join(granted[:4]) + (f" and {len(granted) - 4} more" if len(granted) > 4 else "")
        raise ValueError(f"grants {some}, which is administration and the operator's: end it with -@admin -@dangerous")
    if lacking := [name for name in NEEDED if not may(rules, name)]:
        raise ValueError(f"lacks {', '.join(lacking)}, which clients and the proof ask: add +{' +'.join(lacking)}")
    return rules


def _is_administration(command: str) -> bool:
    return "admin" in COMMANDS[command] or command in BEYOND


def _word(word: str) -> str:
    """What is wrong with one rule; empty when nothing is."""
    sign, name = word[:1], word[1:]
    if sign not in "+-" or not name:
        return f"{word!r} is no rule of commands, expected +NAME, -NAME, +@CATEGORY or -@CATEGORY"
    known = [f"@{item}" for item in ("all", *CATEGORIES)] if name.startswith("@") else list(COMMANDS)
    if name not in known:
        near = get_close_matches(name, known, 1)
        what = "category" if name.startswith("@") else "command"
        return f"{word!r} names no {what} of Redis" + (f", is {sign}{near[0]} meant?" if near else ": correct it")
    parts = [item for item in COMMANDS if item == name or item.startswith(f"{name}|")]
    if name == "@scripting" or any("scripting" in COMMANDS[item] for item in parts):
        return f"{word!r}: scripts and functions have fields of their own: scripts: true|false, functions: true|false"
    return ""


Patterns = tuple[Annotated[str, Field(strict=True), AfterValidator(_pattern)], ...]


class Rights(BaseModel):
    """Which keys, channels and commands a service has, and whether it may run scripts and call functions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: Patterns
    channels: Patterns
    commands: Annotated[str, Field(strict=True), AfterValidator(_commands)]
    scripts: StrictBool
    functions: StrictBool

    @model_validator(mode="after")
    def _nothing_reaches_past_the_keys(self) -> Rights:
        past = [] if "*" in self.keys else [name for name in WHOLE if may(self.commands, name)]
        if past:
            words = " ".join(f"-{name}" for name in past)
            raise ValueError(f"commands: {', '.join(past)} would take every key, not only those of `keys`: add {words}")
        return self

    @property
    def rules(self) -> str:
        """The rules of an ACL: keys, channels, commands."""
        granted = [*self.commands.split(), "-@scripting"]
        granted += SCRIPTS.split() if self.scripts else []
        granted += FUNCTIONS.split() if self.functions else []
        return " ".join([*_patterns("~", self.keys), *_patterns("&", self.channels), *granted])

    def may(self, *commands: str) -> bool:
        """Whether all these commands are allowed, on keys and channels that are."""
        return all(may(self.rules, command) for command in commands)

    def has_key(self, key: str) -> bool:
        """Whether a key is allowed."""
        return any(matches(pattern, key) for pattern in (f"{RESERVED_PREFIX}*", *self.keys))

    def has_channel(self, channel: str) -> bool:
        """Whether a channel is allowed."""
        return any(matches(pattern, channel) for pattern in (f"{RESERVED_PREFIX}*", *self.channels))


FIELDS = tuple(Rights.model_fields)


def _patterns(sign: str, patterns: tuple[str, ...]) -> list[str]:
    """`*` alone where it is among them: Redis takes no other beside it."""
    given = ["*"] if "*" in patterns else dict.fromkeys([f"{RESERVED_PREFIX}*", *patterns])
    return [f"{sign}{pattern}" for pattern in given]


SERVICES = "services"
OWN_RIGHTS = "services (rights)"  # of Role.own_rights: a name that no file has


def with_own_rights(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A role's fields with its services as names, and beside them the rights of those that differ from the role's."""
    services = fields.get(SERVICES)
    if not isinstance(services, Mapping):
        return {**fields, OWN_RIGHTS: {}}
    role = {name: fields[name] for name in FIELDS if name in fields}
    own = {
        name: {**role, **rights} if isinstance(rights, Mapping) else rights
        for name, rights in services.items()
        if rights not in (None, {})
    }
    return {**fields, SERVICES: list(services), OWN_RIGHTS: own}


def services_over(base: object, over: object) -> object:
    """Services with another layer's laid over them: a mapping refines, a list says which ones there are.

    Neither takes away what another layer says of a service that stays.
    """
    if isinstance(over, Mapping) and isinstance(base, list):
        return {**{str(name): {} for name in base}, **over}
    if isinstance(over, list) and isinstance(base, Mapping):
        return {name: base.get(name, {}) for name in over if isinstance(name, str)} if _are_names(over) else over
    return over


def _are_names(items: list[object]) -> bool:
    return all(isinstance(item, str) for item in items) and len(set(map(str, items))) == len(items)

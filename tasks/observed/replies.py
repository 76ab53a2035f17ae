"""What a server may answer, by shape: whoever answers on a port may say anything. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import TypeAlias

import hiredis

from tasks.catalogue.printable import excerpt
from tasks.catalogue.secret import HIDDEN

ReplyError = hiredis.ReplyError
Reply: TypeAlias = "str | int | hiredis.ReplyError | list[Reply] | None"

HEADER = 24  # bytes of the longest line that says how long a list is
ENDLESS = re.compile(rb"(?:\A|\n)[*%~>|][0-9]{7,24}\r")  # the longest list that is asked for has a thousand items
BEGINS = 6  # characters of a password that are not shown either
LINES = 100_000  # of RESP in one conversation, each of which may become an object; a full look has some thousand
DEPTH = 4  # lists in lists; ACL GETUSER with selectors has three
WHOLE = r"-?[0-9]{1,19}"
# What of INFO and CONFIG GET this tool reckons with.
NUMBERS = re.compile(
    r"(used_memory|maxmemory|connected_clients|maxclients|databases|uptime_in_seconds|server_time_usec|rdb_last_save_time|"
    r"aof_(current_size|last_rewrite_time_sec|delayed_fsync)|(unexpected_error_replies|rejected_connections)|"
    r"evicted_(keys|clients)|acl_access_denied_auth|mem_(clients_normal|not_counted_for_evict)|current_eviction_exceeded_time)"
)
FORMS = (
    (NUMBERS, re.compile(WHOLE)),
    (re.compile("maxmemory-clients"), re.compile("[0-9]{1,19}%?")),
    (re.compile("errorstat_.*"), re.compile(f"count={WHOLE}")),
    (re.compile("db[0-9]+"), re.compile(f"keys={WHOLE},expires={WHOLE}(,[a-z_]+={WHOLE})*")),
)


class StrangeReply(ValueError):
    """No Redis says this; the message says in one short printable line what it is."""


def require_an_end(data: bytes) -> None:
    """Nothing of it begins a list of millions: a place for each would be made before the first has come."""
    if ENDLESS.search(data):
        raise StrangeReply("a list of millions")


def without(secrets: Iterable[str], reply: Reply) -> Reply:
    """`reply`, what it repeats of passwords left out: Redis names the arguments of a command that it does not know.

    An error cuts them, so there their beginnings go, too; elsewhere, where a path may begin like one, only a whole one.
    """
    if isinstance(reply, list):
        return [without(secrets, item) for item in reply]
    if not isinstance(reply, (str, ReplyError)):
        return reply
    text = str(reply)
    for secret in secrets:
        begins, at = secret[:BEGINS] if isinstance(reply, ReplyError) else secret, 0
        while secret and (at := text.find(begins, at)) >= 0:
            end = at + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(secret, text[at:], strict=False)))
            text = f"{text[:at]}{HIDDEN}{text[end:]}"
            at += len(HIDDEN)
    return ReplyError(text) if isinstance(reply, ReplyError) else text


def checked(reply: object, depth: int = 0) -> Reply:
    """`reply`, which has a shape that Redis' replies have."""
    if isinstance(reply, list):
        if depth == DEPTH:
            raise StrangeReply(f"lists in lists, more than {DEPTH} deep")
        return [checked(item, depth + 1) for item in reply]
    if reply is None or isinstance(reply, (str, hiredis.ReplyError)) or type(reply) is int:
        return reply
    raise StrangeReply(f"a reply of a kind that was not asked for ({type(reply).__name__})")


def require_numbers(fields: Mapping[str, str], what: str) -> None:
    """Every field that is reckoned with is a number. Raises StrangeReply."""
    for name, value in fields.items():
        for which, form in FORMS:
            if which.fullmatch(name) and not form.fullmatch(value):
                raise StrangeReply(f"{excerpt(name)} in {what} is {excerpt(value)}, expected numbers")


def texts(reply: Reply, what: str) -> Iterator[str]:
    """A list of texts."""
    if not isinstance(reply, list) or not all(isinstance(item, str) for item in reply):
        raise StrangeReply(f"{what} is no list of texts")
    return map(str, reply)


def pairs(reply: Reply, what: str) -> dict[str, Reply]:
    """A list of names, each with its value behind it."""
    if not isinstance(reply, list) or len(reply) % 2 or not all(isinstance(name, str) for name in reply[::2]):
        raise StrangeReply(f"{what} is no list of names and values")
    return {str(name): value for name, value in zip(reply[::2], reply[1::2], strict=True)}

"""Witnesses: keys written in every way in which clients write, and what is read back of them later. Pure.

A start can lose what was written in one way and keep the rest: transactions and scripts are replayed otherwise than
plain commands (docs/decisions/0009). Counting keys does not see that; each way needs keys of its own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tasks.catalogue.acl_rules import RESERVED_PREFIX
from tasks.catalogue.rights import Rights
from tasks.catalogue.roles import Role
from tasks.observed.exchange import Reply, ReplyError

# Two effects or more stand in the log as a transaction, one as a plain command. No time to live is 0.
SCRIPT = (
    "for _, key in ipairs(KEYS) do "
    "if ARGV[2] == '0' then redis.call('SET', key, ARGV[1]) else redis.call('SET', key, ARGV[1], 'EX', ARGV[2]) end "
    "end return #KEYS"
)
SCRIPT_SHA1 = hashlib.sha1(SCRIPT.encode()).hexdigest()

Command = tuple[str, ...]
Reads = tuple[tuple[Command, Reply], ...]
Info = Mapping[str, str]

GATE_LIFE = 600  # seconds: a restart takes less; should the gate be cut off, its keys go by themselves
FULL = 0.9  # of maxmemory: beyond it a role that evicts may drop witnesses, and would drop keys for them


@dataclass(frozen=True)
class Witness:
    """Something written in one way; `what` says how, in words that follow "what was written".

    `answer`: the reply to the last of `writes` that acknowledges them all. `reads`: commands, each with the reply that
    shows that all of it is there.
    """

    what: str
    keys: tuple[str, ...]
    writes: tuple[Command, ...]
    answer: Reply
    reads: Reads


def plain(key: str, value: str, life: int) -> Witness:
    """One key, by one command. `life`: seconds that it lives, 0 for ever."""
    return Witness("plainly", (key,), (_set(key, value, life),), "OK", ((("GET", key), value),))


def in_a_transaction(keys: Sequence[str], value: str, life: int) -> Witness:
    """Several keys, by MULTI and EXEC."""
    sets = tuple(_set(key, value, life) for key in keys)
    answer: list[Reply] = ["OK"] * len(sets)
    return Witness("in a transaction", tuple(keys), (("MULTI",), *sets, ("EXEC",)), answer, _mget(keys, value))


def by_a_script(keys: Sequence[str], value: str, life: int) -> Witness:
    """Several keys, by a script that is sent whole."""
    command = ("EVAL", SCRIPT, str(len(keys)), *keys, value, str(life))
    return Witness("by a script", tuple(keys), (command,), len(keys), _mget(keys, value))


def by_a_known_script(keys: Sequence[str], value: str, life: int) -> Witness:
    """Several keys, by the name of a script that the server has been sent before, by `by_a_script`."""
    command = ("EVALSHA", SCRIPT_SHA1, str(len(keys)), *keys, value, str(life))
    return Witness("by the name of a script", tuple(keys), (command,), len(keys), _mget(keys, value))


def in_a_hash(key: str, values: Sequence[str]) -> Witness:
    """A hash with the values, numbered."""
    fields = tuple(f"f{number}" for number in range(len(values)))
    pairs = [word for pair in zip(fields, values, strict=True) for word in pair]
    reads: Reads = ((("HMGET", key, *fields), [*values]),)
    return Witness("in a hash", (key,), (("DEL", key), ("HSET", key, *pairs)), len(values), reads)


def in_a_list(key: str, values: Sequence[str]) -> Witness:
    """A list of the values."""
    reads: Reads = ((("LRANGE", key, "0", "-1"), [*values]),)
    return Witness("in a list", (key,), (("DEL", key), ("RPUSH", key, *values)), len(values), reads)


def in_a_stream(key: str, values: Sequence[str]) -> Witness:
    """A stream with an entry for each value."""
    entries = [(f"1-{number}", value) for number, value in enumerate(values, 1)]
    adds = (("XADD", key, name, "value", value) for name, value in entries)
    found: list[Reply] = [[name, ["value", value]] for name, value in entries]
    return Witness("in a stream", (key,), (("DEL", key), *adds), entries[-1][0], ((("XRANGE", key, "-", "+"), found),))


def writable(witnesses: Sequence[Witness], rights: Rights) -> list[Witness]:
    """Those that somebody with these rights may write."""
    return [item for item in witnesses if rights.may(*_commands(item.writes))]


def readable(witnesses: Sequence[Witness], rights: Rights) -> list[Witness]:
    """Those that somebody with these rights may read."""
    return [item for item in witnesses if rights.may(*_commands(command for command, _ in item.reads))]


def _commands(given: Iterable[Command]) -> set[str]:
    """What a user has to be allowed for these commands; a script runs with the rights of who sent it."""
    names = {command[0].lower() for command in given}
    return names | ({"set"} if names & {"eval", "evalsha"} else set())


def of_a_service(role: Role, witnesses: Sequence[Witness]) -> tuple[str, list[Witness]]:
    """The service that may write, read and remove the most of these witnesses, the first of several; and those."""
    able = {
        service: readable(writable(witnesses, rights), rights) if rights.may("unlink") else []
        for service, rights in ((service, role.rights_of(service)) for service in role.services)
    }
    service = max(role.services, key=lambda name: len(able[name]))
    return service, able[service]


def _set(key: str, value: str, life: int) -> Command:
    return ("SET", key, value, *(("EX", str(life)) if life else ()))


def _mget(keys: Sequence[str], value: str) -> Reads:
    return ((("MGET", *keys), [value] * len(keys)),)


def of_a_gate(role: str, token: str) -> list[Witness]:
    """What a service writes right before its role is restarted."""
    name = f"{RESERVED_PREFIX}gate:{token}:{role}"
    two = {way: (f"{name}:{way}:1", f"{name}:{way}:2") for way in ("transaction", "script", "known")}
    return [
        plain(f"{name}:plain", token, GATE_LIFE),
        in_a_transaction(two["transaction"], token, GATE_LIFE),
        by_a_script(two["script"], token, GATE_LIFE),
        by_a_known_script(two["known"], token, GATE_LIFE),
    ]


def of_a_drill(key: str, number: int) -> list[Witness]:
    """What a drill writes in every way in which clients write, for ever, under `key` and this number."""
    key, value = f"{key}:{number}", str(number)
    return [
        plain(f"{key}:plain", value, 0),
        in_a_transaction((f"{key}:t1", f"{key}:t2"), value, 0),
        by_a_script((f"{key}:s1", f"{key}:s2"), value, 0),
        by_a_known_script((f"{key}:k1", f"{key}:k2"), value, 0),
        in_a_hash(f"{key}:hash", [value, value]),
        in_a_list(f"{key}:list", [value, value]),
        in_a_stream(f"{key}:stream", [value, value]),
    ]


def writes(witnesses: Sequence[Witness]) -> list[Command]:
    """The commands that write them all, in one exchange."""
    return [command for witness in witnesses for command in witness.writes]


def reads(witnesses: Sequence[Witness]) -> list[Command]:
    """The commands that read them all, in one exchange."""
    return [command for witness in witnesses for command, _ in witness.reads]


def keys(witnesses: Sequence[Witness]) -> list[str]:
    """Every key of theirs."""
    return [key for witness in witnesses for key in witness.keys]


def removing(witnesses: Sequence[Witness]) -> list[Command]:
    """The command that removes them all; none where there are none."""
    return [("UNLINK", *keys(witnesses))] if witnesses else []


def acknowledged(witnesses: Sequence[Witness], replies: Sequence[Reply]) -> list[Witness]:
    """Those of which every write was taken. `replies`: those to `writes`.

    A refusal is no loss: a full role says OOM, a busy one BUSY, one whose users may not run scripts NOPERM.
    """
    answers = _each(replies, [len(witness.writes) for witness in witnesses])
    return [
        witness
        for witness, own in zip(witnesses, answers, strict=True)
        if own[-1] == witness.answer and not any(isinstance(reply, ReplyError) for reply in own)
    ]


def gone(witnesses: Sequence[Witness], replies: Sequence[Reply]) -> list[Witness]:
    """Those of which something is missing or is not as it was written. `replies`: those to `reads`."""
    answers = _each(replies, [len(witness.reads) for witness in witnesses])
    return [
        witness
        for witness, own in zip(witnesses, answers, strict=True)
        if list(own) != [expected for _, expected in witness.reads]
    ]


def _each(replies: Sequence[Reply], counts: Sequence[int]) -> Iterator[Sequence[Reply]]:
    """The replies in portions of these sizes."""
    at = 0
    for count in counts:
        yield replies[at : at + count]
        at += count


def in_words(lost: Sequence[Witness], of: Sequence[Witness]) -> Iterator[str]:
    """What is gone of acknowledged writes, one line for each way in which they were made."""
    total = Counter(witness.what for witness in of)
    for what, count in Counter(witness.what for witness in lost).items():
        first = next(witness.keys[0] for witness in lost if witness.what == what)
        yield f"what was written {what} is gone: {count} of {total[what]} acknowledged writes, the first {first}"


def is_full(info: Info) -> bool:
    """Whether the next write makes a server with this INFO drop keys."""
    limit = int(info.get("maxmemory", "0"))
    return _evicts(info) and 0 < limit * FULL <= int(info.get("used_memory", "0"))


def can_be_judged(info: Info, age: float) -> bool:
    """Whether a witness that is `age` seconds old and not there was lost: not evicted, flushed by a client or expired.

    `info`: of the server that has just started, which counts from its start.
    """
    evicted = _evicts(info) and (is_full(info) or info.get("evicted_keys", "0") != "0")
    emptied = any(f"cmdstat_{name}" in info for name in ("flushall", "flushdb", "swapdb"))
    return not evicted and not emptied and age < GATE_LIFE / 2


def _evicts(info: Info) -> bool:
    return info.get("maxmemory_policy", "noeviction") != "noeviction"

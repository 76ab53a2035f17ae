"""Numbers that a client writes one after the other, each in another way and form, and which of them are there."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import redis

from tests.hosts.dataset.server import answering_bytes, ask, ask_all, two_by_two
from tests.hosts.dataset.ways import WAYS

AN_HOUR = b"3600"  # seconds; longer than any test
BATCH = 2000  # numbers asked for at once

# What is written for a number. But for one they are two commands each: only such a transaction or script is one in the
# log as well.
FORMS: Mapping[str, tuple[tuple[bytes, ...], ...]] = {
    "string": ((b"SET", b"%(key)s", b"%(n)d"),),
    "with a TTL": ((b"SET", b"%(key)s", b"%(n)d"), (b"EXPIRE", b"%(key)s", AN_HOUR)),
    "renamed": ((b"SET", b"%(key)s:new", b"%(n)d"), (b"RENAME", b"%(key)s:new", b"%(key)s")),
    "hash, set": ((b"HSET", b"%(prefix)shash", b"%(n)d", b"%(n)d"), (b"SADD", b"%(prefix)sset", b"%(n)d")),
    "list, sorted set": ((b"RPUSH", b"%(prefix)slist", b"%(n)d"), (b"ZADD", b"%(prefix)szset", b"%(n)d", b"%(n)d")),
    "stream, bit": (
        (b"XADD", b"%(prefix)sstream", b"%(n)d-1", b"number", b"%(n)d"),
        (b"SETBIT", b"%(prefix)sbits", b"%(n)d", b"1"),
    ),
}
ROUND = len(WAYS) * len(FORMS)  # numbers, after which it begins again


def write(client: "redis.Redis", prefix: str, number: int) -> None:
    """The number was written and acknowledged. `client` keeps its connections in a pool; load_library came before."""
    send = list(WAYS.values())[number % len(WAYS)]
    known = {b"prefix": prefix.encode(), b"key": f"{prefix}{number}".encode(), b"n": number}
    send(client, [tuple(word % known for word in command) for command in FORMS[form(number)]])


def form(number: int) -> str:
    """In which form a number is written: one form in all ways, then the next."""
    return list(FORMS)[number // len(WAYS) % len(FORMS)]


def lost(client: "redis.Redis", prefix: str, numbers: Sequence[int]) -> list[int]:
    """Those of the acknowledged numbers that are not there, not whole, or there more than once."""
    by_form: dict[str, list[int]] = {name: [] for name in FORMS}
    for number in numbers:
        by_form[form(number)].append(number)
    with answering_bytes(client, client.connection_pool.connection_kwargs.get("db") or 0) as server:
        found = {name: FOUND[name](server, prefix.encode(), wanted) for name, wanted in by_form.items() if wanted}
    return sorted(chain.from_iterable(set(wanted) - found.get(name, set()) for name, wanted in by_form.items()))


def _strings(server: "redis.Redis", prefix: bytes, numbers: Sequence[int]) -> set[int]:
    found: set[int] = set()
    for at in range(0, len(numbers), BATCH):
        batch = numbers[at : at + BATCH]
        values = ask(server, "MGET", *(b"%s%d" % (prefix, number) for number in batch))
        found.update(number for number, value in zip(batch, values, strict=True) if value == b"%d" % number)
    return found


def _with_a_ttl(server: "redis.Redis", prefix: bytes, numbers: Sequence[int]) -> set[int]:
    times = ask_all(server, [("TTL", b"%s%d" % (prefix, number)) for number in numbers])
    lasting = {number for number, left in zip(numbers, times, strict=True) if left > 0}
    return lasting & _strings(server, prefix, numbers)


def _hash_and_set(server: "redis.Redis", prefix: bytes, numbers: Sequence[int]) -> set[int]:
    fields = ask(server, "HGETALL", prefix + b"hash")
    right = {int(field) for field, value in two_by_two(fields) if field == value}
    return right & set(map(int, ask(server, "SMEMBERS", prefix + b"set")))


def _list_and_sorted_set(server: "redis.Redis", prefix: bytes, numbers: Sequence[int]) -> set[int]:
    elements = Counter(map(int, ask(server, "LRANGE", prefix + b"list", 0, -1)))
    scores = ask(server, "ZRANGE", prefix + b"zset", 0, -1, "WITHSCORES")
    scored = {int(member) for member, score in two_by_two(scores) if member == score}
    return {number for number, times in elements.items() if times == 1} & scored


def _stream_and_bit(server: "redis.Redis", prefix: bytes, numbers: Sequence[int]) -> set[int]:
    entries = ask(server, "XRANGE", prefix + b"stream", "-", "+")
    whole = {int(fields[1]) for name, fields in entries if name == fields[1] + b"-1"}
    bits = ask(server, "GET", prefix + b"bits") or b""
    return {number for number in whole if number < len(bits) * 8 and bits[number // 8] & (128 >> number % 8)}


FOUND: dict[str, Callable[["redis.Redis", bytes, Sequence[int]], set[int]]] = {
    "string": _strings,
    "with a TTL": _with_a_ttl,
    "renamed": _strings,
    "hash, set": _hash_and_set,
    "list, sorted set": _list_and_sorted_set,
    "stream, bit": _stream_and_bit,
}

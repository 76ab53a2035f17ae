"""What is written in every way before a restart, and how it is judged (tasks/steps/witness.py)."""

from collections.abc import Callable, Sequence

import pytest

from tasks.catalogue.acl_rules import RESERVED_PREFIX
from tasks.observed.exchange import Reply, ReplyError
from tasks.steps.witness import (
    GATE_LIFE,
    SCRIPT,
    Witness,
    acknowledged,
    can_be_judged,
    gone,
    in_words,
    is_full,
    keys,
    of_a_drill,
    of_a_gate,
    of_a_service,
    reads,
    writes,
)
from tests.unit.builders import roles

GATE = of_a_gate("crypto", "t0k3n")
DRILL = [item for number in range(20) for item in of_a_drill("caas-verify:drill", number)]
BOTH = pytest.mark.parametrize("witnesses", [GATE, DRILL], ids=["gate", "drill"])


def taken(witnesses: Sequence[Witness]) -> list[Reply]:
    """The replies of a server that takes every write."""
    answers: list[Reply] = []
    for witness in witnesses:
        answers += [*["OK"] * (len(witness.writes) - 1), witness.answer]
    return answers


def kept(witnesses: Sequence[Witness]) -> list[Reply]:
    """The replies of a server that has all of it."""
    return [reply for witness in witnesses for _, reply in witness.reads]


def ways(witnesses: Sequence[Witness]) -> set[str]:
    return {witness.what for witness in witnesses}


def test_a_gate_writes_plainly_in_a_transaction_and_by_scripts_of_two_effects() -> None:
    assert [(witness.what, len(witness.keys)) for witness in GATE] == [
        ("plainly", 1),
        ("in a transaction", 2),
        ("by a script", 2),
        ("by the name of a script", 2),
    ]


def test_a_drill_also_writes_into_a_hash_a_list_and_a_stream() -> None:
    assert ways(DRILL) - ways(GATE) == {"in a hash", "in a list", "in a stream"}
    assert sum(witness.what == "plainly" for witness in DRILL) == 20


@BOTH
def test_every_key_is_of_the_reserved_prefix_and_stands_once(witnesses: list[Witness]) -> None:
    assert all(key.startswith(RESERVED_PREFIX) for key in keys(witnesses))
    assert len(set(keys(witnesses))) == len(keys(witnesses))


def test_every_key_of_a_gate_goes_by_itself() -> None:
    for command in writes(GATE):
        if command[0] == "SET":
            assert command[3:] == ("EX", str(GATE_LIFE))
        if command[0] in ("EVAL", "EVALSHA"):
            assert command[-1] == str(GATE_LIFE)


@BOTH
def test_what_was_acknowledged_and_is_there_is_nothing_gone(witnesses: list[Witness]) -> None:
    assert acknowledged(witnesses, taken(witnesses)) == witnesses
    assert gone(witnesses, kept(witnesses)) == []


@BOTH
def test_each_single_reply_that_is_missing_is_gone(witnesses: list[Witness]) -> None:
    for at in range(len(reads(witnesses))):
        replies = kept(witnesses)
        replies[at] = None
        assert len(gone(witnesses, replies)) == 1


def _nothing(reply: Reply) -> Reply:
    return [None] * len(reply) if isinstance(reply, list) else None


def _half(reply: Reply) -> Reply:
    return [*reply[:-1], None] if isinstance(reply, list) else None


def _error(reply: Reply) -> Reply:
    return ReplyError("WRONGTYPE")


@pytest.mark.parametrize("found", [_nothing, _half, _error])
def test_what_is_gone_is_said_by_the_way_it_was_written(found: Callable[[Reply], Reply]) -> None:
    replies = kept(GATE)
    replies[1] = found(replies[1])
    assert list(in_words(gone(GATE, replies), GATE)) == [
        "what was written in a transaction is gone: 1 of 1 acknowledged writes, the first "
        "caas-verify:gate:t0k3n:crypto:transaction:1"
    ]


def test_a_way_is_said_once_however_much_of_it_is_gone() -> None:
    lost = [witness for witness in DRILL if witness.what == "by a script"]
    (line,) = in_words(lost, DRILL)
    assert line.startswith("what was written by a script is gone: 20 of 20 acknowledged writes")


@pytest.mark.parametrize("word", ["OOM command not allowed", "BUSY Redis is busy", "NOPERM this user", "EXECABORT x"])
@BOTH
def test_a_refused_write_is_no_witness_and_the_others_are(witnesses: list[Witness], word: str) -> None:
    at = 0
    for witness in witnesses:
        replies = taken(witnesses)
        at += len(witness.writes)
        replies[at - 1] = ReplyError(word)
        assert acknowledged(witnesses, replies) == [item for item in witnesses if item is not witness]


def test_a_transaction_of_which_one_command_failed_is_no_witness() -> None:
    replies = taken(GATE)
    replies[4] = ["OK", ReplyError("OOM")]
    assert ways(acknowledged(GATE, replies)) == ways(GATE) - {"in a transaction"}


def test_a_stream_of_which_one_entry_was_refused_is_no_witness() -> None:
    once = of_a_drill("caas-verify:drill", 0)
    replies = taken(once)
    replies[-2] = ReplyError("OOM")
    assert ways(acknowledged(once, replies)) == ways(once) - {"in a stream"}


def test_the_script_has_an_effect_for_each_key() -> None:
    assert "redis.call" in SCRIPT
    assert all(len(witness.keys) == 2 for witness in GATE if "script" in witness.what)


# --- What a loss is


ROOM = {"maxmemory": "1000", "used_memory": "500", "maxmemory_policy": "allkeys-lru", "evicted_keys": "0"}


@pytest.mark.parametrize(
    ("changes", "age", "judged"),
    [
        ({}, 5.0, True),
        ({"evicted_keys": "1"}, 5.0, False),
        ({"used_memory": "950"}, 5.0, False),
        ({"maxmemory_policy": "volatile-ttl", "evicted_keys": "1"}, 5.0, False),
        ({"maxmemory_policy": "noeviction", "used_memory": "1000", "evicted_keys": "7"}, 5.0, True),
        ({"maxmemory": "0", "used_memory": "950"}, 5.0, True),
        ({"cmdstat_flushall": "calls=1"}, 5.0, False),
        ({"cmdstat_flushdb": "calls=1"}, 5.0, False),
        ({}, 301.0, False),
    ],
)
def test_only_what_eviction_flushing_and_expiry_do_not_explain_is_judged(
    changes: dict[str, str], age: float, judged: bool
) -> None:
    assert can_be_judged({**ROOM, **changes}, age) == judged


@pytest.mark.parametrize(
    ("changes", "full"),
    [
        ({}, False),
        ({"used_memory": "900"}, True),
        ({"used_memory": "900", "maxmemory_policy": "noeviction"}, False),
        ({"used_memory": "900", "maxmemory": "0"}, False),
    ],
)
def test_a_role_that_would_drop_keys_for_the_witnesses_is_full(changes: dict[str, str], full: bool) -> None:
    assert is_full({**ROOM, **changes}) == full


# --- Who writes them

MAY = "+@all -@admin -@dangerous +info"


@pytest.mark.parametrize(
    ("rights", "ways"),
    [
        ({}, 4),
        ({"scripts": False}, 2),
        ({"commands": f"{MAY} -multi"}, 3),
        ({"commands": f"{MAY} -@write"}, 0),
        ({"commands": f"{MAY} -get -mget"}, 0),
        ({"commands": f"{MAY} -unlink"}, 0),
        ({"keys": ["session:*"], "channels": []}, 4),
    ],
)
def test_a_service_writes_only_in_the_ways_in_which_it_may_write_read_and_remove(
    rights: dict[str, object], ways: int
) -> None:
    service, able = of_a_service(roles(crypto=rights)["crypto"], GATE)
    assert (service, len(able)) == ("crypto-service", ways)


def test_the_service_that_may_the_most_writes_and_the_first_of_several() -> None:
    assert of_a_service(roles()["gateway"], GATE)[0] == "gateway"
    less = roles(gateway={"services": {"gateway": {"scripts": False}}})["gateway"]
    assert of_a_service(less, GATE) == ("auth-service", GATE)

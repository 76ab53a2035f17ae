"""Whether a server holds what it held: every difference is seen and named, and what ran out by itself is none."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hosts.dataset.capture import NEVER, Dataset, Entry
from tests.hosts.dataset.commands import commands
from tests.hosts.dataset.compare import differences
from tests.hosts.dataset.parts import PARTS, SHORT, short

NOW = 1_000_000
LATER = NOW + 60_000

STREAM = [
    *(b"length", 2, b"radix-tree-keys", 1, b"last-generated-id", b"2-1", b"max-deleted-entry-id", b"0-0"),
    *(b"entries-added", 2, b"recorded-first-entry-id", b"1-1"),
    *(b"entries", [[b"1-1", [b"field", b"value"]], [b"2-1", [b"field", b""]]]),
    b"groups",
    [
        [
            *(b"name", b"group", b"last-delivered-id", b"1-1", b"entries-read", 1, b"lag", 1, b"pel-count", 1),
            *(b"pending", [[b"1-1", b"reader", 5, 2]]),
            *(b"consumers", [[b"name", b"reader", b"seen-time", 7, b"pel-count", 1, b"pending", [[b"1-1", 5, 2]]]]),
        ]
    ],
]
READ: dict[str, Any] = {
    "string": b"value",
    "hash": [b"field", b"value", b"other", b""],
    "list": [b"a", b"b", b"a"],
    "set": [b"a", b"\xff"],
    "zset": [b"a", b"1", b"b", b"inf"],
    "stream": STREAM,
}


def dataset(
    keys: Mapping[tuple[int, bytes], Entry], functions: Mapping[bytes, bytes] | None = None, taken: int = NOW
) -> Dataset:
    return Dataset(keys, functions or {}, taken, (8, 0, 2))


def of(kind: str, value: Any, expires: int = NEVER, expiries: Mapping[str, int] | None = None) -> Dataset:
    """One key, as its server answered."""
    return dataset({(0, b"key"): Entry(kind, expires, dict(PARTS[kind](value)), expiries or {})})


BEFORE = dataset(
    {(0, kind.encode()): Entry(kind, LATER, dict(PARTS[kind](value))) for kind, value in READ.items()},
    {b"library": b"#!lua"},
)


def test_what_is_as_before_is_no_difference() -> None:
    assert differences(BEFORE, replace(BEFORE, taken=NOW + 1)) == []


@pytest.mark.parametrize(
    ("kind", "value", "line"),
    [
        ("string", b"other", "(string): value: b'value' → b'other'"),
        ("string", b"", "(string): value: b'value' → b''"),
        ("hash", [b"field", b"value"], "(hash): field b'other': b'' → 'absent'"),
        ("hash", [b"field", b"2", b"other", b""], "(hash): field b'field': b'value' → b'2'"),
        ("list", [b"b", b"a", b"a"], "(list): element 0: b'a' → b'b'"),
        ("list", [b"a", b"b"], "(list): element 2: b'a' → 'absent'"),
        ("set", [b"a"], "(set): member b'\\xff': True → 'absent'"),
        ("set", [b"a", b"b", b"\xff"], "(set): member b'b': 'absent' → True"),
        ("zset", [b"a", b"1.5", b"b", b"inf"], "(zset): member b'a': 1.0 → 1.5"),
    ],
)
def test_a_part_that_is_not_as_before_is_named(kind: str, value: Any, line: str) -> None:
    assert f"db0 b'key' {line}" in differences(of(kind, READ[kind]), of(kind, value))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (b"2-1", b"3-1", "last-generated-id: b'2-1' → b'3-1'"),
        (b"0-0", b"1-1", "max-deleted-entry-id: b'0-0' → b'1-1'"),
        (b"1-1", b"0-0", "group b'group' last-delivered-id: b'1-1' → b'0-0'"),
        ([b"2-1", [b"field", b""]], [b"2-1", [b"field", b"x"]], "entry 2-1: [b'field', b''] → [b'field', b'x']"),
        ([[b"1-1", b"reader", 5, 2]], [], "group b'group' pending 1-1: {'consumer': b'reader'"),
        ([[b"1-1", b"reader", 5, 2]], [[b"1-1", b"reader", 5, 1]], "'times': 2} → {'consumer': b'reader'"),
        ([[b"1-1", b"reader", 5, 2]], [[b"1-1", b"reader", 6, 2]], "'delivered at': 6"),
        ([[b"1-1", b"reader", 5, 2]], [[b"1-1", b"thief", 5, 2]], "{'consumer': b'thief'"),
        (b"group", b"groups", "group b'groups' last-delivered-id: 'absent' → b'1-1'"),
    ],
)
def test_every_part_of_a_stream_and_its_groups_counts(old: Any, new: Any, line: str) -> None:
    changed = exchanged(STREAM, old, new)
    found = differences(of("stream", STREAM), of("stream", changed))
    assert any(line in text and "db0 b'key' (stream): " in text for text in found), found


def exchanged(tree: Any, old: Any, new: Any) -> Any:
    """The same answer with `new` wherever `old` was."""
    if tree == old:
        return new
    return [exchanged(branch, old, new) for branch in tree] if isinstance(tree, list) else tree


def test_a_score_is_a_number_however_it_is_written() -> None:
    assert differences(of("zset", [b"a", b"0.90000000000000013"]), of("zset", [b"a", b"0.9000000000000001"])) == []
    assert differences(of("zset", [b"a", b"0.90000000000000013"]), of("zset", [b"a", b"0.9000000000000002"])) != []


def test_when_a_consumer_was_last_seen_does_not_count() -> None:
    assert differences(of("stream", STREAM), of("stream", exchanged(STREAM, 7, 8))) == []


@pytest.mark.parametrize(("before", "after"), [(NEVER, LATER), (LATER, NEVER), (LATER, LATER + 1)])
def test_another_expiry_is_a_difference(before: int, after: int) -> None:
    (line,) = differences(of("string", b"v", before), of("string", b"v", after))
    times = ["never" if time == NEVER else str(time) for time in (before, after)]
    assert line == f"db0 b'key' (string): expires at {times[0]} → {times[1]}"


def test_a_key_that_is_gone_counts_unless_its_ttl_ran_out() -> None:
    for expires, lost in ((NEVER, True), (NOW + 1, True), (NOW, False)):
        found = differences(of("string", b"v", expires), dataset({}))
        assert found == (["db0 b'key' (string): present → absent"] if lost else [])


def test_a_key_that_was_not_there_is_a_difference_also_when_it_was_deleted_before() -> None:
    assert differences(dataset({}), of("set", [b"a"])) == ["db0 b'key' (set): absent → present"]


def test_a_field_that_ran_out_is_no_difference_and_one_that_lost_its_ttl_is() -> None:
    field = {"field b'field'": NOW}
    before = of("hash", READ["hash"], expiries=field)
    assert differences(before, of("hash", [b"other", b""])) == []
    assert differences(before, of("hash", [])) == ["db0 b'key' (hash): field b'other': b'' → 'absent'"]
    came_back = differences(before, of("hash", READ["hash"]))
    assert came_back == ["db0 b'key' (hash): field b'field': 'absent' → b'value'"]
    lasting = {"field b'field'": LATER}
    found = differences(of("hash", READ["hash"], expiries=lasting), of("hash", READ["hash"]))
    assert found == [f"db0 b'key' (hash): field b'field' expires at {LATER} → absent"]
    assert differences(of("hash", [b"field", b"value"], expiries=field), dataset({})) == []


def test_another_type_and_another_database_are_differences() -> None:
    assert differences(of("set", [b"a"]), of("list", [b"a"])) == ["db0 b'key' (set): set → list"]
    moved = dataset({(1, b"key"): of("set", [b"a"]).keys[0, b"key"]})
    assert len(differences(of("set", [b"a"]), moved)) == 2


@pytest.mark.parametrize("functions", [{}, {b"library": b"#!lua2"}, {b"library": b"#!lua", b"more": b""}])
def test_functions_count_by_their_code(functions: dict[bytes, bytes]) -> None:
    (line,) = differences(BEFORE, replace(BEFORE, functions=functions))
    assert line.startswith("library b'")


def test_keys_of_others_are_left_alone() -> None:
    assert differences(BEFORE, dataset({}, BEFORE.functions), besides=[kind.encode() for kind in READ]) == []


def test_only_redis_7_0_may_forget_how_many_entries_a_group_has_read() -> None:
    before, after = of("stream", STREAM), of("stream", [*STREAM[:-1], forget(STREAM[-1])])
    line = "db0 b'key' (stream): group b'group' entries-read: 1 → None"
    assert differences(before, after) == [line]
    assert differences(replace(before, version=(7, 0, 15)), after) == []


def forget(groups: Any) -> list[Any]:
    """The same groups, and how many entries the only one has read is unknown."""
    (group,) = groups
    at = group.index(b"entries-read") + 1
    return [[*group[:at], None, *group[at + 1 :]]]


@given(st.binary(min_size=SHORT + 1, max_size=300), st.data())
def test_of_long_values_each_byte_counts(value: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(value) - 1))
    other = value[:at] + bytes([value[at] ^ data.draw(st.integers(1, 255))]) + value[at + 1 :]
    assert short(value) != short(other)
    assert len(short(value)) < 200


PARTS_OF_KEYS = st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=3), min_size=1)
ENTRIES = st.builds(Entry, st.sampled_from(["hash", "set"]), st.sampled_from([NEVER, LATER]), PARTS_OF_KEYS)
KEYS = st.dictionaries(st.tuples(st.integers(0, 1), st.binary(max_size=2)), ENTRIES, max_size=5)


@given(KEYS, KEYS)
def test_no_line_if_and_only_if_all_is_as_before(before: dict[Any, Entry], after: dict[Any, Entry]) -> None:
    found = differences(dataset(before), dataset(after))
    assert (found == []) == (before == after)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name for name in changed if any(line.startswith(f"db{name[0]} {name[1]!r} ") for line in found)} == changed
    assert len({line.split(" (")[0] for line in found}) == len(changed)


def test_words_of_commands_are_bytes_keys_and_times() -> None:
    text = r"""
    SET %key "\x00\xff" PXAT {ms}
    SET "%two words" "" EXAT {s}
    """
    assert commands(text, b"mine:", later=5) == [
        (b"SET", b"mine:key", b"\x00\xff", b"PXAT", b"5001"),
        (b"SET", b"mine:two words", b"", b"EXAT", b"5"),
    ]

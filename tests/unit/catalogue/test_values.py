"""What directive values mean (tasks/catalogue/values.py), against what redis 7.0 and 8.0 answer."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.values import (
    MEMORY,
    RESTART_ONLY,
    canonical,
    canonical_buffer_limits,
    canonical_save,
    parse_memory,
    show_memory,
    unquote,
)

SPECIAL = ("save", "client-output-buffer-limit", "notify-keyspace-events", "maxmemory-clients", "bind", "appendonly")
DIRECTIVES = st.sampled_from(sorted(MEMORY | set(SPECIAL)))
# Quotes are left out: CONFIG GET never answers them, only a file has them.
WORDS = st.one_of(
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\"'"), max_size=8),
    st.sampled_from(["256mb", "1GB", "5%", "YES", "No", "normal", "replica", "slave", "pubsub", "AKE", "0", "60"]),
)
VALUES = st.lists(WORDS, max_size=12).map(" ".join)


@given(st.integers(min_value=0, max_value=1 << 60))
def test_a_size_written_for_people_reads_back_as_the_same_bytes(size: int) -> None:
    assert parse_memory(show_memory(size)) == size


@given(DIRECTIVES, VALUES)
def test_the_canonical_text_of_a_canonical_text_is_itself(directive: str, text: str) -> None:
    once = canonical(directive, text)
    assert canonical(directive, once) == once


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256mb", 268435456),
        ("256m", 256000000),
        ("256MB", 268435456),
        ("1k", 1000),
        ("1kb", 1024),
        ("1g", 1000000000),
        ("1gb", 1073741824),
        ("512b", 512),
        ("0", 0),
    ],
)
def test_a_memory_size_means_what_redis_takes_it_for(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["256 mb", "0.25gb", "256mib", "50%", "mb", "", "-1mb", "1tb", "1,5mb"])
def test_a_memory_size_that_redis_refuses_is_refused_in_words(text: str) -> None:
    with pytest.raises(
        ValueError, match="is not a Redis memory size: write a whole number and b, kb, mb or gb"
    ) as error:
        parse_memory(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("size", "shown"),
    [(268435456, "256mb"), (1 << 30, "1gb"), (1536 << 20, "1536mb"), (65536, "64kb"), (1000, "1000"), (0, "0")],
)
def test_a_size_is_shown_in_the_largest_unit_that_is_exact(size: int, shown: str) -> None:
    assert show_memory(size) == shown


@pytest.mark.parametrize("directive", sorted(MEMORY))
def test_every_memory_directive_is_compared_in_bytes(directive: str) -> None:
    assert canonical(directive, "64mb") == canonical(directive, "67108864") == "67108864"


@pytest.mark.parametrize(
    ("directive", "first", "second"),
    [
        ("appendonly", "YES", "yes"),
        ("maxmemory-clients", "1mb", "1048576"),
        ("maxmemory-clients", "20%", "20%"),
        ("save", '"3600 1 300 100"', "3600  1 300 100"),
        ("save", '""', ""),
        ("notify-keyspace-events", "Ex", "xE"),
        ("notify-keyspace-events", "KEA", "AKE"),
        ("notify-keyspace-events", "g$lshzxetdK", "AK"),
        ("bind", "10.0.0.1   10.0.0.2", "10.0.0.1 10.0.0.2"),
        ("latency-tracking-info-percentiles", "50  99", "50 99"),
        ("client-output-buffer-limit", "replica 256mb 64mb 60", "slave 268435456 67108864 60"),
    ],
)
def test_values_that_mean_the_same_are_the_same(directive: str, first: str, second: str) -> None:
    assert canonical(directive, first) == canonical(directive, second)


@pytest.mark.parametrize(
    ("directive", "first", "second"),
    [
        ("maxmemory", "256mb", "256m"),
        ("maxmemory-clients", "20%", "20"),
        ("save", "3600 1", ""),
        ("save", "300 100 3600 1", "3600 1 300 100"),
        ("bind", "10.0.0.1", "-10.0.0.1"),
        ("notify-keyspace-events", "A", "Am"),
        ("dir", "/Data", "/data"),
        ("maxmemory", "what", "256mb"),
    ],
)
def test_values_that_mean_something_else_differ(directive: str, first: str, second: str) -> None:
    assert canonical(directive, first) != canonical(directive, second)


@pytest.mark.parametrize("order", list(permutations(["normal 0 0 0", "replica 256mb 64mb 60", "pubsub 32mb 8mb 60"])))
def test_buffer_limits_come_out_in_redis_own_order(order: tuple[str, ...]) -> None:
    expected = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
    assert canonical_buffer_limits(" ".join(order)) == expected


@pytest.mark.parametrize("text", ["normal 0 0", "master 0 0 0", "normal 0 0 soon", "normal 1tb 0 0"])
def test_malformed_buffer_limits_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"client-output-buffer-limit|memory size"):
        canonical_buffer_limits(text)


@pytest.mark.parametrize("text", ["3600", "3600 1 300", "often 1", "3600 -1"])
def test_save_points_that_are_no_pairs_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write pairs of seconds and changes"):
        canonical_save(text)


@pytest.mark.parametrize("text", ['"a b"', "'a b'", "  a b  "])
def test_quotes_and_blanks_around_a_value_do_not_belong_to_it(text: str) -> None:
    assert unquote(text) == "a b"


@pytest.mark.parametrize("directive", ["appendfilename", "appenddirname", "dir", "dbfilename", "aclfile", "databases"])
def test_what_config_set_refuses_is_known_to_need_a_restart(directive: str) -> None:
    assert directive in RESTART_ONLY


@pytest.mark.parametrize("directive", ["maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "save", "bind"])
def test_what_config_set_takes_is_not_restarted_for(directive: str) -> None:
    assert directive not in RESTART_ONLY

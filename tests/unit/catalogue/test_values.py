"""What directive values mean (tasks/catalogue/values.py), against what redis 7.0 and 8.0 answer."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.values import (
    canonical_buffer_limits,
    canonical_save,
    parse_memory,
    show_memory,
    unquote,
)


@given(st.integers(min_value=0, max_value=1 << 60))
def test_a_size_written_for_people_reads_back_as_the_same_bytes(size: int) -> None:
    assert parse_memory(show_memory(size)) == size


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

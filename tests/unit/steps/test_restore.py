"""Which copy a restore takes, and which it refuses."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tasks.compare.backups import Record
from tasks.observed.copies import Copy
from tasks.steps.restore import Wish, choose, unfit_copy
from tests.unit.builders import BACKUP, as_desired, desired

HOUR = 3600
NOW = 1795800000


def copy(hours: int, life: str = "a" * 16, keys: int = 9) -> Copy:
    at = datetime.fromtimestamp(NOW - hours * HOUR, UTC)
    return Copy("crypto", f"{hours:016x}", life, at, "redis-1", keys, "7.0.15", 1 << 20, NOW - hours * HOUR)


BEFORE, BEGUN = [copy(5), copy(6)], [copy(1, "b" * 16, keys=0), copy(2, "b" * 16, keys=0)]
EMPTY = Record(failed=False, at=NOW, good=NOW, first=NOW - 2 * HOUR, life="b" * 16)


def test_without_a_wish_it_is_the_newest() -> None:
    assert choose(BEFORE, "", None, NOW) == (BEFORE[0], "")
    assert choose(BEFORE, "", replace(EMPTY, life="a" * 16), NOW) == (BEFORE[0], "")


def test_a_new_host_in_the_place_of_a_dead_one_gets_what_was_before_it() -> None:
    chosen, why = choose(BEGUN + BEFORE, "", EMPTY, NOW)
    assert chosen == BEFORE[0]
    assert f"its own newest is of run {BEGUN[0].run}" in why


def test_once_restored_or_after_a_week_the_newest_is_its_own() -> None:
    assert choose(BEGUN + BEFORE, "", replace(EMPTY, settled=True), NOW)[0] == BEGUN[0]
    assert choose(BEGUN + BEFORE, "", replace(EMPTY, first=NOW - 8 * 24 * HOUR), NOW)[0] == BEGUN[0]


def test_a_time_takes_the_last_copy_until_then_whoever_made_it() -> None:
    at = f"{copy(4).at:%Y-%m-%d %H:%M:%S}"
    assert choose(BEGUN + BEFORE, at, EMPTY, NOW)[0] == BEFORE[0]
    assert choose(BEGUN + BEFORE, f"{copy(2).at:%Y-%m-%dT%H:%M}", EMPTY, NOW)[0] == BEGUN[1]


@pytest.mark.parametrize("at", ["2001-01-01 00:00", "ffffffffffffffff", "2026-99-99 00:00"])
def test_what_there_is_no_copy_of_is_said(at: str) -> None:
    chosen, why = choose(BEFORE, at, None, NOW)
    assert chosen is None
    assert at in why


HOST = desired("crypto", backup=BACKUP)
(CRYPTO,) = HOST.instances
SEEN = as_desired(HOST)


def test_a_copy_that_fits_is_not_refused() -> None:
    assert unfit_copy(CRYPTO, SEEN, copy(1), Wish("crypto")) == []


def test_everything_against_a_copy_is_said_at_once() -> None:
    other = replace(copy(1), role="gateway", server="8.0.2", size=1 << 50)
    assert [line.split(",")[0] for line in unfit_copy(CRYPTO, SEEN, other, Wish("crypto"))] == [
        "the copy is of Redis 8.0.2",
        "the copy is of gateway",
        "no room: /var/lib/redis/crypto has 102400.0 MiB free",
    ]


def test_another_roles_copy_takes_a_word() -> None:
    assert unfit_copy(CRYPTO, SEEN, replace(copy(1), role="gateway"), Wish("crypto", anyway=True)) == []

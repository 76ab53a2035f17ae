"""What a server said while it loaded (tasks/compare/loading.py), against the lines that Redis really prints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.compare.loading import (
    GOES_ON,
    SHOWN,
    bytes_cut,
    cut_tails,
    faults_of,
    is_cut_only,
    is_undone_by_more_databases,
    load_faults,
    skipped,
)
from tasks.observed.state import Server

ROWS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "load_lines.yaml").read_text())
AT = "1234:M 26 Nov 2026 01:33:43.103 # "
SKIP = (
    f"{AT}== CRITICAL == This server is sending an error to its AOF-loading-client: '-NOPERM x' after processing 'exec'"
)
NO_DATABASE = SKIP.replace("-NOPERM x", "DB index is out of range")
CUT = f"{AT}!!! Truncating the AOF appendonly.aof.2.incr.aof at offset 1718 !!!"
OPEN_MULTI = f"{AT}Revert incomplete MULTI/EXEC transaction in AOF file appendonly.aof.2.incr.aof"
BAD_FORMAT = f"{AT}Bad file format reading the append only file x: make a backup"
PANIC = [f"{AT}Guru Meditation: This server panicked sending an error to its AOF-loading-client after processing the"]
PANIC += [f"{AT}Redis 7.0.15 crashed by signal: 6, si_code: -6"]
TOO_MANY = f"{AT}FATAL: Data file was created with a Redis server configured to handle more than 4 databases. Exiting"


def lines(label: str) -> list[dict[str, Any]]:
    return [row for row in ROWS if row["label"] == label]


@pytest.mark.parametrize("row", lines("fault"), ids=lambda row: row["line"][34:90])
def test_every_line_that_tells_of_a_fault_is_one(row: dict[str, Any]) -> None:
    assert load_faults([row["line"]]) == [row["line"][:SHOWN]]
    assert bool(GOES_ON.search(row["line"])) == row.get("serves", False)


@pytest.mark.parametrize("label", ["healthy", "detail", "life", "forged"])
def test_no_other_line_of_a_start_is_a_fault(label: str) -> None:
    assert lines(label)
    assert load_faults([row["line"] for row in lines(label)]) == []


def test_a_fault_is_no_fault_in_the_middle_of_what_somebody_logged() -> None:
    assert load_faults([f"{AT}my library says: {SKIP}", f"{AT}{CUT}", BAD_FORMAT.removeprefix(AT)]) == []


def test_a_long_line_is_shortened() -> None:
    assert [len(line) for line in load_faults([SKIP + "x" * 999])] == [SHOWN]


# --- What a server that serves can have said


COUNTED = {"loading": "0", "unexpected_error_replies": "2"}
RESET = {"loading": "0", "unexpected_error_replies": "0", "cmdstat_config|resetstat": "calls=1"}
CLEAN = {"loading": "0", "unexpected_error_replies": "0"}


@pytest.mark.parametrize(
    ("info", "believed"),
    [
        (COUNTED, [SKIP, CUT]),
        (RESET, [SKIP, CUT]),
        (CLEAN, [CUT]),
        ({"loading": "1"}, [SKIP, CUT, BAD_FORMAT]),
    ],
)
def test_a_line_that_the_counters_of_a_serving_server_deny_was_written_by_a_service(
    info: dict[str, str], believed: list[str]
) -> None:
    assert faults_of([SKIP, "a word", CUT, BAD_FORMAT], info) == believed


def test_what_the_journal_has_lost_is_known_from_the_counter() -> None:
    said = ["2 commands of its log were skipped; its journal does not say which"]
    assert faults_of([], COUNTED) == said
    assert faults_of([CUT], COUNTED) == [CUT, *said]
    assert faults_of([], CLEAN) == []


# --- What follows from a fault


@pytest.mark.parametrize(
    ("faults", "undone"),
    [
        ([NO_DATABASE], True),
        ([TOO_MANY], True),
        ([NO_DATABASE, TOO_MANY], True),
        ([NO_DATABASE, *PANIC], True),
        ([SKIP, *PANIC], False),
        ([*PANIC], False),
        ([NO_DATABASE, SKIP], False),
        ([SKIP], False),
        ([CUT], False),
        ([], False),
    ],
)
def test_only_missing_databases_are_a_fault_that_the_previous_configuration_has_not(
    faults: list[str], undone: bool
) -> None:
    assert is_undone_by_more_databases(faults) == undone


@pytest.mark.parametrize(
    ("faults", "only"),
    [([CUT], True), ([OPEN_MULTI, CUT], True), ([CUT, SKIP], False), ([CUT, BAD_FORMAT], False), ([SKIP], False)],
)
def test_a_log_is_written_anew_only_when_nothing_of_it_was_skipped(faults: list[str], only: bool) -> None:
    assert is_cut_only(faults) == only


def test_a_cut_tail_is_said_with_its_place() -> None:
    assert cut_tails([SKIP, CUT]) == ["appendonly.aof.2.incr.aof was cut at byte 1718"]
    assert cut_tails([SKIP, BAD_FORMAT]) == []


@pytest.mark.parametrize(
    ("info", "sizes", "lost"),
    [
        ({"aof_current_size": "2592"}, [846, 1718], 28),
        ({"aof_current_size": "2592"}, [846, 1746], 0),
        ({"aof_current_size": "2592"}, [846, 1999], 0),
        ({"aof_current_size": "2592"}, [2564], 28),
        ({}, [846], 0),
    ],
)
def test_a_server_still_counts_what_it_cut_off(info: dict[str, str], sizes: list[int], lost: int) -> None:
    assert bytes_cut(info, sizes) == lost


# --- What was skipped, and is still there


@dataclass(frozen=True)
class Case:
    """What INFO says of a log's rewrites since the start; `count`: commands that were skipped and are still in it."""

    what: str
    info: dict[str, str]
    count: int
    said: tuple[str, ...] = ()


NEVER = {"aof_enabled": "1", "aof_last_rewrite_time_sec": "-1", "aof_last_bgrewrite_status": "ok", "aof_rewrites": "0"}
DONE = {**NEVER, "aof_last_rewrite_time_sec": "0", "aof_rewrites": "1"}
FAILED = {**DONE, "aof_last_bgrewrite_status": "err"}
CASES = [
    Case("nothing was skipped", NEVER, 0),
    Case("two commands were", {**NEVER, "unexpected_error_replies": "2"}, 2),
    Case("the counter was reset, the journal knows", NEVER, 2, (SKIP, CUT, NO_DATABASE)),
    Case("the counter goes before the journal", {**NEVER, "unexpected_error_replies": "80"}, 80, (SKIP,)),
    Case("somebody else logged such words", NEVER, 0, (f"{AT}AOF-loading-client",)),
    Case("the log was rewritten", {**DONE, "unexpected_error_replies": "2"}, 0),
    Case("the one rewrite failed", {**FAILED, "unexpected_error_replies": "2"}, 2),
    Case("the second rewrite failed", {**FAILED, "aof_rewrites": "2", "unexpected_error_replies": "2"}, 2),
    Case("somebody switched it off", {**NEVER, "aof_enabled": "0", "unexpected_error_replies": "2"}, 2),
    Case("the server says nothing", {}, 0),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_what_was_skipped_is_counted_while_it_is_still_in_the_log(case: Case) -> None:
    assert skipped(Server(info=case.info, said=case.said)) == case.count

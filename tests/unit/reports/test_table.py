"""The drift report for a terminal (tasks/reports/table.py)."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.compare.difference import Difference
from tasks.compare.unwell import Code, Health
from tasks.reports import to_table
from tests.unit.builders import differs
from tests.unit.reports.preview import ERROR, UNREACHABLE, host, report, samples

WIDTHS = [40, 80, 120]


def difference(**changes: str) -> Difference:
    """A difference of the gateway role in which the given parts are replaced."""
    parts = {"name": "maxmemory", "expected": "256mb", "observed": "3gb", "remedy": "set live", **changes}
    return differs("gateway", "setting", **parts)


def test_one_line_says_that_all_is_well() -> None:
    assert to_table(samples()["in-sync"], 80) == (
        "5 roles on 5 hosts in sync, checked in 0.9 s (5 commands, 5 exchanges)\n"
    )


def test_the_last_line_counts_hosts_and_differences_and_those_that_need_a_person() -> None:
    assert to_table(samples()["unreachable"], 80).splitlines()[-1] == (
        "5 hosts: 1 drifted, 1 unreachable, 1 error, 2 in sync; 2 differences (1 by hand); "
        "checked in 10.2 s (3 commands, 3 exchanges)"
    )


def test_a_check_without_a_host_says_so() -> None:
    assert to_table(samples()["nobody"], 80).startswith("no host was looked at")


def test_side_by_side_a_difference_is_one_line_under_its_headings() -> None:
    lines = to_table(report(host("gateway", "drifted", difference())), 120).splitlines()
    assert lines[0] == "redis-gateway: drifted, 1 difference"
    assert lines[1].split("  ")[0] == "role"
    assert lines[3].split() == ["gateway", "setting", "maxmemory", "256mb", "3gb", "deploy:", "set", "live"]


def test_on_80_columns_no_name_or_path_is_broken() -> None:
    text = to_table(samples()["drifted"], 80)
    assert "/etc/systemd/system/redis-gateway.service.d/override.conf" in text
    assert "persistence aof_last_write_status" in text
    assert max(map(len, text.splitlines()[:-1])) <= 80


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unwell", "5 roles on 5 hosts in sync; 1 critical, 1 warning; checked in"),
        ("warned", "5 roles on 1 host in sync; 2 warnings; checked in"),
        ("not-known", "1 host: 1 error; 5 differences (1 by hand); 1 unknown; 1 critical, 2 warnings; checked in"),
    ],
)
def test_the_last_line_counts_what_is_not_known_and_what_is_not_well(name: str, words: str) -> None:
    assert to_table(samples()[name], 80).splitlines()[-1].startswith(words)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_not_known_and_what_is_not_well_have_lists_of_their_own(width: int) -> None:
    text = " ".join(to_table(samples()["not-known"], width).split())
    assert text.startswith("redis-1: error, 5 differences, 1 unknown, 1 critical, 2 warnings")
    order = [text.index(word) for word in ("BUSY", "critical MEM-FULL", "warning DISK-FULL", "kernel vm.overcommit")]
    assert order == sorted(order)
    assert "shared" in text and "by hand: wait for the script" in text


def test_beside_what_was_found_stands_its_entry_of_the_runbook() -> None:
    lines = [line.strip() for line in to_table(samples()["not-known"], 80).splitlines()]
    found = [line for line in lines if line.startswith("docs/runbook.md#")]
    entries = ("busy", "memory-full", "memory-full", "disk-full", "an-instance-will-not-start")
    assert found == [f"docs/runbook.md#{name}" for name in entries]
    assert lines[-2] == "differences: docs/runbook.md#drift-found"


@pytest.mark.parametrize("code", Code)
@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_code_of_what_is_not_well_is_one_word_however_long_the_rest_is(width: int, code: Code) -> None:
    long = "more than anybody wants to read in one line of a table " * 3
    sick = Health("a-role-of-25-letters-long", code, "critical", long, long, long)
    text = to_table(report(replace(host("gateway", "in_sync"), health=(sick,))), width)
    assert f"critical {code}" in text


def test_on_80_columns_what_is_not_known_says_so() -> None:
    assert "  shared: not known: its settings, users and data\n" in to_table(samples()["not-known"], 80)


def test_a_host_in_sync_that_is_not_well_is_not_left_out() -> None:
    text = to_table(samples()["unwell"], 80)
    assert text.startswith("redis-crypto: in sync, 1 critical, 1 warning\n")
    assert "  crypto: critical MEM-FULL\n      limit       99 % of maxmemory\n" in text


def test_the_summary_is_red_when_something_is_critical_and_green_with_a_warning() -> None:
    assert "\x1b[1;31m5 roles" in to_table(samples()["unwell"], 120, colour=True)
    assert "\x1b[1;32m5 roles" in to_table(samples()["warned"], 120, colour=True)


def test_what_needs_a_person_is_not_called_the_deploy_s() -> None:
    text = to_table(report(host("gateway", "drifted", difference(remedy="by hand: ask"))), 80)
    assert "what to do  by hand: ask" in text
    assert "deploy:" not in text


@pytest.mark.parametrize("message", [UNREACHABLE, ERROR])
def test_a_host_that_was_not_seen_says_why_and_hides_no_other(message: str) -> None:
    text = to_table(samples()["unreachable"], 80)
    assert message in text
    assert text.count("docs/runbook.md#host-not-seen") == 2
    assert "redis-socket: drifted" in text


def test_what_a_person_should_know_of_a_host_in_sync_is_said() -> None:
    assert "the kernel belongs to the systemd-nspawn" in to_table(samples()["container"], 80)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_long_value_is_wrapped_and_never_cut(width: int) -> None:
    text = to_table(report(host("gateway", "drifted", difference(observed="@" * 500))), width)
    assert text.count("@") == 500
    assert max(map(len, text.splitlines()[:-1])) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_brackets_in_a_value_are_no_markup(width: int) -> None:
    assert "[always]" in to_table(samples()["drifted"], width)


@pytest.mark.parametrize("width", WIDTHS)
@given(text=st.text())
def test_nothing_that_a_host_says_steers_the_terminal(width: int, text: str) -> None:
    changed = difference(name=text, expected=text, observed=text, remedy=text)
    shown = to_table(report(host("gateway", "drifted", changed, message=text)), width)
    assert all(char.isprintable() or char == "\n" for char in shown)


@pytest.mark.parametrize("name", ["FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"])
def test_no_control_code_is_written_unless_colour_was_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert "\x1b" not in to_table(samples()["drifted"], 80)


def test_colour_changes_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = to_table(samples()["drifted"], 120, colour=True)
    assert "\x1b[33mdrifted, 12 differences\x1b[0m" in coloured
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured).split() == to_table(samples()["drifted"], 120).split()


def test_colour_is_left_out_for_a_person_who_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in to_table(samples()["drifted"], 120, colour=True)


def test_what_concerns_the_tier_as_a_whole_is_said_once_and_is_no_difference() -> None:
    sample = replace(samples()["in-sync"], notes=("shared: no host \x1b[31mcarries it",))
    first, second = to_table(sample, 80).splitlines()
    assert first == "note: shared: no host \\x1b[31mcarries it"
    assert second.startswith("5 roles on 5 hosts in sync")
    assert sample.exit_code == 0

"""What a host's journal answers (tasks/observed/journal.py): any bytes, from a service or from nobody."""

import base64
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.observed.journal import BYTES, reaches_end_of_loading, reaches_start, read_said
from tests.tree import REPOSITORY

UNITS = ("redis-crypto.service", "redis-gateway.service")
BEGINNING = "1234:C 26 Nov 2026 01:33:43.103 * oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo"


def answer(number: int, content: bytes) -> str:
    return f"{number} {base64.b64encode(content).decode()}"


def test_each_journal_is_read_by_its_unit() -> None:
    said = read_said([answer(1, b"two\nlines\n"), answer(0, b"one")], UNITS)
    assert said == {UNITS[0]: ("one",), UNITS[1]: ("two", "lines")}


def test_a_unit_without_a_journal_has_said_nothing() -> None:
    assert read_said(["0 ", answer(1, b"x")], UNITS) == {UNITS[0]: (), UNITS[1]: ("x",)}


@given(st.lists(st.binary(max_size=200), min_size=2, max_size=2))
def test_any_bytes_of_a_journal_are_lines_of_its_own_unit(contents: Sequence[bytes]) -> None:
    said = read_said([answer(number, content) for number, content in enumerate(contents)], UNITS)
    assert set(said) == set(UNITS)
    for unit, content in zip(UNITS, contents, strict=True):
        assert "".join(said[unit]) == "".join(content.decode(errors="replace").splitlines())


@given(st.lists(st.text(max_size=80)))
def test_any_answer_of_a_host_is_read_without_a_fault(lines: Sequence[str]) -> None:
    said = read_said(lines, UNITS)
    assert set(said) <= set(UNITS)


@given(st.text(alphabet=st.characters(categories=["Nd", "No", "Nl"]), min_size=1, max_size=6))
def test_any_number_before_an_answer_is_read_without_a_fault(number: str) -> None:
    assert set(read_said([f"{number} eA=="], UNITS)) <= set(UNITS)


def test_an_answer_for_a_unit_that_was_not_asked_is_none() -> None:
    assert read_said([answer(2, b"x"), answer(99, b"y"), "x eA==", "0 not base64", "eA=="], UNITS) == {}


def test_a_journal_that_begins_with_the_start_reaches_back_to_it() -> None:
    assert reaches_start((BEGINNING, "more"))
    assert reaches_start(("1234:C 26 Nov 2026 01:33:43.102 * Supervised by systemd. Please make sure", BEGINNING, "x"))
    assert not reaches_start(("x", "more", BEGINNING))
    assert not reaches_start(())


@pytest.mark.parametrize(
    ("said", "whole"),
    [
        ("1:M 26 Nov 2026 01:33:43.103 * Ready to accept connections", True),
        ("1:M 26 Nov 2026 01:33:43.103 * Ready to accept connections tcp", True),
        ("1:M 26 Nov 2026 01:33:43.103 * The server is now ready to accept connections at /s", True),
        ("1:M 26 Nov 2026 01:33:43.103 * DB loaded from append only file: 0.000 seconds", False),
    ],
)
def test_a_journal_tells_all_of_a_start_when_it_has_its_end(said: str, whole: bool) -> None:
    assert reaches_end_of_loading((BEGINNING, said, "more")) == whole


def test_the_script_prints_what_was_said_first_whatever_it_is(tmp_path: Path) -> None:
    """With a journal that holds more than is read, and bytes that no terminal takes."""
    content = b"\x00\xff first\n" * BYTES
    (tmp_path / "journal").write_bytes(content)
    for name, body in (("journalctl", f"cat {tmp_path}/journal"), ("systemctl", "echo 1234")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "bytes": str(BYTES)}
    words = ["sh", str(REPOSITORY / "templates/scripts/read-journals.sh"), *UNITS]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    said = read_said(done.stdout.splitlines(), UNITS)
    expected = tuple(content[:BYTES].decode(errors="replace").splitlines()[:-1])  # the last one may be cut
    assert said == dict.fromkeys(UNITS, expected)

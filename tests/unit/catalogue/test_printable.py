"""What comes from outside never steers a terminal, and stays readable."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.printable import excerpt, printable, printable_lines
from tasks.compare.difference import ByHand, Difference


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis-ä", "redis-ä"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\x9b0m", "\\x9b0m"),
        ("\udcff", "\\udcff"),
    ],
)
def test_signs_that_steer_are_shown_by_their_names(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(text=st.text())
def test_any_text_becomes_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert excerpt(text).isprintable()
    assert len(excerpt(text)) <= 63


def test_colours_and_lines_of_a_message_stay() -> None:
    message = f"{click.style('redis-1', fg='red', bold=True)}\n\tsaid"
    assert printable_lines(message) == message


@pytest.mark.parametrize(
    "steering", ["\x1b[2J", "\x1b[8m", "\x1b]0;title\x07", "\r", "\x1b[1;1H", "\x1b[30;40m", "\x08"]
)
def test_nothing_else_of_a_message_steers(steering: str) -> None:
    assert "\x1b" not in printable_lines(f"a{steering}b")
    assert printable_lines(steering).isprintable()


def test_a_difference_is_one_printable_line() -> None:
    found = Difference(
        None, "listener", "1.2.3.4:6379\n", "no other Redis", "redis-\x1b[31mx, pid 7", ByHand("stop it")
    )
    assert str(found).isprintable()

"""What comes from outside may be shown to a person only without anything that steers a terminal."""

from __future__ import annotations

import re

# Colours and bold as click.style writes them, and their end; none that hides what follows or moves the cursor.
_KEPT = re.compile(r"(\n|\t|\x1b\[(?:0|1|3[0-79]|9[0-7])m)")


def printable(text: str) -> str:
    """`text` with everything that is no visible character escaped.

    A value comes from a host that may have been tampered with: it must not steer a terminal, turn the direction
    of a line or be impossible to encode.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def encodable(text: str) -> str:
    """A name on a host need not be UTF-8; Python keeps such bytes as lone surrogates, which strict parsers refuse."""
    return text.encode(errors="backslashreplace").decode()


def excerpt(text: str, length: int = 60) -> str:
    """The beginning of `text` in quotes, printable and short enough for a message."""
    shown = printable(text[: length + 1])
    return f"'{shown}'" if len(shown) <= length else f"'{shown[:length]}…'"


def printable_lines(text: str) -> str:
    """`text`, printable, with the line breaks, tabs and colours that a message of this tool has."""
    return "".join(part if _KEPT.fullmatch(part) else printable(part) for part in _KEPT.split(text))

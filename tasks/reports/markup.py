"""What the pages share: their templates, where every value is escaped and printable, and marks in symbols and words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tasks.catalogue.printable import printable

# Status → symbol. Shape and words carry the meaning, colour only repeats it. All of these are in every system's fonts.
SYMBOLS = {
    "in_sync": "✓",
    "drifted": "≠",
    "unreachable": "✕",
    "error": "!",
    "unknown": "?",
    "critical": "▲",
    "warning": "△",
    "held": "✓",
    "failed": "✕",
    "not_run": "○",
    "scaled": "↓",
}


@dataclass(frozen=True)
class Mark:
    """A symbol and words, and where more is said. `status` is one of SYMBOLS, and the class of its colour."""

    status: str
    text: str
    link: str = ""

    @property
    def symbol(self) -> str:
        """Says the same as the words beside it."""
        return SYMBOLS[self.status]


def quoted(name: str) -> str:
    """`name` as a part of an anchor, whatever is in it."""
    return quote(printable(name), safe="")


def _printable(value: object) -> object:
    return printable(value) if type(value) is str else value


def _breakable(text: str) -> Markup:
    """`text` escaped, to be broken between words, then after a slash; what is copied from it stays as it is.

    A browser would also break after the hyphen of `-@admin`, which then reads as something else.
    """
    words = (Markup("/<wbr>").join(word.split("/")) for word in printable(text).split(" "))
    return Markup(" ").join(Markup("<span>{}</span>").format(word) for word in words)


@cache
def templates() -> Environment:
    """The templates of the pages, with the filter `breakable`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[2] / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=True,
        finalize=_printable,
    )
    environment.filters["breakable"] = _breakable
    return environment

"""A password as the run carries it: a text that shows itself nowhere."""

from __future__ import annotations

HIDDEN = "(a password)"


class Secret(str):
    """A str whose repr, str and format are HIDDEN: what prints an argument, an attribute or a container shows that.

    Its bytes are its own (`encode`), so it is sent, hashed and compared as the text it is.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

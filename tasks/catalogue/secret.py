"""A password as the run carries it: a text that shows itself nowhere, with others that are valid beside it."""

from __future__ import annotations

from collections.abc import Iterable

HIDDEN = "(a password)"
MOST = 8  # passwords of one user: each is tried at a login, and one more way in


class Secret(str):
    """A str whose repr, str and format are HIDDEN: what prints an argument, an attribute or a container shows that.

    Its bytes are its own (`encode`), so it is sent, hashed and compared as the text it is. `beside`: passwords of the
    same user that are valid, too; it is the one that is handed out, and tried first.
    """

    __slots__ = ("beside",)
    beside: tuple[Secret, ...]

    def __new__(cls, text: str, beside: Iterable[str] = ()) -> Secret:
        own = super().__new__(cls, revealed(text))
        own.beside = tuple(Secret(item) for item in beside)
        return own

    def __repr__(self) -> str:
        return HIDDEN

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN


def revealed(password: str) -> str:
    """The text of a password, whatever shows it elsewhere."""
    return password.encode().decode()


def all_of(password: str | None) -> tuple[str, ...]:
    """Every password of a user, the one that is handed out first; none of None."""
    if password is None:
        return ()
    return (password, *(password.beside if isinstance(password, Secret) else ()))


def newest(password: str) -> Secret:
    """The one that is handed out, alone."""
    return Secret(password)

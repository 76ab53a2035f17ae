"""Why a deploy does not begin: a sentence, and of which kind it is, which says where a person reads on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum


class Unfit(Enum):
    """What a deploy refuses to begin for."""

    HOST = "the host cannot carry its roles"
    UNSEEN = "a part of the host was not seen"
    PORT = "somebody else has a port of a role"
    TLS = "how a role is spoken to would change at once"
    CERTIFICATE = "a certificate is not valid now"
    DATA = "a role's data is not where its configuration will look"
    GONE = "a role's data is gone"
    RESTART = "a restart would lose data"
    LIMIT = "a limit is below what is in use"
    CLIENTS = "more clients are connected than would be allowed"
    FOREIGN = "the data of another server is not taken over as it is"
    PURGE = "kept data is not deleted"
    PASSWORDS = "the instance has other passwords"
    ROTATION = "a step of a rotation is not taken"


class Reason(str):
    """A sentence of that kind; compares and sorts as the text it is."""

    __slots__ = ("kind",)
    kind: Unfit

    def __new__(cls, text: str, kind: Unfit) -> Reason:
        own = super().__new__(cls, text)
        own.kind = kind
        return own


def of_kind(kind: Unfit, *texts: Iterable[str]) -> Iterator[Reason]:
    """These sentences, all of one kind."""
    return (Reason(text, kind) for several in texts for text in several)

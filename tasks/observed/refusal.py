"""Why an instance did not tell what it was asked: a cause out of few, and what it said, as data. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Cause(Enum):
    """What kept a look from its answer. None of them says that the server is broken."""

    NO_PASSWORD = "the operator's password is not known"
    NOT_ITS_OWN = "its own process was not seen to listen"
    TAKEN = "another may take its connections"
    FORBIDDEN = "sshd forbids the tunnel"
    CLOSED = "the connection was refused"
    BROKEN = "the connection broke"
    SILENT = "no answer"
    LOADING = "it loads its data"
    BUSY = "a script or function runs"
    MAXCLIENTS = "no connection is left"
    WRONGPASS = "the operator's password is refused"
    DENIED = "protected mode turns away everybody who is not on loopback"
    NOPERM = "the operator may not ask"
    CERTIFICATE = "its certificate is not to be trusted"
    STRANGE = "no answer of a Redis that knows its operator"


@dataclass(frozen=True)
class Refusal:
    """What kept a look from its answer, and in whose words."""

    cause: Cause
    said: str

    def __str__(self) -> str:
        return self.said


SHOWN = 200  # characters of what somebody else said
# The first words of an error reply; seen on 7.0.15 and 8.0.2.
CODES = {
    "LOADING": Cause.LOADING,
    "BUSY": Cause.BUSY,
    "WRONGPASS": Cause.WRONGPASS,
    "DENIED": Cause.DENIED,
    "NOPERM": Cause.NOPERM,
    "ERR max number of clients": Cause.MAXCLIENTS,
    "max number of clients": Cause.MAXCLIENTS,
}


def refusal(reply: object) -> Refusal:
    """The refusal in an error reply; one that nobody knows is strange, never a reason to act."""
    said = str(reply)[:SHOWN]
    return Refusal(next((cause for code, cause in CODES.items() if said.startswith(code)), Cause.STRANGE), said)

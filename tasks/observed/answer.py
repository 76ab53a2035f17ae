"""What of a host itself answered where no connection to it was made: its SSH, its kernel, or nobody.

Asked of the connection's own state, not of words: those of a jump host or a proxy, which get no further, are the same
as those of a host that is reached directly.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from enum import Enum
from typing import Any


class Answer(Enum):
    """Who it was that answered, in words."""

    GREETED = "its SSH greeted"
    TOOK = "it took the connection"
    REFUSED = "it refused the connection"
    NOBODY = "nobody answered"
    LED_NOWHERE = "what leads there, a jump host or a proxy, got no word of it"
    NO_NAME = "its name leads to no address"
    UNTOLD = "why there is no connection is not known"

    @property
    def is_of_the_host(self) -> bool:
        """Whether it is there, for it answered."""
        return self in (Answer.GREETED, Answer.TOOK, Answer.REFUSED)

    @property
    def may_be_off(self) -> bool:
        """Whether a host that is off shows so: nobody answered, or nothing that did was of that host."""
        return self in (Answer.NOBODY, Answer.LED_NOWHERE, Answer.NO_NAME)


SILENT = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT)


def answer_of(client: Any, error: BaseException) -> Answer:
    """Who answered, of a host that was not connected to. `client`: that of its SSH; None where nothing was begun."""
    if client is None:
        return Answer.UNTOLD  # nothing was begun: a key that is not there, say
    transport = getattr(client, "_transport", None)
    if transport is not None and transport.remote_version:
        return Answer.GREETED
    # What pyinfra read of ~/.ssh/config; it connects to each jump host before it has that.
    way = getattr(client, "_ssh_config", None)
    if way is None or way.get("sock") is not None:
        return Answer.LED_NOWHERE
    if transport is not None:
        return Answer.TOOK
    return _of_reasons(list(_reasons(error)))


def _of_reasons(reasons: list[BaseException]) -> Answer:
    numbers = [item.errno for item in reasons if isinstance(item, OSError)]
    if errno.ECONNREFUSED in numbers:
        return Answer.REFUSED
    if any(isinstance(item, socket.gaierror) for item in reasons):
        return Answer.NO_NAME
    if any(isinstance(item, TimeoutError) for item in reasons) or any(number in SILENT for number in numbers):
        return Answer.NOBODY
    return Answer.UNTOLD


def _reasons(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came of; paramiko has an error for each address of a name."""
    now: BaseException | None = error
    seen: set[int] = set()
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        tried = getattr(now, "errors", None)
        yield from tried.values() if isinstance(tried, dict) else ()
        now = now.__cause__ or now.__context__

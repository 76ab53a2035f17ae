"""A user of a drill's own, on hosts that are thrown away: it fills a server from inside, and is gone afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tasks.drills.client import Client, DrillFailed
from tasks.drills.place import PREFIX, Place, wait_for
from tasks.observed.exchange import ExchangeError

NAME = "caas-drill"
CHUNK = 64  # keys that one script writes: no other client waits long
SIZE = 16384  # bytes of each: few keys, so that `save` has no reason of its own meanwhile

FILL = (
    "local value = string.rep(ARGV[3], tonumber(ARGV[4])) "
    "for number = ARGV[1], ARGV[2] do redis.call('SET', KEYS[1] .. number, value) end"
)
REMOVE = "for number = ARGV[1], ARGV[2] do redis.call('UNLINK', KEYS[1] .. number) end"


@dataclass(frozen=True)
class User:
    """The user and its password, of one drill."""

    place: Place
    password: str = field(repr=False)

    def client(self) -> Client:
        """A connection of it."""
        return self.place.client(NAME, self.password)

    def each(self, script: str, total: int, *words: str) -> None:
        """A script that is given a key prefix, the first and last number, and `words`, over `total` keys."""
        try:
            with self.client() as client:
                for first in range(1, total + 1, CHUNK):
                    last = min(first + CHUNK - 1, total)
                    client.answer(("EVAL", script, "1", f"{PREFIX}:own:", str(first), str(last), *words))
        except ExchangeError as error:
            raise DrillFailed(f"{self.place.name}: {error}") from error


@contextmanager
def own_user(place: Place) -> Iterator[User]:
    """It may do anything with the drills' keys and channels; gone when the body ends."""
    user = User(place, secrets.token_urlsafe(24))
    rules = (f"~{PREFIX}:*", f"&{PREFIX}:*", "+@all", "-@admin", "-@dangerous")
    place.operator("ACL", "SETUSER", NAME, "reset", "on", f">{user.password}", *rules)
    try:
        yield user
    finally:
        place.operator("ACL", "DELUSER", NAME)


@contextmanager
def filled(place: Place, user: User, size: int) -> Iterator[Callable[[], None]]:
    """The server has `size` bytes of keys; what is given changes every one of them. They are gone afterwards."""
    total = size // SIZE
    try:
        user.each(FILL, total, "a", str(SIZE))
        yield lambda: user.each(FILL, total, "b", str(SIZE))
    finally:
        user.each(REMOVE, total)


@contextmanager
def slowly(place: Place, microseconds: int = 2000) -> Iterator[None]:
    """A rewrite takes so long for each key (rdb-key-save-delay): long enough to be watched."""
    place.operator("CONFIG", "SET", "rdb-key-save-delay", str(microseconds))
    try:
        yield
    finally:
        place.operator("CONFIG", "SET", "rdb-key-save-delay", "0")


def rewrite_ended(place: Place) -> None:
    """No rewrite goes on, and none waits. Raises DrillFailed after the usual patience."""

    wait_for(f"{place.name} does not end the rewrite of its log", lambda: not is_rewriting(place.info("persistence")))


def is_rewriting(info: Mapping[str, str]) -> bool:
    """Whether a rewrite of its log goes on, or waits; `info`: what a server says of its persistence. Pure."""
    return "1" in (info["aof_rewrite_in_progress"], info["aof_rewrite_scheduled"])

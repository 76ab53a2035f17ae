"""Read what the other side of a connection says, piece by piece, within a bound (bounds.py). Knows no connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tasks.observed.bounds import LINE, WORD, Bound

# A run that is held up itself notices late what has come: before it gives somebody up, it looks once more.
LAST = 0.05  # seconds
STEP = 0.2  # seconds after which it is asked again how long that may last

# For how long nothing may be said, since when; None: for ever.
Silence = Callable[[float], "float | None"]

# What has come, at least a byte; nothing at the end. Raises TimeoutError when nothing comes for so many seconds.
Receive = Callable[[float], bytes]


def _nothing(text: str) -> None:
    """Nobody is told."""


class Meter:
    """How far an answer is in its bound. `hit` says in words which part of it was reached; empty until then.

    `tell` is told now and then that something goes on which may take long. `silence`: for how many seconds nothing may
    be said, since a moment of time.monotonic(), where that is not the bound's own.
    """

    def __init__(self, bound: Bound, tell: Callable[[str], object] = _nothing, silence: Silence | None = None) -> None:
        self.bound = bound
        self._silence = silence or (lambda since: bound.silence)
        self.hit = ""
        self.left_out = False  # whether something was said that is not kept
        self._tell = tell
        self._began = self._heard = time.monotonic()
        self._next_word = self._began + WORD
        self._size = 0

    @property
    def left(self) -> float:
        """Seconds until the bound is reached, 0 when it is."""
        return max(0.0, self._began + self.bound.seconds - time.monotonic())

    def read(self, receive: Receive) -> bytes:
        """What has come; nothing when the other side is done, or when a bound is reached.

        Raises TimeoutError when the other side is silent for longer than it may be: in whatever it may speak by.
        """
        asked = time.monotonic()
        while not self.hit:
            left = self.left
            if not left:
                self.hit = self.bound.too_long()
                break
            wait = min(left, self._until_word())
            silent = self._silent_since(asked)
            if silent is not None:
                wait = min(wait, max(0.0, silent), STEP)
            try:
                data = receive(max(wait, LAST))
            except TimeoutError:
                if silent is not None and silent <= 0:
                    raise
                continue
            self._heard = time.monotonic()
            if not data or self.takes(len(data)):
                return data
        return b""

    def _silent_since(self, asked: float) -> float | None:
        """Seconds until it has been silent for too long: 0 or less when it has; None where it may be."""
        since = max(asked, self._heard)
        silence = self._silence(since)
        return None if silence is None else since + silence - time.monotonic()

    def takes(self, size: int) -> bool:
        """Whether so many bytes more are kept. What must not say more has reached its bound then."""
        self._size += size
        if self._size <= self.bound.size:
            return True
        self.left_out = True
        if self.bound.ends:
            self.hit = self.bound.too_much()
        return False

    def fell_silent(self) -> str:
        """The other side has said nothing for too long, and the words of that."""
        self.hit = self.hit or self.bound.too_silent(time.monotonic() - self._heard)
        return self.hit

    def over_time(self) -> str:
        """The bound is reached, and its words."""
        self.hit = self.hit or self.bound.too_long()
        return self.hit

    def _until_word(self) -> float:
        if self.bound.ends:
            return self.bound.seconds
        now = time.monotonic()
        if now >= self._next_word:
            self._next_word += WORD
            self._tell(f"goes on since {now - self._began:.0f} s (at most {self.bound.seconds:.0f} s are waited for)")
        return max(0.0, self._next_word - now)


def lines(meter: Meter, receive: Receive) -> Iterator[str]:
    """The lines that the other side says, any bytes in them, as far as the bound reaches."""
    line: list[bytes] = []
    while data := meter.read(receive):
        end, *others = data.split(b"\n")
        line.append(end)
        for begin in others:
            if meter.hit:
                return
            if meter.takes(LINE):
                yield b"".join(line).decode(errors="replace")
            line = [begin]
    last = b"".join(line)
    if last and not meter.hit:
        yield last.decode(errors="replace")

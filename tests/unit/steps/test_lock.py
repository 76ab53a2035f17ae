"""The hold of a deploy on its hosts (steps/lock.py), against channels that are none."""

import time
from typing import Any

import gevent
import pytest

from tasks.observed.connection import ConnectionBroken
from tasks.steps import lock


class Channel:
    """A channel that takes signs of life, or none for as long as the test runs, or is broken."""

    def __init__(self, kind: str) -> None:
        self.kind, self.beats = kind, 0

    def send(self, data: bytes) -> None:
        """A sign of life."""
        self.beats += 1
        if self.kind == "stuck":
            gevent.sleep(60)
        if self.kind == "broken":
            raise ConnectionBroken("no answer")


def test_a_host_that_hangs_costs_the_others_nothing_of_their_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.01)
    channels: list[Any] = [Channel("stuck"), Channel("broken"), Channel("fine")]
    stuck, broken, fine = channels
    held = list(channels)
    lock.keep(held)
    deadline = time.monotonic() + 10
    while min(broken.beats, fine.beats) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    held.clear()
    assert (stuck.beats, broken.beats >= 5, fine.beats >= 5) == (1, True, True)

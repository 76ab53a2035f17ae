"""A client that asks on by itself, whatever the drill does meanwhile: what nobody asks through is not measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from tasks.drills.client import DrillFailed
from tasks.drills.judge import Answer
from tasks.drills.place import Place
from tasks.observed.connection import begin
from tasks.observed.exchange import ExchangeError

PACE = 0.01  # seconds between an answer and the next question


@dataclass
class Probe:
    """One question, asked again and again: `ask` returns how long its answer took. Times are since `began`."""

    name: str
    ask: Callable[[], float]
    began: float = field(default_factory=time.monotonic)
    answers: list[Answer] = field(default_factory=list)
    ended: bool = False

    def run(self) -> None:
        """Ask until `ended`. Raises DrillFailed, with how long it waited, when there is no answer."""
        while not self.ended:
            asked = time.monotonic()
            try:
                took = self.ask()
            except ExchangeError as error:
                within = f"had no answer within {time.monotonic() - asked:.1f} s"
                raise DrillFailed(
                    f"{self.name}, asked {asked - self.began:.1f} s after the drill began, {within}: {error}"
                ) from error
            self.answers.append(Answer(asked - self.began, took))
            time.sleep(PACE)


@contextmanager
def asking(
    place: Place, user: str, commands: Mapping[str, Sequence[str]], began: float
) -> Iterator[Mapping[str, list[Answer]]]:
    """Each command is asked by a connection of its own while the body runs; its answers are complete afterwards."""
    with ExitStack() as held:
        clients = {name: held.enter_context(place.client(user)) for name in commands}
        probes = [Probe(name, partial(clients[name].timed, *words), began) for name, words in commands.items()]
        jobs = [begin(probe.run) for probe in probes]
        try:
            yield {probe.name: probe.answers for probe in probes}
        finally:
            for probe in probes:
                probe.ended = True
            for job in jobs:
                job.result()

"""What is left of a pair on the host of a role that is of none any more. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.compare.difference import Difference, Remedy
from tasks.desired.guard import files_of_a_pair
from tasks.desired.host import Host
from tasks.observed.state import Observed


def guard_differences(desired: Host, observed: Observed) -> Iterator[Difference]:
    """A note of before would let it start as one of another pair, whoever serves there."""
    for instance in desired.instances:
        if desired.pair_of(instance.name) is None:
            for path in files_of_a_pair(instance.name):
                if path in observed.files:
                    yield Difference(instance.name, "file", path, "absent", "of a pair that there was", Remedy.REMOVE)

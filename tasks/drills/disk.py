"""A drill that fills the disk on which a host's roles have their data."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress

from tasks.drills.client import DrillFailed
from tasks.drills.load import Load, nothing_lost, writer_of
from tasks.drills.outcome import Outcome, count, seconds
from tasks.drills.place import PREFIX, Place, sh
from tasks.observed.exchange import ExchangeError, ReplyError

BALLAST = "/var/lib/caas-drill-ballast"
LEFT = 256  # KiB that stay free: less than what is written then
TRIES = 40
VALUE = "x" * 65536


def disk_full(places: Sequence[Place]) -> Generator[None, None, dict[str, Outcome]]:
    """Its room is taken, services write on; then the room is there again."""
    first = places[0]
    loads = {place.name: Load(place) for place in places}
    for load in loads.values():
        load.some(20)
    taken: dict[str, int] = {}
    try:
        sh(
            first.state,
            first.host,
            f"room=$(df -k --output=avail /var/lib/redis | tail -n1); "
            f"fallocate -l $((room - {LEFT}))K {BALLAST} && sync -f {BALLAST}",
        )
        for place in places:
            taken[place.name] = _write_until_refused(place)
        said = {place.name: place.said_of_it() for place in places}
    finally:
        sh(first.state, first.host, f"rm -f {BALLAST}")
    away = {place.name: place.wait_until_back() for place in places}
    for place in places:
        if not any("DISK-FULL" in line for line in said[place.name]):
            raise DrillFailed(f"{place.name}: verify does not say DISK-FULL: {'; '.join(said[place.name])[:300]}")
        if place.role.appendonly:
            nothing_lost(loads[place.name])
        place.operator("UNLINK", *(f"{PREFIX}:disk:{number}" for number in range(TRIES)))
        loads[place.name].remove()
        place.calm_down()
    yield  # where the full disk cut the end of a log off, the deploy has it written anew
    for place in places:
        place.must_be_well("the deploy")
    return {
        place.name: Outcome(
            f"all but {LEFT} KiB of the disk were taken while {loads[place.name].service} wrote; verify and drift said "
            "DISK-FULL; with "
            "room again nobody did anything by hand but a deploy",
            {
                "lost": count(0, "writes"),
                "acknowledged": count(len(loads[place.name].acknowledged), "writes"),
                "64 KiB writes taken before": count(taken[place.name], "writes"),
                "back after": seconds(away[place.name]),
            },
            said=tuple(said[place.name]),
        )
        for place in places
    }


def _write_until_refused(place: Place) -> int:
    """How many writes were taken until one was refused or the server ended. Raises DrillFailed when none was."""
    taken = 0
    with suppress(ExchangeError), place.client(writer_of(place)) as client:
        for number in range(TRIES):
            (reply,) = client.ask(("SET", f"{PREFIX}:disk:{number}", VALUE, "EX", "3600"))
            if isinstance(reply, ReplyError):
                return taken
            taken += 1
        if place.role.appendonly:
            raise DrillFailed(f"{place.name}: {TRIES} writes of 64 KiB were taken with {LEFT} KiB free")
    return taken

"""A drill that changes by hand what a deploy has set, and sees it found and repaired."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from tasks.desired.paths import config_file
from tasks.drills.client import DrillFailed
from tasks.drills.load import Load, nothing_lost
from tasks.drills.outcome import Outcome, count
from tasks.drills.place import Place

MALLORY = "caas-drill-mallory"


@dataclass(frozen=True)
class Tampering:
    """Something changed, by a command on the host or one of the operator's; `shows`: words of the difference."""

    what: str
    shows: tuple[str, ...]
    shell: str = ""
    operator: tuple[str, ...] = field(default=(), repr=False)  # a password may be in it

    def do(self, place: Place) -> None:
        """It is so from here on. Raises DrillFailed."""
        if self.operator:
            place.operator(*self.operator)
        else:
            place.sh(self.shell)


def of_role(place: Place, password: str) -> list[Tampering]:
    """What is changed of a role. Pure but for the names."""
    path, other = config_file(place.name), place.role.maxmemory + 4096
    return [
        Tampering("a setting, live", ("maxmemory",), operator=("CONFIG", "SET", "maxmemory", str(other))),
        Tampering("its file", (path,), shell=f"echo '# by hand' >>{path}"),
        Tampering(
            "a user, live", (MALLORY,), operator=("ACL", "SETUSER", MALLORY, "on", f">{password}", "~*", "+@all")
        ),
        Tampering(
            "its unit",
            (place.instance.unit_file,),
            shell=f"echo 'Nice=5' >>{place.instance.unit_file}; systemctl daemon-reload",
        ),
    ]


def not_found(done: Sequence[Tampering], said: Sequence[str]) -> list[str]:
    """What was changed and stands in no line of what drift says. Pure."""
    return [item.what for item in done if not any(all(word in line for word in item.shows) for line in said)]


def tamper(places: Sequence[Place]) -> Generator[None, None, dict[str, Outcome]]:
    """Each change is found under its role and name; after a deploy nothing is left of it, and no write is lost."""
    loads = {place.name: Load(place) for place in places}
    done: dict[str, list[Tampering]] = {}
    for place in places:
        loads[place.name].some(10)
        done[place.name] = of_role(place, secrets.token_urlsafe(24))
        for item in done[place.name]:
            item.do(place)
    said = {place.name: place.said_of_it() for place in places}
    missed = {place.name: not_found(done[place.name], said[place.name]) for place in places}
    if any(missed.values()):
        raise DrillFailed(
            "; ".join(f"{name}: drift does not find {' and '.join(it)}" for name, it in missed.items() if it)
        )
    yield
    for place in places:
        place.must_be_well("the deploy")
        nothing_lost(loads[place.name])
        loads[place.name].remove()
        place.calm_down()
    return {
        place.name: Outcome(
            f"{loads[place.name].service} wrote; changed by hand: {', '.join(item.what for item in done[place.name])}; "
            "drift named each, and one deploy "
            "put all of it back",
            {
                "found": count(len(done[place.name]), "changes"),
                "lost": count(0, "writes"),
            },
            said=tuple(said[place.name]),
        )
        for place in places
    }

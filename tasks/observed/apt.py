"""What keeps apt from installing packages on a host: a look of its own, where packages are to be installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.observed.bounds import PROGRAM
from tasks.observed.connection import read_host, run_command
from tasks.observed.records import lines_of, number, split_parts
from tasks.observed.script import script
from tasks.observed.state import Apt

PARTS = ("lists", "offered", "held", "interrupted", "simulated", "unwritable", "user", "group")
# Where an installation writes, and what of it comes first.
WRITTEN = (
    *("/etc", "/etc/redis", "/etc/apt/apt.conf.d", "/etc/systemd/system", "/usr/bin", "/var/lib", "/var/lib/redis"),
    *("/var/lib/dpkg", "/var/lib/apt/lists", "/var/cache/apt/archives"),
)


def look_at_apt(state: State, host: Host, packages: Sequence[str]) -> Apt:
    """What apt of the host says of these packages, each NAME or NAME=VERSION. Raises Unobserved."""
    # First: what has ended since then leaves nothing half-done.
    busy = bool(run_command(state, host, script("apt-holder")).stdout.strip())
    found = read_host(state, host, "look-apt", packages, read_apt, patience=PROGRAM, directories=WRITTEN)
    return replace(found, is_at_work=busy)


def read_apt(text: str, mark: str) -> Apt:
    """What look-apt.sh says. Raises Unreadable."""
    parts = {name: lines_of(part) for name, part in split_parts(text, mark, PARTS).items()}
    offered: dict[str, tuple[str, ...]] = {}
    for line in parts["offered"]:
        name, *rest = (word.strip() for word in line.split("|"))
        if rest:
            offered[name] = tuple(dict.fromkeys((*offered.get(name, ()), rest[0])))
    return Apt(
        has_lists=number("".join(parts["lists"]).strip(), "how many lists apt has") > 0,
        offered=offered,
        held=tuple(parts["held"]),
        is_interrupted=number("".join(parts["interrupted"]).strip(), "how much of dpkg is due") > 0,
        refuses=tuple(line.removeprefix("E: ") for line in parts["simulated"]),
        unwritable=tuple(parts["unwritable"]),
        group_of_user="".join(parts["user"]),
        group="".join(parts["group"]),
    )

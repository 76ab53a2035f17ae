"""The file on a host that says that the data of a role is being adopted: its text, and what it says. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict

from tasks.observed.state import Marker

RECORDED = ("server", "pid", "unit", "rdb", "before")  # what a marker's file says


def marker_text(marker: Marker) -> str:
    """The file of an adoption."""
    return json.dumps({name: asdict(marker)[name] for name in RECORDED}, sort_keys=True) + "\n"


def read_marker(text: str) -> Marker:
    """What a marker's file says; one that cannot be read stands for an adoption that did not get far."""
    try:
        recorded = {name: value for name, value in json.loads(text).items() if name in RECORDED}
        marker = Marker(**recorded)
        if isinstance(marker.pid, int) and all(isinstance(recorded[name], str) for name in recorded if name != "pid"):
            return marker
    except (ValueError, TypeError, AttributeError):
        pass
    return Marker("a server that its marker does not name", 0, "", "")

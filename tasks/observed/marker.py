"""The file on a host that says that the data of a role is being adopted: its text, and what it says. Pure.

It lies where root alone can write. What it says ends in commands of root all the same, so each field has a form.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict

from tasks.observed.reader import UNIT
from tasks.observed.state import Marker

RUNS_AS = r"[0-9]{1,10}:[0-9]{1,10}: ?([0-9]{1,10} ?)*"  # /proc/PID/status: user, group, further groups
# What a marker's file says: each a text of this form.
RECORDED = {
    "server": "[^\\x00-\\x1f\\x7f]{1,300}",
    "unit": rf"({UNIT}\.service)?",
    "rdb": "/[^\\x00-\\x1f\\x7f]{1,4000}",
    "before": r"([0-9]{1,20} [0-9.]{1,30})?",
    "runs_as": RUNS_AS,
}


def marker_text(marker: Marker) -> str:
    """The file of an adoption."""
    return json.dumps({name: asdict(marker)[name] for name in (*RECORDED, "pid")}, sort_keys=True) + "\n"


def read_marker(text: str) -> Marker:
    """What a marker's file says; one that cannot be read stands for an adoption that did not get far."""
    try:
        said = json.loads(text)
        texts = {name: said[name] for name in RECORDED}
        pid = said["pid"]
        if type(pid) is int and pid > 0 and all(re.fullmatch(form, texts[name]) for name, form in RECORDED.items()):
            return Marker(pid=pid, **texts)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return Marker("a server that its marker does not name", 0, "", "")

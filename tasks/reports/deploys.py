"""The journal of deploys on a host: its lines, what follows from them, and how it is shown. Pure.

A deploy writes two lines of JSON, when it begins to change the host and when it has ended. The host writes the second
one itself where it hears no more of who wrote the first. A line that is none is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.catalogue.printable import printable

LINES = 200  # that a host's journal keeps, and at most twice as many: two a deploy
LINE = 16 << 10  # bytes of a line, at most
WORD = 200  # characters of what a line says of one thing
MOST = 60  # differences that are named

CHANGED, FAILED, LOST = "done", "failed", "interrupted"


@dataclass(frozen=True)
class Deploy:
    """One deploy of a host. `result` is empty where none is written: it goes on, or its host went down with it."""

    number: str
    who: str
    commit: str
    began: str
    differences: tuple[str, ...] = ()
    ended: str = ""
    result: str = ""
    restarts: tuple[str, ...] = ()  # role, and for how long it was away


def begun_line(number: str, who: str, commit: str, at: str, differences: Sequence[str]) -> str:
    """The first line of a deploy."""
    named = [item[:WORD] for item in differences[:MOST]]
    left = len(differences) - len(named)
    more = [f"and {left} more"] if left else []
    said = {"deploy": number, "begun": at, "who": who[:WORD], "commit": commit[:WORD], "differences": [*named, *more]}
    return json.dumps(said)


def ended_line(number: str, at: str, result: str, restarts: Sequence[str]) -> str:
    """The second one."""
    return json.dumps({"deploy": number, "ended": at, "result": result, "restarts": [item[:WORD] for item in restarts]})


def read_deploys(lines: Iterable[str]) -> list[Deploy]:
    """The deploys in a journal, newest first."""
    found: dict[str, dict[str, object]] = {}
    for line in lines:
        said = _object(line)
        number = said.get("deploy")
        if isinstance(number, str) and number:
            found.setdefault(number, {}).update(said)
    known = [_deploy(number, said) for number, said in found.items() if "begun" in said]
    return known[::-1]


def _object(line: str) -> Mapping[str, object]:
    try:
        said = json.loads(line) if len(line) <= LINE else None
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _deploy(number: str, said: Mapping[str, object]) -> Deploy:
    return Deploy(
        number=_text(number),
        who=_text(said.get("who")),
        commit=_text(said.get("commit")),
        began=_text(said.get("begun")),
        differences=_texts(said.get("differences")),
        ended=_text(said.get("ended")),
        result=_text(said.get("result")),
        restarts=_texts(said.get("restarts")),
    )


def _text(value: object) -> str:
    return printable(value)[:WORD] if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(item) for item in value[: MOST + 1]) if isinstance(value, list) else ()

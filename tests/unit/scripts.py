"""Which script a command runs on a host (tasks/observed/script.py), with which parameters and arguments."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tasks.observed.script import DIRECTORY, PREAMBLE

MARKED = re.compile(r"\Aecho ([0-9a-f]{32})\n\(\n(.*)\n\)\nended=.*\Z", re.DOTALL)
NAMES = {path.read_text(): path.stem for path in sorted(DIRECTORY.glob("*.sh"))}


@dataclass(frozen=True)
class Call:
    """A script's name and what it is given."""

    name: str
    parameters: dict[str, str]
    arguments: list[str]


def bare(command: str) -> str:
    """A command without what stands before every one."""
    text = command.removeprefix(PREAMBLE)
    found = MARKED.match(text)
    return found[2] if found else text


def output_mark(command: str) -> str:
    """The mark that a command prints before its output, empty when it prints none."""
    found = MARKED.match(command.removeprefix(PREAMBLE))
    return found[1] if found else ""


def read_call(command: str) -> Call | None:
    """The script that a command runs; None when it runs none, or one that is not whole."""
    text = bare(command)
    if text.startswith("exec bash -c "):
        text = shlex.split(text)[-1]
    head, found, code = text.rpartition("#!/bin/")  # a parameter may be a script, too
    if found + code not in NAMES:
        return None
    words = shlex.split(head)
    at = words.index("set") if "set" in words else len(words)
    pairs = (word.partition("=") for word in words[:at])
    return Call(NAMES[found + code], {key: value for key, _, value in pairs}, words[at + 2 :])


def call(command: str) -> Call:
    """The script that a command runs."""
    found = read_call(command)
    assert found is not None, command
    return found


def path_of(name: str) -> Path:
    """The file of a script."""
    return DIRECTORY / f"{name}.sh"

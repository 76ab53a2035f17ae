"""Scripts that run on hosts: a file of templates/scripts, its parameters before it, and what stands before every one.

A parameter is data: it is quoted here and nowhere else, and no text is put into the middle of a script.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

DIRECTORY = Path(__file__).parents[2] / "templates" / "scripts"

# A login may leave any umask, a PATH without /usr/sbin (su, sudo without secure_path), a language, a directory that is
# not there, or POSIXLY_CORRECT, with which programs take no option after the first word. A script that writes what is
# secret narrows the umask itself.
PREAMBLE = "unset POSIXLY_CORRECT; export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin; umask 022; cd / || exit 1\n"
_WORD = re.compile(r"[A-Za-z0-9_./:@%+=,-]+")

Parameter = str | int | Collection[str]


def prepared(command: str) -> str:
    """`command` as it runs on a host, whatever the login there left."""
    return PREAMBLE + command


def marked(command: str, mark: str) -> str:
    """`command` prepared, its output between a line that ends with `mark` and one that has it: see `between`.

    What a login prints comes before it; a wrapper around the login's commands may print behind it.
    """
    return prepared(f"echo {mark}\n(\n{command}\n)\nended=$?; echo; echo {mark}; exit $ended")


def between(lines: Sequence[str], mark: str) -> list[str] | None:
    """What a marked command printed, of all that came; None when it has not begun, or not come to its end."""
    begun = next((number for number, line in enumerate(lines, 1) if line.endswith(mark)), None)
    ended = next((number for number in range(len(lines) - 1, -1, -1) if lines[number] == mark), None)
    if begun is None or ended is None or ended < begun:
        return None
    own = list(lines[begun:ended])
    return own[:-1] if own and not own[-1] else own  # of a text that ends with a line break, or of one that does not


def script(name: str, *arguments: str, **parameters: Parameter) -> str:
    """The command that runs templates/scripts/`name`.sh with `parameters` as variables and `arguments` as $1, $2, ….

    A collection becomes a list of words. Raises ValueError for a word that the shell would take for more than one.
    """
    code = _code(name)
    lines = [f"{key}={shlex.quote(_text(value))}" for key, value in parameters.items()]
    if arguments:
        lines.append(f"set -- {shlex.join(arguments)}")
    text = "\n".join([*lines, code])
    return f"exec bash -c {shlex.quote(text)}" if code.startswith("#!/bin/bash\n") else text


@cache
def _code(name: str) -> str:
    return (DIRECTORY / f"{name}.sh").read_text(encoding="utf-8")


def _text(value: Parameter) -> str:
    if isinstance(value, (str, int)):
        return str(value)
    for word in value:
        if not _WORD.fullmatch(word):
            raise ValueError(f"{word!r} cannot be a word of a list for a script: it has blanks or signs of the shell")
    return " ".join(value)

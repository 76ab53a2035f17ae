"""The custom operations of the steps: write files whole, run fixed commands. They decide nothing."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pyinfra.api import FunctionCommand, StringCommand, operation

from tasks.desired import File


def file_command(file: File) -> StringCommand:
    """The command that makes `file` so: written beside, checked, then renamed, and never readable by others.

    Its content travels on standard input: neither argument lists nor temporary directories see it.
    """
    path = shlex.quote(file.path)
    if file.content is None:
        # Five digits: with four, GNU install keeps the setgid bit that the package gives a directory.
        return StringCommand(f"install -d -o {file.owner} -g {file.group} -m 0{file.mode} {path}")
    beside = shlex.quote(f"{file.path}.new")
    digest = hashlib.sha256(file.content.encode()).hexdigest()
    steps = (
        f"umask 077; cat >{beside}",
        f'[ "$(sha256sum <{beside})" = "{digest}  -" ]',
        f"chown {file.owner}:{file.group} {beside}",
        f"chmod {file.mode} {beside}",
        f"mv -fT {beside} {path}",
    )
    return StringCommand(" && ".join(steps), _stdin=[file.content])


@operation()
def write_files(files: Sequence[File]) -> Iterator[StringCommand]:
    """Each file has its content, owner, group and mode. Yields one command per file; a directory comes first."""
    for file in sorted(files, key=lambda item: item.path):
        yield file_command(file)


@operation()
def run_commands(commands: Sequence[str]) -> Iterator[StringCommand]:
    """The commands ran, in order, each only when the one before it succeeded."""
    for command in commands:
        yield StringCommand(command)


@operation()
def call(function: Callable[..., bool], **arguments: Any) -> Iterator[FunctionCommand]:
    """`function(state, host, **arguments)` was called and returned True."""
    yield FunctionCommand(function, (), arguments)

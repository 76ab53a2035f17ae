"""The custom operations of the steps: write files whole, run fixed commands. They decide nothing."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from pyinfra.api import FunctionCommand, StringCommand, operation

from tasks.desired.host import File
from tasks.desired.paths import previous_file


def file_command(file: File, keep: bool = False) -> StringCommand:
    """The command that makes `file` so: written beside, checked, then renamed, and never readable by others.

    `keep`: what is there now stays as its previous file, unless an older one is there, which then ran last.
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
        f"sync {beside}",
        *([keep_command(file.path)] if keep else []),
        f"mv -fT {beside} {path}",
    )
    return StringCommand(" && ".join(steps), _stdin=[file.content])


def keep_command(path: str) -> str:
    """The command that keeps a file beside its successor; synced, for it is what a failed start goes back to."""
    previous = previous_file(path)
    copy = f"cp -p {path} {previous}.new && sync {previous}.new && mv -fT {previous}.new {previous}"
    return f"{{ [ ! -e {path} ] || [ -e {previous} ] || {{ {copy}; }}; }}"


@operation()
def write_files(files: Sequence[File], keep: Collection[str] = ()) -> Iterator[StringCommand]:
    """Each file has its content, owner, group and mode. Yields one command per file; a directory comes first.

    `keep`: paths of which the previous content stays until it is known to be needed no more.
    """
    for file in sorted(files, key=lambda item: item.path):
        yield file_command(file, file.path in keep)


@operation()
def run_commands(commands: Sequence[str]) -> Iterator[StringCommand]:
    """The commands ran, in order, each only when the one before it succeeded."""
    for command in commands:
        yield StringCommand(command)


@operation()
def call(function: Callable[..., bool], **arguments: Any) -> Iterator[FunctionCommand]:
    """`function(state, host, **arguments)` was called and returned True."""
    yield FunctionCommand(function, (), arguments)

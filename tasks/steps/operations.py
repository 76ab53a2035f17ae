"""The custom operations of the steps: write files whole, run fixed commands. They decide nothing."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import wraps
from typing import Any

from pyinfra import logger
from pyinfra.api import FunctionCommand, StringCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.desired.host import File
from tasks.desired.paths import DATA_ROOT, PROOFS, UNITS, previous_file
from tasks.observed.script import prepared, script
from tasks.run.fault import fault


def remove_commands(paths: Collection[str]) -> list[str]:
    """Files are gone; what a proof of backups left, which is a directory, with all that is in it. Pure."""
    scratch = [path for path in paths if path.startswith(f"{PROOFS}/")]
    files = [path for path in paths if path not in scratch]
    ways = (("rm -f", files), ("rm -rf --one-file-system", scratch))
    return [f"{way} {' '.join(items)}" for way, items in ways if items]


def file_command(file: File, keep: bool = False) -> StringCommand:
    """The command that makes `file` so: written beside, checked, then renamed, and never readable by others.

    `keep`: what is there now stays as its previous file, unless an older one is there, which then ran last.
    Its content travels on standard input: neither argument lists nor temporary directories see it.
    """
    if file.content is None:
        if file.path.startswith(f"{DATA_ROOT}/"):
            command = script("make-directory", path=file.path, owner=file.owner, group=file.group, mode=file.mode)
            return StringCommand(prepared(command))
        # Five digits: with four, GNU install keeps the setgid bit that the package gives a directory.
        words = ["install", "-d", "-o", file.owner, "-g", file.group, "-m", f"0{file.mode}", file.path]
        return StringCommand(prepared(shlex.join(words)))
    command = script(
        "write-file",
        path=file.path,
        owner=file.owner,
        group=file.group,
        mode=file.mode,
        digest=hashlib.sha256(file.content.encode()).hexdigest(),
        previous=previous_file(file.path) if keep else "",
    )
    return StringCommand(prepared(command), _stdin=[file.content])


@operation()
def write_files(
    files: Sequence[File], keep: Collection[str] = (), before: Collection[str] = ()
) -> Iterator[StringCommand]:
    """Each file has its content, owner, group and mode. Yields one command per file; a directory comes first.

    `keep`: paths of which the previous content stays until it is known to be needed no more. `before`: paths of what
    units run or ask before a start. Those come first, then units, and systemd knows these before what they start is
    written: whatever is interrupted, a start finds what it can read.
    """
    asked = [file for file in files if file.path in before]
    units = [file for file in files if file not in asked and file.path.startswith(f"{UNITS}/")]
    for file in sorted(asked, key=lambda item: item.path):
        yield file_command(file, file.path in keep)
    for file in sorted(units, key=lambda item: item.path):
        yield file_command(file, file.path in keep)
    if units:
        yield StringCommand(prepared("systemctl daemon-reload"))
    for file in sorted((file for file in files if file not in (*asked, *units)), key=lambda item: item.path):
        yield file_command(file, file.path in keep)


@operation()
def run_commands(commands: Sequence[str]) -> Iterator[StringCommand]:
    """The commands ran, in order, each only when the one before it succeeded."""
    for command in commands:
        yield StringCommand(prepared(command))


@operation()
def call(function: Callable[..., bool], **arguments: Any) -> Iterator[FunctionCommand]:
    """`function(state, host, **arguments)` was called and returned True. A fault of it is that host's, and said."""
    yield FunctionCommand(kept_to_the_host(function), (), arguments)


def kept_to_the_host(function: Callable[..., bool]) -> Callable[..., bool]:
    """pyinfra would end every host with a traceback, which shows what the function was called with."""

    @wraps(function)
    def guarded(state: State, host: Host, **arguments: Any) -> bool:
        try:
            return function(state, host, **arguments)
        except Exception as error:
            host.log_styled(fault(error), fg="red", log_func=logger.error)
            return False

    return guarded

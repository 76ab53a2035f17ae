"""Files of the controller with passwords in them: nobody else may read or replace them; written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path


def exposed(path: Path) -> str:
    """How somebody else could read or replace the file, or what it leads to; empty when nobody can."""
    return _of_both(path, 0o077)


def replaceable(path: Path) -> str:
    """How somebody else could replace the file, which all may read, or what it leads to; empty when nobody can."""
    return _of_both(path, 0o022)


def _of_both(path: Path, others: int) -> str:
    return _exposed(path, others) or (_exposed(path.resolve(), others) if path.is_symlink() else "")


def _exposed(path: Path, others: int) -> str:
    """`others`: the rights that nobody else may have to the file itself."""
    directory = path.parent.resolve()
    if not directory.exists():
        return ""
    known = directory.stat()
    mode = stat.S_IMODE(known.st_mode)
    if _lets_others(known, 0o022):
        return f"{directory}: mode is {mode:04o}, others can replace {path.name} there: run chmod 700 {directory}"
    if known.st_uid not in owners():
        whose = _owned(known.st_uid)
        return f"{directory}: {whose}, who can replace {path.name} there: run chown {os.geteuid()} {directory}"
    if not path.exists():
        return ""
    known = path.stat()
    mode = stat.S_IMODE(known.st_mode)
    if known.st_uid not in owners():
        does = "read and replace" if others & 0o044 else "replace"
        return f"{path}: {_owned(known.st_uid)}, who can {does} it: run chown {os.geteuid()} {path}"
    if mode & others if others & 0o044 else _lets_others(known, others):
        wanted = "600" if others & 0o044 else "644"
        return f"{path}: mode is {mode:04o}, expected 0{wanted}: run chmod {wanted} {path}"
    return ""


def _lets_others(known: os.stat_result, rights: int) -> bool:
    """Whether others have any of these rights. A group is often its user's alone (umask 002): that is nobody else."""
    mode = stat.S_IMODE(known.st_mode)
    return bool(mode & rights & 0o007 or (mode & rights & 0o070 and known.st_gid != os.getegid()))


def owners() -> set[int]:
    """Users who may own the file and its directory: who runs this, root, and who became root by sudo for it."""
    by_sudo = os.environ.get("SUDO_UID", "")
    return {os.geteuid(), 0, *([int(by_sudo)] if os.geteuid() == 0 and by_sudo.isdecimal() else [])}


def _owned(uid: int) -> str:
    return f"it belongs to the user with the number {uid}, expected {os.geteuid()}"


def write_private(path: Path, text: str) -> None:
    """`path`, or what it leads to, holds `text`, mode 0600: written beside it, flushed to the disk and renamed.

    Raises OSError.
    """
    write_together([(path, text, 0o600)])


def write_together(files: Sequence[tuple[Path, str, int]]) -> None:
    """Every path, or what it leads to, holds its text, in that mode; (path, text, mode), in the order of their renames.

    All are on the disk beside their places before the first is renamed: a full disk leaves all as they were. So does
    one that cannot be renamed: those before it are put back. What a run that was killed amid it left beside them goes.
    Raises OSError.
    """
    places = [(path.resolve(), text, mode) for path, text, mode in files]
    before = [(path, _found(path)) for path, _, _ in places]
    for path, _, _ in places:
        _remove_stale(path)
    renamed = 0
    with ExitStack() as stack:  # what is open is held (_remove_stale)
        waiting = [_beside(stack, path, text.encode(), mode) for path, text, mode in places]
        try:
            for (path, _, _), beside in zip(places, waiting, strict=True):
                beside.rename(path)
                renamed += 1
            for parent in dict.fromkeys(path.parent for path, _, _ in places):
                _flush(parent)  # hosts learn of a password afterwards: a power cut must not take it from here
        except BaseException:
            for path, was in reversed(before[:renamed]):
                _put_back(stack, path, was)
            raise


Found = tuple[bytes, int] | None  # content and mode of a file; None of none


def _found(path: Path) -> Found:
    return (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) if path.is_file() else None


def _beside(stack: ExitStack, path: Path, content: bytes, mode: int) -> Path:
    """A file beside `path`, on the disk, with that content. It is removed with the stack, unless it was renamed."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    beside = Path(name)
    stack.callback(beside.unlink, missing_ok=True)
    file = stack.enter_context(os.fdopen(descriptor, "wb"))
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(content)
    file.flush()
    os.fchmod(file.fileno(), mode)
    os.fsync(file.fileno())
    return beside


def _put_back(stack: ExitStack, path: Path, was: Found) -> None:
    if was is None:
        path.unlink(missing_ok=True)
    else:
        _beside(stack, path, *was).rename(path)


def _remove_stale(path: Path) -> None:
    """What a run that was killed has left beside `path`: it may hold passwords. One that is alive holds its own."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")  # as tempfile names them
    for beside in path.parent.iterdir() if path.parent.is_dir() else ():
        if not ours.fullmatch(beside.name) or beside.is_symlink() or not beside.is_file():
            continue
        with beside.open("rb") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            beside.unlink(missing_ok=True)


def _flush(parent: Path) -> None:
    directory = os.open(parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

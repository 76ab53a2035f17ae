"""Files of the controller with passwords in them: nobody else may read or replace them; written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path


def exposed(path: Path) -> str:
    """How somebody else could read or replace the file, or what it leads to; empty when nobody can."""
    return _exposed(path) or (_exposed(path.resolve()) if path.is_symlink() else "")


def _exposed(path: Path) -> str:
    directory = path.parent.resolve()
    if not directory.exists():
        return ""
    known = directory.stat()
    mode = stat.S_IMODE(known.st_mode)
    # A group is often its user's alone (umask 002): then only its members may write, which is nobody else.
    if mode & stat.S_IWOTH or (mode & stat.S_IWGRP and known.st_gid != os.getegid()):
        return f"{directory}: mode is {mode:04o}, others can replace {path.name} there: run chmod 700 {directory}"
    if known.st_uid not in owners():
        whose = _owned(known.st_uid)
        return f"{directory}: {whose}, who can replace {path.name} there: run chown {os.geteuid()} {directory}"
    if not path.exists():
        return ""
    known = path.stat()
    mode = stat.S_IMODE(known.st_mode)
    if known.st_uid not in owners():
        return f"{path}: {_owned(known.st_uid)}, who can read and replace it: run chown {os.geteuid()} {path}"
    if mode & 0o077:
        return f"{path}: mode is {mode:04o}, expected 0600: run chmod 600 {path}"
    return ""


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

    All are on the disk beside their places before the first is renamed: a full disk leaves all as they were. Raises
    OSError.
    """
    places = [(path.resolve(), text, mode) for path, text, mode in files]
    waiting: list[tuple[Path, Path]] = []
    try:
        for path, text, mode in places:
            descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
            waiting.append((Path(beside), path))
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
        for beside_path, path in waiting:
            beside_path.rename(path)
        for parent in dict.fromkeys(path.parent for path, _, _ in places):
            directory = os.open(parent, os.O_RDONLY)
            try:
                os.fsync(directory)  # hosts learn of a password afterwards: a power cut must not take it from here
            finally:
                os.close(directory)
    except BaseException:
        for beside_path, _ in waiting:
            beside_path.unlink(missing_ok=True)
        raise

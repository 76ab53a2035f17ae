"""Write a file so that whoever reads it sees the old text or the new one, never a part."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

# To rename over what one of these leads to, a redirected file, would cut off everything printed later.
STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/")


def write_whole(path: Path, text: str) -> None:
    """`path` holds `text`: written beside it, flushed to the disk and renamed.

    The file keeps the mode it has; a new one gets what the umask leaves. A symbolic link keeps pointing where it
    points. A stream, a pipe and a device are written directly. Raises OSError, in words, when the directory is
    missing or cannot be written to; nothing is left behind then.
    """
    try:
        if str(path).startswith(STREAMS) or (path.exists() and not path.is_file()):
            path.write_text(text, encoding="utf-8")
        else:
            _replace(path.resolve(), text)
    except FileNotFoundError as error:
        message = f"{path}: directory {path.parent.absolute()} does not exist: create it or name another file"
        raise FileNotFoundError(message) from error
    except OSError as error:
        raise type(error)(f"{path}: cannot be written: {error.strerror or error}: name another file") from error


def _replace(target: Path, text: str) -> None:
    # Another ending than the target's: the textfile collector reads every *.prom of its directory.
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    mode = target.stat().st_mode & 0o7777 if target.exists() else None
    try:
        with beside.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            beside.chmod(mode)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)

"""Passwords that a command prints: of sops, age, pass, vault or a cloud's own program, as the same YAML as a file's.

It runs on the controller, without a shell; what it prints is bounded, and is neither written anywhere nor shown.
"""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass

from tasks.catalogue.printable import excerpt, printable
from tasks.catalogue.secrets_file import Passwords, parse_passwords

NAME = "redis_secrets_command"
PATIENCE = 60.0  # seconds: a person may have to touch a key
SHAPE = "ROLE: {USER: PASSWORD}"
LIMIT = 1 << 20  # bytes that it may print
SAID = 4096  # bytes of what it says against it; the last of them are shown


@dataclass(frozen=True)
class SecretsCommand:
    """The words of a command; shown as a shell would take them."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        text = printable(shlex.join(self.words))
        return f"{NAME} ({text[:120]}{'…' if text[120:] else ''})"


def malformed_command(value: object) -> str:
    """What is wrong with the host data of that name; empty when nothing is."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(word, str) and word for word in value):
        return ""
    return f'{NAME}: expected a list of words, as ["sops", "-d", "secrets/prod.sops.yaml"], observed {value!r}'


def passwords_from(command: SecretsCommand, patience: float = PATIENCE) -> tuple[Passwords, list[str]]:
    """The passwords that a command prints, or what went wrong with it, in words that show none of what it printed."""
    try:
        process = subprocess.Popen(
            command.words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # what it starts ends with it
        )
    except OSError as error:
        return {}, [f"{command}: cannot be run: {error.strerror}: install it, or correct its path"]
    try:
        printed, said, why = _read(process, patience)
    finally:
        _end(process)
    if why:
        return {}, [f"{command}: {why}"]
    if process.returncode:
        last = excerpt(" ".join(said.decode(errors="replace").split()[-40:]), 300)
        return {}, [f"{command}: ended with {process.returncode}, expected 0; it said {last}: run it by hand"]
    return parse_passwords(str(command), printed)


def _read(process: subprocess.Popen[bytes], patience: float) -> tuple[bytes, bytes, str]:
    """What it printed, the last that it said, and why it is given up; it has ended where that is empty."""
    deadline = time.monotonic() + patience
    late = f"has not ended within {patience:.0f} s: run it by hand and see what it waits for"
    printed, said = b"", b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
        selector.register(process.stderr, selectors.EVENT_READ)  # type: ignore[arg-type]
        while selector.get_map():
            ready = selector.select(max(deadline - time.monotonic(), 0))
            if not ready:
                return printed, said, late
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    printed += data
                else:
                    said = (said + data)[-SAID:]
            if len(printed) > LIMIT:
                return printed, said, f"prints more than {LIMIT >> 20} MiB, expected {SHAPE}: see what it prints"
    try:
        process.wait(max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        return printed, said, late
    return printed, said, ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """It has ended, and with it what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()

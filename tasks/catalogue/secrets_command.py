"""Passwords that a command prints: of sops, age, pass, vault or a cloud's own program, as the same YAML as a file's.

It runs on the controller, without a shell; what it prints is bounded, and is neither written anywhere nor shown.
"""

from __future__ import annotations

import os
import re
import selectors
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass

from tasks.catalogue.printable import printable
from tasks.catalogue.secrets_text import Passwords, Secrets, parse_secrets

NAME = "redis_secrets_command"
PATIENCE = 60.0  # seconds: a person may have to touch a key
NO_PROGRAM = 127  # a shell's exit
SHAPE = "ROLE: {USER: PASSWORD}"
LIMIT = 1 << 20  # bytes that it may print
SAID = 4096  # bytes of what it says that are looked at, the last ones

# What tools say when they fail, and what that means, in words of our own. Theirs are never shown: age quotes the
# beginning of a file that is not encrypted, others print what they were given.
NO_KEY = "it has no key for that"
NOT_THERE = "it does not find a file or an entry that it was given (a new one begins with {} in it)"
CAUSES = (  # the first that fits
    (r"no identity matched|no secret key|bad (session )?key|failed to get the data key", NO_KEY),
    (
        r"unexpected intro|no valid openpgp|metadata not found|not encrypted",
        "what it is to open is not encrypted for it",
    ),
    (
        r"not a terminal|/dev/tty|inappropriate ioctl|pinentry|no tty",
        "it would ask for a passphrase, and has no terminal: give it an agent, or a key without one",
    ),
    (r"permission denied", "it may not read what it was given"),
    (r"not in the password store|no such file|cannot find|not found|no value|does not exist", NOT_THERE),
)


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


def passwords_from(command: SecretsCommand, patience: float | None = None) -> tuple[Passwords, list[str]]:
    """The passwords that a command prints, as `secrets_from` says."""
    found, problems = secrets_from(command, patience)
    return found.passwords, problems


def secrets_from(command: SecretsCommand, patience: float | None = None) -> tuple[Secrets, list[str]]:
    """All that a command prints, or what went wrong with it, in words that show none of what it printed.

    `patience`: seconds that it may take, PATIENCE where it is None.
    """
    try:
        process = subprocess.Popen(
            command.words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # what it starts ends with it
        )
    except OSError as error:
        return Secrets(), [f"{command}: cannot be run: {error.strerror}: install it, or correct its path"]
    try:
        printed, said, why = _read(process, PATIENCE if patience is None else patience)
    finally:
        _end(process)
    if why:
        return Secrets(), [f"{command}: {why}"]
    if process.returncode:
        return Secrets(), [f"{command}: {_failed(process.returncode, said)}"]
    return parse_secrets(str(command), printed)


def _failed(code: int, said: bytes) -> str:
    """How it ended, and why, where that is known; none of its own words."""
    how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
    text = " ".join(said.decode(errors="replace").lower().split())
    cause = next((words for pattern, words in CAUSES if re.search(pattern, text)), "")
    if code == NO_PROGRAM:
        cause = "it does not find a program that it calls"
    return (
        f"{how}, expected 0{f': {cause}' if cause else ''} (its own words may have a password in them): run it by hand"
    )


def _read(process: subprocess.Popen[bytes], patience: float) -> tuple[bytes, bytes, str]:
    """What it printed, the last that it said, and why it is given up; it has ended where that is empty."""
    deadline = time.monotonic() + patience
    late = f"has not ended within {patience:g} s: run it by hand and see what it waits for"
    printed, said = b"", b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
        selector.register(process.stderr, selectors.EVENT_READ)  # type: ignore[arg-type]
        while selector.get_map():
            ready = selector.select(max(deadline - time.monotonic(), 0))
            if not ready or time.monotonic() > deadline:  # one that never stops talking is always ready
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

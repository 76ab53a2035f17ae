"""Whether a process still is the one that was started, and the end of it: never of another one with its PID."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.lab.debian import LabError

KILL_TIMEOUT = 10  # seconds until a killed process must be gone
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # of whichever machine reads it

# A command prefix: the process records itself in FILE before it becomes the command, so none is ever unrecorded.
RECORDED = ("sh", "-c", f'cat "/proc/$$/stat" {BOOT_ID} > "$0" && exec "$@"')  # FILE and the command follow


@dataclass(frozen=True)
class Process:
    """A process that can be told from a later one with the same PID."""

    pid: int
    started: int  # clock ticks since boot
    boot: str

    @classmethod
    def read(cls, record: Path) -> Self | None:
        """The process that wrote `record`; None when there is none."""
        if not record.exists():
            return None
        stat, _, boot = record.read_text().rstrip().rpartition("\n")
        return cls(int(stat.split()[0]), _started(stat), boot) if stat else None

    @property
    def alive(self) -> bool:
        if self.boot != BOOT_ID.read_text().strip():
            return False
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return _started(stat) == self.started and _state(stat) not in "ZX"

    def kill(self) -> None:
        """The process is gone, at once and without a word to it; any other process stays."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            self._await_end()
        finally:
            os.close(handle)

    def _await_end(self) -> None:
        deadline = time.monotonic() + KILL_TIMEOUT
        while self.alive:
            if time.monotonic() > deadline:
                raise LabError(f"process {self.pid}: still there {KILL_TIMEOUT} s after SIGKILL, expected it gone")
            time.sleep(0.02)


def record_myself(record: Path) -> None:
    record.write_text(Path("/proc/self/stat").read_text() + BOOT_ID.read_text())


def _started(stat: str) -> int:
    """Field 22 of /proc/PID/stat, counted after the command name, which may hold spaces: proc(5)."""
    return int(stat.rpartition(")")[2].split()[19])


def _state(stat: str) -> str:
    return stat.rpartition(")")[2].split()[0]

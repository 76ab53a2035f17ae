"""What a difference is, and what the deploy can do about one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from tasks.catalogue.printable import printable

Subject = Literal[
    "package", "file", "unit", "kernel", "address", "listener", "setting", "acl", "instance", "persistence"
]


class Remedy(Enum):
    """What the deploy does about a difference, in the words that an operator reads."""

    INSTALL = "install"
    KEEP = "apt-mark manual"
    WRITE = "write"
    REMOVE = "remove"
    MASK = "mask"
    ENABLE = "enable"
    DISABLE = "stop and disable"
    RETIRE = "stop and remove, its data is kept"
    PURGE = "delete its data"
    ADOPT = "adopt"
    RELOAD = "reload systemd"
    START = "start"
    LIVE = "set live"
    REPLAY = "set live and in the file, before anything restarts"
    TO_LOG = "make the append-only log from the snapshot"
    TO_SNAPSHOT = "make the snapshot from the append-only log"
    ACCOUNT = "make the user"
    OWN = "give its data back to its user"
    REWRITE = "write the append-only log anew"
    ASIDE = "save a snapshot, then put the log aside"
    RESTART = "restart"
    LEAD = "load the inner port's rules"
    AFRESH = "start the exporter anew"
    RECORD = "record since when"
    PLACE = "put it there, and keep it there"
    LEAVE = "take it from there"
    FOLLOW = "let it follow its primary"
    RENEW = "set it aside, and copy what its primary has"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class ByHand:
    """A person removes the difference: `advice` says how."""

    advice: str

    def __str__(self) -> str:
        return f"by hand: {self.advice}"


@dataclass(frozen=True)
class RefusedRestart(ByHand):
    """A restart would remove the difference, and may not be made: `advice` says why, and what to do first."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be; passwords and their hashes never appear in it."""

    role: str | None
    subject: Subject
    name: str
    expected: str
    observed: str
    remedy: Remedy | ByHand

    @property
    def to_do(self) -> str:
        """How it is removed, by whomever."""
        return self.remedy.advice if isinstance(self.remedy, ByHand) else str(self.remedy)

    def __str__(self) -> str:
        return printable(self._words())

    def _words(self) -> str:
        where = f"{self.role}: " if self.role else ""
        if self.subject == "setting" and self.remedy in (Remedy.LIVE, Remedy.RESTART):
            how = "live" if self.remedy == Remedy.LIVE else "restart"
            return f"{where}{how}: {self.name} {self.observed} → {self.expected}"
        return f"{where}{self.subject} {self.name}: {self.observed} → {self.expected} ({self.remedy})"


def chosen(differences: Iterable[Difference], *subjects: Subject, remedy: Remedy | None = None) -> list[Difference]:
    """The differences of these subjects, and of this remedy when one is given."""
    return [item for item in differences if item.subject in subjects and (remedy is None or item.remedy == remedy)]

"""The shape of one thing that is not well, and the codes there are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

from tasks.catalogue.printable import printable

Severity = Literal["critical", "warning"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the worse one first


class Code(StrEnum):
    """What is not well, for alerts: none is ever renamed or given another meaning."""

    MEM_FULL = "MEM-FULL"  # nothing can be evicted and maxmemory is used up, or nearly
    WITHOUT_TTL = "WITHOUT-TTL"  # a full role that may evict only keys with a TTL has mostly others
    EVICTED = "EVICTED"  # keys were dropped that should have stayed
    WRITES_REFUSED = "WRITES-REFUSED"  # for want of memory or disk
    CLIENTS_FULL = "CLIENTS-FULL"  # maxclients is reached, or nearly
    REFUSED_CLIENTS = "REFUSED-CLIENTS"  # at maxclients
    BUFFERS = "BUFFERS"  # clients hold nearly as much memory as they may
    EVICTED_CLIENTS = "EVICTED-CLIENTS"  # cut off for that memory
    PASSWORDS_REFUSED = "PASSWORDS-REFUSED"  # somebody keeps logging in with a wrong one
    CRASHED = "CRASHED"  # systemd started it again by itself
    DISK_FULL = "DISK-FULL"  # no room for a rewrite, or less than the plan says
    DISK_SLOW = "DISK-SLOW"  # writes waited for fsync
    BACKUP_OLD = "BACKUP-OLD"  # no copy off the host that is recent enough, or none at all
    BACKUP_FAILED = "BACKUP-FAILED"  # the last try to make one, or to forget those that are too many
    PROOF_FAILED = "PROOF-FAILED"  # a copy could not be restored, or is not what was stored
    PROOF_OLD = "PROOF-OLD"  # nobody has tried for too long
    CERTIFICATE_ENDS = "CERTIFICATE-ENDS"  # what a connection with TLS needs has ended, or soon does
    TWO_SERVE = "TWO-SERVE"  # both hosts of a role take writes
    NONE_SERVES = "NONE-SERVES"  # neither host of a role does, and which of them would is not known
    STANDBY_DOWN = "STANDBY-DOWN"  # a role's standby does not replicate it
    STANDBY_LAG = "STANDBY-LAG"  # it does, and lacks more than it should
    PAIR_UNHEARD = "PAIR-UNHEARD"  # they are linked, and what is asked before a start gets no answer
    HOST_MEMORY = "HOST-MEMORY"  # the host has hardly any left


@dataclass(frozen=True)
class Health:
    """One thing that is not well: what was seen, where the limit is, and what a person can do about it."""

    role: str | None
    code: Code
    severity: Severity
    observed: str
    limit: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.role}: " if self.role else ""
        return printable(f"{where}{self.severity} {self.code}: {self.observed}, limit {self.limit}: {self.remedy}")

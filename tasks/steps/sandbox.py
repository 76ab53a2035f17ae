"""Sandbox: what has to be done with a role's files is a job in a sandbox like its unit's; root follows nothing there.

A role may put anything into its directory at any time (docs/decisions/0013-root-follows-no-role.md). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.compare.data_files import ALL_ROLES
from tasks.desired.host import Instance
from tasks.desired.paths import DATA_ROOT, data_directory, job_lock
from tasks.observed.script import script

# What of a unit is not its process' surroundings, or belongs to data that may not be there before the first start, or
# to a root of its own, in which there is no shell.
NOT_TRIED = (
    *("Type", "Timeout", "Exec", "Restart", "SetCredential", "RuntimeDirectory", "StateDirectory"),
    *("BindPaths", "ReadWritePaths", f"NoExecPaths=+{DATA_ROOT}/"),
    *("RootDirectory", "WorkingDirectory", "MountAPIVFS", "BindReadOnlyPaths", "ReadOnlyPaths"),
)
# Beside the server a shell and what it calls, in the language that scripts read.
TOOLS = ("ExecPaths=/usr/bin /usr/sbin /usr/lib /lib", "Environment=LC_ALL=C", "Environment=PATH=/usr/sbin:/usr/bin")
# Of a job that gives files to a role: root's own user, with the right to do that and to find them, and no other.
AS_USER = ("User=", "Group=", "PrivateUsers=", "CapabilityBoundingSet=", "AmbientCapabilities=", "SystemCallFilter=")
AS_OWNER = (
    "CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_DAC_READ_SEARCH",
    "SystemCallFilter=@system-service",
)


def sandbox(instance: Instance) -> list[str]:
    """The lines of an instance's unit that say what its process may do, as properties of another unit."""
    service = instance.unit_text.partition("[Service]\n")[2].partition("\n[Install]")[0]
    lines = [line for line in service.splitlines() if line and not line.startswith("#")]
    return [line for line in lines if line.startswith("ExecPaths=") or not line.startswith(NOT_TRIED)]


def job_sandbox(instance: Instance, as_owner: bool = False) -> list[str]:
    """The properties of a job with an instance's files: those of its unit, the same directory, and a shell.

    `as_owner`: as root, with the one right to give files to its user.
    """
    directory = data_directory(instance.name)
    lines = [*sandbox(instance), *TOOLS, f"BindPaths={directory}", f"ReadWritePaths=+{directory}"]
    lines.append(f"NoExecPaths=+{directory}")
    return [line for line in lines if not line.startswith(AS_USER)] + [*AS_OWNER] if as_owner else lines


def as_role(
    instance: Instance,
    job: str,
    patience: int,
    *,
    as_owner: bool = False,
    stopped: str = "",
    source: str = "",
    reader: Sequence[str] = (),
) -> str:
    """Shell that runs `job`, a script, as the role's user in a sandbox in which it sees and writes its data only.

    Where its directory still belongs to the user that all roles once had, as that one. It ends within `patience`
    seconds and prints the last 4 KiB of what it said. `stopped`: a unit that does not run then. `source`: a file that
    the job reads on standard input, opened by `reader`, words of setpriv.
    """
    return script(
        "as-role",
        unit=f"redis-job-{instance.name}.service",
        run=f"/run/redis-job-{instance.name}",
        lock=job_lock(instance.name),
        directory=data_directory(instance.name),
        sandbox="\n".join(job_sandbox(instance, as_owner)),
        all_roles="" if as_owner else ALL_ROLES,
        job=job,
        patience=patience,
        stopped=stopped,
        source=source,
        reader=reader,
    )


def reader_words(runs_as: str) -> list[str]:
    """What setpriv is told to become the user of an old server: `UID:GID:GROUP GROUP …` (tasks/observed/marker.py).

    Raises ValueError for anything else.
    """
    match = re.fullmatch("([0-9]+):([0-9]+):([0-9 ]*)", runs_as)
    if match is None:
        raise ValueError(f"{runs_as!r}: expected the numbers of a user and of groups")
    groups = ",".join(match[3].split())
    return [f"--reuid={match[1]}", f"--regid={match[2]}", f"--groups={groups}" if groups else "--clear-groups"]

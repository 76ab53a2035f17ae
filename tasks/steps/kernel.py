"""Kernel: overcommit, accept backlog and huge pages as Redis needs them, now and after a reboot."""

from __future__ import annotations

from tasks.compare.difference import chosen
from tasks.desired.paths import SYSCTL_FILE, THP_FILE
from tasks.run.survey import Look
from tasks.steps.install import files_of
from tasks.steps.operations import run_commands, write_files

KERNEL_FILES = (SYSCTL_FILE, THP_FILE)


def tune_kernel(seen: Look) -> None:
    """The kernel's values are set and persisted; in a container, whose kernel is another host's, nothing is done."""
    files = files_of(seen, KERNEL_FILES)
    if files:
        write_files(name="Write the kernel's settings", files=files)
    if files or chosen(seen.differences, "kernel"):
        run_commands(
            name="Apply the kernel's settings",
            commands=[f"sysctl --quiet --load={SYSCTL_FILE}", f"systemd-tmpfiles --create {THP_FILE}"],
        )

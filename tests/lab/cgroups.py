"""A cgroup per lab host: it names exactly the processes that the lab started, so no other can be ended."""

import errno
import time
from pathlib import Path

from tests.lab.debian import LabError

END_TIMEOUT = 20  # seconds from cgroup.kill to the last process being gone


def create(name: str) -> Path:
    """The unified cgroup `name` (a path such as LAB/HOST) exists."""
    group = _unified() / name
    group.mkdir(parents=True, exist_ok=True)
    return group


def path(name: str) -> Path:
    return _unified() / name


def populated(group: Path) -> bool:
    """Whether a live process is left in `group` or below it."""
    try:
        return "populated 1" in (group / "cgroup.events").read_text()
    except FileNotFoundError:
        return False


def kill(group: Path) -> None:
    """No process is left in `group` or below it: ended by the kernel at once, as by a power cut."""
    if populated(group):
        (group / "cgroup.kill").write_text("1")
    if not emptied(group, END_TIMEOUT):
        raise LabError(f"cgroup {group}: processes left {END_TIMEOUT} s after cgroup.kill: see its cgroup.procs")


def emptied(group: Path, timeout: float) -> bool:
    """Whether `group` runs empty within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while populated(group):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def remove(name: str) -> None:
    """The cgroup `name` is gone, with every process in it."""
    deadline = time.monotonic() + END_TIMEOUT
    while True:
        kill(path(name))
        try:
            _remove_directories(name)
        except OSError as error:  # a process that was just being started came in after the kill
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        else:
            return


def _remove_directories(name: str) -> None:
    """systemd-nspawn mirrors the cgroup in the version 1 hierarchy, where there is one."""
    for hierarchy in _hierarchies().values():
        top = hierarchy / name
        below = sorted((found for found in top.rglob("*") if found.is_dir()), reverse=True)
        for group in [*below, top] if top.exists() else []:
            group.rmdir()


def leader(group: Path) -> int | None:
    """PID of the init process that systemd-nspawn runs in `group`; None while there is none."""
    try:
        pids = (group / "payload/init.scope/cgroup.procs").read_text().split()
    except FileNotFoundError:  # not started yet, or gone
        return None
    return next((int(pid) for pid in pids if _is_init(pid)), None)


def _is_init(pid: str) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(line.startswith("NSpid:") and line.endswith("\t1") for line in status.splitlines())


def _unified() -> Path:
    try:
        return _hierarchies()["unified"]
    except KeyError:
        raise LabError("cgroups: no cgroup version 2 mounted, expected one: mount it, or use the VM lab") from None


def _hierarchies() -> dict[str, Path]:
    """Mount points by hierarchy: `unified`, and `systemd` where version 1 is in use beside it."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.split(" ", 2)
        if kind == "cgroup2":
            found["unified"] = Path(mount.split()[4])
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            found["systemd"] = Path(mount.split()[4])
    return found

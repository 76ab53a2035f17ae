"""Which labs exist on this machine, and how one is removed by its name, also when its owner was killed."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab import cgroups
from tests.lab.debian import cache_dir, locked
from tests.lab.layouts import HostSpec

PREFIX = "caaslab-"


@dataclass(frozen=True)
class Owner:
    """The process whose end is the lab's end. The start time tells it from a later one with the same PID."""

    pid: int
    started: int  # clock ticks since boot


@dataclass(frozen=True)
class Record:
    """One lab, as any process on this machine can find it. Without an owner it stays until `down`."""

    name: str
    hosts: tuple[HostSpec, ...]
    owner: Owner | None

    @property
    def directory(self) -> Path:
        return _labs() / self.name

    @property
    def file(self) -> Path:
        return _labs() / f"{self.name}.json"

    @property
    def netns(self) -> Path:
        return Path("/run/netns") / self.name


def myself() -> Owner:
    return Owner(os.getpid(), _started(os.getpid()) or 0)


def write(record: Record) -> None:
    """The record is on disk, whole: before the first thing of its lab is made."""
    record.file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = record.file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(asdict(record), indent=1))
    unfinished.rename(record.file)


def all_records() -> list[Record]:
    """Every lab of this machine, by name."""
    found = (_read(file) for file in sorted(_labs().glob(f"{PREFIX}*.json")))
    return [record for record in found if record]


def abandoned(records: Sequence[Record]) -> list[Record]:
    """Labs whose owner ended without removing them."""
    return [record for record in records if record.owner and _started(record.owner.pid) != record.owner.started]


def remove_abandoned() -> list[Record]:
    """Nothing is left of the labs whose owner was killed: they are returned. Two runs may do this at once."""
    with locked(_labs() / "abandoned"):
        found = abandoned(all_records())
        for record in found:
            remove(record)
    return found


def remove(record: Record) -> None:
    """Nothing of the lab is left: no process, mount, cgroup, namespace or file; the record goes last."""
    cgroups.remove(record.name)
    for mount in _mounts_below(record.directory):
        subprocess.run(["umount", "--lazy", mount], check=True)
    if record.netns.exists():
        subprocess.run(["ip", "netns", "delete", record.name], check=True)
    for spec in record.hosts:
        shutil.rmtree(Path("/run/systemd/nspawn/propagate") / machine(record, spec), ignore_errors=True)
    if record.directory.exists():
        shutil.rmtree(record.directory)
    record.file.unlink(missing_ok=True)


def machine(record: Record, spec: HostSpec) -> str:
    """systemd-nspawn's name of the host: two labs may both have a redis-gateway."""
    return f"{record.name}-{spec.name}"


def _labs() -> Path:
    return cache_dir() / "labs"


def _read(file: Path) -> Record | None:
    """The record in `file`; None when its lab ended meanwhile."""
    try:
        data = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    hosts = tuple(HostSpec(host["name"], tuple(host["addresses"]), host["suite"]) for host in data["hosts"])
    return Record(data["name"], hosts, Owner(**data["owner"]) if data["owner"] else None)


def _started(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, counted after the command name, which may hold spaces: proc(5)."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _mounts_below(directory: Path) -> list[Path]:
    """Mount points below `directory`, deepest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4].replace("\\040", " ")) for line in lines]
    return sorted((point for point in points if directory in point.parents), reverse=True)

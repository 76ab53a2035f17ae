"""Observed state: what one snapshot and one exchange per instance say of a host, parsed and typed.

The snapshot's text comes from tasks/observe.py; nothing here decides what is right.
"""

from __future__ import annotations

import base64
import io
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

PART = "@@ "  # opens a part of the snapshot's output


@dataclass(frozen=True)
class FileState:
    """A file as tar saw it: `kind` is file, directory, link or other; a link's content is its target."""

    kind: str
    owner: str
    group: str
    mode: str
    content: str


@dataclass(frozen=True)
class Listener:
    """A TCP socket that listens: `address` as ss prints it, without brackets or interface."""

    address: str
    port: int
    process: str
    pid: int


@dataclass(frozen=True)
class Process:
    """The main process of a unit: its binary and its THP flag."""

    executable: str
    thp_enabled: str


@dataclass(frozen=True)
class Server:
    """What a running instance answered its operator at `endpoint`, or in `refusal` why it did not."""

    refusal: str | None = None
    endpoint: tuple[str, int] = ("", 0)
    config: Mapping[str, str] = field(default_factory=dict)
    info: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    categories: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """One host at one moment. Sizes in bytes."""

    os: Mapping[str, str]
    systemd: bool
    container: str
    uid: int
    memory: int
    packages: Mapping[str, str]
    candidate: str
    disk_free: int
    data_used: Mapping[str, int]
    addresses: frozenset[str]
    listeners: tuple[Listener, ...]
    sysctls: Mapping[str, str]
    thp: str
    boot_sysctls: Mapping[str, tuple[str, str]]
    boot_thp: Mapping[str, str]
    our_units: tuple[str, ...]
    units: Mapping[str, Mapping[str, str]]
    processes: Mapping[int, Process]
    started: Mapping[str, str]
    files: Mapping[str, FileState]
    forwards: frozenset[tuple[str, str, int, str]]
    statoverrides: Mapping[str, str]
    data_files: Mapping[str, int]
    servers: Mapping[str, Server] = field(default_factory=dict)

    def unit(self, name: str) -> Mapping[str, str]:
        """systemd's properties of a unit; those of one that does not exist when it was not seen."""
        return self.units.get(name, {"LoadState": "not-found", "ActiveState": "inactive", "MainPID": "0"})

    def is_active(self, unit: str) -> bool:
        """Whether the unit's main process runs."""
        return self.unit(unit)["ActiveState"] in ("active", "reloading", "activating") and self.pid(unit) > 0

    def pid(self, unit: str) -> int:
        """Process id of a unit's main process, 0 when there is none."""
        return int(self.unit(unit).get("MainPID") or 0)


def parse_snapshot(lines: Iterable[str]) -> Observed:
    """The state in a snapshot's output. Raises ValueError when the snapshot is incomplete."""
    parts = _parts(lines)
    if "end" not in parts:
        raise ValueError("the snapshot is cut off")
    facts = _pairs(parts["facts"])
    return Observed(
        os=_pairs(parts["os"]),
        systemd=facts.get("systemd") == "yes",
        container=facts.get("container", ""),
        uid=int(facts["uid"]),
        memory=int(facts["memory"]) * 1024,
        packages=_packages(parts["packages"]),
        candidate=_candidate(parts["candidate"]),
        disk_free=int(parts["disk"][-1].split()[3]) * 1024,
        data_used={path: int(size) * 1024 for size, path in (line.split(None, 1) for line in parts["used"])},
        addresses=frozenset(re.findall(r" inet ([\d.]+)", "\n".join(parts["addresses"]))),
        listeners=tuple(filter(None, map(_listener, parts["listeners"]))),
        sysctls=_sysctls(parts["kernel"]),
        thp=next((line.partition(":")[2] for line in parts["kernel"] if line.startswith("/sys/")), ""),
        boot_sysctls=_boot_sysctls(parts["boot"]),
        boot_thp=dict(_boot_thp(parts["boot"])),
        our_units=tuple(sorted(line.rsplit("/", 1)[1] for line in parts["ours"])),
        units=_units(parts["units"]),
        processes=_processes(parts["processes"]),
        started=_started(parts["started"]),
        files=_files("".join(parts["files"])),
        forwards=frozenset(_forwards(parts["forwards"])),
        statoverrides=_statoverrides(parts["statoverrides"]),
        data_files={path: int(size) for size, path in (line.split(" ", 1) for line in parts["data"])},
    )


def _parts(lines: Iterable[str]) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        if line.startswith(PART):
            current = parts.setdefault(line.removeprefix(PART), [])
        else:
            current.append(line)
    return parts


def _pairs(lines: Sequence[str]) -> dict[str, str]:
    split = (line.split("=", 1) for line in lines if "=" in line)
    return {key: value.strip('"') for key, value in split}


def _packages(lines: Sequence[str]) -> dict[str, str]:
    rows = (line.split() for line in lines)
    return {row[0]: row[1] for row in rows if len(row) == 3 and row[2] == "installed"}


def _candidate(lines: Sequence[str]) -> str:
    found = [line.split(":", 1)[1].strip() for line in lines if line.strip().startswith("Candidate:")]
    return found[0] if found and found[0] != "(none)" else ""


def _sysctls(lines: Sequence[str]) -> dict[str, str]:
    """Lines `/proc/sys/vm/overcommit_memory:1` by the name sysctl gives them, white space made single blanks."""
    found = (line.removeprefix("/proc/sys/").partition(":") for line in lines if line.startswith("/proc/sys/"))
    return {path.replace("/", "."): " ".join(value.split()) for path, _, value in found}


def _boot_sysctls(lines: Sequence[str]) -> dict[str, tuple[str, str]]:
    """name → (value, file) as systemd-sysctl sets it at boot: by file name, the last assignment wins.

    A file in /etc hides one of the same name elsewhere (sysctl.d(5)).
    """
    rows = []
    for line in lines:
        path, _, text = line.partition(":")
        if "/sysctl.d/" in path:
            directory, _, name = path.rpartition("/")
            key, _, value = text.partition("=")
            rows.append((name, directory, key.strip().lstrip("-").replace("/", "."), " ".join(value.split()), path))
    in_etc = {name for name, directory, *_ in rows if directory == "/etc/sysctl.d"}
    rows = [row for row in rows if row[1] == "/etc/sysctl.d" or row[0] not in in_etc]
    return {key: (value, path) for _, _, key, value, path in sorted(rows, key=lambda row: row[0])}


def _boot_thp(lines: Sequence[str]) -> Iterable[tuple[str, str]]:
    """(file, value) of every tmpfiles.d line that sets transparent huge pages at boot."""
    for line in lines:
        path, _, text = line.partition(":")
        if "/tmpfiles.d/" in path:
            yield path, text.split()[-1]


def _listener(line: str) -> Listener | None:
    words = line.split()
    if len(words) < 4:
        return None
    address, _, port = words[3].rpartition(":")
    process = re.search(r'\(\("([^"]*)",pid=(\d+)', line)
    name, pid = (process[1], int(process[2])) if process else ("", 0)
    return Listener(address.split("%")[0].strip("[]"), int(port), name, pid)


def _units(lines: Sequence[str]) -> dict[str, dict[str, str]]:
    units: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in [*lines, ""]:
        key, found, value = line.partition("=")
        if found:
            current[key] = value
        elif current:
            units[current.pop("Id")] = current
            current = {}
    return units


def _processes(lines: Sequence[str]) -> dict[int, Process]:
    """Lines `/proc/PID/exe PATH` and `/proc/PID/status:THP_enabled: N`."""
    found: dict[int, dict[str, str]] = {}
    for line in lines:
        if match := re.match(r"/proc/(\d+)/(exe|status)[ :](?:THP_enabled:\s*)?(.*)", line):
            found.setdefault(int(match[1]), {})[match[2]] = match[3]
    return {pid: Process(facts.get("exe", ""), facts.get("status", "")) for pid, facts in found.items()}


def _started(lines: Sequence[str]) -> dict[str, str]:
    """Lines `/run/credentials/UNIT/unit-digest:DIGEST` by unit."""
    found = (line.removeprefix("/run/credentials/").partition("/unit-digest:") for line in lines)
    return {unit: digest for unit, separator, digest in found if separator}


def _files(text: str) -> dict[str, FileState]:
    if not text:
        return {}
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(text)), mode="r:*") as archive:
        return {f"/{entry.name.lstrip('/')}".rstrip("/"): _file(archive, entry) for entry in archive}


def _file(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> FileState:
    kind = "file" if entry.isreg() else "directory" if entry.isdir() else "link" if entry.issym() else "other"
    reader = archive.extractfile(entry) if entry.isreg() else None
    content = reader.read().decode(errors="replace") if reader else entry.linkname
    return FileState(kind, entry.uname or str(entry.uid), entry.gname or str(entry.gid), f"{entry.mode:04o}", content)


_RULE = re.compile(r"ip daddr ([\d.]+) tcp dport (\d+) dnat to ([\d.]+:\d+)")


def _forwards(lines: Sequence[str]) -> Iterable[tuple[str, str, int, str]]:
    """(chain, address, inner port, target) of every rule in our table; a rule of another form counts as one."""
    chain = ""
    for line in map(str.strip, lines):
        if match := re.match(r"chain (\S+) \{", line):
            chain = match[1]
        elif match := _RULE.fullmatch(line):
            yield chain, match[1], int(match[2]), match[3]
        elif line and line != "}" and not line.startswith(("table ", "type nat hook")):
            yield chain, line, 0, ""


def _statoverrides(lines: Sequence[str]) -> dict[str, str]:
    rows = (line.rsplit(" ", 1) for line in lines if line.count(" ") == 3)
    return {path: rule for rule, path in rows}

"""Read the output of the host snapshot (tasks/observe.py) into typed observed state; nothing here decides."""

from __future__ import annotations

import base64
import io
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.desired import LOCK_FILE
from tasks.observed import FileState, Listener, Observed, Process

PART = "@@ "  # opens a part of the snapshot's output
MARK = "CAAS Redis repository"  # what a file says that this repository has written
THP = "/sys/kernel/mm/transparent_hugepage/enabled"

Texts = Mapping[str, Sequence[str]]  # path → lines of it, as grep found them


def parse_snapshot(lines: Iterable[str]) -> Observed:
    """The state in a snapshot's output. Raises ValueError when the snapshot is incomplete."""
    parts = _parts(lines)
    if "end" not in parts:
        raise ValueError("the snapshot is cut off")
    values = _texts(parts["values"])
    matches = _texts(parts["matches"])
    found = [_found(line) for line in parts["found"]]
    units = _units(parts["units"])
    return Observed(
        os=_pairs(values.get("/etc/os-release", [])),
        systemd="systemd=yes" in parts["facts"],
        container=_value(values, "/run/systemd/container"),
        uid=int(_named(matches, "/proc/self/status", "Uid").split()[1]),  # the effective one
        memory=int(_named(matches, "/proc/meminfo", "MemTotal").split()[0]) * 1024,
        packages=_packages(parts["packages"]),
        candidate=_candidate(parts["candidate"]),
        disk_free=int(parts["disk"][-1].split()[3]) * 1024,
        data_used=_used(found),
        addresses=frozenset(re.findall(r" inet ([\d.]+)", "\n".join(parts["addresses"]))),
        listeners=tuple(filter(None, map(read_listener, parts["listeners"]))),
        sysctls=_sysctls(values),
        thp=_value(values, THP),
        boot_sysctls=_boot_sysctls(matches),
        boot_thp=dict(_boot_thp(matches)),
        our_units=tuple(sorted(_our_units(matches))),
        units=units,
        processes=_processes(units, matches, found),
        started=_started(values),
        files=_files("".join(parts["files"])),
        forwards=frozenset(_forwards(_tables(parts["forwards"]).get(OUR_TABLE, []))),
        foreign_forwards=tuple(_foreign_forwards(_tables(parts["forwards"]))),
        statoverrides=_statoverrides(values.get("/var/lib/dpkg/statoverride", [])),
        last_deploy=_value(values, LOCK_FILE),
        data_files={item.path: item.size for item in found if item.kind == "f" and item.depth <= 2},
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


def _texts(lines: Iterable[str]) -> dict[str, list[str]]:
    """Lines `PATH:TEXT`, as grep prints them, by path."""
    texts: dict[str, list[str]] = {}
    for line in lines:
        path, _, text = line.partition(":")
        texts.setdefault(path, []).append(text)
    return texts


def _value(texts: Texts, path: str) -> str:
    """The first line of a file, empty when there is none."""
    return next(iter(texts.get(path, [])), "")


def _named(texts: Texts, path: str, name: str) -> str:
    """The value of a file's line `NAME: VALUE`, empty when there is none."""
    rows = (text.partition(":") for text in texts.get(path, []))
    return next((value.strip() for key, _, value in rows if key == name), "")


@dataclass(frozen=True)
class _Found:
    """What find says of a file below `top`, a directory that was asked for; `blocks` of 512 bytes."""

    kind: str
    depth: int
    size: int
    blocks: int
    inode: str
    top: str
    path: str
    target: str


def _found(line: str) -> _Found:
    kind, depth, size, blocks, inode, top, rest = line.split(" ", 6)
    path, _, target = rest.rpartition("\t")
    return _Found(kind, int(depth), int(size), int(blocks), inode, top, path, target)


def _used(found: Iterable[_Found]) -> dict[str, int]:
    """Bytes on disk by directory; a file with several names counts once, as du counts it."""
    files = {(item.top, item.inode): item.blocks for item in found if not item.top.startswith("/proc/")}
    used: Counter[str] = Counter()
    for (top, _), blocks in files.items():
        used[top] += blocks * 512
    return dict(used)


def _sysctls(values: Texts) -> dict[str, str]:
    """The files below /proc/sys by the name that sysctl gives them, white space made single blanks."""
    root = "/proc/sys/"
    found = {path.removeprefix(root): lines[0] for path, lines in values.items() if path.startswith(root)}
    return {path.replace("/", "."): " ".join(value.split()) for path, value in found.items()}


def _boot_sysctls(matches: Texts) -> dict[str, tuple[str, str]]:
    """name → (value, file) as systemd-sysctl sets it at boot: by file name, the last assignment wins.

    A file in /etc hides one of the same name elsewhere (sysctl.d(5)).
    """
    rows = []
    for path, text in _lines_below("sysctl.d", matches):
        directory, _, name = path.rpartition("/")
        key, assigned, value = text.partition("=")
        if assigned and not re.search("[#;]", key):
            rows.append((name, directory, key.strip().lstrip("-").replace("/", "."), " ".join(value.split()), path))
    in_etc = {name for name, directory, *_ in rows if directory == "/etc/sysctl.d"}
    rows = [row for row in rows if row[1] == "/etc/sysctl.d" or row[0] not in in_etc]
    return {key: (value, path) for _, _, key, value, path in sorted(rows, key=lambda row: row[0])}


def _boot_thp(matches: Texts) -> Iterable[tuple[str, str]]:
    """(file, value) of every tmpfiles.d line that sets transparent huge pages at boot."""
    for path, text in _lines_below("tmpfiles.d", matches):
        if "/transparent_hugepage/enabled" in text and not text.startswith("#"):
            yield path, text.split()[-1]


def _lines_below(directory: str, texts: Texts) -> Iterable[tuple[str, str]]:
    return ((path, text) for path, lines in texts.items() if f"/{directory}/" in path for text in lines)


def _our_units(matches: Texts) -> Iterable[str]:
    """Names of the units of Redis that this repository has written."""
    for path, lines in matches.items():
        if path.startswith("/etc/systemd/system/") and any(MARK in text for text in lines):
            yield path.rpartition("/")[2]


def read_listener(line: str) -> Listener | None:
    """One line of `ss -Hltnp`."""
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


def _processes(units: Mapping[str, Mapping[str, str]], matches: Texts, found: Iterable[_Found]) -> dict[int, Process]:
    """The main processes of units; one that is gone meanwhile has no binary and no flag."""
    binaries = {item.path: item.target for item in found}
    pids = {int(properties.get("MainPID") or 0) for properties in units.values()} - {0}
    return {
        pid: Process(binaries.get(f"/proc/{pid}/exe", ""), _named(matches, f"/proc/{pid}/status", "THP_enabled"))
        for pid in pids
    }


def _started(values: Texts) -> dict[str, str]:
    """The digest that a unit was started with, from `/run/credentials/UNIT/unit-digest`."""
    return {path.split("/")[3]: lines[0] for path, lines in values.items() if path.endswith("/unit-digest")}


def _files(text: str) -> dict[str, FileState]:
    if not text:
        return {}
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(text)), mode="r:*") as archive:
        return {f"/{entry.name.lstrip('/')}".rstrip("/"): _file(archive, entry) for entry in archive}


def _file(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> FileState:
    kind = "file" if entry.isreg() else "directory" if entry.isdir() else "link" if entry.issym() else "other"
    reader = archive.extractfile(entry) if entry.isreg() else None
    content = reader.read().decode(errors="replace") if reader else entry.linkname
    return FileState(
        kind,
        entry.uname or str(entry.uid),
        entry.gname or str(entry.gid),
        f"{entry.mode:04o}",
        content,
        int(entry.mtime),
    )


OUR_TABLE = "redis_inner_port"


def _tables(lines: Sequence[str]) -> dict[str, list[str]]:
    """The lines of `nft list ruleset ip` by table."""
    tables: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        if match := re.match(r"table ip (\S+) \{", line):
            current = tables.setdefault(match[1], [])
        else:
            current.append(line.strip())
    return tables


def _foreign_forwards(tables: Mapping[str, Sequence[str]]) -> Iterable[tuple[str, str]]:
    """(table, rule) of every rule outside our table that leads connections elsewhere."""
    for table, lines in tables.items():
        if table != OUR_TABLE:
            yield from ((table, line) for line in lines if re.search(r"dport .*\b(dnat to|redirect)\b", line))


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

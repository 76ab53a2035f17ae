"""Read the output of the host snapshot (tasks/observed/look.py) into typed observed state; nothing here decides."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.desired.paths import CONFIG_DIRECTORY, DATA_ROOT, LOCK_FILE
from tasks.observed.nft import OUR_TABLE, foreign_forwards, forwards, tables
from tasks.observed.state import FileState, Listener, Observed

PART = "@@ "  # opens a part of the snapshot's output
PACKAGES = ("redis-server", "redis-tools", "nftables")
MARK = "CAAS Redis repository"  # what a file says that this repository has written
THP = "/sys/kernel/mm/transparent_hugepage/enabled"
UNREADABLE = "(and more that is no UTF-8 text)"  # ends the content of a file that was not read whole

Texts = Mapping[str, Sequence[str]]  # path → lines of it, as grep found them


def decode(output: Iterable[str]) -> list[str]:
    """The lines of a snapshot from what the host prints. Raises ValueError when that is something else."""
    return base64.b64decode("".join(output), validate=True).decode(errors="replace").removesuffix("\n").split("\n")


def parse_snapshot(lines: Iterable[str]) -> Observed:
    """The state in a snapshot's lines. Raises ValueError when the snapshot is incomplete."""
    parts = _parts(lines)
    if "end" not in parts:
        raise ValueError("the snapshot is cut off")
    texts = _texts(parts["texts"])
    matches = _texts(parts["matches"])
    found = [_found(line) for line in parts["found"]]
    units = _units(parts["units"])
    digests = dict(line.split("  ", 1)[::-1] for line in parts["digests"])
    return Observed(
        os=_pairs(texts.get("/etc/os-release", [])),
        systemd="systemd=yes" in parts["facts"],
        container=_value(texts, "/run/systemd/container"),
        uid=int(_named(matches, "/proc/self/status", "Uid").split()[1]),  # the effective one
        memory=int(_named(matches, "/proc/meminfo", "MemTotal").split()[0]) * 1024,
        packages=_packages(parts["packages"]),
        candidate=_candidate(parts["candidate"]),
        disk_free=int(parts["disk"][-1].split()[3]) * 1024,
        data_used=_used(found),
        addresses=frozenset(_addresses(texts.get("/proc/net/fib_trie", []))),
        listeners=tuple(filter(None, map(read_listener, parts["listeners"]))),
        sysctls=_sysctls(texts),
        thp=_value(texts, THP),
        boot_sysctls=_boot_sysctls(matches),
        boot_thp=dict(_boot_thp(matches)),
        our_units=tuple(sorted(_our_units(matches))),
        units=units,
        binaries=_binaries(units, found),
        started=_started(texts),
        files={item.path: _file(item, texts, digests) for item in found if item.is_asked_for},
        forwards=frozenset(forwards(tables(parts["forwards"]).get(OUR_TABLE, []))),
        foreign_forwards=tuple(foreign_forwards(tables(parts["forwards"]))),
        statoverrides=_statoverrides(texts.get("/var/lib/dpkg/statoverride", [])),
        last_deploy=_value(texts, LOCK_FILE),
        replayable=frozenset(parts["replayable"]),
        acl_users={path: frozenset(map(_second, lines)) for path, lines in _texts(parts["users"]).items()},
        configured=dict(_configured(matches)),
        data_files={item.path: item.size for item in found if item.is_data and item.depth <= 2},
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
    """Versions of installed packages from stanzas of dpkg's database; a later one of a package replaces the earlier."""
    packages: dict[str, str] = {}
    name, installed = "", False
    for key, _, value in (line.partition(": ") for line in lines):
        if key == "Package":
            name, installed = value, False
        elif key == "Status" and name in PACKAGES:
            packages.pop(name, None)
            installed = value.split()[-1] == "installed"
        elif key == "Version" and installed:
            packages[name] = value
    return packages


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
    """What find says of a file at or below `top`, a path that was asked for; `blocks` of 512 bytes."""

    kind: str
    depth: int
    size: int
    blocks: int
    inode: str
    owner: str
    group: str
    mode: str
    modified: int
    top: str
    path: str
    target: str

    @property
    def is_asked_for(self) -> bool:
        return self.depth == 0 and not self.path.startswith("/proc/")

    @property
    def is_data(self) -> bool:
        return self.kind == "f" and self.top.startswith(f"{DATA_ROOT}/")


def _found(line: str) -> _Found:
    kind, depth, size, blocks, inode, owner, group, mode, modified, top, rest = line.split(" ", 10)
    path, _, target = rest.rpartition("\t")
    seconds = int(modified.split(".")[0])
    return _Found(kind, int(depth), int(size), int(blocks), inode, owner, group, mode, seconds, top, path, target)


def _used(found: Iterable[_Found]) -> dict[str, int]:
    """Bytes on disk by data directory; a file with several names counts once, as du counts it."""
    files = {(item.top, item.inode): item.blocks for item in found if item.top.startswith(f"{DATA_ROOT}/")}
    used: Counter[str] = Counter()
    for (top, _), blocks in files.items():
        used[top] += blocks * 512
    return dict(used)


KINDS = {"f": "file", "d": "directory", "l": "link"}


def _file(item: _Found, texts: Texts, digests: Mapping[str, str]) -> FileState:
    content = item.target
    if item.kind == "f":
        content = digests.get(item.path) or _content(texts.get(item.path, []), item.size)
    mode = f"{int(item.mode, 8):04o}"
    return FileState(KINDS.get(item.kind, "other"), item.owner, item.group, mode, content, item.modified)


def _content(lines: Sequence[str], size: int) -> str:
    """The text of a file from its lines: its size tells whether the last one ends, and whether none is missing."""
    text = "".join(f"{line}\n" for line in lines)
    length = len(text.encode())
    if length - size in (0, 1):
        return text[: len(text) - (length - size)]
    return text + UNREADABLE


def _addresses(trie: Iterable[str]) -> Iterable[str]:
    """The host's own addresses: leaves of the kernel's routes that are local, each by itself (not all of 127/8)."""
    leaf = ""
    for line in map(str.strip, trie):
        if line.startswith("|-- "):
            leaf = line.removeprefix("|-- ")
        elif line == "/32 host LOCAL":
            yield leaf


def _sysctls(texts: Texts) -> dict[str, str]:
    """The files below /proc/sys by the name that sysctl gives them, white space made single blanks."""
    root = "/proc/sys/"
    found = {path.removeprefix(root): lines[0] for path, lines in texts.items() if path.startswith(root)}
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


def _second(line: str) -> str:
    return line.split()[1]


def _configured(matches: Texts) -> Iterable[tuple[str, tuple[str, int]]]:
    """Where roles listen by their configuration files, one address each; of others' files nothing."""
    for path, lines in matches.items():
        said = dict(text.split(maxsplit=1) for text in lines if text.startswith(("bind ", "port ")))
        if path.startswith(f"{CONFIG_DIRECTORY}/") and said.get("port", "").isdigit() and said.get("bind"):
            yield path.rpartition("/")[2].removesuffix(".conf"), (said["bind"].split()[0], int(said["port"]))


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
    """systemctl gives every service the same properties: one that comes again begins the next unit."""
    units: list[dict[str, str]] = [{}]
    for key, found, value in (line.partition("=") for line in lines):
        if key in units[-1]:
            units.append({})
        if found:
            units[-1][key] = value
    return {unit.pop("Id"): unit for unit in units if unit}


def _binaries(units: Mapping[str, Mapping[str, str]], found: Iterable[_Found]) -> dict[int, str]:
    """What the main processes of units execute; of one that is gone meanwhile, nothing."""
    targets = {item.path: item.target for item in found}
    pids = {int(properties.get("MainPID") or 0) for properties in units.values()} - {0}
    return {pid: targets.get(f"/proc/{pid}/exe", "") for pid in pids}


def _started(texts: Texts) -> dict[str, str]:
    """The digest that a unit was started with, from `/run/credentials/UNIT/unit-digest`."""
    return {path.split("/")[3]: lines[0] for path, lines in texts.items() if path.endswith("/unit-digest")}


def _statoverrides(lines: Sequence[str]) -> dict[str, str]:
    rows = (line.rsplit(" ", 1) for line in lines if line.count(" ") == 3)
    return {path: rule for rule, path in rows}

"""Read the look at a host (templates/scripts/look.sh) into typed observed state; nothing here decides."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tasks.catalogue.printable import excerpt
from tasks.catalogue.roles import ROLE_NAME
from tasks.desired.paths import CONFIG_DIRECTORY, DATA_ROOT, LOCK_FILE, METRICS_UNIT, PROVER
from tasks.observed.bounds import PROGRAM
from tasks.observed.listeners import read_listeners
from tasks.observed.nft import OUR_TABLE, fences, forwards, legacy_takings, owner, read_rules, takings
from tasks.observed.records import Unreadable, lines_of, matching, number, read_records, split_parts
from tasks.observed.state import FileState, FileUser, Observed, Unseen

T = TypeVar("T")

PARTS = (
    *("facts", "packages", "candidate", "disk", "listeners", "units"),
    *("texts", "digests", "users", "replayable", "matches", "found", "forwards", "legacy", "heard", "unseen"),
)
PACKAGES = ("redis-server", "redis-tools", "nftables", "restic", "iputils-arping", "prometheus-redis-exporter")
MANAGED = "CAAS Redis repository"  # what a file says that this repository has written
BOOT_ID = "/proc/sys/kernel/random/boot_id"
THP = "/sys/kernel/mm/transparent_hugepage/enabled"
UNREADABLE = "(and more that is no UTF-8 text)"  # ends the content of a file that was not read whole

VERSION = r"[A-Za-z0-9.+:~-]{1,100}"  # Debian policy, 5.6.12
UNIT = r"[A-Za-z0-9:_.\\@-]{1,255}"  # systemd.unit(5)
OUR_UNIT = re.compile(rf"redis-{ROLE_NAME.strip('^$')}\.service")
STARTED_UNIT = re.compile(rf"(caas-redis-address-|redis-){ROLE_NAME.strip('^$')}\.service")
CONFIG_FILE = re.compile(rf"{CONFIG_DIRECTORY}/({ROLE_NAME.strip('^$')})\.conf")
TIMES = ("ExecMainStartTimestamp", "InactiveEnterTimestamp")
PASSWD, GROUP = "/etc/passwd", "/etc/group"
USER = rf"redis-[a-z0-9_-]{{1,50}}|{PROVER}"
ADDRESS = r"[0-9]{1,3}(\.[0-9]{1,3}){3}"

Texts = Mapping[str, Sequence[str]]  # path → lines of it, as grep found them


def parse_look(text: str, mark: str) -> Observed:
    """The state in a look's text. Raises Unreadable when it is incomplete, or holds what no host can have."""
    parts = split_parts(text, mark, PARTS)
    lines = {name: lines_of(part) for name, part in parts.items() if name != "found"}
    texts, matches = _texts(lines["texts"]), _texts(lines["matches"])
    found = [_found(record) for record in read_records(parts["found"], 6)]
    units = _units(lines["units"])
    digests = dict(_digests(lines["digests"]))
    unseen = dict(unseen_parts(lines["unseen"]))
    _require_answers(found, digests, units)
    rules = unless_unseen(unseen, "forwards", read_rules, lines["forwards"]) or {}
    listeners = unless_unseen(unseen, "listeners", read_listeners, lines["listeners"]) or ()
    free = unless_unseen(unseen, "disk", _free, lines["disk"]) or {}
    return Observed(
        os=_pairs(texts.get("/etc/os-release", [])),
        systemd="systemd=yes" in lines["facts"],
        container=_value(texts, "/run/systemd/container"),
        uid=_field(_named(matches, "/proc/self/status", "Uid"), 1, "the user id"),  # the effective one
        memory=_field(_named(matches, "/proc/meminfo", "MemTotal"), 0, "MemTotal") * 1024,
        packages=_packages(lines["packages"]),
        automatic=frozenset(_automatic(lines["packages"])),
        candidate=_candidate(lines["candidate"]),
        disk_free=next(iter(free.values()), 0),
        data_used=_used(found),
        addresses=frozenset(addresses_in(texts.get("/proc/net/fib_trie", []))),
        listeners=tuple(listeners),
        sysctls=_sysctls(texts),
        thp=_value(texts, THP),
        boot_sysctls=_boot_sysctls(matches),
        boot_thp=dict(_boot_thp(matches)),
        our_units=tuple(sorted(_our_units(matches))),
        units=units,
        binaries=_binaries(units, found),
        descriptors=dict(_descriptors(matches)),
        started=_started(texts),
        files={item.path: _file(item, texts, digests) for item in found if item.is_asked_for},
        forwards=frozenset(forwards(rules.get(OUR_TABLE, []))),
        fences=fences(rules.get(OUR_TABLE, [])),
        forwards_owner=owner(rules.get(OUR_TABLE, [])),
        takings=(*takings(rules), *legacy_takings(lines["legacy"])),
        statoverrides=_statoverrides(texts.get("/var/lib/dpkg/statoverride", [])),
        last_deploy=_value(texts, LOCK_FILE),
        unseen=unseen,
        heard=dict(_heard(lines["heard"])),
        memory_available=_field(_named(matches, "/proc/meminfo", "MemAvailable"), 0, "MemAvailable") * 1024,
        free_of={path: size for path, size in free.items() if path.startswith(f"{DATA_ROOT}/")},
        replayable=frozenset(lines["replayable"]),
        stored={
            item.path: _file_state(item, item.target if item.kind == "l" else "") for item in found if item.is_stored
        },
        acl_users=_users(lines["users"]),
        configured=dict(_configured(matches)),
        sealed=frozenset(_sealed(matches)),
        machine=(_value(texts, "/etc/machine-id"), _value(texts, BOOT_ID)),
        accounts=frozenset(_accounts(matches)),
        data_files={item.path: item.size for item in found if item.is_stored and item.kind == "f"},
    )


def _heard(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(role, words) of each pair whose other host was asked, as before a start; those words are that host's."""
    for line in lines:
        role, _, said = line.partition(" ")
        yield matching(ROLE_NAME, role, "a role whose other host was asked"), said


def _require_answers(
    found: Iterable[_Found], digests: Mapping[str, str], units: Mapping[str, Mapping[str, str]]
) -> None:
    """Each of these programs was also asked for what every host has: without it, it has answered nothing.

    A file that nobody saw is not absent, and a unit that nobody saw is not stopped.
    """
    silent = {
        "find": all(item.path != "/" for item in found),
        "sha256sum": "/dev/null" not in digests,
        "systemctl": not units,
    }
    for program, nothing in silent.items():
        if nothing:
            raise Unreadable(f"{program} answered nothing, not even of what every host has")


def unseen_parts(lines: Iterable[str]) -> Iterator[tuple[str, Unseen]]:
    """(part, why) of each program that failed. Without systemd's answer nothing is known of any role."""
    for line in lines:
        part, program, status, said = (*line.split(" ", 3), "", "", "")[:4]
        matching("disk|listeners|forwards|units", part, "what was not seen")
        matching("[a-z-]+", program, "what failed")
        why = _why(program, number(status, "how a program ended"), said)
        if part == "units":
            raise Unreadable(f"the state of its units: {why.because}")
        yield part, why


def _why(program: str, status: int, said: str) -> Unseen:
    """Why a program failed, by its exit status: `timeout` has one for a program that it ended, one for none at all."""
    if status == 127:
        return Unseen(f"{program} is not installed", missing=True)
    if status in (124, 137):
        return Unseen(f"{program} has not ended within {PROGRAM} s")
    return Unseen(f"{program} ended with {status}" + (f" and said {excerpt(said, 120)}" if said.strip() else ""))


def unless_unseen(
    unseen: dict[str, Unseen], part: str, read: Callable[[Sequence[str]], T], lines: list[str]
) -> T | None:
    """What a part says. One that says something else than it should is not seen, and the rest of the look is."""
    if part in unseen:
        return None
    try:
        return read(lines)
    except Unreadable as error:
        unseen[part] = Unseen(str(error))
    return None


def _free(lines: Sequence[str]) -> dict[str, int]:
    """Bytes free by the directory that was asked for, below a heading; where all data is comes first."""
    rows = [line.split() for line in lines[1:]]
    if not rows or not all(len(row) == 2 for row in rows):
        raise Unreadable(
            f"what df says of the free disk space is {excerpt(' '.join(lines))}, expected numbers and paths"
        )
    return {path: number(size, "the free disk space") * 1024 for size, path in rows}


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
            installed = value.endswith(" installed")
        elif key == "Version" and installed:
            packages[name] = matching(VERSION, value, f"the version of {name}")
    return packages


def _automatic(lines: Sequence[str]) -> Iterator[str]:
    """Packages that nobody asked for by name, from stanzas of apt's extended_states."""
    name = ""
    for key, _, value in (line.partition(": ") for line in lines):
        if key == "Package":
            name = value
        elif key == "Auto-Installed" and value == "1" and name in PACKAGES:
            yield name


def _candidate(lines: Sequence[str]) -> str:
    found = [line.split(":", 1)[1].strip() for line in lines if line.strip().startswith("Candidate:")]
    return matching(VERSION, found[0], "the version that apt offers") if found and found[0] != "(none)" else ""


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


def _field(text: str, position: int, what: str) -> int:
    """One of the numbers in a line of /proc."""
    words = text.split()
    return number(words[position] if position < len(words) else "", what)


def _digests(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(path, SHA-256) from lines of sha256sum."""
    for line in lines:
        digest, _, path = line.partition("  ")
        yield path, matching("[0-9a-f]{64}", digest, "a SHA-256")


@dataclass(frozen=True)
class _Found:
    """What find says of a file at or below `top`, a path that was asked for; `blocks` of 512 bytes."""

    kind: str
    depth: int
    size: int
    blocks: int
    inode: str
    mode: str
    links: int
    modified: int
    changed: int
    owner: str
    group: str
    top: str
    path: str
    target: str

    @property
    def is_asked_for(self) -> bool:
        return self.depth == 0 and self.path != "/" and not self.path.startswith("/proc/")

    @property
    def is_stored(self) -> bool:
        return 0 < self.depth <= 2 and self.top.startswith(f"{DATA_ROOT}/")


ABOUT = re.compile(
    r"([a-zA-Z?]) ([0-9]{1,6}) ([0-9]{1,15}) ([0-9]{1,15}) ([0-9]+:[0-9]+) ([0-7]{1,5}) ([0-9]{1,9}) "
    r"(-?[0-9]{1,12})\.[0-9]+ (-?[0-9]{1,12})\.[0-9]+"
)


def _found(record: Sequence[str]) -> _Found:
    about, owner, group, top, path, target = record
    match = ABOUT.fullmatch(about)
    if match is None:
        raise Unreadable(f"what find says of {excerpt(path)} is {excerpt(about)}, expected numbers")
    kind, depth, size, blocks, inode, mode, links, modified, changed = match.groups()
    if not (path == top if depth == "0" else path.startswith(f"{top}/")) or not top.startswith("/"):
        raise Unreadable(f"find says that {excerpt(path)} lies below {excerpt(top)}")
    numbers = int(links), int(modified), int(changed)
    return _Found(kind, int(depth), int(size), int(blocks), inode, mode, *numbers, owner, group, top, path, target)


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
    return _file_state(item, content)


def _file_state(item: _Found, content: str) -> FileState:
    mode = f"{int(item.mode, 8):04o}"
    kind = KINDS.get(item.kind, "other")
    links = item.links if kind == "file" else 1
    return FileState(kind, item.owner, item.group, mode, content, item.modified, item.changed, links)


def _content(lines: Sequence[str], size: int) -> str:
    """The text of a file from its lines: its size tells whether the last one ends, and whether none is missing."""
    text = "".join(f"{line}\n" for line in lines)
    length = len(text.encode())
    if length - size in (0, 1):
        return text[: len(text) - (length - size)]
    return text + UNREADABLE


def addresses_in(trie: Iterable[str]) -> Iterable[str]:
    """The host's own addresses: leaves of the kernel's routes that are local, each by itself (not all of 127/8)."""
    leaf = ""
    for line in map(str.strip, trie):
        if line.startswith("|-- "):
            leaf = line.removeprefix("|-- ")
        elif line == "/32 host LOCAL":
            yield matching(ADDRESS, leaf, "an address of the host")


def _sysctls(texts: Texts) -> dict[str, str]:
    """The files below /proc/sys by the name that sysctl gives them, white space made single blanks."""
    root = "/proc/sys/"
    asked = {path: lines for path, lines in texts.items() if path.startswith(root) and path != BOOT_ID}
    found = {path.removeprefix(root): lines[0] for path, lines in asked.items()}
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
        unit = path.removeprefix("/etc/systemd/system/")
        if OUR_UNIT.fullmatch(unit) and any(MANAGED in text for text in lines):
            yield unit


def _users(lines: Iterable[str]) -> dict[str, tuple[FileUser, ...]]:
    """The users in ACL files by path, in their order: a line `user NAME`, then one for each of its passwords."""
    return {path: tuple(_file_users(texts)) for path, texts in _texts(lines).items()}


def _file_users(texts: Iterable[str]) -> Iterator[FileUser]:
    users: list[tuple[str, list[str]]] = []
    for text in map(str.strip, texts):
        if text.startswith(("#", ">")):
            if users:  # before any user: a line that no start accepts
                users[-1][1].append(text.removeprefix("#"))
        else:
            users.append((text.removeprefix("user").lstrip(), []))
    return (FileUser(name, tuple(passwords)) for name, passwords in users)


def _configured(matches: Texts) -> Iterable[tuple[str, tuple[str, int]]]:
    """Where roles listen by their configuration files, one address each; of files of another form nothing."""
    for path, lines in matches.items():
        said = {name: value for name, _, value in (text.partition(" ") for text in lines)}
        match = CONFIG_FILE.fullmatch(path)
        address, port = said.get("bind", "").split(" ")[0], said.get("port", "")
        port = said.get("tls-port", "") if port == "0" else port
        if match and re.fullmatch(ADDRESS, address) and re.fullmatch("[0-9]{1,5}", port):
            yield match[1], (address, int(port))


def _sealed(matches: Texts) -> Iterable[str]:
    """Roles that speak TLS on the port where they are configured to listen, and do not speak in clear there."""
    for path, lines in matches.items():
        match = CONFIG_FILE.fullmatch(path)
        if match and "port 0" in lines and any(text.startswith("tls-port ") for text in lines):
            yield match[1]


def _units(lines: Sequence[str]) -> dict[str, dict[str, str]]:
    """An empty line, or a property that comes again, begins the next unit: a timer has fewer of them than a service."""
    units: list[dict[str, str]] = [{}]
    for key, found, value in (line.partition("=") for line in lines):
        if key in units[-1] or (not found and units[-1]):
            units.append({})
        if found:
            units[-1][key] = value
    for unit in filter(None, units):
        matching(UNIT, unit.get("Id", ""), "the name of a unit")
        for name in ("LoadState", "ActiveState"):
            matching("[a-z-]+", unit.get(name, ""), f"{name} of {unit['Id']}")
        for name in TIMES:
            matching("(@[0-9]{1,15})?", unit.get(name, ""), f"{name} of {unit['Id']}")
        matching("(/[^ ]+( /[^ ]+)*)?", unit.get("DropInPaths", ""), f"DropInPaths of {unit['Id']}")
        for name in ("MainPID", "NRestarts"):
            number(unit.get(name, "0"), f"{name} of {unit['Id']}")
        matching("infinity|[0-9]{1,20}", unit.get("LimitNOFILE", "infinity"), f"LimitNOFILE of {unit['Id']}")
    return {unit.pop("Id"): unit for unit in units if unit}


def _binaries(units: Mapping[str, Mapping[str, str]], found: Iterable[_Found]) -> dict[int, str]:
    """What the main processes of units execute; of one that is gone meanwhile, nothing."""
    targets = {item.path: item.target for item in found}
    pids = {int(properties.get("MainPID", "0")) for properties in units.values()} - {0}
    return {pid: targets.get(f"/proc/{pid}/exe", "") for pid in pids}


def _accounts(matches: Texts) -> Iterator[str]:
    """Names that both a user and a group have, as lines of /etc/passwd and /etc/group say."""
    users, groups = ({line.partition(":")[0] for line in matches.get(path, [])} for path in (PASSWD, GROUP))
    for name in users & groups:
        yield matching(USER, name, "the name of a user")


def _descriptors(matches: Texts) -> Iterator[tuple[int, int]]:
    """(pid, open files it may have at most) from /proc/PID/limits: `Max open files  SOFT  HARD  files`."""
    for path, lines in matches.items():
        if found := re.fullmatch("/proc/([0-9]+)/limits", path):
            words = lines[0].split()
            yield int(found[1]), number(words[4] if len(words) == 6 else "", "how many files a process may open")


def _started(texts: Texts) -> dict[str, str]:
    """The digest that a unit was started with, from `/run/credentials/UNIT/unit-digest`."""
    found = ((path.split("/"), lines[0]) for path, lines in texts.items() if path.startswith("/run/credentials/"))
    units = {words[3]: text for words, text in found if len(words) == 5}
    return {unit: text for unit, text in units.items() if unit == METRICS_UNIT or STARTED_UNIT.fullmatch(unit)}


def _statoverrides(lines: Sequence[str]) -> dict[str, str]:
    rows = (line.rsplit(" ", 1) for line in lines if line.count(" ") == 3)
    return {path: rule for rule, path in rows}

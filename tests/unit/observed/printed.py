"""Write an observed state as the text that tasks/observed/look.py's script prints on such a host."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from tasks.observed.reader import MARK, THP
from tasks.observed.state import FileState, Observed

KINDS = {"file": "f", "directory": "d", "link": "l"}


def snapshot_text(observed: Observed) -> str:
    """The output of one snapshot; parts in the order of the script."""
    parts = {
        "facts": ["systemd=yes"] if observed.systemd else [],
        "packages": [
            line
            for name, version in observed.packages.items()
            for line in (f"Package: {name}", "Status: install ok installed", f"Version: {version}", "--")
        ],
        "candidate": ["redis-server:", f"  Candidate: {observed.candidate or '(none)'}"],
        "disk": [
            "Filesystem     1024-blocks     Used Available Capacity Mounted on",
            f"/dev/vda1 264212084 26550324 {observed.disk_free // 1024} 25% /",
        ],
        "listeners": [
            f"LISTEN 0 511 {item.address}:{item.port} 0.0.0.0:* " + _user(item.process, item.pid)
            for item in observed.listeners
        ],
        "units": [
            line
            for name, properties in observed.units.items()
            for line in (f"Id={name}", *(f"{key}={value}" for key, value in properties.items()))
        ],
        "texts": list(_texts(observed)),
        "digests": [f"{state.content}  {path}" for path, state in observed.files.items() if is_digest(state)],
        "users": [f"{path}:user {name}" for path, names in observed.acl_users.items() for name in sorted(names)],
        "replayable": sorted(observed.replayable),
        "matches": list(_matches(observed)),
        "found": list(_found(observed)),
        "forwards": _rules(observed),
        "end": [],
    }
    return "".join(f"{line}\n" for name, lines in parts.items() for line in (f"@@ {name}", *lines))


def printed(text: str) -> str:
    """A snapshot as the host prints it."""
    return base64.b64encode(text.encode()).decode()


def is_digest(state: FileState) -> bool:
    """Whether only this is known of a file's content."""
    return state.kind == "file" and re.fullmatch("[0-9a-f]{64}", state.content) is not None


def _user(process: str, pid: int) -> str:
    return f'users:(("{process}",pid={pid},fd=6))' if process else ""


def _texts(observed: Observed) -> Iterator[str]:
    yield from (f'/etc/os-release:{key}="{value}"' for key, value in observed.os.items())
    yield from [f"/run/systemd/container:{observed.container}"] if observed.container else []
    yield from (f"/proc/sys/{name.replace('.', '/')}:{value}" for name, value in observed.sysctls.items())
    yield from [f"{THP}:{observed.thp}"] if observed.thp else []
    yield from (f"/run/credentials/{unit}/unit-digest:{digest}" for unit, digest in observed.started.items())
    yield from (f"/var/lib/dpkg/statoverride:{rule} {path}" for path, rule in observed.statoverrides.items())
    for address in sorted(observed.addresses):
        yield from (f"/proc/net/fib_trie:{line}" for line in (f"        |-- {address}", "           /32 host LOCAL"))
    for path, state in observed.files.items():
        yield from (f"{path}:{line}" for line in state.content.split("\n")[:-1] if state.kind == "file")


def _matches(observed: Observed) -> Iterator[str]:
    yield f"/proc/meminfo:MemTotal:       {observed.memory // 1024} kB"
    yield "/proc/self/status:Uid:" + f"\t{observed.uid}" * 4
    for name, (value, path) in observed.boot_sysctls.items():
        yield from (f"{path}:# {MARK}", f"{path}:{name} = {value}")
    for path, value in observed.boot_thp.items():
        yield from (f"{path}:# {MARK}", f"{path}:w {THP} - - - - {value}")
    for role, (address, port) in observed.configured.items():
        yield from (f"/etc/redis/{role}.conf:{line}" for line in (f"bind {address}", f"port {port}"))
    yield from (f"/etc/systemd/system/{unit}:# {MARK}" for unit in observed.our_units)


def _found(observed: Observed) -> Iterator[str]:
    """All blocks of a data directory are those of one directory in it."""
    for path, state in observed.files.items():
        size = len(state.content.encode()) if state.kind == "file" else 4096
        target = state.content if state.kind == "link" else ""
        about = f"{state.owner} {state.group} {state.mode.lstrip('0')} {state.modified}.0"
        yield f"{KINDS[state.kind]} 0 {size} 0 2048:0 {about} {path} {path}\t{target}"
    for inode, (top, size) in enumerate(observed.data_used.items()):
        yield f"d 1 4096 {size // 512} 2049:{inode} redis redis 700 0.0 {top} {top}/appendonlydir\t"
    for inode, (path, size) in enumerate(observed.data_files.items(), len(observed.data_used)):
        top = "/".join(path.split("/")[:5])
        depth = path.count("/") - top.count("/")
        yield f"f {depth} {size} 0 2049:{inode} redis redis 600 0.0 {top} {path}\t"
    for pid, binary in observed.binaries.items():
        yield f"l 0 0 0 20:{pid} redis redis 777 0.0 /proc/{pid}/exe /proc/{pid}/exe\t{binary}"


def _rules(observed: Observed) -> list[str]:
    lines = ["table ip redis_inner_port {"] if observed.forwards else []
    for chain in sorted({rule[0] for rule in observed.forwards}):
        lines += [f"\tchain {chain} {{", f"\t\ttype nat hook {chain} priority -100; policy accept;"]
        lines += [
            f"\t\tip daddr {address} tcp dport {port} dnat to {target}" if target else f"\t\t{address}"
            for where, address, port, target in sorted(observed.forwards)
            if where == chain
        ]
        lines += ["\t}", ""]
    return [*lines, "}"] if lines else []

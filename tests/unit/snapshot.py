"""Write an observed state as the text that tasks/observe.py's script prints on such a host."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
from collections.abc import Iterator

from tasks.observed import FileState, Observed
from tasks.snapshot import MARK, THP

KINDS = {"file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}


def snapshot_text(observed: Observed) -> str:
    """The output of one snapshot; parts in the order of the script."""
    parts = {
        "facts": ["systemd=yes"] if observed.systemd else [],
        "packages": [f"{name} {version} installed" for name, version in observed.packages.items()],
        "candidate": ["redis-server:", f"  Candidate: {observed.candidate or '(none)'}"],
        "disk": [
            "Filesystem     1024-blocks     Used Available Capacity Mounted on",
            f"/dev/vda1 264212084 26550324 {observed.disk_free // 1024} 25% /",
        ],
        "addresses": [f"2: eth0    inet {item}/24 brd 1.2.3.255 scope global eth0" for item in observed.addresses],
        "listeners": [
            f"LISTEN 0 511 {item.address}:{item.port} 0.0.0.0:* " + _user(item.process, item.pid)
            for item in observed.listeners
        ],
        "units": [
            line
            for name, properties in observed.units.items()
            for line in (f"Id={name}", *(f"{key}={value}" for key, value in properties.items()), "")
        ],
        "values": list(_values(observed)),
        "matches": list(_matches(observed)),
        "found": list(_found(observed)),
        "forwards": _rules(observed),
        "files": [_archive(observed)],
        "end": [],
    }
    return "".join(f"@@ {name}\n" + "".join(f"{line}\n" for line in lines) for name, lines in parts.items())


def _user(process: str, pid: int) -> str:
    return f'users:(("{process}",pid={pid},fd=6))' if process else ""


def _values(observed: Observed) -> Iterator[str]:
    yield from (f'/etc/os-release:{key}="{value}"' for key, value in observed.os.items())
    yield from [f"/run/systemd/container:{observed.container}"] if observed.container else []
    yield from (f"/proc/sys/{name.replace('.', '/')}:{value}" for name, value in observed.sysctls.items())
    yield from [f"{THP}:{observed.thp}"] if observed.thp else []
    yield from (f"/run/credentials/{unit}/unit-digest:{digest}" for unit, digest in observed.started.items())
    yield from (f"/var/lib/dpkg/statoverride:{rule} {path}" for path, rule in observed.statoverrides.items())


def _matches(observed: Observed) -> Iterator[str]:
    yield f"/proc/meminfo:MemTotal:       {observed.memory // 1024} kB"
    yield "/proc/self/status:Uid:" + f"\t{observed.uid}" * 4
    for pid, process in observed.processes.items():
        yield f"/proc/{pid}/status:Uid:\t105\t105\t105\t105"
        yield f"/proc/{pid}/status:THP_enabled:\t{process.thp_enabled}"
    for name, (value, path) in observed.boot_sysctls.items():
        yield from (f"{path}:# {MARK}", f"{path}:{name} = {value}")
    for path, value in observed.boot_thp.items():
        yield from (f"{path}:# {MARK}", f"{path}:w {THP} - - - - {value}")
    yield from (f"/etc/systemd/system/{unit}:# {MARK}" for unit in observed.our_units)


def _found(observed: Observed) -> Iterator[str]:
    """Each directory's own line carries all of its blocks."""
    for inode, (top, size) in enumerate(observed.data_used.items()):
        yield f"d 0 4096 {size // 512} 2049:{inode} {top} {top}\t"
    for inode, (path, size) in enumerate(observed.data_files.items(), len(observed.data_used)):
        top = "/".join(path.split("/")[:5])
        yield f"f {path.count('/') - top.count('/')} {size} 0 2049:{inode} {top} {path}\t"
    for pid, process in observed.processes.items():
        yield f"l 0 0 0 20:{pid} /proc/{pid}/exe /proc/{pid}/exe\t{process.executable}"


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


def _archive(observed: Observed) -> str:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, state in observed.files.items():
            entry, content = _entry(path, state)
            archive.addfile(entry, io.BytesIO(content))
    return base64.encodebytes(gzip.compress(packed.getvalue(), compresslevel=1)).decode().strip()


def _entry(path: str, state: FileState) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(path)
    entry.type = KINDS[state.kind]
    entry.uname, entry.gname, entry.mode = state.owner, state.group, int(state.mode, 8)
    content = state.content.encode() if state.kind == "file" else b""
    entry.size = len(content)
    entry.linkname = state.content if state.kind == "link" else ""
    return entry, content

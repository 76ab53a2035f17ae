"""Write an observed state as the text that templates/scripts/look.sh prints on such a host."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping

from tasks.observed.reader import MANAGED, THP
from tasks.observed.state import FileState, Observed

KINDS = {"file": "f", "directory": "d", "link": "l"}


MARK = "0123456789abcdef"
OWN_FILE = FileState("file", "redis-crypto", "redis-crypto", "0600", "")


def look_text(observed: Observed, mark: str = MARK) -> str:
    """The output of one look; parts in the order of the script."""
    parts = {
        "facts": ["systemd=yes"] if observed.systemd else [],
        "packages": [
            line
            for name, version in observed.packages.items()
            for line in (f"Package: {name}", "Status: install ok installed", f"Version: {version}", "--")
        ]
        + [line for name in observed.automatic for line in (f"Package: {name}", "Auto-Installed: 1", "")],
        "candidate": ["redis-server:", f"  Candidate: {observed.candidate or '(none)'}"],
        "disk": ["    Avail File", *(f"{size // 1024} {path}" for path, size in _disks(observed))],
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
        "digests": [
            f"{'0' * 64}  /dev/null",
            *(f"{state.content}  {path}" for path, state in observed.files.items() if is_digest(state)),
        ],
        "users": [
            line
            for path, users in observed.acl_users.items()
            for user in users
            for line in (
                f"{path}:user {user.name}",
                *(f"{path}: {text if text == '>' else f'#{text}'}" for text in user.passwords),
            )
        ],
        "replayable": sorted(observed.replayable),
        "matches": list(_matches(observed)),
        "found": [],
        "forwards": _rules(observed),
        "legacy": [],
        "heard": [f"{role} {said}" for role, said in observed.heard.items()],
        # Of programs that ended with a status, and said nothing.
        "unseen": [f"{part} {why.because.replace(' ended with ', ' ')} " for part, why in observed.unseen.items()],
        "end": [],
    }
    texts = {name: "".join(f"{line}\n" for line in lines) for name, lines in parts.items()}
    texts["found"] = "".join(_found(observed))
    return "".join(f"\0{mark} {name}\n{text}" for name, text in texts.items())


def sockets_text(observed: Observed, unit: str, mark: str = MARK) -> str:
    """What templates/scripts/who-serves.sh prints on such a host."""
    whole = dict(part.partition("\n")[::2] for part in look_text(observed, mark).split(f"\0{mark} ")[1:])
    texts = {name: whole[name] for name in ("listeners", "forwards", "legacy", "unseen", "end")}
    texts |= {"pid": f"{observed.pid(unit)}\n" if unit else "", "addresses": "".join(_routes(observed))}
    order = ("listeners", "pid", "addresses", "forwards", "legacy", "unseen", "end")
    return "".join(f"\0{mark} {name}\n{texts[name]}" for name in order)


def _routes(observed: Observed) -> Iterator[str]:
    for address in sorted(observed.addresses):
        yield from (f"        |-- {address}\n", "           /32 host LOCAL\n")


def _disks(observed: Observed) -> Iterator[tuple[str, int]]:
    yield "/var/lib/redis", observed.disk_free
    yield from observed.free_of.items()


def printed(text: str, mark: str = MARK) -> str:
    """What a reading script says, as the host prints it."""
    return f"{mark} <{base64.b64encode(text.encode()).decode()}> {mark}"


def record(about: str, *strings: str) -> str:
    """One of find's records."""
    return "".join(f"{text}\0" for text in (about, *(f"={text}" for text in strings)))


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
    yield from (f"/proc/net/fib_trie:{line.removesuffix(chr(10))}" for line in _routes(observed))
    for path, state in observed.files.items():
        yield from (f"{path}:{line}" for line in state.content.split("\n")[:-1] if state.kind == "file")


def _matches(observed: Observed) -> Iterator[str]:
    yield f"/proc/meminfo:MemTotal:       {observed.memory // 1024} kB"
    yield f"/proc/meminfo:MemAvailable:   {observed.memory_available // 1024} kB"
    for pid, files in observed.descriptors.items():
        yield f"/proc/{pid}/limits:Max open files            1024                 {files}                files     "
    yield "/proc/self/status:Uid:" + f"\t{observed.uid}" * 4
    for name, (value, path) in observed.boot_sysctls.items():
        yield from (f"{path}:# {MANAGED}", f"{path}:{name} = {value}")
    for path, value in observed.boot_thp.items():
        yield from (f"{path}:# {MANAGED}", f"{path}:w {THP} - - - - {value}")
    for role, (address, port) in observed.configured.items():
        yield from (f"/etc/redis/{role}.conf:{line}" for line in (f"bind {address}", f"port {port}"))
    yield from (
        f"{path}:{user}:x:997:997" for path in ("/etc/passwd", "/etc/group") for user in sorted(observed.accounts)
    )
    yield from (f"/etc/systemd/system/{unit}:# {MANAGED}" for unit in observed.our_units)


def _found(observed: Observed) -> Iterator[str]:
    """All blocks of a data directory are those of one directory far down in it."""
    yield record("d 0 4096 8 2048:2 755 20 0.0 0.0", "root", "root", "/", "/", "")
    for path, state in observed.files.items():
        size = len(state.content.encode()) if state.kind == "file" else 4096
        target = state.content if state.kind == "link" else ""
        about = f"{KINDS[state.kind]} 0 {size} 0 2048:0 {state.mode.lstrip('0')} {state.links}"
        about += f" {state.modified}.0 {state.changed}.0"
        yield record(about, state.owner, state.group, path, path, target)
    for inode, (top, size) in enumerate(observed.data_used.items()):
        yield record(f"d 3 4096 {size // 512} 2049:{inode} 700 2 0.0 0.0", "redis", "redis", top, f"{top}/a/b/c", "")
    stored = {path: state for path, state in observed.stored.items() if state.kind != "file"}
    stored |= {path: observed.stored.get(path, OWN_FILE) for path in observed.data_files}
    for inode, (path, state) in enumerate(stored.items(), len(observed.data_used)):
        top = "/".join(path.split("/")[:5])
        about = f"{KINDS[state.kind]} {path.count('/') - top.count('/')} {observed.data_files.get(path, 4096)} 0"
        about += f" 2049:{inode} {state.mode.lstrip('0')} {state.links} {state.modified}.0 {state.changed}.0"
        yield record(about, state.owner, state.group, top, path, "")
    for pid, binary in observed.binaries.items():
        yield record(
            f"l 0 0 0 20:{pid} 777 1 0.0 0.0", "redis", "redis", f"/proc/{pid}/exe", f"/proc/{pid}/exe", binary
        )


def _rules(observed: Observed) -> list[str]:
    asked = ["nft", "payload expression, datatype integer (integer), 8 bits"] if "nftables" in observed.packages else []
    lines = ["table ip redis_inner_port {"] if observed.forwards or observed.fences else []
    if observed.forwards_owner:
        lines = [f"table ip redis_inner_port {{ # progname {observed.forwards_owner}", "\tflags owner", ""]
    for chain in sorted({rule[0] for rule in observed.forwards}):
        lines += [f"\tchain {chain} {{", f"\t\ttype nat hook {chain} priority -100; policy accept;"]
        lines += [
            f"\t\tip daddr {address} tcp dport {port} dnat to {target}" if target else f"\t\t{address}"
            for where, address, port, target in sorted(observed.forwards)
            if where == chain
        ]
        lines += ["\t}", ""]
    for chain, own in observed.fences.items():
        lines += [f"\tchain {chain} {{", *(f"\t\t{line}" for line in own), "\t}", ""]
    lines = [*lines, "}"] if lines else []
    for item in observed.takings:
        head = f"table ip {item.table} {{", "\tchain out {", "\t\ttype nat hook output priority -100; policy accept;"
        lines += [*head, f"\t\t{item.rule}", "\t}", "}"]
    return [*asked, *lines]


def answers_text(pairs: Mapping[str, str], who: int | str) -> str:
    """What templates/scripts/ask-others.sh says of one process or role."""
    records = "".join(record(str(who), name, value) for name, value in pairs.items())
    return f"\0{MARK} answers\n{records}\0{MARK} end\n"

"""What lies in a role's directory and is neither Redis' own nor this tool's: somebody put it there. Pure.

A server writes few names, and an executable or a link is none of them. docs: redis 7.0 and 8.0, aof.c and rdb.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.catalogue.printable import excerpt
from tasks.compare.difference import ByHand, Difference
from tasks.compare.set_aside import is_put_aside, is_replaced
from tasks.desired.host import Host, Instance
from tasks.desired.paths import NEW, data_directory, log_directory
from tasks.observed.state import FileState, Observed

SHOWN = 3  # names that a line has
KINDS = {"file": "a file", "directory": "a directory", "link": "a link"}
# While a server saves or rewrites: each ends with it, and what a killed one left lies for ever.
TEMPORARY = r"temp-[0-9.-]+\.rdb|temp-rewriteaof-(bg-)?[0-9]+\.aof"


def planted(desired: Host, observed: Observed) -> Iterator[Difference]:
    """Of each instance, what lies in its directory and is nobody's: one line, however much it is."""
    for instance in desired.instances:
        directory = data_directory(instance.name)
        found = [
            (path, state)
            for path, state in sorted(observed.stored.items())
            if path.startswith(f"{directory}/") and not _is_known(instance, path, state)
        ]
        # What lies in something foreign is told by that.
        foreign = {path for path, _ in found}
        found = [(path, state) for path, state in found if path.rpartition("/")[0] not in foreign]
        if found:
            shown = ", ".join(_shown(path.removeprefix(f"{directory}/"), state) for path, state in found[:SHOWN])
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            advice = f"look who put it there, then move it out of {directory}"
            yield Difference(
                instance.name, "file", directory, "the files of Redis only", f"also {shown}{more}", ByHand(advice)
            )


def _shown(name: str, state: FileState) -> str:
    runs = "an executable " if state.kind == "file" and int(state.mode, 8) & 0o111 else ""
    kind = f"{runs}file" if runs else KINDS.get(state.kind, "a pipe, socket or device")
    return f"{excerpt(name)} ({kind} of {excerpt(state.owner, 32)[1:-1]})"


def is_of_log(instance: Instance, path: str) -> bool:
    """Whether a file of this name in a log's directory is Redis' own, by the naming of its manifest."""
    name = re.escape(instance.role.appendfilename)
    own = rf"{name}(\.manifest|\.[0-9]+\.base\.(rdb|aof)|\.[0-9]+\.incr\.aof)?|temp-{name}\.(manifest|incr)"
    return re.fullmatch(own, path.rpartition("/")[2]) is not None


def _is_known(instance: Instance, path: str, state: FileState) -> bool:
    role, directory, log = instance.role, data_directory(instance.name), log_directory(instance.role)
    above, _, name = path.rpartition("/")
    if state.kind == "directory":
        made_by_disk = name == "lost+found" and state.owner == "root"  # of a file system of its own
        return above == directory and (path in (log, log + NEW) or made_by_disk or is_put_aside(path, log))
    if state.kind != "file":
        return state.kind == "link" and path == log  # said with what to do about it: tasks/compare/data_files.py
    if path == f"{directory}/{role.dbfilename}" or (above == log and is_of_log(instance, path)):
        return True  # whose it is, and of which mode, too
    if int(state.mode, 8) & 0o111:
        return False
    if above == directory:
        replaced = is_replaced(path, f"{directory}/{role.dbfilename}")
        return name == role.dbfilename + NEW or replaced or re.fullmatch(TEMPORARY, name) is not None
    return (above == log + NEW or is_put_aside(above, log)) and is_of_log(instance, path)

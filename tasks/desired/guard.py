"""What keeps a role that has a standby from its start while the other one of the pair serves. Pure.

Nothing of it where a role has no standby: no file, and no word of its unit (docs/decisions/0034).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import cache
from pathlib import Path

from tasks.catalogue.acl_rules import REPLICATION
from tasks.catalogue.secret import all_of, revealed
from tasks.desired.host import File, Host, Pair, Passwords
from tasks.desired.paths import (
    BACKUP_TOOLS,
    copy_drop_in,
    guard_file,
    peer_file,
    promoted_file,
    served_file,
    tls_files,
    unit_name,
)
from tasks.desired.rendering import MANAGED

SOURCE = Path(__file__).parents[2] / "templates" / "scripts" / "start-guard.sh"
PATIENCE = 3  # seconds for the other one to answer
LIMIT = 4096  # bytes of its answer that are read: ROLE of a server with its copies has some hundred
MEMORY = 256 << 20  # bytes of address space for the program that asks
TRIES = 3  # passwords that are tried: a rotation leaves two

NOTE = "# It serves here since the host was booted: its next start needs no word of the other one of the pair."
MARK = (
    "# Nobody can have been put in the place of this host: it starts whoever answers. Gone when the other one follows."
)


class Mark(Enum):
    """What becomes, on the host that serves a role, of the note that nobody can have been put in its place."""

    STAYS = "as it is"
    MADE = "made"
    GONE = "gone"


Endpoint = tuple[str, int]  # address and port


def sealed_words(role: str, asks: bool) -> list[str]:
    """The options of redis-cli by which it speaks TLS to a role's servers, which ask for certificates or not.

    It checks who signed the certificate, and not whom that is for.
    """
    pair, authority = tls_files(role)
    return ["--tls", "--cacert", authority, *(["--cert", pair, "--key", pair] if asks else [])]


def guard_text(role: str, own: Endpoint, other: Endpoint, tls: Sequence[str] = ()) -> str:
    """The program that is asked before each start: `own`, where the role is followed here; `other`, who is asked.

    `tls`: how redis-cli speaks TLS to it; in clear without.
    """
    parameters = {
        "role": role,
        "unit": unit_name(role),
        "drop_in": copy_drop_in(role),
        "user": REPLICATION,
        "host": other[0],
        "port": other[1],
        "own_host": own[0],
        "own_port": own[1],
        "passwords": peer_file(role),
        "served": served_file(role),
        "note": NOTE,
        "promoted": promoted_file(role),
        "patience": PATIENCE,
        "limit": LIMIT,
        "memory": MEMORY,
        "tries": TRIES,
        "tells": "yes",
        "tls": " ".join(tls),
    }
    given = "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in parameters.items())
    return f"# {MANAGED}\n{given}{_source()}"


@cache
def _source() -> str:
    return SOURCE.read_text(encoding="utf-8")


def peer_text(passwords: Sequence[str]) -> str:
    """What the other one is asked by, newest first; empty while none is known."""
    lines = "".join(f"{revealed(item)}\n" for item in passwords)
    return f"# {MANAGED}\n{lines}" if lines else ""


def with_guards(host: Host, passwords: Passwords) -> Host:
    """A host whose roles of pairs are asked about before each start."""
    tools = File(BACKUP_TOOLS, None, mode="0755")
    files = [file for pair in host.pairs for file in _guard_files(host, pair, passwords)]
    files += [tools] if files and tools not in host.files else []
    return replace(host, files=tuple(sorted((*host.files, *files), key=lambda file: file.path)))


def _guard_files(host: Host, pair: Pair, passwords: Passwords) -> list[File]:
    role = next(item for item in host.roles if item.name == pair.role)
    known = all_of(passwords[role.name].get(REPLICATION))
    asks = role.tls is not None and role.tls.client_auth != "no"
    tls = sealed_words(role.name, asks) if role.copies_by_tls else []
    text = guard_text(role.name, (role.reached, role.port), pair.there, tls)
    return [
        File(guard_file(role.name), text, role=role.name),
        File(peer_file(role.name), peer_text(known), mode="0600", role=role.name, secret=True),
    ]


def files_of_a_pair(role: str) -> tuple[str, ...]:
    """What a role of no pair has none of: nor what says that it serves, or was put in the place of another one."""
    return guard_file(role), peer_file(role), served_file(role), promoted_file(role)


def with_notes(host: Host, settled: Mapping[str, Mark]) -> Host:
    """A host of which it was seen who serves the roles of its pairs. Role → what becomes of the mark on that host.

    On the one that serves it is noted that it does: its next start needs no word of the other one. A standby has
    neither note.
    """
    of = {pair.role: pair for pair in host.pairs if pair.role in settled}
    serving = [name for name, pair in of.items() if not pair.is_standby]
    files = [File(served_file(name), f"{NOTE}\n", mode="0600", role=name) for name in serving]
    files += [File(promoted_file(name), f"{MARK}\n", role=name) for name in serving if settled[name] is Mark.MADE]
    absent = [promoted_file(name) for name in of if name not in serving or settled[name] is Mark.GONE]
    absent += [served_file(name) for name in of if name not in serving]
    own = {*map(served_file, of), *map(promoted_file, of)}
    kept = [file for file in host.files if file.path not in own]
    return replace(
        host,
        files=tuple(sorted((*kept, *files), key=lambda file: file.path)),
        absent=(*(path for path in host.absent if path not in own), *sorted(absent)),
    )

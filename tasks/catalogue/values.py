"""What Redis directive values mean: one canonical text per value, the text CONFIG GET answers with.

Source of every rule: `CONFIG GET` of redis 7.0.15 and 8.0.2 (docs/decisions/0002-canonical-values.md).
"""

from __future__ import annotations

import re

_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 1000**2, "mb": 1 << 20, "g": 1000**3, "gb": 1 << 30}
_MEMORY = re.compile(r"(\d+)([a-z]*)", re.IGNORECASE)
_PERCENT = re.compile(r"\d+%")

MEMORY = frozenset(
    """
    active-defrag-ignore-bytes auto-aof-rewrite-min-size client-query-buffer-limit hash-max-listpack-value
    hll-sparse-max-bytes maxmemory proto-max-bulk-len repl-backlog-size set-max-listpack-value stream-node-max-bytes
    zset-max-listpack-value
    """.split()
)
BUFFER_CLASSES = ("normal", "slave", "pubsub")

# CONFIG SET refuses these ("can't set immutable config" and, for dir and dbfilename, "protected config").
RESTART_ONLY = frozenset(
    """
    aclfile always-show-logo aof_rewrite_cpulist appenddirname appendfilename bgsave_cpulist bio_cpulist
    cluster-config-file cluster-enabled cluster-port daemonize databases dbfilename dir disable-thp
    enable-debug-command enable-module-command enable-protected-configs io-threads io-threads-do-reads
    logfile pidfile rdbchecksum replicaof server_cpulist set-proc-title slaveof socket-mark-id supervised
    syslog-enabled syslog-facility syslog-ident tcp-backlog unixsocket unixsocketperm
    """.split()
)


def parse_memory(text: str) -> int:
    """Bytes meant by a Redis memory value: `256mb` is 268435456, `256m` is 256000000.

    Raises ValueError, in words, for what redis-server itself refuses (`256 mb`, `0.25gb`, `256mib`, `50%`).
    """
    match = _MEMORY.fullmatch(text.strip())
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(f"{text!r} is not a Redis memory size: write a whole number and b, kb, mb or gb, as 256mb")
    return int(match[1]) * _UNITS[match[2].lower()]


def show_memory(size: int) -> str:
    """The shortest exact way a person writes `size` bytes: 268435456 is `256mb`."""
    for unit in ("gb", "mb", "kb"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)


def canonical(directive: str, text: str) -> str:
    """`text`, a value of `directive` from a file, the catalogue or a server, as CONFIG GET writes it.

    Values that mean the same come out equal; what is not understood comes out as it was, so that it differs.
    """
    text = unquote(text)
    try:
        if directive == "save":
            return canonical_save(text)
        if directive == "client-output-buffer-limit":
            return canonical_buffer_limits(text)
        if directive == "notify-keyspace-events":
            return canonical_events(text)
        if directive in MEMORY or (directive == "maxmemory-clients" and not _PERCENT.fullmatch(text)):
            return str(parse_memory(text))
    except ValueError:
        return text
    if directive in ("bind", "latency-tracking-info-percentiles"):
        return " ".join(text.split())
    return text.lower() if text.lower() in ("yes", "no") else text


def unquote(text: str) -> str:
    """`text` without the quotes that redis.conf allows around a value."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def canonical_save(text: str) -> str:
    """Snapshot points as `seconds changes` pairs in the order given; empty when snapshots are off."""
    words = text.replace('"', " ").split()
    if len(words) % 2 or not all(word.isdigit() for word in words):
        raise ValueError(f"save {text!r}: write pairs of seconds and changes, as '900 1 300 100', or '' for none")
    return " ".join(words)


def canonical_buffer_limits(text: str) -> str:
    """All classes of client-output-buffer-limit in Redis' own order, in bytes; `replica` reads `slave`."""
    words = text.split()
    if len(words) % 4:
        raise ValueError(f"client-output-buffer-limit {text!r}: write CLASS HARD SOFT SECONDS per class")
    limits: dict[str, str] = {}
    for name, hard, soft, seconds in zip(*[iter(words)] * 4, strict=True):
        name = "slave" if name.lower() == "replica" else name.lower()
        if name not in BUFFER_CLASSES or not seconds.isdigit():
            raise ValueError(f"client-output-buffer-limit {text!r}: classes are normal, replica and pubsub")
        limits[name] = f"{name} {parse_memory(hard)} {parse_memory(soft)} {int(seconds)}"
    return " ".join(limits[name] for name in BUFFER_CLASSES if name in limits)


def canonical_events(text: str) -> str:
    """Event classes in the order Redis reports them; all of g$lshzxetd together read `A`."""
    flags = set(text)
    if "A" in flags or set("g$lshzxetd") <= flags:
        flags = (flags - set("g$lshzxetd")) | {"A"}
    return "".join(flag for flag in "Ag$lshzxetdKEmn" if flag in flags) + "".join(
        sorted(flags - set("Ag$lshzxetdKEmn"))
    )

"""Every Redis directive this tool knows something of, each declared once, by one line.

The line says everything: a role's field and what it may be, the form of its values, its section and place in
redis.conf, and whether CONFIG SET changes it. The catalogue's model, the rendered file, the comparison with a running
server and the words of a report all follow from it. Source: redis.conf; `live` is what CONFIG SET of 7.0.15 and 8.0.2
says to every directive that CONFIG GET lists.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tasks.catalogue.values import (
    BUFFER_CLASSES,
    BUFFER_LIMITS,
    BYTES,
    BYTES_OR_PERCENT,
    EVENTS,
    PLAIN,
    SAVE_POINTS,
    SECRET,
    TEXT,
    WORDS,
    Form,
    canonical_buffer_limits,
    canonical_events,
    canonical_save,
    parse_memory,
    unquote,
)


class Section(StrEnum):
    """The sections of a redis.conf, in their order there."""

    NETWORK = "Network"
    GENERAL = "General"
    ACCESS = "Access"
    MEMORY = "Memory"
    PERSISTENCE = "Persistence"
    LATENCY = "Slow log and latency"


NETWORK, GENERAL, ACCESS, MEMORY, PERSISTENCE, LATENCY = Section


@dataclass(frozen=True)
class Directive:
    """What is known of a directive beside its name.

    `section`: where redis.conf has it; None when no redis.conf of ours does. `live`: CONFIG SET takes it. `form`: how
    its values are written; a field's form comes from its type.
    """

    section: Section | None = None
    live: bool = True
    form: Form = PLAIN


def text_rule(rule: Callable[[str], str]) -> BeforeValidator:
    """A field that takes text only, as `rule` gives it back."""

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not text: put it in quotes")
        return rule(value)

    return BeforeValidator(check)


def _memory(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{value!r} is not a Redis memory size: write a whole number and a unit, as 256mb")
    return parse_memory(str(value))


def _memory_or_percent(text: object) -> str:
    return BYTES_OR_PERCENT.canonical(str(text))


def _buffer_limits(value: object) -> str:
    """One text from a mapping of class → `HARD SOFT SECONDS`, or from the text CONFIG GET gives."""
    if isinstance(value, Mapping):
        value = " ".join(f"{name} {limits}" for name, limits in value.items())
    limits = canonical_buffer_limits(str(value))
    if len(limits.split()) != 4 * len(BUFFER_CLASSES):
        raise ValueError(f"{value!r}: give all three classes: normal, replica and pubsub")
    return limits


def _save_points(value: object) -> str:
    """One text from a list of [seconds, changes] pairs, or from the text CONFIG GET gives."""
    if isinstance(value, list | tuple):
        value = " ".join(f"{pair[0]} {pair[1]}" if isinstance(pair, list | tuple) else str(pair) for pair in value)
    return canonical_save(str(value))


Memory = Annotated[int, BeforeValidator(_memory), BYTES]
MemoryOrPercent = Annotated[str, BeforeValidator(_memory_or_percent), BYTES_OR_PERCENT]
BufferLimits = Annotated[str, BeforeValidator(_buffer_limits), BUFFER_LIMITS]
SavePoints = Annotated[str, BeforeValidator(_save_points), SAVE_POINTS]
Events = Annotated[str, text_rule(canonical_events), EVENTS]
Whole = Annotated[int, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Flag = Annotated[bool, Field(strict=True)]
FileName = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Fsync = Literal["always", "everysec", "no"]
Level = Literal["debug", "verbose", "notice", "warning"]
PropagationError = Literal["ignore", "panic", "panic-on-replicas"]
Policy = Literal[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]


class Settings(BaseModel):
    """The directives of a role's redis.conf, in the order of the file; `_` for `-`.

    A field is set by the role, in the catalogue. A ClassVar is not: it places or fences the instance, and
    tasks/desired/build.py says how.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bind: ClassVar = Directive(NETWORK, form=WORDS)
    protected_mode: ClassVar = Directive(NETWORK)
    port: Annotated[Port, Directive(NETWORK)]
    tcp_backlog: Annotated[Port, Directive(NETWORK, live=False)]
    timeout: Annotated[Count, Directive(NETWORK)]
    tcp_keepalive: Annotated[Count, Directive(NETWORK)]
    maxclients: Annotated[Whole, Field(ge=1), Directive(NETWORK)]

    daemonize: ClassVar = Directive(GENERAL, live=False)
    supervised: ClassVar = Directive(GENERAL, live=False)
    pidfile: ClassVar = Directive(GENERAL, live=False)
    loglevel: Annotated[Level, Directive(GENERAL)]
    logfile: ClassVar = Directive(GENERAL, live=False)
    crash_log_enabled: Annotated[Flag, Directive(GENERAL)]
    databases: Annotated[Whole, Field(ge=1), Directive(GENERAL, live=False)]
    always_show_logo: ClassVar = Directive(GENERAL, live=False)
    set_proc_title: Annotated[Flag, Directive(GENERAL, live=False)]
    hz: Annotated[Whole, Field(ge=1, le=500), Directive(GENERAL)]
    dynamic_hz: Annotated[Flag, Directive(GENERAL)]
    io_threads: Annotated[Whole, Field(ge=1, le=128), Directive(GENERAL, live=False)]
    busy_reply_threshold: Annotated[Count, Directive(GENERAL)]
    notify_keyspace_events: Annotated[Events, Directive(GENERAL)]

    aclfile: ClassVar = Directive(ACCESS, live=False)
    enable_protected_configs: ClassVar = Directive(ACCESS, live=False)
    enable_debug_command: ClassVar = Directive(ACCESS, live=False)
    enable_module_command: ClassVar = Directive(ACCESS, live=False)

    maxmemory: Annotated[Memory, Field(ge=1 << 20), Directive(MEMORY)]
    maxmemory_policy: Annotated[Policy, Directive(MEMORY)]
    maxmemory_samples: Annotated[Whole, Field(ge=1, le=64), Directive(MEMORY)]
    maxmemory_eviction_tenacity: Annotated[Whole, Field(ge=0, le=100), Directive(MEMORY)]
    maxmemory_clients: Annotated[MemoryOrPercent, Directive(MEMORY)]
    client_output_buffer_limit: Annotated[BufferLimits, Directive(MEMORY)]
    client_query_buffer_limit: Annotated[Memory, Field(ge=1 << 20), Directive(MEMORY)]
    lazyfree_lazy_eviction: Annotated[Flag, Directive(MEMORY)]
    lazyfree_lazy_expire: Annotated[Flag, Directive(MEMORY)]
    lazyfree_lazy_server_del: Annotated[Flag, Directive(MEMORY)]
    lazyfree_lazy_user_del: Annotated[Flag, Directive(MEMORY)]
    lazyfree_lazy_user_flush: Annotated[Flag, Directive(MEMORY)]
    activedefrag: Annotated[Flag, Directive(MEMORY)]
    jemalloc_bg_thread: Annotated[Flag, Directive(MEMORY)]
    oom_score_adj: Annotated[Flag, Directive(MEMORY)]
    disable_thp: Annotated[Flag, Directive(MEMORY, live=False)]

    dir: ClassVar = Directive(PERSISTENCE, live=False)
    dbfilename: Annotated[FileName, Directive(PERSISTENCE, live=False)]
    save: Annotated[SavePoints, Directive(PERSISTENCE)]
    stop_writes_on_bgsave_error: Annotated[Flag, Directive(PERSISTENCE)]
    rdbcompression: Annotated[Flag, Directive(PERSISTENCE)]
    rdbchecksum: Annotated[Flag, Directive(PERSISTENCE, live=False)]
    rdb_save_incremental_fsync: Annotated[Flag, Directive(PERSISTENCE)]
    appendonly: Annotated[Flag, Directive(PERSISTENCE)]
    appendfilename: Annotated[FileName, Directive(PERSISTENCE, live=False)]
    appenddirname: Annotated[FileName, Directive(PERSISTENCE, live=False)]
    appendfsync: Annotated[Fsync, Directive(PERSISTENCE)]
    no_appendfsync_on_rewrite: Annotated[Flag, Directive(PERSISTENCE)]
    auto_aof_rewrite_percentage: Annotated[Count, Directive(PERSISTENCE)]
    auto_aof_rewrite_min_size: Annotated[Memory, Directive(PERSISTENCE)]
    aof_load_truncated: Annotated[Flag, Directive(PERSISTENCE)]
    propagation_error_behavior: Annotated[PropagationError, Directive(PERSISTENCE)]
    aof_use_rdb_preamble: Annotated[Flag, Directive(PERSISTENCE)]
    aof_timestamp_enabled: Annotated[Flag, Directive(PERSISTENCE)]
    aof_rewrite_incremental_fsync: Annotated[Flag, Directive(PERSISTENCE)]

    slowlog_log_slower_than: Annotated[Whole, Field(ge=-1), Directive(LATENCY)]
    slowlog_max_len: Annotated[Count, Directive(LATENCY)]
    latency_monitor_threshold: Annotated[Count, Directive(LATENCY)]
    latency_tracking: Annotated[Flag, Directive(LATENCY)]


# In no redis.conf of ours, only compared with the version's default. What is not named is plain and changed live.
# Not live: CONFIG SET answers "can't set immutable config".
_ONLY_COMPARED = {
    "active-defrag-ignore-bytes": Directive(form=BYTES),
    "aof_rewrite_cpulist": Directive(live=False),
    "bgsave_cpulist": Directive(live=False),
    "bio_cpulist": Directive(live=False),
    "cluster-config-file": Directive(live=False),
    "cluster-enabled": Directive(live=False),
    "cluster-port": Directive(live=False),
    "hash-max-listpack-value": Directive(form=BYTES),
    "hll-sparse-max-bytes": Directive(form=BYTES),
    "io-threads-do-reads": Directive(live=False),
    "latency-tracking-info-percentiles": Directive(form=WORDS),
    "masterauth": Directive(form=SECRET),
    "proto-max-bulk-len": Directive(form=BYTES),
    "repl-backlog-size": Directive(form=BYTES),
    "replicaof": Directive(live=False),
    "requirepass": Directive(form=SECRET),
    "server_cpulist": Directive(live=False),
    "set-max-listpack-value": Directive(form=BYTES),
    "slaveof": Directive(live=False),
    "socket-mark-id": Directive(live=False),
    "stream-node-max-bytes": Directive(form=BYTES),
    "syslog-enabled": Directive(live=False),
    "syslog-facility": Directive(live=False),
    "syslog-ident": Directive(live=False),
    "tls-client-key-file-pass": Directive(form=SECRET),
    "tls-key-file-pass": Directive(form=SECRET),
    "tls-protocols": Directive(form=TEXT),
    "unixsocket": Directive(live=False),
    "unixsocketperm": Directive(live=False),
    "zset-max-listpack-value": Directive(form=BYTES),
}


def declared(model: type[Settings]) -> dict[str, Directive]:
    """Every directive that a model declares, by its name and in its order, with the form of its field's type."""
    found = {}
    for base in reversed(model.__mro__):
        for field in inspect.get_annotations(base):
            info = model.model_fields.get(field)
            stated = info.metadata if info else [vars(base).get(field)]
            forms = [item for item in stated if isinstance(item, Form)]
            for item in stated:
                if isinstance(item, Directive):
                    found[field.replace("_", "-")] = replace(item, form=forms[-1]) if forms else item
    return found


_DECLARED = declared(Settings)
DIRECTIVES: Mapping[str, Directive] = _ONLY_COMPARED | _DECLARED
SECTIONS: Mapping[str, tuple[str, ...]] = {
    section.value: tuple(name for name, item in _DECLARED.items() if item.section is section) for section in Section
}


def directive(name: str) -> Directive:
    """What is known of a directive; one that nobody declared is plain and changed live."""
    return DIRECTIVES.get(name, Directive())


def canonical(name: str, text: str) -> str:
    """`text`, a value of a directive from a file, the catalogue or a server, as CONFIG GET writes it.

    Values that mean the same come out equal; what is not understood comes out as it was, so that it differs.
    """
    text = unquote(text)
    try:
        return directive(name).form.canonical(text)
    except ValueError:
        return text

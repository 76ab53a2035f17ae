"""The text of every managed file: templates filled in, redis.conf in the order upstream presents it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.catalogue.acl_rules import DEFAULT_LINE
from tasks.catalogue.roles import Role
from tasks.desired.host import User

MANAGED = "Written by the CAAS Redis repository (pyinfra deploy.py): change group_data/ or templates/ there."

# The order in which redis.conf itself presents them.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Network": ("bind", "protected-mode", "port", "tcp-backlog", "timeout", "tcp-keepalive", "maxclients"),
    "General": (
        "daemonize",
        "supervised",
        "pidfile",
        "loglevel",
        "logfile",
        "databases",
        "always-show-logo",
        "set-proc-title",
        "hz",
        "dynamic-hz",
        "io-threads",
        "busy-reply-threshold",
        "notify-keyspace-events",
    ),
    "Access": ("aclfile", "enable-protected-configs", "enable-debug-command", "enable-module-command"),
    "Memory": (
        "maxmemory",
        "maxmemory-policy",
        "maxmemory-samples",
        "maxmemory-eviction-tenacity",
        "maxmemory-clients",
        "client-output-buffer-limit",
        "client-query-buffer-limit",
        "lazyfree-lazy-eviction",
        "lazyfree-lazy-expire",
        "lazyfree-lazy-server-del",
        "lazyfree-lazy-user-del",
        "lazyfree-lazy-user-flush",
        "activedefrag",
        "jemalloc-bg-thread",
        "oom-score-adj",
        "disable-thp",
    ),
    "Persistence": (
        "dir",
        "dbfilename",
        "save",
        "stop-writes-on-bgsave-error",
        "rdbcompression",
        "rdbchecksum",
        "rdb-save-incremental-fsync",
        "appendonly",
        "appendfilename",
        "appenddirname",
        "appendfsync",
        "no-appendfsync-on-rewrite",
        "auto-aof-rewrite-percentage",
        "auto-aof-rewrite-min-size",
        "aof-load-truncated",
        "aof-use-rdb-preamble",
        "aof-timestamp-enabled",
        "aof-rewrite-incremental-fsync",
    ),
    "Slow log and latency": (
        "slowlog-log-slower-than",
        "slowlog-max-len",
        "latency-monitor-threshold",
        "latency-tracking",
    ),
}


def config_text(role: Role, settings: Mapping[str, str]) -> str:
    """redis.conf of a role, each value as CONFIG GET says it."""
    listed = {name for names in SECTIONS.values() for name in names}
    others = tuple(sorted(set(settings) - listed))
    sections = {**SECTIONS, **({"Other": others} if others else {})}
    lines = [
        (title, [line for name in names for line in config_lines(name, settings[name])])
        for title, names in sections.items()
    ]
    return render("redis.conf.j2", role=role, sections=lines)


def config_lines(directive: str, value: str) -> list[str]:
    """The line or lines that set a directive; one pair or class per line, which every version reads alike."""
    if not value:
        return [f'{directive} ""']
    words = value.split()
    size = {"save": 2, "client-output-buffer-limit": 4}.get(directive, len(words))
    return [" ".join((directive, *words[at : at + size])) for at in range(0, len(words), size)]


def acl_text(users: Sequence[User]) -> str:
    """The ACL file, `default` first; empty while a password is still to be generated."""
    if any(user.password_sha256 is None for user in users):
        return ""
    return render("users.acl.j2", default_line=DEFAULT_LINE, users=users)


def process_part(unit_text: str) -> str:
    """What of a unit's text its running process depends on: not the assertions, which only the next start asks."""
    return "".join(line for line in unit_text.splitlines(keepends=True) if not line.startswith(("#", "Assert")))


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parents[2] / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def render(template: str, **variables: Any) -> str:
    """The text of templates/`template`; a variable it needs and does not get is an error."""
    return _templates().get_template(template).render(managed=MANAGED, **variables)

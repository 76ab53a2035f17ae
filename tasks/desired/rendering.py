"""The text of every managed file: templates filled in, redis.conf in the order upstream presents it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.catalogue.acl_rules import DEFAULT_LINE
from tasks.catalogue.directives import SECTIONS, directive
from tasks.catalogue.roles import Role
from tasks.desired.host import User

MANAGED = "Written by the CAAS Redis repository (pyinfra deploy.py): change group_data/ or templates/ there."

TLS_PREFIX = "tls-"


def config_text(role: Role, settings: Mapping[str, str]) -> str:
    """redis.conf of a role, each value as CONFIG GET says it."""
    listed = {name for names in SECTIONS.values() for name in names}
    others = sorted(set(settings) - listed)
    tls = tuple(name for name in others if name.startswith(TLS_PREFIX))
    others = [name for name in others if name not in tls]
    sections = {**SECTIONS, **({"TLS": tls} if tls else {}), **({"Other": tuple(others)} if others else {})}
    lines = [
        (title, [line for name in names for line in config_lines(name, settings[name])])
        for title, names in sections.items()
    ]
    return render("redis.conf.j2", role=role, sections=lines)


def config_lines(name: str, value: str) -> list[str]:
    """The line or lines that set a directive; one pair or class per line, which every version reads alike."""
    if not value:
        return [f'{name} ""']
    if directive(name).form.quoted:
        return [f'{name} "{value}"']
    words = value.split()
    size = directive(name).form.words or len(words)
    return [" ".join((name, *words[at : at + size])) for at in range(0, len(words), size)]


def acl_text(users: Sequence[User]) -> str:
    """The ACL file, `default` first; empty while a password is still to be generated."""
    if any(not user.passwords_sha256 or user.awaits for user in users):
        return ""
    return render("users.acl.j2", default_line=DEFAULT_LINE, users=users)


def process_part(unit_text: str) -> str:
    """What of a unit's text its running process depends on: not what only the next start asks before it begins."""
    asked = ("#", "Assert", "ExecStartPre=")
    return "".join(line for line in unit_text.splitlines(keepends=True) if not line.startswith(asked))


def unit_digest(unit_text: str) -> str:
    """What a running process says of the text of the unit that it was started from."""
    return hashlib.sha256(process_part(unit_text).encode()).hexdigest()[:16]


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

"""Patterns of keys and channels as Redis matches them: whether a name matches, and a name that does. Pure.

Source: stringmatchlen of util.c: `*`, `?`, `[abc]`, `[^a]`, `[a-z]` and a backslash before a character that is itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PARTS = re.compile(r"\\(.)|\[(\^?)((?:\\.|[^\]\\])*)\]?|(\*|\?)|(.)", re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """Whether `name` matches `pattern`, in a time that grows with their lengths, however many `*` there are."""
    *between, last = _between_stars(pattern)
    if not between:
        return re.fullmatch(last, name, re.DOTALL) is not None
    first = re.match(between[0], name, re.DOTALL)
    at = first.end() if first else None
    for part in between[1:]:  # the first place that fits leaves the most for the rest
        found = None if at is None else re.compile(part, re.DOTALL).search(name, at)
        at = found.end() if found else None
    return at is not None and re.compile(f"{last}\\Z", re.DOTALL).search(name, at) is not None


def _between_stars(pattern: str) -> list[str]:
    """What stands before, between and after the `*` of a pattern, as expressions of one character each."""
    parts = [""]
    for expression in _expressions(pattern):
        if expression == ".*":
            parts.append("")
        else:
            parts[-1] += expression
    return parts


def _expressions(pattern: str) -> Iterator[str]:
    for escaped, inverted, inside, wild, plain in _PARTS.findall(pattern):
        if wild:
            yield ".*" if wild == "*" else "."
        elif escaped or plain:
            yield re.escape(escaped or plain)
        else:
            items = "".join(_items(inside))
            yield f"[{inverted}{items}]" if items else ("." if inverted else "(?!)")


def _items(inside: str) -> Iterator[str]:
    for first, last, one in re.findall(r"(\\.|.)-(\\.|.)|(\\.|.)", inside, re.DOTALL):
        if one:
            yield re.escape(one[-1])
        else:
            yield "-".join(re.escape(end) for end in sorted((first[-1], last[-1])))


def example(pattern: str, token: str) -> str | None:
    """A name that matches `pattern`, with `token` for each `*`; None where none is found."""
    found = []
    for escaped, inverted, inside, wild, plain in _PARTS.findall(pattern):
        if wild:
            found.append(token if wild == "*" else token[:1])
        elif escaped or plain:
            found.append(escaped or plain)
        else:
            found.append(token[:1] if inverted else inside.lstrip("\\")[:1])
    name = "".join(found)
    return name if matches(pattern, name) else None

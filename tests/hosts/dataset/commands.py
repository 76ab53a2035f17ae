"""Commands from a text, one a line; what may stand in it says texts.py."""

import shlex

from tests.hosts.dataset.server import Command


def commands(text: str, prefix: bytes, later: int = 0, dump: bytes = b"") -> list[Command]:
    """The commands of a text, with keys that begin with `prefix` and times at `later` (seconds since 1970)."""
    filled = {"{s}": b"%d" % later, "{ms}": b"%d" % (later * 1000 + 1), "{long}": b"long" * 100, "{dump}": dump}
    return [tuple(_word(word, prefix, filled) for word in shlex.split(line)) for line in text.strip().splitlines()]


def _word(word: str, prefix: bytes, filled: dict[str, bytes]) -> bytes:
    raw = word.encode().decode("unicode_escape").encode("latin-1")
    return filled.get(word) or (prefix + raw[1:] if word.startswith("%") else raw)

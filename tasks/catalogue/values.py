"""What Redis directive values mean: one canonical text per value, the text CONFIG GET answers with.

Source of every rule: `CONFIG GET` of redis 7.0.15 and 8.0.2 (docs/decisions/0002-canonical-values.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 1000**2, "mb": 1 << 20, "g": 1000**3, "gb": 1 << 30}
_MEMORY = re.compile(r"(\d+)([a-z]*)", re.IGNORECASE)
_PERCENT = re.compile(r"\d+%")

BUFFER_CLASSES = ("normal", "slave", "pubsub")


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


def _plain(text: str) -> str:
    return text.lower() if text.lower() in ("yes", "no") else text


def _show_plain(text: str) -> str:
    return text or '""'


def _bytes(text: str) -> str:
    return str(parse_memory(text))


def _show_bytes(text: str) -> str:
    return show_memory(int(text)) if text.isdigit() else _show_plain(text)


@dataclass(frozen=True)
class Form:
    """How the values of a directive are written.

    `canonical`: any way to write a value → as CONFIG GET writes it, or ValueError for what is no value of this form.
    `show`: a canonical value → as a person reads it. `words`: how many of them a line of redis.conf takes, 0 for all;
    one pair or class a line is what every version reads alike. `quoted`: several words are one argument there.
    """

    canonical: Callable[[str], str]
    show: Callable[[str], str] = _show_plain
    words: int = 0
    quoted: bool = False


PLAIN = Form(_plain)
BYTES = Form(_bytes, _show_bytes)
BYTES_OR_PERCENT = Form(lambda text: text if _PERCENT.fullmatch(text) else _bytes(text))
WORDS = Form(lambda text: " ".join(text.split()))
TEXT = Form(lambda text: " ".join(text.split()), quoted=True)
SAVE_POINTS = Form(canonical_save, words=2)
BUFFER_LIMITS = Form(canonical_buffer_limits, words=4)
EVENTS = Form(canonical_events)
SECRET = Form(str, lambda text: "set" if text else "not set")


def mib(size: int) -> str:
    """A size as a person reads it."""
    return f"{size / (1 << 20):.0f} MiB"

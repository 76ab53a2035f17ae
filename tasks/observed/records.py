"""Take apart what a reading script prints on a host. Nothing in it is believed to have a form before it was checked.

The output of such a script is base64 between two marks that the controller made up: what a login prints is no part of
it. Inside, every part begins with a zero byte, the mark and a name; what can hold a line break is one of the strings
that end with a zero byte. No file's name or content has one, so none can begin a part or a record.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence

from tasks.catalogue.printable import excerpt

LIMIT = 8 << 20  # bytes before encoding; a look at five roles with their data takes 70 KiB
ENCODED = LIMIT // 3 * 4 + (64 << 10)  # and what a login may print
LONGEST = 15  # digits of a number: more than any size or time has


class Unreadable(ValueError):
    """A host's output is not what its script prints; the message says in one short printable line what it is."""


SHOWN = 200  # characters of what a host said


def last_words(text: str) -> str:
    """The last line that somebody on a host said, where programs say why they failed, in quotes; empty when none."""
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    return excerpt(last, SHOWN) if last else ""


def new_mark() -> str:
    """A word that nobody on a host knows beforehand."""
    return secrets.token_hex(16)


def unframe(lines: Iterable[str], mark: str) -> str:
    """What a reading script printed, from all that came from the host."""
    kept, size = [], 0
    for line in lines:
        size += len(line)
        if size > ENCODED:
            raise Unreadable(f"it is larger than {LIMIT >> 20} MiB")
        kept.append(line)
    text = "\n".join(kept)
    start, end = f"{mark} <", f"> {mark}"
    began = text.find(start)
    if began < 0:
        raise Unreadable(f"it printed {excerpt(text)} instead" if text.strip() else "it printed nothing")
    stopped = text.find(end, began)
    if stopped < 0:
        raise Unreadable("it is cut off")
    try:
        content = base64.b64decode(text[began + len(start) : stopped], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unreadable("it is damaged: no base64") from error
    if len(content) >= LIMIT:
        raise Unreadable(f"it is larger than {LIMIT >> 20} MiB")
    return content.decode(errors="replace")


def split_parts(text: str, mark: str, names: Sequence[str]) -> dict[str, str]:
    """The parts of a reading by name: exactly these, in this order, and an empty one named end after them."""
    before, *pieces = text.split(f"\0{mark} ")
    parts = [piece.partition("\n")[::2] for piece in pieces]
    found, wanted = [name for name, _ in parts], [*names, "end"]
    if before or found != wanted[: len(found)] or (found == wanted and parts[-1][1]):
        raise Unreadable("its parts are not in their order")
    if found != wanted:
        raise Unreadable("it is cut off")
    return dict(parts[:-1])


def lines_of(part: str) -> list[str]:
    """The lines of a part that is a text."""
    return part.removesuffix("\n").split("\n") if part else []


def read_records(part: str, fields: int) -> Iterator[list[str]]:
    """The records of a part: each of `fields` strings, all but the first after an equals sign, that end with a zero."""
    *strings, rest = part.split("\0")
    if rest or len(strings) % fields:
        raise Unreadable("a record of it is cut off")
    for start in range(0, len(strings), fields):
        first, *others = strings[start : start + fields]
        if not all(text.startswith("=") for text in others):
            raise Unreadable("a record of it is damaged")
        yield [first, *(text[1:] for text in others)]


def number(text: str, what: str) -> int:
    """A whole number that is not negative."""
    if not re.fullmatch(f"[0-9]{{1,{LONGEST}}}", text):
        raise Unreadable(f"{what} is {excerpt(text)}, expected a number")
    return int(text)


def matching(pattern: str, text: str, what: str) -> str:
    """`text`, which is wholly of this form."""
    if not re.fullmatch(pattern, text):
        raise Unreadable(f"{what} is {excerpt(text)}, which none can be")
    return text

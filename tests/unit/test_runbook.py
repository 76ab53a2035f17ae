"""docs/runbook.md: each code and refusal has its entry, each entry is pointed to, run, and in the tool's own words."""

import ast
import re
from functools import cache

import pytest

from tasks.compare.runbook import OF_HEALTH, OF_REFUSAL
from tasks.compare.unwell import SEVERITIES, Code
from tasks.observed.refusal import Cause
from tests.runbook import Entry, entries, fragments
from tests.tree import REPOSITORY

UNWRITTEN = "no test has run its way back from the runbook yet (issue 14, line 5); its remedy says what to do"
# What has no entry, and why. An entry that is written leaves this table.
NO_ENTRY: tuple[Code | Cause, ...] = (
    Code.WITHOUT_TTL,
    Code.EVICTED,
    Code.WRITES_REFUSED,
    Code.BUFFERS,
    Code.EVICTED_CLIENTS,
    Code.PASSWORDS_REFUSED,
    Code.DISK_FULL,
    Code.DISK_SLOW,
    Code.HOST_MEMORY,
    Cause.NOT_ITS_OWN,
    Cause.TAKEN,
    Cause.FORBIDDEN,
    Cause.CLOSED,
    Cause.BROKEN,
    Cause.DENIED,
    Cause.NOPERM,
    Cause.STRANGE,
)
EXEMPT = dict.fromkeys(NO_ENTRY, UNWRITTEN) | {Cause.LOADING: "nothing is wrong: it ends by itself"}
POINTED: dict[Code | Cause, str] = dict([*OF_HEALTH.items(), *OF_REFUSAL.items()])
DIFFERENCES = {"drift-found", "log-owned-by-root"}  # differences have no keys yet that could point to them
WISHES = {"rotate-a-password"}  # nothing is wrong: an operator wants it


@cache
def said() -> str:
    """Every text of the tool, what it fills in as a line's end, each on its own."""
    texts: list[str] = [*Code, *SEVERITIES, *(f"{severity} {code}" for severity in SEVERITIES for code in Code)]
    for file in sorted((REPOSITORY / "tasks").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def unsaid(quote: str) -> list[str]:
    """What of a quote the tool does not say: a fragment is looked for in pieces, as far as `: ` joins them."""
    words = [word for part in fragments(quote) for word in re.split(r": |:$|^crypto", part) if word]
    return [word for word in words if word not in said()]


@pytest.mark.parametrize("kind", [*Code, *Cause], ids=str)
def test_every_code_and_refusal_has_an_entry_or_a_reason_why_not(kind: Code | Cause) -> None:
    assert (kind in POINTED) != (kind in EXEMPT)
    assert kind in EXEMPT or POINTED[kind] in entries()


@pytest.mark.parametrize("entry", entries().values(), ids=entries())
def test_every_entry_is_pointed_to_quotes_the_tool_and_is_run_by_a_test_that_there_is(entry: Entry) -> None:
    assert entry.anchor in DIFFERENCES | WISHES | {*POINTED.values()}
    assert entry.quotes
    assert entry.commands
    assert [(quote, unsaid(quote)) for quote in entry.quotes if unsaid(quote)] == []
    assert entry.run_by
    for file, name in entry.run_by:
        assert re.search(rf"^def {name}\(", (REPOSITORY / file).read_text(), re.MULTILINE), name


def test_words_that_the_tool_does_not_say_are_found() -> None:
    assert unsaid("crypto: … critical MEM-FULL: … nothing to eat") == ["nothing to eat"]

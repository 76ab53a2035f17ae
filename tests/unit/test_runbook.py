"""docs/runbook.md: each code and refusal has its entry, each entry is pointed to, run, and in the tool's own words."""

import ast
import re
from functools import cache

import pytest

from tasks.compare import runbook
from tasks.compare.difference import Difference, Remedy
from tasks.compare.unfit import Reason, Unfit
from tasks.compare.unknown import Kind, Unknown
from tasks.compare.unwell import SEVERITIES, Code, Health
from tasks.observed.refusal import Cause
from tests.runbook import Entry, entries, fragments
from tests.tree import REPOSITORY

# What has no entry, and why.
EXEMPT: dict[Code | Cause | Kind | Unfit, str] = {
    Cause.LOADING: "nothing is wrong: it ends by itself",
    Kind.LOADING: "nothing is wrong: it ends by itself",
    Kind.UNTRIED: "of another host that could not try: that one has its own finding",
    Unfit.GONE: "README, Data that is gone, says all that there is to do",
    Unfit.FOREIGN: "README, A server that is there already, goes through all of it",
    Unfit.PURGE: "a word that was given too early: the refusal is all there is to do",
    Kind.PAIR: "of the other host of a role, which was not seen: that one has its own finding",
    Kind.SAME_MACHINE: "a mistake in the inventory, not on a host: its remedy is all there is to do",
}
POINTED: dict[Code | Cause | Kind | Unfit, str] = dict(
    [
        *runbook.OF_HEALTH.items(),
        *runbook.OF_REFUSAL.items(),
        *runbook.OF_UNKNOWN.items(),
        *runbook.OF_UNFIT.items(),
    ]
)
DIFFERENCES = {
    runbook.DRIFT,
    runbook.UNSEEN,
    runbook.NOT_CHECKED,
    runbook.FINDS_LESS,
    runbook.LOADS_LONG,
    *runbook.OF_REMEDY.values(),
    *runbook.OF_PERSISTENCE.values(),
}
# Of an entry that a person comes to from another one, or from what a deploy says when it fails.
ELSEWHERE = {"log-damaged", "a-host-is-lost", "promote-a-standby"}
# What somebody plans to do, or meets in words that have no key.
PLANNED = {
    "first-deploy",
    "change-a-limit",
    "a-service-added-or-removed",
    "a-sixth-role",
    "upgrade-redis",
    "roll-back",
    "ssh-host-key-changed",
    "host-installed-anew",
    "a-mistake-is-undone",
    "an-old-host-comes-back",
    "a-role-waits-for-its-other-host",
    "rotate-a-password",
    "data-put-aside",
    "hand-a-role-over",
    "rotate-a-backup-password",
}


@cache
def said() -> str:
    """Every text of the tool, what it fills in as a line's end, each on its own."""
    texts: list[str] = [*Code, *SEVERITIES, *(f"{severity} {code}" for severity in SEVERITIES for code in Code)]
    for file in sorted((REPOSITORY / "tasks").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    texts += [file.read_text() for file in sorted((REPOSITORY / "templates" / "scripts").glob("*.sh"))]  # to journals
    return "\n".join(texts)


def unsaid(quote: str) -> list[str]:
    """What of a quote the tool does not say: a fragment is looked for in the pieces that `: `, → and brackets join."""
    words = [word for part in fragments(quote) for word in re.split(r": |:$|^crypto| ?→ ?|(?:^| )\(|\)$", part) if word]
    return [word for word in words if word not in said()]


@pytest.mark.parametrize("kind", [*Code, *Cause, *Kind, *Unfit], ids=str)
def test_every_code_refusal_and_unknown_has_an_entry_or_a_reason_why_not(kind: Code | Cause | Kind | Unfit) -> None:
    assert (kind in POINTED) != (kind in EXEMPT)
    assert kind in EXEMPT or POINTED[kind] in entries()


@pytest.mark.parametrize("entry", entries().values(), ids=entries())
def test_every_entry_is_pointed_to_quotes_the_tool_and_is_run_by_a_test_that_there_is(entry: Entry) -> None:
    assert entry.anchor in (DIFFERENCES | ELSEWHERE | PLANNED).union(POINTED.values())
    assert entry.quotes
    assert entry.commands
    assert [(quote, unsaid(quote)) for quote in entry.quotes if unsaid(quote)] == []
    assert entry.run_by
    for file, name in entry.run_by:
        assert re.search(rf"^def {name}\(", (REPOSITORY / file).read_text(), re.MULTILINE), name


def test_words_that_the_tool_does_not_say_are_found() -> None:
    assert unsaid("crypto: … critical MEM-FULL: … nothing to eat") == ["nothing to eat"]


UNWELL = Health("crypto", Code.MEM_FULL, "critical", "full", "99 %", "raise it")
BUSY = Unknown("crypto", "its data", "BUSY", "wait", Cause.BUSY)
CUT = Difference("crypto", "persistence", "end of the log", "as it was written", "cut off", Remedy.REWRITE)
ROOTS = Difference("crypto", "persistence", "/var/lib/redis/crypto", "its own", "root's", Remedy.OWN)
LOADS = Unknown("crypto", "its data", "it loads", "wait", Kind.LOADING)
OTHER = Difference("crypto", "setting", "maxmemory", "256mb", "3gb", Remedy.LIVE)


@pytest.mark.parametrize(
    ("found", "anchor"),
    [
        (Reason("crypto: port … is held", Unfit.PORT), "a-port-is-taken"),
        (UNWELL, "memory-full"),
        (BUSY, "busy"),
        (CUT, "log-cut-off"),
        (ROOTS, "log-owned-by-root"),
    ],
)
def test_a_finding_in_words_ends_with_its_entry(found: runbook.Finding, anchor: str) -> None:
    assert runbook.in_words(found) == f"{found} (docs/runbook.md#{anchor})"


@pytest.mark.parametrize("found", [LOADS, OTHER])
def test_a_finding_without_an_entry_of_its_own_is_said_as_it_is(found: Difference | Unknown) -> None:
    assert runbook.in_words(found) == str(found)

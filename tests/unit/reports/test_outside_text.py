"""Whatever name or text a host has, all that a person is shown of it is printable, and every finding is one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from tasks.compare.elsewhere import moved_roles
from tasks.compare.fitness import unfit
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import FileState, Leftover, Listener, Marker, Observed, Taking, Unseen
from tasks.reports import DriftReport, HostReport, to_html, to_json, to_metrics, to_table
from tasks.run.ending import listed
from tasks.run.survey import Look, judge
from tasks.steps.preflight import plan_lines
from tests.unit.builders import as_desired, desired, fresh, stopped, with_file, with_server, with_setting, with_unit
from tests.unit.foreign import adopting, seen, server

EVIL = "x\x1b[2J\x1b]0;t\x07\r\nredis-gateway: all is well\u202e\x9b1A\x00\udcff\x08"
HOST = desired("crypto")
RIGHT = as_desired(HOST)
EVERY = ((0, (1 << 32) - 1),)
DATA = "/var/lib/redis/crypto"
Change = Callable[[Observed], Observed]


def info(**fields: str) -> Change:
    return lambda host: with_server(host, "crypto", info={**host.servers["crypto"].info, **fields})


OUTSIDE: dict[str, Change] = {
    "the name of a process": lambda host: replace(
        host, listeners=(*host.listeners, Listener("172.28.2.5", 6383, f"redis-{EVIL}", 7), Listener(EVIL, 1, EVIL, 9))
    ),
    "the name of the system": lambda host: replace(host, os={"PRETTY_NAME": EVIL, "ID": EVIL}),
    "a container": lambda host: replace(host, container=EVIL, sysctls=dict.fromkeys(host.sysctls, EVIL), thp=EVIL),
    "the kernel": lambda host: replace(host, sysctls=dict.fromkeys(host.sysctls, EVIL), thp=EVIL),
    "the kernel at boot": lambda host: replace(
        host, boot_sysctls=dict.fromkeys(HOST.sysctls, (EVIL, EVIL)), boot_thp={EVIL: EVIL}
    ),
    "a file's content": lambda host: with_file(host, "/etc/redis/crypto.conf", content=EVIL),
    "a file's owner": lambda host: with_file(host, "/etc/redis/crypto.conf", owner=EVIL, group=EVIL, kind=EVIL),
    "a package": lambda host: replace(host, packages=dict.fromkeys(host.packages, EVIL), candidate=EVIL),
    "an override": lambda host: replace(host, statoverrides=dict.fromkeys(host.statoverrides, EVIL)),
    "a unit": lambda host: with_unit(
        host, "redis-crypto.service", UnitFileState=EVIL, Result=EVIL, DropInPaths=f"/{EVIL}/{EVIL}".replace(" ", "")
    ),
    "a program": lambda host: replace(host, binaries=dict.fromkeys(host.binaries, EVIL)),
    "a rule": lambda host: replace(host, takings=(Taking(EVIL, EVIL, EVERY, EVERY),)),
    "a rule of ours": lambda host: replace(host, forwards=frozenset({("output", EVIL, 0, EVIL)})),
    "a setting": lambda host: with_setting(host, "crypto", "maxmemory-policy", EVIL),
    "a place for data": lambda host: with_setting(host, "crypto", "dbfilename", EVIL),
    "a user": lambda host: with_server(host, "crypto", users={EVIL: {"flags": [EVIL], "commands": EVIL}}),
    "a user's rules": lambda host: with_server(
        host, "crypto", users={name: {"flags": ["on"], "keys": EVIL} for name in host.servers["crypto"].users}
    ),
    "what a server says of itself": info(aof_last_write_status=EVIL, loading=EVIL, loading_loaded_perc=EVIL),
    "a version": info(redis_version=EVIL),
    "a journal": lambda host: with_server(
        info(unexpected_error_replies="3")(host), "crypto", said=(f"== CRITICAL == {EVIL}", EVIL)
    ),
    "a refusal": lambda host: with_server(host, "crypto", refusal=Refusal(Cause.STRANGE, EVIL)),
    "a turned away operator": lambda host: with_server(host, "crypto", refusal=Refusal(Cause.DENIED, EVIL)),
    "data": lambda host: replace(
        stopped(host, "crypto"), data_files={f"{DATA}/{EVIL}": 7, f"{DATA}/dump.rdb{EVIL}": 7}, stored={}
    ),
    "the owner of data": lambda host: replace(
        host, stored={f"{DATA}/{EVIL}": FileState("file", EVIL, EVIL, "0644", EVIL)}
    ),
    "a link": lambda host: with_file(host, DATA, kind="link", content=EVIL),
    "what was not seen": lambda host: replace(
        host, unseen=dict.fromkeys(("forwards", "listeners", "disk"), Unseen(EVIL))
    ),
    "a role that left": lambda host: replace(host, leftovers=(Leftover("old", True, ("10.0.0.1", 1), None, EVIL),)),
    "an adoption": lambda host: replace(host, adopting={"crypto": Marker(EVIL, 7, EVIL, EVIL, EVIL, EVIL)}),
}


def shown(look: Look) -> list[str]:
    """Every line that a plan, a refusal or a proof shows of one host, each for itself."""
    assert look.observed is not None
    observed = (look.desired, look.observed)
    reasons = [*unfit(look.desired, look.observed, list(look.differences)), *moved_roles({"redis-1": observed})]
    refusal = listed("Nothing was changed", [f"redis-1: {reason}" for reason in reasons])
    assert len(refusal.split("\n")) == 1 + len(reasons)
    found = [*look.differences, *look.unknown, *look.health]
    return [*refusal.split("\n"), *plan_lines({"redis-1": look}), *map(str, found)]


class Texts(HTMLParser):
    """What a browser shows of a page, and what stands in its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.texts += [value for _, value in attrs if value]


def reported(look: Look) -> DriftReport:
    host = HostReport(
        "redis-1", "error", "\n".join(look.notes), ("crypto",), look.differences, 0.1, look.unknown, look.health
    )
    return DriftReport(datetime(2026, 1, 1, tzinfo=UTC), (host,), 0.1, 1, 1, ())


def printable_lines_only(text: str) -> None:
    assert [line for line in text.split("\n") if not line.isprintable()] == []


def printable_in_every_form(look: Look) -> None:
    for line in shown(look):
        assert line.isprintable()
    report = reported(look)
    for width in (80, 160):
        printable_lines_only(to_table(report, width))
    printable_lines_only(to_metrics(report))
    printable_lines_only(to_json(report))
    json.loads(to_json(report).encode())
    for text in Texts(to_html(report)).texts:
        printable_lines_only(text.replace("\t", " "))


@pytest.mark.parametrize("change", OUTSIDE.values(), ids=OUTSIDE)
def test_no_text_from_a_host_steers_a_terminal_or_begins_a_line(change: Change) -> None:
    look = judge(HOST, {}, change(RIGHT))
    printable_in_every_form(look)


def test_most_of_these_texts_are_shown() -> None:
    looks = [judge(HOST, {}, change(RIGHT)) for change in OUTSIDE.values()]
    assert sum(any("x\\x1b[2J" in line for line in shown(look)) for look in looks) >= 20


FOREIGN = {
    "its name": {"process": f"redis-{EVIL}"},
    "its directory": {"directory": EVIL, "files": {f"/{EVIL}": 7}},
    "its unit": {"unit": EVIL},
    "its refusal": {"refusal": EVIL, "info": {}},
    "what it says": {"info": {"role": "slave", "master_host": EVIL, "redis_version": "9.9" + EVIL, "module": EVIL}},
    "its configuration": {"config": {"dbfilename": EVIL, "save": EVIL, "dir": EVIL}},
}


@pytest.mark.parametrize("changes", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("host", [desired("gateway"), adopting("gateway")], ids=["there", "adopted"])
def test_no_server_of_somebody_elses_does_either(changes: dict[str, Any], host: Any) -> None:
    printable_in_every_form(judge(host, {}, seen(host, server(**changes))))


def test_no_bare_host_does_either() -> None:
    printable_in_every_form(judge(HOST, {}, replace(fresh(HOST), os={"PRETTY_NAME": EVIL}, candidate=EVIL)))

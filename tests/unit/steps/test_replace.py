"""What a restore leaves, however it ends: the copy in place and served, or what was there; and words for a person."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest

from tasks.observed.connection import CommandResult
from tasks.run.survey import Look
from tasks.steps import replace as step
from tasks.steps.replace import Place, put_in_place
from tasks.steps.watch import ENDED_THERE
from tests.unit.builders import BACKUP, as_desired, desired
from tests.unit.compare.test_copies import copy

HOST = desired("crypto", backup=BACKUP)
(CRYPTO,), (PLAN,) = HOST.instances, HOST.backups
DONE, FAILED = CommandResult(True, "", ""), CommandResult(False, "", "why not")
LOST = CommandResult(False, "", "lost by a test")
BROKEN = CommandResult(False, "", "the connection broke")
DATA = "/var/lib/redis/crypto/appendonlydir"


class Paper:
    """A host on which every step does what a test says, and what was done is noted."""

    name = "redis-1"

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
        self.did: list[str] = []
        self.watched: list[bool] = []
        self.said: list[str] = []
        self.answers = answers
        monkeypatch.setattr(step, "_watch", lambda place, stamp, item: self.is_watched(True))
        monkeypatch.setattr(step, "_unwatch", lambda place: self.is_watched(False))
        monkeypatch.setattr(step, "_end", lambda place: self.does("stop"))
        monkeypatch.setattr(step, "swap", lambda place, way, stamp="": self.does(way))
        monkeypatch.setattr(step, "_start", lambda place, known: self.does("start", []))
        monkeypatch.setattr(step, "tool", lambda place, item, verb, *words: self.does(verb))
        self.connected, self.comes_back = True, True
        monkeypatch.setattr(step, "is_connected", lambda host: self.connected)
        monkeypatch.setattr(step, "reconnect", lambda host: self.reconnects())
        monkeypatch.setattr(step, "AWAY", 0.0)
        monkeypatch.setattr(step, "run_command", lambda *rest, **more: self.does("start again"))

    def does(self, what: str, otherwise: Any = DONE) -> Any:
        self.did.append(what)
        if not self.connected:
            return BROKEN
        answer = self.answers.get(what, otherwise)
        if answer is LOST:
            self.connected = False
            self.answers.pop(what)  # what is asked anew is answered
            return BROKEN
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def is_watched(self, now: bool) -> CommandResult:
        self.watched.append(now)
        return cast(CommandResult, self.answers.get("watch", DONE))

    def reconnects(self) -> bool:
        self.did.append("reconnect")
        self.connected = self.comes_back
        return self.connected

    def log_styled(self, words: str, **_: Any) -> None:
        self.said.append(words)

    def restores(self, active: bool = True) -> bool:
        seen = as_desired(HOST)
        if not active:
            seen = replace(
                seen, units={**seen.units, CRYPTO.unit: {**seen.units[CRYPTO.unit], "ActiveState": "failed"}}
            )
        look = cast(Callable[..., Look], lambda **given: type("Seen", (), given)())
        place = Place(cast(Any, None), cast(Any, self), CRYPTO, PLAN, look(observed=seen, passwords={}))
        return put_in_place(place, "a copy", {}, copy(1))


SET_ASIDE = CommandResult(True, f"kept {DATA}.replaced-1", "")
BACK = CommandResult(True, f"kept {DATA}.replaced-1-failed\nback {DATA}", "")


def test_a_copy_that_serves_stays_and_what_was_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, **{"in": SET_ASIDE})
    assert host.restores()
    assert host.did == ["stop", "in", "start", "continue"]
    assert host.said[-1].endswith(f"rm -rf {DATA}.replaced-1")


def test_nothing_is_stopped_that_nobody_watches_over(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, watch=FAILED)
    assert not host.restores()
    assert host.did == []
    assert host.said == ["crypto: not restored, its own data is as it was: nobody would watch over it: why not"]


@pytest.mark.parametrize("what", ["stop", "in", "start", "continue"])
@pytest.mark.parametrize("answer", [FAILED, RuntimeError("x"), SystemExit(), KeyboardInterrupt()])
def test_the_watch_ends_when_the_restore_does_however_that_is(
    monkeypatch: pytest.MonkeyPatch, what: str, answer: Any
) -> None:
    host = Paper(
        monkeypatch, **{"in": SET_ASIDE, "back": BACK, what: ["x"] if (what, answer) == ("start", FAILED) else answer}
    )
    with suppress(SystemExit, KeyboardInterrupt, RuntimeError):
        host.restores()
    assert host.watched == [True, False]


def test_a_copy_that_does_not_serve_goes_and_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, **{"in": SET_ASIDE, "start": ["it has 3 keys"], "back": BACK})
    assert not host.restores()
    assert host.did == ["stop", "in", "start", "stop", "back", "start again"]
    assert "it has 3 keys: what was there before runs again; what was served meanwhile is kept in " in host.said[-1]
    assert host.said[-1].endswith(f"{DATA}.replaced-1-failed")


@pytest.mark.parametrize("what", ["in", "start"])
@pytest.mark.parametrize("error", [RuntimeError("x"), SystemExit(), KeyboardInterrupt()])
def test_whatever_ends_it_between_the_stop_and_the_start_what_was_there_runs_again(
    monkeypatch: pytest.MonkeyPatch, what: str, error: BaseException
) -> None:
    host = Paper(monkeypatch, **{"in": SET_ASIDE, "back": BACK, what: error})
    try:
        assert not host.restores()
    except (SystemExit, KeyboardInterrupt) as raised:
        assert raised is error
    assert host.did[-3:] == ["stop", "back", "start again"]
    assert "what was there before runs again" in host.said[-1]


def test_a_server_that_does_not_end_keeps_its_data_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, stop=FAILED)
    assert not host.restores()
    assert host.did == ["stop"]
    assert host.said[-1].endswith(
        "its data is as it was; if it is down, on redis-1: systemctl start redis-crypto.service"
    )


def test_a_role_that_was_down_stays_down_with_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, **{"in": SET_ASIDE, "start": ["it does not start"], "back": BACK})
    assert not host.restores(active=False)
    assert host.did[-1] == "back"
    assert "in place, and down as it was" in host.said[-1]


def test_a_copy_in_the_place_of_nothing_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, start=["it does not start"])
    assert not host.restores()
    assert host.did[-1] == "back"
    assert "nothing was there before, so the copy stays in place, and it is down: journalctl" in host.said[-1]


def test_what_cannot_be_put_back_is_said_with_the_names_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, **{"in": SET_ASIDE, "start": ["it does not start"], "back": FAILED})
    assert not host.restores()
    assert "start again" not in host.did
    assert ".replaced-" in host.said[-1]
    assert host.said[-1].endswith("then systemctl start redis-crypto.service")


def test_a_host_that_cannot_note_whose_data_it_has_now_fails_the_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, **{"in": SET_ASIDE, "continue": FAILED})
    assert not host.restores()
    assert host.did[-1] == "continue"
    assert "/usr/local/lib/caas-redis/backup continue aaaaaaaaaaaaaaaa " in host.said[-1]


@pytest.mark.parametrize("what", ["stop", "in"])
def test_a_connection_that_is_lost_amid_it_is_made_anew_and_what_was_there_runs_again(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    host = Paper(monkeypatch, **{"in": SET_ASIDE, "back": BACK, what: LOST})
    assert not host.restores()
    assert host.did[-4:] == ["reconnect", "stop", "back", "start again"]
    assert "what was there before runs again" in host.said[-1]


def test_a_connection_that_is_lost_amid_the_start_is_made_anew_and_what_was_there_runs_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Paper(monkeypatch, **{"in": SET_ASIDE, "back": BACK})

    def start(place: Any, known: Any) -> list[str]:
        host.connected = False
        return ["it does not start: the connection broke"]

    monkeypatch.setattr(step, "_start", start)
    assert not host.restores()
    assert host.did[-4:] == ["reconnect", "stop", "back", "start again"]
    assert f"kept in {DATA}.replaced-1-failed" in host.said[-1]


@pytest.mark.parametrize("what", ["stop", "in"])
def test_of_a_host_that_does_not_come_back_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    host = Paper(monkeypatch, **{"in": SET_ASIDE, what: LOST})
    host.comes_back = False
    assert not host.restores()
    assert "reconnect" in host.did
    assert "the connection to redis-1 is lost" in host.said[-1]
    assert "is not known" in host.said[-1]
    assert "its data is as it was" not in host.said[-1]
    assert "systemctl start redis-crypto.service" in host.said[-1]


def test_whose_data_it_is_is_noted_over_a_new_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, **{"in": SET_ASIDE, "continue": LOST})
    assert host.restores()
    assert host.did[-3:] == ["continue", "reconnect", "continue"]


def test_of_a_restore_that_its_host_has_ended_the_host_is_named_and_nothing_claimed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paper = Paper(monkeypatch, **{"in": LOST})
    answers = iter([DONE, CommandResult(False, "", f"{ENDED_THERE}\n")])
    monkeypatch.setattr(step, "_end", lambda place: next(answers))
    assert not paper.restores()
    said = paper.said[-1]
    assert "the host has ended this restore by itself; which data is in place and serves, it says there" in said
    assert "journalctl -u caas-redis-restore-crypto.service -u caas-redis-unrestored-crypto.service on redis-1" in said
    assert "back" not in paper.did
    assert "lies beside" not in said

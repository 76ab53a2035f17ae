"""Of which data a host's copies are: what a deploy says of it that begins a role empty, or moves it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tasks.desired.paths import begun_file
from tasks.observed.connection import CommandResult
from tasks.observed.script import prepared, script
from tasks.observed.state import Observed, Unseen
from tasks.run.survey import judge
from tasks.steps import lives
from tasks.steps.lives import begins_empty, carry_life
from tests.unit.builders import BACKUP, as_desired, desired, fresh
from tests.unit.scripts import call

HOST = desired("crypto", backup=BACKUP)
(CRYPTO,), (PLAN,) = HOST.instances, HOST.backups
RUNS = as_desired(HOST)
BARE = fresh(HOST)
LIFE = "a" * 16


def beginning(observed: Observed, *elsewhere: str) -> list[str]:
    return [plan.role.name for plan in begins_empty(judge(HOST, {}, observed), elsewhere)]


def test_a_role_that_nothing_was_seen_of_begins_empty() -> None:
    assert beginning(BARE) == ["crypto"]


@pytest.mark.parametrize(
    "observed",
    [
        RUNS,
        replace(BARE, data_files={"/var/lib/redis/crypto/dump.rdb": 9}),
        replace(BARE, files={begun_file("crypto"): RUNS.files["/etc/redis/crypto.backup"]}),
        replace(BARE, unseen={"disk": Unseen("why")}),
    ],
    ids=["runs", "has data", "has run", "not seen"],
)
def test_a_role_of_which_anything_was_there_is_not_said_to_begin_empty(observed: Observed) -> None:
    assert beginning(observed) == []


def test_a_role_that_has_the_data_of_another_server_does_not_begin_empty() -> None:
    assert beginning(BARE, "crypto") == []


class Paper:
    """A host that answers as a test says."""

    def __init__(self, name: str, answer: CommandResult) -> None:
        self.name, self.answer = name, answer
        self.ran: list[str] = []
        self.said: list[str] = []

    def log_styled(self, words: str, **_: Any) -> None:
        self.said.append(words)


def moved(monkeypatch: pytest.MonkeyPatch, source: CommandResult, target: CommandResult) -> tuple[Paper, Paper]:
    old, new = Paper("redis-1", source), Paper("redis-2", target)

    def run(state: Any, host: Any, command: str, **_: Any) -> CommandResult:
        host.ran.append(command)
        return cast(CommandResult, host.answer)

    monkeypatch.setattr(lives, "run_command", run)
    carry_life(cast(Any, None), cast(Any, old), cast(Any, new), PLAN)
    return old, new


DONE = CommandResult(True, "", "")


def test_the_copies_of_a_role_that_has_moved_go_on_from_those_of_its_old_host(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = moved(monkeypatch, CommandResult(True, f"{LIFE} 1795800000\n", ""), DONE)
    assert call(old.ran[0]).parameters["life"] == "/var/lib/caas-redis/crypto.life"
    assert new.ran[0].endswith(f"/bin/sh /usr/local/lib/caas-redis/backup follow {LIFE} 1795800000")
    assert new.said == []


def test_where_the_old_host_made_no_copies_there_is_nothing_to_go_on_from(monkeypatch: pytest.MonkeyPatch) -> None:
    _, new = moved(monkeypatch, DONE, DONE)
    assert (new.ran, new.said) == ([], [])


@pytest.mark.parametrize(
    "said", ["x 1", f"{LIFE} 1; reboot", f"{LIFE} {'9' * 13}", f"{LIFE}", f"{LIFE} 1\n{LIFE} 1\n", "$(reboot) 1"]
)
def test_what_an_old_host_says_gets_no_further_unless_it_is_a_life_and_a_second(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    _, new = moved(monkeypatch, CommandResult(True, said, ""), DONE)
    assert new.ran == []
    assert "taken by a restore only when named by their run" in new.said[0]


def test_a_new_host_that_cannot_note_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    _, new = moved(monkeypatch, CommandResult(True, f"{LIFE} 5", ""), CommandResult(False, "", "disk full"))
    assert "disk full" in new.said[0]


@pytest.mark.parametrize(
    ("life", "record", "tells"),
    [
        (f"life {LIFE}\nfirst 1\n", "", True),
        ("", f"life {LIFE}\n", True),
        (f"life {LIFE}\nmachine 0000000000000000\n", f"life {LIFE}\n", False),
        ("", "", False),
    ],
    ids=["noted", "of an older version", "of another machine", "none"],
)
def test_a_host_tells_of_which_data_its_copies_are(tmp_path: Path, life: str, record: str, tells: bool) -> None:
    for name, text in (("life", life), ("record", record)):
        if text:
            (tmp_path / name).write_text(text)
    command = prepared(script("tell-life", life=str(tmp_path / "life"), record=str(tmp_path / "record")))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    found = lives.LIFE_UNTIL.fullmatch(done.stdout)
    assert (found is not None) == tells
    assert found is None or found[1] == LIFE

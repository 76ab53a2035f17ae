"""When a copy may serve for an old server that follows it: only while it is seen to hold all that the old one had."""

from types import SimpleNamespace

import pytest

from tasks.compare.moving import Move
from tasks.steps import handover
from tasks.steps.handover import (
    MoveFailed,
    Note,
    lacks,
    unsettled,
    wait_until_over,
    wait_until_serving,
    wait_until_settled,
    within,
)
from tests.unit.builders import desired

TO = ("10.0.0.2", 6379)
OLD = {
    "role": "slave",
    "master_host": "10.0.0.2",
    "master_port": "6379",
    "master_replid": "a" * 40,
    "master_repl_offset": "1000",
}
NEW = {"role": "slave", "master_replid": "a" * 40, "slave_repl_offset": "1000"}


@pytest.mark.parametrize("has", [986, 1000, 1014], ids=["all but a PING", "all", "all and a PING"])
def test_a_copy_that_has_all_writes_may_serve(has: int) -> None:
    assert lacks(OLD, NEW | {"slave_repl_offset": str(has)}, TO) == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"slave_repl_offset": "985"}),
        ({}, {"slave_repl_offset": "999"}),
        ({}, {"slave_repl_offset": "1"}),
        ({}, {"slave_repl_offset": "1015"}),
        ({}, {"slave_repl_offset": ""}),
        ({}, {"slave_repl_offset": "-1"}),
        ({"master_repl_offset": "many"}, {}),
        ({"master_repl_offset": "5000"}, {}),
        ({}, {"master_replid": "b" * 40}),
        ({"master_replid": ""}, {"master_replid": ""}),
        ({"master_host": "10.0.0.3"}, {}),
        ({"master_port": "6380"}, {}),
    ],
)
def test_a_copy_that_may_lack_a_write_never_serves_by_itself(old: dict[str, str], new: dict[str, str]) -> None:
    assert lacks(OLD | old, NEW | new, TO)


@pytest.mark.parametrize("name", ["master_host", "master_port", "master_replid", "master_repl_offset"])
def test_what_the_old_server_does_not_tell_is_not_taken_for_held(name: str) -> None:
    assert lacks({key: value for key, value in OLD.items() if key != name}, NEW, TO)


@pytest.mark.parametrize("name", ["master_replid", "slave_repl_offset"])
def test_what_the_copy_does_not_tell_is_not_taken_for_held(name: str) -> None:
    assert lacks(OLD, {key: value for key, value in NEW.items() if key != name}, TO)


# --- What is waited for


NOTE = Note("It has run here.")
MOVE = Move("crypto", "a", "b", ("10.0.0.1", 6379), TO, 1, 1)


class Host:
    """The side of a move whose host answers these words, in turn and the last for ever; None: it does not answer."""

    def __init__(self, *words: str | None) -> None:
        self.words = list(words)

    role = "master"

    def info(self) -> dict[str, str]:
        return {"role": self.role}

    def says(self, command: str, first: str = "") -> str:
        word = self.words.pop(0) if len(self.words) > 1 else self.words[0]
        if word is None:
            raise MoveFailed("a: not seen: the connection broke")
        return word


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a minute here."""
    for name, seconds in (("TOLD", -60.0), ("WATCH", 0.0), ("POLL", 0.0)):
        monkeypatch.setattr(handover, name, seconds)


def test_what_is_seen_at_once_is_waited_for_no_longer() -> None:
    assert within(0, lambda: "seen") == "seen"


def test_a_last_look_is_taken_and_its_failure_is_what_is_said() -> None:
    answers = iter(["first", "second"])

    def look() -> None:
        raise MoveFailed(next(answers))

    with pytest.raises(MoveFailed, match="first"):
        within(-1, look)


@pytest.mark.parametrize("word", ["inactive", "failed"])
def test_a_handover_that_has_ended_is_waited_for_no_longer(word: str) -> None:
    wait_until_over(MOVE, Host(word))  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["active", "activating", "deactivating", "", None])
def test_a_handover_that_is_not_seen_to_have_ended_is_none(word: str | None) -> None:
    with pytest.raises(MoveFailed):
        wait_until_over(MOVE, Host(word))  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["waiting", None])
def test_a_next_start_that_is_not_seen_to_be_settled_is_not(word: str | None) -> None:
    with pytest.raises(MoveFailed):
        wait_until_settled(MOVE, Host(word), NOTE)  # type: ignore[arg-type]
    wait_until_settled(MOVE, Host("settled"), NOTE)  # type: ignore[arg-type]


def test_a_server_that_serves_behind_its_handover_is_seen_to() -> None:
    wait_until_serving("crypto", Host("inactive"))  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["slave", ""])
def test_one_that_says_anything_else_is_not(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "role", role)
    with pytest.raises(MoveFailed, match="its role is"):
        wait_until_serving("crypto", Host("inactive"))  # type: ignore[arg-type]


def test_one_whose_handover_is_not_over_is_not() -> None:
    with pytest.raises(MoveFailed, match="a handover is under way"):
        wait_until_serving("crypto", Host("active"))  # type: ignore[arg-type]


# --- One that has served since, and was started as a copy again


class Server:
    """One side of a handover that was cut off: what its host and its server say."""

    role = "crypto"

    def __init__(self, name: str, word: str, **info: str) -> None:
        self.word, self.said = word, {"rdb_bgsave_in_progress": "0", "rdb_last_bgsave_status": "ok", **info}
        self.host, self.state = SimpleNamespace(name=name, log_styled=lambda *words: None), None
        self.asked: list[str] = []

    def says(self, command: str, first: str = "") -> str:
        return self.word

    def info(self) -> dict[str, str]:
        return self.said

    def ask(self, *commands: tuple[str, ...]) -> list[str]:
        self.asked += [" ".join(command) for command in commands]
        return ["OK" for _ in commands]


THEN = "c" * 40
ANEW = NEW | {"master_replid": "d" * 40, "slave_repl_offset": "1"}


def cut_off(
    monkeypatch: pytest.MonkeyPatch, then: str = THEN, noted: str = "none", log: bool = True, kept: bool = True
) -> tuple[str, list[str]]:
    """Why the copy must not serve, and what the old server was told."""
    done = SimpleNamespace(succeeded=kept, output="its disk is full")
    monkeypatch.setattr(handover, "run_command", lambda *words, **more: done)
    old, new = Server("a", then, **OLD), Server("b", noted, **ANEW)
    instance = desired("crypto", crypto={} if log else {"appendonly": False}).instances[0]
    why = unsettled(instance, old, new, (OLD, ANEW), TO)  # type: ignore[arg-type]
    return why, old.asked


@pytest.mark.parametrize(("then", "noted"), [(THEN, "none"), ("unknown", "noted"), ("a" * 40, "noted")])
def test_a_copy_that_has_served_since_serves_again_and_what_the_old_server_has_is_kept(
    monkeypatch: pytest.MonkeyPatch, then: str, noted: str
) -> None:
    why, asked = cut_off(monkeypatch, then, noted)
    assert why == ""
    assert asked == [
        "CONFIG SET replica-serve-stale-data yes",
        "BGSAVE",
        "CONFIG SET replica-serve-stale-data no",
    ]


@pytest.mark.parametrize("then", ["a" * 40, "unknown"])
def test_a_copy_that_is_not_known_to_have_served_does_not(monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    why, asked = cut_off(monkeypatch, then)
    assert "its history is" in why
    assert asked == []


def test_a_copy_that_has_served_without_a_log_does_not_serve_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    why, asked = cut_off(monkeypatch, log=False)
    assert "it has no log: which of the two has the newest data is not known" in why
    assert asked == []


def test_a_copy_does_not_serve_before_what_the_old_server_has_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MoveFailed, match="a: its snapshot is not kept: its disk is full"):
        cut_off(monkeypatch, kept=False)

"""When a copy may serve for an old server that follows it: only while it is seen to hold all that the old one had."""

import pytest

from tasks.compare.moving import Move
from tasks.steps import handover
from tasks.steps.handover import (
    MoveFailed,
    Note,
    lacks,
    wait_until_over,
    wait_until_serving,
    wait_until_settled,
    within,
)

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

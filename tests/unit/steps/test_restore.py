"""What a restore does before anything is replaced: what it refuses, what a word passes by, and what it says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.catalogue.data_names import ANYWAY_RESTORE
from tasks.compare.copies import Wish
from tasks.compare.pairs import Stance, orient
from tasks.desired.backup import TOOL
from tasks.observed.connection import CommandResult
from tasks.observed.records import Unreadable
from tasks.observed.state import FileState
from tasks.run.ending import Refusal as NotDone
from tasks.run.survey import Look
from tasks.steps import gate
from tasks.steps import restore as step
from tasks.steps.gate import Before
from tasks.steps.replace import Place
from tests.unit.builders import BACKUP, as_desired, desired, pair_of
from tests.unit.compare.test_copies import copy
from tests.unit.compare.test_pairs import seen

DONE, FAILED = CommandResult(True, "", ""), CommandResult(False, "", "why not")
OF_THE_GATE = "the gate says no"
LIFE = "00000000000000aa"  # that the host has by its record


class Paper:
    """A host on which every step does what a test says, and what was done and said is noted."""

    name = "redis-1"

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
        self.did: list[str] = []
        self.said: list[str] = []
        self.answers = answers
        monkeypatch.setattr(step, "swap", lambda place, way, stamp="": self.does(way))
        monkeypatch.setattr(step, "tool", lambda place, item, verb, *words: self.does(verb))
        monkeypatch.setattr(step, "put_in_place", lambda *words: self.does("put in place", True))
        monkeypatch.setattr(step, "hold_now", lambda *words: None)
        monkeypatch.setattr(step, "_confirm", lambda role: None)
        monkeypatch.setattr(step, "only_plans", lambda: False)
        monkeypatch.setattr(gate, "before", lambda *words: self.does("gate", (Before({}), [])))

    def does(self, what: str, otherwise: Any = DONE) -> Any:
        self.did.append(what)
        return self.answers.get(what, otherwise)

    def log_styled(self, words: str, **_: Any) -> None:
        self.said.append(words)

    def place(self, **overrides: Any) -> Place:
        host = desired("crypto", version=None, backup=BACKUP, **cast(Any, {"crypto": overrides} if overrides else {}))
        look = cast(Callable[..., Look], lambda **given: type("Seen", (), given)())
        (instance,), (plan,) = host.instances, host.backups
        seen = look(observed=as_desired(host), passwords={"crypto": {}})
        return Place(cast(Any, None), cast(Any, self), instance, plan, seen)

    def restores(self, wish: Wish, **overrides: Any) -> bool:
        return step._restore(self.place(**overrides), copy(1), wish)


NOT_SEEN = (None, ["it cannot be looked at: no answer"])
ANYWAY = Wish("crypto", anyway=True)


def test_a_copy_is_proved_fetched_and_put_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch)
    assert host.restores(Wish("crypto"))
    assert host.did == ["prove", "clear", "fetch", "gate", "put in place"]


@pytest.mark.parametrize("problems", [[OF_THE_GATE], [OF_THE_GATE, "and another"]])
def test_a_word_given_for_a_copy_passes_by_no_gate(monkeypatch: pytest.MonkeyPatch, problems: Sequence[str]) -> None:
    """What the server has and its files do not would be gone."""
    host = Paper(monkeypatch, prove=FAILED, gate=(Before({}), list(problems)))
    assert not host.restores(ANYWAY)
    assert host.did == ["prove", "clear", "fetch", "gate", "clear"]
    assert OF_THE_GATE in host.said[-1]
    assert "anyway" not in host.said[-1]


def test_a_server_that_cannot_be_looked_at_takes_a_word_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, gate=NOT_SEEN)
    assert not host.restores(Wish("crypto"))
    assert "anyway=true" in host.said[-1]
    host = Paper(monkeypatch, gate=NOT_SEEN)
    assert host.restores(ANYWAY)
    assert any("anyway=true passes by: it cannot be looked at" in line for line in host.said)


def test_what_else_is_wrong_with_a_server_that_cannot_be_looked_at_takes_no_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Paper(monkeypatch, gate=(None, [OF_THE_GATE, "its host cannot be looked at"]))
    assert not host.restores(ANYWAY)
    assert "put in place" not in host.did


def test_no_word_stops_a_server_whose_keys_are_nowhere_but_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, gate=NOT_SEEN)
    assert not host.restores(ANYWAY, appendonly=False, save="")
    assert "put in place" not in host.did


def test_a_copy_that_fails_its_proof_takes_a_word_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, prove=FAILED)
    assert not host.restores(Wish("crypto"))
    host = Paper(monkeypatch, prove=FAILED)
    assert host.restores(ANYWAY)
    assert any("anyway=true passes by: the copy is not usable: why not" in line for line in host.said)


def test_an_own_log_is_put_in_place_by_no_word_that_passes_by_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch, gate=(Before({}), [OF_THE_GATE]))
    monkeypatch.setattr(step, "_cut", lambda *words: DONE)
    assert step._undo(host.place(), ANYWAY, 5) == 1
    assert "put in place" not in host.did
    assert OF_THE_GATE in host.said[-1]


def test_a_repository_that_was_set_back_is_restored_from_by_a_word_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for wish, refused in (
        (Wish("crypto"), True),
        (Wish("crypto", at="2026-11-27 13:00"), True),
        (ANYWAY, False),
        (Wish("crypto", at=copy(1).run), False),
    ):
        host = Paper(monkeypatch)
        monkeypatch.setattr(step, "set_back", lambda *words: "it was set back")
        if refused:
            with pytest.raises(NotDone, match=f"it was set back: .* add --data {ANYWAY_RESTORE}=true"):
                step._ask_for_a_word(host.place(), (), None, wish)
        else:
            step._ask_for_a_word(host.place(), (), None, wish)
            assert host.said == ["crypto: passes by: it was set back"]


def test_where_an_own_log_cannot_be_cut_the_copy_before_that_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    at = f"{copy(0).at:%Y-%m-%d %H:%M:%S}"
    host = Paper(monkeypatch)
    monkeypatch.setattr(step, "_cut", lambda *words: FAILED)
    monkeypatch.setattr(step, "known_copies", lambda *words: (copy(1, LIFE), copy(2, LIFE)))
    assert step._undo(host.place(), Wish("crypto", at=at), 5) == 1
    assert "not restored, its own data is as it was: why not" in host.said[-1]
    assert f"the newest copy that had ended by then is of run {copy(1).run}: --data at={copy(1).run}" in host.said[-1]
    assert "put in place" not in host.did


@pytest.mark.parametrize("copies", [(), Unreadable("no route")])
def test_where_there_is_no_copy_either_that_is_said(monkeypatch: pytest.MonkeyPatch, copies: Any) -> None:
    def known(*words: Any) -> Any:
        if isinstance(copies, Exception):
            raise copies
        return copies

    host = Paper(monkeypatch)
    monkeypatch.setattr(step, "_cut", lambda *words: FAILED)
    monkeypatch.setattr(step, "known_copies", known)
    assert step._undo(host.place(), Wish("crypto", at="2026-11-27 13:00"), 5) == 1
    assert ("no route" if copies else "there is no copy of it") in host.said[-1]


def test_beside_a_log_that_cannot_be_cut_the_copy_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch)
    monkeypatch.setattr(step, "_beside", lambda place, into, fill: fill().succeeded)
    monkeypatch.setattr(step, "_cut", lambda *words: FAILED)
    monkeypatch.setattr(step, "known_copies", lambda *words: (copy(1, LIFE),))
    wish = Wish("crypto", at=f"{copy(0).at:%Y-%m-%d %H:%M:%S}", into="/srv/look")
    assert step._undo(host.place(), wish, 5) == 1
    assert f"--data at={copy(1).run}" in host.said[-1]


def test_a_restore_says_that_a_standby_loses_what_it_has_by_it_before_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Paper(monkeypatch)
    place = host.place()
    monkeypatch.setattr(step, "_cut", lambda *words: FAILED)
    monkeypatch.setattr(step, "known_copies", lambda *words: ())
    step._undo(place, Wish("crypto"), 5)
    assert not any("standby" in line for line in host.said)
    role = place.instance.role.model_copy(update={"paired": True})
    step._undo(replace(place, instance=replace(place.instance, role=role)), Wish("crypto"), 5)
    assert any("and of what its standby has, which copies it" in line for line in host.said)


def placed(monkeypatch: pytest.MonkeyPatch, one: Stance, other: Stance, into: str = "") -> Place:
    """Where a restore would put a copy, of a pair that was seen so."""
    hosts = pair_of()
    (plan,) = desired("crypto", backup=BACKUP).backups
    hosts = {name: replace(host, backups=(plan,)) for name, host in hosts.items()}
    both = {"one": seen(hosts["one"], one), "other": seen(hosts["other"], other)}
    found, unknown = orient({name: (hosts[name], both[name]) for name in hosts})
    there = {TOOL: FileState("file", "root", "root", "0755", "")}
    looks = {
        name: Look(
            found[name],
            {},
            replace(observed, files={**observed.files, **there}),
            (),
            unknown=tuple(unknown.get(name, ())),
        )
        for name, observed in both.items()
        if observed is not None
    }
    monkeypatch.setattr(step, "survey", lambda *words: looks)
    monkeypatch.setattr(step, "unreachable", lambda *words: {})
    names = [SimpleNamespace(name=name) for name in looks]
    state = SimpleNamespace(inventory=SimpleNamespace(get_active_hosts=lambda: names))
    run = SimpleNamespace(tier=SimpleNamespace(hosts=found))
    return step._place(cast(Any, state), cast(Any, run), Wish("crypto", into=into))


NOT_KNOWN = {
    "two serve": (Stance.SERVES, Stance.SERVES),
    "either may have the newest data": (Stance.KEEPS, Stance.KEEPS),
    "the other one is not seen": (Stance.KEEPS, Stance.UNSEEN),
    "the other one alone has data": (Stance.LOST, Stance.FOLLOWS),
    "it follows another server": (Stance.KEEPS, Stance.STRAYS),
    "a handover was cut off": (Stance.FENCED, Stance.COPY),
}


@pytest.mark.parametrize("both", NOT_KNOWN.values(), ids=NOT_KNOWN)
def test_nothing_is_put_in_the_place_of_data_where_it_is_not_known_who_serves(
    monkeypatch: pytest.MonkeyPatch, both: tuple[Stance, Stance]
) -> None:
    with pytest.raises(
        NotDone, match=r"Nothing was restored, (.|\n)*crypto: which of its two hosts serves it: unknown"
    ):
        placed(monkeypatch, *both)
    assert placed(monkeypatch, *both, into="/srv/look").instance.name == "crypto"


@pytest.mark.parametrize("both", [(Stance.SERVES, Stance.FOLLOWS), (Stance.KEEPS, Stance.COPY)])
def test_the_one_that_serves_is_restored(monkeypatch: pytest.MonkeyPatch, both: tuple[Stance, Stance]) -> None:
    assert placed(monkeypatch, *both).host.name == "one"
    assert placed(monkeypatch, *both[::-1]).host.name == "other"

"""What follows from a rehearsal, what it refuses to claim, and its JSON (tasks/reports/rehearsal_model.py)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reports.rehearsal_model import (
    DRILLS,
    DrillResult,
    Figure,
    NotRun,
    Rehearsal,
    Scaled,
    Series,
    Step,
    from_json,
    to_json,
)
from tests.unit.reports.rehearsals import BEGAN, HOSTS, ROLES, crash, full, mixed, rehearsals, whole

FAILED_STEP = Step("deploy", "pyinfra deploy.py", 3.0, False, ("no candidate",))
SAMPLES = [pytest.param(sample, id=name) for name, sample in rehearsals().items()]


def some(*drills: DrillResult, **fields: Any) -> Rehearsal:
    """A rehearsal of gateway and socket, each on a host of its own, with nothing but these drills."""
    empty = replace(whole(), hosts=HOSTS[:2], roles=ROLES[:2], steps=(), drills=())
    return replace(empty, drills=drills, **fields)


def silent(rehearsal: Rehearsal, drill: str) -> list[str | None]:
    """The roles for which this drill is not proved."""
    return [item.role for item in rehearsal.not_proved if item.drill == drill]


def test_a_rehearsal_passes_when_every_drill_and_every_step_did() -> None:
    assert whole().passed
    assert not mixed().passed


def test_a_rehearsal_without_a_drill_has_not_passed() -> None:
    assert not some(steps=(replace(FAILED_STEP, passed=True),)).passed


def test_one_step_that_failed_is_enough_not_to_pass() -> None:
    good = some(full(ROLES[0]), steps=(replace(FAILED_STEP, passed=True),))
    assert good.passed
    assert not replace(good, steps=(*good.steps, FAILED_STEP)).passed


def test_one_drill_that_failed_is_enough_not_to_pass() -> None:
    bad = replace(full(ROLES[1]), passed=False)
    assert some(full(ROLES[0]), bad).failed == (bad,)
    assert not some(full(ROLES[0]), bad).passed


def test_what_was_left_out_is_not_proved_and_does_not_fail() -> None:
    left_out = NotRun("full", "socket", "no time")
    rehearsal = some(full(ROLES[0]), not_run=(left_out,))
    assert rehearsal.passed
    assert rehearsal.not_proved[0] == left_out
    assert silent(rehearsal, "full") == ["socket"]


def test_a_drill_that_nobody_speaks_of_is_not_proved() -> None:
    rehearsal = some(full(ROLES[0]), full(ROLES[1]))
    assert [item.drill for item in rehearsal.not_proved] == [name for name in DRILLS if name != "full"]
    assert {item.role for item in rehearsal.not_proved} == {None}


def test_a_role_for_which_nobody_speaks_of_a_drill_that_others_had_is_not_proved() -> None:
    assert silent(some(full(ROLES[0])), "full") == ["socket"]


def test_a_result_of_the_whole_host_is_one_of_each_of_its_roles() -> None:
    both = replace(full(ROLES[0]), role=None)
    assert silent(some(both, replace(both, host="redis-socket")), "full") == []


def test_a_drill_left_out_for_all_roles_is_said_once() -> None:
    assert silent(some(not_run=(NotRun("power", None, "no VM"),)), "power") == [None]


def test_a_role_on_two_hosts_is_proved_on_each() -> None:
    two = tuple(replace(ROLES[0], host=host.name) for host in HOSTS[:2])
    (open_,) = [item for item in some(full(two[0]), roles=two).not_proved if item.drill == "full"]
    assert open_.why == "neither run on redis-socket nor left out with a reason"


def test_a_drill_of_another_name_comes_behind_those_that_are_known() -> None:
    assert mixed().drill_names == (*DRILLS, "clock_jump")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a time without a zone": ({"began": datetime(2026, 3, 9)}, "is not in UTC"),
    "a time of another zone": ({"began": BEGAN.astimezone(timezone(timedelta(hours=1)))}, "is not in UTC"),
    "a host twice": ({"hosts": (HOSTS[0], *HOSTS[:2])}, "hosts: redis-gateway stands twice: name each once"),
    "a role twice": ({"roles": (ROLES[0], *ROLES[:2])}, "roles: gateway on redis-gateway stands twice"),
    "a role on no host": ({"hosts": HOSTS[:1]}, "roles: socket is on redis-socket, which is not one of hosts"),
    "a result of no host": (
        {"drills": (full(ROLES[4]),)},
        "drills: full ran on redis-crypto, which is not one of hosts: add it",
    ),
    "a result of no role": (
        {"drills": (replace(full(ROLES[4]), host="redis-socket"),)},
        "drills: full is of crypto on redis-socket, which is not one of roles: add it",
    ),
    "no such role left out": ({"not_run": (NotRun("full", "crypto", ""),)}, "not_run: crypto is not one of roles"),
    "no such role scaled": ({"scaled": (Scaled("crypto", "a", "b", "c"),)}, "scaled: crypto is not one of roles"),
    "time that runs backwards": ({"seconds": -1.0}, "greater than or equal to 0"),
}


@pytest.mark.parametrize(("fields", "words"), BAD.values(), ids=BAD)
def test_what_contradicts_itself_is_refused_in_words(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        some(full(ROLES[0]), **fields) if "drills" not in fields else replace(some(), **fields)


@pytest.mark.parametrize("value", [True, None, float("nan"), float("inf"), b"1"])
def test_a_figure_is_a_number_or_a_word(value: Any) -> None:
    with pytest.raises(ValueError, match="Figure"):
        Figure(value, "s")


@pytest.mark.parametrize("points", [((0, float("nan")),), ((float("inf"), 0),), ((0, 1e16),), ((2, 0), (1, 0))])
def test_a_series_is_of_finite_numbers_in_order_of_time(points: Any) -> None:
    with pytest.raises(ValueError, match="Series"):
        Series("p50", "ms", points, ())


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_json_is_the_whole_rehearsal(sample: Rehearsal) -> None:
    assert from_json(to_json(sample)) == sample
    assert to_json(from_json(to_json(sample))) == to_json(sample)


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
TIME = st.floats(-1e9, 1e9)
FIGURES = st.builds(
    Figure, st.integers(-(1 << 62), 1 << 62) | st.floats(allow_nan=False, allow_infinity=False) | TEXT, TEXT
)
SERIES = st.builds(
    Series,
    TEXT,
    TEXT,
    st.lists(st.tuples(TIME, st.floats(-1e15, 1e15)), max_size=20).map(lambda points: tuple(sorted(points))),
    st.lists(st.tuples(TIME, TEXT), max_size=3).map(tuple),
)
RESULTS = st.builds(
    DrillResult,
    st.sampled_from([*DRILLS, "other"]) | TEXT,
    st.sampled_from(["gateway", None]),
    st.just("redis-gateway"),
    TEXT,
    st.booleans(),
    st.floats(0, 1e6),
    TEXT,
    st.dictionaries(TEXT, FIGURES, max_size=3),
    st.lists(SERIES, max_size=3).map(tuple),
    st.lists(TEXT, max_size=3).map(tuple),
)
NOT_RUN = st.builds(NotRun, st.sampled_from([*DRILLS]) | TEXT, st.sampled_from(["gateway", "socket", None]), TEXT)


@st.composite
def any_rehearsal(draw: st.DrawFn) -> Rehearsal:
    """A rehearsal of anything that may be."""
    drills, left_out = draw(st.lists(RESULTS, max_size=4)), draw(st.lists(NOT_RUN, max_size=4))
    steps = draw(st.lists(st.builds(Step, TEXT, TEXT, st.floats(0, 1e6), st.booleans(), st.tuples(TEXT)), max_size=2))
    made = draw(st.lists(st.builds(Scaled, st.sampled_from(["socket", None]), TEXT, TEXT, TEXT), max_size=3))
    more = {"commit": draw(TEXT), "came_from": draw(TEXT | st.none()), "seconds": draw(st.floats(0, 1e7))}
    return some(*drills, not_run=tuple(left_out), steps=tuple(steps), scaled=tuple(made), **more)


@given(any_rehearsal())
def test_every_rehearsal_comes_back_from_its_json(rehearsal: Rehearsal) -> None:
    assert from_json(to_json(rehearsal)) == rehearsal


def test_the_json_is_version_1_and_names_its_fields_as_the_model_does() -> None:
    document = json.loads(to_json(mixed()))
    assert document["version"] == 1
    assert document["began"] == "2026-03-09T04:15:07Z"
    assert document["hosts"][0] == {
        "name": "redis-gateway",
        "address": "172.28.2.1",
        "debian": "13",
        "kernel": "6.12.48+deb13-cloud-amd64",
        "redis": "8.0.2",
        "memory_mib": 1024,
        "machine": "qemu",
        "disk": "/dev/vda1 ext4",
    }
    (result,) = [item for item in document["drills"] if (item["drill"], item["role"]) == ("crash", "gateway")]
    assert list(result) == "drill role host promise passed seconds proved_by figures series said".split()
    assert result["figures"]["crashes"] == {"value": 5, "unit": ""}
    assert result["series"][1]["points"][0] == [9.0, 0.61]


def test_a_name_that_is_not_utf_8_does_not_keep_the_json_from_being_read() -> None:
    odd = replace(crash(ROLES[0]), said=("\udcff",))
    assert json.loads(to_json(some(odd)).encode())["drills"][0]["said"] == ["\\udcff"]


def document(**fields: Any) -> str:
    return json.dumps({**json.loads(to_json(mixed())), **fields})


WRONG = {
    "nothing": ("", "not a rehearsal's report: not JSON"),
    "a list": ("[]", "its version is None, expected 1"),
    "another version": (document(version=2), "its version is 2, expected 1"),
    "a field more": (document(surprise=1), "surprise: 1 was given: unexpected keyword"),
    "a field less": ('{"version": 1}', "began: missing: every field of version 1 is written"),
    "a wrong type": (document(seconds="long"), "seconds: 'long' was given: input should be a valid number"),
    "no number": (document(seconds=float("nan")), "seconds: nan was given"),
    "a role that is none": (document(roles=[]), "drills: full is of gateway on redis-gateway, which is not one of"),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG)
def test_what_is_no_report_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError) as raised:
        from_json(text)
    assert str(raised.value).startswith("not a rehearsal's report:")
    assert words in str(raised.value)


def test_what_is_not_tried_is_counted_as_what_held_is_a_drill_for_each_role() -> None:
    assert whole().untried == 0
    assert some(full(ROLES[0])).untried == 2 * len(DRILLS) - 1
    left_out = tuple(NotRun("power", role.name, reason) for role in ROLES[:2] for reason in ("a", "b"))
    assert some(full(ROLES[0]), not_run=left_out).untried == 2 * len(DRILLS) - 1
    assert some(replace(full(ROLES[0]), role=None)).untried == 2 * len(DRILLS) - 1


def test_a_rehearsal_that_ends_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match=r"seconds: 1e.30 end beyond the calendar"):
        some(seconds=1e30)


def test_without_a_role_a_drill_that_was_left_out_is_one() -> None:
    assert some(roles=()).untried == len(DRILLS)

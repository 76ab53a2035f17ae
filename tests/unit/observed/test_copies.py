"""What restic lists, typed: whole copies of this tool's, and nothing else."""

import json
from typing import Any

import pytest

from tasks.observed.copies import read_copies
from tasks.observed.records import Unreadable

RUN = "00000000000000aa"
TAGS = ["manifest", f"run={RUN}", "role=crypto", f"life={RUN}", "keys=5", "server=7.0.15", "bytes=100", "newest=17"]
MANIFEST: dict[str, Any] = {"time": "2026-11-27T13:00:00.123Z", "hostname": "redis-1", "tags": TAGS, "id": "b" * 64}
COPY: dict[str, Any] = {**MANIFEST, "tags": ["copy", f"run={RUN}"], "id": "a" * 64}


def read(*rows: object) -> list[str]:
    return [str(item) for item in read_copies(json.dumps(list(rows)))]


def test_a_copy_is_what_it_says() -> None:
    assert read(COPY, MANIFEST) == ["2026-11-27 13:00:00 UTC of redis-1, 5 keys, Redis 7.0.15, run 00000000000000aa"]


def test_a_copy_that_is_half_is_not_offered() -> None:
    assert read(COPY) == []
    assert read(MANIFEST) == []
    assert read() == []


def test_the_newest_comes_first_whatever_its_time_zone() -> None:
    def pair(run: str, time: str) -> list[dict[str, Any]]:
        tags = [f"run={run}" if tag.startswith("run=") else tag for tag in TAGS]
        return [{**MANIFEST, "time": time, "tags": tags}, {**COPY, "time": time, "tags": ["copy", f"run={run}"]}]

    old, new = pair("1" * 16, "2026-11-27T13:30:00+01:00"), pair("2" * 16, "2026-11-27T13:00:00Z")
    assert [item.run for item in read_copies(json.dumps(old + new))] == ["2" * 16, "1" * 16]


def changed(tag: str) -> dict[str, Any]:
    name = tag.partition("=")[0]
    others = [item for item in TAGS if not item.startswith(f"{name}=")]
    return {**MANIFEST, "tags": [*others, tag]}


@pytest.mark.parametrize("tag", ["role=../x", "run=1"])
def test_what_this_tool_cannot_have_written_is_no_copy(tag: str) -> None:
    assert read(COPY, changed(tag)) == []
    assert read(COPY, {**MANIFEST, "hostname": "a\nb"}) == []
    assert read(COPY, {**MANIFEST, "time": "today"}) == []
    assert read(COPY, {**MANIFEST, "tags": None}) == []


ODD = (
    "keys=many",
    "server=$(id)",
    "server=...",
    "life=",
    "bytes=-1",
    "newest=-86400",
    "newest=99999999999999",
    "after=x",
)


@pytest.mark.parametrize("tag", ODD)
def test_what_a_role_may_have_made_odd_hides_no_copy(tag: str) -> None:
    name, _, value = tag.partition("=")
    (found,) = read_copies(json.dumps([COPY, changed(tag)]))
    assert found.run == RUN
    assert found.odd == (f"{name} '{value}'",)
    assert str(found).endswith(f"odd: {name} '{value}'")


def test_where_a_copy_was_made_and_what_it_goes_on_from_is_known() -> None:
    row = {**MANIFEST, "tags": [*TAGS, "machine=" + "c" * 16, "after=" + "d" * 16 + "-1795800000"]}
    (found,) = read_copies(json.dumps([COPY, row]))
    assert (found.machine, found.after, found.odd) == ("c" * 16, "d" * 16 + "-1795800000", ())


@pytest.mark.parametrize("text", ["[", '["x"]'])
def test_a_list_that_is_none_is_said(text: str) -> None:
    with pytest.raises(Unreadable):
        read_copies(text)

"""The record of an adoption: only root's own, with fields that have a form, leads anywhere."""

import json
import re
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.compare.adoption import can_go_on
from tasks.observed import foreign
from tasks.observed.marker import read_marker
from tasks.observed.state import FileState
from tasks.steps.sandbox import reader_words
from tests.unit.builders import desired, fresh

RIGHT = {
    "server": "redis-server, pid 812",
    "pid": 812,
    "unit": "my.service",
    "rdb": "/srv/redis/dump.rdb",
    "before": "16 1.5",
    "runs_as": "111:115:",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"unit": "ssh.service; reboot"},
        {"unit": "../x.service"},
        {"unit": "sysinit.target"},
        {"rdb": "etc/shadow"},
        {"rdb": "/etc/shadow\nx"},
        {"rdb": "-x"},
        {"before": "$(reboot)"},
        {"runs_as": "0"},
        {"runs_as": "0:0:0 --clear"},
        {"runs_as": "--reuid=0:0:"},
        {"pid": True},
        {"pid": 0},
        {"pid": "812"},
        {"server": "x\x1b[2J"},
        {"server": None},
    ],
)
def test_a_record_of_which_one_field_has_no_form_says_nothing(changes: dict[str, object]) -> None:
    assert read_marker(json.dumps(RIGHT)).rdb == RIGHT["rdb"]
    assert read_marker(json.dumps(RIGHT | changes)) == read_marker("")
    assert not can_go_on(replace(read_marker(json.dumps(RIGHT | changes)), found="17 2.5"))


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda some: st.lists(some), max_leaves=3)


@pytest.mark.parametrize(
    ("groups", "words"),
    [("115 27 ", "--groups=115,27"), ("0 ", "--groups=0"), (" ", "--clear-groups"), ("", "--clear-groups")],
)
def test_the_groups_of_a_process_are_read_as_proc_says_them(groups: str, words: str) -> None:
    marker = read_marker(json.dumps(RIGHT | {"runs_as": f"111:115:{groups}"}))
    assert reader_words(marker.runs_as) == ["--reuid=111", "--regid=115", words]


@given(st.dictionaries(st.sampled_from(sorted(RIGHT)), JSON))
def test_whatever_a_record_says_what_follows_from_it_has_a_form(changes: dict[str, object]) -> None:
    marker = read_marker(json.dumps(RIGHT | changes))
    assert re.fullmatch(r"([A-Za-z0-9:_.\\@-]+\.service)?", marker.unit)
    assert marker.rdb[:1] in ("", "/")
    assert "\n" not in marker.rdb + marker.server + marker.before
    if marker.rdb:
        assert all(word.startswith("--") and shlex.quote(word) == word for word in reader_words(marker.runs_as))


@pytest.mark.parametrize(("owner", "kind"), [("redis", "file"), ("root", "link"), ("root", "directory")])
def test_a_record_that_is_not_root_s_own_file_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, owner: str, kind: str
) -> None:
    host = desired("gateway")
    monkeypatch.setattr(foreign, "read_host", lambda *_: {})
    for who, what, believed in ((owner, kind, ""), ("root", "file", "/srv/redis/dump.rdb")):
        state = FileState(what, who, who, "0600", json.dumps(RIGHT))
        snapshot = replace(fresh(host), files={"/var/lib/caas-redis/gateway.adopting": state})
        read = foreign.with_foreign(None, None, host, snapshot, {})  # type: ignore[arg-type]
        assert read.adopting["gateway"].rdb == believed


def test_what_lies_in_the_role_s_own_directory_begins_no_adoption(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was read there once: a role got /etc/shadow copied, and ssh.service disabled."""
    host = desired("gateway")
    forged = FileState(
        "file", "redis", "redis", "0600", json.dumps(RIGHT | {"rdb": "/etc/shadow", "unit": "ssh.service"})
    )
    path = "/var/lib/redis/gateway/adopting"
    snapshot = replace(fresh(host), files={path: forged}, stored={path: forged})
    read = foreign.with_foreign(None, None, host, snapshot, {})  # type: ignore[arg-type]
    assert read.adopting == {}

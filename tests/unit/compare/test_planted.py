"""What lies in a role's directory and is nobody's is a difference by hand, in one short printable line."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.compare.difference import ByHand
from tasks.compare.host import compare
from tasks.compare.planted import planted
from tasks.desired.host import Host
from tasks.observed.state import FileState, Observed
from tests.unit.builders import EVERY, as_desired, desired

DIRECTORY = "/var/lib/redis/crypto"
LOG = f"{DIRECTORY}/appendonlydir"
HOST = desired("crypto")


def with_planted(
    observed: Observed, *paths: str, kind: str = "file", mode: str = "0600", owner: str = "redis"
) -> Observed:
    """`observed` in which these lie in a data directory, too."""
    state = FileState(kind, owner, owner, mode, "")
    return replace(observed, stored={**observed.stored, **dict.fromkeys(paths, state)})


def found(observed: Observed, host: Host = HOST) -> list[str]:
    return [item.observed for item in planted(host, observed)]


MOMENT = "20261127120000"
PUT_ASIDE = ("old", f"old-{MOMENT}", f"old-{MOMENT}-2", f"replaced-{MOMENT}", f"replaced-{MOMENT}-failed")
# As 7.0 and 8.0 name them (aof.c, rdb.c), and this tool its own.
KNOWN = [
    "dump.rdb",
    "dump.rdb.new",
    *(f"dump.rdb.replaced-20261127120000{end}" for end in ("", "-failed")),
    "temp-17.rdb",
    "temp-1795417948.17.rdb",
    "temp-rewriteaof-17.aof",
    "temp-rewriteaof-bg-17.aof",
    *(
        f"appendonlydir{suffix}/{name}"
        for suffix in ("", ".new", *(f".{end}" for end in PUT_ASIDE))
        for name in (
            "appendonly.aof.manifest",
            "temp-appendonly.aof.manifest",
            "temp-appendonly.aof.incr",
            "appendonly.aof.1.base.rdb",
            "appendonly.aof.1.base.aof",
            "appendonly.aof.12.incr.aof",
            "appendonly.aof",  # the base of a log that was upgraded from 6
        )
    ),
]


@pytest.mark.parametrize("role", EVERY)
def test_a_host_as_desired_has_nothing_that_is_nobody_s(role: str) -> None:
    host = desired(role)
    assert found(as_desired(host), host) == []


def test_redis_own_files_and_those_of_this_tool_are_known() -> None:
    observed = with_planted(as_desired(HOST), *(f"{DIRECTORY}/{name}" for name in KNOWN))
    assert (
        found(with_planted(observed, f"{LOG}.new", f"{LOG}.old", f"{LOG}.old-{MOMENT}", kind="directory", mode="0700"))
        == []
    )


def test_what_a_file_system_of_its_own_brings_is_known_and_the_same_of_redis_is_not() -> None:
    lost = f"{DIRECTORY}/lost+found"
    assert found(with_planted(as_desired(HOST), lost, kind="directory", mode="0700", owner="root")) == []
    assert found(with_planted(as_desired(HOST), lost, kind="directory", mode="0700")) == [
        "also 'lost+found' (a directory of redis)"
    ]


@pytest.mark.parametrize(
    ("name", "kind", "mode", "shown"),
    [
        ("x", "file", "0600", "'x' (a file of redis)"),
        ("x", "file", "0755", "'x' (an executable file of redis)"),
        ("x.so", "link", "0777", "'x.so' (a link of redis)"),
        ("x", "other", "0600", "'x' (a pipe, socket or device of redis)"),
        ("adopting", "file", "0600", "'adopting' (a file of redis)"),
        ("temp-17.rdb", "file", "0700", "'temp-17.rdb' (an executable file of redis)"),
        ("temp-17.rdb", "link", "0777", "'temp-17.rdb' (a link of redis)"),
        ("dump.rdb", "link", "0777", "'dump.rdb' (a link of redis)"),
        ("dump.rdb.new", "link", "0777", "'dump.rdb.new' (a link of redis)"),
        ("dump.rdb", "directory", "0700", "'dump.rdb' (a directory of redis)"),
        ("nodes.conf", "file", "0600", "'nodes.conf' (a file of redis)"),
        ("appendonlydir.new", "link", "0777", "'appendonlydir.new' (a link of redis)"),
        ("appendonlydir/x", "link", "0777", "'appendonlydir/x' (a link of redis)"),
        ("appendonlydir/appendonly.aof.1.incr.aof", "link", "0777", "(a link of redis)"),
        ("appendonlydir/appendonly.aof.1.incr.aof.sh", "file", "0600", "(a file of redis)"),
        ("a\nb", "file", "0600", r"'a\nb' (a file of redis)"),
        ("\x1b[2J", "file", "0600", r"'\x1b[2J' (a file of redis)"),
    ],
)
def test_what_is_neither_is_said_as_what_it_is(name: str, kind: str, mode: str, shown: str) -> None:
    (said,) = found(with_planted(as_desired(HOST), f"{DIRECTORY}/{name}", kind=kind, mode=mode))
    assert said.startswith("also ")
    assert said.endswith(shown)


def test_it_is_one_difference_by_hand_however_much_it_is() -> None:
    names = [f"{DIRECTORY}/{number:05}{'x' * 200}" for number in range(5000)]
    (item,) = compare(HOST, with_planted(as_desired(HOST), *names))
    assert (item.role, item.subject, item.name) == ("crypto", "file", DIRECTORY)
    assert item.observed.endswith(" and 4997 more")
    assert isinstance(item.remedy, ByHand)
    assert item.to_do == f"look who put it there, then move it out of {DIRECTORY}"
    assert len(str(item)) < 600


def test_what_lies_in_a_directory_that_is_nobody_s_is_told_by_that() -> None:
    observed = with_planted(as_desired(HOST), f"{DIRECTORY}/x/y", f"{DIRECTORY}/x/z")
    assert found(with_planted(observed, f"{DIRECTORY}/x", kind="directory", mode="0700")) == [
        "also 'x' (a directory of redis)"
    ]


def test_a_log_that_is_a_link_is_said_where_it_is_said_what_to_do() -> None:
    linked = with_planted(as_desired(HOST), LOG, kind="link", mode="0777")
    assert [item for item in found(linked) if "'appendonlydir'" in item] == []
    assert [item.observed for item in compare(HOST, linked) if item.name == LOG] == ["a link to its target"]


def test_an_executable_of_redis_own_name_is_given_its_mode() -> None:
    (item,) = compare(HOST, with_planted(as_desired(HOST), f"{DIRECTORY}/dump.rdb", mode="0755"))
    assert item.observed == "dump.rdb is redis:redis 0755"
    assert str(item.remedy) == "give its data back to its user"


@given(name=st.text(st.characters(exclude_characters="/\0"), min_size=1), mode=st.sampled_from(["0600", "0755"]))
def test_any_name_is_said_in_one_printable_line(name: str, mode: str) -> None:
    for item in planted(HOST, with_planted(as_desired(HOST), f"{DIRECTORY}/{name}", mode=mode)):
        assert str(item).isprintable()
        assert len(str(item)) < 600

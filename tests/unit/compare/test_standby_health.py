"""Health of a role with a standby: the link, the lag, and who serves."""

from dataclasses import replace

import pytest

from tasks.compare.health import health
from tasks.compare.pairs import orient, unserved_pairs
from tasks.compare.standby_health import Lag, lag
from tasks.compare.unknown import Kind, Unknown
from tasks.compare.unwell import Code
from tasks.desired.host import Host
from tasks.desired.paths import guard_file
from tasks.reports.status_model import row
from tests.unit.builders import as_desired, desired, pair_of, with_server

PRIMARY_IF: dict[str, dict[str, str]] = {"one": {"role": "master", "master_repl_offset": "50000000"}, "other": {}}
PRIMARY = {"role": "master", "master_repl_offset": "50000000", "connected_slaves": "1"}


def hosts() -> dict[str, Host]:
    """The pair as its hosts say it: `one` serves."""
    pair = pair_of()
    first = as_desired(pair["one"])
    first = with_server(first, "crypto", info={**first.servers["crypto"].info, "role": "master"})
    return orient({"one": (pair["one"], first), "other": (pair["other"], None)})[0]


def codes(name: str, **info: str) -> list[tuple[Code, str]]:
    host = hosts()[name]
    observed = as_desired(host)
    observed = with_server(observed, "crypto", info={**observed.servers["crypto"].info, **info})
    return [(item.code, item.severity) for item in health(host, observed) if "STANDBY" in item.code]


def copy(offset: int, seconds: int, state: str = "online") -> str:
    return f"ip=172.28.2.2,port=6383,state={state},offset={offset},lag={seconds}"


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ({}, []),
        ({"master_link_status": "down", "master_link_down_since_seconds": "7"}, [(Code.STANDBY_DOWN, "critical")]),
        ({"master_link_status": "down", "master_sync_in_progress": "1"}, [(Code.STANDBY_DOWN, "warning")]),
    ],
)
def test_a_standby_says_that_it_has_no_link(info: dict[str, str], found: list[tuple[Code, str]]) -> None:
    assert codes("other", **info) == found


UP = {"one": {"slave0": "ip=172.28.2.2,port=6383,state=online,offset=50000000,lag=0"}, "other": {}}
DOWN = {"one": {"slave0": ""}, "other": {"master_link_status": "down"}}
HEARD = {
    "slave 172.28.2.1 6383": True,
    "master 12345 ": True,
    "Could not connect from 172.28.2.1: Connection refused  ": False,
    "WRONGPASS invalid username-password pair  ": False,
    "masterful": False,
    "": True,  # silence behind a connection that was taken: a host may be busy
    "  ": True,
}


@pytest.mark.parametrize("name", UP)
@pytest.mark.parametrize("said", HEARD)
def test_two_that_are_linked_and_do_not_hear_each_other_before_a_start_are_critical(name: str, said: str) -> None:
    def found(said: str | None, info: dict[str, str]) -> list[tuple[str, str]]:
        host = hosts()[name]
        observed = as_desired(host)
        observed = with_server(observed, "crypto", info={**observed.servers["crypto"].info, **PRIMARY_IF[name], **info})
        observed = replace(observed, heard={} if said is None else {"crypto": said})
        return [(item.code, item.severity) for item in health(host, observed) if item.code is Code.PAIR_UNHEARD]

    assert found(said, UP[name]) == ([] if HEARD[said] else [(Code.PAIR_UNHEARD, "critical")])
    assert found(said, DOWN[name]) == []  # that is listed, and nobody knows whether the other one is there
    assert found(None, UP[name]) == []  # nobody was asked


@pytest.mark.parametrize("along", [False, True])
def test_who_is_not_heard_is_to_be_let_through_from_where_the_guard_asks(along: bool) -> None:
    pair = pair_of(along=along)
    host = orient({"one": (pair["one"], as_desired(pair["one"])), "other": (pair["other"], None)})[0]["one"]
    observed = as_desired(host)
    info = {**observed.servers["crypto"].info, **PRIMARY, **UP["one"]}
    observed = replace(with_server(observed, "crypto", info=info), heard={"crypto": "WRONGPASS"})
    (found,) = [item for item in health(host, observed) if item.code is Code.PAIR_UNHEARD]
    assert "let connections through from 172.28.2.1 to 172.28.2.2:6383" in found.remedy
    (guard,) = [file.content or "" for file in host.files if file.path == guard_file("crypto")]
    assert {"own_host=172.28.2.1", "host=172.28.2.2"} <= {*guard.splitlines()}


@pytest.mark.parametrize(
    ("slave", "found"),
    [
        ({"slave0": ""}, [(Code.STANDBY_DOWN, "warning")]),
        ({"slave0": copy(50_000_000, 0)}, []),
        ({"slave0": copy(50_000_000, 0, "wait_bgsave")}, [(Code.STANDBY_DOWN, "warning")]),
        ({"slave0": copy(30_000_000, 0)}, [(Code.STANDBY_LAG, "warning")]),
        ({"slave0": copy(50_000_000, 11)}, [(Code.STANDBY_LAG, "warning")]),
        ({"slave0": copy(0, 600, "online"), "slave1": copy(50_000_000, 1)}, []),
        ({"slave0": "\x1b[2J"}, [(Code.STANDBY_DOWN, "warning")]),
    ],
)
def test_a_primary_says_what_its_standby_lacks(slave: dict[str, str], found: list[tuple[Code, str]]) -> None:
    assert codes("one", **PRIMARY, **slave) == found


def test_a_role_without_a_standby_has_nothing_to_say_of_one() -> None:
    host = desired("crypto")
    observed = as_desired(host)
    assert [item for item in health(host, observed) if "STANDBY" in item.code] == []


def test_status_shows_what_the_standby_lacks() -> None:
    host = hosts()["one"]
    observed = as_desired(host)
    info = {**observed.servers["crypto"].info, **PRIMARY, "slave0": copy(49_900_000, 2)}
    observed = with_server(observed, "crypto", info=info)
    assert lag(observed.servers["crypto"]) == Lag(100_000, 2)
    found = row(host.instances[0], observed, None, None, {}, None)
    assert (found.replication, found.lag) == ("1 copy, lacks 97 KiB", Lag(100_000, 2))


@pytest.mark.parametrize(("kind", "code"), [(Kind.TWO, Code.TWO_SERVE), (Kind.NOBODY, Code.NONE_SERVES)])
def test_a_pair_that_is_served_by_both_or_by_none_is_critical(kind: Kind, code: Code) -> None:
    (found,) = unserved_pairs([Unknown("crypto", "who serves", "seen", "do", kind)])
    assert (found.code, found.severity) == (code, "critical")


def test_a_host_that_was_not_seen_is_no_outage_of_its_roles() -> None:
    assert unserved_pairs([Unknown("crypto", "who serves", "seen", "do", Kind.PAIR)]) == []

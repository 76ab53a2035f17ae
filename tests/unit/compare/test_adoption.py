"""A Redis of somebody else's on a role's port: what it holds, and what is adopted by whom."""

from dataclasses import replace
from typing import Any

import pytest

from tasks.compare.adoptable import foreign_problems
from tasks.compare.adoption import adopted_pids, key_count, packaged_is_adopted
from tasks.compare.difference import Remedy
from tasks.compare.fitness import unfit
from tasks.compare.host import compare
from tasks.desired.host import Host
from tasks.desired.paths import data_directory, marker_file
from tasks.observed.state import FileState, Marker, Observed
from tests.unit.builders import as_desired, desired, fresh, stopped, with_listener
from tests.unit.foreign import INFO, PID, adopting, seen, server

VERSION = (7, 0)


def problems(host: Host, observed: Observed, **options: bool) -> list[str]:
    """Why servers of others stop the run."""
    return foreign_problems(host, observed, VERSION, options.get("allow_eviction", False))


def test_keys_of_all_databases_are_counted_and_unknown_while_it_loads() -> None:
    assert key_count({"db0": "keys=7,expires=1,avg_ttl=0", "db12": "keys=3,expires=0,avg_ttl=0"}) == 10
    assert key_count({"redis_version": "7.0.15"}) == 0
    assert key_count({}) is None
    assert key_count({**INFO, "loading": "1"}) is None


# Without adopt=


def test_a_server_with_data_stops_the_run_with_what_it_holds_and_what_to_do() -> None:
    host = desired("gateway")
    assert unfit(host, seen(host, server()), []) == [
        "gateway: port 127.0.0.1:6379 is held by redis-server, pid 812, unit redis-server.service, with data: 7 keys, "
        "directory /var/lib/redis, expected free: adopt its data with --data adopt=gateway, or stop it: "
        "systemctl disable --now redis-server.service"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"info": {"redis_version": "7.0.15"}},
        {"files": {}},
        {"info": {}, "files": {}, "refusal": "NOAUTH Authentication required."},
    ],
)
def test_keys_files_or_not_knowing_count_as_data(changes: dict[str, Any]) -> None:
    host = desired("gateway")
    assert len(problems(host, seen(host, server(**changes)))) == 1


def test_an_empty_packaged_server_is_masked_without_further_ado() -> None:
    host = desired("gateway")
    empty = seen(host, server(info={"redis_version": "7.0.15"}, files={}))
    assert unfit(host, empty, []) == []
    assert not packaged_is_adopted(host, empty)


def test_an_empty_server_in_the_role_s_place_is_still_a_taken_port() -> None:
    host = desired("gateway")
    empty = server(info={"x": "1"}, files={}, unit="", listens=(("172.28.2.1", 6379),))
    (reason,) = unfit(host, seen(host, empty), [])
    assert "port 172.28.2.1:6379 is held by redis-server, pid 812" in reason


def test_one_server_in_the_place_of_several_roles_is_one_finding_that_names_them() -> None:
    host = desired("gateway", "socket")
    (reason,) = unfit(host, seen(host, server(listens=(("0.0.0.0", 6379),))), [])
    assert reason.startswith("gateway, socket: port 0.0.0.0:6379 is held by redis-server")
    assert "--data adopt=ROLE (gateway or socket)" in reason


# With adopt=


def test_an_adoption_is_one_difference_and_refuses_nothing() -> None:
    host = adopting("gateway")
    observed = seen(host, server())
    assert problems(host, observed) == []
    assert adopted_pids(host, observed) == {PID}
    assert packaged_is_adopted(host, observed)
    (found,) = [item for item in compare(host, observed) if item.remedy == Remedy.ADOPT]
    assert str(found) == (
        "gateway: persistence data: 7 keys, directory /var/lib/redis, of redis-server, pid 812, unit "
        "redis-server.service → in /var/lib/redis/gateway (adopt)"
    )
    assert [item for item in compare(host, observed) if item.subject == "listener"] == []


def test_a_role_that_has_adopted_has_nothing_to_do() -> None:
    host = adopting("gateway")
    assert compare(host, as_desired(host)) == []
    assert problems(host, as_desired(host)) == []


def test_a_server_on_the_assigned_port_is_meant_before_one_on_the_inner_port() -> None:
    host = adopting("socket")
    own = server(pid=900, unit="", listens=(("0.0.0.0", 6380),))
    assert adopted_pids(host, seen(host, server(), own)) == {900}
    (reason,) = problems(host, seen(host, server(), own))
    assert reason.startswith("socket: port 127.0.0.1:6379 is held by redis-server, pid 812")


def test_two_servers_or_two_roles_for_one_are_refused() -> None:
    host = adopting("gateway")
    other = server(pid=900, unit="", listens=(("172.28.2.1", 6379),))
    assert any(
        "adopt=gateway could mean redis-server, pid 812" in item for item in problems(host, seen(host, server(), other))
    )
    both = adopting("gateway", "socket")
    assert any("adopt=gateway,socket both mean" in item for item in problems(both, seen(both, server())))


def test_without_another_server_there_is_nothing_to_adopt() -> None:
    host = adopting("socket")
    assert problems(host, fresh(host)) == [
        "socket: adopt=socket: no other Redis listens on port 6380 or 6379 of 172.28.2.2, of loopback or of every "
        "address, expected one: start it, or leave adopt out"
    ]


@pytest.mark.parametrize("running", [True, False])
def test_data_of_the_role_s_own_is_never_overwritten(running: bool) -> None:
    host = adopting("gateway")
    observed = as_desired(host) if running else replace(fresh(host), data_files={"/var/lib/redis/gateway/dump.rdb": 9})
    observed = replace(with_listener(observed, "127.0.0.1", 6379, "redis-server", PID), foreign=(server(),))
    assert adopted_pids(host, observed) == frozenset()
    assert any("the role has data of its own in /var/lib/redis/gateway" in item for item in problems(host, observed))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"refusal": "NOAUTH Authentication required.", "info": {}}, "does not tell what it holds: NOAUTH"),
        ({"reachable": False}, "is not the host's, it runs in a container of its own"),
        ({"directory": "/var/lib/redis/gateway"}, "works in /var/lib/redis/gateway, the role's own directory"),
        (
            {"info": {**INFO, "role": "slave", "master_host": "10.1.1.1", "master_port": "6379"}},
            "replica of 10.1.1.1:6379",
        ),
        ({"info": {**INFO, "cluster_enabled": "1"}}, "is a node of a cluster"),
        ({"info": {**INFO, "module": "name=bf,ver=20000,api=1"}}, "has the module bf loaded"),
        ({"info": {**INFO, "redis_version": "8.0.2"}}, "is Redis 8.0.2, the host's will be 7.0"),
        (
            {"info": {**INFO, "redis_version": "7.2.4", "server_name": "valkey"}},
            "is Redis 7.2.4, the host's will be 7.0",
        ),
        (
            {"info": {**INFO, "db16": "keys=1,expires=0,avg_ttl=0"}},
            "has keys in database 16, the role has databases 16",
        ),
        ({"info": {**INFO, "used_memory": str(300 << 20)}}, "uses 300 MiB, and maxmemory 256mb would evict keys"),
    ],
)
def test_what_would_not_all_arrive_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    host = adopting("gateway")
    found = problems(host, seen(host, server(**changes)))
    assert any(item.startswith("gateway: adopt=gateway: redis-server, pid 812") and words in item for item in found)


def test_what_the_role_can_take_is_not_refused() -> None:
    host = adopting("gateway")
    fine = {**INFO, "redis_version": "6.0.16", "module": "name=vectorset,ver=1", "db15": "keys=1,expires=0,avg_ttl=0"}
    assert problems(host, seen(host, server(info=fine))) == []
    large = server(info={**INFO, "used_memory": str(300 << 20)})
    assert problems(host, seen(host, large), allow_eviction=True) == []


# Cut off


MARKER = Marker(
    "redis-server, pid 812, unit redis-server.service", PID, "redis-server.service", "/var/lib/redis/dump.rdb"
)


def interrupted(host: Host, **changes: Any) -> Observed:
    """A machine on which an adoption was cut off."""
    return replace(fresh(host), adopting={"gateway": replace(MARKER, **changes)})


@pytest.mark.parametrize("host", [desired("gateway"), adopting("gateway")])
def test_an_adoption_goes_on_from_the_old_server_s_last_save(host: Host) -> None:
    observed = interrupted(host, before="16 1.5", found="17 2.5")
    assert problems(host, observed) == []
    assert any(item.remedy == Remedy.ADOPT for item in compare(host, observed))


@pytest.mark.parametrize("host", [desired("gateway"), adopting("gateway")])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"found": "17 2.5"},
        {"before": "16 1.5"},
        {"before": "16 1.5", "found": "16 1.5"},
        {"before": "16 1.5", "found": "17 2.5", "unfinished": True},
    ],
)
def test_without_that_save_the_role_is_not_started(host: Host, changes: dict[str, Any]) -> None:
    (reason,) = problems(host, interrupted(host, **changes))
    assert "is not its last save, expected all its data there: start it again (systemctl unmask redis-server.service; "
    assert reason.endswith(f"remove {marker_file('gateway')}")


def test_a_role_that_runs_although_its_adoption_did_not_end_is_refused() -> None:
    host = desired("gateway")
    observed = replace(as_desired(host), adopting={"gateway": replace(MARKER, before="16 1.5", found="17 2.5")})
    (reason,) = problems(host, observed)
    assert f"and redis-gateway.service runs, expected not to: stop it, move {data_directory('gateway')} away" in reason


def test_another_server_than_the_one_that_was_begun_with_is_not_adopted_over_it() -> None:
    host = adopting("gateway")
    observed = replace(seen(host, server()), adopting={"gateway": replace(MARKER, rdb="/srv/redis/dump.rdb")})
    (reason,) = problems(host, observed)
    assert "is another server than redis-server, pid 812" in reason


def test_a_half_made_copy_is_no_data_of_the_role_s_own() -> None:
    host = adopting("gateway")
    observed = replace(seen(host, server()), adopting={"gateway": MARKER})
    observed = replace(observed, data_files={"/var/lib/redis/gateway/dump.rdb": 9})
    assert adopted_pids(host, observed) == {PID}
    assert problems(host, observed) == []
    assert [item.remedy for item in compare(host, observed) if item.subject == "persistence"] == [Remedy.ADOPT]


# What an older version wrote where the role itself can


OLD_MARKER = {"/var/lib/redis/gateway/adopting": FileState("file", "redis", "redis", "0600", "")}


def test_a_role_that_has_not_run_and_has_the_marker_of_an_older_version_is_refused_with_both_ways_out() -> None:
    host = desired("gateway")
    (reason,) = problems(host, replace(fresh(host), stored=OLD_MARKER))
    assert "in the words of an older version or of the role itself, which are not believed" in reason
    assert "start the old server again and deploy with --data adopt=gateway" in reason
    assert reason.endswith("where none did, remove that file")


def test_an_old_marker_says_nothing_of_a_role_that_has_run_here() -> None:
    host = desired("gateway")
    right = as_desired(host)
    observed = replace(right, stored={**right.stored, **OLD_MARKER})
    for there in (observed, stopped(observed, "gateway")):
        assert problems(host, there) == []
        assert [item.name for item in compare(host, there) if item.remedy == Remedy.ADOPT] == []


def test_with_the_operator_s_word_an_adoption_begins_anew_whatever_the_old_marker_says() -> None:
    host = adopting("gateway")
    assert problems(host, replace(seen(host, server()), stored=OLD_MARKER)) == []


def test_a_server_of_which_nobody_knows_the_user_is_not_adopted() -> None:
    host = adopting("gateway")
    (reason,) = problems(host, seen(host, server(runs_as="")))
    assert "as which user it runs is not known" in reason

"""A Redis of somebody else's on a role's port: who counts as one, where it is spoken to, and what it says."""

from dataclasses import replace

import pytest

from tasks.compare.adoption import can_go_on, key_count
from tasks.compare.fitness import unfit
from tasks.observed.exchange import Reply, ReplyError
from tasks.observed.foreign import complete_server, logins, questions, read_answers, read_replies
from tasks.observed.foreign_listeners import endpoint, foreign_listeners
from tasks.observed.marker import marker_text, read_marker
from tasks.observed.state import Listener, Marker
from tests.unit.builders import as_desired, desired, with_listener
from tests.unit.foreign import PID, adopting, seen, server
from tests.unit.observed.printed import MARK, answers_text

# Who counts as one


@pytest.mark.parametrize(
    ("address", "port", "counts"),
    [
        ("172.28.2.2", 6380, True),
        ("172.28.2.2", 6379, True),
        ("0.0.0.0", 6380, True),
        ("*", 6379, True),
        ("::", 6379, True),
        ("127.0.0.1", 6379, True),
        ("::1", 6380, True),
        ("172.28.2.9", 6379, False),
        ("127.0.0.1", 6390, False),
    ],
)
def test_a_redis_counts_where_a_client_of_the_role_or_the_host_could_take_it_for_the_role(
    address: str, port: int, counts: bool
) -> None:
    host = desired("socket")
    for process in ("redis-server", "valkey-server"):
        found = foreign_listeners(host, with_listener(as_desired(host), address, port, process, PID))
        assert found == ({PID: [Listener(address, port, process, PID)]} if counts else {})
    assert foreign_listeners(host, with_listener(as_desired(host), address, port, "haproxy", PID)) == {}


@pytest.mark.parametrize(("listens", "where"), [((("10.9.9.9", 7000),), "on 10.9.9.9:7000"), ((), "on no TCP port")])
def test_the_packaged_server_counts_wherever_it_listens(listens: tuple[tuple[str, int], ...], where: str) -> None:
    host = desired("gateway")
    observed = seen(host, server(listens=listens))
    assert list(foreign_listeners(host, observed)) == [PID]
    (reason,) = unfit(host, observed, [])
    assert reason.startswith(f"redis-server.service: runs as redis-server, pid 812, {where}, with data: 7 keys")


def test_our_own_instances_and_those_of_roles_that_left_are_no_servers_of_others() -> None:
    host = desired("gateway", "socket")
    assert foreign_listeners(host, as_desired(host)) == {}
    assert foreign_listeners(desired("gateway"), as_desired(host)) == {}


@pytest.mark.parametrize(
    ("listens", "spoken_to"),
    [
        ((("127.0.0.1", 6379), ("::1", 6379)), ("127.0.0.1", 6379)),
        ((("172.28.2.1", 6379), ("127.0.0.1", 6379)), ("127.0.0.1", 6379)),
        ((("0.0.0.0", 6379), ("::", 6379)), ("127.0.0.1", 6379)),
        ((("::", 6379),), ("::1", 6379)),
        ((("*", 6379),), ("127.0.0.1", 6379)),
        ((("172.28.2.1", 6379),), ("172.28.2.1", 6379)),
    ],
)
def test_it_is_spoken_to_over_loopback_where_it_listens_there(
    listens: tuple[tuple[str, int], ...], spoken_to: tuple[str, int]
) -> None:
    assert endpoint(server(listens=listens)) == spoken_to


# What it says


def test_replies_are_read_or_say_why_there_are_none() -> None:
    info = "redis_version:7.0.15\r\ndb0:keys=7,expires=1,avg_ttl=0\r\n"
    replies: list[Reply] = [info, ["dir", "/srv"], ["dbfilename", "own.rdb"], []]
    read = read_replies(server(), replies)
    assert (read.refusal, read.info["db0"], read.config) == (
        None,
        "keys=7,expires=1,avg_ttl=0",
        {"dir": "/srv", "dbfilename": "own.rdb"},
    )
    no_auth = read_replies(server(info={}), [ReplyError("NOAUTH Authentication required."), *replies[1:]])
    assert (no_auth.refusal, no_auth.info) == ("NOAUTH Authentication required.", {})
    no_config = read_replies(server(), [info, ReplyError("ERR unknown command 'CONFIG'"), [], []])
    assert no_config.refusal == "CONFIG GET: ERR unknown command 'CONFIG'"
    assert key_count(no_config.info) == 7
    assert read_replies(server(), ["loading:1\r\n", [], [], []]).refusal == "it is still loading its data"


KNOWN = {"gateway": {"default": "one"}, "socket": {"default": "two", "operator": "x"}, "shared": {"operator": "y"}}
ON_ALL = (("0.0.0.0", 6379),)


@pytest.mark.parametrize(
    ("carried", "adopting_by", "sent"),
    [
        (("gateway", "shared"), (), ["one"]),
        (("gateway", "socket"), (), []),
        (("gateway", "socket"), ("socket",), ["two"]),
        (("gateway", "socket"), ("gateway", "socket"), []),
        (("shared", "crypto"), ("shared",), []),
    ],
)
def test_an_old_server_gets_the_password_of_default_that_is_meant_for_it_and_no_other(
    carried: tuple[str, ...], adopting_by: tuple[str, ...], sent: list[str]
) -> None:
    old = server(listens=ON_ALL)
    host = adopting(*carried, by=adopting_by) if adopting_by else desired(*carried)
    assert logins(host, old, KNOWN, seen(host, old)) == [("AUTH", password) for password in sent]


def test_a_server_beside_a_role_that_runs_gets_no_password() -> None:
    host = desired("gateway")
    old = server(listens=(("127.0.0.1", 6379),))
    assert logins(host, old, KNOWN, as_desired(host)) == []


def test_its_files_are_those_that_its_configuration_names() -> None:
    said = {"directory": "/srv/redis", "reachable": "yes", "unit": "my.service", "file": "5 //srv/redis/a\nb.rdb"}
    found = complete_server(server(), read_answers(answers_text(said, 812), MARK)["812"])
    assert (found.directory, found.reachable, found.unit) == ("/srv/redis", True, "my.service")
    assert found.files == {"/srv/redis/a\nb.rdb": 5}
    own = server(config={"dbfilename": "own.rdb", "appendfilename": "a", "appenddirname": "logs"})
    assert questions([own], {}) == ["process", "812", "own.rdb", "a", "logs"]
    usual = ["process", "812", "dump.rdb", "appendonly.aof", "appendonlydir"]
    assert questions([server(config={})], {}) == usual


@pytest.mark.parametrize("name", ["../../etc/shadow", "/etc/shadow", "..", ".", "", "a\nb", "a\0b"])
def test_a_server_whose_data_lies_where_none_can_is_not_believed(name: str) -> None:
    read = read_replies(server(), ["role:master\r\n", ["dbfilename", name]])
    assert (read.refusal or "").startswith("its dbfilename is '")
    assert (read.refusal or "").isprintable()


def test_the_name_of_a_unit_that_none_can_have_is_left_out() -> None:
    said = read_answers(answers_text({"unit": "$(reboot).service", "directory": "/srv"}, 812), MARK)
    assert complete_server(server(), said["812"]).unit == ""


def test_the_save_that_an_interrupted_adoption_waits_for_is_asked_about() -> None:
    marker = Marker("x", 7, "", "/srv/it's; reboot/dump.rdb")
    assert questions([], {"gateway": marker}) == ["save", "gateway", marker.rdb, "/srv/it's; reboot/temp-7.rdb"]


def test_a_marker_is_read_as_it_was_written_and_a_broken_one_leads_nowhere() -> None:
    marker = Marker("redis-server, pid 812", PID, "my.service", "/srv/redis/dump.rdb", "16 1.5", "111:115:115 27 ")
    assert read_marker(marker_text(marker)) == marker
    for text in ("", "{", "[]", '{"pid": 1}', '{"server": 1, "pid": "x", "unit": "", "rdb": "", "before": 2}'):
        assert not can_go_on(replace(read_marker(text), found="17 2.5"))

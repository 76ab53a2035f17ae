"""`redis_metrics` at the door, and the user behind it."""

import pytest

from tasks.catalogue.acl_rules import COMMANDS, METRICS_RULES, may, patterns
from tasks.catalogue.metrics import Metrics, measured, read_metrics, same_place
from tasks.catalogue.rotation import named
from tasks.catalogue.secrets_file import entries_of
from tasks.catalogue.users import users_of
from tests.unit.builders import roles

GATEWAY = roles()["gateway"]
PLACE = {"address": "172.28.2.1:9121"}
REFUSED = {
    "9121": "expected {'address': '172.28.2.1:9121'}, observed '9121'",
    "a name": "address: 'redis-1:9121': write an IPv4 address of the host and a port",
    "no port": "address: '172.28.2.1': write an IPv4 address",
    "a port of none": "address: '172.28.2.1:65536': write an IPv4 address",
    "no address": "address: '172.28.2.256:9121': write an IPv4 address",
    "every address": "address: '0.0.0.0:9121' is no address of one host",
    "nothing": "address: missing: add it",
    "another word": "port: unknown key",
    "everybody": "allow_from: '0.0.0.0/0' is everybody: leave allow_from out",
    "a port of a role": "address: 172.28.2.1:6379 is a port of gateway: choose another one",
}
GIVEN: dict[str, object] = {
    "9121": "9121",
    "a name": {"address": "redis-1:9121"},
    "no port": {"address": "172.28.2.1"},
    "a port of none": {"address": "172.28.2.1:65536"},
    "no address": {"address": "172.28.2.256:9121"},
    "every address": {"address": "0.0.0.0:9121"},
    "nothing": {},
    "another word": {**PLACE, "port": 9121},
    "everybody": {**PLACE, "allow_from": ["0.0.0.0/0"]},
    "a port of a role": {"address": "172.28.2.1:6379"},
}


def test_without_it_no_role_is_measured() -> None:
    assert read_metrics("redis-1", None, [GATEWAY]) == read_metrics("redis-1", None, [])
    assert "metrics" not in users_of(GATEWAY)


def test_an_address_and_a_port_are_enough() -> None:
    found = read_metrics("redis-1", PLACE, [GATEWAY])
    assert found.problems == ()
    assert found.metrics is not None
    assert (found.metrics.host, found.metrics.port) == ("172.28.2.1", 9121)


@pytest.mark.parametrize("what", GIVEN)
def test_what_is_no_place_is_refused_in_words(what: str) -> None:
    found = read_metrics("redis-1", GIVEN[what], [GATEWAY])
    assert any(problem.startswith(f"redis-1: redis_metrics: {REFUSED[what]}") for problem in found.problems), found


def test_two_hosts_do_not_claim_one_address_but_each_has_a_loopback() -> None:
    one, loopback = Metrics(address="172.28.2.1:9121"), Metrics(address="127.0.0.1:9121")
    (problem,) = same_place({"redis-1": one, "redis-2": one, "redis-3": None})
    assert problem.startswith("redis_metrics: 172.28.2.1:9121 is claimed by redis-1 and redis-2")
    assert same_place({"redis-1": loopback, "redis-2": loopback}) == []


def test_a_measured_role_has_a_user_more_and_its_password_among_the_secrets() -> None:
    (role,) = measured([GATEWAY], Metrics(address="172.28.2.1:9121"))
    assert set(entries_of(role)) - set(entries_of(GATEWAY)) == {"metrics"}


def test_the_user_has_no_key_no_channel_and_four_commands_that_show_no_value() -> None:
    assert patterns(METRICS_RULES) == []
    allowed = {name for name in COMMANDS if may(METRICS_RULES, name)}
    assert allowed == {"info", "latency|histogram", "latency|latest", "slowlog|len"}


def test_its_password_is_rotated_as_every_user_s() -> None:
    (role,) = measured([GATEWAY], Metrics(address="172.28.2.1:9121"))
    assert named(["gateway:metrics"], role) == ["metrics"]
    assert "metrics" in named(["gateway"], role)
    assert named(["gateway:metrics"], GATEWAY) == []

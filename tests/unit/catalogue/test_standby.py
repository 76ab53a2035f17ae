"""Standbys at the door: what groups say, and which pairs are none."""

from collections.abc import Mapping
from typing import Any

import pytest

from tasks.catalogue.acl_rules import STANDBY_RULES, may
from tasks.catalogue.secrets_file import entries_of
from tasks.catalogue.standby import Carried, doubly_named, is_older, named, paired, pairs, unfit_names
from tests.unit.builders import TLS, roles


def carried(host: str, standby_of: tuple[str, ...] = (), **given: Any) -> Carried:
    own: Mapping[str, Any] = {"address": {"one": "172.28.2.1", "other": "172.28.2.2"}.get(host, "172.28.2.3")}
    role = roles(crypto={**own, **given.pop("crypto", {})})["crypto"]
    return Carried(host, (role,), standby_of, given.get("secrets", "secrets/prod.yaml"), given.get("version"))


ASKS = {**TLS, "client_auth": "yes", "clients": "tls/clients"}
ONE, OTHER = carried("one"), carried("other", ("crypto",))


def test_a_standbys_group_names_its_role() -> None:
    assert named(["crypto", "shared_standby"]) == (["crypto", "shared"], ["shared"])


def test_a_role_with_a_host_and_a_standby_is_a_pair() -> None:
    assert pairs([OTHER, ONE]) == ({"crypto": (ONE, OTHER)}, [])


def test_a_role_without_a_standby_is_none() -> None:
    assert pairs([ONE, carried("third")]) == ({}, [])


@pytest.mark.parametrize(
    ("hosts", "problem"),
    {
        "two standbys": ([ONE, OTHER, carried("third", ("crypto",))], "names other, third, expected one host"),
        "no primary": ([OTHER], "no host is in group redis_crypto, expected one"),
        "two primaries": ([ONE, carried("third"), OTHER], "redis_crypto: names one, third, and crypto has a standby"),
        "other settings": (
            [ONE, carried("other", ("crypto",), crypto={"maxmemory": "64mb"})],
            "other: crypto: maxclients, maxmemory of its standby is not that of one, expected the same",
        ),
        "TLS on one of them": (
            [ONE, carried("other", ("crypto",), crypto={"tls": TLS})],
            "other: crypto: tls of its standby is not that of one, expected the same",
        ),
        "clients' certificates asked for by one of them": (
            [carried("one", crypto={"tls": TLS}), carried("other", ("crypto",), crypto={"tls": ASKS})],
            "other: crypto: tls.client_auth of its standby is not that of one, expected the same",
        ),
        "amid a switch on one of them": (
            [carried("one", crypto={"tls": TLS}), carried("other", ("crypto",), crypto={"tls": {**TLS, "port": 7383}})],
            "other: crypto: tls.port of its standby is not that of one, expected the same",
        ),
        "other secrets": (
            [ONE, carried("other", ("crypto",), secrets="secrets/else.yaml")],
            "its passwords are in secrets/else.yaml, those of one in secrets/prod.yaml, expected one place",
        ),
        "an older standby": (
            [carried("one", version="5:8.0.2-3"), carried("other", ("crypto",), version="5:7.0.15-1~deb12u10")],
            "its Redis 5:7.0.15-1~deb12u10 is older than 5:8.0.2-3 of one",
        ),
    }.values(),
)
def test_a_pair_that_could_not_take_each_others_place_is_refused_in_words(hosts: list[Carried], problem: str) -> None:
    found, problems = pairs(hosts)
    assert found == {}
    assert [problem in item for item in problems] == [True], problems


def test_a_newer_standby_of_another_address_and_port_is_a_pair() -> None:
    newer = carried("other", ("crypto",), version="5:8.0.2-3", crypto={"port": 6999, "inner_port": None})
    found, problems = pairs([carried("one", version="5:7.0.15-1"), newer])
    assert (list(found), problems) == (["crypto"], [])


def test_each_of_a_pair_has_its_own_certificate() -> None:
    """And its own port for who changes over, where both have one."""
    given: list[dict[str, Any]] = [
        {**ASKS, "port": port, "certificate": f"tls/{name}.crt"} for name, port in (("one", 7383), ("other", 7384))
    ]
    found, problems = pairs(
        [carried("one", crypto={"tls": given[0]}), carried("other", ("crypto",), crypto={"tls": given[1]})]
    )
    assert (list(found), problems) == (["crypto"], [])


def test_a_host_is_no_standby_of_itself() -> None:
    (problem,) = doubly_named("one", ["crypto", "crypto_standby", "shared_standby"])
    assert problem.startswith("one: is in groups redis_crypto and redis_crypto_standby, expected one of them")


def test_no_role_is_called_like_a_standby() -> None:
    assert list(unfit_names(["crypto"])) == []
    assert list(unfit_names(["crypto_standby"])) != []


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [("5:7.0.15-1", "8.0.2", True), ("8.0.2", "7.0.15", False), ("7.0.15", "7.0.11", False), ("", "8.0.2", False)],
)
def test_data_of_a_newer_release_is_not_read_by_an_older_one(version: str, than: str, older: bool) -> None:
    assert is_older(version, than) is older


def test_a_role_with_a_standby_has_one_password_more() -> None:
    (role,) = paired([roles()["crypto"]], ["crypto"])
    assert set(entries_of(role)) - set(entries_of(roles()["crypto"])) == {"replication"}


@pytest.mark.parametrize("command", ["psync", "replconf", "ping", "role"])
def test_a_standby_may_copy_and_ask_who_serves(command: str) -> None:
    assert may(STANDBY_RULES, command)


@pytest.mark.parametrize(
    "command", ["get", "set", "replicaof", "config|get", "info", "acl|users", "shutdown", "failover"]
)
def test_a_standby_may_nothing_else(command: str) -> None:
    assert not may(STANDBY_RULES, command)

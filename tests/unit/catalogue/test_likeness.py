"""What a rehearsal takes of another inventory (tasks/catalogue/likeness.py)."""

from typing import Any

import pytest

from tasks.catalogue.likeness import Carrier, kept, likened, one_for_all, wish

PROD = "inventory/prod.py"


def carrier(name: str, *names: str, **data: Any) -> Carrier:
    return Carrier(name, names, data)


def overriding(**fields: Any) -> dict[str, Any]:
    return {"redis_overrides": {"gateway": fields}}


OWN = carrier("r", "gateway", ssh_hostname="192.0.2.1")


def taken(other: Carrier, own: Carrier = OWN) -> dict[str, Any]:
    """What the own host has of the other's data."""
    found = likened([own], [other], PROD)
    assert found.problems == ()
    return dict(found.data["r"])


def problems(own: list[Carrier], other: list[Carrier]) -> tuple[str, ...]:
    return likened(own, other, PROD).problems


def test_fields_of_a_role_its_version_and_what_changes_it_are_taken() -> None:
    data = {"redis_version": "5:7", "redis_sysctl": {"vm.overcommit_memory": 1}, "redis_health": {"clients_warning": 1}}
    fields = {"maxmemory": "300mb", "allow_from": ["10.8.0.0/16"], "services": {"gateway": {}}, "port": 7000}
    assert taken(carrier("p", "gateway", **data, **overriding(**fields))) == {**data, **overriding(**fields)}


def test_nothing_else_is() -> None:
    data = {"ssh_hostname": "172.28.2.1", "ssh_key": "secret-key", "_sudo": True, "redis_secrets_file": "secret-file"}
    found = taken(carrier("p", "gateway", redis_secrets_command=["secret-command"], redis_ignore=["a.service"], **data))
    assert found == {**overriding(), "redis_version": None, "redis_sysctl": None, "redis_health": None}


def test_a_role_answers_where_its_own_host_says() -> None:
    there = carrier("p", "gateway", **overriding(address="10.0.0.1", port=7000, inner_port=None, maxmemory="1gb"))
    assert taken(there)["redis_overrides"]["gateway"] == {"port": 7000, "inner_port": None, "maxmemory": "1gb"}
    own = carrier("r", "gateway", **overriding(address="192.0.2.1", port=7001, inner_port=6379))
    fields = {"address": "192.0.2.1", "port": 7001, "inner_port": 6379, "maxmemory": "1gb"}
    assert taken(there, own)["redis_overrides"]["gateway"] == fields


def test_what_the_own_inventory_says_of_a_role_beside_is_not_used_and_said() -> None:
    own = carrier("r", "gateway", **overriding(address="192.0.2.1", maxmemory="64mb"))
    found = likened([own], [carrier("p", "gateway")], PROD)
    assert found.data["r"]["redis_overrides"] == {"gateway": {"address": "192.0.2.1"}}
    (note,) = found.notes
    assert note.startswith("like=inventory/prod.py: gateway.maxmemory of redis_overrides here (r) is not used")


def test_a_version_of_one_s_own_is_not_used_and_said() -> None:
    own = carrier("r", "gateway", redis_version="5:7", redis_sysctl={})
    (note,) = likened([own], [carrier("p", "gateway", redis_version="5:8", redis_sysctl={})], PROD).notes
    assert note.startswith("like=inventory/prod.py: redis_version here (r) is not used")


def test_a_role_that_only_one_of_the_two_has_is_one_sentence_each() -> None:
    own, other = [carrier("r", "gateway", "socket")], [carrier("p", "gateway"), carrier("q", "crypto")]
    assert problems(own, other) == (
        "like=inventory/prod.py: socket: no host there carries it, r of this run does: take it out of redis_socket "
        "here, or name an inventory that has the role",
        "like=inventory/prod.py: crypto: q carries it there, no host of this run does: put a throw-away host into "
        "group redis_crypto",
    )


def test_an_inventory_without_roles_is_none() -> None:
    assert problems([OWN], [carrier("web")]) == (
        "like=inventory/prod.py: no host in a group redis_<role> there: name the inventory that is to be rehearsed",
    )


def test_a_role_that_two_hosts_there_carry_alike_is_taken() -> None:
    one, two = (carrier(name, "gateway", **overriding(address=name, maxmemory="1gb")) for name in ("10.0.0.1", "2"))
    assert problems([OWN], [one, two]) == ()


def test_a_role_that_is_not_the_same_everywhere_there_cannot_be_rehearsed() -> None:
    (said,) = problems([OWN], [carrier("p", "gateway"), carrier("q", "gateway", **overriding(hz=20, save=""))])
    assert said.startswith("like=inventory/prod.py: gateway: hz, save of p is not that of q, expected one gateway")


def test_one_host_cannot_be_like_two_that_differ() -> None:
    own = [carrier("r", "gateway", "socket")]
    (said,) = problems(own, [carrier("p", "gateway", redis_version="5:7"), carrier("q", "socket")])
    assert said.startswith("like=inventory/prod.py: r: redis_version of p is not that of q, expected the same")
    assert (
        problems(own, [carrier("p", "gateway", redis_version="5:7"), carrier("q", "socket", redis_version="5:7")]) == ()
    )


@pytest.mark.parametrize("overrides", [["gateway"], {"gateway": ["maxmemory"]}, "gateway"])
def test_overrides_that_are_none_are_said(overrides: Any) -> None:
    (said,) = problems([OWN], [carrier("p", "gateway", redis_overrides=overrides)])
    assert said.startswith("like=inventory/prod.py: p: redis_overrides: ")


def test_one_run_is_like_one_inventory() -> None:
    assert wish("like", []) == (None, [])
    assert wish("like", [carrier("a", like="x"), carrier("b", like="x")]) == ("x", [])
    (said,) = wish("like", [carrier("a", like="x"), carrier("b")])[1]
    assert said == "like: 'x', nothing for hosts of one run, expected the same for all: give it by --data like=…"


def test_hosts_that_are_kept_are_like_themselves() -> None:
    hosts = [
        carrier(name, redis_rehearsal=meant) for name, meant in (("a", True), ("b", "true"), ("c", 1), ("d", None))
    ]
    (said,) = kept([*hosts, carrier("e")], ["like=", "scale="])
    assert "redis_rehearsal is not True of b, c, d and 1 more, expected throw-away hosts only: leave like= and" in said
    assert list(kept(hosts[:1], ["like="])) == []


def test_an_older_state_is_told_the_overrides_of_all_hosts_at_once() -> None:
    a = {"redis_overrides": {"gateway": {"hz": 20}}, "redis_version": None}
    b: dict[str, Any] = {"redis_overrides": {"socket": {}}, "redis_version": None}
    assert one_for_all({"a": a, "b": b}) == ({"redis_overrides": {"gateway": {"hz": 20}, "socket": {}}}, [])
    _, (said,) = one_for_all({"a": a, "b": {**b, "redis_version": "5:7"}})
    assert said.startswith("redis_version: a and b have different ones, expected the same")
    _, (said,) = one_for_all({"a": a, "b": {**b, "redis_overrides": {"gateway": {"hz": 10}}}})
    assert said.startswith("redis_overrides of gateway: a and b have different ones")

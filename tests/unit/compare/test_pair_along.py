"""A pair whose address goes along with who serves: who is to have it, where the two meet, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.compare.addresses import twice
from tasks.compare.difference import Remedy
from tasks.compare.host import compare
from tasks.compare.network import tries
from tasks.compare.pairs import orient
from tasks.desired.host import Host
from tasks.desired.metrics import target
from tasks.desired.paths import copy_file, guard_file, served_file
from tasks.observed.state import Observed
from tests.unit.builders import as_desired, desired, pair_of, with_server, with_unit

ADDRESS, OWN, THERE = "172.28.2.5", "172.28.2.1", "172.28.2.2"
KEEPER = "caas-redis-address-crypto.service"
HOSTS = pair_of(along=True)


def seen(serves: str = "one") -> dict[str, tuple[Host, Observed]]:
    """Both hosts as they are to be where one of them serves."""
    hosts, _ = orient(
        {
            name: (
                host,
                with_server(as_desired(host), "crypto", info={"role": "master" if name == serves else "slave"}),
            )
            for name, host in HOSTS.items()
        }
    )
    return {name: (host, as_desired(host)) for name, host in hosts.items()}


def text(host: Host, path: str) -> str:
    return next(file.content or "" for file in host.files if file.path == path)


@pytest.mark.parametrize("serves", ["one", "other"])
def test_who_serves_has_it_and_listens_there_and_the_standby_at_its_own(serves: str) -> None:
    hosts = seen(serves)
    for name, own in (("one", OWN), ("other", THERE)):
        host, observed = hosts[name]
        (instance,) = host.instances
        assert instance.bound == ((ADDRESS, own) if name == serves else (own,))
        assert instance.where == (own, 6383)
        assert [plan.there for plan in host.addresses] == ["" if name == serves else serves]
        assert compare(host, observed) == []
    assert twice(hosts) == {}


def test_no_file_of_a_host_is_another_one_when_the_two_have_swapped_but_what_makes_it_a_standby() -> None:
    first, then = seen("one")["one"][0], seen("other")["one"][0]
    texts = [{file for file in host.files if file.content is not None} for host in (first, then)]
    kept = [{file for file in files if "copy" not in file.path} for files in texts]
    assert {file.path for file in kept[0] ^ kept[1]} == {"/run/caas-redis/crypto.served"}
    assert {plan.digest for plan in first.addresses} == {plan.digest for plan in then.addresses}


def test_the_standby_is_started_at_its_own_address_and_follows_the_other_one_by_that_of_its_host() -> None:
    host, _ = seen()["other"]
    lines = text(host, copy_file("crypto")).splitlines()
    assert {f"bind {THERE}", f"replicaof {OWN} 6383", f"bind-source-addr {THERE}"} <= set(lines)
    assert f"bind {ADDRESS} {THERE}" in text(host, "/etc/redis/crypto.conf").splitlines()


def test_before_a_start_each_asks_the_other_one_at_that_ones_own_address() -> None:
    lines = text(seen()["one"][0], guard_file("crypto")).splitlines()
    assert {f"host={THERE}", f"own_host={OWN}"} <= set(lines)


def test_what_keeps_the_address_is_kept_back_where_the_role_is_not_served_and_asks_else() -> None:
    unit = text(seen()["one"][0], f"/etc/systemd/system/{KEEPER}")
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStartPre=+")]
    for path in ("copy.conf", "handed-over.conf"):
        assert f"[ ! -e /etc/systemd/system/redis-crypto.service.d/{path} ]" in line
    # The guard itself decides, and notes nothing: no server has started by it.
    (asked,) = [line for line in unit.splitlines() if guard_file("crypto") in line]
    assert asked == f"  exec /bin/sh {guard_file('crypto')} asks'"
    assert served_file("crypto") not in unit
    assert unit.index(guard_file("crypto")) < unit.index("arping -q -D")
    assert guard_file("crypto") not in text(desired("crypto", interface="eth0"), f"/etc/systemd/system/{KEEPER}")


def found(host: Host, observed: Observed) -> list[tuple[str, str, object]]:
    return [(item.name, item.observed, item.remedy) for item in compare(host, observed)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"UnitFileState": "enabled"}, f"{KEEPER} is enabled"),
        ({"ActiveState": "active"}, f"{KEEPER} is active"),
        ({"ActiveState": "activating"}, f"{KEEPER} is activating"),
    ],
)
def test_a_standby_that_would_take_the_address_is_a_difference(changes: dict[str, str], says: str) -> None:
    host, observed = seen()["other"]
    assert found(host, with_unit(observed, KEEPER, **changes)) == [(ADDRESS, says, Remedy.LEAVE)]


def test_an_address_on_both_is_taken_from_the_standby_and_from_no_third_host() -> None:
    hosts = seen()
    host, observed = hosts["other"]
    both = replace(observed, addresses=observed.addresses | {ADDRESS})
    (item,) = compare(host, both)
    assert (item.expected, item.observed) == ("on one alone, which serves the role", "on this host as well")
    assert twice({**hosts, "other": (host, both)}) == {}
    third = replace(as_desired(desired("shared")), addresses=frozenset({"172.28.2.3", ADDRESS}))
    (item,) = twice({**hosts, "third": (desired("shared"), third)})["one"]
    assert item.observed == "on third as well"


def test_who_serves_and_has_not_its_address_gets_it() -> None:
    host, observed = seen()["one"]
    lacks = with_unit(replace(observed, addresses=observed.addresses - {ADDRESS}), KEEPER, UnitFileState="disabled")
    assert found(host, lacks) == [(ADDRESS, "disabled", Remedy.PLACE)]


def test_a_host_that_lacks_its_own_address_is_told() -> None:
    host, observed = seen()["one"]
    (item,) = compare(host, replace(observed, addresses=observed.addresses - {OWN}))
    assert (item.subject, item.name, item.observed) == ("address", OWN, "absent")
    assert "redis_own_address" in item.to_do


def test_a_server_that_listens_elsewhere_than_it_should_is_a_difference_of_its_setting() -> None:
    hosts = seen()
    for name, bind in (("one", OWN), ("other", f"{ADDRESS} {THERE}")):
        host, observed = hosts[name]
        server = observed.servers["crypto"]
        (item,) = compare(host, with_server(observed, "crypto", config={**server.config, "bind": bind}))
        assert (item.name, item.observed, item.remedy) == ("bind", bind, Remedy.LIVE)


def test_each_is_tried_from_the_other_where_it_listens() -> None:
    planned = tries(seen())
    assert {place[0] for place in planned["one"].ports} == {ADDRESS, OWN}
    assert {place[0] for place in planned["other"].ports} == {THERE}


def test_whom_the_role_lets_in_it_lets_in_at_both_addresses_and_the_other_host_besides() -> None:
    hosts = pair_of(along=True, allow_from=["10.8.0.0/16"])
    fences = hosts["one"].fences
    assert {fence.address for fence in fences} == {ADDRESS, OWN}
    assert {fence.networks for fence in fences} == {("10.8.0.0/16", THERE)}
    assert compare(hosts["one"], as_desired(hosts["one"])) == []


def test_it_is_measured_where_it_listens_whoever_serves() -> None:
    names = {name: target(host.instances[0]) for name, (host, _) in seen().items()}
    assert names == {"one": f"redis://{OWN}:6383", "other": f"redis://{THERE}:6383"}

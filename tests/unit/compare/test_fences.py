"""Who may connect to a role, as the kernel's rules have it, compared with what `allow_from` says."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from tasks.catalogue.requested import Requests
from tasks.compare.host import compare
from tasks.desired.host import Host, fence_chains
from tasks.desired.standby import with_peer
from tasks.observed.state import Observed
from tasks.run.tier import HostInput, with_standbys
from tests.unit.builders import as_desired, desired, roles

NETWORKS = ["10.8.0.0/16", "10.9.1.7"]
OPEN = "open to 10.8.0.0/16, 10.9.1.7"
GATEWAY, CRYPTO = "172.28.2.1:6379", "172.28.2.5:6383"
Chains = dict[str, tuple[str, ...]]


@pytest.fixture
def host() -> Host:
    return desired("gateway", "crypto", gateway={"allow_from": NETWORKS})


def found(host: Host, observed: Observed) -> list[tuple[str | None, str, str, str]]:
    listed = compare(host, observed)
    assert {str(item.remedy) for item in listed} <= {"load the inner port's rules"}
    return [(item.role, item.name, item.expected, item.observed) for item in listed]


def with_chains(host: Host, change: Callable[[Chains], Chains]) -> Observed:
    right = as_desired(host)
    return replace(right, fences=change(dict(right.fences)))


def test_rules_that_are_right_are_no_difference(host: Host) -> None:
    assert found(host, as_desired(host)) == []


def test_a_role_without_a_list_is_open_to_everybody_and_that_is_right() -> None:
    assert as_desired(desired("gateway", "crypto")).fences == {}
    assert found(desired("gateway", "crypto"), as_desired(desired("gateway", "crypto"))) == []


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda chains: {}, "open to everybody"),
        (lambda chains: {**chains, "input": chains["input"][:1]}, "open to everybody"),
        (lambda chains: {**chains, "from_gateway": chains["from_gateway"][:-1]}, "open to everybody"),
        (lambda chains: {**chains, "from_gateway": chains["from_gateway"][1:]}, "open to 10.9.1.7"),
        (lambda chains: {**chains, "from_gateway": chains["from_gateway"][-1:]}, "open to nobody"),
        (
            lambda chains: {**chains, "from_gateway": ("ip saddr 192.0.2.0/24 accept", *chains["from_gateway"])},
            "open to 192.0.2.0/24, 10.8.0.0/16, 10.9.1.7",
        ),
        (lambda chains: {**chains, "from_gateway": ("accept", *chains["from_gateway"])}, "open to accept, 10.8"),
        (lambda chains: {key: chains[key] for key in chains if key != "from_gateway"}, "open to everybody"),
    ],
)
def test_what_lets_in_others_than_the_list_is_a_difference_of_its_role(
    host: Host, change: Callable[[Chains], Chains], shown: str
) -> None:
    ((role, name, expected, observed),) = found(host, with_chains(host, change))
    assert (role, name, expected) == ("gateway", GATEWAY, OPEN)
    assert observed.startswith(shown)


def test_a_rule_before_the_role_s_own_is_a_difference_too(host: Host) -> None:
    changed = with_chains(
        host, lambda chains: {**chains, "input": (chains["input"][0], "tcp dport 6379 accept", *chains["input"][1:])}
    )
    assert found(host, changed) == [(None, "chain input", "as rendered", "tcp dport 6379 accept")]


def test_rules_of_a_list_that_was_taken_back_or_of_a_role_that_left_are_removed(host: Host) -> None:
    old = fence_chains(desired("crypto", "gateway", crypto={"allow_from": NETWORKS}).fences)
    without = desired("gateway", "crypto")
    (left,) = found(without, replace(as_desired(without), fences=old))
    assert left == ("crypto", CRYPTO, "open to everybody", OPEN)
    gone = desired("socket")
    names = [name for _, name, *_ in found(gone, replace(as_desired(gone), fences=old))]
    assert names == ["chain from_crypto", "chain input"]


def test_a_host_whose_only_rules_are_such_has_the_process_that_owns_them() -> None:
    host = desired("gateway", gateway={"allow_from": NETWORKS})
    assert ("redis-inner-port.service", "enabled") in [(unit.name, unit.enabled) for unit in host.units]
    assert "nftables" in host.packages
    alone = replace(as_desired(host), forwards_owner="")
    assert [name for _, name, *_ in found(host, alone)] == ["table ip redis_inner_port"]


def test_the_other_host_of_a_pair_is_let_in_by_each_of_its_addresses_that_the_inventory_names() -> None:
    """A handover asks from the one by which that host speaks, which need not be the role's."""

    def host(name: str, address: str, own: str | None, ssh: str) -> HostInput:
        role = roles(crypto={"address": address, "allow_from": NETWORKS})["crypto"]
        standby_of = ("crypto",) if name == "other" else ()
        made = HostInput(name, (role,), Path("one.yaml"), {}, None, Requests(), None, (), ssh=ssh)
        return replace(made, standby_of=standby_of, own_address=own)

    given = [host("one", "172.28.2.1", "10.1.0.1", "one.example"), host("other", "172.28.2.2", None, "10.1.0.2")]
    inputs, problems = with_standbys(given)
    assert problems == []
    let_in = {
        item.name: {str(found) for found in with_peer(item.roles[0].allow_from or (), "crypto", item.pairs)}
        - {str(IPv4Network(found)) for found in NETWORKS}
        for item in inputs
    }
    assert let_in == {"one": {"172.28.2.2/32", "10.1.0.2/32"}, "other": {"172.28.2.1/32", "10.1.0.1/32"}}

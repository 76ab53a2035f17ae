"""Where the data of roles is, over all hosts of a run (compare/elsewhere.py): what would begin empty beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tasks.catalogue.requested import Requests
from tasks.compare.elsewhere import moved_roles
from tasks.compare.fitness import unfit
from tasks.compare.host import compare
from tasks.desired.build import host_without_roles
from tasks.desired.host import Host
from tasks.observed.state import Leftover, Observed
from tests.unit.builders import as_desired, desired, fresh, stopped, with_listener

ENDPOINT = ("172.28.2.5", 6383)
SERVES = Leftover("crypto", True, ENDPOINT, 5000)
LOG = {"/var/lib/redis/crypto/appendonlydir/appendonly.aof.manifest": 88}
NOBODY = host_without_roles("old")
Pair = tuple[Host, Observed]


def old(
    *leftovers: Leftover,
    host: Host = NOBODY,
    files: Mapping[str, int] = LOG,
    used: Mapping[str, int] | None = None,
) -> Pair:
    """A host that no longer carries crypto, with what it still has."""
    sizes = {"/var/lib/redis/crypto": 3 << 20} if used is None else used
    return host, replace(fresh(host), leftovers=leftovers, data_files=files, data_used=sizes)


def new(*names: str, begin_empty: tuple[str, ...] = ()) -> Pair:
    host = replace(desired(*names), requests=Requests(begin_empty=begin_empty))
    return host, fresh(host)


def test_a_new_role_in_a_run_that_has_nothing_of_it_is_fine() -> None:
    assert moved_roles({"new": new("crypto"), "old": old(files={}, used={})}) == []


def test_a_role_that_moved_is_said_with_its_keys_its_place_and_the_ways_to_go_on() -> None:
    assert moved_roles({"new": new("crypto"), "old": old(SERVES)}) == [
        "new: crypto: would begin empty, and redis-crypto.service on old serves 172.28.2.5:6383: 5000 keys, "
        "/var/lib/redis/crypto (3.0 MiB): put old back into group redis_crypto; or take the data along: there "
        "systemctl disable --now redis-crypto.service, then copy /var/lib/redis/crypto to this host (cp -a, owned by "
        "redis); or --data begin_empty=crypto, which leaves that data where it is"
    ]


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (old(replace(SERVES, keys=None, because="WRONGPASS")), "keys unknown (WRONGPASS)"),
        (old(Leftover("crypto", False, ENDPOINT, because="it does not run")), "is stopped: keys unknown"),
        (old(), "old has data of crypto: keys unknown, /var/lib/redis/crypto (3.0 MiB)"),
        (old(replace(SERVES, keys=1), files={}), ": 1 key, "),
        (old(replace(SERVES, endpoint=None, keys=None, because="not seen"), files={}), "keys unknown (not seen)"),
    ],
)
def test_whatever_is_left_of_it_counts(pair: Pair, words: str) -> None:
    (said,) = moved_roles({"new": new("crypto"), "old": pair})
    assert words in said


def test_a_stopped_leftover_without_data_is_nothing() -> None:
    gone = Leftover("crypto", False, ENDPOINT, because="it does not run")
    assert moved_roles({"new": new("crypto"), "old": old(gone, files={}, used={})}) == []


def test_who_means_it_begins_empty() -> None:
    assert moved_roles({"new": new("crypto", begin_empty=("crypto",)), "old": old(SERVES)}) == []
    assert len(moved_roles({"new": new("crypto", begin_empty=("gateway",)), "old": old(SERVES)})) == 1


@pytest.mark.parametrize("state", [as_desired, lambda host: stopped(as_desired(host), "crypto")])
def test_a_role_that_has_data_of_its_own_or_runs_does_not_begin_empty(state: object) -> None:
    host = desired("crypto")
    assert moved_roles({"new": (host, state(host)), "old": old(SERVES)}) == []  # type: ignore[operator]


def test_another_host_that_carries_the_role_keeps_its_own_data() -> None:
    other = desired("crypto")
    assert moved_roles({"new": new("crypto"), "other": (other, as_desired(other))}) == []


def test_an_old_server_of_another_name_at_the_role_s_address_is_found_elsewhere_too() -> None:
    vault = Leftover("vault", True, ENDPOINT, 7)
    files = {"/var/lib/redis/vault/dump.rdb": 9}
    (said,) = moved_roles({"new": new("crypto"), "old": old(vault, files=files)})
    assert "redis-vault.service on old serves 172.28.2.5:6383: 7 keys" in said
    assert "which has its address and port: call it vault again" in said
    elsewhere = replace(vault, endpoint=("172.28.2.5", 7000))
    assert moved_roles({"new": new("crypto"), "old": old(elsewhere, files=files)}) == []


def test_a_server_of_somebody_else_at_the_role_s_address_is_found() -> None:
    host = desired("gateway")
    observed = with_listener(as_desired(host), *ENDPOINT, "redis-server", 812)
    (said,) = moved_roles({"new": new("crypto"), "old": (host, observed)})
    assert "redis-server, pid 812, serves 172.28.2.5:6383 on old" in said
    for process, pid in (("nginx", 812), ("redis-server", observed.pid("redis-gateway.service"))):
        other = with_listener(as_desired(host), *ENDPOINT, process, pid)
        assert moved_roles({"new": new("crypto"), "old": (host, other)}) == []


# Renamed on its host


def renamed(port: int = 6383, *, running: bool = True, begin_empty: tuple[str, ...] = ()) -> Pair:
    """A host whose role vault is called crypto now; vault still runs, or was stopped."""
    host, observed = new("crypto", begin_empty=begin_empty)
    unit = {"ActiveState": "active" if running else "inactive", "MainPID": "77" if running else "0"}
    observed = replace(
        observed,
        our_units=("redis-vault.service",),
        units={**observed.units, "redis-vault.service": {"LoadState": "loaded", **unit}},
        leftovers=(Leftover("vault", running, ("172.28.2.5", port), 9 if running else None, "" if running else "off"),),
        data_files={"/var/lib/redis/vault/dump.rdb": 9},
        addresses=frozenset({"172.28.2.5"}),
    )
    return host, with_listener(observed, "172.28.2.5", port, "redis-server", 77) if running else observed


@pytest.mark.parametrize("port", [6383, 6379])
@pytest.mark.parametrize("begin_empty", [(), ("crypto",)])
def test_a_renamed_role_that_keeps_its_address_is_always_refused(port: int, begin_empty: tuple[str, ...]) -> None:
    host, observed = renamed(port, begin_empty=begin_empty)
    (said,) = moved_roles({"new": (host, observed)})
    assert said.startswith(
        f"new: crypto: 172.28.2.5:{port} is served by redis-vault.service with 9 keys, expected free"
    )
    assert "mv /var/lib/redis/vault /var/lib/redis/crypto" in said
    assert [text for text in unfit(host, observed, compare(host, observed)) if "is held by" in text] == []


def test_a_renamed_role_that_was_stopped_is_refused_unless_it_may_begin_empty() -> None:
    (said,) = moved_roles({"new": renamed(running=False)})
    assert "redis-vault.service on new is stopped: keys unknown (off)" in said
    assert moved_roles({"new": renamed(running=False, begin_empty=("crypto",))}) == []


def test_a_role_beside_a_leftover_with_a_port_of_its_own_is_fine() -> None:
    assert moved_roles({"new": renamed(7000)}) == []

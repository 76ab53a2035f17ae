"""What must stop a deploy before anything is changed (tasks/compare/fitness.py), each refusal with its words."""

from dataclasses import replace
from typing import Any

import pytest

from tasks.compare.difference import Remedy
from tasks.compare.fitness import redis_number, unfit
from tasks.compare.host import compare
from tasks.desired.host import Host
from tasks.observed.foreign_listeners import foreign_listeners
from tasks.observed.state import Observed
from tests.unit.builders import (
    FIVE,
    OTHERS,
    VERSION,
    as_desired,
    desired,
    fresh,
    stopped,
    with_listener,
    with_server,
    with_setting,
)

GIB = 1 << 30
MIB = 1 << 20


def reasons(host: Host, observed: Observed) -> list[str]:
    """Why `host` cannot be brought onto a machine in this state."""
    return [*unfit(host, observed, compare(host, observed))]


def os_release(**pairs: str) -> dict[str, str]:
    """What /etc/os-release says."""
    return {"PRETTY_NAME": "Some System 1", **pairs}


@pytest.mark.parametrize("names", [("gateway",), ("crypto",), FIVE, OTHERS])
def test_a_bare_debian_with_the_addresses_can_carry_its_roles(names: tuple[str, ...]) -> None:
    host = desired(*names)
    assert reasons(host, fresh(host)) == []
    assert reasons(host, as_desired(host)) == []


def test_an_address_that_the_host_does_not_have_is_refused_with_what_to_do() -> None:
    host = desired("socket")
    observed = replace(fresh(host), addresses=frozenset({"127.0.0.1", "172.28.2.1"}))
    assert reasons(host, observed) == [
        "socket: address 172.28.2.2: absent, expected on this host: "
        "give the host this address, or correct it in group_data/roles.yaml"
    ]


@pytest.mark.parametrize("port", [6380, 6379])
def test_a_port_that_another_process_holds_is_refused_with_its_name_and_pid(port: int) -> None:
    host = desired("socket")
    assert reasons(host, with_listener(fresh(host), "172.28.2.2", port, "haproxy", 812)) == [
        f"socket: port 172.28.2.2:{port} is held by haproxy, pid 812 (listening on 172.28.2.2), "
        "expected free: stop it or change the role's port"
    ]


@pytest.mark.parametrize("address", ["0.0.0.0", "*", "::"])
def test_a_process_that_listens_everywhere_holds_the_role_s_port_too(address: str) -> None:
    host = desired("socket")
    (reason,) = reasons(host, with_listener(fresh(host), address, 6380))
    assert f"held by nginx, pid 4711 (listening on {address})" in reason


def test_a_port_held_by_a_process_that_cannot_be_named_is_refused_all_the_same() -> None:
    host = desired("socket")
    (reason,) = reasons(host, with_listener(fresh(host), "172.28.2.2", 6380, "", 0))
    assert "is held by another process (listening on 172.28.2.2)" in reason


def test_the_same_port_on_another_address_is_nobody_s_business() -> None:
    host = desired("socket")
    assert reasons(host, with_listener(fresh(host), "172.28.2.9", 6380)) == []


def test_the_role_s_own_instance_may_hold_its_port() -> None:
    host = desired("socket")
    assert reasons(host, as_desired(host)) == []


def test_a_port_that_another_role_still_has_is_refused_in_words() -> None:
    one_address = {"address": "172.28.2.9", "inner_port": None}
    before = desired("gateway", "socket", gateway={**one_address, "port": 6001}, socket={**one_address, "port": 6002})
    after = desired("gateway", "socket", gateway={**one_address, "port": 6002}, socket={**one_address, "port": 6001})
    assert reasons(before, as_desired(before)) == []
    assert reasons(after, as_desired(before)) == [
        f"{role}: port 172.28.2.9:{port} is {other}'s until this deploy moves that, expected free: deploy {other} with "
        "a port that nobody uses first, then both as they are to be"
        for role, port, other in (("gateway", 6002, "socket"), ("socket", 6001, "gateway"))
    ]


def crowded(connected: int, maxclients: int) -> Observed:
    """A gateway that admits `maxclients`, with so many connected."""
    seen = with_setting(as_desired(desired("gateway")), "gateway", "maxclients", str(maxclients))
    return with_server(seen, "gateway", info={**seen.servers["gateway"].info, "connected_clients": str(connected)})


def test_fewer_clients_than_are_connected_are_refused_in_words() -> None:
    (reason,) = reasons(desired("gateway"), crowded(1418, 10000))
    assert reason.startswith(
        "gateway: 1418 clients are connected, and maxclients 1421 would turn every new one away, this tool among them, "
        "expected at most 1417: close some"
    )


@pytest.mark.parametrize(("connected", "maxclients"), [(1417, 10000), (1420, 1421), (1400, 1405)])
def test_no_other_change_of_maxclients_is_refused(connected: int, maxclients: int) -> None:
    assert reasons(desired("gateway"), crowded(connected, maxclients)) == []


def test_too_little_memory_is_refused_with_the_sum_that_was_made() -> None:
    host = desired("gateway", "socket")
    assert reasons(host, replace(fresh(host), memory=1 * GIB)) == [
        "memory: gateway 256mb and socket 512mb need 2163 MiB of RAM at the peak of a rewrite "
        "(2.15 × maxmemory + 512 MiB), the host has 1024 MiB: "
        "lower maxmemory in group_data/roles.yaml or move a role"
    ]


def test_a_rehearsal_s_host_with_too_little_memory_is_told_the_scale_that_fits() -> None:
    host = replace(desired("gateway", "socket"), scale=1.0)
    (said,) = reasons(host, replace(fresh(host), memory=1 * GIB))
    assert said.endswith(
        "the host has 1024 MiB: rehearse it smaller by --data scale=0.31, or give the machine more memory"
    )
    fits = replace(
        desired("gateway", "socket", gateway={"maxmemory": "79mb"}, socket={"maxmemory": "158mb"}), scale=0.31
    )
    assert reasons(fits, replace(fresh(fits), memory=1 * GIB)) == []
    (said,) = reasons(host, replace(fresh(host), memory=512 * MIB))
    assert said.endswith("the host has 512 MiB: no scale= is small enough: give the machine more memory")


def test_a_rehearsal_s_host_with_too_small_a_disk_is_told_the_scale_that_fits() -> None:
    host = replace(desired("gateway"), scale=0.5)
    (said,) = reasons(host, replace(fresh(host), disk_free=448 * MIB, data_used={}))
    assert said.endswith("used by its roles: rehearse it smaller by --data scale=0.25, or give the machine more disk")


def test_memory_is_enough_from_the_documented_sum_on() -> None:
    host = desired("gateway")
    needed = int(256 * MIB * 2.15) + 512 * MIB
    assert reasons(host, replace(fresh(host), memory=needed)) == []
    assert reasons(host, replace(fresh(host), memory=needed - 1)) != []


def test_too_small_a_disk_is_refused_with_the_sum_that_was_made() -> None:
    host = desired("gateway", "crypto")
    observed = replace(fresh(host), disk_free=1 * GIB, data_used={"/var/lib/redis/crypto": 256 * MIB})
    assert reasons(host, observed) == [
        "disk: /var/lib/redis needs 1792 MiB (3.5 × maxmemory), 1024 MiB are free and 256 MiB used by its roles: "
        "enlarge it or move a role"
    ]


def test_what_the_roles_already_use_counts_as_their_room() -> None:
    host = desired("gateway")
    room = int(256 * MIB * 3.5)
    full = replace(as_desired(host), disk_free=room - 100 * MIB, data_used={"/var/lib/redis/gateway": 100 * MIB})
    assert reasons(host, full) == []


def test_who_is_not_root_is_told_how_to_be_and_nothing_else() -> None:
    host = desired("gateway")
    blind = replace(fresh(host), uid=1000, memory=0, addresses=frozenset())
    assert reasons(host, blind) == ["not root: uid is not 0: set ssh_user to root or _sudo = True in the inventory"]


def test_a_machine_without_systemd_is_refused() -> None:
    host = desired("gateway")
    assert reasons(host, replace(fresh(host), systemd=False)) == [
        "init of Debian GNU/Linux 12 (bookworm): not systemd, expected systemd: choose another machine"
    ]


def test_a_system_of_another_family_is_refused() -> None:
    host = desired("gateway")
    observed = replace(fresh(host), os=os_release(ID="fedora", VERSION_ID="41"))
    assert reasons(host, observed) == [
        "system: Some System 1, expected Debian 12, 13 or a derivative: choose another machine"
    ]


@pytest.mark.parametrize(
    ("system", "candidate"),
    [
        ({"ID": "debian", "VERSION_ID": "11"}, "5:6.0.16-1+deb11u2"),
        ({"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "20.04"}, "5:5.0.7-2ubuntu0.1"),
    ],
)
def test_a_system_whose_redis_is_too_old_is_refused_with_the_version_it_offers(
    system: dict[str, str], candidate: str
) -> None:
    host = desired("gateway")
    assert reasons(host, replace(fresh(host), os=os_release(**system), candidate=candidate)) == [
        f"system: Some System 1 offers {candidate}, expected redis-server 7.0 or newer: "
        "upgrade it or add a package source"
    ]


def test_a_derivative_that_offers_no_redis_is_refused() -> None:
    host = desired("gateway")
    (reason,) = reasons(host, replace(fresh(host), os=os_release(ID="devuan", ID_LIKE="debian"), candidate=""))
    assert "offers no redis-server package" in reason


@pytest.mark.parametrize(
    "system",
    [
        {"ID": "debian", "VERSION_ID": "13"},
        {"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "24.04"},
        {"ID": "linuxmint", "ID_LIKE": "ubuntu debian"},
        {"ID": "debian"},
    ],
)
def test_a_derivative_with_a_redis_that_is_new_enough_is_taken(system: dict[str, str]) -> None:
    host = desired("gateway")
    assert reasons(host, replace(fresh(host), os=os_release(**system), candidate=VERSION)) == []


@pytest.mark.parametrize(
    ("version", "number"),
    [("5:7.0.15-1~deb12u7", (7, 0)), ("5:8.0.2-3+deb13u2", (8, 0)), ("6.2.1", (6, 2)), ("", None), ("none", None)],
)
def test_a_debian_version_is_compared_without_its_epoch(version: str, number: tuple[int, int] | None) -> None:
    assert redis_number(version) == number


DIRECTORY = "/var/lib/redis/compliance"


@pytest.mark.parametrize(
    "left",
    [
        "other.rdb",
        "appendonlydir/appendonly.aof.1.incr.aof",
        "appendonlydir/appendonly.aof.3.base.rdb",
        "appendonly.aof",
    ],
)
def test_data_without_a_manifest_is_refused_because_a_start_would_begin_empty(left: str) -> None:
    host = desired("compliance")
    assert reasons(host, replace(fresh(host), data_files={f"{DIRECTORY}/{left}": 5})) == [
        f"compliance: persistence {DIRECTORY}/appendonlydir/appendonly.aof.manifest: absent, and there is {left}, "
        f"expected on disk: a start would begin empty: keep a copy first (cp -a {DIRECTORY} /root/compliance-data), "
        "then give the log's directory its name appendonlydir again, bring the manifest back, or write it anew "
        "(README, A damaged log)"
    ]


def test_a_stopped_instance_with_its_manifest_may_start() -> None:
    host = desired("compliance")
    assert reasons(host, stopped(as_desired(host), "compliance")) == []


def test_a_snapshot_and_nothing_else_is_made_a_log_and_not_refused() -> None:
    host = desired("compliance")
    seen = replace(fresh(host), data_files={f"{DIRECTORY}/dump.rdb": 5})
    assert reasons(host, seen) == []
    (made,) = [item for item in compare(host, seen) if item.subject == "persistence"]
    assert (made.name, made.remedy) == ("appendonlydir/appendonly.aof.manifest", Remedy.TO_LOG)


def test_a_snapshot_beside_a_log_that_lost_its_manifest_is_refused_for_it_may_be_older() -> None:
    host = desired("compliance")
    left = {f"{DIRECTORY}/dump.rdb": 5, f"{DIRECTORY}/appendonlydir/appendonly.aof.1.incr.aof": 5}
    assert len(reasons(host, replace(fresh(host), data_files=left))) == 1


@pytest.mark.parametrize(
    "left",
    [
        "appendonlydir/temp-rewriteaof-7.aof",
        "appendonlydir.new/appendonly.aof.1.base.rdb",
        "appendonlydir.old/appendonly.aof.1.base.rdb",
        "appendonlydir.old-20261127120000/appendonly.aof.1.base.rdb",
        "notes.txt",
    ],
)
def test_what_a_killed_rewrite_or_conversion_or_a_person_left_is_no_data(left: str) -> None:
    host = desired("compliance")
    assert reasons(host, replace(fresh(host), data_files={f"{DIRECTORY}/{left}": 5})) == []


def test_a_running_instance_is_not_asked_for_its_manifest() -> None:
    host = desired("compliance")
    assert reasons(host, replace(as_desired(host), data_files={f"{DIRECTORY}/dump.rdb": 5})) == []


@pytest.mark.parametrize("left", ["other.rdb", "appendonlydir/appendonly.aof.1.incr.aof"])
def test_data_that_an_instance_without_a_log_would_not_find_is_refused(left: str) -> None:
    host = desired("compliance", compliance={"appendonly": False})
    (reason,) = reasons(host, replace(fresh(host), data_files={f"{DIRECTORY}/{left}": 5}))
    assert f"{DIRECTORY}/{left} but no {DIRECTORY}/dump.rdb" in reason


def test_an_instance_without_append_only_file_may_start_from_a_snapshot_alone() -> None:
    host = desired("compliance", compliance={"appendonly": False})
    assert reasons(host, replace(fresh(host), data_files={f"{DIRECTORY}/dump.rdb": 5})) == []


@pytest.mark.parametrize("name", ["dir", "appenddirname", "appendfilename", "dbfilename"])
def test_data_under_another_name_than_the_wanted_one_is_refused_because_a_restart_would_begin_empty(name: str) -> None:
    host = desired("compliance")
    wanted = host.instances[0].settings[name]
    assert reasons(host, with_setting(as_desired(host), "compliance", name, "elsewhere")) == [
        f"compliance: {name} is elsewhere in the running server, expected {wanted}: a restart would begin empty: "
        f"set {name} back in group_data/roles.yaml; to rename for good, stop the instance and rename its files first"
    ]


def fuller_than_wanted(host: Host, role: str) -> Observed:
    """A running instance whose limit is higher, and which uses more than the wanted one allows."""
    seen = with_setting(as_desired(host), role, "maxmemory", str(512 * MIB))
    return with_server(seen, role, info={**seen.servers[role].info, "used_memory": str(300 * MIB)})


@pytest.mark.parametrize(
    ("role", "does"),
    [
        ("compliance", "refuse all writes (noeviction)"),
        ("gateway", "evict keys at once (allkeys-lru)"),
    ],
)
def test_a_limit_below_what_is_in_use_is_refused_with_what_it_would_do(role: str, does: str) -> None:
    host = desired(role)
    assert reasons(host, fuller_than_wanted(host, role)) == [
        f"{role}: uses 300 MiB, and maxmemory 256mb would {does}: "
        "keep maxmemory above it, or add --data allow_eviction=true"
    ]


def test_a_limit_below_what_is_in_use_is_taken_from_who_accepts_it() -> None:
    host = desired("gateway")
    seen = fuller_than_wanted(host, "gateway")
    assert unfit(host, seen, compare(host, seen), allow_eviction=True) == []


def test_an_instance_that_is_over_a_limit_it_already_has_is_not_refused() -> None:
    host = desired("gateway")
    seen = as_desired(host)
    info = {**seen.servers["gateway"].info, "used_memory": str(300 * MIB)}
    assert reasons(host, with_server(seen, "gateway", info=info)) == []


def test_all_reasons_of_a_host_are_given_at_once() -> None:
    host = desired("socket", "compliance")
    changes: dict[str, Any] = {
        "memory": 1 * GIB,
        "disk_free": 0,
        "addresses": frozenset({"172.28.2.4"}),
        "data_files": {f"{DIRECTORY}/appendonly.aof": 5},
        "systemd": False,
    }
    observed = with_listener(replace(fresh(host), **changes), "172.28.2.2", 6379)
    assert [reason.split(":")[0] for reason in reasons(host, observed)] == [
        "init of Debian GNU/Linux 12 (bookworm)",
        "memory",
        "disk",
        "socket",
        "socket",
        "compliance",
    ]


def test_a_kernel_value_that_the_kernel_does_not_have_is_refused_with_its_name() -> None:
    host = replace(desired("socket"), sysctls={"net.core.somaxconn": "4096", "vm.overcomit_memory": "1"})
    observed = replace(fresh(desired("socket")), sysctls={"net.core.somaxconn": "4096"})
    assert reasons(host, observed) == [
        "kernel: vm.overcomit_memory: not known to this kernel, expected a name that sysctl -a lists: correct "
        "redis_sysctl"
    ]
    assert reasons(host, replace(observed, container="systemd-nspawn")) == []


@pytest.mark.parametrize("process", ["redis-server", "redis-sentinel"])
def test_a_redis_that_is_in_no_role_s_way_is_refused_before_anything_is_changed(process: str) -> None:
    host = desired("socket")
    for right in (fresh(host), as_desired(host)):
        assert reasons(host, with_listener(right, "127.0.0.1", 7000, process, 812)) == [
            f"listener 127.0.0.1:7000: {process}, pid 812, expected no other Redis: stop that process, it belongs "
            "to no role, or keep it by its unit or socket in redis_ignore: 127.0.0.1:7000"
        ]


def keeping(observed: Observed) -> Observed:
    """`observed` with a unit of the operator's."""
    return replace(observed, units={**observed.units, "redis-cache.service": {"MainPID": "812"}})


@pytest.mark.parametrize("name", ["127.0.0.1:7000", "redis-cache.service"])
def test_a_redis_that_is_to_stay_is_neither_refused_nor_drift_nor_asked(name: str) -> None:
    host = replace(desired("socket"), ignored=(name,))
    observed = keeping(as_desired(desired("socket")))
    observed = with_listener(observed, "127.0.0.1", 7000, "redis-server", 812)
    assert compare(host, observed) == []
    assert reasons(host, observed) == []
    assert foreign_listeners(host, with_listener(observed, "127.0.0.1", 6379, "redis-server", 812)) == {}


def test_a_redis_that_is_to_stay_still_gets_no_port_of_a_role() -> None:
    host = replace(desired("socket"), ignored=("redis-cache.service",))
    observed = keeping(fresh(desired("socket")))
    (said,) = reasons(host, with_listener(observed, "0.0.0.0", 6380, "redis-server", 812))
    assert said.startswith("socket: port 172.28.2.2:6380 is held by redis-server, pid 812")

"""What is left of roles that a host no longer carries (compare/leftovers.py), and what is asked for by name."""

from dataclasses import replace

from tasks.catalogue.requested import Requests
from tasks.compare.fitness import unfit
from tasks.compare.host import compare
from tasks.compare.leftovers import nothing_to_purge
from tasks.desired.build import host_without_roles
from tasks.desired.host import Host
from tasks.observed.state import Observed
from tests.unit.builders import as_desired, desired, fresh, with_listener

NOBODY = host_without_roles("host-1")


def had(*roles: str) -> Observed:
    """A machine that carries these roles, as one without roles sees it."""
    host = desired(*roles)
    return replace(as_desired(host), our_units=tuple(f"redis-{role}.service" for role in (*roles, "inner-port")))


def purging(host: Host, *names: str) -> Host:
    return replace(host, requests=Requests(purge=names))


def test_a_host_that_never_had_a_role_is_right() -> None:
    for machine in (fresh(NOBODY), as_desired(NOBODY)):
        found = with_listener(machine, "127.0.0.1", 6379, "redis-server", 812)
        assert compare(NOBODY, found) == []
        assert unfit(NOBODY, replace(found, uid=1000, memory=1, disk_free=0, os={}), []) == []


def test_everything_that_acts_goes_from_a_host_that_lost_its_last_role() -> None:
    found = {(item.role, item.subject, item.name, str(item.remedy)) for item in compare(NOBODY, had("socket"))}
    kept = "stop and remove, its data is kept"
    assert found == {
        ("socket", "unit", "redis-socket.service", kept),
        (None, "unit", "redis-inner-port.service", "stop and disable"),
        (None, "file", "/etc/redis/inner-port.nft", "remove"),
        (None, "file", "/etc/systemd/system/redis-inner-port.service", "remove"),
        (None, "listener", "172.28.2.2:6379", "load the inner port's rules"),
    }


def test_somebody_without_root_is_told_so_only_where_something_is_to_be_done() -> None:
    observed = replace(had("socket"), uid=1000)
    assert unfit(NOBODY, observed, compare(NOBODY, observed))[0].startswith("not root")


def test_kept_data_is_a_difference_only_when_it_is_to_be_deleted() -> None:
    host = desired("gateway")
    kept = replace(as_desired(host), data_used={"/var/lib/redis/gateway": 1 << 20, "/var/lib/redis/socket": 3 << 20})
    assert compare(host, kept) == []
    (found,) = compare(purging(host, "socket"), kept)
    assert str(found) == "socket: persistence /var/lib/redis/socket: 3.0 MiB → absent (delete its data)"
    assert compare(purging(host, "shared"), kept) == []


def test_data_of_a_role_that_is_carried_is_neither_a_difference_nor_purged() -> None:
    host = purging(desired("gateway"), "gateway")
    assert compare(host, as_desired(host)) == []
    (reason,) = unfit(host, as_desired(host), [])
    assert reason.startswith("gateway: purge=gateway: this host carries gateway, expected a host that does not")


def test_the_log_of_a_server_in_the_parent_directory_is_not_purged() -> None:
    host = purging(NOBODY, "appendonlydir")
    observed = replace(fresh(host), data_files={"/var/lib/redis/appendonlydir/appendonly.aof.manifest": 88})
    (reason,) = unfit(host, observed, [])
    assert "is the append-only log of a server that works in its parent" in reason


def test_names_without_data_are_told() -> None:
    host = purging(NOBODY, "gateway", "gatway")
    there = replace(fresh(host), data_used={"/var/lib/redis/gateway": 1})
    assert nothing_to_purge([(host, there), (host, fresh(host))]) == [
        "purge=gatway: no host of this run has /var/lib/redis/gatway: nothing to delete"
    ]

"""Servers of somebody else's for tests: one with a few keys, and a machine on which such servers run."""

from dataclasses import replace
from typing import Any

from tasks.catalogue.requested import Requests
from tasks.desired.build import desired_host
from tasks.desired.host import Host
from tasks.observed.state import ForeignServer, Observed
from tests.unit.builders import SYSCTLS, fresh, passwords, roles, with_listener, with_unit

PID = 812
INFO = {"redis_version": "7.0.15", "role": "master", "used_memory": "1000000", "db0": "keys=7,expires=1,avg_ttl=0"}
CONFIG = {"dbfilename": "dump.rdb", "save": "3600 1", "shutdown-on-sigterm": "default"}


def adopting(*names: str, by: tuple[str, ...] = ()) -> Host:
    """The desired state of a host that carries these roles and adopts for them, or for those in `by`."""
    carried = [roles()[name] for name in names]
    return desired_host("host-1", carried, passwords(*carried), SYSCTLS, requests=Requests(adopt=by or names))


def server(**changes: Any) -> ForeignServer:
    """The packaged server with a few keys, on loopback."""
    usual = ForeignServer(
        PID,
        "redis-server",
        (("127.0.0.1", 6379), ("::1", 6379)),
        "/var/lib/redis",
        True,
        "redis-server.service",
        None,
        CONFIG,
        INFO,
        {"/var/lib/redis/dump.rdb": 112},
        "111:115:115 ",
    )
    return replace(usual, **changes)


def seen(host: Host, *servers: ForeignServer, **changes: Any) -> Observed:
    """A machine without anything of ours on which these servers run."""
    observed = fresh(host)
    for item in servers:
        for address, port in item.listens:
            observed = with_listener(observed, address, port, item.process, item.pid)
        if item.unit == "redis-server.service":
            observed = with_unit(observed, item.unit, LoadState="loaded", ActiveState="active", MainPID=str(item.pid))
    return replace(observed, foreign=servers, **changes)

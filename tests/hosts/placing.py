"""Two bare hosts, and which of them carries which role: the inventory is written anew."""

from pathlib import Path

import redis

from tests.hosts.clients import client
from tests.hosts.conftest import Tier

ADDRESS = {"redis-gateway": "172.28.2.1", "redis-socket": "172.28.2.2"}  # their names mean nothing here
OLD, NEW = ADDRESS


def placed(tier: Tier, **hosts: "str | tuple[str, str]") -> Tier:
    """The tier with an inventory in which these roles are on these hosts; both are in it, each role at its host.

    A second host of a role is that of its standby.
    """
    rows: dict[str, list[str]] = {"spare": []}
    pairs = {role: where if isinstance(where, tuple) else (where, "") for role, where in hosts.items()}
    for host, address in ADDRESS.items():
        roles = [role for role, where in pairs.items() if host in where]
        # An inner port has one role of an address.
        inner = {role: {"crypto": 6379, "vault": 6379, "shared": 6378}.get(role) for role in roles}
        overrides = {role: {"address": address, "inner_port": inner[role]} for role in roles}
        data = {"ssh_hostname": address, "ssh_user": "root", "redis_overrides": overrides}
        groups = [f"redis_{role}" if pairs[role][0] == host else f"redis_{role}_standby" for role in roles]
        for group in groups or ["spare"]:
            rows.setdefault(group, []).append(f'("{host}", {data!r})')
    Path(tier.inventory).write_text("".join(f"{name} = [{', '.join(items)}]\n" for name, items in rows.items()))
    return tier


def at(tier: Tier, host: str, port: int = 6383, role: str = "crypto") -> "redis.Redis":
    """A client of a role, logged in as the tool's user, at its address on a host."""
    return client(tier.lab.netns, ADDRESS[host], port, "operator", tier.passwords[role]["operator"], every_right=True)

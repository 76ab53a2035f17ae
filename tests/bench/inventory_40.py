"""Forty hosts, eight for each role, at addresses of their own: the size the tier may grow to."""

from typing import Any

Hosts = list[tuple[str, dict[str, Any]]]


def _hosts(role: str, number: int) -> Hosts:
    """Eight hosts of one role; `number` is its place in the table, 1 to 5."""
    addresses = [f"172.28.2.{10 * group + number}" for group in range(1, 9)]
    return [
        (
            f"bench-{group}-{role}",
            {"ssh_hostname": address, "ssh_user": "root", "redis_overrides": {role: {"address": address}}},
        )
        for group, address in enumerate(addresses, start=1)
    ]


redis_gateway = _hosts("gateway", 1)
redis_socket = _hosts("socket", 2)
redis_shared = _hosts("shared", 3)
redis_compliance = _hosts("compliance", 4)
redis_crypto = _hosts("crypto", 5)

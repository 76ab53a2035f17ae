"""Roles of a tier that hold what clients wrote in every way, and hold all of it whatever happens to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import redis

from tests.hosts.conftest import TABLE, wait_for
from tests.hosts.dataset.capture import Dataset, capture
from tests.hosts.dataset.compare import differences
from tests.hosts.dataset.write import remove_every_way, write_every_way

OTHERS = (b"test:",)  # keys of writers that go on meanwhile, and of tests themselves


class Servers(Protocol):
    """Where the roles are: a Tier of containers, or machines."""

    def client(self, role: str, user: str) -> "redis.Redis":
        """redis-py logged in as `user`."""

    def operator(self, role: str) -> "redis.Redis":
        """redis-py logged in as the tool's own user."""

    def answers(self, role: str) -> bool:
        """Whether the role answers."""


def write(tier: Servers, role: str, *, large: bool = False) -> Dataset:
    """A service of the role wrote in every way, what only the operator may do was done by it; what the role holds."""
    with tier.client(role, TABLE[role]["services"][0]) as service, tier.operator(role) as operator:
        remove_every_way(operator)
        write_every_way(service, operator, large=large)
        return capture(operator)


def changes(tier: Servers, role: str, before: Dataset) -> list[str]:
    """What the role no longer holds as it did before, once it answers."""
    wait_for(lambda: tier.answers(role), f"{role} answers")
    with tier.operator(role) as operator:
        return differences(before, capture(operator), besides=OTHERS)


@contextmanager
def kept(tier: Servers, *roles: str) -> Iterator[None]:
    """The roles hold a dataset while the body runs, and hold all of it afterwards."""
    before = {role: write(tier, role) for role in roles}
    yield
    assert {role: changes(tier, role, before[role]) for role in roles} == {role: [] for role in roles}
    for role in roles:
        with tier.operator(role) as operator:
            remove_every_way(operator)


__all__ = ["changes", "kept", "write"]

"""Roles of a tier that hold what clients wrote in every way, and hold all of it whatever happens to them."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.hosts.conftest import TABLE, Tier, wait_for
from tests.hosts.dataset.capture import Dataset, capture
from tests.hosts.dataset.compare import differences
from tests.hosts.dataset.write import remove_every_way, write_every_way

OTHERS = (b"test:",)  # keys of writers that go on meanwhile, and of tests themselves


def write(tier: Tier, role: str, *, large: bool = False) -> Dataset:
    """A service of the role wrote in every way, what only the operator may do was done by it; what the role holds."""
    with tier.client(role, TABLE[role]["services"][0]) as service, tier.operator(role) as operator:
        remove_every_way(operator)
        write_every_way(service, operator, large=large)
        return capture(operator)


def changes(tier: Tier, role: str, before: Dataset) -> list[str]:
    """What the role no longer holds as it did before, once it answers."""
    wait_for(lambda: tier.answers(role), f"{role} answers")
    with tier.operator(role) as operator:
        return differences(before, capture(operator), besides=OTHERS)


@contextmanager
def kept(tier: Tier, *roles: str) -> Iterator[None]:
    """The roles hold a dataset while the body runs, and hold all of it afterwards."""
    before = {role: write(tier, role) for role in roles}
    yield
    assert {role: changes(tier, role, before[role]) for role in roles} == {role: [] for role in roles}
    for role in roles:
        with tier.operator(role) as operator:
            remove_every_way(operator)


__all__ = ["changes", "kept", "write"]

"""No acknowledged write is lost, however a client wrote it: restarted, killed, rebooted, rewritten, upgraded."""

from collections.abc import Iterator

import pytest

from tests.hosts import figures
from tests.hosts.conftest import ROLES, Tier, layout, wait_for
from tests.hosts.dataset.capture import Dataset
from tests.hosts.every_way import changes, write
from tests.lab.containers import ContainerLab

pytestmark = pytest.mark.hosts

HOST = "redis-1"


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def tier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """All five roles on one host of each Debian release, just deployed."""
    with ContainerLab(layout("onebox", request.param)) as lab:
        tier = Tier(lab, "inventory/onebox.py", tmp_path_factory.mktemp("survives") / "secrets.yaml")
        tier.deploy()
        yield tier


@pytest.fixture(scope="module")
def before(tier: Tier) -> dict[str, Dataset]:
    """What every role holds once a service has written to it in every way, some of it 20 MB large."""
    written = {role: write(tier, role, large=True) for role in ROLES}
    for role, dataset in written.items():
        figures.add("datasets", f"{role}: {len(dataset.keys)} keys, {len(dataset.functions)} libraries")
    return written


def lost(tier: Tier, before: dict[str, Dataset]) -> dict[str, list[str]]:
    """What roles no longer hold as before; empty when all of it is there."""
    found = {role: changes(tier, role, before[role]) for role in ROLES}
    return {role: lines for role, lines in found.items() if lines}


def test_a_restart_keeps_every_write(tier: Tier, before: dict[str, Dataset]) -> None:
    for role in ROLES:
        tier.host(role).sh(f"systemctl restart redis-{role}")
    assert lost(tier, before) == {}


def test_a_killed_server_keeps_every_write(tier: Tier, before: dict[str, Dataset]) -> None:
    killed = {role: tier.pid(role) for role in ROLES}
    tier.lab.hosts[HOST].sh(f"kill -9 {' '.join(map(str, killed.values()))}")
    wait_for(lambda: all(tier.answers(role) and tier.pid(role) != killed[role] for role in ROLES), "all run again")
    assert lost(tier, before) == {}


def test_a_reboot_keeps_every_write(tier: Tier, before: dict[str, Dataset]) -> None:
    tier.lab.hosts[HOST].stop()
    tier.lab.hosts[HOST].boot()
    assert lost(tier, before) == {}


def test_a_rewritten_log_keeps_every_write(tier: Tier, before: dict[str, Dataset]) -> None:
    for role in ROLES:
        with tier.operator(role) as operator:
            operator.bgrewriteaof()
            wait_for(lambda: rewritten(tier, role), f"{role} has written its log anew")  # noqa: B023
        tier.host(role).sh(f"systemctl restart redis-{role}")
    assert lost(tier, before) == {}


def rewritten(tier: Tier, role: str) -> bool:
    with tier.operator(role) as operator:
        info = operator.info("persistence")
    return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]

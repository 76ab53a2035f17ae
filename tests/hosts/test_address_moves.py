"""A role moves along with its address: its clients know that one only, and no write that they were told of is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.handover import LIBRARY
from tests.hosts.clients import can_connect
from tests.hosts.conftest import INNER_PORT, TABLE, Tier, operations, output
from tests.hosts.faults import assert_nothing_left
from tests.hosts.followers import following, lacking
from tests.lab.containers import ContainerLab
from tests.lab.layouts import HostSpec

pytestmark = pytest.mark.hosts

OWN = {"one": "172.28.2.101", "two": "172.28.2.102"}  # of the hosts
ROLE, SERVICE, UNIT = "crypto", "crypto-service", "caas-redis-address-crypto.service"
ADDRESS, PORT = TABLE[ROLE]["address"], TABLE[ROLE]["port"]
ON_IT = f"ip -o -4 address show to {ADDRESS}/32"
KEYS = {f"kept:{number}": str(number) for number in range(2000)}


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[Tier]:
    """Role crypto on the first of two hosts, which has its address from this tool, with keys."""
    with ContainerLab([HostSpec(name, (address,), "bookworm") for name, address in OWN.items()]) as lab:
        tier = placed(Tier(lab, str(tmp_path / "along.py"), tmp_path / "secrets.yaml"), "one")
        tier.deploy()
        with tier.operator(ROLE) as known:
            known.mset(KEYS)
            known.function_load(LIBRARY)
        yield tier


def placed(tier: Tier, where: str) -> Tier:
    """The role on one of the hosts, the other one in the inventory without a role."""
    rows = {name: {"ssh_hostname": address, "ssh_user": "root"} for name, address in OWN.items()}
    groups = {f"redis_{ROLE}" if name == where else "spare": (name, data) for name, data in rows.items()}
    groups[f"redis_{ROLE}"][1]["redis_interface"] = "host0"
    Path(tier.inventory).write_text("".join(f"{group} = [{row!r}]\n" for group, row in groups.items()))
    return tier


def holders(tier: Tier) -> list[str]:
    """The hosts that have the role's address."""
    return [name for name, host in tier.lab.hosts.items() if ADDRESS in host.sh(f"{ON_IT} || true")]


def test_a_role_moves_along_with_its_address_and_its_clients_lose_nothing(tier: Tier) -> None:
    login = (SERVICE, tier.passwords[ROLE][SERVICE])
    moved = placed(tier, "two")
    plan = output(moved.run("deploy.py", "--dry", yes=False))
    assert f"clients pause about 1 s, {ADDRESS} comes along" in plan
    assert holders(tier) == ["one"]
    with following(tier, "along with its address", *login, (ADDRESS, PORT)) as followed:
        done = moved.deploy()
    assert "Keep addresses on their interface" not in operations(done)
    assert f"{ROLE}: moved from one: handed over: its writers waited" in output(done)
    with tier.operator(ROLE) as known:
        assert set(lacking(known, followed).values()) == {0}
        assert known.mget(*KEYS) == list(KEYS.values())
        assert known.config_get("bind") == {"bind": ADDRESS}
        assert set(known.acl_users()) == {"default", "operator", SERVICE}
    assert followed.gap < 3
    assert holders(tier) == ["two"]
    assert can_connect(tier.lab.netns, ADDRESS, INNER_PORT)
    one = tier.lab.hosts["one"]
    assert one.sh(f"systemctl show -P LoadState {UNIT} redis-{ROLE}").split() == ["not-found", "not-found"]
    done = moved.run("tasks/drift.py")
    assert done.returncode == 0, output(done)
    assert_nothing_left(moved)

    # It is kept there from now on, over a boot, too.
    two = tier.lab.hosts["two"]
    two.stop()
    two.boot()
    assert moved.deploy_json()["results"]["totals"]["success"] == 0
    assert holders(tier) == ["two"]

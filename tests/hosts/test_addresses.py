"""A role's address comes with it where an interface is named: never on two hosts, and never taken from its clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.clients import can_connect
from tests.hosts.conftest import TABLE, Tier, operations, output, wait_for
from tests.hosts.writer import writing
from tests.lab.containers import ContainerLab
from tests.lab.debian import Suite
from tests.lab.layouts import HostSpec

pytestmark = pytest.mark.hosts

OWN = {"one": "172.28.2.101", "two": "172.28.2.102"}  # of the hosts; the role's comes with it
ROLE, UNIT = "crypto", "caas-redis-address-crypto.service"
ADDRESS, PORT = TABLE[ROLE]["address"], TABLE[ROLE]["port"]
ON_IT = f"ip -o -4 address show dev host0 to {ADDRESS}/32"
KEEP = "Keep addresses on their interface"


@pytest.fixture(params=["bookworm", pytest.param("trixie", marks=pytest.mark.soak)])
def tier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tier]:
    suite: Suite = request.param
    with ContainerLab([HostSpec(name, (address,), suite) for name, address in OWN.items()]) as lab:
        yield placed(Tier(lab, str(tmp_path / "own.py"), tmp_path / "secrets.yaml"))


def placed(tier: Tier, interface: str | None = "host0", **fields: str) -> Tier:
    """The role on the first host, the second one in the inventory without a role."""
    data = {"redis_interface": interface} if interface else {}
    data |= {"redis_overrides": {ROLE: fields}} if fields else {}  # type: ignore[dict-item]
    rows = {name: {"ssh_hostname": address, "ssh_user": "root"} for name, address in OWN.items()}
    lines = [f"redis_{ROLE} = [('one', {rows['one'] | data!r})]", f"spare = [('two', {rows['two']!r})]"]
    Path(tier.inventory).write_text("\n".join(lines) + "\n")
    return tier


def holds(tier: Tier, host: str) -> bool:
    return ADDRESS in tier.lab.hosts[host].sh(ON_IT)


def test_a_bare_host_gets_the_address_keeps_it_over_a_boot_and_gives_it_back(tier: Tier) -> None:
    one = tier.lab.hosts["one"]
    plan = output(tier.run("deploy.py", "--dry", yes=False))
    assert f"address {ADDRESS}: absent → on host0, kept there by {UNIT} (put it there, and keep it there)" in plan
    assert not holds(tier, "one")
    done = tier.deploy()
    assert operations(done).index(KEEP) < operations(done).index("Start instances")
    assert can_connect(tier.lab.netns, ADDRESS, PORT)
    assert tier.deploy_json()["results"]["totals"]["success"] == 0
    assert tier.run("tasks/drift.py").returncode == 0

    one.stop()
    one.boot()
    wait_for(lambda: tier.answers(ROLE), "the role answers after a boot")
    assert one.sh("systemctl show -P NRestarts redis-crypto.service").strip() == "0"  # the address was there before it

    other = {"gateway": {"address": OWN["two"]}}
    text = Path(tier.inventory).read_text().replace(f"redis_{ROLE} =", "empty =").replace("spare =", "redis_gateway =")
    Path(tier.inventory).write_text(text.replace("'ssh_user'", f"'redis_overrides': {other!r}, 'ssh_user'"))
    gone = output(tier.run("deploy.py"))
    assert "exit 0" in gone, gone
    assert not holds(tier, "one")
    assert one.sh(f"systemctl show -P LoadState {UNIT}").strip() == "not-found"


def test_whatever_happens_to_the_unit_a_client_that_writes_notices_nothing(tier: Tier) -> None:
    tier.deploy()
    one = tier.lab.hosts["one"]
    with writing(tier, ROLE, "its address is taken away, its unit killed, changed and restarted") as writer:
        one.sh(f"ip address del {ADDRESS}/32 dev host0")
        wait_for(lambda: holds(tier, "one"), "the address is back", 5)
        one.sh("systemctl restart systemd-networkd.service")
        wait_for(lambda: holds(tier, "one"), "the address is back after networkd", 5)

        pid = one.sh(f"systemctl show -P MainPID {UNIT}").strip()
        one.sh(f"kill -9 {pid}")
        assert holds(tier, "one")
        wait_for(lambda: one.sh(f"systemctl show -P MainPID {UNIT}").strip() not in (pid, "0"), "it runs again")

        one.sh(f"echo '# more' >>/etc/systemd/system/{UNIT}; systemctl daemon-reload; systemctl disable {UNIT}")
        assert "one: drifted, 2 differences" in output(tier.run("tasks/drift.py"))
        tier.deploy()
        assert one.sh(f"systemctl is-enabled {UNIT}").strip() == "enabled"

        one.sh(f"systemctl stop {UNIT}")
        assert holds(tier, "one")  # its instance runs
        assert "one: drifted, 1 difference" in output(tier.run("tasks/drift.py"))
        tier.deploy()
        assert tier.run("tasks/drift.py").returncode == 0
    assert writer.result.failed == 0
    assert writer.result.longest_gap < 2


def test_an_address_that_another_machine_has_is_not_taken(tier: Tier) -> None:
    two = tier.lab.hosts["two"]
    two.sh(f"ip address add {ADDRESS}/32 dev host0")
    refused = output(tier.run("deploy.py"))
    assert "Nothing was changed" in refused
    assert f"address {ADDRESS}: on two as well, expected on this host alone" in refused
    # A machine that is in no inventory says so itself, to whoever asks the network.
    done = output(tier.run("deploy.py", "--limit", "one"))
    assert "exit 0" not in done
    assert f"{ADDRESS}: another machine answers for it on host0: not taken" in done
    assert not holds(tier, "one")

    two.sh(f"ip address del {ADDRESS}/32 dev host0")
    wait_for(lambda: holds(tier, "one"), "its unit, which goes on trying, has it")
    tier.deploy()
    two.sh(f"ip address add {ADDRESS}/32 dev host0")
    drift = tier.run("tasks/drift.py")
    assert drift.returncode != 0
    assert "on two as well" in output(drift)
    assert holds(tier, "one")


def test_an_interface_that_is_taken_back_is_asked_about_and_takes_nothing(tier: Tier) -> None:
    tier.deploy()
    refused = output(placed(tier, interface=None).run("deploy.py"))
    assert "Nothing was changed" in refused
    assert f"expected from the host's own network, no {UNIT}" in refused
    assert holds(tier, "one")
    assert tier.answers(ROLE)
    # As the sentence says: somebody else gives it, then the unit goes.
    one = tier.lab.hosts["one"]
    one.sh(f"ip address add {ADDRESS}/24 dev host0")
    one.sh(f"systemctl disable --now {UNIT}; rm /etc/systemd/system/{UNIT}; systemctl daemon-reload")
    assert tier.run("tasks/drift.py").returncode == 0
    assert tier.answers(ROLE)


def test_an_interface_that_is_not_there_is_said_and_nothing_is_begun(tier: Tier) -> None:
    done = output(placed(tier, interface="eth7").run("deploy.py"))
    assert "exit 0" not in done
    assert "eth7" in done
    assert tier.lab.hosts["one"].sh("systemctl show -P ActiveState redis-crypto.service").strip() == "inactive"
    placed(tier).deploy()
    assert tier.answers(ROLE)

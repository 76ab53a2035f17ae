"""Versions of Redis: pinned, changed by decision only, and never by an upgrade of the system."""

from collections.abc import Iterator

import pytest

from tests.hosts.conftest import Tier, output
from tests.hosts.every_way import kept
from tests.lab.containers import ContainerLab, HostSpec

pytestmark = pytest.mark.hosts


@pytest.fixture(scope="module")
def versions(one: Tier) -> list[str]:
    """The versions of redis-server that the host's apt offers, oldest first."""
    rows = one.host("gateway").sh("apt-cache madison redis-server").splitlines()
    found = [row.split("|")[1].strip() for row in rows]
    assert len(found) >= 2
    return found[::-1]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """One bare host, for the role gateway."""
    with ContainerLab([HostSpec("redis-gateway", ("172.28.2.1",), "bookworm")]) as lab:
        secrets = tmp_path_factory.mktemp("packages") / "secrets.yaml"
        yield Tier(lab, "inventory/prod.py", secrets, ("--limit", "redis-gateway"))


def installed(tier: Tier) -> set[str]:
    return set(tier.host("gateway").sh("dpkg-query -W -f '${Version}\n' redis-server redis-tools").split())


def pin(version: str) -> tuple[str, ...]:
    return ("--data", f"redis_version={version}")


def test_a_pinned_version_is_installed_server_and_tools_together(one: Tier, versions: list[str]) -> None:
    one.deploy(*pin(versions[0]))
    assert installed(one) == {versions[0]}
    assert one.deploy_json(*pin(versions[0]))["results"]["totals"]["success"] == 0


def test_an_upgrade_of_the_system_leaves_a_pinned_version_alone(one: Tier, versions: list[str]) -> None:
    assert "redis-" not in one.host("gateway").sh("apt-get -qq --simulate dist-upgrade")


def test_unattended_upgrades_leave_redis_alone(one: Tier) -> None:
    listed = one.host("gateway").sh("apt-config dump Unattended-Upgrade::Package-Blacklist")
    assert '"redis-server"' in listed
    assert '"redis-tools"' in listed


def test_removing_the_pin_changes_no_version(one: Tier, versions: list[str]) -> None:
    before = one.pid("gateway")
    one.deploy()
    assert installed(one) == {versions[0]}
    assert one.pid("gateway") == before
    assert one.host("gateway").sh("ls /etc/apt/preferences.d") == ""


def test_an_upgrade_by_hand_restarts_nothing_and_fails_the_proof(one: Tier, versions: list[str]) -> None:
    host, before = one.host("gateway"), one.pid("gateway")
    host.sh("DEBIAN_FRONTEND=noninteractive apt-get -qq -y install redis-server redis-tools")
    assert installed(one) == {versions[-1]}
    assert one.pid("gateway") == before
    assert host.sh("systemctl is-active redis-server.service", check=False).strip() == "inactive"
    assert host.sh("stat -c '%a %U:%G' /etc/redis").strip() == "711 root:root"
    done = one.run("tasks/verify.py")
    assert done.returncode != 0
    assert "gateway: instance binary: " in output(done)
    assert "(deleted) → the installed redis-server (restart)" in output(done)


def test_the_next_deploy_restarts_into_the_installed_binary_with_all_keys(one: Tier) -> None:
    before = one.pid("gateway")
    with kept(one, "gateway"):
        one.deploy()
        assert one.pid("gateway") != before


def test_another_pinned_version_is_taken_in_one_deploy_and_named_in_its_plan(one: Tier, versions: list[str]) -> None:
    before = one.pid("gateway")
    plan = output(one.run("deploy.py", "--dry", *pin(versions[0]), yes=False))
    assert f"package redis-server: {versions[-1]} → {versions[0]}" in plan
    assert "1 instance will restart: gateway on redis-gateway" in plan
    with kept(one, "gateway"):
        one.deploy(*pin(versions[0]))
        assert installed(one) == {versions[0]}
        assert one.pid("gateway") != before

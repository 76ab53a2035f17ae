"""Other layouts than one host per role: two roles on a host, all five on one, and one moved away."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.desired.host import Host
from tasks.observed.state import Observed
from tests.plan.harness import Site, run, short
from tests.plan.hosts import bare_takes, changing, first_deploy, takes
from tests.unit.builders import FIVE, OTHERS, as_desired, desired, fresh, with_setting

TWO = """
redis_gateway = ["redis-a"]
redis_crypto = ["redis-a"]
redis_socket = ["redis-b"]
redis_shared = [("redis-c", {"redis_overrides": {"shared": {"maxmemory": "64mb"}}})]
"""


@pytest.fixture
def two(tmp_path: Path) -> str:
    """An inventory of three hosts, one of them with two roles and one with an override."""
    path = tmp_path / "two.py"
    path.write_text(TWO)
    return str(path)


def test_two_roles_share_a_host_in_the_operations_of_every_other_host(two: str, secrets_file: Path) -> None:
    sites = {
        "redis-a": Site([fresh, as_desired], bare_takes("crypto", "gateway")),
        "redis-b": Site([fresh, as_desired], bare_takes("socket")),
        "redis-c": Site([fresh, as_desired], bare_takes("shared")),
    }
    result = run(sites, "-y", secrets_file=secrets_file, inventory=two)
    assert result.exit_code == 0, result.output
    assert changing(result.commands("redis-a")) == first_deploy("crypto", "gateway")
    assert {operation.hosts for operation in result.operations} == {("redis-a", "redis-b", "redis-c")}


def test_an_override_of_one_host_reaches_its_redis_conf(two: str, secrets_file: Path) -> None:
    sites = {
        "redis-a": Site([as_desired]),
        "redis-b": Site([as_desired]),
        "redis-c": Site([fresh, as_desired], bare_takes("shared")),
    }
    result = run(sites, "-y", secrets_file=secrets_file, inventory=two)
    assert result.exit_code == 0, result.output
    (conf,) = [event.stdin for event in result.events if short(event.text).startswith("write /etc/redis/shared.conf ")]
    assert "\nmaxmemory 67108864\n" in conf


def test_one_of_two_roles_that_drifted_is_the_only_one_changed(two: str, secrets_file: Path) -> None:
    def drifted(host: Host) -> Observed:
        return with_setting(as_desired(host), "crypto", "timeout", "9")

    sites = {
        "redis-a": Site([drifted, as_desired]),
        "redis-b": Site([as_desired]),
        "redis-c": Site([as_desired]),
    }
    result = run(sites, "-y", secrets_file=secrets_file, inventory=two)
    assert result.exit_code == 0, result.output
    told = [event.text for event in result.events if "CONFIG SET" in event.text]
    assert told == ["crypto: CONFIG SET timeout 0"]


def test_all_five_roles_on_one_bare_host_are_deployed_in_one_pass(secrets_file: Path) -> None:
    sites = {"redis-1": Site([fresh, as_desired], bare_takes(*FIVE))}
    result = run(sites, "-y", secrets_file=secrets_file, inventory="inventory/onebox.py")
    assert result.exit_code == 0, result.output
    assert changing(result.commands("redis-1")) == first_deploy(*FIVE)


def test_roles_without_a_log_a_snapshot_or_an_inner_port_are_deployed_as_the_five_are(secrets_file: Path) -> None:
    sites = {"redis-others": Site([fresh, as_desired], bare_takes(*OTHERS))}
    result = run(sites, "-y", secrets_file=secrets_file, inventory="inventory/others.py")
    assert result.exit_code == 0, result.output
    assert changing(result.commands("redis-others")) == first_deploy(*OTHERS)


def test_right_roles_without_a_log_a_snapshot_or_an_inner_port_are_left_alone(secrets_file: Path) -> None:
    sites = {"redis-others": Site([as_desired])}
    result = run(sites, "-y", secrets_file=secrets_file, inventory="inventory/others.py")
    assert result.exit_code == 0, result.output
    assert (result.names(), result.commands("redis-others")) == (["Prove the tier"], [])


def test_a_host_whose_last_led_role_left_loses_the_inner_port(tmp_path: Path, secrets_file: Path) -> None:
    inventory = tmp_path / "alone.py"
    inventory.write_text('redis_gateway = ["redis-a"]\n')
    left = as_desired(desired("crypto"))
    unit_file, rules = "/etc/systemd/system/redis-inner-port.service", "/etc/redis/inner-port.nft"

    def before(host: Host) -> Observed:
        seen = as_desired(host)
        units = {**seen.units, "redis-inner-port.service": left.units["redis-inner-port.service"]}
        files = {**seen.files, unit_file: left.files[unit_file], rules: left.files[rules]}
        return replace(seen, units=units, files=files, packages={**seen.packages, "nftables": "1.0.6"})

    commands = [
        "systemctl disable --now redis-inner-port.service",
        f"rm -f {rules} {unit_file}",
        "systemctl daemon-reload",
    ]
    sites = {"redis-a": Site([before, as_desired], takes(*commands))}
    result = run(sites, "-y", secrets_file=secrets_file, inventory=str(inventory))
    assert result.exit_code == 0, result.output
    assert result.names() == [
        "Hold the host",
        "Stop units no role needs",
        "Remove files no role needs",
        "Prove the tier",
    ]
    assert result.commands("redis-a") == commands


def test_a_host_without_a_role_is_looked_at_once_and_not_touched(tmp_path: Path, secrets_file: Path) -> None:
    inventory = tmp_path / "with_web.py"
    inventory.write_text('redis_gateway = ["redis-a"]\nweb = ["web-1"]\n')
    sites = {"redis-a": Site([as_desired]), "web-1": Site([as_desired])}
    result = run(sites, "-y", secrets_file=secrets_file, inventory=str(inventory))
    assert result.exit_code == 0, result.output
    assert [event.kind for event in result.events if event.host == "web-1"] == ["connect", "command"]
    assert result.looks("web-1") == 1
    assert [operation for operation in result.operations if "web-1" in operation.hosts] == []

"""What other hosts of a run say of the roles' ports: drift and verify ask, a deploy does not."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.plan.harness import Result, Site, run
from tests.plan.hosts import production
from tests.unit.builders import as_desired
from tests.unit.scripts import read_call

CLOSED = {"172.28.2.5:6383": "Connection refused"}


def knocks(result: Result) -> dict[str, list[str]]:
    """The ports that each host tried."""
    calls = [(event.host, read_call(event.text)) for event in result.events if event.kind == "command"]
    return {host: call.arguments for host, call in calls if call is not None and call.name == "knock"}


def told(sites: Mapping[str, Site], secrets_file: Path, directory: Path, command: str) -> tuple[Result, str]:
    """A run, and what it says: drift's table breaks lines, its report does not."""
    report = directory / "drift.json"
    asked = ("--data", f"drift_report={report}") if command == "tasks/drift.py" else ()
    result = run(sites, "-y", *asked, secrets_file=secrets_file, command=command)
    return result, report.read_text() if asked else result.output


@pytest.mark.parametrize("command", ["tasks/drift.py", "tasks/verify.py"])
def test_a_port_that_other_hosts_do_not_reach_is_said_of_its_role(
    secrets_file: Path, tmp_path: Path, command: str
) -> None:
    sites = production(**{role: Site([as_desired], unreached=CLOSED) for role in ("gateway", "compliance")})
    result, said = told(sites, secrets_file, tmp_path, command)
    assert result.exit_code == 1
    assert "172.28.2.5:6383" in said
    assert "Connection refused from redis-compliance; Connection refused from redis-gateway" in said
    assert len(knocks(result)) == 3
    assert all("172.28.2.5:6383" in knocks(result)[host] for host in ("redis-compliance", "redis-gateway"))


@pytest.mark.parametrize("command", ["tasks/drift.py", "tasks/verify.py"])
def test_a_host_that_cannot_try_hides_nothing_and_is_no_finding_while_another_can(
    secrets_file: Path, tmp_path: Path, command: str
) -> None:
    sites = production(compliance=Site([as_desired], fails="knock"), gateway=Site([as_desired], unreached=CLOSED))
    assert "Connection refused from redis-gateway" in told(sites, secrets_file, tmp_path, command)[1]
    sites = production(compliance=Site([as_desired], fails="knock"))
    assert run(sites, "-y", secrets_file=secrets_file, command=command).exit_code == 0


@pytest.mark.parametrize("command", ["tasks/drift.py", "tasks/verify.py"])
def test_where_a_packet_filter_admits_no_other_host_nothing_is_tried(secrets_file: Path, command: str) -> None:
    options = ("-y", "--data", "redis_tried_from_others=False")
    result = run(production(), *options, secrets_file=secrets_file, command=command)
    assert (result.exit_code, knocks(result)) == (0, {})


def test_a_deploy_with_nothing_to_do_tries_nothing(secrets_file: Path) -> None:
    assert knocks(run(production(), "-y", secrets_file=secrets_file)) == {}

"""Runs whose passwords a command prints: as with a file, but that nothing is made up and nothing is written."""

import json
from pathlib import Path

import yaml

from tests.plan.harness import Result, Site, run
from tests.plan.hosts import PROD, bare_takes
from tests.unit.builders import as_desired, fresh, roles, secrets_of


def asked(path: Path, *arguments: str, command: str = "deploy.py", bare: bool = False) -> Result:
    """A run on production's hosts whose passwords `cat` prints."""
    sites = {
        host: Site([fresh, as_desired], bare_takes(role)) if bare else Site([as_desired]) for host, role in PROD.items()
    }
    words = json.dumps(["cat", str(path)])
    return run(sites, *arguments, "--data", f"redis_secrets_command={words}", secrets_file=None, command=command)


def test_a_tier_is_seen_deployed_and_proved_with_what_it_prints(secrets_file: Path) -> None:
    for command in ("deploy.py", "tasks/verify.py", "tasks/drift.py"):
        result = asked(secrets_file, "-y", command=command)
        assert result.exit_code == 0, result.output
    result = asked(secrets_file, "-y", bare=True)
    assert result.exit_code == 0, result.output
    assert [secret for secret in secrets_of(*roles().values()) if secret in result.output] == []


def test_what_it_lacks_is_listed_to_be_pasted_and_nothing_is_made_up(secrets_file: Path) -> None:
    known = yaml.safe_load(secrets_file.read_text())
    del known["crypto"]["crypto-service"], known["shared"]
    secrets_file.write_text(yaml.safe_dump(known))
    before = secrets_file.read_bytes()
    result = asked(secrets_file, "-y", bare=True)
    assert result.exit_code != 0
    assert "crypto: lacks a password, and none is made up beside a command: add" in result.output
    assert "crypto: {crypto-service: PASSWORD}" in result.output
    assert "shared: lacks 7 passwords" in result.output
    assert result.events == []
    assert secrets_file.read_bytes() == before
    dry = asked(secrets_file, "--dry", bare=True)
    assert "crypto-service: PASSWORD" in dry.output
    assert "a deploy makes up what is lacking" not in dry.output


def test_a_command_that_fails_ends_the_run_before_any_connection_in_one_sentence(tmp_path: Path) -> None:
    result = asked(tmp_path / "nowhere.yaml", "-y")
    assert result.exit_code != 0
    assert "ended with 1, expected 0; it said" in result.output
    assert "Traceback" not in result.output
    assert result.events == []


def test_a_file_and_a_command_are_one_too_many(secrets_file: Path) -> None:
    sites = {host: Site([as_desired]) for host in PROD}
    data = ("--data", 'redis_secrets_command=["true"]')
    result = run(sites, "-y", *data, secrets_file=secrets_file)
    assert "redis_secrets_command and redis_secrets_file are both there, expected one of them" in result.output
    assert result.events == []

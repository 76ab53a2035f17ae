"""Runs whose passwords a command prints: as with a file, but that nothing is made up and nothing is written."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tasks.catalogue import secrets_command
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
    wanted = {"crypto": ["crypto-service"], "shared": [*roles()["shared"].services, "operator"]}
    words = "lacks 8 passwords, and none is made up beside a command: add the lines below to what it prints"
    assert "The data of this run cannot be used (1 problem):" in result.output
    assert words in result.output
    assert pasted(result.output) == wanted
    assert result.events == []
    assert secrets_file.read_bytes() == before
    dry = asked(secrets_file, "--dry", bare=True)
    assert words in dry.output
    assert pasted(dry.output) == wanted
    assert "a deploy makes up what is lacking" not in dry.output


def pasted(output: str) -> dict[str, list[str]]:
    """Role → users of the lines that begin at the edge of the terminal, read as YAML."""
    lines = [line for line in output.splitlines() if re.match(r"[a-z-]+: \{.*\}$", line)]
    known = yaml.safe_load("\n".join(lines))
    assert {password for users in known.values() for password in users.values()} == {"PASSWORD"}
    return {role: list(users) for role, users in known.items()}


def test_lines_that_were_pasted_and_not_filled_in_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "prod.yaml"
    file.write_text("{}")
    output = asked(file, "-y", bare=True).output
    lines = output.partition(" lacks:\n")[2]
    file.write_text(lines)
    result = asked(file, "-y", bare=True)
    assert result.exit_code != 0
    assert "crypto: crypto-service: expected a password in the place of PASSWORD: put one there" in result.output
    assert result.events == []


def test_a_command_that_fails_ends_the_run_before_any_connection_in_one_sentence(tmp_path: Path) -> None:
    result = asked(tmp_path / "nowhere.yaml", "-y")
    assert result.exit_code != 0
    assert "ended with 1, expected 0: it does not find a file or an entry" in result.output
    assert "PASSWORD" not in result.output
    assert "Traceback" not in result.output
    assert result.events == []


HIDDEN = "hidden-4Q9xTz"
BAD = {
    "slow": ("echo {0}; exec sleep 60", "has not ended within 0.5 s: run it by hand"),
    "endless": ("yes {0}", "prints more than 1 MiB, expected ROLE: {{USER: PASSWORD}}"),
    "endless complaint": ("yes {0} >&2", "has not ended within 0.5 s"),
    "secrets in a complaint": ("echo gateway: {0} >&2; exit 2", "ended with 2, expected 0 (its own words may have"),
    "not for it": (
        "echo {0}; echo No secret key for {0} >&2; exit 2",
        "ended with 2, expected 0: it has no key for that",
    ),
    "no YAML": ("echo 'gateway: [{0}'", "line 2: not readable as YAML: correct it"),
    "no password": ("echo 'gateway: {{gateway: [[{0}]]}}'", "gateway: gateway: expected a password"),
    "one role twice": ("printf 'gateway: {{gateway: {0}}}\\ngateway: {{}}'", "line 2: a name stands there"),
}


@pytest.mark.parametrize("verbosity", [(), ("-vvv", "--debug")], ids=["quiet", "debug"])
@pytest.mark.parametrize("case", BAD)
def test_whatever_a_command_does_is_one_sentence_and_shows_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, verbosity: tuple[str, ...]
) -> None:
    monkeypatch.setattr(secrets_command, "PATIENCE", 0.5)
    script, words = (text.format(HIDDEN) for text in BAD[case])
    tool = tmp_path / "tool"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    sites = {host: Site([as_desired]) for host in PROD}
    data = ("--data", f"redis_secrets_command={json.dumps([str(tool)])}")
    result = run(sites, "-y", *verbosity, *data, secrets_file=None)
    assert result.exit_code != 0
    assert result.events == []
    said = [line.strip() for line in result.output.splitlines() if "redis_secrets_command (" in line]
    assert [line for line in said if not line.startswith("redis_secrets_command (")] == []
    assert words in said[0]
    assert len(said) == 1
    assert HIDDEN not in result.output
    assert "Traceback" not in result.output


def test_a_file_and_a_command_are_one_too_many(secrets_file: Path) -> None:
    sites = {host: Site([as_desired]) for host in PROD}
    data = ("--data", 'redis_secrets_command=["true"]')
    result = run(sites, "-y", *data, secrets_file=secrets_file)
    assert "redis_secrets_command and redis_secrets_file are both there, expected one of them" in result.output
    assert result.events == []

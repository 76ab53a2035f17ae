"""Copies that another host proves: a run does nothing where all is as it should be, and refuses what cannot be."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tasks.desired.host import Host
from tasks.observed.state import Observed
from tests.plan.harness import Result, Site, State, run
from tests.plan.hosts import PROD, production
from tests.unit.builders import as_desired, password

HOME, PROVER = "redis-crypto", "redis-gateway"
PLAN = {"repository": "sftp:me@10.0.0.9:/srv", "roles": ["crypto"], "prove_on": PROVER}


@pytest.fixture
def known(secrets_file: Path) -> Path:
    """The secrets file, which has what backups need, too."""
    secrets = yaml.safe_load(secrets_file.read_text())
    secrets["crypto"] |= {user: password("crypto", user) for user in ("reader", "backup")}
    secrets_file.write_text(yaml.safe_dump(secrets))
    return secrets_file


def asked(known: Path, *arguments: str, states: Mapping[str, State] | None = None, **plan: object) -> Result:
    sites = production(**{PROD[name]: Site([state]) for name, state in (states or {}).items()})
    return run(sites, *arguments, "--data", f"redis_backup={json.dumps(PLAN | plan)}", secrets_file=known)


def test_where_all_is_as_it_should_be_nothing_is_done(known: Path) -> None:
    result = asked(known, "--dry")
    assert "nothing to change on 5 hosts" in result.output


def test_the_file_that_opens_the_repository_goes_to_the_host_that_proves(known: Path) -> None:
    def without(host: Host) -> Observed:
        seen = as_desired(host)
        files = {path: state for path, state in seen.files.items() if path != "/etc/redis/crypto.backup"}
        return replace(seen, files=files)

    result = asked(known, "--dry", states={PROVER: without})
    assert f"{PROVER}: crypto: file /etc/redis/crypto.backup: absent → file root:root 0600 (write)" in result.output
    assert password("crypto", "backup") not in result.output


def newer(host: Host) -> Observed:
    seen = as_desired(host)
    return replace(seen, packages={**seen.packages, "redis-server": "5:8.0.2-3", "redis-tools": "5:8.0.2-3"})


def test_an_older_redis_is_refused_before_anything_is_changed(known: Path) -> None:
    result = asked(known, "-y", states={HOME: newer})
    assert result.exit_code != 0
    assert (
        f"{PROVER}: crypto: it is to prove copies of {HOME}, which has Redis 8.0, and has 7.0 itself" in result.output
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("redis-gatewy", "redis-crypto: redis_backup: prove_on: redis-gatewy: no such host in the inventory"),
        (HOME, "redis-crypto: redis_backup: prove_on: redis-crypto: is the host whose copies it would prove"),
    ],
)
def test_a_host_that_cannot_prove_is_refused_before_any_connection(known: Path, name: str, words: str) -> None:
    result = asked(known, "-y", prove_on=name)
    assert result.exit_code != 0
    assert words in result.output
    assert result.events == []


def test_the_host_that_proves_takes_part_in_a_rotation_of_what_it_opens(known: Path) -> None:
    result = asked(known, "-y", "--limit", HOME, "--data", "rotate=crypto:backup")
    assert result.exit_code != 0
    assert f"{PROVER}: rotate=crypto: this run leaves the host out" in result.output


def test_a_deploy_says_at_once_whether_the_host_that_proves_reaches_the_repository(known: Path) -> None:
    def without(host: Host) -> Observed:
        seen = as_desired(host)
        path = "/etc/redis/crypto.backup"
        return replace(seen, files={name: state for name, state in seen.files.items() if name != path})

    for fails in (None, "env .* try"):
        site = Site(
            [without, as_desired], {"write /etc/redis/crypto.backup root:root 0600": "", "env .* try": ""}, fails
        )
        sites = production(gateway=site)
        words = json.dumps(PLAN)
        result = run(sites, "-y", "--data", f"redis_backup={words}", secrets_file=known)
        assert "Open what is proved for other hosts" in result.output
        assert any("/usr/local/lib/caas-redis/backup try" in event.text for event in result.events)
        assert ("it failed" in result.output) == bool(fails)

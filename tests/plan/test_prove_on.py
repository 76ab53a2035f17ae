"""Copies that another host proves: a run does nothing where all is as it should be, and refuses what cannot be."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tasks.catalogue.backup import place_of
from tasks.desired.host import Host
from tasks.desired.paths import backup_record, proof_record
from tasks.observed.state import FileState, Observed
from tests.plan.harness import Result, Site, State, is_look, run
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
    result = asked(known, "--dry", states={PROVER: without("/etc/redis/crypto.backup")})
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


def without(*paths: str) -> State:
    """A host as it should be that lacks these files."""

    def state(host: Host) -> Observed:
        seen = as_desired(host)
        return replace(seen, files={path: item for path, item in seen.files.items() if path not in paths})

    return state


OPENS = "Open what is proved for other hosts"
SETTINGS = "/etc/redis/crypto.backup"
WRITES = {f"write {SETTINGS} root:root 0600": "", "env .* try": ""}


def deployed(known: Path, *arguments: str, **sites: Site) -> Result:
    """A deploy of the production hosts, of which these are another way."""
    return run(production(**sites), *arguments, "--data", f"redis_backup={json.dumps(PLAN)}", secrets_file=known)


@pytest.mark.parametrize("fails", [None, "env .* try"])
def test_a_deploy_says_at_once_whether_the_host_that_proves_reaches_the_repository(
    known: Path, fails: str | None
) -> None:
    result = deployed(known, "-y", gateway=Site([without(SETTINGS), as_desired], WRITES, fails))
    assert OPENS in result.output
    assert any("/usr/local/lib/caas-redis/backup try" in event.text for event in result.events)
    assert ("it failed" in result.output) == bool(fails)


def test_a_repository_is_opened_elsewhere_behind_the_first_copy_which_makes_it(known: Path) -> None:
    # Behind the last step that both have, pyinfra counts steps; the one that makes the copy has one more before it.
    def begins(host: Host) -> Observed:
        seen = without(backup_record("crypto"), SETTINGS)(host)
        timer = "caas-redis-backup-crypto.timer"
        return replace(seen, units={**seen.units, timer: {**seen.units[timer], "ActiveState": "inactive"}})

    first = Site([begins, as_desired], {".*": ""})
    result = deployed(known, "-y", crypto=first, gateway=Site([without(SETTINGS), as_desired], WRITES))
    done = [
        (event.host, word)
        for event in result.events
        for word in ("caas-redis-backup-crypto.service", "/usr/local/lib/caas-redis/backup try")
        if event.kind == "command" and not is_look(event.text) and word in event.text
    ]
    assert [host for host, _ in done] == [HOME, PROVER], done


def recorded(**fields: str) -> State:
    """What the last proof came to, on the host that proves."""
    record = {"where": place_of(f"{PLAN['repository']}/crypto"), "said": "no"} | fields

    def state(host: Host) -> Observed:
        seen = as_desired(host)
        text = "".join(f"{name} {value}\n" for name, value in record.items())
        file = FileState("file", "root", "root", "0600", text)
        return replace(seen, files={**seen.files, proof_record("crypto"): file})

    return state


FAILED = {"result": "failed", "at": "1764000000"}


@pytest.mark.parametrize(
    ("record", "again"),
    [
        (FAILED | {"opens": "no"}, True),
        (FAILED, False),
        (FAILED | {"opens": "no", "where": "0" * 16}, False),
        (FAILED | {"opens": "no", "result": "ok"}, False),
    ],
)
def test_a_repository_that_could_not_be_opened_is_tried_again_by_each_deploy(
    known: Path, record: dict[str, str], again: bool
) -> None:
    result = deployed(known, "--dry", gateway=Site([recorded(**record)]))
    assert [item.hosts for item in result.operations if item.name == OPENS] == ([(PROVER,)] if again else [])

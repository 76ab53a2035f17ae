"""The journal of deploys: a host's own, of what changed there and of nothing else."""

import json
from pathlib import Path

import pytest

from tests.plan.harness import Result, Site, run
from tests.plan.hosts import PROD, drifted, production
from tests.unit.builders import as_desired, passwords, roles, with_file, with_setting

WRITE = "write /etc/redis/crypto.acl root:redis-crypto 0640"


def noted(result: Result, host: str) -> list[dict[str, object]]:
    return [json.loads(event.text) for event in result.events if (event.host, event.kind) == (host, "noted")]


def test_a_deploy_notes_on_the_hosts_that_it_changes_who_what_and_what_came_of_it(secrets_file: Path) -> None:
    sites = drifted("crypto", lambda host: with_setting(as_desired(host), "crypto", "timeout", "9"))
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    begun, ended = noted(result, "redis-crypto")
    assert begun["differences"] == ["crypto: setting timeout: set live"]
    assert "@" in str(begun["who"])
    assert (ended["result"], ended["restarts"], ended["deploy"]) == ("done", [], begun["deploy"])
    assert [noted(result, host) for host in PROD if host != "redis-crypto"] == [[]] * 4
    said = json.dumps([begun, ended])
    for users in passwords(*roles().values()).values():
        assert not [password for password in users.values() if password and password in said]


def test_a_deploy_that_fails_on_a_host_is_noted_there_as_failed(secrets_file: Path) -> None:
    def wrong(host: object) -> object:
        return with_file(as_desired(host), "/etc/redis/crypto.acl", mode="0644")  # type: ignore[arg-type]

    result = run(production(crypto=Site([wrong], fails=WRITE)), "-y", secrets_file=secrets_file)  # type: ignore[list-item]
    assert result.exit_code != 0
    assert [item.get("result") for item in noted(result, "redis-crypto")] == [None, "failed"]


@pytest.mark.parametrize("option", ["-y", "--dry"])
def test_a_deploy_that_changes_nothing_notes_nothing(secrets_file: Path, option: str) -> None:
    sites = production()
    if option == "--dry":
        sites = production(crypto=Site([lambda host: with_setting(as_desired(host), "crypto", "timeout", "9")]))
    result = run(sites, option, secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert [noted(result, host) for host in PROD] == [[]] * 5

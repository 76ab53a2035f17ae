"""A tier that is right: a deploy, a dry run and a verification look, prove, and change nothing."""

from pathlib import Path

import pytest

from tests.plan.harness import Result, Site, run
from tests.plan.hosts import PROD, production
from tests.unit.builders import FIVE, as_desired, roles, stopped, with_setting

REPEATED = (
    "AUTH operator ***",
    "CONFIG GET *",
    "INFO default commandstats",
    "ACL USERS",
    "ACL CAT admin",
    "ACL CAT dangerous",
    "ACL CAT scripting",
)


def asked(result: Result, role: str) -> list[str]:
    """The commands that a role's instance was sent."""
    sent = [event.text for event in result.events if event.kind == "exchange"]
    return [text.removeprefix(f"{role}: ") for text in sent if text.startswith(f"{role}: ")]


def test_a_second_deploy_has_one_operation_that_changes_nothing(secrets_file: Path) -> None:
    result = run(production(), "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert result.names() == ["Prove the tier"]
    assert "nothing to change on 5 hosts" in result.plan
    assert result.output.count("No changes") == 5


def test_a_second_deploy_sends_a_host_nothing_but_one_look(secrets_file: Path) -> None:
    """And its proof: where nothing was done since, the look is the one that the proof begins with."""
    result = run(production(), "-y", secrets_file=secrets_file)
    assert [result.commands(host) for host in PROD] == [[]] * 5
    assert [result.looks(host) for host in PROD] == [1] * 5
    for role in FIVE:
        assert [text for text in asked(result, role) if text.startswith("SET caas-verify:")]


def test_a_look_that_somebody_was_asked_about_for_a_while_is_repeated(
    secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.run.survey.FRESH", 0)
    result = run(production(), "-y", secrets_file=secrets_file)
    assert [result.looks(host) for host in PROD] == [2] * 5


def test_a_host_that_was_changed_is_looked_at_again_and_no_other(secrets_file: Path) -> None:
    sites = production(
        crypto=Site([lambda host: with_setting(as_desired(host), "crypto", "maxclients", "9"), as_desired])
    )
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert {host: result.looks(host) for host in PROD} == dict.fromkeys(PROD, 1) | {"redis-crypto": 2}


def test_a_dry_run_looks_once_and_asks_servers_only_what_changes_nothing(secrets_file: Path) -> None:
    result = run(production(), "--dry", secrets_file=secrets_file)
    assert result.exit_code == 0
    assert [result.commands(host) for host in PROD] == [[]] * 5
    assert [result.looks(host) for host in PROD] == [1] * 5
    for role in FIVE:
        users = ["default", *sorted((*roles()[role].services, "operator"))]
        assert asked(result, role) == [*REPEATED, *(f"ACL GETUSER {user}" for user in users)]


def test_a_verification_changes_nothing_but_its_own_keys_and_removes_them(secrets_file: Path) -> None:
    result = run(production(), "-y", secrets_file=secrets_file, command="tasks/verify.py")
    assert result.exit_code == 0, result.output
    assert "--> 5 roles on 5 hosts are as they should be" in result.output
    assert [result.commands(host) for host in PROD] == [[]] * 5
    for role in FIVE:
        written = {text.split()[1] for text in asked(result, role) if text.startswith("SET ")}
        # The words of a script stand before its keys.
        scripts = [text.split() for text in asked(result, role) if text.startswith("EVAL ")]
        written |= {word for words in scripts for word in words if word.startswith("caas-verify:")}
        removed = {key for text in asked(result, role) if text.startswith("DEL ") for key in text.split()[1:]}
        assert written == removed
        assert len(written) == 5 * len(roles()[role].services)
        assert all(key.startswith("caas-verify:") for key in written)


def test_a_dry_verification_writes_no_key(secrets_file: Path) -> None:
    result = run(production(), "--dry", secrets_file=secrets_file, command="tasks/verify.py")
    assert result.exit_code == 0, result.output
    sent = [text for role in FIVE for text in asked(result, role)]
    assert sent
    assert [text for text in sent if text.startswith(("SET ", "DEL "))] == []


@pytest.mark.parametrize("option", ["-y", "--dry"])
def test_a_verification_of_a_drifted_tier_fails_and_says_what_drifted(secrets_file: Path, option: str) -> None:
    sites = production(shared=Site([lambda host: with_setting(as_desired(host), "shared", "maxmemory", "1048576")]))
    result = run(sites, option, secrets_file=secrets_file, command="tasks/verify.py")
    assert result.exit_code != 0
    assert "redis-shared: shared: live: maxmemory 1mb → 512mb" in result.output


def test_a_verification_of_a_dead_instance_names_its_unit_and_no_consequence(secrets_file: Path) -> None:
    sites = production(crypto=Site([lambda host: stopped(as_desired(host), "crypto")]))
    result = run(sites, "-y", secrets_file=secrets_file, command="tasks/verify.py")
    assert result.exit_code != 0
    found = [line for line in result.plan if line.startswith("redis-crypto:")]
    where = "docs/runbook.md#an-instance-will-not-start"
    assert found == [f"redis-crypto: crypto: unit redis-crypto.service: inactive → active (start) ({where})"]


def test_a_verification_without_a_reachable_host_fails(secrets_file: Path) -> None:
    sites = {host: Site([as_desired], reachable=False) for host in PROD}
    result = run(sites, "-y", secrets_file=secrets_file, command="tasks/verify.py")
    assert result.exit_code != 0


def test_a_server_that_lets_a_service_administer_it_fails_the_deploy(secrets_file: Path) -> None:
    result = run(production(crypto=Site([as_desired], lenient=True)), "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert (
        "crypto: crypto-service asks ACL USERS on 172.28.2.5:6383: observed yes, expected error NOPERM" in result.output
    )


def test_a_server_that_stopped_before_the_second_look_fails_the_deploy(
    secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.run.survey.FRESH", 0)
    sites = production(crypto=Site([as_desired, lambda host: stopped(as_desired(host), "crypto")]))
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert "redis-crypto.service: inactive → active" in result.output

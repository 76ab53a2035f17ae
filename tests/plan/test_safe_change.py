"""Whole deploys that must stop in time: held hosts, candidates that do not come up, gates that fail."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.desired.host import Host
from tasks.observed.state import Observed
from tests.plan.harness import Result, Site, State, run, short
from tests.plan.hosts import PROD, production, takes
from tests.unit.builders import as_desired, with_file, with_setting

CONF = "write /etc/redis/{0}.conf root:redis-{0} 0640"


def other_file(role: str) -> Callable[[Host], Observed]:
    """A host on which somebody edited a role's configuration."""
    return lambda host: with_file(as_desired(host), f"/etc/redis/{role}.conf", content="hz 1\n")


def edited_everywhere(**changes: object) -> dict[str, Site]:
    """All five hosts, each with an edited configuration; one of them, crypto's, with these changes."""
    sites = {host: Site([other_file(role), as_desired], takes(CONF.format(role))) for host, role in PROD.items()}
    sites["redis-crypto"] = replace(sites["redis-crypto"], **changes)  # type: ignore[arg-type]
    return sites


def executed(result: Result) -> dict[str, list[str]]:
    return {host: result.commands(host) for host in PROD}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("held by eve@desk, since today", "another deploy holds this host: eve@desk, since today"),
        (
            "changed by eve@desk, ended",
            "another deploy was here after this one had looked: eve@desk, ended: run it again",
        ),
    ],
)
def test_one_host_that_is_held_by_another_deploy_stops_all(secrets_file: Path, answer: str, words: str) -> None:
    result = run(edited_everywhere(holds=[answer]), "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert f"redis-crypto: nothing was changed: {words}" in result.output
    assert executed(result) == {host: [] for host in PROD}


def test_a_host_on_which_another_deploy_was_is_looked_at_again_and_changed_when_nothing_else_is(
    secrets_file: Path,
) -> None:
    states: list[State] = [other_file("crypto"), other_file("crypto"), as_desired]
    sites = edited_everywhere(holds=["changed by eve@desk, ended", "held"], states=states)
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert [result.looks(host) for host in PROD] == [2, 2, 2, 2, 3]


def test_every_host_that_will_be_changed_is_held_before_anything_is_done(secrets_file: Path) -> None:
    result = run(edited_everywhere(), "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    acts = [event.kind for event in result.events if event.kind == "hold" or short(event.text).startswith("write /")]
    assert acts == ["hold"] * 5 + ["command"] * 5


def test_a_host_that_is_right_is_not_held(secrets_file: Path) -> None:
    sites = production(crypto=edited_everywhere()["redis-crypto"])
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert [event.host for event in result.events if event.kind == "hold"] == ["redis-crypto"]


@pytest.mark.parametrize("option", ["--dry", "--json"])
def test_a_run_that_only_plans_holds_nothing(secrets_file: Path, option: str) -> None:
    result = run(edited_everywhere(), option, secrets_file=secrets_file)
    assert [event.kind for event in result.events if event.kind == "hold"] == []


def test_one_candidate_that_does_not_come_up_keeps_every_host_from_writing(secrets_file: Path) -> None:
    result = run(edited_everywhere(fails="^trial crypto"), "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert "crypto: the new configuration does not come up, nothing of it is written: it failed" in result.output
    assert result.output.count("the new configuration failed its trial on redis-crypto") == 4
    assert executed(result) == {host: [] for host in PROD}


def test_a_candidate_is_tried_before_its_settings_are_set_live(secrets_file: Path) -> None:
    def changed(host: Host) -> Observed:
        return with_setting(other_file("crypto")(host), "crypto", "timeout", "9")

    site = Site([changed], fails="^trial crypto")
    result = run(production(crypto=site), "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert [event.text for event in result.events if event.kind == "exchange" and "CONFIG SET" in event.text] == []


def test_only_roles_whose_files_will_be_written_are_tried(secrets_file: Path) -> None:
    states: list[State] = [other_file("crypto"), as_desired]
    sites = {"redis-1": Site(states, takes(CONF.format("crypto")))}
    result = run(sites, "-y", secrets_file=secrets_file, inventory="inventory/onebox.py")
    assert result.exit_code == 0, result.output
    assert result.trials("redis-1") == ["crypto"]

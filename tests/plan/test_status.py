"""Status: one look, told in a table and in JSON, whatever state servers and hosts are in; nothing is changed."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.desired.host import Host
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Observed
from tests.plan.harness import NOW, Result, Site, run
from tests.plan.hosts import PROD, production
from tests.unit.builders import as_desired, passwords, roles, stopped, with_server, with_setting
from tests.unit.observed.printed import MARK

BEGUN = '{"deploy": "1", "begun": "2026-11-27 10:00:00 UTC", "who": "anna@desk", "commit": "abc", "differences": ["x"]}'
ENDED = '{"deploy": "1", "ended": "2026-11-27 10:01:00 UTC", "result": "done", "restarts": ["crypto 3 s"]}'
CONNECTED = "7 172.28.2.5:6383 172.28.2.1\n"


def status(site: Site | None, secrets_file: Path, *options: str) -> Result:
    sites = production(**({"crypto": site} if site else {}))
    return run(sites, *options, secrets_file=secrets_file, command="tasks/status.py")


def saying(change: Callable[[Observed], Observed], **parts: str) -> Site:
    """A host in a state, of which this moment is told."""
    told = "".join(f"\0{MARK} {part}\n{text}" for part, text in {**NOW, **parts, "end": ""}.items())

    def state(host: Host) -> Observed:
        return change(as_desired(host))

    return Site([state], {"this moment": told})


def crypto(result: Result, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())["hosts"]["redis-crypto"]
    return found


def test_a_tier_that_is_well_is_a_row_a_role_within_80_columns_and_nothing_is_changed(secrets_file: Path) -> None:
    result = status(None, secrets_file)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert "…" not in result.stdout
    for role in (host.removeprefix("redis-") for host in PROD):
        assert next(line.split()[:2] for line in lines if line.startswith(f"{role} ")) == [role, "up"]
    assert "all well" in lines[-1]
    assert [result.commands(host) for host in PROD] == [[]] * 5


def test_what_services_store_and_passwords_are_in_no_form_of_it(secrets_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    result = status(None, secrets_file, "--data", "role=crypto", "--data", f"status_report={file}")
    said = result.output + file.read_text()
    assert "slow commands" in said
    assert "2 × auth, intruder from 172.28.2.66:4" in said
    assert "user:4711" not in said
    assert "secret" not in result.stdout + file.read_text()
    for users in passwords(*roles().values()).values():
        for password in users.values():
            assert password and password not in said


def in_database(seen: Observed, **databases: str) -> Observed:
    return with_server(seen, "crypto", info={**seen.servers["crypto"].info, **databases})


@pytest.mark.parametrize(("refused", "asked"), [(0, False), (10**6, True)])
def test_whose_wrong_passwords_they_were_is_asked_by_drift_only_where_so_many_were_refused(
    secrets_file: Path, refused: int, asked: bool
) -> None:
    site = saying(lambda seen: in_database(seen, errorstat_WRONGPASS=f"count={refused}"))
    result = run(production(crypto=site), secrets_file=secrets_file, command="tasks/drift.py")
    told = [event.host for event in result.events if event.kind == "exchange" and "ACL LOG" in event.text]
    assert told == (["redis-crypto"] if asked else [])
    assert ("PASSWORDS-REFUSED" in result.output) == asked
    assert "Traceback" not in result.output


def test_a_role_s_biggest_keys_are_named_when_it_is_asked_for_alone_and_steer_no_terminal(
    secrets_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "status.json"
    site = saying(lambda seen: in_database(seen, db0="keys=1,expires=0", db7="keys=1,expires=0"))
    asked = ("--data", f"status_report={file}", "--data", "role=crypto")
    result = status(site, secrets_file, *asked)
    assert "big keys (all):" in result.stdout
    assert re.search(r"123M +db0 +session:.+:4711", result.stdout)
    assert re.search(r"123M +db7 ", result.stdout)
    assert "\x1b[2J" not in result.output + file.read_text()
    found = crypto(result, file)["roles"]["crypto"]["big_keys"]
    assert (found["keys"], found["seen"], found["whole"], found["untold"]) == (2, 2, True, "")
    sent = [event.text for event in result.events if event.host == "redis-crypto" and event.kind == "exchange"]
    assert [text for text in sent if "SCAN" in text] == ["crypto: SCAN 0 COUNT 400"] * 2
    others = [event for event in result.events if event.host != "redis-crypto" and "SCAN" in event.text]
    assert others == []


def test_nobody_s_keys_are_looked_at_unless_a_role_is_asked_for(secrets_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    site = saying(lambda seen: in_database(seen, db0="keys=1,expires=0"))
    result = status(site, secrets_file, "--data", f"status_report={file}")
    assert [event for event in result.events if "SCAN" in event.text] == []
    assert "big keys" not in result.stdout
    assert crypto(result, file)["roles"]["crypto"]["big_keys"] is None


REFUSED = {
    "busy": Cause.BUSY,
    "loading": Cause.LOADING,
    "no room": Cause.MAXCLIENTS,
    "silent": Cause.SILENT,
}
SAID = {
    Cause.BUSY: "BUSY Redis is busy running a script.",
    Cause.LOADING: "LOADING Redis is loading the dataset in memory",
    Cause.MAXCLIENTS: "ERR max number of clients reached",
    Cause.SILENT: "silent",
}


@pytest.mark.parametrize("word", ["busy", "loading", "no room"])
def test_of_a_server_that_tells_nothing_its_host_tells_how_many_are_connected(
    secrets_file: Path, tmp_path: Path, word: str
) -> None:
    cause, file = REFUSED[word], tmp_path / "status.json"

    def refusing(seen: Observed) -> Observed:
        return with_server(seen, "crypto", refusal=Refusal(cause, SAID[cause]))

    result = status(saying(refusing, connections=CONNECTED), secrets_file, "--data", f"status_report={file}")
    found = crypto(result, file)
    row = found["roles"]["crypto"]
    assert result.exit_code != 0
    assert (row["state"], row["clients"], row["by_address"]) == (word, 7, {"172.28.2.1": 7})
    level = "unknown" if word == "loading" else "critical"  # which ends by itself; alerts say so after a while
    assert [item["level"] for item in found["findings"]] == [level]
    assert result.stdout.startswith(f"{level} crypto: ")


def test_a_server_that_does_not_run_is_the_first_thing_said(secrets_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    site = saying(lambda seen: stopped(seen, "crypto"))
    result = status(site, secrets_file, "--data", f"status_report={file}")
    assert result.exit_code != 0
    assert result.stdout.startswith("critical crypto: down")
    assert "docs/runbook.md#an-instance-will-not-start" in result.stdout
    assert crypto(result, file)["roles"]["crypto"]["state"] == "down"


def test_a_dead_host_hides_no_other(secrets_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    result = status(Site([as_desired], reachable=False), secrets_file, "--data", f"status_report={file}")
    assert result.exit_code != 0
    assert "critical redis-crypto: unreachable" in result.stdout
    assert "; its roles: crypto " in " ".join(result.stdout.split())
    assert re.search(r"^crypto +unknown +–", result.stdout, re.MULTILINE)
    assert "5 roles on 5 hosts" in result.stdout
    assert crypto(result, file)["status"] == "unreachable"
    assert len([line for line in result.stdout.splitlines() if line.split()[1:2] == ["up"]]) == 4


def test_drift_is_counted_and_who_names_it_is_said(secrets_file: Path) -> None:
    result = status(saying(lambda seen: with_setting(seen, "crypto", "timeout", "9")), secrets_file)
    assert result.exit_code != 0
    assert "warning redis-crypto: 1 difference: tasks/drift.py names them" in result.stdout


def test_an_operator_without_the_rights_of_today_is_told_what_it_does_not_see(secrets_file: Path) -> None:
    def older(host: Host) -> Observed:
        return as_desired(host)

    site = Site([older], fails="this moment")
    result = status(site, secrets_file)
    assert "redis-crypto: this moment: look-now.sh" in result.stdout


def test_the_history_says_who_changed_what_and_what_came_of_it(secrets_file: Path) -> None:
    site = saying(lambda seen: seen, deploys=f"{BEGUN}\nno json\n{ENDED}\n")
    result = status(site, secrets_file, "--data", "history=true")
    assert "2026-11-27 10:00:00 UTC done: anna@desk, commit abc" in result.stdout
    assert "restarted crypto 3 s" in result.stdout


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("role=crpyto", "role: expected one of compliance, crypto, gateway"),
        ("watch=0", "watch: expected seconds from 1 to 3600, observed"),
        ("patience=0", "patience: expected seconds from 1 to 3600, observed"),
        ("history=yes", "history: expected true, observed 'yes'"),
    ],
)
def test_what_nothing_can_be_shown_of_is_refused(secrets_file: Path, word: str, said: str) -> None:
    result = status(None, secrets_file, "--data", word)
    assert result.exit_code != 0
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_host_may_say_anything_and_steers_no_terminal(secrets_file: Path) -> None:
    site = saying(lambda seen: seen, deploys='{"deploy": "1", "begun": "\\u001b[2J", "who": 5}\n', time="never\n")
    result = status(site, secrets_file)
    assert result.exit_code != 0
    assert "\x1b[2J" not in result.output
    assert "this moment" in result.output
    odd = replace(site, commands={"this moment": site.commands["this moment"].replace("never", "1764000000")})
    again = status(odd, secrets_file, "--data", "history=true")
    assert again.exit_code == 0, again.output
    assert "\x1b[2J" not in again.output

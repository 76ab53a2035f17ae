"""Runs that rotate passwords: what they do in which order, what they only plan, and what they show."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tasks.desired.host import Host
from tasks.desired.paths import rotation_file
from tasks.observed.state import Client, FileState, FileUser, Observed
from tests.plan.harness import Result, Site, State, run
from tests.plan.hosts import production
from tests.unit.builders import as_desired, password, roles, secrets_of, sha256, with_file, with_server, with_user

USERS = ("crypto-service", "operator")
PATH, RECORD = "/etc/redis/crypto.acl", rotation_file("crypto")
SAVE, TRY = "Save rotated passwords on the controller", "Try the new configuration"
RECORDS = "record-rotation /var/lib/caas-redis /var/lib/caas-redis/crypto.rotation"
LIVE, WRITE = "Change settings and users live", "Write the instances' files"
BEGIN, REMEMBER = "Record whose passwords are about to change", "Record since when users have several passwords"


def having(*names: str, since: str = "", clients: tuple[Client, ...] = ()) -> State:
    """The host of crypto whose users have these passwords, in the server and in the file."""

    def state(host: Host) -> Observed:
        seen, own = as_desired(host), [f"{name}{{}}" for name in names]
        hashes = {user: [sha256(_password(text, user)) for text in own] for user in USERS}
        for user in USERS:
            seen = with_user(seen, "crypto", user, passwords=hashes[user])
        file = tuple(FileUser(user, tuple(text[:4] for text in hashes[user])) for user in USERS)
        seen = replace(with_file(seen, PATH, content=sha256("before")), acl_users={PATH: file})
        seen = with_server(seen, "crypto", clients=clients)
        if since:
            state = FileState("file", "root", "root", "0600", "".join(f"{user} {since}\n" for user in USERS))
            seen = replace(seen, files={**seen.files, RECORD: state})
        return seen

    return state


def _password(text: str, user: str) -> str:
    known = password("crypto", user)
    return known if text.startswith("old") else f"new-{known}"


def recorded(host: Host) -> Observed:
    text = "".join(f"{user} 1790000000\n" for user in USERS)
    seen = as_desired(host)
    return replace(seen, files={**seen.files, RECORD: FileState("file", "root", "root", "0600", text)})


TAKES = {f"{RECORDS} .*": "", f"write {PATH} root:redis-crypto 0640": ""}


def asked(secrets_file: Path, *arguments: str, states: tuple[State, ...]) -> Result:
    sites = production(crypto=Site([*states], TAKES))
    return run(sites, *arguments, secrets_file=secrets_file)


def twice(path: Path) -> None:
    """The file has a new password before the old one of crypto's users."""
    known = yaml.safe_load(path.read_text())
    known["crypto"] = {user: [f"new-{own}", own] for user, own in known["crypto"].items()}
    path.write_text(yaml.safe_dump(known))


def listed(path: Path) -> dict[str, str | list[str]]:
    found: dict[str, str | list[str]] = yaml.safe_load(path.read_text())["crypto"]
    return found


def test_the_file_is_written_first_then_the_server_then_its_file_then_since_when(secrets_file: Path) -> None:
    result = asked(secrets_file, "-y", "--data", "rotate=crypto", states=(having("old"), recorded))
    assert result.exit_code == 0, result.output
    assert result.names() == ["Hold the host", BEGIN, SAVE, TRY, LIVE, WRITE, REMEMBER, "Prove the tier"]
    assert result.commands("redis-crypto") == [
        f"{RECORDS}   crypto-service operator",
        f"write {PATH} root:redis-crypto 0640",
        f"{RECORDS}  crypto-service operator ",
    ]
    assert {user: own[1] for user, own in listed(secrets_file).items()} == {
        user: password("crypto", user) for user in USERS
    }
    words = [event.text.split() for event in result.events if "SETUSER" in event.text]
    assert [(line[3], sum(word[0] == "#" for word in line)) for line in words] == [(user, 2) for user in USERS]
    made = [own[0] for own in listed(secrets_file).values()]
    hidden = [*secrets_of(*roles().values()), *made, *map(sha256, made)]
    assert [secret for secret in hidden if secret in result.output] == []


@pytest.mark.parametrize("options", [("-vvv",), ("--debug", "--diff"), ("--json",), ("--debug-operations",)])
def test_no_option_shows_a_password_or_a_hash(secrets_file: Path, options: tuple[str, ...]) -> None:
    result = asked(secrets_file, "-y", *options, "--data", "rotate=crypto", states=(having("old"), recorded))
    made = [own[0] for own in listed(secrets_file).values() if isinstance(own, list)]
    hidden = [*secrets_of(*roles().values()), *made, *map(sha256, made)]
    assert result.output
    assert [secret for secret in hidden if secret in result.output] == []


def test_a_dry_run_lists_what_the_run_does_and_makes_up_nothing(secrets_file: Path) -> None:
    before = secrets_file.read_bytes()
    dry = asked(secrets_file, "--dry", "--data", "rotate=crypto", states=(having("old"),))
    assert dry.exit_code == 0, dry.output
    assert secrets_file.read_bytes() == before
    assert not list(secrets_file.parent.glob("*.before"))
    done = asked(secrets_file, "-y", "--data", "rotate=crypto", states=(having("old"), recorded))
    plans = [[line for line in result.plan if "crypto: " in line] for result in (dry, done)]
    assert plans[0] == plans[1]
    assert any("acl crypto-service: lacks a password" in line for line in plans[0])
    assert dry.names() == done.names()


def test_a_finish_is_refused_with_nothing_changed_while_somebody_is_there_from_before(secrets_file: Path) -> None:
    twice(secrets_file)
    before = secrets_file.read_bytes()
    there = (Client("crypto-service", "172.28.2.99:4711", 4000), Client("operator", "172.28.2.98:1", 5))
    state = having("new", "old", since="1790000000", clients=there)
    result = asked(secrets_file, "-y", "--data", "rotate_finish=crypto:crypto-service", states=(state,))
    assert result.exit_code != 0
    assert "172.28.2.99:4711 (for 4000 s)" in result.output
    assert "172.28.2.98" not in result.output
    assert (result.names(), secrets_file.read_bytes()) == ([], before)


def test_a_role_whose_host_takes_no_part_is_not_rotated(secrets_file: Path) -> None:
    before = secrets_file.read_bytes()
    result = asked(secrets_file, "-y", "--limit", "redis-gateway", "--data", "rotate=crypto", states=(having("old"),))
    assert result.exit_code != 0
    assert "redis-crypto: rotate=crypto: this run leaves the host out" in result.output
    assert secrets_file.read_bytes() == before


def test_a_user_that_no_role_has_is_named(secrets_file: Path) -> None:
    result = asked(secrets_file, "-y", "--data", "rotate=crypto:gateway", states=(having("old"),))
    assert result.exit_code != 0
    assert "rotate=crypto:gateway: crypto has no such user, expected one of crypto-service, operator" in result.output
    assert result.events == []


def test_beside_a_command_what_is_to_be_pasted_is_listed_and_nothing_done(secrets_file: Path) -> None:
    words = json.dumps(["cat", str(secrets_file)])
    data = ("--data", f"redis_secrets_command={words}", "--data", "rotate=crypto")
    for option, refused in (("-y", True), ("--dry", False)):
        result = run(production(crypto=Site([having("old")], TAKES)), option, *data, secrets_file=None)
        assert (result.exit_code != 0) == refused
        assert "crypto: {crypto-service: [NEW PASSWORD, PRESENT PASSWORD], operator: [NEW" in result.output
        assert [secret for secret in secrets_of(*roles().values()) if secret in result.output] == []


def test_drift_says_who_has_two_passwords_and_since_when(secrets_file: Path, tmp_path: Path) -> None:
    twice(secrets_file)
    report = tmp_path / "drift.json"
    sites = production(crypto=Site([recorded]))
    result = run(sites, "--data", f"drift_report={report}", secrets_file=secrets_file, command="tasks/drift.py")
    assert result.exit_code == 0, result.output
    host = json.loads(report.read_text())["hosts"]["redis-crypto"]
    assert host["status"] == "in_sync"
    assert "crypto: crypto-service, operator have each 2 passwords, since 2026-09-21" in host["message"]


def test_a_finish_of_what_a_server_has_not_got_yet_says_so_and_changes_nothing(secrets_file: Path) -> None:
    twice(secrets_file)
    before = secrets_file.read_bytes()
    result = asked(secrets_file, "-y", "--data", "rotate_finish=crypto", states=(having("old"),))
    assert result.exit_code != 0
    for user in USERS:
        assert f"crypto: {user}: {PATH} lacks its newest password, expected it: deploy once without" in result.output
    assert secrets_file.read_bytes() == before
    passwords = [event.password for event in result.events if event.text == "crypto: AUTH operator ***"]
    assert passwords[0] == password("crypto", "operator")


def test_a_finish_writes_the_file_then_the_server_and_forgets_since_when(secrets_file: Path) -> None:
    twice(secrets_file)
    there = (Client("operator", "172.28.2.98:1", 5),)
    state = having("new", "old", since="1790000000", clients=there)
    result = asked(
        secrets_file,
        *("-y", "--data", "rotate_finish=crypto", "--data", "rotate_anyway=true"),
        states=(state, as_desired),
    )
    assert result.exit_code == 0, result.output
    assert result.names() == ["Hold the host", SAVE, TRY, LIVE, WRITE, REMEMBER, "Prove the tier"]
    assert result.commands("redis-crypto") == [f"write {PATH} root:redis-crypto 0640", f"{RECORDS}   "]
    assert listed(secrets_file) == {user: f"new-{password('crypto', user)}" for user in USERS}
    assert "Redis does not say which password one used" in result.output


def test_an_undo_that_only_changes_who_is_handed_out_records_that_it_begins_before_and_since_when_after(
    secrets_file: Path,
) -> None:
    twice(secrets_file)
    kept = secrets_file.with_name("prod.yaml.before")
    moment = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    steps = {"STEPS": {"crypto": dict.fromkeys(USERS, moment)}}
    kept.write_text(yaml.safe_dump({"crypto": {user: password("crypto", user) for user in USERS}, **steps}))
    kept.chmod(0o600)
    result = asked(secrets_file, "-y", "--data", "rotate_undo=crypto", states=(recorded,))
    assert result.exit_code == 0, result.output
    assert result.names() == ["Hold the host", BEGIN, SAVE, REMEMBER, "Prove the tier"]
    assert result.commands("redis-crypto") == [
        f"{RECORDS}   crypto-service operator",
        f"{RECORDS}  crypto-service operator ",
    ]
    assert listed(secrets_file) == {
        user: [password("crypto", user), f"new-{password('crypto', user)}"] for user in USERS
    }
    assert "nothing to change on 5 hosts" in result.output
    assert f"what was there before the last step, of {moment}, is put first again" in " ".join(result.output.split())


def test_what_is_kept_of_a_rotation_is_as_private_as_the_secrets_file_in_every_deploy(secrets_file: Path) -> None:
    kept = secrets_file.with_name("prod.yaml.before")
    kept.write_text(yaml.safe_dump({"crypto": {user: password("crypto", user) for user in USERS}}))
    kept.chmod(0o644)
    for command in ("deploy.py", "tasks/drift.py"):
        result = run(production(), "-y", secrets_file=secrets_file, command=command)
        assert result.exit_code != 0
        assert f"{kept}: mode is 0644, expected 0600: run chmod 600 {kept}" in " ".join(result.output.split())
        assert result.events == []

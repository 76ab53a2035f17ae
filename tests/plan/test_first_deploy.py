"""The first deploy of bare production hosts: which operations, in which order, with which commands."""

import re
from pathlib import Path

import pytest
import yaml

from tasks.observed.script import PREAMBLE
from tests.plan.harness import Event, Result, Site, json_of, run, short
from tests.plan.hosts import PROD, bare_takes, changing, first_deploy, production
from tests.unit.builders import FIVE, as_desired, fresh, roles, secrets_of, sha256

OPERATIONS = [
    "Hold the host",
    "Save generated passwords on the controller",
    "Mask the packaged Redis service",
    "Write the package rules",
    "Wait for apt",
    "Refresh the lists of packages",
    "Install Redis",
    "Write who the roles' users are",
    "Make the roles' users",
    "Keep the modes of Redis' directories over upgrades",
    "Write the kernel's settings",
    "Apply the kernel's settings",
    "Try the new configuration",
    "Give the directory of all data to root",
    "Write the instances' files",
    "Load and enable the units",
    "Lead the inner ports",
    "Start instances",
    "Record what has run here",
    "Prove the tier",
]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A secrets file that does not exist before the deploy."""
    return tmp_path_factory.mktemp("first") / "secrets.yaml"


@pytest.fixture(scope="module")
def result(secrets: Path) -> Result:
    """The run of `pyinfra -y inventory/prod.py deploy.py` on five bare hosts."""
    sites = {host: Site([fresh, as_desired], bare_takes(role)) for host, role in PROD.items()}
    return run(sites, "-y", secrets_file=secrets)


def passwords(secrets: Path) -> list[str]:
    """Every password in the file."""
    return [password for users in yaml.safe_load(secrets.read_text()).values() for password in users.values()]


def position(events: list[Event], host: str, word: str) -> int:
    """Where the first command with `word` stands among what happened to a host."""
    found = [number for number, event in enumerate(events) if event.host == host and word in event.text]
    assert found, f"{word} never happened on {host}"
    return found[0]


def test_it_succeeds(result: Result) -> None:
    assert result.exit_code == 0, result.output


def test_the_operations_are_these_in_this_order(result: Result) -> None:
    assert result.names() == OPERATIONS


def test_every_operation_is_one_for_all_hosts_that_need_it(result: Result) -> None:
    led = tuple(sorted(host for host in PROD if host != "redis-gateway"))
    by_name = {operation.name: operation.hosts for operation in result.operations}
    assert by_name.pop("Lead the inner ports") == led
    assert set(by_name.values()) == {tuple(sorted(PROD))}


@pytest.mark.parametrize("role", FIVE)
def test_the_commands_on_a_host_are_these_in_this_order(result: Result, role: str) -> None:
    assert changing(result.commands(f"redis-{role}")) == first_deploy(role)


@pytest.mark.parametrize("host", PROD)
def test_the_packaged_service_is_masked_before_apt_installs(result: Result, host: str) -> None:
    assert position(result.events, host, "systemctl mask") < position(result.events, host, " install --no-install")


@pytest.mark.parametrize("host", PROD)
def test_all_files_are_there_before_systemd_reads_them_and_starts_anything(result: Result, host: str) -> None:
    texts = [short(event.text) for event in result.events if event.host == host]
    writes = {number: text for number, text in enumerate(texts) if text.startswith("write /etc/")}
    units = max(number for number, text in writes.items() if text.startswith("write /etc/systemd/"))
    reload = texts.index("systemctl daemon-reload")
    start = next(number for number, text in enumerate(texts) if "systemctl start " in text)
    assert units < reload < start
    assert max(writes) < start


@pytest.mark.parametrize("host", PROD)
def test_systemd_knows_the_user_of_a_role_before_files_are_that_user_s(result: Result, host: str) -> None:
    texts = [short(event.text) for event in result.events if event.host == host]
    files = [number for number, text in enumerate(texts) if re.match(r"write /etc/redis/[a-z]+\.(conf|acl) ", text)]
    assert texts.index("systemctl daemon-reload") < min(files)


def test_no_host_starts_an_instance_before_every_host_has_its_files(result: Result) -> None:
    texts = [short(event.text) for event in result.events]
    last_write = max(number for number, text in enumerate(texts) if text.startswith("write /etc/"))
    first_start = min(number for number, text in enumerate(texts) if "systemctl start " in text)
    assert last_write < first_start


def test_every_user_got_a_password_that_only_the_owner_can_read(result: Result, secrets: Path) -> None:
    assert result.exit_code == 0
    assert secrets.stat().st_mode & 0o777 == 0o600
    known = yaml.safe_load(secrets.read_text())
    assert {role: len(users) for role, users in known.items()} == {
        "gateway": 3,
        "socket": 3,
        "shared": 7,
        "compliance": 2,
        "crypto": 2,
    }
    assert len(set(passwords(secrets))) == 17


@pytest.mark.parametrize("role", FIVE)
def test_a_host_got_the_hashes_of_exactly_the_saved_passwords(result: Result, secrets: Path, role: str) -> None:
    known = yaml.safe_load(secrets.read_text())[role]
    (written,) = [
        event.stdin for event in result.events if short(event.text).startswith(f"write /etc/redis/{role}.acl ")
    ]
    users = {line.split()[1]: line.split()[3] for line in written.splitlines()[1:]}
    assert written.splitlines()[0] == "user default off ~* &* +@all"
    assert users == {user: f"#{sha256(password)}" for user, password in known.items()}


def test_no_password_and_no_hash_is_in_a_command_a_label_or_the_output(result: Result, secrets: Path) -> None:
    shown = [result.output, *(event.text for event in result.events if event.kind == "command")]
    shown += [label for operation in result.operations for label in (operation.name, *operation.labels)]
    hidden = [text for password in passwords(secrets) for text in (password, sha256(password))]
    assert [secret for secret in hidden if any(secret in text for text in shown)] == []


def test_a_password_reaches_a_server_only_inside_the_connection(result: Result, secrets: Path) -> None:
    texts = [event.text + event.stdin for event in result.events if event.kind != "exchange"]
    assert not [password for password in passwords(secrets) if any(password in text for text in texts)]


@pytest.mark.parametrize("host", PROD)
def test_every_host_is_looked_at_once_before_and_once_after(result: Result, host: str) -> None:
    assert result.looks(host) == 2


def test_passwords_that_cannot_be_saved_stop_the_deploy_before_anything_is_changed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sites = {host: Site([fresh, as_desired], bare_takes(role)) for host, role in PROD.items()}
    failed = run(sites, "-y", secrets_file=tmp_path / "file" / "prod.yaml")
    assert failed.exit_code != 0
    assert "prod.yaml: cannot be written: " in failed.output
    assert [failed.commands(host) for host in PROD] == [[]] * 5


def test_a_dry_run_lists_the_same_operations_and_does_none_of_them(tmp_path: Path) -> None:
    sites = {host: Site([fresh], bare_takes(role)) for host, role in PROD.items()}
    dry = run(sites, "--dry", secrets_file=tmp_path / "prod.yaml")
    assert dry.exit_code == 0, dry.output
    assert dry.names() == OPERATIONS
    assert [changing(dry.commands(host)) for host in PROD] == [[]] * 5
    assert list(tmp_path.iterdir()) == []
    lacking = sum(len(roles()[role].services) + 1 for role in FIVE)
    assert f"note: {tmp_path}/prod.yaml lacks {lacking} passwords: a deploy makes up what is lacking" in dry.output


def test_the_dry_run_as_json_shows_no_password_and_no_hash(secrets_file: Path) -> None:
    sites = {host: Site([fresh], bare_takes(role)) for host, role in PROD.items()}
    dry = run(sites, "--dry", "--json", secrets_file=secrets_file)
    assert [item["name"] for item in json_of(dry)["plan"]] == [
        name for name in OPERATIONS if not name.startswith("Save")
    ]
    hidden = secrets_of(*roles().values())
    assert [secret for secret in hidden if secret in dry.output] == []


@pytest.mark.parametrize("option", ["-vvv", "--debug", "--diff", "--debug-operations"])
def test_no_option_of_pyinfra_makes_a_password_or_hash_appear(secrets_file: Path, option: str) -> None:
    sites = {host: Site([fresh, as_desired], bare_takes(role)) for host, role in PROD.items()}
    loud = run(sites, "-y", option, secrets_file=secrets_file)
    assert [secret for secret in secrets_of(*roles().values()) if secret in loud.output] == []


def test_a_command_that_fails_on_one_host_leaves_it_unstarted_and_the_run_failed(secrets_file: Path) -> None:
    sites = {host: Site([fresh, as_desired], bare_takes(role)) for host, role in PROD.items()}
    sites["redis-crypto"] = Site([fresh], bare_takes("crypto"), fails=r"install --no-install-recommends")
    failed = run(sites, "-y", secrets_file=secrets_file)
    assert failed.exit_code != 0
    assert changing(failed.commands("redis-crypto")) == first_deploy("crypto")[:8]
    assert changing(failed.commands("redis-socket")) == first_deploy("socket")


def test_an_instance_that_does_not_start_is_reported_with_its_journal(secrets_file: Path) -> None:
    sites = {host: Site([fresh, as_desired], bare_takes(role)) for host, role in PROD.items()}
    journal = {r"journalctl --no-pager -n 15 -o cat -u redis-crypto.service": "Bad directive"}
    sites["redis-crypto"] = Site(
        [fresh], {**bare_takes("crypto"), **journal, "put-back .*": ""}, fails="systemctl (start|is-active)"
    )
    failed = run(sites, "-y", secrets_file=secrets_file)
    assert failed.exit_code != 0
    assert "crypto: did not come up, its unit is it failed, expected active" in failed.output
    assert "there is no previous configuration to go back to" in failed.output
    assert "Bad directive" in failed.output


def test_every_command_says_itself_with_which_umask_path_language_and_where_it_runs(secrets_file: Path) -> None:
    bare = production(crypto=Site([fresh, as_desired], bare_takes("crypto")))
    result = run(bare, "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    others = [event.text for event in result.events if event.kind in ("command", "hold") and PREAMBLE not in event.text]
    # apt's own, whose PATH is DPkg::Path; its files have modes of their own (tests/hosts/test_strange_logins.py).
    assert [text for text in others if not re.search("apt-get|apt/periodic|^if command -v dpkg", text)] == []

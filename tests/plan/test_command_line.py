"""How a run ends that is not carried out, or not as it was meant: never with success, and in one sentence."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pyinfra.api.exceptions import ConnectError, PyinfraError

from tasks.run.entry import connect
from tests.plan.harness import Result, ScriptedConnector, Site, run
from tests.plan.hosts import PROD, bare_takes, changing, production
from tests.tree import REPOSITORY, tree
from tests.unit.builders import as_desired, fresh, with_setting


def bare() -> dict[str, Site]:
    """The production hosts, one of which has nothing yet."""
    return production(crypto=Site([fresh, as_desired], bare_takes("crypto")))


def assert_nothing_done(result: Result) -> None:
    """It failed in words, and no host was changed."""
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert [command for host in PROD for command in changing(result.commands(host))] == []


@pytest.mark.parametrize("types", ["n\n", "no\n", "y\n", "\x04"], ids=["n", "no", "y", "end of file"])
def test_a_plan_that_is_turned_down_is_no_success(secrets_file: Path, types: str) -> None:
    result = run(bare(), secrets_file=secrets_file, types=types)
    assert "Nothing was changed: the plan was not confirmed" in result.output
    assert_nothing_done(result)


def test_a_plan_that_is_confirmed_is_carried_out(secrets_file: Path) -> None:
    result = run(bare(), secrets_file=secrets_file, types="\n")
    assert result.exit_code == 0, result.output
    assert result.commands("redis-crypto") != []


@pytest.mark.parametrize(
    "commands",
    [
        "deploy.py tasks/verify.py",
        "tasks/verify.py deploy.py",
        "tasks/drift.py tasks/verify.py",
        "deploy.py tasks/rehearse.py",
        "deploy.py deploy.py",
        "tasks/drift.py OTHER",
    ],
)
def test_two_commands_in_one_call_are_refused_before_any_connection(
    secrets_file: Path, tmp_path: Path, commands: str
) -> None:
    other = tmp_path / "other.py"
    other.touch()
    result = run(bare(), "-y", secrets_file=secrets_file, command=commands.replace("OTHER", str(other)))
    assert "1 more in the same call, of which nothing would be done: give each its own call" in result.output
    assert result.events == []
    assert_nothing_done(result)


COMMANDS = ["deploy.py", "tasks/verify.py", "tasks/drift.py", "tasks/rehearse.py", "tasks/endpoints.py"]


@pytest.mark.parametrize("command", COMMANDS)
def test_without_this_repository_s_config_nothing_is_done(secrets_file: Path, command: str) -> None:
    result = run(bare(), "-y", "--config", os.devnull, secrets_file=secrets_file, command=command)
    assert f"run pyinfra in {REPOSITORY} (cd there, or --chdir {REPOSITORY}), without --config" in result.output
    assert_nothing_done(result)


@pytest.mark.parametrize("command", COMMANDS)
def test_from_another_directory_nothing_is_done(secrets_file: Path, tmp_path: Path, command: str) -> None:
    there, inventory = str(tree() / command), str(tree() / "inventory" / "prod.py")
    result = run(bare(), "-y", secrets_file=secrets_file, inventory=inventory, command=there, directory=tmp_path)
    assert f"run pyinfra in {REPOSITORY} (cd there, or --chdir {REPOSITORY}), without --config" in result.output
    assert_nothing_done(result)


def test_from_another_directory_it_works_with_chdir(secrets_file: Path, tmp_path: Path) -> None:
    result = run(production(), "-y", "--chdir", str(tree()), secrets_file=secrets_file, directory=tmp_path)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", ""), ("latin-1", "??"), ("utf-8", "会話")])
@pytest.mark.parametrize("command", ["tasks/drift.py", "tasks/verify.py", "deploy.py"])
def test_what_the_terminal_cannot_say_is_replaced(secrets_file: Path, command: str, encoding: str, shown: str) -> None:
    odd = Site([lambda host: with_setting(as_desired(host), "gateway", "maxmemory-policy", "会話")])
    options = ("--dry",) if command == "deploy.py" else ("-y",)
    result = run(production(gateway=odd), *options, secrets_file=secrets_file, command=command, encoding=encoding)
    assert "Traceback" not in result.output
    assert shown in result.output


INTERRUPTED = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[-1]:
            os.kill(os.getpid(), signal.SIGINT)

import pyinfra_cli.main
sys.meta_path.insert(0, Interrupting())
module = sys.argv.pop()
sys.argv.append(module)
real, sys.argv = sys.argv, ["pyinfra", "-y", "inventory/prod.py", "tasks/endpoints.py"]
Interrupting.find_spec = lambda self, name, path=None, target=None: (
    os.kill(os.getpid(), signal.SIGINT) if name == module else None
)
pyinfra_cli.main.main()
"""


@pytest.mark.parametrize("module", ["tasks.run.entry", "tasks.catalogue.roles", "tasks.observed.connection"])
def test_ctrl_c_while_the_tool_is_still_being_read_is_no_success(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, module], cwd=tree(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode not in (0, -signal.SIGINT), done.stderr
    assert "Interrupted: not everything was done" in done.stderr
    assert "Traceback" not in done.stderr


# --- The end of a run


def ends(result: Result) -> str:
    """The last line that is about the run."""
    return [line for line in result.plan if line != "--> Disconnecting from hosts..."][-1]


@pytest.mark.parametrize("arguments", [("-y",), ("-y", "--json")], ids=["text", "json"])
def test_a_deploy_ends_in_words_and_json_stays_json(secrets_file: Path, arguments: tuple[str, ...]) -> None:
    result = run(production(), *arguments, secrets_file=secrets_file)
    said = [line for line in result.plan if line.startswith("--> Done: nothing changed, no restart, in ")]
    assert len(said) == 1
    assert said[0].endswith("; as they should be: 5 hosts.")
    if "--json" in arguments:
        assert json.loads(result.stdout)


def test_a_deploy_in_which_a_host_fails_ends_in_words_of_its_own(secrets_file: Path) -> None:
    wrong = Site([lambda host: with_setting(as_desired(host), "crypto", "timeout", "7")])
    result = run(production(crypto=wrong), "-y", secrets_file=secrets_file, unscripted_is_fine=True)
    assert result.exit_code == 1
    assert ends(result).startswith("--> Not done: redis-crypto failed, see above why (2 operations on redis-crypto, ")
    only = run(
        {"redis-crypto": wrong, **{name: site for name, site in production().items() if name != "redis-crypto"}},
        "-y",
        "--limit",
        "redis-crypto",
        secrets_file=secrets_file,
        unscripted_is_fine=True,
    )
    assert only.exit_code == 1
    assert ends(only).startswith("--> pyinfra error: Not done: redis-crypto failed, see above why (2 operations on ")
    for text in (result.output, only.output):
        assert "No hosts remaining" not in text
        assert "executed 0 commands" not in text


def test_a_run_that_reaches_nobody_says_so(secrets_file: Path) -> None:
    nobody = {name: Site([as_desired], reachable=False) for name in production()}
    result = run(nobody, "-y", secrets_file=secrets_file)
    assert result.exit_code == 1
    assert ends(result) == "--> pyinfra error: Nothing was done: no host could be reached, see above why: mend that"


def test_a_dry_run_ends_in_saying_that_it_changed_nothing(secrets_file: Path) -> None:
    result = run(production(), "--dry", secrets_file=secrets_file)
    assert ends(result) == "--> Only planned: nothing was changed."


def test_a_limit_that_names_no_host_is_refused_with_the_hosts_there_are(secrets_file: Path) -> None:
    result = run(production(), "-y", "--limit", "redis-cripto", secrets_file=secrets_file)
    assert result.exit_code == 1
    assert ends(result).endswith(
        "correct them (its hosts: redis-compliance, redis-crypto, redis-gateway, redis-shared, redis-socket)"
    )


INVENTORIES = {
    "no_such_file.py": (None, "no_such_file.py: no such inventory in "),
    "open.py": ("redis_crypto = [(\n", "open.py, line 1: not readable as Python: SyntaxError: '(' was never closed"),
    "name.py": ("a = 1\nredis_crypto = hosts\n", "name.py, line 2: not readable as Python: NameError: name 'hosts'"),
}


@pytest.mark.parametrize("name", INVENTORIES)
def test_an_inventory_that_cannot_be_used_is_refused_in_one_sentence(
    secrets_file: Path, tmp_path: Path, name: str
) -> None:
    text, words = INVENTORIES[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    result = run({}, "-y", secrets_file=secrets_file, inventory=str(tmp_path / name))
    assert result.exit_code == 1
    assert words in ends(result), result.output
    assert "Traceback" not in result.output


def test_a_connection_that_fails_in_a_way_of_its_own_is_its_host_s_and_hides_no_other(
    secrets_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = ScriptedConnector.connect

    def connect(self: ScriptedConnector) -> None:
        if self.host.name == "redis-crypto":
            raise PyinfraError("No such private key file: /x")
        usual(self)

    monkeypatch.setattr(ScriptedConnector, "connect", connect)
    report = tmp_path / "drift.json"
    options = ("-y", "--data", f"drift_report={report}")
    result = run(production(), *options, secrets_file=secrets_file, command="tasks/drift.py")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    hosts = json.loads(report.read_text())["hosts"]
    assert {name: host["status"] for name, host in hosts.items() if name != "redis-crypto"} == {
        name: "in_sync" for name in PROD if name != "redis-crypto"
    }
    assert hosts["redis-crypto"]["message"].splitlines()[0] == "not reachable over SSH: No such private key file: /x"


@pytest.mark.parametrize(
    ("said", "way"),
    [
        ("SSH host key error (Host key for 172.28.2.5 does not match.)", "(docs/runbook.md, SSH host key changed)"),
        ("SSH error (No existing session)", "run its ProxyCommand, or ssh to its ProxyJump, by hand"),
    ],
)
def test_a_connection_that_is_not_made_is_told_with_the_way_out(said: str, way: str) -> None:
    def connector() -> None:
        raise ConnectError(said)

    with pytest.raises(ConnectError, match=re.escape(said)) as raised:
        connect(connector)
    assert str(raised.value).endswith(way)


def test_a_user_without_a_directory_for_keys_gets_one(
    secrets_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(production(), "-y", secrets_file=secrets_file, command="tasks/verify.py").exit_code == 0
    assert stat.S_IMODE((tmp_path / ".ssh").stat().st_mode) == 0o700


def test_a_user_who_can_have_none_is_told_in_one_sentence(
    secrets_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    result = run(production(), "-y", secrets_file=secrets_file)
    assert result.exit_code == 1
    assert f"{tmp_path}/file/.ssh: cannot be made: Not a directory: make it, or set HOME" in ends(result)

"""How a run ends that is not carried out, or not as it was meant: never with success, and in one sentence."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plan.harness import Result, Site, run
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

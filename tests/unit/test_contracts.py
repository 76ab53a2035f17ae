"""What each folder may import (pyproject.toml, [tool.importlinter]): every contract breaks when it should."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tree import REPOSITORY

LINT = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]


def broken(tree: Path) -> list[str]:
    """The contracts that a tree breaks, by name."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(LINT, cwd=tree, capture_output=True, text=True, env=environment, check=False)
    verdicts = [line.partition(" BROKEN") for line in done.stdout.splitlines()]
    names = [name for name, word, _ in verdicts if word]
    assert bool(names) == bool(done.returncode), done.stdout + done.stderr
    return names


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of all that is linted."""
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    shutil.copytree(REPOSITORY / "tasks", tmp_path / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_tree_as_it_is_breaks_no_contract(tree: Path) -> None:
    assert broken(tree) == []


CIRCLES = "No module needs itself by a detour"
STAGES = "Imports run one way, stage by stage"
PURE = "What decides knows no host"
CONNECTION = "The connection has one door"
COMMAND_LINE = "Only a run knows pyinfra's command line"


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("catalogue/values.py", "import tasks.desired.host", STAGES),
        ("desired/paths.py", "import tasks.observed.state", STAGES),
        ("observed/state.py", "import tasks.compare.difference", STAGES),
        ("compare/difference.py", "import tasks.reports.words", STAGES),
        ("reports/words.py", "import tasks.run.ending", STAGES),
        ("run/ending.py", "import tasks.steps.operations", STAGES),
        ("steps/operations.py", "import tasks.prove.behaviour", STAGES),
        ("prove/behaviour.py", "import tasks.drills.place", STAGES),
        ("steps/kernel.py", "import tasks.verify", STAGES),
        ("desired/paths.py", "def f():\n    import tasks.steps.gate", STAGES),
        ("desired/rendering.py", "import tasks.desired.build", CIRCLES),
        ("catalogue/values.py", "import pyinfra", PURE),
        ("catalogue/likeness.py", "import tasks.run.like", STAGES),
        ("catalogue/likeness.py", "from pyinfra_cli.inventory import make_inventory_from_files", PURE),
        ("drills/rehearsal.py", "from pyinfra_cli.inventory import make_inventory_from_files", COMMAND_LINE),
        ("desired/paths.py", "from pyinfra.api import StringCommand", PURE),
        ("compare/server.py", "import tasks.observed.connection", PURE),
        ("reports/files.py", "from gevent import sleep", PURE),
        ("compare/server.py", "import paramiko", PURE),
        ("observed/exchange.py", "from paramiko import SSHException", CONNECTION),
        ("steps/gate.py", "import gevent.event", CONNECTION),
        ("run/survey.py", "import asyncssh", CONNECTION),
        ("steps/gate.py", "import click", COMMAND_LINE),
        ("observed/look.py", "from pyinfra_cli.exceptions import CliError", COMMAND_LINE),
        ("verify.py", "import click", COMMAND_LINE),
    ],
)
def test_an_import_against_the_order_is_found(tree: Path, file: str, line: str, contract: str) -> None:
    module = tree / "tasks" / file
    module.write_text(f"{module.read_text()}\n\n{line}\n")
    assert contract in broken(tree)


def test_a_folder_that_has_no_place_in_the_order_is_found(tree: Path) -> None:
    (tree / "tasks" / "helpers").mkdir()
    (tree / "tasks" / "helpers" / "__init__.py").touch()
    assert broken(tree) == [STAGES]


TEXT = re.compile(r"\.(read_text|write_text|open|fdopen)\((?!.*encoding=)(?!.*O_RDONLY)(?!.*\"[rwax]b\")")


def test_every_file_is_read_and_written_as_utf_8_whatever_the_language_of_the_terminal() -> None:
    files = [REPOSITORY / "deploy.py", REPOSITORY / "config.py", *(REPOSITORY / "tasks").rglob("*.py")]
    lines = [(file, line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    assert [(file.name, line) for file, line in lines if TEXT.search(line)] == []

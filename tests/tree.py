"""The tree that tests run in: this repository's code with a catalogue and inventories that no operator changes.

Changing a limit or adding a role says nothing about the code: only tests/unit/catalogue/test_roles_file.py reads
production's catalogue. `pyinfra INVENTORY deploy.py` in the tree is the operator's command, word for word.
"""

from __future__ import annotations

import atexit
import os
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[1]
FIXTURES = Path(__file__).parent / "fixtures"
ROLES = Path("group_data") / "roles.yaml"
CODE = ("tasks", "templates", "tests", "config.py", "deploy.py")


@cache
def tree() -> Path:
    """The tree's directory: made once per test run, gone at its end."""
    directory = Path(mkdtemp(prefix="caas-tree-"))
    atexit.register(_remove, directory, os.getpid())
    shutil.copytree(FIXTURES, directory, dirs_exist_ok=True)
    (directory / ROLES).write_text(yaml.safe_dump(catalogue(), allow_unicode=True, sort_keys=False))
    for name in CODE:
        (directory / name).symlink_to(REPOSITORY / name)
    return directory


def catalogue() -> dict[str, dict[str, Any]]:
    """The tests' catalogue as plain data; a directive that it does not know yet is as production has it."""
    ours, production = (yaml.safe_load((top / ROLES).read_text()) for top in (FIXTURES, REPOSITORY))
    return {"defaults": {**production["defaults"], **ours["defaults"]}, "roles": ours["roles"]}


def copy_of_tree(directory: Path) -> Path:
    """The tree again but for its tests, at `directory`, where nothing is yet; a test may change everything in it.

    What is compiled is copied, too: it is of no use once its source is another (PEP 3147).
    """
    return Path(shutil.copytree(tree(), directory, ignore=shutil.ignore_patterns("tests")))


def has_our_code(directory: Path) -> bool:
    """Whether what a run imports and reads of a tree's code is the repository's, byte for byte."""
    return all(
        (directory / name).resolve() == REPOSITORY / name or _code(directory / name) == _code(REPOSITORY / name)
        for name in ("tasks", "templates")
    )


def _code(top: Path) -> dict[Path, bytes]:
    files = (path for path in top.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(top): path.read_bytes() for path in files}


def _remove(directory: Path, owner: int) -> None:
    """Forked children of a test leave it to the process that made it."""
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)

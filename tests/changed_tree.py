"""A copy of the repository, changed as a person would change it: what a change needs is what its function edits."""

from __future__ import annotations

import shutil
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
LEFT_OUT = (".git", ".venv", "build", "secrets", ".*_cache", ".hypothesis", "__pycache__", "*.log")


def copied(directory: Path) -> Path:
    """The repository's files at `directory`, which is new."""
    return Path(shutil.copytree(REPOSITORY, directory, ignore=shutil.ignore_patterns(*LEFT_OUT)))


def declare_directive(tree: Path, line: str, after: str, value: str) -> None:
    """A directive is declared by `line` behind that of the field `after`, and the roles' defaults have `value`."""
    _insert(tree / "tasks" / "catalogue" / "directives.py", f"    {after}: ", f"    {line}")
    _insert(tree / "group_data" / "roles.yaml", "defaults:", f"  {value}")


def _insert(path: Path, start: str, line: str) -> None:
    """`line` stands behind the one line that starts with `start`."""
    lines = path.read_text().splitlines()
    (at,) = [number for number, old in enumerate(lines) if old.startswith(start)]
    path.write_text("\n".join([*lines[: at + 1], line, *lines[at + 1 :], ""]))


def edit(tree: Path, name: str, old: str, new: str) -> None:
    """`new` stands in the place of `old`, which the file has once. What is a link in the tree becomes a file."""
    path = tree / name
    text = path.read_text()
    assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times, expected once"
    path.write_text(text.replace(old, new))

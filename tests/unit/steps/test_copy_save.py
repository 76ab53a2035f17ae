"""The last save of an old server, in the place of what a cut-off adoption left there: nothing of that is deleted."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.scripts import path_of


class Directory:
    """A role's directory, and the script that brings a save into it."""

    def __init__(self, path: Path) -> None:
        self.path = path / "crypto"
        self.path.mkdir()
        self.programs = path / "programs"
        self.programs.mkdir()
        self.checked(well=True)

    def checked(self, well: bool) -> None:
        """What redis-check-rdb says of a save."""
        program = self.programs / "redis-check-rdb"
        program.write_text(f"#!/bin/sh\nexit {0 if well else 1}\n")
        program.chmod(0o755)

    def bring(self, save: str) -> int:
        """This is the last save of the old server; returns how the script ended."""
        log, snapshot = self.path / "appendonlydir", self.path / "dump.rdb"
        given = {"directory": self.path, "log": log, "target": snapshot, "old_marker": self.path / "adopting"}
        env = {name: str(path) for name, path in given.items()} | {"PATH": f"{self.programs}:/usr/bin:/bin"}
        done = subprocess.run(["sh", str(path_of("copy-save"))], env=env, input=save, text=True, check=False)
        return done.returncode

    @property
    def texts(self) -> dict[str, str]:
        """File → what is in it; times as TIME."""
        found = (path for path in self.path.rglob("*") if path.is_file())
        return {re.sub("[0-9]{14}", "TIME", str(path.relative_to(self.path))): path.read_text() for path in found}


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


def test_a_save_is_all_that_there_is_in_an_empty_directory(directory: Directory) -> None:
    assert directory.bring("a save") == 0
    assert directory.texts == {"dump.rdb": "a save"}


def test_what_lies_there_is_set_aside_under_names_that_drift_knows(directory: Directory) -> None:
    (directory.path / "appendonlydir").mkdir()
    (directory.path / "appendonlydir" / "a.aof").write_text("a log")
    (directory.path / "dump.rdb").write_text("an earlier save")
    assert directory.bring("a save") == 0
    assert directory.texts == {
        "dump.rdb": "a save",
        "dump.rdb.replaced-TIME": "an earlier save",
        "appendonlydir.old-TIME/a.aof": "a log",
    }


def test_the_same_save_again_is_kept_once(directory: Directory) -> None:
    for _ in range(3):
        assert directory.bring("a save") == 0
    assert directory.texts == {"dump.rdb": "a save"}


def test_logs_that_are_set_aside_within_one_second_all_stay(directory: Directory) -> None:
    for number in range(3):
        (directory.path / "appendonlydir").mkdir()
        (directory.path / "appendonlydir" / f"{number}.aof").write_text("a log")
        assert directory.bring("a save") == 0
    assert sum(name.endswith(".aof") for name in directory.texts) == 3


def test_a_save_that_is_none_takes_the_place_of_nothing(directory: Directory) -> None:
    (directory.path / "appendonlydir").mkdir()
    (directory.path / "appendonlydir" / "a.aof").write_text("a log")
    (directory.path / "dump.rdb").write_text("an earlier save")
    directory.checked(well=False)
    assert directory.bring("rubbish") != 0
    kept = directory.texts
    assert kept.pop("dump.rdb.new") == "rubbish"
    assert kept == {"dump.rdb": "an earlier save", "appendonlydir/a.aof": "a log"}

"""Files with passwords in them are written whole, together or not at all (tasks/catalogue/private_files.py)."""

import fcntl
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.catalogue.private_files import replaceable, write_together
from tests.tree import REPOSITORY


def test_each_has_its_text_and_mode(tmp_path: Path) -> None:
    write_together([(tmp_path / "a.crt", "one", 0o644), (tmp_path / "a.key", "two", 0o600)])
    assert {path.name: (path.read_text(), stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.iterdir()} == {
        "a.crt": ("one", 0o644),
        "a.key": ("two", 0o600),
    }


def test_one_that_cannot_be_written_leaves_all_as_they_were_and_nothing_beside_them(tmp_path: Path) -> None:
    (tmp_path / "a.crt").write_text("before")
    with pytest.raises(UnicodeEncodeError):
        write_together([(tmp_path / "a.crt", "after", 0o644), (tmp_path / "a.env", "\udcff", 0o600)])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.crt", "before")]


def test_what_is_named_last_gets_into_its_place_last(tmp_path: Path) -> None:
    (tmp_path / "a.key").mkdir()
    (tmp_path / "a.env").write_text("before")
    files = [(tmp_path / name, "after", 0o600) for name in ("a.crt", "a.key", "a.env")]
    with pytest.raises(IsADirectoryError):
        write_together(files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.env", "a.key"]
    assert (tmp_path / "a.env").read_text() == "before"


def test_one_that_cannot_be_renamed_puts_back_those_before_it(tmp_path: Path) -> None:
    for name in ("a.crt", "b.env"):
        (tmp_path / name).write_text("before")
        (tmp_path / name).chmod(0o640)
    (tmp_path / "c.env").mkdir()
    files = [(tmp_path / name, "after", 0o600) for name in ("a.crt", "new.env", "b.env", "c.env", "d.env")]
    with pytest.raises(IsADirectoryError):
        write_together(files)
    found = {
        path.name: (path.read_text(), stat.S_IMODE(path.stat().st_mode))
        for path in tmp_path.glob("*.[ce][rn]*")
        if path.is_file()
    }
    assert found == {"a.crt": ("before", 0o640), "b.env": ("before", 0o640)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.crt", "b.env", "c.env"]


def test_what_a_killed_run_left_beside_a_file_goes_with_the_next_one(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys\n"
        "from tasks.catalogue import private_files\n"
        "pathlib.Path.rename = lambda self, to: os.kill(os.getpid(), signal.SIGKILL)\n"
        "private_files.write_together([(pathlib.Path(sys.argv[1]) / 'a.env', 'secret', 0o600)])\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.read_text() == "secret"
    theirs = [tmp_path / name for name in (".a.env.txt", ".a.env.backup-1", ".b.env.12345678")]
    for path in theirs:
        path.write_text("theirs")
    write_together([(tmp_path / "a.env", "after", 0o600)])
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.env", *theirs])


def test_what_a_run_that_is_alive_has_beside_a_file_is_left_to_it(tmp_path: Path) -> None:
    alive = tmp_path / ".a.env.abcdefgh"
    with alive.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_together([(tmp_path / "a.env", "after", 0o600)])
        assert alive.exists()
    write_together([(tmp_path / "a.env", "after", 0o600)])
    assert not alive.exists()


@pytest.mark.parametrize("mode", range(0o1000))
def test_a_file_that_all_may_read_is_refused_exactly_where_others_may_write_it(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "ca.crt"
    path.write_text("x")
    path.chmod(mode)
    others = bool(mode & 0o002)  # the group is that of who runs this
    assert bool(replaceable(path)) is others
    assert not others or f"run chmod 644 {path}" in replaceable(path)


def test_a_file_in_a_directory_that_others_may_write_is_replaceable(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("x")
    tmp_path.chmod(0o777)
    assert f"run chmod 700 {tmp_path}" in replaceable(tmp_path / "ca.crt")
    tmp_path.chmod(0o755)
    assert replaceable(tmp_path / "ca.crt") == ""


def test_a_link_is_as_safe_as_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    (tmp_path / "there" / "ca.crt").write_text("x")
    (tmp_path / "ca.crt").symlink_to(tmp_path / "there" / "ca.crt")
    assert replaceable(tmp_path / "ca.crt") == ""
    (tmp_path / "there").chmod(0o777)
    assert f"{tmp_path}/there: mode is 0777" in replaceable(tmp_path / "ca.crt")

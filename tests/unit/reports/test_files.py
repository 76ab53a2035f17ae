"""A report is written as a whole or not at all (tasks/reports/files.py)."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.reports import write_whole


def test_the_file_holds_the_text_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "drift.prom", "≠ new\n")
    assert (tmp_path / "drift.prom").read_text(encoding="utf-8") == "≠ new\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "drift.prom"]


def test_a_reader_who_has_the_old_file_open_keeps_the_whole_old_text(tmp_path: Path) -> None:
    path = tmp_path / "drift.prom"
    write_whole(path, "old\n")
    with path.open() as reader:
        write_whole(path, "new\n")
        assert reader.read() == "old\n"
    assert path.read_text() == "new\n"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    write_whole(path, "old\n")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new " * 100_000 + "\ud800")
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "drift.html", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "drift.html").stat().st_mode) == 0o644


def test_an_existing_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    path.touch(mode=0o600)
    write_whole(path, "{}\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(tmp_path / "drift.json")
    write_whole(tmp_path / "latest", "{}\n")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "drift.json").read_text() == "{}\n"


TO_STDOUT = """
from pathlib import Path
from tasks.reports import write_whole
write_whole(Path("/dev/stdout"), "report\\n")
print("later")
"""


def test_the_report_can_go_to_standard_output_without_cutting_off_what_follows(tmp_path: Path) -> None:
    command, root = [sys.executable, "-c", TO_STDOUT], Path(__file__).parents[3]
    piped = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    with (tmp_path / "out").open("a") as redirected:
        subprocess.run(command, cwd=root, stdout=redirected, check=True)
    assert piped.stdout == (tmp_path / "out").read_text() == "report\nlater\n"


def test_a_missing_directory_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "web" / "drift.html"
    with pytest.raises(FileNotFoundError) as raised:
        write_whole(path, "")
    assert str(raised.value) == f"{path}: directory {path.parent} does not exist: create it or name another file"


def test_a_directory_in_place_of_the_file_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=f"{tmp_path}: cannot be written: Is a directory: name another file"):
        write_whole(tmp_path, "")

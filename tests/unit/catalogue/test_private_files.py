"""Files with passwords in them are written whole, together or not at all (tasks/catalogue/private_files.py)."""

import stat
from pathlib import Path

import pytest

from tasks.catalogue.private_files import write_together


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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.crt", "a.env", "a.key"]
    assert (tmp_path / "a.env").read_text() == "before"

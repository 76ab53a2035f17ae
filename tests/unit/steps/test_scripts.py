"""The scripts of the steps, run here: what they leave, what they refuse."""

import os
import pwd
import subprocess
from pathlib import Path

from tasks.observed.script import prepared, script
from tests.unit.builders import sha256

OWNER = pwd.getpwuid(os.getuid()).pw_name


def run(name: str, input: str | None = None, **parameters: str | int) -> subprocess.CompletedProcess[str]:
    """A script as a host runs it."""
    command = prepared(script(name, **parameters))
    return subprocess.run(["sh", "-c", command], input=input, capture_output=True, text=True, timeout=60)


def write(path: Path, content: str, arrives: str | None = None, previous: str = "") -> int:
    """The exit code of a file's writing; `arrives`: what comes of the content."""
    done = run(
        "write-file",
        input=content if arrives is None else arrives,
        path=str(path),
        owner=OWNER,
        group=str(os.getgid()),
        mode="0640",
        digest=sha256(content),
        previous=previous,
    )
    return done.returncode


def test_a_file_gets_its_content_and_mode_and_nothing_is_left_beside(tmp_path: Path) -> None:
    path = tmp_path / "it's a $(file)"
    assert write(path, "one\n") == 0
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("one\n", 0o640)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_whose_content_was_cut_off_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    write(path, "one\n")
    assert write(path, "two\nthree\n", arrives="two\n") == 1
    assert path.read_text() == "one\n"


def test_the_first_text_that_was_replaced_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    path, previous = tmp_path / "x.conf", tmp_path / "x.conf.previous"
    for content in ("one\n", "two\n", "three\n"):
        assert write(path, content, previous=str(previous)) == 0
    assert (path.read_text(), previous.read_text()) == ("three\n", "one\n")


def test_a_directory_is_deleted_only_after_everybody_left_it(tmp_path: Path) -> None:
    directory, begun = tmp_path / "old", tmp_path / "begun"
    directory.mkdir()
    begun.touch()
    given = {"unit": "redis-old.service", "directory": str(directory), "begun": str(begun)}
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd=directory) as user:
        try:
            used = run("purge-data", **given)
        finally:
            user.kill()
    assert used.returncode == 1
    assert used.stdout == f"{directory}: in use by /proc/{user.pid}, expected by nobody: stop it first\n"
    assert directory.exists()
    assert begun.exists()
    assert run("purge-data", **given).returncode == 0
    assert not directory.exists()
    assert not begun.exists()


def test_a_marker_is_written_whole(tmp_path: Path) -> None:
    directory = tmp_path / "role"
    text = '{"rdb": "/srv/it\'s/dump.rdb"}\n'
    done = run("write-marker", directory=str(directory), path=f"{directory}/adopting", text=text)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_text() for path in directory.iterdir()} == {"adopting": text}

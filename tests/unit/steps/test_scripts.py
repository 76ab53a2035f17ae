"""The scripts of the steps, run here: what they leave, what they refuse."""

import os
import pwd
import socket
import subprocess
import time
from pathlib import Path

import pytest

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
    assert directory.stat().st_mode & 0o777 == 0o700


# --- What lies in the way


def plant(path: Path, what: str, victim: Path) -> None:
    """Something of this kind lies there."""
    if what == "a link to a file":
        path.symlink_to(victim / "file")
    elif what == "a link to nothing":
        path.symlink_to(victim / "new")
    elif what == "a link to a directory":
        path.symlink_to(victim)
    elif what == "a second name":
        path.hardlink_to(victim / "file")
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a socket":
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(path))
    else:
        path.mkdir()
        (path / "x").touch()


PLANTS = (
    *("a link to a file", "a link to nothing", "a link to a directory", "a second name", "a pipe", "a socket"),
    "a directory",
)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A directory of somebody else's, with one file in it."""
    directory = tmp_path / "victim"
    directory.mkdir(mode=0o751)
    (directory / "file").write_text("secret\n")
    (directory / "file").chmod(0o604)
    return directory


def seen(directory: Path) -> list[tuple[str, int, int, str]]:
    """What lies there, with owners, modes and contents."""
    paths = [directory, *sorted(directory.iterdir())]
    texts = [path.read_text() if path.is_file() else "" for path in paths]
    return [(path.name, path.stat().st_uid, path.stat().st_mode, text) for path, text in zip(paths, texts, strict=True)]


@pytest.mark.parametrize("what", PLANTS)
@pytest.mark.parametrize("beside", ["x.conf.new", "x.conf.previous.new"])
def test_a_file_is_written_over_nothing_that_lies_in_its_way(
    tmp_path: Path, victim: Path, what: str, beside: str
) -> None:
    before, directory = seen(victim), tmp_path / "etc"
    directory.mkdir()
    path = directory / "x.conf"
    path.write_text("one\n")
    plant(directory / beside, what, victim)
    assert write(path, "two\n", previous=f"{path}.previous") == 0
    assert seen(victim) == before
    assert {item.name: item.read_text() for item in directory.iterdir()} == {
        "x.conf": "two\n",
        "x.conf.previous": "one\n",
    }
    assert not path.is_symlink()


def test_what_a_link_in_the_place_of_a_file_leads_to_is_not_kept_as_what_was_there(
    tmp_path: Path, victim: Path
) -> None:
    path = tmp_path / "x.conf"
    plant(path, "a link to a file", victim)
    assert write(path, "two\n", previous=f"{path}.previous") == 0
    assert (path.read_text(), path.is_symlink()) == ("two\n", False)
    assert not (tmp_path / "x.conf.previous").exists()


@pytest.mark.parametrize("what", PLANTS)
def test_an_acl_file_is_written_over_nothing_that_lies_in_its_way(tmp_path: Path, victim: Path, what: str) -> None:
    before, directory = seen(victim), tmp_path / "etc"
    directory.mkdir(mode=0o770)
    file = directory / "x.acl"
    file.write_text("user a on\n")
    plant(directory / "x.acl.new", what, victim)
    given = {"files": str(file), "default": "default", "default_line": "user default off"}
    assert run("make-replayable", **given).returncode == 0
    assert seen(victim) == before
    assert file.read_text() == "user default off\nuser a on\n"
    assert directory.stat().st_mode & 0o022 == 0


@pytest.mark.parametrize("what", [what for what in PLANTS if what != "a directory"])
def test_a_role_s_directory_is_made_nowhere_else(tmp_path: Path, victim: Path, what: str) -> None:
    before, path = seen(victim), tmp_path / "role"
    plant(path, what, victim)
    done = run("make-directory", path=str(path), owner=OWNER, group=str(os.getgid()), mode="0750")
    assert done.returncode == 1
    assert f"{path}: " in done.stdout
    assert seen(victim) == before


def test_a_role_s_directory_is_made_with_its_mode_also_where_it_is_already(tmp_path: Path) -> None:
    path = tmp_path / "role"
    for before in (None, 0o777):
        if before is not None:
            path.chmod(before)
        done = run("make-directory", path=str(path), owner=OWNER, group=str(os.getgid()), mode="0750")
        assert done.returncode == 0, done.stdout
        assert path.stat().st_mode & 0o777 == 0o750


# --- Who holds a host


def hold(file: Path) -> "subprocess.Popen[str]":
    """A deploy's hold on a host, begun."""
    words = {"mark": "MARK", "file": str(file), "seen": "", "mine": "me@desk", "changed": "changed by"}
    words |= {"journal": str(file.parent / "deploys"), "number": "1", "most": "9"}
    command = prepared(script("hold", patience=0, silence=30, **words))
    return subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_who_holds_a_host_is_what_the_kernel_says_and_nobody_else_can_hold_it(tmp_path: Path) -> None:
    file = tmp_path / "run" / "deploy.lock"
    with hold(file) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == "MARK held\n"
            assert file.parent.stat().st_mode & 0o777 == 0o700
            file.write_text("eve, process 7\n")
            with hold(file) as second:
                said = second.communicate(timeout=30)[0]
            assert said == f"MARK held by process {first.pid} (bash) of {OWNER}, eve, process 7\n"
        finally:
            first.kill()


@pytest.mark.parametrize("user", ["", OWNER, "nobody-of-that-name"])
def test_what_was_kept_is_put_back_and_said_whatever_becomes_of_the_rest(tmp_path: Path, user: str) -> None:
    """Said to be nothing, a roll back would leave the role as it is."""
    paths = [tmp_path / name for name in ("conf.previous", "conf", "unit.previous", "unit", "acl")]
    for path in (paths[0], paths[1], paths[3], paths[4]):  # of the unit nothing was kept
        path.write_text(path.name)
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\n[ $1 != show ] || echo '{user}'\n")
    (tmp_path / "systemctl").chmod(0o755)
    command = script("put-back", files=[*map(str, paths[:4])], unit="redis-x.service", acl=str(paths[4]))
    for printed in (f"{user or 'unknown'}\n", ""):
        done = subprocess.run(
            ["sh", "-c", command],
            env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == printed
        assert (paths[1].read_text(), paths[3].read_text()) == ("conf.previous", "unit")


def record(path: Path, keep: str = "", add: str = "") -> str:
    """What is recorded afterwards; `-` where there is no file."""
    directory = str(path.parent)
    assert run("record-rotation", directory=directory, path=str(path), keep=keep, add=add).returncode == 0
    assert [item.name for item in path.parent.iterdir()] == ([path.name] if path.exists() else [])
    return path.read_text() if path.exists() else "-"


def test_since_when_users_have_several_passwords_is_kept_for_some_and_begins_for_others(tmp_path: Path) -> None:
    path = tmp_path / "records" / "gateway.rotation"
    before = int(time.time())
    lines = record(path, add="gateway operator").splitlines()
    assert [line.split()[0] for line in lines] == ["gateway", "operator"]
    assert all(before <= int(line.split()[1]) <= time.time() for line in lines)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    path.write_text("gateway 5\noperator 6\noperator 7\ngateway-2 8\nauth-service x\n")
    assert record(path, keep="auth-service gateway operator") == "gateway 5\noperator 6\n"
    path.write_text("axb 5\na.b 6\n")
    assert record(path, keep="a.b") == "a.b 6\n"
    path.write_text("gateway 5\n")
    kept, begun = record(path, keep="gateway", add="auth-service").splitlines()
    assert kept == "gateway 5"
    assert begun.startswith("auth-service 1")
    assert record(path) == "-"
    assert record(path) == "-"


@pytest.mark.parametrize("what", ["link", "directory"])
def test_since_when_is_written_over_nothing_that_lies_in_its_way(tmp_path: Path, what: str) -> None:
    directory, victim = tmp_path / "records", tmp_path / "victim"
    directory.mkdir()
    victim.write_text("kept")
    new = directory / "gateway.rotation.new"
    new.symlink_to(victim) if what == "link" else new.mkdir()
    assert record(directory / "gateway.rotation", add="gateway").startswith("gateway 1")
    assert victim.read_text() == "kept"

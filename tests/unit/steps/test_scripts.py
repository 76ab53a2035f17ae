"""The scripts of the steps, run here: what they leave, what they refuse."""

import os
import pwd
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
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
    given = {"unit": "redis-old.service", "directory": str(directory), "records": str(begun), "kept": ""}
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


def test_what_was_set_aside_stays_when_a_copy_is_discarded(tmp_path: Path) -> None:
    directory, begun = tmp_path / "role", tmp_path / "begun"
    (directory / "appendonlydir").mkdir(parents=True)
    (directory / "appendonlydir.replaced-20261127000000").mkdir()
    for name in ("dump.rdb", ".hidden", "dump.rdb.replaced-20261127000000"):
        (directory / name).touch()
    given = {"unit": "redis-old.service", "directory": str(directory), "records": str(begun), "kept": "*.replaced-*"}
    assert run("purge-data", **given).returncode == 0
    kept = ["appendonlydir.replaced-20261127000000", "dump.rdb.replaced-20261127000000"]
    assert sorted(path.name for path in directory.iterdir()) == kept
    for path in directory.iterdir():
        path.rmdir() if path.is_dir() else path.unlink()
    for _ in range(2):  # the directory itself, and nothing
        assert run("purge-data", **given).returncode == 0
        assert not directory.exists()


def test_what_a_role_kept_of_before_has_another_name_and_nothing_is_overwritten(tmp_path: Path) -> None:
    log, snapshot = tmp_path / "appendonlydir", tmp_path / "dump.rdb"
    log.mkdir()
    snapshot.write_text("old")
    given = {"log": str(log), "snapshot": str(snapshot), "replaced": ".replaced-1"}
    done = run("set-aside", **given)
    assert (done.returncode, done.stdout) == (0, f"kept {log}.replaced-1\nkept {snapshot}.replaced-1\n")
    assert {path.name for path in tmp_path.iterdir()} == {"appendonlydir.replaced-1", "dump.rdb.replaced-1"}
    assert run("set-aside", **given).stdout == ""  # done already
    snapshot.write_text("new")
    assert run("set-aside", **given).returncode == 1
    assert Path(f"{snapshot}.replaced-1").read_text() == "old"


def test_what_another_host_has_newer_is_recorded_in_place_of_that_it_has_run_here(tmp_path: Path) -> None:
    begun, moved = tmp_path / "crypto", tmp_path / "crypto.moved"
    begun.touch()
    for _ in range(2):
        assert run("supersede", begun=str(begun), moved=str(moved)).returncode == 0
        assert [path.name for path in tmp_path.iterdir()] == ["crypto.moved"]
    assert "Another host has newer data" in moved.read_text()


def taken_over(tmp_path: Path, role: str, *, log: bool, saved: bool, begun: str = "crypto", served: str = "") -> int:
    """take-over.sh's exit code where the copy says that it is `role`; what it kept was of before it moved."""
    tmp_path.mkdir(exist_ok=True)
    for name, text in (("redis-cli", f"#!/bin/sh\necho role:{role}\n"), ("systemctl", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    if not (tmp_path / "crypto").exists():
        (tmp_path / "d").mkdir()
        for name in ("d/copy.conf", "crypto.copy", "crypto.moved"):
            (tmp_path / name).touch()
    if saved:
        (tmp_path / "dump.rdb").write_text("REDIS")
    command = script(
        "take-over",
        tls=[],
        address="",
        bound="",
        interface="",
        keeper="",
        owner="_handover",
        user="replication",
        host="10.0.0.2",
        port=6383,
        drop_in=f"{tmp_path}/d/copy.conf",
        copy=f"{tmp_path}/crypto.copy",
        unit="redis-crypto.service",
        patience=0,
        begun=f"{tmp_path}/{begun}",
        moved=f"{tmp_path}/crypto.moved",
        text="# It has run\n# here.\n",
        snapshot="" if log else f"{tmp_path}/dump.rdb",
        served=f"{tmp_path}/{served}" if served else "",
        serving="# It serves.",
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return subprocess.run(
        ["sh", "-c", command], input="a-password\n", env=environment, text=True, timeout=60
    ).returncode


def left_there(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.iterdir()} - {"redis-cli", "systemctl", "dump.rdb"}


@pytest.mark.parametrize(("log", "saved"), [(True, False), (False, True)])
def test_a_copy_that_serves_is_the_roles_own_server_without_any_controller(
    tmp_path: Path, log: bool, saved: bool
) -> None:
    for _ in range(2):  # the next deploy may find it done
        assert taken_over(tmp_path, "master", log=log, saved=saved) == 0
        assert left_there(tmp_path) == {"crypto"}
    assert (tmp_path / "crypto").read_text() == "# It has run\n# here.\n"
    assert (tmp_path / "crypto").stat().st_mode & 0o777 == 0o644


def test_one_of_a_pair_that_serves_may_start_again_though_the_other_one_tells_nothing(tmp_path: Path) -> None:
    assert taken_over(tmp_path, "master", log=True, saved=True, served="run/crypto.served") == 0
    assert (tmp_path / "run" / "crypto.served").read_text() == "# It serves.\n"
    assert taken_over(tmp_path / "other", "slave", log=True, saved=True, served="run/crypto.served") == 0
    assert not (tmp_path / "other" / "run").exists()


def test_a_copy_that_has_saved_nothing_is_not_recorded_for_its_next_start_may_find_nothing(tmp_path: Path) -> None:
    assert taken_over(tmp_path, "master", log=False, saved=False) == 0
    assert left_there(tmp_path) == set()


def test_a_copy_that_is_not_told_stays_one_with_all_that_says_so(tmp_path: Path) -> None:
    assert taken_over(tmp_path, "slave", log=True, saved=True) == 0
    assert left_there(tmp_path) == {"crypto.copy", "crypto.moved", "d"}


def test_a_server_that_cannot_be_recorded_starts_as_no_copy_and_that_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert taken_over(tmp_path, "master", log=True, saved=True, begun="file/crypto") != 0
    assert not left_there(tmp_path) & {"crypto.copy", "d", "crypto.moved"}


# A machine on which the role's address is to come: `place` is what it has, `told` what was done, in order.
COMING = {
    "redis-cli": """#!/bin/sh
case "$*" in
  *"INFO replication"*) echo role:master ;;
  *"CONFIG SET bind"*) [ "$REDISCLI_AUTH" = of-owner ] || exit 1; echo "bind ${10}" >>{place}/told; echo OK ;;
esac
""",
    "ip": """#!/bin/sh
case "$*" in
  *"address show"*) cat {place}/place 2>/dev/null ;;
  *"address replace"*) echo "$*" >>{place}/told; echo there >{place}/place ;;
esac
""",
    "arping": """#!/bin/sh
case "$*" in *-D*) echo asked >>{place}/told; exit {answers} ;; *) echo announced >>{place}/told ;; esac
""",
    "systemctl": """#!/bin/sh
case $1 in enable) echo "$*: $(ls {place}/d)" ;; *) echo "$*" ;; esac >>{place}/told
[ "$*" != "--no-block start keeper.service" ] || echo there >{place}/place
""",
}


def brought(tmp_path: Path, answers: int, bound: str = "172.28.2.5") -> list[str]:
    """What take-over.sh did to the address; who asks the network for it gets an exit code of arping's."""
    for name, text in COMING.items():
        (tmp_path / name).write_text(text.replace("{place}", str(tmp_path)).replace("{answers}", str(answers)))
        (tmp_path / name).chmod(0o755)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "copy.conf").touch()
    command = script(
        "take-over",
        tls=[],
        address="172.28.2.5",
        bound=bound,
        interface="eth0",
        keeper="keeper.service",
        owner="_handover",
        user="replication",
        host="10.0.0.2",
        port=6383,
        drop_in=f"{tmp_path}/d/copy.conf",
        copy=f"{tmp_path}/crypto.copy",
        unit="redis-crypto.service",
        patience=5,
        begun=f"{tmp_path}/crypto",
        moved=f"{tmp_path}/crypto.moved",
        text="# It has run here.\n",
        snapshot="",
        served="",
        serving="",
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], input="of-user of-owner\n", env=environment, text=True, timeout=60)
    assert done.returncode == 0
    lines = (tmp_path / "told").read_text().splitlines()
    # For its next start the address comes before that is the role's server's.
    assert "enable --quiet keeper.service: copy.conf" in lines
    lines = [line for line in lines if not line.startswith(("enable", "unmask"))]
    return [line for line in lines if "redis-crypto" not in line and "daemon-reload" not in line]


def test_a_copy_that_serves_gets_the_address_that_nobody_answers_for_and_listens_there(tmp_path: Path) -> None:
    told = brought(tmp_path, 0)
    assert told[:2] == ["asked", "address replace 172.28.2.5/32 dev eth0"]
    assert {"announced", "bind 172.28.2.5"} <= set(told[2:4])
    assert told[-1] == "restart keeper.service"


def test_one_of_a_pair_listens_at_its_hosts_own_address_besides(tmp_path: Path) -> None:
    assert {"announced", "bind 172.28.2.5 10.0.0.2"} <= set(brought(tmp_path, 0, "172.28.2.5 10.0.0.2")[2:4])


def test_an_address_that_somebody_answers_for_is_waited_for_by_its_unit(tmp_path: Path) -> None:
    told = brought(tmp_path, 1)
    assert told[:2] == ["asked", "--no-block start keeper.service"]
    assert "address replace 172.28.2.5/32 dev eth0" not in told
    assert "bind 172.28.2.5" in told


SYSTEMCTL = """#!/bin/sh
echo "systemctl $*: $(ls {place}/d {place}/etc | tr '\\n' ' ')" >>{place}/log
case $1 in show) echo {state} ;; esac
"""


def started(tmp_path: Path, state: str, text: str, digest_of: str) -> "subprocess.CompletedProcess[str]":
    """start-copy.sh, told `text`; systemd says that the unit is in `state`."""
    (tmp_path / "d").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(place=tmp_path, state=state))
    (tmp_path / "systemctl").chmod(0o755)
    command = script(
        "start-copy",
        unit="redis-crypto.service",
        drop_in=f"{tmp_path}/d/copy.conf",
        copy=f"{tmp_path}/etc/crypto.copy",
        group="root",
        digest=sha256(digest_of),
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return subprocess.run(["sh", "-c", command], input=text, env=environment, capture_output=True, text=True)


def test_what_tells_that_there_is_a_copy_is_there_before_its_password(tmp_path: Path) -> None:
    done = started(tmp_path, "inactive", "a-password\n", "a-password\n")
    assert done.returncode == 0, done.stderr
    _, reload, start = (tmp_path / "log").read_text().splitlines()
    assert reload.startswith("systemctl daemon-reload: ")
    assert "copy.conf" in reload
    assert "crypto.copy" not in reload
    assert "crypto.copy" in start
    assert (tmp_path / "etc" / "crypto.copy").stat().st_mode & 0o777 == 0o640
    assert not list(tmp_path.glob("*/*.new"))


@pytest.mark.parametrize("state", ["active", "activating", ""])
def test_no_copy_is_made_of_a_server_that_runs_or_is_not_seen(tmp_path: Path, state: str) -> None:
    done = started(tmp_path, state, "a-password\n", "a-password\n")
    assert done.returncode == 1
    assert "expected nothing that runs" in done.stdout
    assert list(tmp_path.glob("d/*")) == []


def test_a_copy_that_is_cut_off_leaves_no_password_and_starts_nothing(tmp_path: Path) -> None:
    done = started(tmp_path, "inactive", "a-pass", "a-password\n")
    assert done.returncode == 1
    assert list(tmp_path.glob("etc/*")) == []
    assert "start redis-crypto" not in (tmp_path / "log").read_text()


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


def record(path: Path, keep: str = "", add: str = "", begin: str = "") -> str:
    """What is recorded afterwards; `-` where there is no file."""
    directory = str(path.parent)
    words = {"keep": keep, "add": add, "begin": begin}
    assert run("record-rotation", directory=directory, path=str(path), **words).returncode == 0
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
    path.write_text("gateway 5\noperator 6\n")
    assert (
        record(path, keep="gateway", begin="auth-service operator") == "gateway 5\nauth-service begun\noperator begun\n"
    )
    assert record(path, keep="auth-service", begin="gateway") == "auth-service begun\ngateway begun\n"
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


# --- The data of a role, and a copy in its place


def swap(directory: Path, way: str) -> subprocess.CompletedProcess[str]:
    return run(
        "swap-data",
        way=way,
        log=str(directory / "log"),
        snapshot=str(directory / "dump.rdb"),
        new=".new",
        replaced=".replaced-20261127120000",
        failed="-failed",
    )


def lay(directory: Path, **contents: str) -> None:
    """A log is a directory with one file in it, a snapshot a file."""
    directory.mkdir()
    for name, content in contents.items():
        path = directory / name.replace("__", ".").replace("snapshot", "dump.rdb")
        if name.startswith("log"):
            path.mkdir()
            path /= "x.aof"
        path.write_text(content)


def lies(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


ASIDE = ".replaced-20261127120000"


def test_a_copy_takes_the_place_of_data_that_is_kept_and_goes_back_as_it_was(tmp_path: Path) -> None:
    there = tmp_path / "role"
    lay(there, log="own", snapshot="own, too", log__new="copy")
    assert swap(there, "in").returncode == 0
    assert lies(there) == {"log/x.aof": "copy", f"log{ASIDE}/x.aof": "own", f"dump.rdb{ASIDE}": "own, too"}
    done = swap(there, "back")
    assert done.returncode == 0
    said = [f"kept {there}/log{ASIDE}-failed", f"back {there}/log", f"back {there}/dump.rdb"]
    assert done.stdout.splitlines() == said
    assert lies(there) == {"log/x.aof": "own", "dump.rdb": "own, too", f"log{ASIDE}-failed/x.aof": "copy"}


@pytest.mark.parametrize("with_copy", [True, False])
def test_data_of_which_nothing_was_set_aside_stays_in_place(tmp_path: Path, with_copy: bool) -> None:
    there = tmp_path / "role"
    lay(there, log="own", snapshot="own, too", **({"log__new": "copy"} if with_copy else {}))
    before = lies(there)
    assert swap(there, "back").returncode == 0
    assert lies(there) == before


def test_data_that_could_be_set_aside_only_in_part_is_all_in_place_again(tmp_path: Path) -> None:
    there = tmp_path / "role"
    lay(there, snapshot="own, too", log__new="copy")
    (there / "log").mkdir()
    (there / "log" / "x.aof").write_text("own")
    (there / "log").rename(there / f"log{ASIDE}")
    assert swap(there, "back").returncode == 0
    assert lies(there) == {"log/x.aof": "own", "dump.rdb": "own, too", "log.new/x.aof": "copy"}


def test_what_a_server_wrote_to_a_copy_that_goes_is_deleted_by_nothing_that_follows(tmp_path: Path) -> None:
    there = tmp_path / "role"
    lay(there, log="own", log__new="copy")
    swap(there, "in")
    (there / "log" / "x.aof").write_text("copy, and acknowledged since")
    for way in ("back", "clear", "back", "clear"):
        assert swap(there, way).returncode == 0
    assert lies(there) == {"log/x.aof": "own", f"log{ASIDE}-failed/x.aof": "copy, and acknowledged since"}


@pytest.mark.parametrize("name", ["log", "dump.rdb"])
def test_what_was_set_aside_before_is_never_written_over(tmp_path: Path, name: str) -> None:
    there = tmp_path / "role"
    lay(there, log="own", snapshot="own, too", log__new="copy")
    (there / f"{name}{ASIDE}").write_text("of an earlier restore")
    before = lies(there)
    done = swap(there, "in")
    assert (done.returncode, lies(there)) == (1, before)
    assert done.stdout == f"{there}/{name}{ASIDE}: is there already, expected nothing: move it away\n"


# --- A directory beside, for a copy


def beside(into: Path) -> subprocess.CompletedProcess[str]:
    return run("make-beside", into=str(into), user=OWNER)


@pytest.fixture
def roots() -> Iterator[Path]:
    """A directory to which none but directories of root's lead, as /srv."""
    if os.geteuid():
        pytest.skip("root makes directories of root's")
    with tempfile.TemporaryDirectory(dir="/srv") as name:
        yield Path(name)


def test_a_directory_beside_is_made_where_all_above_is_roots(roots: Path) -> None:
    done = beside(roots / "look")
    assert done.returncode == 0, done.stdout
    assert (roots / "look").stat().st_mode & 0o777 == 0o700
    again = beside(roots / "look")
    assert again.returncode != 0


def test_root_makes_no_directory_where_somebody_else_decides_what_a_name_leads_to(roots: Path, victim: Path) -> None:
    theirs, open_to_all, link = roots / "theirs", roots / "open", roots / "link"
    for directory in (theirs, open_to_all, roots / "own", theirs / "own"):
        directory.mkdir()
    os.chown(theirs, 12345, 12345)
    open_to_all.chmod(0o777)
    link.symlink_to(roots / "own")
    before = seen(roots / "own")
    for place, why in (
        (theirs / "look", f"{theirs}: of user 12345"),
        (theirs / "own" / "look", f"{theirs}: of user 12345"),
        (open_to_all / "look", f"{open_to_all}: mode 777"),
        (link / "look", f"{link}: symbolic link"),
        (roots / "absent" / "look", f"{roots / 'absent'}: stat: cannot"),
        (Path("/tmp/look"), "/tmp: mode 1777"),
    ):
        done = beside(place)
        assert done.returncode == 1, place
        assert done.stdout.startswith(why)
        assert not place.exists()
    assert seen(roots / "own") == before


def put_aside(log: Path) -> None:
    done = run("put-aside", log=str(log), old_log=f"{log}.old")
    assert done.returncode == 0, done


def test_a_log_that_is_put_aside_leaves_those_of_before_under_names_of_their_own(tmp_path: Path) -> None:
    log = tmp_path / "appendonlydir"
    for number in range(4):
        log.mkdir()
        (log / "log").write_text(str(number))
        put_aside(log)
    texts = {path.name: (path / "log").read_text() for path in tmp_path.iterdir()}
    assert sorted(texts.values()) == ["0", "1", "2", "3"]
    assert texts.pop("appendonlydir.old") == "3"
    assert [name for name in texts if not re.fullmatch(r"appendonlydir\.old-[0-9]{14}(-[0-9]+)?", name)] == []


def test_an_earlier_log_that_is_a_link_is_renamed_itself(tmp_path: Path) -> None:
    log, elsewhere = tmp_path / "appendonlydir", tmp_path / "elsewhere"
    log.mkdir()
    elsewhere.mkdir()
    (tmp_path / "appendonlydir.old").symlink_to(tmp_path / "nowhere")
    put_aside(log)
    assert elsewhere.is_dir()
    assert not (tmp_path / "appendonlydir.old").is_symlink()
    assert sum(path.is_symlink() for path in tmp_path.iterdir()) == 1

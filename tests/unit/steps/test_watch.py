"""What a host does with a restore whose controller is gone, by the script that watches over it, run here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tasks.observed.script import prepared, script

SYSTEMCTL = """#!/bin/sh
echo "$*" >>did
case "$*" in
  *ActiveState*) [ "$(cat state)" = active ] && echo active || echo inactive ;;
  *SubState*) echo dead ;;
  start*) [ ! -e broken ] || exit 1; echo active >state ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory in the place of a host, with a systemd on paper; its role is down, and its log was set aside."""
    for name, text in (("systemctl", SYSTEMCTL), ("sleep", "#!/bin/sh\n"), ("sync", "#!/bin/sh\n")):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / "state").write_text("inactive\n")
    (tmp_path / "open").touch()
    (tmp_path / "lives").write_text("life b\n")
    (tmp_path / "log.replaced-1").mkdir()
    (tmp_path / "log").mkdir()
    return tmp_path


def watch(host: Path, was: str = "active", note: str = "echo noted >>did") -> str:
    """What the watch says in the end; the host's lock is free."""
    back = script(
        "swap-data",
        way="back",
        log=str(host / "log"),
        snapshot=str(host / "dump.rdb"),
        new=".new",
        replaced=".replaced-1",
        failed="-failed",
    )
    job = script(
        "watch-restore",
        file=str(host / "lock"),
        unit="redis-crypto.service",
        role="crypto",
        was=was,
        log=str(host / "log"),
        snapshot=str(host / "dump.rdb"),
        replaced=".replaced-1",
        back=back,
        note=note,
        noted="a-1",
        lives=str(host / "lives"),
        open=str(host / "open"),
        patience=5,
    )
    text = prepared(f"cd {host}; PATH={host}/bin:$PATH\n{job}")
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert done.returncode == 0, done
    assert not (host / "open").exists()
    assert (host / "lock").read_text().startswith("the watch over a restore of crypto, ended ")
    return done.stderr.splitlines()[-1].removeprefix("crypto: the controller of its restore is gone: ")


def did(host: Path) -> str:
    return (host / "did").read_text()


def test_what_was_there_runs_again_and_what_took_its_place_is_kept(host: Path) -> None:
    (host / "log" / "of the copy").touch()
    (host / "log.replaced-1" / "of before").touch()
    assert watch(host) == "what was there before runs again"
    assert (host / "log" / "of before").exists()
    assert (host / "log.replaced-1-failed" / "of the copy").exists()
    assert (host / "state").read_text() == "active\n"


def test_a_copy_that_serves_stays_and_is_noted(host: Path) -> None:
    (host / "state").write_text("active\n")
    assert watch(host).startswith("the copy is in place and serves; what was there is kept beside it")
    assert (host / "log.replaced-1").exists()
    assert "noted" in did(host)


def test_what_its_controller_had_noted_is_not_noted_again(host: Path) -> None:
    (host / "state").write_text("active\n")
    (host / "lives").write_text("life c\nafter a-1\n")
    assert watch(host).startswith("the copy is in place and serves; what was there is kept beside it")
    assert "noted" not in did(host)


def test_a_role_that_serves_what_it_had_is_left_alone(host: Path) -> None:
    (host / "state").write_text("active\n")
    (host / "log.replaced-1").rmdir()
    assert watch(host) == "its data is as it was"
    assert "start" not in did(host)
    assert "noted" not in did(host)


def test_a_role_that_was_down_stays_down(host: Path) -> None:
    assert watch(host, was="inactive").startswith("it is down, as it was")
    assert "start" not in did(host)


def test_what_does_not_start_is_said(host: Path) -> None:
    (host / "broken").touch()
    assert watch(host) == "what was there before is in place, and does not start: journalctl -u redis-crypto.service"


def test_what_cannot_be_put_back_is_not_started(host: Path) -> None:
    (host / "log.replaced-1-failed").mkdir()
    assert watch(host).startswith("what was there could not be put back: ")
    assert "start" not in did(host)


def test_a_host_that_its_controller_holds_is_left_alone(host: Path) -> None:
    holder = subprocess.Popen(["flock", "--no-fork", str(host / "lock"), "sleep", "60"])
    try:
        subprocess.run(["sh", "-c", f"until ! flock -n {host}/lock true; do :; done"], check=True, timeout=30)
        text = script(
            "watch-restore",
            file=str(host / "lock"),
            unit="x",
            role="crypto",
            was="active",
            log="/x",
            snapshot="/x",
            replaced="",
            back="",
            note="",
            noted="",
            lives="",
            open=str(host / "open"),
            patience=1,
        )
        ended = subprocess.run(["timeout", "1", "sh", "-c", prepared(text)], timeout=30, check=False).returncode
        assert ended == 124
        assert (host / "open").exists()
    finally:
        holder.kill()
        holder.wait()

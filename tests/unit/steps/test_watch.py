"""What a host does with a restore whose controller is gone, by the script that watches over it, run here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tasks.observed.script import prepared, script
from tasks.steps.watch import unwatch_script, watch_script
from tests.unit.builders import desired

SYSTEMCTL = """#!/bin/sh
echo "$*" >>did
case "$*" in
  *ActiveState*) [ "$(cat state)" = active ] && echo active || echo inactive ;;
  *SubState*) echo dead ;;
  start*) [ ! -e broken ] || exit 1; echo active >state ;;
esac
"""


GONE, QUOTE = "the controller of its restore is gone", "'"


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
    (tmp_path / "kept").touch()
    (tmp_path / "lives").write_text("life b\n")
    (tmp_path / "log.replaced-1").mkdir()
    (tmp_path / "log").mkdir()
    return tmp_path


def watch(host: Path, was: str = "active", note: str = "echo noted >>did", why: str = "") -> str:
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
        kept=[str(host / "kept")],
    )
    text = prepared(f"{f'why={why}' if why else ''}\ncd {host}; PATH={host}/bin:$PATH\n{job}")
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert done.returncode == 0, done
    assert not (host / "open").exists()
    assert not (host / "kept").exists()
    assert (host / "lock").read_text().startswith("the watch over a restore of crypto, ended ")
    return done.stderr.splitlines()[-1].removeprefix(f"crypto: {why.strip(QUOTE) or GONE}: ")


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
            kept="",
        )
        ended = subprocess.run(["timeout", "1", "sh", "-c", prepared(text)], timeout=30, check=False).returncode
        assert ended == 124
        assert (host / "open").exists()
    finally:
        holder.kill()
        holder.wait()


def test_at_a_boot_it_says_that_its_host_went_down(host: Path) -> None:
    assert watch(host, why="'its host went down'") == "what was there before runs again"


def test_where_no_disk_is_mounted_nothing_is_ended_and_the_next_try_is_kept(host: Path) -> None:
    (host / "log").rmdir()
    (host / "log.replaced-1").rmdir()
    with pytest.raises(AssertionError, match="is its disk mounted"):
        watch(host)
    assert (host / "kept").exists()
    assert "start" not in did(host)


def test_what_ends_a_restore_at_a_boot_is_there_until_it_has_ended_and_is_for_root_alone(tmp_path: Path) -> None:
    record, unit, wanted = (tmp_path / name for name in ("record", "a.service", "wants/a.service"))
    keep = script(
        "keep-watch", record=str(record), unit_file=str(unit), wanted=str(wanted), text="[Unit]", job="echo x"
    )
    assert subprocess.run(["sh", "-c", prepared(keep)], check=False, timeout=30).returncode == 0
    assert record.stat().st_mode & 0o777 == 0o600
    assert subprocess.run(["sh", record], capture_output=True, text=True, check=True, timeout=30).stdout == "x\n"
    assert wanted.resolve() == unit
    (tmp_path / "run").mkdir()
    away = unwatch_script("crypto")
    assert "/var/lib/caas-redis/crypto.restoring" in away
    assert away.startswith("[ -e /run/caas-redis/restore-crypto/job ] || exit 0\n")


def test_a_boot_starts_what_is_written_and_nothing_else_of_it_is_left() -> None:
    instance = desired("crypto").instances[0]
    text = watch_script(instance, "20261128010203", True, "true")
    unit = "/etc/systemd/system/caas-redis-unrestored-crypto.service"
    kept = f"/var/lib/caas-redis/crypto.restoring {unit} /etc/systemd/system/multi-user.target.wants/{Path(unit).name}"
    assert f"kept='{kept}'" in text.replace("'\"'\"'", "'")
    assert f"rm -f {kept}" in text
    assert "ConditionPathExists=/var/lib/caas-redis/crypto.restoring" in text


def test_on_a_full_disk_no_restore_is_watched_and_nothing_is_kept(tmp_path: Path) -> None:
    record, unit, wanted = (tmp_path / name for name in ("record", "a.service", "wants/a.service"))
    for lacking in (record, unit):
        full = Path(f"{lacking}.new")
        full.symlink_to("/dev/full")
        keep = script("keep-watch", record=str(record), unit_file=str(unit), wanted=str(wanted), text="x", job="y")
        # As the watch has it: what fails in the middle must end it.
        text = prepared(f"(\n{keep}\n) || {{ rm -f {record}; exit 1; }}\necho watched")
        done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False, timeout=30)
        assert (done.returncode, done.stdout) == (1, "")
        assert not any(path.exists() for path in (record, unit, wanted, full))

"""What a unit does to its log before a start: NUL bytes of a power cut go, and nothing else ever does."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.builders import desired

UNIT = "/etc/systemd/system/redis-crypto.service"
MANIFEST = "file appendonly.aof.7.base.rdb seq 7 type b\nfile appendonly.aof.7.incr.aof seq 7 type i\n"
CHUNK = 65_536  # bytes that are read at once


def perl(unit: str) -> list[str]:
    """The program and its arguments, as systemd runs it for the role: without its setpriv, which needs root."""
    (line,) = (text for text in unit.splitlines() if "/usr/bin/perl" in text)
    assert [sign for sign in "%\\" if sign in line] == []
    assert re.findall(r"(?<!\$)\$(?!\$)", line) == []  # systemd would expand it
    words = shlex.split(line.replace("$$", "$"))
    return words[words.index("/usr/bin/perl") : -1]


@pytest.fixture(scope="module")
def command() -> list[str]:
    unit = next(file.content for file in desired("crypto").files if file.path == UNIT)
    assert unit is not None
    return perl(unit)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "appendonly.aof.manifest").write_text(MANIFEST)
    (tmp_path / "appendonly.aof.7.base.rdb").write_bytes(b"REDIS\0\0")
    yield tmp_path / "appendonly.aof.7.incr.aof"
    assert (tmp_path / "appendonly.aof.7.base.rdb").read_bytes() == b"REDIS\0\0"


def starts(command: list[str], log: Path) -> str:
    """What it says before a start."""
    done = subprocess.run(
        [*command, str(log.with_name("appendonly.aof.manifest"))], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout


bodies = st.binary(max_size=300) | st.sampled_from([b"", b"\0", b"x\n", b"\0\n", b"\0\r\n", b"*1\r\n$3\r\na\0\0\r\n"])
sizes = st.integers(0, 40) | st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=bodies, filling=sizes, nuls=sizes)
def test_exactly_the_nul_bytes_at_the_end_go(
    command: list[str], log: Path, before: bytes, filling: int, nuls: int
) -> None:
    text = before + b"x" * filling + b"\0" * nuls
    log.write_bytes(text)
    said = starts(command, log)
    assert log.read_bytes() == text.rstrip(b"\0")
    gone = len(text) - len(text.rstrip(b"\0"))
    assert said.startswith(f"{gone} NUL bytes at the end of {log}, of a power cut") == (gone > 0)


@pytest.mark.parametrize(
    "manifest",
    ["", "file appendonly.aof.7.incr.aof seq 7 type b\n", "file ../log seq 7 type i\n", "file x seq 7 type i\n", "\0"],
)
def test_what_the_manifest_does_not_name_as_written_last_stays(command: list[str], log: Path, manifest: str) -> None:
    log.write_bytes(b"x\0")
    (log.parent.parent / "log").write_bytes(b"x\0")
    log.with_name("appendonly.aof.manifest").write_text(manifest)
    assert starts(command, log) == ""
    assert (log.read_bytes(), (log.parent.parent / "log").read_bytes()) == (b"x\0", b"x\0")


def test_of_several_files_the_last_is_the_one_that_was_written(command: list[str], log: Path) -> None:
    last = log.with_name("appendonly.aof.8.incr.aof")
    for file in (log, last):
        file.write_bytes(b"x\0")
    log.with_name("appendonly.aof.manifest").write_text(f"{MANIFEST}file {last.name} seq 8 type i\n")
    assert starts(command, log)
    assert (log.read_bytes(), last.read_bytes()) == (b"x\0", b"x")


@pytest.mark.parametrize("kind", ["link", "directory", "fifo", "absent"])
def test_no_link_is_followed_and_nothing_but_a_file_is_opened(command: list[str], log: Path, kind: str) -> None:
    theirs = log.with_name("theirs")
    theirs.write_bytes(b"x\0")
    if kind == "link":
        log.symlink_to(theirs)
    elif kind == "directory":
        log.mkdir()
    elif kind == "fifo":
        subprocess.run(["mkfifo", str(log)], check=True)
    assert starts(command, log) == ""
    assert theirs.read_bytes() == b"x\0"

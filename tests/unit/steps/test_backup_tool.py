"""The tool of backups, run here part by part: what it notes, and what it takes for a copy."""

import subprocess
from pathlib import Path

import pytest

from tasks.desired.backup import SOURCES

GIVEN = {
    "role": "crypto",
    "unit": "redis-crypto.service",
    "user": "root",
    "log": "log",
    "name": "x.aof",
    "snapshot": "dump.rdb",
    "databases": "16",
    "address": "127.0.0.1",
    "port": "6383",
    "tls": "no",
    "host": "redis-1",
    "keep": "",
    "memory": "infinity",
}
# What needs a server or a repository is said by the test; nobody becomes another user.
HERE = 'as_role() { "$@"; }\nsync() { :; }\n'


class Tool:
    """The tool with its records below a directory, called function by function."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records = directory / "records"
        self.data = directory / "data"
        for path in (self.records, directory / "proofs", self.data):
            path.mkdir()
        self._settings = directory / "settings"
        self._settings.mkdir()
        (self._settings / "backup").write_text("RESTIC_REPOSITORY=/srv/x/crypto\nRESTIC_PASSWORD=x\nREADER=y\n")

    def run(self, calls: str, **given: str) -> subprocess.CompletedProcess[str]:
        """Calls of its functions in a shell of their own."""
        text = (SOURCES / "backup.sh").read_text().partition("\ncase $1 in\n")[0]
        for path, here in (
            ("/var/lib/caas-redis-proof", "proofs"),
            ("/var/lib/caas-redis", "records"),
            ("/run/caas-redis", "run"),
            ("/usr/local/lib/caas-redis", "tools"),
        ):
            text = text.replace(path, str(self.directory / here))
        return subprocess.run(
            ["sh", "-c", f"{text}\n{HERE}\n{calls}"],
            env=GIVEN | given | {"directory": str(self.data), "CREDENTIALS_DIRECTORY": str(self._settings)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def record(self, name: str) -> dict[str, str]:
        """What it has noted."""
        lines = (self.records / f"crypto.{name}").read_text().splitlines()
        return dict(line.partition(" ")[::2] for line in lines)

    def note(self, name: str, **fields: str) -> None:
        """It has noted this before."""
        text = "".join(f"{field} {value}\n" for field, value in fields.items())
        (self.records / f"crypto.{name}").write_text(text)


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    return Tool(tmp_path)


# --- Of which data the copies are

OWN, OTHER = "a" * 16, "b" * 16


@pytest.mark.parametrize(
    ("counted", "begun"), [("0 0 0 0 0 7.0.15", "empty"), ("3 0 0 0 0 7.0.15", "data"), ("", "unknown")]
)
def test_what_was_there_at_the_first_copy_of_a_host_is_noted(tool: Tool, counted: str, begun: str) -> None:
    calls = f'echo "{counted}" >"$work/counted.before"; have_life {OWN} 5 "$(begun_with)"'
    assert tool.run(calls).returncode == 0
    assert tool.record("life")["begun"] == begun
    assert tool.run(f"have_life {OTHER} 9 data").returncode == 0  # and stays what it was
    assert (tool.record("life")["life"], tool.record("life")["begun"]) == (OWN, begun)


def test_a_disk_that_was_copied_to_another_machine_begins_with_data(tool: Tool) -> None:
    tool.note("life", life=OWN, machine="another", first="5", begun="empty")
    assert tool.run(f"have_life {OTHER} 9 data").returncode == 0
    assert (tool.record("life")["life"], tool.record("life")["begun"]) == (OTHER, "data")


def test_a_deploy_that_begins_a_role_empty_is_believed_whatever_was_written_until_its_first_copy(tool: Tool) -> None:
    assert tool.run("begin_life").returncode == 0
    assert tool.record("life")["begun"] == "empty"
    own = tool.record("life")["life"]
    assert tool.run(f"have_life {OTHER} 9 data").returncode == 0
    assert (tool.record("life")["life"], tool.record("life")["begun"]) == (own, "empty")
    assert tool.run("begin_life").returncode == 0
    assert tool.record("life")["life"] == own


def test_a_host_that_goes_on_with_anothers_data_notes_until_when_that_was_its_own(tool: Tool) -> None:
    assert tool.run(f"have_life {OWN} 5 empty; follow_life {OTHER} 77").returncode == 0
    first = tool.record("life")
    assert first["after"] == f"{OTHER}-77"
    assert first["life"] not in (OWN, OTHER)
    assert "begun" not in first
    # A move that was cut off behind that and goes on notes nothing anew.
    assert tool.run(f"follow_life {OTHER} 99").returncode == 0
    assert tool.record("life") == first


def test_what_came_of_the_last_copy_says_how_its_data_began(tool: Tool) -> None:
    tool.note("backup", result="ok", at="7", good="7", first="5", life=OWN, begun="empty", run=OTHER)
    assert tool.run("to=$state; failed 'no way'").returncode == 1
    kept = tool.record("backup")
    assert (kept["result"], kept["begun"], kept["run"]) == ("failed", "empty", OTHER)

"""The tool of backups, run here part by part: what it notes, and what it takes for a copy."""

import fcntl
import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.catalogue.backup import place_of
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
        (directory / "tools").symlink_to(SOURCES)
        self.programs = directory / "programs"
        self.programs.mkdir()
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
            ("/usr/sbin:", "programs:/usr/sbin:"),
        ):
            text = text.replace(path, f"{self.directory}/{here}")
        return subprocess.run(
            ["sh", "-c", f"{text}\n{HERE}\n{calls}"],
            env=GIVEN | given | {"directory": str(self.data), "CREDENTIALS_DIRECTORY": str(self._settings)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def program(self, name: str, text: str) -> None:
        """A program of the host does this."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

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


# --- The role's own log, cut at a second


def command(*words: bytes) -> bytes:
    """As a log has it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def stamp(second: int) -> bytes:
    return b"#TS:%d\r\n" % second


SET = command(b"SET", b"k", b"v")
FORGED = command(b"SET", b"k", b"abc\n#TS:1\r\nz")
INCR = "x.aof.2.incr.aof"


def lay(tool: Tool, content: bytes, incr: str = INCR) -> None:
    """The role's own log."""
    log = tool.data / "log"
    log.mkdir(exist_ok=True)
    (log / "x.aof.manifest").write_text(f"file x.aof.1.base.rdb seq 1 type b\nfile {incr} seq 2 type i\n")
    (log / incr).write_bytes(content)


@pytest.mark.parametrize(
    ("content", "begins"),
    [
        (stamp(50) + SET + stamp(60) + SET, "50"),
        (SET + stamp(60) + SET, "60"),
        (FORGED + stamp(60) + SET, "60"),
        (FORGED, ""),
        (command(b"#TS:1\r\n") + b"#TS:70\r\n", "70"),
        (command(b"SET", b"k", b"x" * 300_000 + b"\n#TS:1\r\n") + stamp(80), "80"),
        (b"#note\r\n" + stamp(90), "90"),
        (b"#TS:1x\r\n" + stamp(90), "90"),
        (b"*2\r\n$99\r\n", ""),
        (b"*1\r\n$99999999999999999999\r\n#TS:1\r\n", ""),
        (b"rubbish\n#TS:1\r\n", ""),
        (b"x" * 100_000, ""),
        (b"", ""),
    ],
)
def test_from_when_on_a_log_says_when_what_was_written_is_said_by_no_value(
    tool: Tool, content: bytes, begins: str
) -> None:
    lay(tool, content)
    assert tool.run("reach").stdout.strip() == begins


def cut(tool: Tool, copied: bytes, second: int, leaves: bytes | None = None) -> "subprocess.CompletedProcess[str]":
    """The log is cut; `copied`: its last file when it is read, of which redis-check-aof leaves `leaves`."""
    lay(tool, stamp(50) + SET)
    with tarfile.open(tool.directory / "tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        manifest = f"file x.aof.1.base.rdb seq 1 type b\nfile {INCR} seq 2 type i\n".encode()
        for name, data in (("manifest", manifest), ("x.aof.1.base.rdb", b"REDIS"), (INCR, copied)):
            member = tarfile.TarInfo(f"log/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    into = tool.directory / "cut"
    (tool.directory / "leaves").write_bytes(copied if leaves is None else leaves)
    tool.program(
        "redis-check-aof",
        f"cat {tool.directory}/leaves >{into}/{INCR}; echo All AOF files and manifest are valid",
    )
    return tool.run(f"copy() {{ cat {tool.directory}/tar; }}; cut_log {into} {second}")


def test_a_log_is_cut_at_a_second_that_its_last_file_reaches_back_to(tool: Tool) -> None:
    whole = stamp(50) + SET + stamp(60) + SET + stamp(70) + SET
    done = cut(tool, whole, 60, leaves=whole[: -len(stamp(70) + SET)])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("copied", [b"", SET, stamp(61) + SET, FORGED, FORGED + stamp(61)])
def test_a_log_that_was_written_anew_while_a_person_read_is_not_taken_for_one_that_was_cut(
    tool: Tool, copied: bytes
) -> None:
    done = cut(tool, copied, 60)
    assert done.returncode != 0
    assert "its log was written anew meanwhile" in done.stderr


@pytest.mark.parametrize("leaves", [None, stamp(50) + SET + stamp(61) + SET, stamp(50) + b"*1\r\n$9\r\n"])
def test_a_log_that_has_what_was_written_later_is_not_put_in_place(tool: Tool, leaves: bytes | None) -> None:
    done = cut(tool, stamp(50) + SET + stamp(70) + SET, 60, leaves)
    assert done.returncode != 0
    assert "has writes of later" in done.stderr


# --- The repository, and what it has

REPOSITORY = """
list=$here/snapshots
case "$*" in
  *"cat config"*) echo '{"id": "0123abcd"}' ;;
  *"snapshots --json"*) cat "$list" ;;
  *" backup "*)
    cat >/dev/null
    run=$(echo "$*" | sed -nE 's/.*run=([0-9a-f]{16}).*/\\1/p')
    kind=$(echo "$*" | sed -nE 's/.*--tag (copy|manifest),.*/\\1/p')
    id=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n')
    echo '{"time":"2026-11-27T13:00:00Z","tags":["'$kind'","run='$run'"],"id":"'$id'"}' >>"$list" ;;
esac
"""
SERVED = 'ask() { cat >/dev/null; :; }; copy() { echo "bytes 1\nnewest 2\nuntil 3" >"$work/report"; }; '


def with_repository(tool: Tool, *runs: str) -> None:
    """A repository that has these runs."""
    tool.program("restic", f"here={tool.directory}{REPOSITORY}")
    tool.program("redis-server", "echo Redis server v=7.0.15 sha=0")
    rows = (
        f'{{"time":"2026-11-27T12:00:00Z","tags":["{kind}","run={run}"],"id":"{"0" * 64}"}}'
        for run in runs
        for kind in ("copy", "manifest")
    )
    (tool.directory / "snapshots").write_text("\n".join(rows))


HERE_IT_IS = place_of("/srv/x/crypto")


def test_a_copy_is_made_and_noted(tool: Tool) -> None:
    with_repository(tool, OWN)
    tool.note("backup", result="ok", at="7", good="7", first="5", run=OWN, repository="0123abcd", where=HERE_IT_IS)
    done = tool.run(f"{SERVED}make_copy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert tool.record("backup")["result"] == "ok"
    assert tool.record("backup")["run"] != OWN


def test_a_copy_in_a_repository_that_was_set_back_is_made_and_stays_red_until_a_person_has_looked(tool: Tool) -> None:
    with_repository(tool, OTHER)
    tool.note("backup", result="ok", at="7", good="7", first="5", run=OWN, repository="0123abcd", where=HERE_IT_IS)
    for _ in range(2):
        done = tool.run(f"{SERVED}make_copy")
        assert done.returncode == 1
        assert f"has not the copy that was made here last, run {OWN} of 1970-01-01 00:00:07 UTC" in done.stdout
        assert (tool.record("backup")["result"], tool.record("backup")["run"]) == ("failed", OWN)
    assert (tool.directory / "snapshots").read_text().count('"manifest"') == 3
    (tool.records / "crypto.backup").unlink()
    assert tool.run(f"{SERVED}make_copy").returncode == 0


CHECKED = "echo AOF analyzed: filename=x, size=9, ok_up_to={whole}, ok_up_to_line=1, diff=1"


@pytest.mark.parametrize(
    ("damaged", "calls", "taken"), [(True, "copy", False), (True, "copy any", True), (False, "copy", True)]
)
def test_a_damaged_log_is_no_copy_and_is_cut_before_its_damage(
    tool: Tool, damaged: bool, calls: str, taken: bool
) -> None:
    """Whether the damage is behind the second is for redis-check-aof to say, when it cuts."""
    content = stamp(50) + SET + stamp(70) + b"rubbish"
    lay(tool, content)
    (tool.data / "log" / "x.aof.1.base.rdb").write_bytes(b"REDIS")
    tool.program("redis-check-aof", CHECKED.format(whole=len(content) - 7 if damaged else len(content)))
    done = tool.run(f'{calls} >{tool.directory}/tar; ended=$?; cat "$work/copier" >&2; exit $ended')
    assert (done.returncode == 0) == taken, done.stderr
    assert "are whole: docs/runbook.md#log-damaged" in done.stderr or taken
    if taken:
        with tarfile.open(tool.directory / "tar") as tar:
            last = tar.extractfile(f"log/{INCR}")
            assert last is not None
            assert last.read() == content


# --- What a copy is said to be of

SNAPSHOT = "bytes 1\nnewest {newest}\nuntil 1000\nkeys 5\nexpires 0\n"


def manifest(tool: Tool, newest: int, before: str = "", after: str = "", log: str = "") -> dict[str, str]:
    """Of a copy that ended at 1000; `before`, `after`: what the server counted."""
    tool.program("redis-server", "echo Redis server v=7.0.15 sha=0")
    (tool.directory / "report").write_text(SNAPSHOT.format(newest=newest))
    calls = f'cp {tool.directory}/report "$work/report"\n'
    calls += 'for file in before after samples.before samples.after digest; do : >"$work/$file"; done\n'
    for name, text in (("before", before), ("after", after)):
        calls += f'{f"echo {text}" if text else ":"} >"$work/counted.{name}"\n'
    calls += 'own_life=x machine=y; write_manifest | tee "$work/manifest"; is_compared; echo "compared $?"'
    done = tool.run(calls, log=log)
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


SAVED = "5 0 {changes} 0 {saved} 7.0.15"


@pytest.mark.parametrize(("newest", "at"), [(400, "401"), (999, "1000"), (5000, "1000"), (0, "1")])
def test_a_snapshot_of_a_server_that_does_not_answer_is_of_when_it_was_saved_and_compared_with_nothing(
    tool: Tool, newest: int, at: str
) -> None:
    known = manifest(tool, newest)
    assert (known["at"], known["compared"]) == (at, "1")


def test_a_snapshot_of_a_server_that_answers_is_compared_and_of_now_where_nothing_was_changed(tool: Tool) -> None:
    same = SAVED.format(changes=0, saved=400)
    known = manifest(tool, 400, same, same)
    assert (known["at"], known["low"], known["compared"]) == ("1000", "5", "0")
    changed = SAVED.format(changes=3, saved=400)
    assert manifest(tool, 400, changed, changed)["at"] == "401"
    # A file that is of after the last save, or was touched since, is not what that server has now.
    assert manifest(tool, 700, same, same)["at"] == "701"
    assert manifest(tool, 700, changed, changed)["at"] == "701"


@pytest.mark.parametrize(("before", "after"), [("", "5 0 0 0 400 7.0.15"), ("5 0 0 0 400 7.0.15", "")])
def test_a_server_that_answers_only_once_is_none_that_answers(tool: Tool, before: str, after: str) -> None:
    known = manifest(tool, 400, before, after)
    assert (known["at"], known["compared"]) == ("401", "1")


def test_a_log_of_a_server_that_does_not_answer_is_of_now_and_compared_with_nothing(tool: Tool) -> None:
    known = manifest(tool, 400, log="log")
    assert (known["at"], known["compared"]) == ("1000", "1")


def test_the_copy_that_was_made_last_is_forgotten_by_no_plan_whatever_time_it_bears(tool: Tool) -> None:
    with_repository(tool, OWN)
    tool.program("restic", f'echo "$*" >>{tool.directory}/asked\nhere={tool.directory}{REPOSITORY}')
    snapshots = (tool.directory / "snapshots").read_text()
    life = f'"run={OWN}","life={OTHER}"'
    (tool.directory / "snapshots").write_text(snapshots.replace(f'"run={OWN}"', life))
    tool.note("backup", result="ok", at="7", good="7", first="5", run=OWN, repository="0123abcd", where=HERE_IT_IS)
    assert tool.run(f"{SERVED}make_copy", keep="--keep-last=6").returncode == 0
    forgets = [line for line in (tool.directory / "asked").read_text().splitlines() if " forget --tag" in line]
    assert forgets
    for run in (OWN, tool.record("backup")["run"]):
        assert all(f"--keep-tag run={run}" in line for line in forgets)


# --- Where the copies go, and which of them were proved


def settings_are(tool: Tool, repository: str) -> None:
    (tool.directory / "settings" / "backup").write_text(
        f"RESTIC_REPOSITORY={repository}\nRESTIC_PASSWORD=x\nREADER=y\n"
    )


@pytest.mark.parametrize("noted", [place_of("rest:http://h:1/crypto"), place_of("rest:http://u:old@h:1/crypto")])
def test_a_login_that_was_changed_makes_no_repository_in_an_empty_place(tool: Tool, noted: str) -> None:
    """A server that lost its disk is empty for the new password, too; the second is a record of an earlier version."""
    for login in ("u:old", "u:new") if noted == place_of("rest:http://h:1/crypto") else ("u:old",):
        settings_are(tool, f"rest:http://{login}@h:1/crypto")
        tool.note("backup", result="ok", at="7", good="7", first="5", run=OWN, repository="0123abcd", where=noted)
        tool.program("restic", f'echo "$*" >>{tool.directory}/asked; exit 1')
        done = tool.run("make_copy")
        assert "its repository cannot be read" in done.stdout
        assert " init" not in (tool.directory / "asked").read_text()


def test_another_place_gets_a_repository(tool: Tool) -> None:
    settings_are(tool, "rest:http://u:new@elsewhere:1/crypto")
    tool.note("backup", result="ok", at="7", good="7", first="5", run=OWN, repository="0123abcd", where=HERE_IT_IS)
    tool.program("restic", f'echo "$*" >>{tool.directory}/asked; exit 1')
    tool.run("make_copy")
    assert " init" in (tool.directory / "asked").read_text()


def test_what_came_of_a_proof_says_of_which_repository_it_is(tool: Tool) -> None:
    with_repository(tool, OWN)
    tool.note("proof", result="ok", at="7", good="7", keys="5", run=OTHER, repository="ffff", where=HERE_IT_IS)
    done = tool.run("prove_copy ''")  # which has no server here
    assert done.returncode == 1
    assert tool.record("proof")["where"] == HERE_IT_IS
    assert tool.record("proof")["repository"] == "0123abcd"
    assert "good" not in tool.record("proof")
    tool.note("proof", result="ok", at="7", good="7", keys="5", run=OTHER, repository="0123abcd", where=HERE_IT_IS)
    tool.run("prove_copy ''")
    assert tool.record("proof")["good"] == "7"


def test_a_copy_says_since_when_its_repository_is_the_one_it_goes_to(tool: Tool) -> None:
    with_repository(tool, OWN)
    tool.note(
        "backup", result="ok", at="7", good="7", first="5", run=OWN, repository="0123abcd", where=HERE_IT_IS, since="6"
    )
    assert tool.run(f"{SERVED}make_copy").returncode == 0
    assert tool.record("backup")["since"] == "6"
    tool.note("backup", result="ok", at="7", good="7", first="5", run=OWN, repository="ffff", where="0" * 16, since="6")
    assert tool.run(f"{SERVED}make_copy").returncode == 0
    assert tool.record("backup")["since"] == tool.record("backup")["at"]


# --- What is said of a copy that is not what the server had

KEY, VALUE = b"customer:4711".hex(), "d" * 40


def compared(tool: Tool, samples: list[str], found: list[str]) -> "subprocess.CompletedProcess[str]":
    """Samples of the manifest, and what the server of the proof has; how many differ is said."""
    for name, lines in (("samples", samples), ("found", found)):
        (tool.directory / name).write_text("".join(f"{line}\n" for line in lines))
    trace = f'cp {tool.directory}/samples {tool.directory}/found "$work/"; differing; echo "$?"'
    return tool.run(trace)


SOON, LATER = "1000", "99999999999999"  # milliseconds


@pytest.mark.parametrize(
    ("samples", "found", "said"),
    [
        ([f"0 {KEY} {VALUE} -1"], [f"0 {KEY} {VALUE} -1"], ""),
        ([f"0 {KEY} {VALUE} -1"], [], "1 of 1 samples in database 0"),
        ([f"0 {KEY} {VALUE} -1"], [f"0 {KEY} {'e' * 40} -1"], "1 of 1 samples in database 0"),
        ([f"0 {KEY} {VALUE} -1"], [f"1 {KEY} {VALUE} -1"], "1 of 1 samples in database 0"),
        ([f"0 {KEY} {VALUE} {SOON}"], [], ""),
        ([f"0 {KEY} {VALUE} {LATER}"], [], "1 of 1 samples in database 0"),
        (
            [f"0 {KEY} {VALUE} -1", f"3 {KEY} {VALUE} -1", f"3 {KEY}ff {VALUE} -1"],
            [f"3 {KEY} {VALUE} -1"],
            "1 of 1 samples in database 0, 1 of 2 samples in database 3",
        ),
        ([], [], ""),
    ],
)
def test_how_many_keys_differ_is_said_and_never_which(
    tool: Tool, samples: list[str], found: list[str], said: str
) -> None:
    assert compared(tool, samples, found).stdout == f"{said}\n0\n" if said else "0\n"


def test_a_key_stands_in_no_argument_of_a_process(tool: Tool) -> None:
    for name in ("awk", "cut", "grep", "paste", "sed", "sort"):
        tool.program(name, f'echo "$*" >>{tool.directory}/arguments\nexec /usr/bin/{name} "$@"')
    assert compared(tool, [f"0 {KEY} {VALUE} -1"], []).stdout.startswith("1 of 1")
    assert KEY not in (tool.directory / "arguments").read_text()


DAMAGED = """[offset 0] Checking RDB file dump.rdb
--- RDB ERROR DETECTED ---
[offset 91] Unexpected EOF reading RDB file
[additional info] While doing: read-object-value
[additional info] Reading key 'customer:4711
born 1970'
[additional info] Reading type 0 (string)
"""


def test_what_redis_check_rdb_was_reading_is_not_said(tool: Tool) -> None:
    (tool.directory / "checked").write_text(DAMAGED)
    said = tool.run(f"checked_words <{tool.directory}/checked").stdout
    assert "Unexpected EOF" in said
    assert "customer" not in said
    assert "born" not in said


# --- What a proof leaves that was killed


def test_what_a_killed_proof_left_is_removed_by_the_next_run_and_never_while_one_is_under_way(tool: Tool) -> None:
    tool.program("systemctl", f'echo "$*" >>{tool.directory}/asked')
    left = tool.directory / "proofs" / "gateway"
    (left / "own" / "log").mkdir(parents=True)
    lock = tool.directory / "run" / "proof.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert tool.run("sweep").returncode == 0
        assert left.exists()
    assert tool.run("sweep").returncode == 0
    assert not left.exists()
    assert "stop caas-redis-scratch-gateway.service" in (tool.directory / "asked").read_text()
    assert tool.run("sweep").returncode == 0


def test_a_copy_that_is_made_removes_what_a_killed_proof_left(tool: Tool) -> None:
    with_repository(tool, OWN)
    (tool.directory / "proofs" / "crypto").mkdir()
    assert tool.run(f"{SERVED}make_copy").returncode == 0
    assert not (tool.directory / "proofs" / "crypto").exists()


# --- Copies of another host, which this one proves

DAY = "2026-11-27T{}:00Z"
LATE = {"elsewhere": "proves", "late": "10800"}
AT_14 = 1795788000  # 2026-11-27 14:00 UTC, when it is asked


def with_copies(tool: Tool, *copies: tuple[str, str, str]) -> None:
    """A repository that has these: (time, host, run)."""
    with_repository(tool)
    rows = (
        f'{{"time":"{DAY.format(time)}","hostname":"{host}","tags":["{kind}","run={run}"],"id":"{"0" * 64}"}}'
        for time, host, run in copies
        for kind in ("copy", "manifest")
    )
    (tool.directory / "snapshots").write_text("\n".join(rows))


# It is that second.
CLOCK = (
    'date() { case "$*" in *"1 minute"*) echo 2026-11-27T14:01:00 ;; *-d*) command date "$@" ;; '
    f"*) echo {AT_14} ;; esac; }}; "
)
CHOOSE = f'{CLOCK}began={AT_14}; have_repository prove; proved_in=$(cat "$work/id"); choose_run ""; echo "$?|$run|$why"'
ONE, TWO, THREE = "1" * 16, "2" * 16, "3" * 16


@pytest.mark.parametrize(
    ("copies", "proved", "run", "why"),
    [
        ([("12:00", "redis-1", ONE), ("13:00", "redis-1", TWO)], 0, TWO, ""),
        ([("13:00", "redis-1", ONE), ("13:30", "redis-2", TWO)], 0, ONE, ""),
        ([("13:00", "redis-1", ONE), ("15:00", "redis-1", TWO)], 0, ONE, ""),  # of a clock that was ahead
        ([], 0, "", ""),
        ([("13:00", "redis-2", ONE)], 0, "", ""),
        (
            [("13:00", "redis-2", ONE)],
            AT_14 - 3600,
            "",
            "has no copy of redis-1, and had one of 2026-11-27 13:00:00 UTC",
        ),
        (
            [("12:00", "redis-1", ONE)],
            AT_14 - 3600,
            ONE,
            "is of 2026-11-27 12:00:00 UTC, and one of 2026-11-27 13:00:00",
        ),
        ([("12:00", "redis-1", ONE)], AT_14 - 7200, ONE, ""),
        ([("10:00", "redis-1", ONE)], 0, ONE, "is of 2026-11-27 10:00:00 UTC, expected one of the last 3 hours"),
    ],
)
def test_who_proves_elsewhere_takes_the_newest_copy_of_its_host_and_knows_one_that_was_set_back(
    tool: Tool, copies: list[tuple[str, str, str]], proved: int, run: str, why: str
) -> None:
    with_copies(tool, *copies)
    if proved:
        tool.note("proof", result="ok", at="7", copied=str(proved), repository="0123abcd", where=HERE_IT_IS)
    done = tool.run(CHOOSE, **LATE)
    ended, found, said = done.stdout.strip().split("|")
    assert (found, ended == "0") == (run, not why), done.stdout + done.stderr
    assert why in said


@pytest.mark.parametrize(
    ("copies", "proved", "run", "why"),
    [
        ([("13:00", "redis-1", ONE), ("13:30", "redis-2", TWO)], 0, TWO, ""),
        ([("13:30", "redis-1", ONE), ("13:00", "redis-2", TWO)], 0, ONE, ""),
        ([("10:00", "redis-1", ONE), ("13:30", "redis-2", TWO)], AT_14 - 14400, TWO, ""),  # handed over since
        ([("13:00", "redis-1", ONE), ("13:30", "redis-3", TWO), ("13:40", "redis", THREE)], 0, ONE, ""),
        ([], AT_14 - 3600, "", "has no copy of redis-1 or redis-2, and had one"),
        ([("10:00", "redis-2", ONE)], 0, ONE, "newest copy of redis-1 or redis-2 is of 2026-11-27 10:00:00 UTC"),
    ],
)
def test_of_a_pair_the_newest_copy_of_either_host_is_proved(
    tool: Tool, copies: list[tuple[str, str, str]], proved: int, run: str, why: str
) -> None:
    with_copies(tool, *copies)
    if proved:
        tool.note("proof", result="ok", at="7", copied=str(proved), repository="0123abcd", where=HERE_IT_IS)
    done = tool.run(CHOOSE, **LATE, also="redis-2")
    ended, found, said = done.stdout.strip().split("|")
    assert (found, ended == "0") == (run, not why), done.stdout + done.stderr
    assert why in said


def test_what_was_proved_of_another_repository_sets_none_back(tool: Tool) -> None:
    with_copies(tool, ("12:00", "redis-1", ONE))
    tool.note("proof", result="ok", at="7", copied=str(AT_14), repository="ffff", where=HERE_IT_IS)
    assert tool.run(CHOOSE, **LATE).stdout.strip() == f"0|{ONE}|"


def test_where_its_host_has_made_none_yet_nothing_is_proved_and_nothing_is_red(tool: Tool) -> None:
    with_copies(tool)
    done = tool.run("prove_copy ''", **LATE)
    assert done.returncode == 0
    assert "redis-1 has made no copy yet" in done.stdout
    assert tool.record("proof")["result"] == "ok"
    assert "good" not in tool.record("proof")


def asked_of_restic(tool: Tool, more: str = "") -> list[str]:
    """What restic was asked by a proof, which has no server here."""
    tool.program("restic", f'here={tool.directory}\necho "$*" >>$here/asked\n{more}{REPOSITORY}')
    tool.run(f"{CLOCK}prove_copy ''", **LATE)
    return (tool.directory / "asked").read_text().splitlines()


def test_who_proves_elsewhere_locks_nothing_and_changes_nothing(tool: Tool) -> None:
    with_copies(tool, ("12:00", "redis-1", ONE))
    asked = asked_of_restic(tool)
    assert any(" check --read-data-subset" in line for line in asked)
    assert all("--no-lock" in line for line in asked)
    assert not [line for line in asked if {"unlock", "prune", "forget", "init", "key", "backup"} & {*line.split()}]


@pytest.mark.parametrize(("changes", "checks"), [(True, 5), (False, 1)])
def test_what_its_host_writes_meanwhile_is_read_again_and_no_damage(tool: Tool, changes: bool, checks: int) -> None:
    with_copies(tool, ("12:00", "redis-1", ONE))
    listed = "wc -l <$here/asked" if changes else "echo the same"
    more = f'case "$*" in *" check "*) echo broken >&2; exit 1 ;; *" list "*) {listed}; exit 0 ;; esac\n'
    asked = asked_of_restic(tool, more)
    assert len([line for line in asked if " check " in line]) == checks
    assert tool.record("proof")["said"] == "its repository is damaged: broken"


@pytest.mark.parametrize(
    ("own", "other", "older"),
    [
        ("7.0.15", "7.0.15", False),
        ("7.0.1", "7.0.15", False),
        ("7.0.15", "7.2.0", True),
        ("7.0.15", "8.0.2", True),
        ("8.0.2", "7.0.15", False),
        ("7.10.1", "7.9.1", False),
        ("7.9.1", "7.10.1", True),
        ("", "7.0.15", False),
        ("7.0.15", "", False),
        ("7.0.15", "x", False),
    ],
)
def test_an_older_version_is_told_by_its_first_two_numbers(tool: Tool, own: str, other: str, older: bool) -> None:
    assert (tool.run(f"is_older '{own}' '{other}'").returncode == 0) == older


def test_a_copy_of_a_newer_redis_is_no_damage_and_not_loaded(tool: Tool) -> None:
    with_copies(tool, ("12:00", "redis-1", ONE))
    (tool.directory / "newer").write_text(told(server="8.0.2"))
    dumps = 'case "$*" in *".manifest"*) cat $here/newer; exit 0 ;; esac\n'
    asked_of_restic(tool, dumps)
    said = tool.record("proof")["said"]
    assert "it is of Redis 8.0.2, this host has 7.0.15" in said
    assert "let another one prove it" in said


def prunes(tool: Tool) -> int:
    path = tool.directory / "asked"
    return sum(" prune" in line for line in path.read_text().splitlines()) if path.exists() else 0


def test_where_another_host_proves_what_was_forgotten_is_removed_once_a_week_by_copies(tool: Tool) -> None:
    with_repository(tool, OWN)
    tool.program("restic", f'here={tool.directory}\necho "$*" >>$here/asked{REPOSITORY}')
    given = {"elsewhere": "proved", "keep": "--keep-last=6"}
    for _ in range(2):
        assert tool.run(f"{SERVED}make_copy", **given).returncode == 0
        assert prunes(tool) == 1
    kept = tool.record("backup")
    assert kept["pruned"] >= kept["since"]
    tool.note("backup", **kept | {"pruned": "7"})
    assert tool.run(f"{SERVED}make_copy", **given).returncode == 0
    assert prunes(tool) == 2
    assert tool.run(f"{SERVED}make_copy", keep="--keep-last=6").returncode == 0  # proved here: that does it
    assert prunes(tool) == 2


@pytest.mark.parametrize(
    ("elsewhere", "memory", "may"),
    [("proved", str(1 << 60), False), ("proved", "1024", True), ("proved", "infinity", True), ("", str(1 << 60), True)],
)
def test_a_restore_is_proved_at_home_where_there_is_memory_for_it(
    tool: Tool, elsewhere: str, memory: str, may: bool
) -> None:
    done = tool.run("has_memory", elsewhere=elsewhere, memory=memory)
    assert (done.returncode == 0) == may
    assert ("of memory available, expected " in done.stdout) == (not may)


def test_a_server_that_does_not_load_a_copy_in_its_time_is_ended_and_said(tool: Tool) -> None:
    with_repository(tool, OWN)
    tool.program("systemctl", f'echo "$*" >>{tool.directory}/units')
    loads = (
        'unpack() { echo "bytes 1" >"$work/manifest"; }; start_scratch() { server=x.service; }; ask_scratch() { :; }; '
    )
    done = tool.run(f"{loads}prove_copy ''", patience="1")
    assert done.returncode == 1
    assert f"a server has not loaded the copy of run {OWN} in 1 s" in done.stdout
    assert "kill --signal=KILL x.service" in (tool.directory / "units").read_text()


@pytest.mark.parametrize(
    ("messages", "why"),
    [("Bad file format reading the append only file", "Bad file format"), ("", "it ended, and said nothing: signal")],
)
def test_why_a_server_of_the_proof_has_ended_is_said(tool: Tool, messages: str, why: str) -> None:
    with_repository(tool, OWN)
    tool.program("systemctl", 'case "$*" in *is-active*) exit 3 ;; *Result*) echo signal ;; esac')
    written = f"echo '{messages}' >$in/messages" if messages else ":"
    stubs = 'unpack() { echo "bytes 1" >"$work/manifest"; }; ask_scratch() { :; }; '
    done = tool.run(f"{stubs}start_scratch() {{ server=x.service; {written}; }}; prove_copy ''")
    assert done.returncode == 1
    assert f"a server does not load the copy of run {OWN}: {why}" in done.stdout


def test_a_file_of_the_throw_away_server_is_bounded_by_the_copys_size(tool: Tool) -> None:
    tool.program("systemd-run", f'echo "$*" >{tool.directory}/started')
    tool.program("systemctl", ":")
    calls = 'echo "bytes 1000" >"$work/manifest"; start_scratch /x'
    for bound, largest in (({}, 1000 + (64 << 20)), ({"spare": "24"}, 1024)):
        tool.run(calls, **bound)
        assert f"--property=LimitFSIZE={largest} " in (tool.directory / "started").read_text()


@pytest.mark.parametrize(("held", "recorded"), [("proof", True), ("crypto.backup", False)])
def test_whether_a_repository_opens_is_said_without_waiting_for_a_proof(tool: Tool, held: str, recorded: bool) -> None:
    (tool.directory / "run").mkdir(exist_ok=True)
    lock = f"exec 7>{tool.directory}/run/{held}.lock; command flock 7; "
    patience = 'flock() { case "$*" in *--wait*) return 1 ;; esac; command flock "$@"; }; '
    with_copies(tool, ("12:00", "redis-1", ONE))
    done = tool.run(f"{lock}{patience}try_to_open", **LATE)
    assert (done.returncode, "opens" in done.stdout) == (0, True), done.stdout + done.stderr
    tool.program("restic", "echo no route to host >&2; exit 1")
    assert "no route to host" in tool.run(f"{lock}{patience}try_to_open", **LATE).stdout
    # What is proved right now records by itself what it finds.
    assert (tool.directory / "records" / "crypto.proof").exists() == recorded


UNREACHED = "echo no route to host >&2; exit 1"
PROVED = {"result": "ok", "at": "7", "good": "7", "keys": "5", "run": ONE, "copied": "6"}
PROVED |= {"repository": "0123abcd", "where": HERE_IT_IS}


def tried(tool: Tool, reached: bool = True) -> "subprocess.CompletedProcess[str]":
    """A deploy tries whether the repository opens here."""
    with_copies(tool, ("12:00", "redis-1", ONE))
    if not reached:
        tool.program("restic", UNREACHED)
    return tool.run("try_to_open", **LATE)


def test_a_host_that_cannot_open_what_it_is_to_prove_says_so_at_once(tool: Tool) -> None:
    done = tried(tool, reached=False)
    assert done.returncode == 1
    assert "its repository cannot be opened from this host: no route to host" in done.stdout
    assert (tool.record("proof")["result"], tool.record("proof")["opens"]) == ("failed", "no")


@pytest.mark.parametrize("proved", [True, False])
@pytest.mark.parametrize("by", ["try_to_open", "prove_copy ''"])
def test_a_repository_that_opens_again_is_as_well_as_before_it_did_not(tool: Tool, proved: bool, by: str) -> None:
    if proved:
        tool.note("proof", **PROVED)
    for _ in range(2):
        tool.program("restic", UNREACHED)
        assert tool.run(by, **LATE).returncode == 1
        assert tool.record("proof")["opens"] == "no"
    assert tried(tool).returncode == 0
    assert (tool.records / "crypto.proof").exists() == proved
    assert not proved or tool.record("proof") == PROVED


DAMAGED_RECORD = PROVED | {"result": "failed", "at": "9", "said": "its repository is damaged: x"}


def test_what_a_proof_found_bad_stays_red_whatever_opens(tool: Tool) -> None:
    tool.note("proof", **DAMAGED_RECORD)
    for reached in (False, True):
        tried(tool, reached)
        assert tool.record("proof") == DAMAGED_RECORD
    # A proof that cannot open it says so, and that takes nothing back either.
    tool.program("restic", UNREACHED)
    tool.run("prove_copy ''", **LATE)
    assert "no route to host" in tool.record("proof")["said"]
    tried(tool)
    assert tool.record("proof")["result"] == "failed"


@pytest.mark.parametrize("changed", [{"where": "0" * 16}, {"repository": "ffff"}])
def test_what_was_proved_of_another_repository_comes_back_with_none(tool: Tool, changed: dict[str, str]) -> None:
    tool.note("proof", **PROVED | changed)
    assert tried(tool, reached=False).returncode == 1
    assert tried(tool).returncode == 0
    assert not (tool.records / "crypto.proof").exists()


def test_a_repository_with_another_password_is_red_until_a_try_opens_it(tool: Tool) -> None:
    tool.note("proof", **PROVED)
    tool.program("restic", "echo wrong password or no key found >&2; exit 1")
    for _ in range(2):
        assert tool.run("try_to_open", **LATE).returncode == 1
        assert "another password" in tool.record("proof")["said"]
    assert tried(tool).returncode == 0
    assert tool.record("proof") == PROVED


# --- What a repository has was written by whoever has its password

DIGEST = "d" * 64
WHOLE = {
    "format": "1",
    "role": "crypto",
    "at": "1795784400",
    "host": "redis-1",
    "machine": OWN,
    "life": OWN,
    "server": "7.0.15",
    "kind": "snapshot",
    "digest": DIGEST,
    "bytes": "100",
    "newest": "1795784300",
    "answered": "yes",
    "keys": "1",
    "expires": "0",
    "low": "1",
    "high": "1",
    "before db0": "keys=1,expires=0",
    "after db0": "keys=1,expires=0",
    "sample 0": f"{KEY} {VALUE} -1",
}
LOADED = "echo redis_version:7.0.15; echo db0:keys=1,expires=0"


def told(**changes: str | None) -> str:
    """A manifest as this tool writes it, with these lines another way, or not."""
    return "".join(f"{name} {value}\n" for name, value in (WHOLE | changes).items() if value is not None)


def tar_of(*members: tuple[str, int]) -> bytes:
    """A copy whose members are zeros."""
    text = io.BytesIO()
    with tarfile.open(fileobj=text, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, size in members:
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(b"\0" * size))
    return text.getvalue()


def proved(tool: Tool, told: bytes, copy: bytes = b"", **given: str) -> "subprocess.CompletedProcess[str]":
    """A proof of a copy that a repository has, by a server that has one key."""
    with_copies(tool, ("13:00", "redis-1", ONE))
    (tool.directory / "manifest").write_bytes(told)
    (tool.directory / "tar").write_bytes(copy)
    dumps = 'case "$*" in *".manifest"*) cat $here/manifest; exit ;; *".tar"*) cat $here/tar; exit ;; esac\n'
    tool.program("restic", f"here={tool.directory}\n{dumps}{REPOSITORY}")
    tool.program("redis-check-rdb", "exit 0")
    tool.program("redis-check-aof", "echo All AOF files and manifest are valid")
    tool.program("systemctl", ":")
    asked = f'ask_scratch() {{ words=$(cat); case "$words" in INFO) {LOADED} ;; esac; }}; '
    stubs = f"start_scratch() {{ server=x.service; }}; {asked}"
    (tool.directory / "tools").unlink()
    (tool.directory / "tools").mkdir(exist_ok=True)
    for path in SOURCES.iterdir():
        (tool.directory / "tools" / path.name).write_text(path.read_text())
    (tool.directory / "tools" / "sample").write_text("return {}\n")
    done = tool.run(f"{CLOCK}{stubs}prove_copy ''", **(LATE | given))
    shutil.rmtree(tool.directory / "tools")
    (tool.directory / "tools").symlink_to(SOURCES)
    return done


ANOTHER_FORM = "its manifest is of another form than this tool's"


@pytest.mark.parametrize("database", ["a/b/;1e{command};#", "0/;w {made}\n#", "$({command})", "a[$({command})]"])
def test_what_a_manifest_calls_a_sample_is_run_by_nobody(tool: Tool, database: str) -> None:
    made = tool.directory / "made"
    line = database.format(command=f"touch${{IFS}}{made}", made=made)
    copy = tar_of(("snapshot", 100))
    text = told(digest=hashlib.sha256(copy).hexdigest(), **{f"sample {line}": "00 00 0"})
    done = proved(tool, text.encode(), copy)
    assert not made.exists()
    assert done.returncode == 1
    assert ANOTHER_FORM in tool.record("proof")["said"]


NUMBERS = ("at", "bytes", "newest", "keys", "expires", "low", "high")
NONE = ("", "x", "-1", "08", "1 2", "1+1", "memory=1", "9" * 20, "$(id)", "1\0", "1\r")
USED = ("format", "at", "kind", "digest", "bytes", "high", "expires")


def taken(tool: Tool, *texts: str) -> list[str]:
    """Those of the texts that are a manifest."""
    for number, text in enumerate(texts):
        (tool.directory / f"told-{number}").write_text(text)
    each = f'is_manifest "{tool.directory}/told-$nth" && echo "$nth"'
    done = tool.run(f"for nth in $(seq 0 {len(texts) - 1}); do {each}; done")
    assert done.stderr == ""
    return [texts[int(nth)] for nth in done.stdout.split()]


def test_a_number_of_a_manifest_that_is_none_is_reckoned_with_by_nobody(tool: Tool) -> None:
    assert taken(tool, *(told(**{name: value}) for name in NUMBERS for value in NONE)) == []


def test_a_manifest_that_lacks_a_line_that_is_used_or_has_it_twice_is_none(tool: Tool) -> None:
    lacking = [told(**{name: None}) for name in USED]
    assert taken(tool, "", *lacking, *(f"{told()}{name} {WHOLE[name]}\n" for name in USED)) == []


def test_a_manifest_with_a_longer_word_than_this_tool_writes_is_none(tool: Tool) -> None:
    longest = told(host="h" * 255, **{"sample 3": f"{'ab' * 1000} gone 0"})
    longer = [told(host="h" * 256), told(**{"sample 3": f"{'ab' * 1050} gone 0"})]
    assert taken(tool, longest, *longer) == [longest]


def test_a_manifest_as_this_tool_writes_it_is_one(tool: Tool) -> None:
    uncompared = dict.fromkeys(("keys", "expires", "low", "high", "sample 0"))
    texts = [
        told(),
        told(machine=None, answered=None),  # of an earlier version
        told(answered="no", **uncompared),
        told(low=None, high=None),
        told(server="", newest="0"),
        told(kind="log", **{"sample 3": f"{KEY} gone 0", "before db3": "keys=1,expires=0"}),
    ]
    assert taken(tool, *texts) == texts


def test_a_copy_as_its_manifest_says_is_proved(tool: Tool) -> None:
    copy = tar_of(("snapshot", 100))
    text = told(digest=hashlib.sha256(copy).hexdigest(), **{"sample 0": None})
    done = proved(tool, text.encode(), copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert tool.record("proof")["result"] == "ok"


TEXT = st.lists(
    st.one_of(
        st.sampled_from([f"{name} {value}".encode() for name, value in WHOLE.items()]),
        st.builds(
            lambda name, text: name + b" " + text,
            st.sampled_from([name.encode() for name in WHOLE]),
            st.sampled_from([b"1e%b;#", b"/;w %b", b"$(%b)", b"`%b`", b"a[$(%b)]", b";%b;", b"1 2 3"]),
        ),
        st.binary(max_size=40),
    ),
    max_size=12,
).map(b"\n".join)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(TEXT, TEXT.map(lambda text: told().encode() + text)))
def test_whatever_stands_in_a_manifest_makes_no_file_and_is_red(tool: Tool, text: bytes) -> None:
    made = tool.directory / "made"
    text = text.replace(b"%b", f"touch${{IFS}}{made}".encode())
    for path in ("proofs", "run"):
        shutil.rmtree(tool.directory / path, ignore_errors=True)
        (tool.directory / path).mkdir()
    done = proved(tool, text)  # which has no copy to it
    assert not made.exists()
    assert done.returncode == 1
    assert tool.record("proof")["result"] == "failed"
    assert sorted(path.name for path in tool.records.iterdir()) == ["crypto.proof"]


def test_a_manifest_of_any_size_is_not_laid_down(tool: Tool) -> None:
    done = proved(tool, told().encode() + f"sample 0 {KEY} {VALUE} -1\n".encode() * 100_000)
    assert done.returncode == 1
    assert "its manifest cannot be read: it has more than 2097152 bytes" in tool.record("proof")["said"]


@pytest.mark.parametrize(
    "members",
    [[("snapshot", 64 << 20)], [("log/a", 1000), ("log/b", 64 << 20)], [(f"log/{n}", 0) for n in range(5_000)]],
    ids=["one", "two", "many"],
)
def test_no_more_is_unpacked_than_a_manifest_says(tool: Tool, members: list[tuple[str, int]]) -> None:
    """However little it is in a repository."""
    copy = tar_of(*members)
    (tool.directory / "tar").write_bytes(copy)
    with TemporaryDirectory(dir="/dev/shm") as into:  # each file is synced: thousands take minutes on a busy disk
        left = f"$(du -sb --apparent-size {into} | cut -f1) $(find {into} | wc -l)"
        calls = f'perl "$tools/unpack.pl" {into}/log x {into}/s 100'
        done = tool.run(f'{calls} <{tool.directory}/tar; echo "$?" {left}')
    ended, size, files = done.stdout.split()
    assert ended == "1"
    assert "the copy is larger than its manifest says" in done.stderr
    assert int(size) < (3 << 20)
    assert int(files) < 4_200


def test_a_copy_that_is_larger_than_its_manifest_says_is_red_in_words(tool: Tool) -> None:
    copy = tar_of(("snapshot", 64 << 20))
    assert proved(tool, told(digest=hashlib.sha256(copy).hexdigest()).encode(), copy).returncode == 1
    assert "the copy is larger than its manifest says" in tool.record("proof")["said"]


def test_who_proves_elsewhere_takes_no_copy_that_no_such_role_has(tool: Tool) -> None:
    done = proved(tool, told(bytes=str(1 << 30)).encode(), memory=str(200 << 20))
    assert done.returncode == 1
    assert f"it has {1 << 30} bytes, expected at most {4 * (200 << 20)}" in tool.record("proof")["said"]


def test_a_list_of_copies_of_any_size_is_not_laid_down(tool: Tool) -> None:
    tool.program("restic", "head -c 67108864 /dev/zero")
    done = tool.run('snapshots >"$work/list"; echo "$?"; cat "$work/said"; stat -c %s "$work/snapshots"')
    ended, said, size = done.stdout.splitlines()
    assert (ended, said) == ("1", "it has more than 33554432 bytes")
    assert int(size) <= (32 << 20) + 1


@pytest.mark.parametrize("line", ["bytes x", "until $(id)", "bytes 08", "until 1\nbytes 2", "else 1", "keys -1"])
def test_what_is_said_of_a_copy_as_the_roles_user_is_matched(tool: Tool, line: str) -> None:
    with_repository(tool, OWN)
    copies = SERVED.replace("until 3", f"until 3\n{line}" if line.startswith(("else", "keys")) else line)
    if line.startswith("bytes"):
        copies = SERVED.replace("bytes 1", line)
    assert tool.run(f"{copies}make_copy").returncode == 1
    assert "what its copier says of it is of another form" in tool.record("backup")["said"]


def test_a_value_of_several_lines_is_of_no_form_that_one_of_them_has(tool: Tool) -> None:
    assert tool.run("is 'a\n5' '[0-9]+'").returncode == 1

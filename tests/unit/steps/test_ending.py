"""A server that was told to end and does not (tasks/steps/ending.py): what is said, and how long it is waited for."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.observed.connection import CommandResult
from tasks.observed.exchange import Reply, ReplyError
from tasks.observed.script import script
from tasks.steps.ending import judged, restart_script, runs_on, stop_script

NOTBUSY = ReplyError("NOTBUSY No scripts in execution right now.")
UNKILLABLE = ReplyError("UNKILLABLE Sorry the script already executed write commands against the dataset.")
FUNCTION = ReplyError("BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.")


@pytest.mark.parametrize(
    ("replies", "ended", "words"),
    [
        (["OK", "OK", NOTBUSY], True, "a script that had written nothing"),
        (["OK", FUNCTION, "OK"], True, "a script that had written nothing"),
        (["OK", UNKILLABLE, NOTBUSY], False, "(UNKILLABLE). Nothing of it is on disk: SHUTDOWN NOSAVE as operator"),
        (["OK", FUNCTION, UNKILLABLE], False, "(UNKILLABLE). Nothing of it is on disk: SHUTDOWN NOSAVE as operator"),
        (["OK", NOTBUSY, NOTBUSY], False, "it runs no script (NOTBUSY"),
        (
            [ReplyError("WRONGPASS x"), ReplyError("NOAUTH x"), ReplyError("NOAUTH x")],
            False,
            "cannot be asked why: WRONGPASS",
        ),
    ],
)
def test_what_keeps_a_server_from_its_end_is_said(replies: list[Reply], ended: bool, words: str) -> None:
    found = judged(replies)
    assert found[0] is ended
    assert words in found[1]


def test_only_a_server_that_has_not_ended_runs_on() -> None:
    assert runs_on(CommandResult(False, "was told to end 15 s ago and neither saves nor ends", ""))
    assert not runs_on(CommandResult(False, "Job for redis-crypto.service failed", ""))
    assert not runs_on(CommandResult(True, "", ""))


@pytest.mark.parametrize("text", [restart_script("redis-crypto.service"), stop_script("redis-crypto.service")])
def test_no_server_is_ever_killed(text: str) -> None:
    code = [line for line in text.splitlines() if not line.startswith("#")]
    assert not [line for line in code if "kill" in line.lower()]


BEGUN = "import os, time; print('begun', flush=True)\n"
ANSWERS = BEGUN + "while True: os.write(2, b'-BUSY')"
GROWS = BEGUN + "while True: open('log', 'a').write('x'); time.sleep(0.05)"


@pytest.mark.parametrize(
    ("does", "said"),
    [(ANSWERS, "neither saves nor ends"), (GROWS, "still writes")],
    ids=["a script that loops while others ask", "a save"],
)
def test_only_what_a_server_writes_into_its_directory_is_waited_for(tmp_path: Path, does: str, said: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", does], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=tmp_path
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"begun\n"
        try:
            systemctl = f"systemctl() {{ [ $1 != show ] || echo {server.pid}; }}\n"
            end = script("end-unit", job="stop", unit="redis-x.service", directory=str(tmp_path), patience=2, longest=4)
            done = subprocess.run(
                ["sh", "-c", systemctl + end], capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            server.kill()
    assert (done.returncode, done.stderr) == (3, "")
    assert said in done.stdout

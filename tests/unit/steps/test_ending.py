"""A server that was told to end and runs on (tasks/steps/ending.py): what is said of it."""

import pytest

from tasks.observed.connection import CommandResult
from tasks.observed.exchange import Reply, ReplyError
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

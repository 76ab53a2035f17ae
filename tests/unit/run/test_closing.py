"""The last sentence of a run that changes hosts (tasks/run/closing.py)."""

from dataclasses import replace

import pytest

from tasks.run.closing import Outcome, sentence

ONE = Outcome(("a", "b"), (), {"a": 2, "b": 0}, (), 1.24)
SAID = {
    "Done: 2 operations on a, no restart, in 1.2 s; as they should be: a, b.": ONE,
    "Done: 1 operation on a, no restart, in 1.2 s; as they should be: a, b.": replace(ONE, changes={"a": 1}),
    "Done: nothing changed, no restart, in 1.2 s; as they should be: 4 hosts.": replace(ONE, changes={}, hosts="abcd"),
    "Done: 2 operations on a, restarted crypto on a, gateway on b, in 1.2 s; as they should be: a, b.": replace(
        ONE, restarted=("crypto on a", "gateway on b")
    ),
    "Not done: b failed, see above why (2 operations on a, no restart, in 1.2 s): mend what is said there and run the "
    "same command again, which goes on from here.": replace(ONE, failed=("b",)),
    "Only planned: nothing was changed.": replace(ONE, planned_only=True),
    "Only planned: nothing was changed, and of some hosts not everything is known, see above.": replace(
        ONE, planned_only=True, failed=("a",)
    ),
}


@pytest.mark.parametrize("words", SAID)
def test_a_run_ends_in_one_sentence(words: str) -> None:
    assert sentence(SAID[words]) == words

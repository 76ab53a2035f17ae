"""What a drill in which memory is short makes of what the kernel says."""

import pytest

from tasks.drills.memory import ended_behind_child


@pytest.mark.parametrize(
    ("ended", "behind"),
    [([], False), (["7"], False), (["9"], False), (["9", "7"], True), (["7", "9"], False), (["8", "9", "7"], True)],
)
def test_a_server_that_the_kernel_ended_behind_its_child_is_told_from_one_that_was_chosen(
    ended: list[str], behind: bool
) -> None:
    assert ended_behind_child("7", ended) is behind

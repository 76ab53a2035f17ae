"""Whether the copy was told to serve, of a handover whose old server is down: a table of what it says."""

import pytest

from tasks.compare.cut_short import may_have_served

OLD = ("172.28.2.1", 6383)
# As 7.0.15 says it of one whose primary was killed.
LINKED = {
    "role": "slave",
    "master_host": "172.28.2.1",
    "master_port": "6383",
    "master_link_status": "down",
    "master_link_down_since_seconds": "1",
}


@pytest.mark.parametrize(
    "more", [{}, {"master_link_down_since_seconds": "0"}, {"master_link_status": "up"}], ids=["down", "just", "not yet"]
)
def test_one_that_follows_the_server_that_it_was_linked_to_was_never_told(more: dict[str, str]) -> None:
    assert may_have_served(LINKED | more, False, OLD) == ""


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (None, "does not run"),
        ({}, "says that it is nothing"),
        (LINKED | {"role": "master"}, "says that it is master"),
        (LINKED | {"master_host": "172.28.2.77"}, "follows 172.28.2.77:6383"),
        # Started since, or told to serve and to follow again: both say so.
        (LINKED | {"master_link_down_since_seconds": "-1"}, "has not been linked"),
        (LINKED | {"master_link_down_since_seconds": ""}, "has not been linked"),
        ({name: text for name, text in LINKED.items() if "since" not in name}, "has not been linked"),
    ],
)
def test_one_of_which_that_is_not_seen_may_have_been_told(info: dict[str, str] | None, words: str) -> None:
    assert words in may_have_served(info, False, OLD)


def test_one_whose_host_has_noted_that_the_role_ran_may_have_been_told() -> None:
    assert "noted" in may_have_served(LINKED, True, OLD)

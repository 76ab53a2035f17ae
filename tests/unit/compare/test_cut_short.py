"""Whether the copy was told to serve, of a handover whose old server is down: a table of what it says."""

import pytest

from tasks.compare.cut_short import has_served, may_have_served

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


TO = ("172.28.2.2", 6383)
THEN = "a" * 40
FOLLOWED = {"role": "slave", "master_host": "172.28.2.2", "master_port": "6383", "master_replid": "b" * 40}


def test_a_copy_has_served_where_the_old_server_has_followed_its_history() -> None:
    assert "has followed its history" in has_served(FOLLOWED, THEN, False, TO)


def test_a_copy_has_served_where_its_host_has_noted_it() -> None:
    assert "noted" in has_served(FOLLOWED | {"master_replid": THEN}, "", True, TO)


@pytest.mark.parametrize(
    ("more", "then"),
    [
        ({"master_replid": THEN}, THEN),  # its own still
        ({}, ""),  # what it had is not known
        ({}, "a" * 39),
        ({"master_replid": ""}, THEN),
        ({"master_replid": "b" * 39}, THEN),
        ({"role": "master"}, THEN),
        ({"master_host": "172.28.2.77"}, THEN),  # whose history it is, is not known
        ({"master_port": "6384"}, THEN),
    ],
)
def test_what_is_not_known_is_not_taken_for_served(more: dict[str, str], then: str) -> None:
    assert has_served(FOLLOWED | more, then, False, TO) == ""


@pytest.mark.parametrize("more", [{"role": "master"}, {"master_host": "172.28.2.77"}])
def test_what_a_host_has_noted_counts_beside_an_old_server_that_follows_it_only(more: dict[str, str]) -> None:
    assert has_served(FOLLOWED | more, THEN, True, TO) == ""

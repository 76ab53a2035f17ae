"""What a server of a role that has left its host tells of its users (observed/leftover.py)."""

from __future__ import annotations

import pytest

from tasks.observed.exchange import Reply, ReplyError
from tasks.observed.leftover import read_users

USER: Reply = ["flags", ["on"], "passwords", ["a" * 64, "b" * 64], "commands", "-@all"]


def test_users_are_told_with_the_hashes_of_their_passwords_and_those_it_lacks_are_left_out() -> None:
    assert read_users(["one", "two"], [USER, None]) == {"one": frozenset({"a" * 64, "b" * 64})}
    assert read_users([], []) == {}


@pytest.mark.parametrize(
    "reply",
    [
        ReplyError("NOPERM this user has no permissions"),
        "OK",
        1,
        ["flags", ["on"]],
        ["passwords", "text"],
        ["passwords"],
    ],
)
def test_what_is_no_user_is_not_known(reply: Reply) -> None:
    assert read_users(["one", "two"], [USER, reply]) is None

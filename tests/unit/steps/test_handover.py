"""When a copy may serve for an old server that follows it: only while it is seen to hold all that the old one had."""

import pytest

from tasks.steps.handover import lacks

TO = ("10.0.0.2", 6379)
OLD = {
    "role": "slave",
    "master_host": "10.0.0.2",
    "master_port": "6379",
    "master_replid": "a" * 40,
    "master_repl_offset": "1000",
}
NEW = {"role": "slave", "master_replid": "a" * 40, "slave_repl_offset": "1000"}


@pytest.mark.parametrize("has", [986, 1000, 1014], ids=["all but a PING", "all", "all and a PING"])
def test_a_copy_that_has_all_writes_may_serve(has: int) -> None:
    assert lacks(OLD, NEW | {"slave_repl_offset": str(has)}, TO) == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"slave_repl_offset": "985"}),
        ({}, {"slave_repl_offset": "999"}),
        ({}, {"slave_repl_offset": "1"}),
        ({}, {"slave_repl_offset": "1015"}),
        ({}, {"slave_repl_offset": ""}),
        ({}, {"slave_repl_offset": "-1"}),
        ({"master_repl_offset": "many"}, {}),
        ({"master_repl_offset": "5000"}, {}),
        ({}, {"master_replid": "b" * 40}),
        ({"master_replid": ""}, {"master_replid": ""}),
        ({"master_host": "10.0.0.3"}, {}),
        ({"master_port": "6380"}, {}),
    ],
)
def test_a_copy_that_may_lack_a_write_never_serves_by_itself(old: dict[str, str], new: dict[str, str]) -> None:
    assert lacks(OLD | old, NEW | new, TO)


@pytest.mark.parametrize("name", ["master_host", "master_port", "master_replid", "master_repl_offset"])
def test_what_the_old_server_does_not_tell_is_not_taken_for_held(name: str) -> None:
    assert lacks({key: value for key, value in OLD.items() if key != name}, NEW, TO)


@pytest.mark.parametrize("name", ["master_replid", "slave_repl_offset"])
def test_what_the_copy_does_not_tell_is_not_taken_for_held(name: str) -> None:
    assert lacks(OLD, {key: value for key, value in NEW.items() if key != name}, TO)

"""Which drills there are, what they promise of any role, and how they are asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.drills.plan import BY_NAME, DRILLS, chosen
from tasks.drills.rehearsal import OF_HOST, OF_ROLE, deploy_command, way_in
from tasks.reports.rehearsal_model import DRILLS as REPORTED
from tests.unit.builders import EVERY, desired


def test_every_drill_of_the_report_can_be_run_and_the_other_way_round() -> None:
    assert list(BY_NAME) == list(REPORTED)
    assert {drill.name for drill in DRILLS if drill.of == "role"} == OF_ROLE.keys()
    assert {drill.name for drill in DRILLS if drill.of == "host"} == OF_HOST.keys()


@pytest.mark.parametrize("role", EVERY)
@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_every_role_has_a_promise_or_a_reason_for_none(drill, role: str) -> None:  # type: ignore[no-untyped-def]
    found = desired(role).roles[0]
    why = drill.left_out(found)
    assert drill.promise(found)
    without_log = not found.appendonly and drill.name in {name for name in BY_NAME if "log" in name} | LOGGED
    without_room = drill.name == "rewrite_memory_short" and found.maxmemory < 64 << 20
    assert bool(why) == (without_log or without_room)


LOGGED = {"rewrite_memory_short", "latency"}


def test_a_full_role_s_promise_is_that_of_its_policy() -> None:
    said = {role: BY_NAME["full"].promise(desired(role).roles[0]) for role in ("gateway", "socket", "crypto")}
    assert "evicts (allkeys-lru), takes every write" in said["gateway"]
    assert "evicts only keys with a TTL (volatile-lru), and refuses writes when none is left" in said["socket"]
    assert "refuses writes (noeviction), reads on, and keeps every key" in said["crypto"]


def test_only_a_role_that_writes_always_promises_that_a_power_cut_takes_nothing() -> None:
    assert "every acknowledged write" in BY_NAME["power"].promise(desired("crypto").roles[0])
    assert "at most two seconds of them are lost" in BY_NAME["power"].promise(desired("gateway").roles[0])


def test_without_a_word_all_drills_are_run() -> None:
    assert chosen(None) == (DRILLS, [])


def test_the_standard_ones_are_a_part_that_takes_less_than_half_of_all() -> None:
    found, problems = chosen("standard")
    assert problems == []
    assert sum(drill.seconds for drill in found) < sum(drill.seconds for drill in DRILLS) / 2


@given(st.lists(st.sampled_from(sorted(BY_NAME)), min_size=1))
def test_drills_are_asked_for_by_name_and_run_in_their_own_order(names: list[str]) -> None:
    found, problems = chosen(" , ".join(names))
    assert problems == []
    assert [drill.name for drill in found] == [name for name in BY_NAME if name in names]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("crahs", "crahs: no drill of this name, expected crash"),
        ("crash,xyz", "xyz: no drill of this name, expected standard, or of full, crash, power"),
        ("", "names none, expected standard, or of full, crash"),
        (",", "names none"),
        (True, "True: no drill of this name"),
    ],
)
def test_a_drill_that_nobody_knows_is_refused_in_words(asked: object, words: str) -> None:
    _, (problem,) = chosen(asked)
    assert words in problem


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["-y", "i.py", "tasks/rehearse.py"], ["-y", "i.py", "deploy.py"]),
        (["--yes", "-v", "i.py", "/srv/tasks/rehearse.py"], ["-y", "-v", "i.py", "deploy.py"]),
        (
            ["--data", "drills=crash", "--data", "redis_overrides={}", "-y", "i.py", "tasks/rehearse.py"],
            ["-y", "--data", "drills=crash", "--data", "redis_overrides={}", "i.py", "deploy.py"],
        ),
    ],
)
def test_the_deploy_that_ends_a_drill_is_that_of_the_same_command_line(argv: list[str], command: list[str]) -> None:
    assert deploy_command(argv) == command


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "ssh redis-1"),
        ({"ssh_hostname": "192.0.2.1", "ssh_user": "root"}, "ssh root@192.0.2.1"),
        (
            {"ssh_hostname": "127.0.0.1", "ssh_port": 22201, "ssh_user": "admin", "ssh_key": "/k y", "_sudo": True},
            "ssh -p 22201 -i '/k y' admin@127.0.0.1",
        ),
        ({"ssh_known_hosts_file": "/known"}, "ssh -o UserKnownHostsFile=/known redis-1"),
    ],
)
def test_a_failed_drill_says_how_to_get_in(data: dict[str, object], words: str) -> None:
    assert way_in("redis-1", data) == words

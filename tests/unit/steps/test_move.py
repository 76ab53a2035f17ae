"""What a move says to hosts (steps/move.py, steps/handover.py): when a copy is one, and no password is an argument."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.catalogue.acl_rules import (
    HANDOVER_RULES,
    OPERATOR_RULES,
    REBIND_RULES,
    REPLICATION_RULES,
    SAMPLE_RULES,
    TAKEOVER_RULES,
    may,
)
from tasks.catalogue.secret import Secret
from tasks.compare.along import Along
from tasks.compare.moving import Move, Sealed
from tasks.observed.exchange import secrets_in
from tasks.steps.handover import TOLD, WATCH, Note, hand_over_script, take_over_script
from tasks.steps.move import copy_problem, copy_text, is_on_its_way, is_persistent
from tasks.steps.retire import forget_moves
from tests.unit.builders import EVERY, roles
from tests.unit.scripts import call

MOVE = Move("crypto", "a", "b", ("10.0.0.5", 6383), ("172.28.2.5", 6383), 1551, 12 << 20)
IN_SYNC = {
    "role": "slave",
    "master_link_status": "up",
    "loading": "0",
    "aof_enabled": "1",
    "aof_rewrite_in_progress": "0",
    "aof_last_bgrewrite_status": "ok",
    "rdb_last_bgsave_status": "ok",
}


def test_a_copy_in_sync_with_its_log_written_is_handed_over_to() -> None:
    assert copy_problem(IN_SYNC, log=True) == ""
    assert copy_problem({**IN_SYNC, "aof_enabled": "0"}, log=False) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "master"},
        {"master_link_status": "down"},
        {"loading": "1"},
        {"rdb_bgsave_in_progress": "1"},
        {"aof_rewrite_in_progress": "1"},
        {"aof_rewrite_scheduled": "1"},
        {"aof_enabled": "0"},
        {"aof_last_bgrewrite_status": "err"},
        {"rdb_last_bgsave_status": "err"},
    ],
)
def test_no_other_copy_is(changes: dict[str, Any]) -> None:
    assert copy_problem({**IN_SYNC, **changes}, log=True) != ""


NOT_LINKED = {**IN_SYNC, "master_link_status": "down"}


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (IN_SYNC, {}),
        ({**NOT_LINKED, "master_sync_in_progress": "1"}, {}),
        ({**NOT_LINKED, "loading": "1"}, {}),
        (NOT_LINKED, {"aof_rewrite_in_progress": "1"}),
        (NOT_LINKED, {"rdb_bgsave_in_progress": "1"}),
    ],
)
def test_a_copy_is_waited_for_while_either_server_works_on_it(new: dict[str, str], old: dict[str, str]) -> None:
    assert is_on_its_way(new, old)


def test_a_copy_that_does_not_reach_an_idle_server_is_not() -> None:
    assert not is_on_its_way(NOT_LINKED, {"aof_rewrite_in_progress": "0"})


def test_a_copy_is_started_from_the_roles_own_configuration() -> None:
    lines = copy_text(MOVE, Secret("a-password")).splitlines()
    assert lines[1:] == [
        "include /etc/redis/crypto.conf",
        "replicaof 10.0.0.5 6383",
        "masteruser replication",
        'masterauth "a-password"',
        "replica-serve-stale-data no",
    ]


ALONG = Along("172.28.2.5", "caas-redis-address-crypto.service", "eth0", "10.0.0.2", "127.28.2.5")
WITH_ADDRESS = replace(MOVE, where=MOVE.to, along=ALONG)


def test_a_copy_whose_address_comes_along_listens_on_its_host_s_own_until_then() -> None:
    lines = copy_text(WITH_ADDRESS, Secret("a-password")).splitlines()
    assert lines[1:4] == ["include /etc/redis/crypto.conf", "bind 10.0.0.2", "replicaof 172.28.2.5 6383"]


def test_a_handover_with_its_address_speaks_by_addresses_that_stay() -> None:
    hands = call(call(hand_over_script(WITH_ADDRESS)).parameters["job"]).parameters
    assert (hands["address"], hands["host"], hands["new_host"]) == ("172.28.2.5", "127.28.2.5", "10.0.0.2")
    job = call(take_over_script(WITH_ADDRESS, Note("It has run here."), "no")).parameters["job"]
    takes = call(job).parameters
    assert (takes["address"], takes["host"], takes["interface"]) == ("172.28.2.5", "10.0.0.2", "eth0")
    without = call(call(hand_over_script(MOVE)).parameters["job"]).parameters
    assert (without["address"], without["keeper"]) == ("", "")


def test_a_role_that_speaks_tls_is_copied_and_handed_over_by_it() -> None:
    for asks, shown in ((False, ""), (True, " --cert /etc/redis/crypto.pem --key /etc/redis/crypto.pem")):
        sealed = replace(MOVE, tls=Sealed("10.0.0.5", "172.28.2.5", asks))
        assert "tls-replication yes" in copy_text(sealed, Secret("a-password")).splitlines()
        hands = call(call(hand_over_script(sealed)).parameters["job"]).parameters
        takes = call(call(take_over_script(sealed, Note("It has run here."), "no")).parameters["job"]).parameters
        assert hands["tls"] == takes["tls"] == f"--tls --cacert /etc/redis/crypto.ca{shown}"
    assert call(call(hand_over_script(MOVE)).parameters["job"]).parameters["tls"] == ""


def test_who_binds_a_server_to_its_address_may_do_nothing_else() -> None:
    for command in ("get", "config|get", "replicaof", "acl|setuser", "shutdown"):
        assert not may(f"-@all +ping {REBIND_RULES}", command)


def test_a_copy_of_a_role_without_persistence_keeps_nothing_that_its_next_start_would_load() -> None:
    kept = set(copy_text(MOVE, Secret("a-password"), persistent=False).splitlines())
    assert kept - set(copy_text(MOVE, Secret("a-password")).splitlines()) == {"rdb-del-sync-files yes"}
    built = roles()
    assert [role for role in EVERY if not is_persistent(built[role])] == ["scratch"]


def test_a_handover_is_two_units_that_outlive_their_controller_and_are_told_the_password_by_nobody_else() -> None:
    hands, takes = call(hand_over_script(MOVE)), call(take_over_script(MOVE, Note("It has run here."), "no"))
    assert {hands.name, takes.name} == {"detach"}
    assert hands.parameters["unit"] == "redis-hand-over-crypto.service"
    assert takes.parameters["unit"] == "redis-take-over-crypto.service"
    job = call(hands.parameters["job"])
    assert (job.parameters["host"], job.parameters["new_host"]) == ("10.0.0.5", "172.28.2.5")
    assert job.parameters["fence"] == "/etc/systemd/system/redis-crypto.service.d/handed-over.conf"
    assert "'" not in job.parameters["words"]  # it is a word of a line in a unit
    assert TOLD < WATCH  # who waits for a copy to serve waits longer than who tells it


def test_what_a_copy_may_do_is_little_and_the_operator_gets_nothing_more() -> None:
    for command in ("replicaof", "get", "info", "config|get"):
        assert not may(REPLICATION_RULES, command)
    for command in ("get", "set", "config|set", "acl|setuser", "shutdown"):
        assert not may(HANDOVER_RULES, command)
        assert not may(TAKEOVER_RULES, command)
    assert not may(HANDOVER_RULES, "psync")
    assert not may(TAKEOVER_RULES, "client|pause")
    for command in ("set", "del", "replicaof", "config|get"):
        assert not may(SAMPLE_RULES, command)
    for command in ("replicaof", "failover", "client|pause"):
        assert not may(OPERATOR_RULES, command)


def test_the_password_of_a_follower_is_repeated_by_no_reply() -> None:
    commands = [("CONFIG", "SET", "masteruser", "replication", "masterauth", Secret("a-password"))]
    assert secrets_in(commands) == ["a-password"]


def test_what_is_left_of_a_move_is_removed_whole() -> None:
    removed = call(forget_moves("crypto")).parameters
    assert set(removed["files"].split()) == {
        f"{path}{end}"
        for path in (
            "/etc/redis/crypto.copy",
            "/etc/systemd/system/redis-crypto.service.d/copy.conf",
            "/etc/systemd/system/redis-crypto.service.d/handed-over.conf",
        )
        for end in ("", ".new")
    }
    assert removed["directory"] == "/etc/systemd/system/redis-crypto.service.d"

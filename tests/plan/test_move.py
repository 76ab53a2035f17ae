"""A role moves, on paper: which operations and commands, in which order, and what each server is told."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tasks.catalogue.acl_rules import may
from tasks.desired.host import Host
from tasks.desired.paths import handed_over_drop_in
from tasks.observed.state import Listener, Observed
from tests.plan.harness import Result, Site, run, short, write_secrets
from tests.plan.hosts import bare_takes, changing
from tests.plan.redis import Answer, Error, ScriptedRedis, name_of
from tests.unit.builders import as_desired, desired, fresh, passwords, roles, secrets_of, with_server, with_unit

OLD, NEW = "redis-crypto", "redis-gateway"
WHERE, TO = ("172.28.2.5", 6383), ("172.28.2.1", 6383)
PID = 9
UNIT = "redis-crypto.service"
INVENTORY = """
redis_crypto = [("redis-gateway", {"redis_overrides": {"crypto": {"address": "172.28.2.1"}}})]
spare = ["redis-crypto"]
"""
MOVES = {
    "role": "master",
    "redis_version": "7.0.15",
    "loading": "0",
    "used_memory": str(12 << 20),
    "sync_full": "0",
    "master_link_status": "up",
    "aof_enabled": "1",
    "rdb_last_bgsave_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "db0": "keys=1,expires=0,avg_ttl=0",
}
KEY = {"SELECT": "OK", "RANDOMKEY": "a:key", "TYPE": "string", "STRLEN": 1, "MEMORY": 56, "GETRANGE": "x"}


@dataclass
class MovingRedis:
    """A server of the role that moves, and the users that are made for the move, each with digests and rules."""

    server: ScriptedRedis
    info: dict[str, str]
    made: dict[str, tuple[set[str], str]] = field(default_factory=dict)
    value: str = "x"
    says: str = ""  # what it is, from when it was asked for a key on

    def answer(self, user: str | None, command: Sequence[str]) -> tuple[str | None, Answer]:
        """Who is logged in after `command`, and the reply to it."""
        if command[:2] == ["AUTH", "replication"]:
            digests, _ = self.made.get("replication", (set(), ""))
            right = hashlib.sha256(command[2].encode()).hexdigest() in digests
            return ("replication", "OK") if right else (user, Error("WRONGPASS invalid username-password pair"))
        if user == "replication":
            return user, self._to_replication(command)
        if user == "operator" and command[0] in ("ACL", "CONFIG", "BGSAVE"):
            self._told(command)
        if user == "operator" and command[0] == "BGSAVE":
            return user, "Background saving started"
        self.server.state = replace(self.server.state, info={**self.server.state.info, **self.info})
        return self.server.answer(user, ["INFO", "everything"] if command == ["INFO", "default"] else command)

    def _told(self, command: Sequence[str]) -> None:
        if command[:3] == ["ACL", "SETUSER", "replication"]:
            digests, _ = self.made.get("replication", (set(), ""))
            digests = set() if "reset" in command else set(digests)
            digests |= {word[1:] for word in command if word.startswith("#")}
            digests -= {word[1:] for word in command if word.startswith("!")}
            rules = " ".join(word for word in command[3:] if word[0] in "+-%~")
            self.made["replication"] = digests, rules
        elif command[:3] == ["ACL", "DELUSER", "replication"]:
            self.made.pop("replication", None)
        elif command[:4] == ["CONFIG", "SET", "masteruser", ""]:
            self.info["role"] = "master"  # on paper nothing else tells it that it serves

    def _to_replication(self, command: Sequence[str]) -> Answer:
        _, rules = self.made["replication"]
        if self.says and command[0] == "GETRANGE":
            self.info["role"] = self.says
        if not may(rules, name_of(command)):
            return Error("NOPERM this user has no permissions to run the command")
        return self.value if command[0] == "GETRANGE" else KEY[command[0]]


def moving(address: str, role: str, **info: str) -> MovingRedis:
    """A server of crypto at an address, which says that it is `role`."""
    host = desired("crypto", crypto={"address": address})
    (instance,) = host.instances
    known = passwords(roles()["crypto"])["crypto"]
    users = {user: text for user, text in known.items() if text}
    return MovingRedis(
        ScriptedRedis(instance, as_desired(host).servers["crypto"], users), {**MOVES, "role": role, **info}
    )


def left(host: Host) -> Observed:
    """The old host, on which the role's server runs."""
    state = {"LoadState": "loaded", "ActiveState": "active", "MainPID": str(PID), "UnitFileState": "enabled"}
    seen = fresh(host)
    return replace(
        seen,
        our_units=(UNIT,),
        units={**seen.units, UNIT: state},
        configured={"crypto": WHERE},
        addresses=frozenset({*seen.addresses, WHERE[0]}),
        listeners=(*seen.listeners, Listener(*WHERE, "redis-server", PID)),
        data_used={"/var/lib/redis/crypto": 1 << 20},
    )


HANDED_OVER = "handed over: its writers waited 7 ms"
ON_OLD = {
    "systemctl show -P ActiveState redis-hand-over-crypto.service": "inactive",
    "(?s)(supersede|forget-move|end to stop|systemctl disable --quiet|rm -f|systemctl daemon-reload|du -sh) ?.*": "",
}
ON_NEW = {
    "systemctl (unmask|enable) --quiet redis-inner-port.service": "",
    "start-copy .*": "",
    "test -s /var/lib/redis/crypto/.*": "",
    "(?s)detach redis-take-over-crypto.service .*": "",
    "test ! -e .*": "settled",
    "systemctl show -P MainPID redis-crypto.service": "0",
    "(?s)(systemctl stop redis-take-over|purge-data|forget-move|rm -f) ?.*": "",
}


def deployed(
    tmp_path: Path,
    secrets_file: Path,
    *,
    new: Mapping[str, str] | None = None,
    fails: str | None = None,
    said: str = HANDED_OVER,
    value: str = "x",
    dry: bool = False,
    copy_says: str = "slave",
    **info: str,
) -> Result:
    """A deploy in which crypto moves.

    `new`: other answers of the new host; `fails`: what fails there; `said`: what the handover said; `value`: what the
    copy has of a key; `copy_says`: what it is, when a key differs; `info`: what the old server says of itself.
    """
    inventory = tmp_path / "moved.py"
    inventory.write_text(INVENTORY)
    source, copy = moving(WHERE[0], "master", **info), moving(TO[0], "slave")
    copy.value, copy.says = value, copy_says
    takes = {**ON_OLD, "(?s)detach redis-hand-over-crypto.service .*": said}
    gets = {**bare_takes("crypto"), **ON_NEW, **(new or {})}
    sites = {
        OLD: Site([left, fresh], takes, others={WHERE: source}),
        NEW: Site([fresh, as_desired], gets, fails=fails, others={TO: copy, (TO[0], 6379): copy}),
    }
    options = ("--dry",) if dry else ("-y",)
    return run(sites, *options, secrets_file=secrets_file, inventory=str(inventory))


CHANGES = re.compile(r": (ACL (SETUSER|DELUSER)|CONFIG SET|BGSAVE|REPLICAOF)")


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A move in which all goes well."""
    place = tmp_path_factory.mktemp("moved")
    return deployed(place, write_secrets(place / "prod.yaml"))


def test_it_succeeds_and_is_said_as_it_was_planned(moved: Result, tmp_path: Path, secrets_file: Path) -> None:
    assert moved.exit_code == 0, moved.output
    line = (
        "move: crypto from redis-crypto to redis-gateway, 1 key, 12.0 MiB, clients pause about 1 s, then at 172.28.2.1"
    )
    assert line in moved.output
    assert f"crypto: moved from redis-crypto: {HANDED_OVER}" in moved.output
    dry = deployed(tmp_path, secrets_file, dry=True)
    assert dry.exit_code == 0, dry.output
    assert line in dry.output
    assert [changing(dry.commands(host)) for host in (OLD, NEW)] == [[], []]
    assert {event.text for event in dry.events if event.kind == "exchange" and CHANGES.search(event.text)} == set()


def test_the_new_server_starts_by_its_move_alone_behind_its_files_and_before_the_old_one_ends(moved: Result) -> None:
    assert moved.names()[-3:] == [
        "Move roles with their data",
        "Prove the tier",
        "Retire what no role asks for, when all hosts are proved",
    ]
    assert "Start instances" not in moved.names()
    assert not [text for text in moved.commands(NEW) if "systemctl start" in text]
    texts = [(event.host, short(event.text)) for event in moved.events if event.kind == "command"]
    order = [
        position(texts, NEW, "write /etc/redis/crypto.acl"),
        position(texts, NEW, "start-copy"),
        position(texts, NEW, "detach redis-take-over-crypto"),
        position(texts, OLD, "detach redis-hand-over-crypto"),
        position(texts, OLD, "supersede /var/lib/caas-redis/crypto "),
        position(texts, OLD, "end to stop redis-crypto.service"),
        position(texts, OLD, "forget-move"),
    ]
    assert order == sorted(order)


def position(texts: list[tuple[str, str]], host: str, word: str) -> int:
    """Where the first command of a host that begins so stands among all."""
    return next(number for number, (name, text) in enumerate(texts) if name == host and text.startswith(word))


def test_each_server_is_told_this_in_this_order_and_nothing_of_it_is_left(moved: Result) -> None:
    assert told_servers(moved, OLD) == [
        "ACL SETUSER replication",  # by which the copy comes
        "ACL SETUSER replication",  # by which some keys are read
        "ACL SETUSER replication",  # by which they are no more
        "ACL SETUSER _handover",  # by which it is handed over
        "CONFIG SET masteruser",  # by which it would follow
    ]
    assert told_servers(moved, NEW) == [
        "BGSAVE",
        "ACL SETUSER replication",
        "ACL DELUSER replication",
        "ACL SETUSER replication",
        "ACL DELUSER replication",
        "CONFIG SET masteruser",
    ]


def told_servers(result: Result, host: str) -> list[str]:
    """What a host's server was told to be, shortened."""
    return [
        " ".join(event.text.split()[1:4])
        for event in result.events
        if event.host == host and event.kind == "exchange" and CHANGES.search(event.text)
    ]


def test_the_old_server_is_told_first_that_it_answers_nobody_with_old_data(moved: Result) -> None:
    told = [(event.host, event.text) for event in moved.events if event.kind == "exchange"]
    (text,) = [text for host, text in told if host == OLD and "CONFIG SET" in text]
    assert text.endswith("replica-serve-stale-data no")
    (text,) = [text for host, text in told if host == NEW and "CONFIG SET masteruser" in text]
    assert text.endswith("masteruser  masterauth  replica-serve-stale-data yes rdb-del-sync-files no")


def test_no_password_is_in_a_command_and_none_in_what_is_printed(moved: Result) -> None:
    secret = [word for event in moved.events if short(event.text).startswith("detach") for word in event.stdin.split()]
    assert len(secret) == 3  # two on the old host, one of which is the new one's
    assert re.fullmatch("([0-9a-f]{64} ?){3}", " ".join(secret))
    (hands,), (takes,) = (
        [event.stdin.split() for event in moved.events if short(event.text).startswith(f"detach redis-{what}")]
        for what in ("hand-over", "take-over")
    )
    assert takes == hands[1:]
    assert hands[0] != hands[1]
    (copy,) = [event.stdin for event in moved.events if short(event.text).startswith("start-copy")]
    secret += re.findall('masterauth "([^"]+)"', copy)
    assert len(set(secret)) == 3
    for text in (*secret, *secrets_of(roles()["crypto"])):
        assert text not in moved.output
        assert not [
            event for event in moved.events if event.kind == "command" and text in event.text and text in secret
        ]


FAULTS: dict[str, dict[str, Any]] = {
    "the copy does not start": {"fails": "start-copy .*"},
    "nothing can wait for it to serve": {"fails": "(?s)detach redis-take-over.*"},
    "a key differs": {"value": "y"},
    "the handover is undone": {"said": "not handed over: the copy lacks 300 bytes after 1500 ms"},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_fails_before_it_is_handed_over_leaves_the_old_server_and_nothing_else(
    tmp_path: Path, secrets_file: Path, fault: dict[str, Any]
) -> None:
    result = deployed(tmp_path, secrets_file, **fault)
    assert result.exit_code != 0
    assert "crypto: not moved: " in result.output
    assert f"{OLD} serves it as before, and the copy on {NEW} is discarded: mend that and deploy again" in result.output
    assert f"crypto: left as it is, for {NEW} failed" in result.output
    assert told_servers(result, OLD)[-2:] == ["ACL DELUSER replication", "CONFIG SET masteruser"]
    discarded = [text for text in result.commands(NEW) if text.startswith("purge-data")]
    assert len(discarded) == 1
    assert "*.replaced-*" in discarded[0]
    assert not [text for text in result.commands(OLD) if text.startswith(("end to stop", "supersede"))]


def test_a_fault_of_this_tool_leaves_no_more_behind_than_one_of_a_host(tmp_path: Path, secrets_file: Path) -> None:
    result = deployed(tmp_path, secrets_file, sync_full="many")
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    assert f"{OLD} serves it as before, and the copy on {NEW} is discarded" in result.output
    assert told_servers(result, OLD)[-2:] == ["ACL DELUSER replication", "CONFIG SET masteruser"]


def test_a_copy_of_which_nobody_knows_whether_it_serves_is_left_as_it_is(tmp_path: Path, secrets_file: Path) -> None:
    running = {"systemctl show -P MainPID redis-crypto.service": "700"}
    result = deployed(tmp_path, secrets_file, value="y", new=running)
    assert f"the copy on {NEW} is discarded" in result.output  # it says that it follows
    lost = deployed(tmp_path, secrets_file, value="y", new=running, copy_says="sentinel")
    assert "is left as it is" in lost.output
    assert not [text for text in lost.commands(NEW) if text.startswith("purge-data")]


FENCE = handed_over_drop_in("crypto")
ENDED = "systemctl show -P ActiveState redis-hand-over-crypto.service"


@pytest.mark.parametrize(("state", "gone"), [("inactive", True), ("activating", False)])
def test_what_keeps_a_role_from_its_next_start_goes_only_when_no_handover_is_seen_right_before(
    tmp_path: Path, secrets_file: Path, monkeypatch: pytest.MonkeyPatch, state: str, gone: bool
) -> None:
    monkeypatch.setattr("tasks.steps.handover.TOLD", -60)

    def before(host: Host) -> Observed:
        served = with_server(as_desired(host), "crypto", info={**as_desired(host).servers["crypto"].info, **MOVES})
        return with_unit(served, UNIT, DropInPaths=FENCE)

    inventory = tmp_path / "alone.py"
    inventory.write_text('redis_crypto = ["redis-crypto"]\n')
    sites = {OLD: Site([before, as_desired], {ENDED: state, f"(?s)rm -f {FENCE}.*": "gone"})}
    result = run(sites, "-y", secrets_file=secrets_file, inventory=str(inventory))
    assert (result.exit_code == 0) == gone, result.output
    asked, *removed = result.commands(OLD)
    assert asked == ENDED
    assert [text.startswith(f"rm -f {FENCE}") for text in removed] == [True] * gone

"""A swap of a role's two hosts, on paper: when it may begin, what it says, and what the old server's unit leaves."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.catalogue.acl_rules import HANDOVER
from tasks.compare.along import Along
from tasks.compare.difference import ByHand, Difference
from tasks.compare.pairs import orient
from tasks.desired.paths import begun_file, copy_drop_in, guard_file
from tasks.desired.standby import OF_NONE
from tasks.observed.script import script
from tasks.observed.state import FileState
from tasks.run.ending import Refusal
from tasks.run.survey import Look
from tasks.steps import move as moves
from tasks.steps.handover import Note, hand_over_script, take_over_script
from tasks.steps.promote import promote_script
from tasks.steps.swap import End, Swap, _cut_off, _cut_short, _following, _obstacles, _undone
from tests.unit.builders import TLS, as_desired, pair_of, passwords, roles, stopped, with_server, with_unit
from tests.unit.scripts import call

UNIT = "redis-crypto.service"
FENCE = "/etc/systemd/system/redis-crypto.service.d/handed-over.conf"
WELL = {"rdb_last_bgsave_status": "ok", "aof_last_write_status": "ok"}


def ends(
    old: Mapping[str, str] | None = None,
    new: Mapping[str, str] | None = None,
    fenced: bool = False,
    along: bool = False,
    **role: Any,
) -> tuple[End, End]:
    """The two hosts as they were seen; `old` and `new`: what else their servers say; `role`: fields of it.

    `along`: the role's address goes along with who serves it.
    """
    hosts = pair_of(along=along, **role)
    seen = {name: as_desired(host) for name, host in hosts.items()}
    said = {
        "one": {"role": "master", "db0": "keys=7,expires=0", **WELL, **(old or {})},
        "other": {**WELL, **(new or {})},
    }
    for name, own in said.items():
        seen[name] = with_server(seen[name], "crypto", info={**seen[name].servers["crypto"].info, **own})
    if fenced:
        seen["one"] = with_unit(seen["one"], UNIT, DropInPaths=FENCE)
    found, _ = orient({name: (hosts[name], seen[name]) for name in hosts})

    def end(name: str) -> End:
        pair = found[name].pair_of("crypto")
        assert pair is not None
        host = cast(Any, SimpleNamespace(name=name))
        return End(host, found[name], seen[name], found[name].instances[0], pair)

    return end("one"), end("other")


def looks(*both: End, **differences: Difference) -> dict[str, Look]:
    """What was found of them."""
    known = passwords(roles()["crypto"])
    found = {item.name: differences.get(item.name) for item in both}
    return {
        item.name: Look(item.desired, known, item.observed, tuple(filter(None, (found[item.name],)))) for item in both
    }


def obstacles(old: Mapping[str, str] | None = None, new: Mapping[str, str] | None = None, **more: Difference) -> str:
    both = ends(old, new)
    return "; ".join(_obstacles("crypto", *both, looks(*both, **more)))


def test_a_role_whose_standby_is_in_sync_may_be_handed_over() -> None:
    assert obstacles() == ""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({}, {"master_link_status": "down"}, "other: it has not reached the old server"),
        ({}, {"aof_last_write_status": "err"}, "other: aof_last_write_status is err"),
        ({"aof_last_write_status": "err"}, {}, "one: aof_last_write_status is err"),
        ({"redis_version": "8.0.2"}, {"redis_version": "7.0.15"}, "data never goes back to an older version"),
    ],
)
def test_what_speaks_against_a_handover_is_said_before_anything_is_touched(
    old: dict[str, str], new: dict[str, str], words: str
) -> None:
    assert words in obstacles(old, new)


def test_one_that_writes_its_log_is_waited_for() -> None:
    assert obstacles(new={"aof_rewrite_in_progress": "1"}) == ""


def test_what_differs_is_deployed_first() -> None:
    item = Difference("crypto", "setting", "maxmemory", "1", "2", ByHand("do"))
    assert "other: crypto: setting maxmemory" in obstacles(other=item)
    assert "expected none of it: deploy first" in obstacles(other=item)
    assert obstacles(other=replace(item, role="socket")) == ""


def test_the_plan_says_where_the_role_is_served_then() -> None:
    assert str(Swap("crypto", *ends(), ends=False)) == (
        "crypto: from one to other, 7 keys, 1.9 MiB, clients pause about 1 s, then at 172.28.2.2:6383; one is its "
        "standby then"
    )


def test_the_plan_says_that_an_address_goes_along_and_each_is_reached_at_its_hosts_own() -> None:
    swap = Swap("crypto", *ends(along=True), ends=False)
    assert str(swap) == (
        "crypto: from one to other, 7 keys, 1.9 MiB, clients pause about 1 s, 172.28.2.5 goes along; one is its "
        "standby then"
    )
    assert swap.along == Along(
        "172.28.2.5", "caas-redis-address-crypto.service", "eth0", "172.28.2.2", "172.28.2.1", pair=True
    )
    assert (swap.move.copied_at, swap.move.along and swap.move.along.bound) == (
        ("172.28.2.2", 6383),
        "172.28.2.5 172.28.2.2",
    )
    assert Swap("crypto", *ends(), ends=False).along is None


def test_each_half_of_a_handover_is_told_what_leaves_and_what_comes() -> None:
    move = Swap("crypto", *ends(along=True), ends=False).move
    out, into = hand_over_script(move, HANDOVER), take_over_script(move, Note("text"), "no", HANDOVER)
    for words in ("host=172.28.2.1", "new_host=172.28.2.2", "address=172.28.2.5"):
        assert words in out
    for words in ("host=172.28.2.2", "interface=eth0", "owner=_binder", "user=_handover"):
        assert words in into
    assert "172.28.2.5 172.28.2.2" in into


def test_one_that_serves_and_has_not_settled_is_finished() -> None:
    told = {"role": "slave", "master_host": "172.28.2.2", "master_port": "6383"}
    for along in (False, True):
        found = _cut_off("crypto", ends(old=told, new={"role": "master"}, fenced=True, along=along))
        assert found is not None
        assert (found.old.name, found.new.name, found.cut_off) == ("one", "other", True)


def test_the_plan_says_that_there_is_no_way_back_to_an_older_version() -> None:
    said = str(Swap("crypto", *ends(new={"redis_version": "8.0.2"}), ends=True))
    assert "one is stopped then and keeps what it has: its Redis 7.0.15 cannot follow 8.0.2" in said
    assert "there is no way back" in said


def test_a_handover_that_was_cut_off_is_found_whoever_the_inventory_names() -> None:
    both = ends(old={"role": "slave", "master_host": "172.28.2.2", "master_port": "6383"}, fenced=True)
    for order in (both, both[::-1]):
        found = _cut_off("crypto", order)
        assert found is not None
        assert (found.old.name, found.new.name, found.cut_off) == ("one", "other", True)
    assert _cut_off("crypto", ends()) is None


DOWN = {"master_link_status": "down", "master_link_down_since_seconds": "9"}


def cut_short(new: Mapping[str, str] | None = None, *, runs: bool = True, data: bool = True) -> tuple[End, End]:
    """One whose host went down amid its handover and is back; `new`: what the other one says, if it `runs`."""
    old, copy = ends(new={**DOWN, **(new or {})}, fenced=True)
    one, other = stopped(old.observed, "crypto"), copy.observed
    one = with_unit(one if data else replace(one, data_files={}), UNIT, DropInPaths=FENCE)
    if not runs:
        other = with_unit(stopped(other, "crypto"), UNIT, DropInPaths=copy_drop_in("crypto"))
    found, _ = orient({"one": (old.desired, one), "other": (copy.desired, other)})
    both = [(old, one), (copy, other)]
    done = [replace(end, desired=found[end.name], observed=seen) for end, seen in both]
    return done[0], done[1]


def test_an_old_server_that_went_down_amid_it_serves_again_where_the_copy_was_not_told() -> None:
    both = cut_short()
    for order in (both, both[::-1]):
        found = _cut_short("crypto", order, looks(*both))
        assert found is not None
        assert (found.old.name, found.new.name, found.untold) == ("one", "other", True)
        assert "one is started and serves as before, other is its standby as before" in str(found)
    assert _cut_off("crypto", both) is None
    assert _cut_short("crypto", ends(), looks(*both)) is None


@pytest.mark.parametrize(
    ("new", "runs", "words"),
    [
        ({"master_link_down_since_seconds": "-1"}, True, "has not been linked to the old one"),
        ({"master_host": "172.28.2.77"}, True, "follows 172.28.2.77:6383"),
        ({}, False, "does not run"),
    ],
)
def test_where_the_copy_may_have_been_told_a_person_is_told_what_to_look_at_and_run(
    new: dict[str, str], runs: bool, words: str
) -> None:
    both = cut_short(new, runs=runs)
    with pytest.raises(Refusal) as refused:
        _cut_short("crypto", both, looks(*both))
    for word in (words, "MASTER MODE enabled", f"on one: rm {FENCE}", "systemctl start redis-crypto.service"):
        assert word in str(refused.value)


def test_one_that_has_noted_that_it_ran_may_have_been_told() -> None:
    old, new = cut_short()
    file = FileState("file", "root", "root", "0644", "")
    new = replace(new, observed=replace(new.observed, files={**new.observed.files, begun_file("crypto"): file}))
    with pytest.raises(Refusal, match="it is noted there"):
        _cut_short("crypto", (old, new), looks(old, new))


def test_an_old_server_without_its_data_is_not_started_beside_the_copy_that_has_it() -> None:
    both = cut_short(data=False)
    with pytest.raises(Refusal, match="other may be all that has it"):
        _cut_short("crypto", both, looks(*both))
    item = Difference("crypto", "persistence", "/var/lib/redis/crypto", "on disk", "gone", ByHand("look"))
    both = cut_short()
    with pytest.raises(Refusal, match="/var/lib/redis/crypto"):
        _cut_short("crypto", both, looks(*both, one=item))


SHOWN = "--cert /etc/redis/crypto.pem --key /etc/redis/crypto.pem"


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        (None, ""),
        (TLS, "--tls --cacert /etc/redis/crypto.ca"),
        ({**TLS, "client_auth": "optional"}, f"--tls --cacert /etc/redis/crypto.ca {SHOWN}"),
        ({**TLS, "client_auth": "yes"}, f"--tls --cacert /etc/redis/crypto.ca {SHOWN}"),
        ({**TLS, "port": 7383}, ""),  # amid a switch the two speak in clear, as their clients do on that port
    ],
)
def test_the_two_are_spoken_to_as_their_role_speaks(tls: dict[str, Any] | None, words: str) -> None:
    both = ends(tls=tls)
    for old, new in (both, both[::-1]):
        move = Swap("crypto", old, new, ends=False).move
        hands = call(call(hand_over_script(move)).parameters["job"]).parameters
        takes = call(call(take_over_script(move, Note("It has run here."), "no")).parameters["job"]).parameters
        promotes = call(call(promote_script(new.desired, new.instance, new.pair, [])).parameters["job"]).parameters
        assert hands["tls"] == takes["tls"] == promotes["tls"] == words
        (guard,) = [file.content or "" for file in new.desired.files if file.path == guard_file("crypto")]
        assert f"\ntls={shlex.quote(words)}\n" in guard
        replicates = new.instance.settings.get("tls-replication", "no")
        assert replicates == ("yes" if words else "no")


def test_a_pair_that_speaks_tls_has_nothing_to_be_told_of_it_when_the_two_take_each_others_place() -> None:
    old, new = ends(tls=TLS)
    assert not [name for name in [*_following(old.pair), *OF_NONE] if "tls" in name]
    assert old.instance.settings == {**new.instance.settings, "bind": old.instance.address}


def test_an_old_server_is_told_what_a_standby_says_but_not_yet_whom_it_follows() -> None:
    old, _ = ends()
    told = _following(old.pair)
    assert "replicaof" not in told
    assert "bind" not in _following(ends(along=True)[0].pair)
    assert told[:4] == ["masteruser", "replication", "masterauth", "secret-of-crypto-replication"]
    assert str(old.pair) == str(old.pair).replace("secret-of-crypto-replication", "")


class Words:
    """A side that notes what it is told, and says that it serves and that nothing is under way."""

    state = host = None

    def __init__(self, done: list[str]) -> None:
        self.done = done

    def says(self, command: str) -> str:
        self.done.append(command)
        return "inactive" if "ActiveState" in command else "done"

    def ask(self, *commands: tuple[str, ...]) -> None:
        self.done.extend(" ".join(command) for command in commands)

    def info(self) -> dict[str, str]:
        return {"role": "master"}


def undone(monkeypatch: pytest.MonkeyPatch, along: bool) -> tuple[str, list[str]]:
    """What is said of a handover that failed while the old one serves, and what that one is told, in order."""
    done: list[str] = []

    def ran(state: None, host: None, command: str, **more: Any) -> Any:
        done.append(call(command).name)
        return SimpleNamespace(succeeded=True)

    monkeypatch.setattr(moves, "run_command", ran)
    side = cast(Any, Words(done))
    return _undone(Swap("crypto", *ends(along=along), ends=False), side, cast(Any, Words([]))), done


def test_an_old_server_that_serves_gets_its_address_behind_what_kept_it_from_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What keeps the address takes none while that is there, and it was told to answer there no more."""
    said, done = undone(monkeypatch, along=True)
    assert said == "one serves it as before, other is its standby as before"
    (lifted,) = [number for number, text in enumerate(done) if FENCE in text]
    assert lifted < done.index("keep-address") < done.index("CONFIG SET bind 172.28.2.5 172.28.2.1")


def test_nothing_keeps_an_old_server_that_serves_from_its_next_start(monkeypatch: pytest.MonkeyPatch) -> None:
    _, done = undone(monkeypatch, along=False)
    (lifted,) = [text for text in done if FENCE in text]
    assert lifted.startswith(f"rm -f {FENCE} && ")
    assert not [text for text in done if text.startswith("CONFIG SET bind ")]


def become(tmp_path: Path, copy: str | None) -> tuple[int, dict[str, str]]:
    """How the script ended that makes a server a standby, and what is there then; `copy`: the text of its copy file."""
    for name in ("begun", "fence", "served"):
        (tmp_path / name).write_text(name)
    if copy is not None:
        (tmp_path / "copy").write_text(copy)
    (tmp_path / "systemctl").write_text("#!/bin/sh\n")
    (tmp_path / "systemctl").chmod(0o755)
    places = {name: str(tmp_path / name) for name in ("copy", "drop_in", "fence", "begun", "served")}
    job = script("become-standby", **places, text="[Service]\n")
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", job], env=path, capture_output=True, text=True, timeout=60)
    left = {file.name: file.read_text() for file in tmp_path.iterdir() if file.name != "systemctl"}
    return done.returncode, left


def test_an_old_server_starts_as_a_standby_from_then_on(tmp_path: Path) -> None:
    assert become(tmp_path, "replicaof\n") == (0, {"copy": "replicaof\n", "drop_in": "[Service]\n"})


@pytest.mark.parametrize("copy", [None, ""])
def test_one_that_would_follow_nobody_stays_kept_from_its_next_start(tmp_path: Path, copy: str | None) -> None:
    code, left = become(tmp_path, copy)
    assert code != 0
    assert left["fence"] == "fence"
    assert "drop_in" not in left


def test_a_snapshot_is_kept_whole_and_never_over_another_one(tmp_path: Path) -> None:
    saved, kept = tmp_path / "dump.rdb", tmp_path / "dump.rdb.replaced-20261128040000"
    job = script("keep-snapshot", snapshot=str(saved), kept=str(kept))

    def run() -> int:
        return subprocess.run(["sh", "-c", job], capture_output=True, timeout=60).returncode

    assert run() != 0
    saved.write_text("REDIS0010")
    assert run() == 0
    assert kept.read_text() == "REDIS0010"
    saved.write_text("REDIS0011")
    assert run() != 0
    assert kept.read_text() == "REDIS0010"

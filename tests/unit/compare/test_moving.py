"""Which roles move with their data (compare/moving.py), what forbids it, and what a move that was cut off leaves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tasks.catalogue.requested import Requests
from tasks.compare.difference import ByHand, Remedy
from tasks.compare.elsewhere import moved_roles
from tasks.compare.host import compare
from tasks.compare.moving import A_COPY, Move, Sealed, moves, of_moves, without_copies
from tasks.compare.unserved import unserved
from tasks.desired.build import host_without_roles
from tasks.desired.host import Host
from tasks.desired.paths import copy_drop_in, copy_file, handed_over_drop_in, moved_file
from tasks.desired.rendering import MANAGED
from tasks.desired.standby import DROP_IN
from tasks.observed.state import FileState, Leftover, Observed
from tests.tree import REPOSITORY
from tests.unit.builders import TLS, as_desired, desired, fresh, stopped, with_server, with_unit

OLD_PLACE = ("10.0.0.5", 6383)
UNIT = "redis-crypto.service"
INFO = {"role": "master", "redis_version": "7.0.15", "used_memory": str(12 << 20), "db0": "keys=1551,expires=0"}
USERS = {user.name: frozenset(user.passwords_sha256) for user in desired("crypto").instances[0].users}
SERVES = Leftover("crypto", True, OLD_PLACE, 1551, info=INFO, users=USERS)
NOBODY = host_without_roles("old")
Pair = tuple[Host, Observed]


def old(leftover: Leftover = SERVES, drop_in: str = "", **info: str) -> Pair:
    """A host that no longer carries crypto, whose server runs."""
    left = replace(leftover, info={**leftover.info, **info})
    state = {"LoadState": "loaded", "ActiveState": "active", "MainPID": "9", "DropInPaths": drop_in}
    return NOBODY, replace(fresh(NOBODY), leftovers=(left,), our_units=(UNIT,), units={UNIT: state})


def new(begin_empty: tuple[str, ...] = (), **crypto: Any) -> Pair:
    """A host that carries crypto and has nothing of it."""
    host = replace(desired("crypto", crypto=crypto), requests=Requests(begin_empty=begin_empty))
    return host, replace(fresh(host), packages={"redis-server": "5:7.0.15-1~deb12u10"})


def copying(server: Mapping[str, str] = INFO) -> Pair:
    """The same host, on which a copy runs whose move was cut off."""
    host, _ = new()
    observed = with_unit(as_desired(host), UNIT, DropInPaths=copy_drop_in("crypto"))
    return host, without_copies(host, with_server(observed, "crypto", info={**server, "role": "slave"}))


def test_a_role_whose_server_runs_elsewhere_moves_with_its_data() -> None:
    found, problems = moves({"a": old(), "b": new()})
    assert problems == []
    assert list(map(str, found)) == [
        "move: crypto from a to b, 1551 keys, 12.0 MiB, clients pause about 1 s, then at 172.28.2.5:6383"
    ]
    assert moved_roles({"a": old(), "b": new()}, ["crypto"]) == []


@pytest.mark.parametrize(
    "hosts",
    [
        {"b": new()},  # nothing of it is elsewhere
        {"a": old(), "b": new(begin_empty=("crypto",))},  # it is to begin empty
        {"a": old(Leftover("crypto", False, OLD_PLACE, because="it does not run")), "b": new()},
        {"a": old(Leftover("crypto", True, OLD_PLACE, because="WRONGPASS")), "b": new()},  # nobody knows what it holds
        {"a": old(), "c": old(), "b": new()},  # two have it
        {"a": old(), "b": (new()[0], as_desired(new()[0]))},  # it runs here already
        {"a": old(), "b": (new()[0], replace(new()[1], data_files={"/var/lib/redis/crypto/dump.rdb": 9}))},
    ],
)
def test_no_other_role_moves(hosts: Mapping[str, Pair]) -> None:
    assert moves(hosts) == ([], [])


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (old(redis_version="8.0.2"), new(), "it is Redis 8.0.2, and here 5:7.0.15-1~deb12u10 is installed: data"),
        (old(used_memory=str(300 << 20)), new(), "it uses 300 MiB, and maxmemory is to be 256 MiB: raise it"),
        (old(db3="keys=1,expires=0"), new(databases=2), "db3 in use, and databases is to be 2: raise it"),
        (old(role="slave"), new(), "its server follows another one, expected one that serves"),
    ],
)
def test_what_forbids_a_move_is_said_before_anything_is_done(source: Pair, target: Pair, words: str) -> None:
    found, (problem,) = moves({"a": source, "b": target})
    assert found == []
    assert problem.startswith(f"b: crypto: cannot be moved here from a: {words}")


@pytest.mark.parametrize(
    ("info", "fits"),
    [
        ({"used_memory": "300", "mem_not_counted_for_evict": "44"}, True),  # buffers of clients and its log
        ({"used_memory": "301", "mem_not_counted_for_evict": "44"}, False),
        ({"used_memory": "260", "maxmemory": "256"}, True),  # full, and here the same
        ({"used_memory": "200", "maxmemory": "128"}, True),
        ({"used_memory": "260", "maxmemory": "512"}, False),
        ({"used_memory": "260", "maxmemory": "0"}, False),  # without a limit
        ({"used_memory": "260", "maxmemory": "many"}, False),
    ],
)
def test_a_full_role_moves_where_its_limit_is_no_smaller(info: dict[str, str], fits: bool) -> None:
    told: dict[str, Any] = {name: str(int(text) << 20) if text.isdecimal() else text for name, text in info.items()}
    found, problems = moves({"a": old(**told), "b": new()})
    assert (len(found), len(problems)) == ((1, 0) if fits else (0, 1))


def test_a_role_moves_with_tls_where_both_speak_nothing_else() -> None:
    (found,), problems = moves({"a": old(replace(SERVES, sealed=True)), "b": new(tls=TLS)})
    assert problems == []
    assert found.tls == Sealed("10.0.0.5", "172.28.2.5", asks=False)
    assert moves({"a": old(), "b": new()})[0][0].tls is None


@pytest.mark.parametrize(
    ("is_sealed", "fields", "words"),
    [
        (False, {}, "its server speaks in clear on a port, and here it has tls"),
        (True, {"tls": {**TLS, "port": 7383}}, "here it is to have a port in clear"),
        (True, {"plain_inner_port": True}, "here it is to have a port in clear"),
        (True, {"tls": {**TLS, "client_auth": "yes"}}, "its clients have to show certificates, and its own may not be"),
    ],
)
def test_a_move_switches_no_tls_and_shows_no_certificate_that_is_not_for_it(
    is_sealed: bool, fields: dict[str, Any], words: str
) -> None:
    found, problems = moves({"a": old(replace(SERVES, sealed=is_sealed)), "b": new(**{"tls": TLS} | fields)})
    assert found == []
    assert [item for item in problems if words in item], problems


OTHER = frozenset({"f" * 64})


def moved_users(has: Mapping[str, frozenset[str]] | None, **fields: Any) -> list[str]:
    """Why crypto, with these fields of its instance, cannot move from a server that has these users."""
    host, observed = new()
    host = replace(host, instances=tuple(replace(item, **fields) for item in host.instances))
    return moves({"a": old(replace(SERVES, users=has)), "b": (host, observed)})[1]


def test_a_password_that_services_have_is_not_replaced_by_a_move() -> None:
    (problem,) = moved_users({**USERS, "crypto-service": OTHER})
    assert problem.startswith(
        "b: crypto: cannot be moved here from a: crypto-service: its server has passwords that the secrets file has not"
    )
    assert "--data new_passwords=crypto" in problem
    assert moved_users({**USERS, "crypto-service": OTHER}, new_passwords=True) == []
    (problem,) = moved_users({**USERS, "crypto-service": USERS["crypto-service"] | OTHER})
    assert "passwords that the secrets file has not" in problem
    assert moved_users(None) != []  # it did not tell


def test_a_password_that_the_secrets_file_lacks_is_not_made_anew_by_a_move() -> None:
    (instance,) = new()[0].instances
    for hashes in ((), tuple(OTHER)):  # as a dry run has it, and as one that makes it up
        users = tuple(replace(user, passwords_sha256=hashes) for user in instance.users)
        (problem,) = moved_users(USERS, users=users)
        assert "crypto-service" in problem


def test_a_user_that_the_old_server_lacks_gets_a_password_with_the_move() -> None:
    assert moved_users({}) == []
    assert moved_users({**USERS, "crypto-service": frozenset()}) == []


def test_a_newer_redis_takes_an_older_ones_data() -> None:
    host, observed = new()
    (found,), _ = moves({"a": old(), "b": (host, replace(observed, packages={"redis-server": "5:8.0.2-3+deb13u2"}))})
    assert found.target == "b"


def test_a_role_that_moves_is_started_by_its_move_alone() -> None:
    host, observed = new()
    (move,), _ = moves({"a": old(), "b": (host, observed)})
    differences = tuple(compare(host, observed))
    left = of_moves(differences, [move])
    gone = {(item.subject, item.remedy) for item in set(differences) - set(left)}
    assert gone == {("unit", Remedy.START), ("unit", Remedy.ENABLE), ("file", Remedy.WRITE)}
    assert of_moves(differences, []) == differences


# --- What a move that was cut off leaves


def test_a_copy_is_nothing_that_a_role_begins_with_and_its_move_begins_anew() -> None:
    host, observed = copying()
    (found,), problems = moves({"a": old(), "b": (host, observed)})
    assert problems == []
    assert str(found).endswith("begun anew: a copy that was cut off is discarded")
    (unit,) = [item for item in compare(host, observed) if item.remedy == Remedy.START]
    assert unit.observed == A_COPY


def test_a_copy_whose_server_is_not_in_the_run_is_not_begun_with() -> None:
    for hosts in ({"b": copying()}, {"a": old(Leftover("crypto", False, OLD_PLACE)), "b": copying()}):
        found, (problem,) = moves(hosts)
        assert found == []
        assert problem.startswith(f"b: crypto: what runs here is {A_COPY}, and the server that it copies was not seen")


def test_what_makes_a_server_a_copy_is_no_difference_while_it_is_one_and_else_it_is() -> None:
    host = new()[0]
    follows = {"replicaof": "10.0.0.5 6383", "masteruser": "replication", "masterauth": "a-password"}
    right = as_desired(host)
    observed = with_server(right, "crypto", config={**right.servers["crypto"].config, **follows})
    assert {item.name for item in compare(host, observed)} == {"replicaof", "masteruser", "masterauth"}
    assert "a-password" not in str(list(map(str, compare(host, observed))))
    copy = with_unit(observed, UNIT, DropInPaths=copy_drop_in("crypto"))
    names = {item.name for item in compare(host, without_copies(host, copy))}
    assert not names & {"replicaof", "masteruser", "masterauth"}


def test_a_handover_that_was_cut_off_behind_the_old_servers_end_is_finished() -> None:
    (found,), problems = moves({"a": old(drop_in=handed_over_drop_in("crypto"), role="slave"), "b": copying()})
    assert problems == []
    assert found.handed_over
    assert str(found) == "move: crypto from a to b: handed over already, it is finished"


FENCE, COPY = handed_over_drop_in("crypto"), copy_drop_in("crypto")


def serving(drop_in: str = "", **info: str) -> Pair:
    """A host that carries crypto, whose server says that it serves, whatever its files say."""
    host = new()[0]
    observed = with_server(as_desired(host), "crypto", info={**INFO, "loading": "0", **info})
    observed = with_unit(observed, UNIT, DropInPaths=drop_in) if drop_in else observed
    return host, without_copies(host, observed)


@pytest.mark.parametrize("drop_in", [FENCE, COPY])
def test_a_server_that_says_it_follows_and_was_replaced_or_was_a_copy_only_ends_unasked(drop_in: str) -> None:
    assert moved_roles({"a": old(drop_in=drop_in, role="slave"), "b": serving()}) == []
    assert moved_roles({"a": old(), "b": serving()}) != []


@pytest.mark.parametrize("drop_in", [FENCE, COPY])
@pytest.mark.parametrize("says", ["master", ""])
def test_a_server_that_serves_or_does_not_tell_is_not_ended_for_what_its_files_say(drop_in: str, says: str) -> None:
    untold = Leftover("crypto", True, OLD_PLACE, because="WRONGPASS")
    left = old(drop_in=drop_in, role=says) if says else old(untold, drop_in)
    assert moved_roles({"a": left, "b": serving()}) != []


START = REPOSITORY / "templates" / "scripts" / "start-copy.sh"


def lone_standby(running: bool, text: str) -> Pair:
    """A host that carries crypto now and was its standby; `text`: what made it one, as it lies there."""
    host, _ = new()
    observed = as_desired(host)
    observed = (
        with_server(observed, "crypto", info={**INFO, "role": "slave"}) if running else stopped(observed, "crypto")
    )
    file = FileState("file", "root", "root", "0644", text)
    observed = replace(observed, files={**observed.files, COPY: file})
    return host, without_copies(host, with_unit(observed, UNIT, DropInPaths=COPY))


@pytest.mark.parametrize("running", [True, False])
def test_a_standby_whose_primary_was_taken_out_of_the_inventory_is_promoted_and_never_emptied(running: bool) -> None:
    _, (problem,) = moves({"b": lone_standby(running, DROP_IN.format(managed=MANAGED, file="/etc/redis/crypto.copy"))})
    assert "redis_crypto_standby" in problem
    assert "promote=crypto" in problem
    assert " mv " not in problem
    assert "begin" not in problem
    # That of a move, which has never served and may be half, may be given up.
    (start,) = re.findall("'(# While this is here [^']*)'", START.read_text())
    _, (problem,) = moves({"b": lone_standby(running, f"{start}\n[Service]\n")})
    assert " mv " in problem
    assert "promote" not in problem


def test_a_copy_that_says_it_serves_is_the_roles_server_and_what_made_it_a_copy_goes() -> None:
    host, observed = serving(COPY)
    assert observed.copies == frozenset()
    left = {path: FileState("file", "root", "redis-crypto", "0640", "") for path in (copy_file("crypto"),)}
    observed = replace(observed, files={**observed.files, **left})
    assert moves({"a": old(drop_in=FENCE, role="slave"), "b": (host, observed)}) == ([], [])
    assert moved_roles({"a": old(drop_in=FENCE, role="slave"), "b": (host, observed)}) == []
    gone = {item.name: item.remedy for item in compare(host, observed)}
    assert gone == {COPY: Remedy.REMOVE, copy_file("crypto"): Remedy.REMOVE}


def test_a_copy_that_serves_is_no_way_to_begin_anew_nor_the_source_of_a_move() -> None:
    assert moved_roles({"a": old(), "b": serving(COPY)}) != []
    found, _ = moves({"a": old(), "b": serving(COPY)})
    assert found == []
    found, _ = moves({"a": old(drop_in=COPY), "b": new()})  # it serves on the host that the role has left
    assert [move.source for move in found] == ["a"]


@pytest.mark.parametrize(("role", "by_hand"), [("master", False), ("slave", True)])
def test_what_keeps_a_role_from_its_next_start_goes_only_where_it_serves(role: str, by_hand: bool) -> None:
    host = new()[0]
    observed = with_server(as_desired(host), "crypto", info={**INFO, "role": role})
    observed = with_unit(observed, UNIT, DropInPaths=handed_over_drop_in("crypto"))
    (found,) = [item for item in compare(host, observed) if item.name == handed_over_drop_in("crypto")]
    assert isinstance(found.remedy, ByHand) == by_hand


@pytest.mark.parametrize("runs", [True, False])
def test_a_server_that_was_handed_over_is_no_role_that_goes_on_here(runs: bool) -> None:
    host = new()[0]
    follows = {**INFO, "role": "slave", "master_host": "10.0.0.9", "master_port": "6383"}
    observed = with_server(as_desired(host), "crypto", info=follows)
    if not runs:
        observed = replace(fresh(host), units={UNIT: {"ActiveState": "inactive", "MainPID": "0"}})
    observed = with_unit(observed, UNIT, DropInPaths=FENCE)
    found, (problem,) = moves({"a": (host, observed)})
    assert found == []
    assert problem.startswith("a: crypto: its data was handed over from here to another host, or was about to be (")
    assert ("follows 10.0.0.9:6383" in problem) == runs
    assert "put the host that has it into group redis_crypto in place of this one and deploy" in problem
    assert moves({"a": serving(FENCE)}) == ([], [])  # it was not replaced


# --- There and back


def kept(host: Host, size: int = 5000) -> Observed:
    """A host on which data lies that the role had before it moved away."""
    files = {moved_file("crypto"): FileState("file", "root", "root", "0644", "")}
    data = {"/var/lib/redis/crypto/dump.rdb": size, "/var/lib/redis/crypto/appendonlydir/x.manifest": 9}
    observed = replace(fresh(host), packages={"redis-server": "5:7.0.15-1~deb12u10"}, data_files=data)
    return without_copies(host, replace(observed, files={**observed.files, **files}))


def test_a_role_moves_back_and_what_was_kept_of_before_is_set_aside() -> None:
    host = new()[0]
    (found,), problems = moves({"a": old(), "b": (host, kept(host))})
    assert problems == []
    assert found.aside
    assert str(found).endswith("what it kept here of before is set aside")
    differences = [item for item in compare(host, kept(host)) if item.subject in ("persistence", "instance")]
    assert differences == []


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"a": old(Leftover("crypto", False, OLD_PLACE, because="it does not run"))},
        {"a": old(), "c": old()},
    ],
)
def test_what_was_kept_of_before_a_move_is_not_begun_with_unasked(others: Mapping[str, Pair]) -> None:
    host = new()[0]
    found, (problem,) = moves({**others, "b": (host, kept(host))})
    assert found == []
    assert problem.startswith("b: crypto: what it keeps here is of before it moved to another host (")
    assert problem.endswith("--data accept_loss=crypto")


def test_it_is_begun_with_when_that_is_asked_for_and_then_it_is_the_roles() -> None:
    host = new()[0]
    asked = replace(host, instances=tuple(replace(item, accepts_loss=True) for item in host.instances))
    assert moves({"b": (asked, kept(asked))}) == ([], [])
    (gone,) = [item for item in compare(asked, kept(asked)) if item.name == moved_file("crypto")]
    assert gone.remedy == Remedy.REMOVE
    runs = as_desired(host)
    runs = without_copies(host, replace(runs, files={**runs.files, **kept(host).files}))
    assert [item.name for item in compare(host, runs) if item.remedy == Remedy.REMOVE] == [moved_file("crypto")]


ASIDE = ".replaced-20261128000000"


def test_what_a_failed_move_back_has_set_aside_is_not_given_up_by_beginning_with_what_is_here() -> None:
    host = new()[0]
    asked = replace(host, instances=tuple(replace(item, accepts_loss=True) for item in host.instances))
    log, snapshot = (f"/var/lib/redis/crypto/{name}" for name in ("appendonlydir", "dump.rdb"))
    stored = {
        f"{log}{ASIDE}": FileState("directory", "redis-crypto", "redis-crypto", "0700", ""),
        f"{snapshot}{ASIDE}": FileState("file", "redis-crypto", "redis-crypto", "0600", ""),
    }
    files = {f"{log}{ASIDE}/x.manifest": 9, f"{snapshot}{ASIDE}": 5000}
    observed = replace(kept(asked), data_files=files, stored=stored)
    found, (problem,) = moves({"b": (asked, observed)})
    assert found == []
    assert problem.startswith("b: crypto: would begin empty: what it kept here of before it moved is set aside")
    assert f"mv -T {log}{ASIDE} {log}; mv -T {snapshot}{ASIDE} {snapshot}" in problem
    # Where its server runs elsewhere, it moves with its data; where it is to begin empty, it does.
    assert [move.source for move in moves({"a": old(), "b": (asked, observed)})[0]] == ["a"]
    assert moves({"b": (replace(asked, requests=Requests(begin_empty=("crypto",))), observed)}) == ([], [])
    # One that has given it its name again begins with it.
    assert moves({"b": (asked, kept(asked))}) == ([], [])


@pytest.mark.parametrize(
    ("source", "target", "nobody"),
    [
        (old(drop_in=FENCE, role="slave"), copying(), True),
        (old(Leftover("crypto", False, OLD_PLACE), FENCE), copying(), True),
        (old(drop_in=FENCE, role="slave"), new(), True),
        (old(drop_in=FENCE, role="slave"), serving(), False),
        (old(drop_in=FENCE, role="slave"), serving(COPY), False),
        (old(drop_in=FENCE), copying(), False),  # the handover was undone
        (old(), copying(), False),
    ],
)
def test_a_role_that_was_handed_over_and_that_nobody_is_seen_to_serve_is_said(
    source: Pair, target: Pair, nobody: bool
) -> None:
    found = unserved({"a": source, "b": target})
    assert list(found) == ["b"] * nobody
    if nobody:
        (unknown,) = found["b"]
        assert str(unknown).startswith(
            "crypto: whether anybody serves crypto: unknown, because it was handed over from a"
        )


def test_one_key_is_one_key() -> None:
    move = Move("crypto", "a", "b", OLD_PLACE, OLD_PLACE, 1, 1 << 20)
    assert str(move) == "move: crypto from a to b, 1 key, 1.0 MiB, clients pause about 1 s"

"""Where the data of roles is, over all hosts of a run (compare/elsewhere.py): what would begin empty beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tasks.catalogue.requested import Requests
from tasks.compare.elsewhere import (
    endings,
    kept_data,
    known_beginnings,
    moved_roles,
    unseen_beginnings,
    unserved_roles,
)
from tasks.compare.fitness import unfit
from tasks.compare.host import compare
from tasks.desired.build import host_without_roles
from tasks.desired.host import Host
from tasks.desired.paths import handed_over_drop_in
from tasks.observed.state import FileState, Leftover, Observed
from tests.unit.builders import LOG as BUILT_LOG
from tests.unit.builders import as_desired, desired, fresh, stopped, with_listener, with_server

ENDPOINT = ("172.28.2.5", 6383)
SERVES = Leftover("crypto", True, ENDPOINT, 5000)
LOG = {"/var/lib/redis/crypto/appendonlydir/appendonly.aof.manifest": 88}
NOBODY = host_without_roles("old")
Pair = tuple[Host, Observed]


def old(
    *leftovers: Leftover,
    host: Host = NOBODY,
    files: Mapping[str, int] = LOG,
    used: Mapping[str, int] | None = None,
) -> Pair:
    """A host that no longer carries crypto, with what it still has."""
    sizes = {"/var/lib/redis/crypto": 3 << 20} if used is None else used
    return host, replace(fresh(host), leftovers=leftovers, data_files=files, data_used=sizes)


def new(*names: str, begin_empty: tuple[str, ...] = ()) -> Pair:
    host = replace(desired(*names), requests=Requests(begin_empty=begin_empty))
    return host, fresh(host)


def test_a_new_role_in_a_run_that_has_nothing_of_it_is_fine() -> None:
    assert moved_roles({"new": new("crypto"), "old": old(files={}, used={})}) == []


def test_a_role_that_moved_is_said_with_its_keys_its_place_and_the_ways_to_go_on() -> None:
    assert moved_roles({"new": new("crypto"), "old": old(SERVES)}) == [
        "new: crypto: would begin empty, and redis-crypto.service on old serves 172.28.2.5:6383: 5000 keys, "
        "/var/lib/redis/crypto (3.0 MiB): put old back into group redis_crypto; or take the data along: there "
        "systemctl disable --now redis-crypto.service, then copy /var/lib/redis/crypto to this host (cp -a; the "
        "deploy gives it to its user); or --data begin_empty=crypto, which leaves that data where it is"
    ]


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (old(replace(SERVES, keys=None, because="WRONGPASS")), "keys unknown (WRONGPASS)"),
        (old(Leftover("crypto", False, ENDPOINT, because="it does not run")), "is stopped: keys unknown"),
        (old(), "old has data of crypto: keys unknown, /var/lib/redis/crypto (3.0 MiB)"),
        (old(replace(SERVES, keys=1), files={}), ": 1 key, "),
        (old(replace(SERVES, endpoint=None, keys=None, because="not seen"), files={}), "keys unknown (not seen)"),
    ],
)
def test_whatever_is_left_of_it_counts(pair: Pair, words: str) -> None:
    (said,) = moved_roles({"new": new("crypto"), "old": pair})
    assert words in said


def test_a_stopped_leftover_without_data_is_nothing() -> None:
    gone = Leftover("crypto", False, ENDPOINT, because="it does not run")
    assert moved_roles({"new": new("crypto"), "old": old(gone, files={}, used={})}) == []


def test_who_means_it_begins_empty() -> None:
    assert moved_roles({"new": new("crypto", begin_empty=("crypto",)), "old": old(SERVES)}) == []
    assert len(moved_roles({"new": new("crypto", begin_empty=("gateway",)), "old": old(SERVES)})) == 1


def test_a_role_that_runs_does_not_begin_empty() -> None:
    host = desired("crypto")
    assert moved_roles({"new": (host, as_desired(host)), "old": old(replace(SERVES, keys=0))}) == []


# A role that was on this host before

UNTOLD = replace(SERVES, keys=None, because="WRONGPASS")
STOPPED = replace(SERVES, running=False, keys=None, because="it does not run")
LOG_FILES = tuple(f"/var/lib/redis/crypto/{name}" for name in BUILT_LOG)


def kept(size: int, written: int, *, begin_empty: tuple[str, ...] = ()) -> Pair:
    """A host that gets crypto back, and has what it held then."""
    host = replace(desired("crypto"), requests=Requests(begin_empty=begin_empty))
    return host, holding(stopped(as_desired(host), "crypto"), size, written)


def holding(observed: Observed, size: int, written: int) -> Observed:
    file = FileState("file", "redis", "redis", "0600", "", modified=written)
    sizes = dict.fromkeys(LOG_FILES, size // len(LOG_FILES))
    return replace(observed, data_files=sizes, stored=dict.fromkeys(LOG_FILES, file))


def gone_from(size: int, written: int, *leftovers: Leftover) -> Pair:
    host, observed = old(*leftovers)
    return host, holding(observed, size, written)


FRESH, FULL = 176, 5 << 20
ELSEWHERE = {
    # Kept here, left there, whether that is refused.
    "an empty log, and a server with keys": (kept(FRESH, 9), gone_from(FULL, 5, SERVES), True),
    "an empty log, and files that were written before it": (kept(FRESH, 9), gone_from(FULL, 5), True),
    "old data, and a server with keys": (kept(FULL, 5), gone_from(FULL, 5, SERVES), True),
    "old data, and a server that does not tell": (kept(FULL, 9), gone_from(1, 1, UNTOLD), True),
    "old data, and a stopped server that wrote later": (kept(FULL, 5), gone_from(FULL, 9, STOPPED), True),
    "old data, and files that were written later": (kept(FULL, 5), gone_from(FULL, 9), True),
    "data, and a server without a key": (kept(FULL, 5), gone_from(FULL, 9, replace(SERVES, keys=0)), False),
    "data that was taken along": (kept(FULL, 5), gone_from(FULL, 5, STOPPED), False),
    "data that was taken along with the time of the copy": (kept(FULL, 9), gone_from(FULL, 5), False),
    "a little data that was taken along": (kept(FRESH, 5), gone_from(FRESH, 5, STOPPED), False),
    "data, and an empty log that was written later": (kept(FULL, 5), gone_from(FRESH, 9, STOPPED), False),
    "an empty log, and an empty one": (kept(FRESH, 5), gone_from(FRESH, 9, STOPPED), False),
}


@pytest.mark.parametrize(("here", "there", "refused"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_a_role_kept_on_its_host_does_not_hide_newer_data_elsewhere(
    here: Pair, there: Pair, refused: bool
) -> None:
    said = moved_roles({"new": here, "old": there})
    assert [text.startswith("new: crypto: would begin with what it has here") for text in said] == [True] * refused
    meant = kept(FULL, 5, begin_empty=("crypto",))
    assert moved_roles({"new": (meant[0], here[1]), "old": there}) == []


def test_data_that_would_begin_behind_is_said_with_its_size_and_age_and_what_puts_it_aside() -> None:
    assert moved_roles({"new": kept(FRESH, 9), "old": gone_from(FULL, 5, SERVES)}) == [
        "new: crypto: would begin with what it has here (176 bytes, written last 1970-01-01 00:00:09 UTC) in "
        "/var/lib/redis/crypto, and redis-crypto.service on old serves 172.28.2.5:6383: 5000 keys, "
        "/var/lib/redis/crypto (3.0 MiB): put old back into group redis_crypto; or take the data along: here mv "
        "/var/lib/redis/crypto /var/lib/redis/crypto.old, there systemctl disable --now redis-crypto.service, then "
        "copy /var/lib/redis/crypto to this host (cp -a; the deploy gives it to its user); or --data "
        "begin_empty=crypto, which begins with what is here and leaves that data where it is"
    ]


# Two places with data: what each may have, and what a run does with the old one

OLD_ONES: dict[str, Pair | None] = {
    "nothing": old(files={}, used={}),
    "stopped": gone_from(FULL, 5, STOPPED),
    "running, no key": gone_from(FULL, 5, replace(SERVES, keys=0)),
    "running, keys": gone_from(FULL, 5, SERVES),
    "running, keys unknown": gone_from(FULL, 5, UNTOLD),
    "left out": None,
}
NEW_ONES = ("not there", "stopped without data", "stopped with data", "running")
MAY_END = ("nothing", "stopped", "running, no key")


def carries(state: str, word: bool) -> Pair:
    """A host that carries crypto; data of the stopped one is as old as that of the old host."""
    host = replace(desired("crypto"), requests=Requests(begin_empty=("crypto",) if word else ()))
    if state == "not there":
        return host, fresh(host)
    if state == "stopped without data":
        return host, replace(stopped(as_desired(host), "crypto"), data_files={}, stored={})
    return host, holding(as_desired(host) if state == "running" else stopped(as_desired(host), "crypto"), FULL, 5)


@pytest.mark.parametrize("word", [False, True], ids=["unasked", "begin_empty"])
@pytest.mark.parametrize("place", NEW_ONES)
@pytest.mark.parametrize("there", OLD_ONES)
def test_a_server_with_keys_ends_for_another_only_when_that_is_meant(there: str, place: str, word: bool) -> None:
    seen = {"new": carries(place, word)}
    before = OLD_ONES[there]
    if before is not None:
        seen["old"] = before
    said = moved_roles(seen)
    begins_without = place in NEW_ONES[:2] and there not in ("nothing", "left out")
    ends_keys = there not in (*MAY_END, "left out")
    assert len(said) == int((begins_without or ends_keys) and not word), said
    # What is looked at nowhere is at least a note where anything would begin.
    noted = unseen_beginnings(seen, [] if before else ["old"])
    assert len(noted) == int(before is None and place != "running"), noted


@pytest.mark.parametrize("word", [False, True], ids=["unasked", "begin_empty"])
@pytest.mark.parametrize("there", [item for item in OLD_ONES if item not in ("nothing", "left out")])
def test_no_server_ends_in_a_run_without_the_one_that_takes_its_role(there: str, word: bool) -> None:
    host, observed = OLD_ONES[there] or new()
    pair = (replace(host, requests=Requests(begin_empty=("crypto",) if word else ())), observed)
    assert len(unserved_roles({"old": pair}, {"crypto": ["new"]})) == 1


def test_two_servers_of_a_role_are_said_with_their_keys_their_ages_and_the_ways_to_go_on() -> None:
    host, observed = carries("running", word=False)
    here = with_server(observed, "crypto", info={**observed.servers["crypto"].info, "db0": "keys=453,expires=0"})
    assert moved_roles({"new": (host, here), "old": gone_from(FULL, 9, replace(SERVES, keys=455))}) == [
        "old: crypto: redis-crypto.service on old serves 172.28.2.5:6383: 455 keys, /var/lib/redis/crypto (3.0 MiB), "
        "written last 1970-01-01 00:00:09 UTC, and redis-crypto.service on new serves 172.28.2.5:6383: 453 keys, "
        "/var/lib/redis/crypto (1.0 MiB), written last 1970-01-01 00:00:05 UTC, expected keys in one of them before "
        "the other ends: put old back into group redis_crypto, in place of new if its data is wanted; or stop the one "
        "whose data is not wanted, which keeps that: systemctl disable --now redis-crypto.service; or --data "
        "begin_empty=crypto, which ends the one on old after all hosts are proved, and leaves its data where it is"
    ]


def test_a_server_beside_several_others_is_said_once() -> None:
    others = {f"new-{number}": carries("running", word=False) for number in (1, 2)}
    (said,) = moved_roles({**others, "old": gone_from(FULL, 9, SERVES)})
    assert "redis-crypto.service on new-1 serves" in said
    assert "redis-crypto.service on new-2 serves" in said
    assert "in place of new-1 or new-2 if its data is wanted" in said


def test_a_second_server_that_does_not_tell_or_has_data_of_somebody_else_counts_as_well() -> None:
    host, observed = carries("running", word=False)
    for info in ({}, {"loading": "1"}):
        mute = with_server(observed, "crypto", info=info)
        (said,) = moved_roles({"new": (host, mute), "old": gone_from(FULL, 9, SERVES)})
        assert "on new serves 172.28.2.5:6383: keys unknown" in said
    silent = replace(observed, servers={})
    (said,) = moved_roles({"new": (host, silent), "old": gone_from(FULL, 9, SERVES)})
    assert "on new serves 172.28.2.5:6383: keys unknown" in said


def test_a_server_whose_role_nobody_carries_any_more_ends_with_its_keys() -> None:
    host = desired("socket")
    assert moved_roles({"new": (host, as_desired(host)), "old": old(SERVES)}) == []


def test_a_server_with_keys_that_ends_is_noted_with_them() -> None:
    (said,) = endings({"old": gone_from(FULL, 5, SERVES)})
    assert said == (
        "redis-crypto.service on old serves 172.28.2.5:6383: 5000 keys, /var/lib/redis/crypto (3.0 MiB), written last "
        "1970-01-01 00:00:05 UTC: it ends when all hosts are proved"
    )
    assert endings({"old": gone_from(FULL, 5, STOPPED)}) == endings({"old": OLD_ONES["running, no key"] or new()}) == []


@pytest.mark.parametrize("word", [False, True], ids=["unasked", "begin_empty"])
@pytest.mark.parametrize("lacking", [False, True], ids=["known passwords", "new passwords"])
@pytest.mark.parametrize("state", ["not there", "stopped without data", "stopped with data", "running"])
def test_a_role_that_begins_empty_with_the_passwords_of_one_that_ran_is_noted(
    state: str, lacking: bool, word: bool
) -> None:
    said = known_beginnings({"new": carries(state, word)}, {"crypto"} if lacking else ())
    assert bool(said) == (state in ("not there", "stopped without data") and not lacking and not word)
    assert all(line.startswith("crypto begins empty on new, with passwords that were there before") for line in said)


def test_old_data_that_begins_in_a_run_of_some_hosts_only_is_noted_with_its_age() -> None:
    assert unseen_beginnings({"new": carries("stopped with data", word=False)}, ["one", "two"]) == [
        "crypto begins on new with what it has there (5242880 bytes, written last 1970-01-01 00:00:05 UTC): whether "
        "newer data is on a host that this run leaves out is not known (one, two)"
    ]


# What is said of data that stays


def told(before: Pair, *others: Pair) -> str:
    return kept_data("crypto", "old", {"old": before, **{f"new-{n}": pair for n, pair in enumerate(others)}})


OFFERS = "; --data purge=crypto deletes it"
LATER = {
    # Left there, what the new host had at the beginning of the run, whether its end is offered.
    "a server with keys, beside an empty place": (gone_from(FULL, 5, SERVES), carries("not there", word=True), False),
    "a server with keys, beside a running one": (gone_from(FULL, 5, SERVES), carries("running", word=True), False),
    "a server that does not tell": (gone_from(FULL, 5, UNTOLD), carries("running", word=True), False),
    "later files": (gone_from(FULL, 9, STOPPED), carries("running", word=False), False),
    "a few later bytes": (gone_from(FRESH, 9, STOPPED), carries("running", word=False), False),
    "the files of a copy": (gone_from(FULL, 5, STOPPED), carries("stopped with data", word=False), True),
    "a server without a key": (gone_from(FULL, 9, replace(SERVES, keys=0)), carries("running", word=False), True),
}


@pytest.mark.parametrize(("before", "after", "offered"), LATER.values(), ids=LATER)
def test_the_end_of_kept_data_is_offered_only_where_its_role_had_no_older_one(
    before: Pair, after: Pair, offered: bool
) -> None:
    assert told(before, after).endswith(OFFERS) == offered
    assert ("purge" in told(before, after)) == offered


def test_kept_data_is_said_with_its_keys_and_its_age() -> None:
    had = "5000 keys, 5242880 bytes, written last 1970-01-01 00:00:05 UTC"
    assert told(gone_from(FULL, 5, SERVES)) == had + OFFERS
    assert told(gone_from(FULL, 5, SERVES), carries("running", word=True)) == (
        f"{had}: newer than what new-0 had of it, and maybe the only copy"
    )


@pytest.mark.parametrize("here", [False, True])
def test_what_is_kept_of_a_role_that_moved_is_not_called_its_only_copy(here: bool) -> None:
    """Moved in this run, or in one that was cut off: what was replaced follows what replaced it."""
    had = "5000 keys, 5242880 bytes, written last 1970-01-01 00:00:05 UTC"
    drop_in = {"ActiveState": "active", "MainPID": "9", "DropInPaths": handed_over_drop_in("crypto")}
    host, observed = gone_from(FULL, 5, replace(SERVES, info={"role": "slave"}))
    fenced = replace(observed, units={**observed.units, "redis-crypto.service": drop_in})
    hosts = {"old": (host, observed if here else fenced), "new": carries("not there", word=False)}
    assert kept_data("crypto", "old", hosts, ["crypto"] if here else []) == (
        f"{had}: of before it moved, new has all that{OFFERS}"
    )


def test_data_that_was_replaced_is_no_reason_not_to_start_what_replaced_it() -> None:
    drop_in = {"ActiveState": "active", "MainPID": "9", "DropInPaths": handed_over_drop_in("crypto")}
    host, observed = gone_from(FULL, 5, replace(SERVES, info={"role": "slave"}))
    fenced = replace(observed, units={**observed.units, "redis-crypto.service": drop_in})
    down = carries("stopped with data", word=False)
    assert moved_roles({"old": (host, fenced), "new": down}) == []
    assert moved_roles({"old": (host, observed), "new": down}) != []


# Hosts that a run leaves out


def test_a_role_ends_only_where_every_host_that_carries_it_is_in_the_run() -> None:
    for leftover in (SERVES, STOPPED):
        (said,) = unserved_roles({"old": old(leftover)}, {"crypto": ["new"]})
        assert said.startswith("old: crypto: redis-crypto.service on old ")
        assert "and new, which the inventory gives the role to, is no part of this run" in said
        assert said.endswith("or with --limit old --limit new")
        assert unserved_roles({"old": old(leftover), "new": new("crypto")}, {}) == []


def test_a_role_that_nobody_carries_any_more_ends_in_any_run() -> None:
    assert unserved_roles({"old": old(SERVES)}, {"socket": ["elsewhere"]}) == []


def test_two_roles_that_were_swapped_are_not_ended_one_host_at_a_time() -> None:
    host, observed = new("socket")
    left = {"A": (host, replace(observed, leftovers=(SERVES,)))}
    (said,) = unserved_roles(left, {"crypto": ["B"]})
    assert said.startswith("A: crypto: ")


def test_a_role_that_begins_empty_in_a_run_of_some_hosts_only_is_noted() -> None:
    host = desired("socket")
    hosts = {"new": new("crypto"), "right": (host, as_desired(host))}
    (said,) = unseen_beginnings(hosts, ["one", "two"])
    assert said.startswith("crypto begins empty on new: whether its data is on a host that this run leaves out")
    assert "(one, two)" in said
    assert unseen_beginnings(hosts, []) == []


def test_another_host_that_carries_the_role_keeps_its_own_data() -> None:
    other = desired("crypto")
    assert moved_roles({"new": new("crypto"), "other": (other, as_desired(other))}) == []


def test_an_old_server_of_another_name_at_the_role_s_address_is_found_elsewhere_too() -> None:
    vault = Leftover("vault", True, ENDPOINT, 7)
    files = {"/var/lib/redis/vault/dump.rdb": 9}
    (said,) = moved_roles({"new": new("crypto"), "old": old(vault, files=files)})
    assert "redis-vault.service on old serves 172.28.2.5:6383: 7 keys" in said
    assert "which has its address and port: call it vault again" in said
    elsewhere = replace(vault, endpoint=("172.28.2.5", 7000))
    assert moved_roles({"new": new("crypto"), "old": old(elsewhere, files=files)}) == []


def test_a_server_of_somebody_else_at_the_role_s_address_is_found() -> None:
    host = desired("gateway")
    observed = with_listener(as_desired(host), *ENDPOINT, "redis-server", 812)
    (said,) = moved_roles({"new": new("crypto"), "old": (host, observed)})
    assert "redis-server, pid 812, serves 172.28.2.5:6383 on old" in said
    for process, pid in (("nginx", 812), ("redis-server", observed.pid("redis-gateway.service"))):
        other = with_listener(as_desired(host), *ENDPOINT, process, pid)
        assert moved_roles({"new": new("crypto"), "old": (host, other)}) == []


# Renamed on its host


def renamed(port: int = 6383, *, running: bool = True, begin_empty: tuple[str, ...] = ()) -> Pair:
    """A host whose role vault is called crypto now; vault still runs, or was stopped."""
    host, observed = new("crypto", begin_empty=begin_empty)
    unit = {"ActiveState": "active" if running else "inactive", "MainPID": "77" if running else "0"}
    observed = replace(
        observed,
        our_units=("redis-vault.service",),
        units={**observed.units, "redis-vault.service": {"LoadState": "loaded", **unit}},
        leftovers=(Leftover("vault", running, ("172.28.2.5", port), 9 if running else None, "" if running else "off"),),
        data_files={"/var/lib/redis/vault/dump.rdb": 9},
        addresses=frozenset({"172.28.2.5"}),
    )
    return host, with_listener(observed, "172.28.2.5", port, "redis-server", 77) if running else observed


@pytest.mark.parametrize("port", [6383, 6379])
@pytest.mark.parametrize("begin_empty", [(), ("crypto",)])
def test_a_renamed_role_that_keeps_its_address_is_always_refused(port: int, begin_empty: tuple[str, ...]) -> None:
    host, observed = renamed(port, begin_empty=begin_empty)
    (said,) = moved_roles({"new": (host, observed)})
    assert said.startswith(
        f"new: crypto: 172.28.2.5:{port} is served by redis-vault.service with 9 keys, expected free"
    )
    assert "mv /var/lib/redis/vault /var/lib/redis/crypto" in said
    assert [text for text in unfit(host, observed, compare(host, observed)) if "is held by" in text] == []


def test_a_renamed_role_that_was_stopped_is_refused_unless_it_may_begin_empty() -> None:
    (said,) = moved_roles({"new": renamed(running=False)})
    assert "redis-vault.service on new is stopped: keys unknown (off)" in said
    assert moved_roles({"new": renamed(running=False, begin_empty=("crypto",))}) == []


def test_a_role_beside_a_leftover_with_a_port_of_its_own_is_fine() -> None:
    assert moved_roles({"new": renamed(7000)}) == []

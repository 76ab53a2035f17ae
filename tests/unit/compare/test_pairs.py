"""Which of two hosts serves: a table over all that can be seen of both."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from tasks.catalogue.requested import Requests
from tasks.compare.difference import Remedy
from tasks.compare.host import compare
from tasks.compare.moving import moves
from tasks.compare.pairs import Side, Stance, orient, stance, undecided, unserved_pairs, verdict
from tasks.compare.standby import ahead_of_standby
from tasks.compare.unknown import Kind, acted_on
from tasks.compare.unwell import Code
from tasks.desired.guard import MARK, files_of_a_pair
from tasks.desired.host import Host
from tasks.desired.paths import begun_file, copy_drop_in, handed_over_drop_in, moved_file, promoted_file, served_file
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import FileState, Observed
from tests.unit.builders import SYNCED, as_desired, fresh, pair_of, stopped, with_server, with_setting, with_unit

UNIT = "redis-crypto.service"
FILE = FileState("file", "root", "root", "0644", "")


def seen(host: Host, it: Stance) -> Observed | None:
    """A host of the pair on which the role's server is that."""
    here = as_desired(host)
    there = "172.28.2.77" if it is Stance.STRAYS else host.pairs[0].there[0]
    follows = {"role": "slave", "master_host": there, "master_port": "6383"}
    running = {"role": "master"} if it is Stance.SERVES else {**SYNCED, **follows, "db0": "keys=7,expires=0"}
    here = with_server(here, "crypto", info={**here.servers["crypto"].info, **running})
    down = stopped(here, "crypto")
    drop_in = {
        Stance.FOLLOWS: copy_drop_in("crypto"),
        Stance.STRAYS: copy_drop_in("crypto"),
        Stance.DEMOTED: handed_over_drop_in("crypto"),
        Stance.COPY: copy_drop_in("crypto"),
        Stance.FENCED: handed_over_drop_in("crypto"),
    }.get(it, "")
    here, down = (with_unit(item, UNIT, DropInPaths=drop_in) for item in (here, down))
    return {
        Stance.UNSEEN: None,
        Stance.UNTOLD: with_server(here, "crypto", refusal=Refusal(Cause.LOADING, "LOADING")),
        Stance.OLD: replace(down, files={**down.files, moved_file("crypto"): FILE}),
        Stance.PROMOTED: replace(down, files={**down.files, promoted_file("crypto"): FILE}),
        Stance.EMPTY: fresh(host),
        Stance.LOST: replace(down, files={**down.files, begun_file("crypto"): FILE}, data_files={}),
        **dict.fromkeys((Stance.COPY, Stance.FENCED, Stance.KEEPS), down),
    }.get(it, here)


S = Stance
# what is seen of the one that the inventory names, and of the other → who serves, or why nobody can tell
FIRST, OTHER = "one", "other"
TABLE = {
    (S.SERVES, S.SERVES): Kind.TWO,
    (S.KEEPS, S.KEEPS): Kind.NOBODY,
    (S.PROMOTED, S.PROMOTED): Kind.NOBODY,
    (S.PROMOTED, S.KEEPS): FIRST,
    (S.KEEPS, S.PROMOTED): OTHER,
    (S.EMPTY, S.EMPTY): FIRST,
    **{(S.SERVES, it): FIRST for it in S if it is not S.SERVES},
    **{(it, S.SERVES): OTHER for it in S if it is not S.SERVES},
    (S.UNSEEN, S.FOLLOWS): FIRST,
    (S.FOLLOWS, S.UNSEEN): OTHER,
    (S.PROMOTED, S.LOST): FIRST,
    (S.LOST, S.PROMOTED): OTHER,
    **{(S.LOST, it): FIRST for it in (S.OLD, S.EMPTY)},
    **{(it, S.LOST): OTHER for it in (S.OLD, S.EMPTY)},
    **{(S.KEEPS, it): FIRST for it in (S.FOLLOWS, S.DEMOTED, S.COPY, S.FENCED, S.OLD, S.EMPTY)},
    **{(it, S.KEEPS): OTHER for it in (S.FOLLOWS, S.DEMOTED, S.COPY, S.FENCED, S.OLD, S.EMPTY)},
    **{(S.PROMOTED, it): FIRST for it in (S.FOLLOWS, S.DEMOTED, S.COPY, S.FENCED, S.OLD, S.EMPTY)},
    **{(it, S.PROMOTED): OTHER for it in (S.FOLLOWS, S.DEMOTED, S.COPY, S.FENCED, S.OLD, S.EMPTY)},
}
SEEN = [it for it in S if it not in (S.UNSEEN, S.UNTOLD)]


@pytest.mark.parametrize(("first", "other"), list(product(S, S)))
def test_who_serves_is_what_both_say_and_else_nobody_guesses(first: Stance, other: Stance) -> None:
    found = verdict("crypto", Side(FIRST, first, False, holds="7 keys"), Side(OTHER, other, True, holds="7 keys"))
    wanted = TABLE.get((first, other))
    if wanted is None:
        wanted = Kind.NOBODY if {first, other} <= set(SEEN) else Kind.PAIR
    assert (found.serves or found.kind) == wanted, found
    assert bool(found.serves) != bool(found.remedy)


# beside one that has nothing, which is nothing to lose
BARE = {S.EMPTY: FIRST, S.LOST: FIRST, S.KEEPS: FIRST, S.PROMOTED: FIRST}


@pytest.mark.parametrize("first", BARE)
@pytest.mark.parametrize("other", [S.FOLLOWS, S.DEMOTED, S.COPY, S.FENCED])
def test_who_has_nothing_begins_beside_a_copy_of_nothing(first: Stance, other: Stance) -> None:
    one, bare = Side(FIRST, first, False, outlives=False), Side(OTHER, other, True, outlives=False)
    assert verdict("crypto", one, bare).serves == FIRST
    assert verdict("crypto", bare, one).serves == FIRST


@pytest.mark.parametrize("it", S)
def test_what_a_server_is_is_seen_on_its_host(it: Stance) -> None:
    host = pair_of()["one"]
    observed = seen(host, it)
    if observed is not None:
        assert stance(host.instances[0], observed) is (S.FOLLOWS if it is S.STRAYS else it)


@pytest.mark.parametrize(("first", "other"), [key for key, value in TABLE.items() if value == OTHER])
def test_no_inventory_makes_a_server_serve_again(first: Stance, other: Stance) -> None:
    hosts = pair_of()
    found, unknown = orient(
        {"one": (hosts["one"], seen(hosts["one"], first)), "other": (hosts["other"], seen(hosts["other"], other))}
    )
    assert unknown == {}
    assert {name: item.instances[0].is_standby for name, item in found.items()} == {"one": True, "other": False}
    assert found["one"].instances[0].following["replicaof"] == "172.28.2.2 6383"


@pytest.mark.parametrize("both", [S.SERVES, S.KEEPS, S.COPY])
def test_a_deploy_does_not_begin_where_nobody_can_tell_who_serves(both: Stance) -> None:
    hosts = pair_of()
    _, unknown = orient({name: (host, seen(host, both)) for name, host in hosts.items()})
    assert [len(undecided(items)) for items in unknown.values()] == [1, 1]


def test_a_pair_of_which_one_host_is_not_seen_is_left_as_it_is() -> None:
    hosts = pair_of()
    found, unknown = orient({"one": (hosts["one"], seen(hosts["one"], S.KEEPS)), "other": (hosts["other"], None)})
    assert [item.kind for item in unknown["one"]] == [Kind.PAIR]
    assert undecided(unknown["one"]) == []
    assert not found["one"].instances[0].is_standby


def as_found() -> dict[str, Host]:
    hosts = pair_of()
    return orient(
        {"one": (hosts["one"], seen(hosts["one"], S.SERVES)), "other": (hosts["other"], as_desired(hosts["other"]))}
    )[0]


@pytest.mark.parametrize("it", [it for it in S if it is not S.SERVES])
def test_a_standby_that_somebody_told_to_serve_is_taken_for_no_primary_while_the_other_one_may_serve(
    it: Stance,
) -> None:
    """Its next start is that of a copy: only where the other one is seen not to serve is it the one that does."""
    hosts = pair_of()
    other = seen(hosts["other"], S.SERVES)
    assert other is not None
    other = with_unit(other, UNIT, DropInPaths=copy_drop_in("crypto"))
    found, unknown = orient({"one": (hosts["one"], seen(hosts["one"], it)), "other": (hosts["other"], other)})
    is_told = it not in (S.UNSEEN, S.UNTOLD)
    assert ("other" in unknown) != is_told
    if not is_told:
        differences = compare(found["other"], other)
        assert acted_on(found["other"], other, differences, unknown["other"]) == ()
        assert unknown["other"][0].kind is Kind.PAIR
        assert "REPLICAOF NO ONE" in str(unknown["other"][0])


def test_what_makes_a_standby_is_no_drift() -> None:
    host = as_found()["other"]
    assert host.instances[0].is_standby
    assert compare(host, as_desired(host)) == []


def test_a_primary_has_nothing_of_a_standby() -> None:
    host = as_found()["one"]
    assert compare(host, as_desired(host)) == []
    assert not [file.path for file in host.files if "copy" in file.path]


@pytest.mark.parametrize(
    ("name", "value"),
    [("replicaof", "172.28.2.99 6383"), ("masterauth", "another"), ("replica-serve-stale-data", "yes")],
)
def test_a_standby_that_was_told_otherwise_is_drift(name: str, value: str) -> None:
    host = as_found()["other"]
    (found,) = compare(host, with_setting(as_desired(host), "crypto", name, value))
    assert found.name == name
    assert "another" not in str(found)


@pytest.mark.parametrize("name", ["replicaof", "masteruser", "masterauth"])
def test_a_primary_that_was_told_to_follow_is_drift(name: str) -> None:
    hosts = as_found()
    value = hosts["other"].instances[0].following[name]
    (found,) = compare(hosts["one"], with_setting(as_desired(hosts["one"]), "crypto", name, value))
    assert found.name == name


def test_a_standby_that_does_not_run_follows_again() -> None:
    host = as_found()["other"]
    found = compare(host, with_unit(stopped(as_desired(host), "crypto"), UNIT, DropInPaths=copy_drop_in("crypto")))
    assert [item.remedy for item in found] == [Remedy.FOLLOW]


def test_an_old_primary_that_comes_back_has_its_data_set_aside() -> None:
    hosts = pair_of()
    one, other = seen(hosts["one"], S.KEEPS), seen(hosts["other"], S.SERVES)
    assert one is not None
    as_found, _ = orient({"one": (hosts["one"], one), "other": (hosts["other"], other)})
    found = {item.name: item.remedy for item in compare(as_found["one"], one)}
    assert found["/var/lib/redis/crypto"] == Remedy.RENEW
    assert found[begun_file("crypto")] == Remedy.FOLLOW
    assert found[UNIT] == Remedy.FOLLOW


@pytest.mark.parametrize("mark", [begun_file, promoted_file])
def test_a_stopped_standby_that_has_noted_that_it_served_has_its_data_set_aside(mark: Callable[[str], str]) -> None:
    """What makes it a copy may still be there: what it wrote meanwhile is nobody else's."""
    hosts = pair_of()
    other = seen(hosts["other"], S.COPY)
    assert other is not None
    other = replace(other, files={**other.files, mark("crypto"): FILE})
    found, _ = orient({"one": (hosts["one"], seen(hosts["one"], S.SERVES)), "other": (hosts["other"], other)})
    remedies = {item.name: item.remedy for item in compare(found["other"], other)}
    assert remedies["/var/lib/redis/crypto"] == Remedy.RENEW


def test_an_old_server_whose_handover_has_not_ended_is_that_whatever_it_is_at_its_next_start() -> None:
    """A deploy that was cut off has written what makes it a standby, and what keeps it from its start is there."""
    host = pair_of()["one"]
    one = seen(host, S.DEMOTED)
    assert one is not None
    one = with_unit(one, UNIT, DropInPaths=f"{copy_drop_in('crypto')} {handed_over_drop_in('crypto')}")
    assert stance(host.instances[0], one) is S.DEMOTED


@pytest.mark.parametrize("copy", [S.FOLLOWS, S.COPY])
def test_of_two_copies_a_person_is_told_how_the_one_that_served_last_serves(copy: Stance) -> None:
    hosts = pair_of()
    both = {name: (host, seen(host, it)) for (name, host), it in zip(hosts.items(), (S.FOLLOWS, copy), strict=True)}
    (found,) = orient(both)[1]["one"]
    for word in ("MASTER MODE enabled", f"rm {copy_drop_in('crypto')}", "--data serve_alone=crypto", "cp -a"):
        assert word in found.remedy


def test_an_older_version_is_no_standby_of_a_newer_one() -> None:
    hosts = pair_of()
    newer = seen(hosts["other"], S.SERVES)
    assert newer is not None
    newer = with_server(newer, "crypto", info={**newer.servers["crypto"].info, "redis_version": "8.0.2"})
    found, _ = orient({"one": (hosts["one"], seen(hosts["one"], S.KEEPS)), "other": (hosts["other"], newer)})
    one = seen(hosts["one"], S.KEEPS)
    assert one is not None
    (item,) = [item for item in compare(found["one"], one) if item.name == UNIT]
    assert "Redis 8.0.2 or newer, as its primary on other" in str(item)
    assert "by hand: it cannot read what its primary has" in str(item)


@pytest.mark.parametrize("it", S)
def test_a_persons_word_starts_the_one_that_is_seen_and_has_data_and_no_other(it: Stance) -> None:
    hosts = pair_of()
    asked = {name: replace(host, requests=Requests(serve_alone=("crypto",))) for name, host in hosts.items()}
    found, unknown = orient({"one": (asked["one"], seen(hosts["one"], it)), "other": (asked["other"], None)})
    begins = it in (S.KEEPS, S.PROMOTED)
    noted = served_file("crypto") in {file.path for file in found["one"].files}
    assert noted == (begins or it is S.SERVES)
    assert ("one" in unknown) == (it not in (S.SERVES, S.FOLLOWS, S.KEEPS, S.PROMOTED, S.UNSEEN))


def test_that_one_serves_is_noted_where_it_does_and_nowhere_else() -> None:
    hosts = as_found()
    noted = {
        name: [file.path for file in host.files if file.path == served_file("crypto")] for name, host in hosts.items()
    }
    assert noted == {"one": [served_file("crypto")], "other": []}
    assert served_file("crypto") in hosts["other"].absent


# What becomes, on the one that serves, of the note that nobody can have been put in its place; else it stays.
GONE, MADE = "gone", "made"
NOTE_OF_ONE_THAT_SERVES = {
    **dict.fromkeys((S.FOLLOWS, S.DEMOTED, S.STRAYS, S.COPY), GONE),  # they may be put in its place
    **dict.fromkeys((S.FENCED, S.EMPTY), MADE),  # nobody can start them, or there is nothing to start
}


def note(host: Host) -> str:
    """What a deploy makes of that note on a host."""
    assert not (
        promoted_file("crypto") in host.absent and promoted_file("crypto") in {item.path for item in host.files}
    )
    made = {item.path: item.content for item in host.files}.get(promoted_file("crypto"))
    assert made in (None, f"{MARK}\n")
    return GONE if promoted_file("crypto") in host.absent else MADE if made else ""


@pytest.mark.parametrize("it", [it for it in S if it is not S.SERVES])
def test_that_one_was_promoted_is_forgotten_once_the_other_one_is_a_copy_and_not_before(it: Stance) -> None:
    """Until then it alone tells who served last; from then on the other one may be promoted in its turn."""
    hosts = pair_of()
    one, other = seen(hosts["one"], it), seen(hosts["other"], S.SERVES)
    found, _ = orient({"one": (hosts["one"], one), "other": (hosts["other"], other)})
    assert note(found["other"]) == NOTE_OF_ONE_THAT_SERVES.get(it, "")
    assert note(found["one"]) == GONE


@pytest.mark.parametrize("it", S)
def test_one_of_which_nobody_knows_who_serves_keeps_what_was_noted(it: Stance) -> None:
    hosts = pair_of()
    found, unknown = orient({name: (host, seen(host, it)) for name, host in hosts.items()})
    for name in unknown:
        assert note(found[name]) == ""


@pytest.mark.parametrize("info", [{"slave_repl_offset": "1"}, {"slave_repl_offset": "0"}])
def test_a_copy_that_was_never_in_sync_takes_nothing_from_its_primary(info: dict[str, str]) -> None:
    """It has nothing that it could be promoted with."""
    hosts = pair_of()
    other = unfinished(hosts["other"], info)
    found, _ = orient({"one": (hosts["one"], seen(hosts["one"], S.SERVES)), "other": (hosts["other"], other)})
    assert note(found["one"]) == ""
    other = replace(unfinished(hosts["other"], None), data_files={})  # it does not even run
    found, _ = orient({"one": (hosts["one"], seen(hosts["one"], S.SERVES)), "other": (hosts["other"], other)})
    assert note(found["one"]) == ""


NO_COPY = {"connected_slaves": "0", "repl_backlog_active": "0"}


def note_of_a_new_one(it: Stance, other: Stance, **info: str) -> str | None:
    """What is made of the note on a host of which nothing is of a pair yet; None where nobody can tell who serves."""
    hosts = {name: replace(host, requests=Requests(serve_alone=("crypto",))) for name, host in pair_of().items()}
    one = seen(hosts["one"], it)
    assert one is not None
    one = replace(one, files={path: file for path, file in one.files.items() if path not in files_of_a_pair("crypto")})
    if it is S.SERVES:
        one = with_server(one, "crypto", info={**one.servers["crypto"].info, **NO_COPY, **info})
    found, unknown = orient({"one": (hosts["one"], one), "other": (hosts["other"], seen(hosts["other"], other))})
    return None if "one" in unknown else note(found["one"])


@pytest.mark.parametrize("other", [S.UNSEEN, S.UNTOLD, S.TOLD, S.KEEPS, S.EMPTY, S.OLD])
def test_a_role_that_never_was_of_a_pair_can_have_been_replaced_by_nobody(other: Stance) -> None:
    """Its standby's host may be off, or may fail before it has anything: no boot of its primary waits for that."""
    assert note_of_a_new_one(S.SERVES, other) == MADE


@pytest.mark.parametrize("other", [S.UNSEEN, S.UNTOLD, S.TOLD])
@pytest.mark.parametrize("info", [{"connected_slaves": "1"}, {"repl_backlog_active": "1"}, {"connected_slaves": ""}])
def test_one_that_has_or_had_a_copy_may_be_replaced_by_another_one_that_was_not_seen(
    other: Stance, info: dict[str, str]
) -> None:
    """A pair of before anything was asked before a start, say."""
    assert note_of_a_new_one(S.SERVES, other, **info) == ""
    assert note_of_a_new_one(S.SERVES, S.KEEPS, **info) == MADE


@pytest.mark.parametrize(("other", "becomes"), [(S.UNSEEN, ""), (S.UNTOLD, None), (S.EMPTY, MADE), (S.OLD, MADE)])
def test_a_stopped_one_that_is_new_to_a_pair_says_nothing_of_copies(other: Stance, becomes: str | None) -> None:
    assert note_of_a_new_one(S.KEEPS, other) == becomes


BEGUN = FileState("file", "root", "root", "0644", "")


def without_data(host: Host, **changes: Any) -> Observed:
    """A host that has served the role, and whose data is gone: its disk died, or is not mounted."""
    down = stopped(as_desired(host), "crypto")
    down = with_unit(down, UNIT, DropInPaths="")
    return replace(down, files={**down.files, begun_file("crypto"): BEGUN}, **{"data_files": {}, **changes})


SNAPSHOT_ALONE = {"data_files": {"/var/lib/redis/crypto/dump.rdb": 5000}}
WORDS = [Requests(), Requests(begin_empty=("crypto",)), Requests(accept_loss=("crypto",))]


@pytest.mark.parametrize("it", [S.FOLLOWS, S.DEMOTED, S.COPY, S.FENCED])
@pytest.mark.parametrize("lost", [{}, SNAPSHOT_ALONE])
@pytest.mark.parametrize("asked", WORDS)
def test_a_primary_whose_data_is_gone_is_started_beside_nobody_who_has_it(
    it: Stance, lost: dict[str, Any], asked: Requests
) -> None:
    """Whatever it would begin with, the other one would copy that."""
    hosts = {
        name: replace(
            host,
            requests=asked,
            instances=tuple(replace(one, accepts_loss=bool(asked.accept_loss)) for one in host.instances),
        )
        for name, host in pair_of().items()
    }
    found, unknown = orient(
        {"one": (hosts["one"], without_data(hosts["one"], **lost)), "other": (hosts["other"], seen(hosts["other"], it))}
    )
    assert [item.kind for items in unknown.values() for item in items] == [Kind.NOBODY, Kind.NOBODY]
    assert len(undecided(unknown["one"])) == 1
    if it is S.FENCED:
        assert "handed-over.conf" in unknown["one"][0].remedy
        return
    assert "promote=crypto" in unknown["one"][0].remedy
    (difference, *_) = [item for item in compare(found["one"], without_data(hosts["one"])) if "data" in item.expected]
    assert "begin_empty" not in str(difference)
    assert "promote=crypto" in str(difference)


def test_a_persons_word_starts_none_without_data_whose_other_host_is_not_seen() -> None:
    hosts = pair_of()
    asked = Requests(serve_alone=("crypto",), begin_empty=("crypto",))
    one = replace(hosts["one"], requests=asked)
    _, unknown = orient({"one": (one, without_data(one)), "other": (hosts["other"], None)})
    assert [item.kind for item in unknown["one"]] == [Kind.PAIR]


def unfinished(host: Host, info: dict[str, str] | None = None) -> Observed:
    """A standby of a first deploy that has failed: it has nothing, and may have been started."""
    here = as_desired(host)
    here = with_server(here, "crypto", info={**here.servers["crypto"].info, **SYNCED, **NEVER, **(info or {})})
    return with_unit(here if info is not None else stopped(here, "crypto"), UNIT, DropInPaths=copy_drop_in("crypto"))


NEVER = {"master_host": "172.28.2.1", "master_link_status": "down", "slave_repl_offset": "1"}


@pytest.mark.parametrize("info", [None, {}])
def test_a_pairs_first_deploy_that_failed_can_be_repeated(info: dict[str, str] | None) -> None:
    hosts = pair_of()
    other = unfinished(hosts["other"], info)
    other = replace(other, data_files={}) if info is None else other
    found, unknown = orient({"one": (hosts["one"], fresh(hosts["one"])), "other": (hosts["other"], other)})
    assert unknown == {}
    assert {name: item.instances[0].is_standby for name, item in found.items()} == {"one": False, "other": True}


@pytest.mark.parametrize(
    "info",
    [
        None,
        {"db0": "keys=1,expires=0"},
        {"slave_repl_offset": "2"},
        {"number_of_functions": "1"},
        {"loading": "1"},
    ],
)
def test_a_copy_with_anything_is_not_begun_beside(info: dict[str, str] | None) -> None:
    hosts = pair_of()
    other = unfinished(hosts["other"], info)
    _, unknown = orient({"one": (hosts["one"], fresh(hosts["one"])), "other": (hosts["other"], other)})
    assert [item.kind for item in unknown["one"]] == [Kind.NOBODY]
    assert "promote=crypto" in unknown["one"][0].remedy


def test_a_stopped_primary_that_keeps_nothing_on_disk_stops_no_deploy_of_other_roles() -> None:
    hosts = pair_of(appendonly=False, save="")
    both = {"one": (hosts["one"], fresh(hosts["one"])), "other": (hosts["other"], seen(hosts["other"], S.FOLLOWS))}
    _, unknown = orient(both)
    assert len(unknown["one"]) == 1
    assert undecided(unknown["one"]) == []
    assert [item.code for item in unserved_pairs(unknown["one"])] == [Code.NONE_SERVES]
    assert "systemctl start" in unknown["one"][0].remedy


@pytest.mark.parametrize("it", S)
@pytest.mark.parametrize("drop_in", [copy_drop_in("crypto"), handed_over_drop_in("crypto")])
def test_a_standby_that_follows_a_third_server_is_taken_from_it_by_nobody(it: Stance, drop_in: str) -> None:
    """That one may serve: it is none of the pair any more."""
    hosts = pair_of()
    other = seen(hosts["other"], S.FOLLOWS)
    assert other is not None
    info = {**other.servers["crypto"].info, "master_host": "172.28.2.77"}
    other = with_unit(with_server(other, "crypto", info=info), UNIT, DropInPaths=drop_in)
    found, unknown = orient({"one": (hosts["one"], seen(hosts["one"], it)), "other": (hosts["other"], other)})
    assert ("other" in unknown) == (it is not S.SERVES)
    assert found["other"].instances[0].is_standby
    if it is not S.SERVES:
        assert "172.28.2.77:6383" in str(unknown["other"][0])
        assert "redis_crypto" in unknown["other"][0].remedy


@pytest.mark.parametrize("copy", [S.FOLLOWS, S.COPY])
def test_where_a_host_went_down_amid_a_handover_the_command_is_said_that_settles_it(copy: Stance) -> None:
    hosts = pair_of()
    one, other = seen(hosts["one"], S.FENCED), seen(hosts["other"], copy)
    _, unknown = orient({"one": (hosts["one"], one), "other": (hosts["other"], other)})
    (found,) = unknown["one"]
    assert found.kind is Kind.NOBODY
    assert "tasks/handover.py --data handover=crypto" in found.remedy


@pytest.mark.parametrize("it", [S.FENCED, S.DEMOTED])
def test_a_handover_within_a_pair_that_was_cut_off_is_no_move(it: Stance) -> None:
    hosts = pair_of()
    one = seen(hosts["one"], it)
    assert one is not None
    assert moves({"one": (hosts["one"], one)}) == ([], [])
    (said,) = [str(item.remedy) for item in compare(hosts["one"], one) if item.name == handed_over_drop_in("crypto")]
    assert "tasks/handover.py --data handover=crypto" in said


@pytest.mark.parametrize(("version", "refused"), [("5:8.0.2-3", True), ("5:7.0.15-1~deb12u10", False), (None, False)])
def test_a_server_is_not_upgraded_under_a_standby_that_could_not_follow_it(version: str | None, refused: bool) -> None:
    hosts = pair_of()
    one, other = seen(hosts["one"], S.SERVES), seen(hosts["other"], S.FOLLOWS)
    found, _ = orient({"one": (hosts["one"], one), "other": (hosts["other"], other)})
    assert one is not None
    said = list(ahead_of_standby(replace(found["one"], redis_version=version), one))
    assert [("upgrade other, hand over" in item) for item in said] == [True] * refused

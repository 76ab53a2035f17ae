"""Which of two hosts serves: a table over all that can be seen of both."""

from dataclasses import replace
from itertools import product

import pytest

from tasks.catalogue.requested import Requests
from tasks.compare.difference import Remedy
from tasks.compare.host import compare
from tasks.compare.pairs import Side, Stance, orient, stance, undecided, verdict
from tasks.compare.standby import ahead_of_standby
from tasks.compare.unknown import Kind, Unknown
from tasks.desired.host import Host
from tasks.desired.paths import begun_file, copy_drop_in, handed_over_drop_in, moved_file, promoted_file, served_file
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import FileState, Observed
from tests.unit.builders import as_desired, fresh, pair_of, stopped, with_server, with_setting, with_unit

UNIT = "redis-crypto.service"
FILE = FileState("file", "root", "root", "0644", "")


def seen(host: Host, it: Stance) -> Observed | None:
    """A host of the pair on which the role's server is that."""
    here = as_desired(host)
    where = {"master_host": host.pairs[0].there[0], "master_port": str(host.pairs[0].there[1])}
    where = {**where, "master_host": "172.28.2.77"} if it is Stance.ASTRAY else where
    running = {"role": "master"} if it is Stance.SERVES else {"role": "slave", **where}
    here = with_server(here, "crypto", info={**here.servers["crypto"].info, **running})
    down = stopped(here, "crypto")
    drop_in = {
        Stance.FOLLOWS: copy_drop_in("crypto"),
        Stance.DEMOTED: handed_over_drop_in("crypto"),
        Stance.COPY: copy_drop_in("crypto"),
        Stance.HOLLOW: copy_drop_in("crypto"),
        Stance.ASTRAY: copy_drop_in("crypto"),
        Stance.FENCED: handed_over_drop_in("crypto"),
    }.get(it, "")
    here, down = (with_unit(item, UNIT, DropInPaths=drop_in) for item in (here, down))
    return {
        Stance.UNSEEN: None,
        Stance.UNTOLD: with_server(here, "crypto", refusal=Refusal(Cause.LOADING, "LOADING")),
        Stance.OLD: replace(down, files={**down.files, moved_file("crypto"): FILE}),
        Stance.PROMOTED: replace(down, files={**down.files, promoted_file("crypto"): FILE}),
        Stance.EMPTY: fresh(host),
        Stance.HOLLOW: replace(down, data_files={}),
        Stance.LOST: replace(down, data_files={}, files={**down.files, begun_file("crypto"): FILE}),
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
    **{(one, two): FIRST for one in (S.EMPTY, S.HOLLOW) for two in (S.EMPTY, S.HOLLOW)},
    **{(S.LOST, it): FIRST for it in (S.EMPTY, S.HOLLOW, S.OLD, S.LOST)},
    **{(it, S.LOST): OTHER for it in (S.EMPTY, S.HOLLOW, S.OLD)},
    **{(keeps, it): FIRST for keeps in (S.KEEPS, S.PROMOTED) for it in (S.LOST, S.HOLLOW)},
    **{(it, keeps): OTHER for keeps in (S.KEEPS, S.PROMOTED) for it in (S.LOST, S.HOLLOW)},
    **{(S.SERVES, it): FIRST for it in S if it is not S.SERVES},
    **{(it, S.SERVES): OTHER for it in S if it is not S.SERVES},
    (S.UNSEEN, S.FOLLOWS): FIRST,
    (S.FOLLOWS, S.UNSEEN): OTHER,
    **{(S.KEEPS, it): FIRST for it in (S.FOLLOWS, S.DEMOTED, S.COPY, S.FENCED, S.OLD, S.EMPTY)},
    **{(it, S.KEEPS): OTHER for it in (S.FOLLOWS, S.DEMOTED, S.COPY, S.FENCED, S.OLD, S.EMPTY)},
    **{(S.PROMOTED, it): FIRST for it in (S.FOLLOWS, S.DEMOTED, S.COPY, S.FENCED, S.OLD, S.EMPTY)},
    **{(it, S.PROMOTED): OTHER for it in (S.FOLLOWS, S.DEMOTED, S.COPY, S.FENCED, S.OLD, S.EMPTY)},
}
SEEN = [it for it in S if it not in (S.UNSEEN, S.UNTOLD)]


@pytest.mark.parametrize(("first", "other"), list(product(S, S)))
def test_who_serves_is_what_both_say_and_else_nobody_guesses(first: Stance, other: Stance) -> None:
    found = verdict("crypto", Side(FIRST, first, False), Side(OTHER, other, True))
    wanted = TABLE.get((first, other))
    if wanted is None:
        wanted = Kind.NOBODY if {first, other} <= set(SEEN) else Kind.PAIR
    assert (found.serves or found.kind) == wanted, found
    assert bool(found.serves) != bool(found.remedy)


@pytest.mark.parametrize("it", S)
def test_what_a_server_is_is_seen_on_its_host(it: Stance) -> None:
    host = pair_of()["one"]
    observed = seen(host, it)
    if observed is not None:
        # Whom it follows is asked beside it.
        assert stance(host.instances[0], observed) is (S.FOLLOWS if it is S.ASTRAY else it)


def both_seen(first: Stance, other: Stance) -> tuple[dict[str, Host], dict[str, list[Unknown]]]:
    hosts = pair_of()
    return orient(
        {"one": (hosts["one"], seen(hosts["one"], first)), "other": (hosts["other"], seen(hosts["other"], other))}
    )


@pytest.mark.parametrize("copy", [S.FOLLOWS, S.COPY])
def test_a_primary_whose_data_is_gone_never_empties_the_standby_that_has_it(copy: Stance) -> None:
    _, unknown = both_seen(S.LOST, copy)
    (found,) = unknown["one"]
    assert found.kind is Kind.NOBODY
    assert "promote=crypto" in found.remedy
    assert "do not let the other one begin empty, or with a backup" in found.remedy


@pytest.mark.parametrize("copy", [S.FOLLOWS, S.COPY])
def test_where_a_host_went_down_amid_a_handover_it_is_said_who_knows_and_what_to_run(copy: Stance) -> None:
    _, unknown = both_seen(S.FENCED, copy)
    (found,) = unknown["one"]
    assert found.kind is Kind.NOBODY
    for word in (
        "see on other",
        "MASTER MODE enabled",
        f"on one: rm {handed_over_drop_in('crypto')}",
        "systemctl start",
    ):
        assert word in found.remedy


@pytest.mark.parametrize("one", [it for it in S if it is not S.SERVES])
def test_a_standby_that_follows_a_third_server_makes_nobody_serve(one: Stance) -> None:
    found, unknown = both_seen(one, S.ASTRAY)
    assert found["other"].instances[0].is_standby
    (item,) = unknown["other"]
    assert "172.28.2.77:6383" in str(item)


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


@pytest.mark.parametrize("it", S)
def test_that_one_was_promoted_is_forgotten_once_the_other_one_tells_what_it_is_and_not_before(it: Stance) -> None:
    """From then on the other one may be promoted in its turn."""
    hosts = pair_of()
    if it is S.SERVES:
        return
    one, other = seen(hosts["one"], it), seen(hosts["other"], S.SERVES)
    found, _ = orient({"one": (hosts["one"], one), "other": (hosts["other"], other)})
    assert (promoted_file("crypto") in found["other"].absent) == (it not in (S.UNSEEN, S.UNTOLD))


@pytest.mark.parametrize(("version", "refused"), [("5:8.0.2-3", True), ("5:7.0.15-1~deb12u10", False), (None, False)])
def test_a_server_is_not_upgraded_under_a_standby_that_could_not_follow_it(version: str | None, refused: bool) -> None:
    found, _ = both_seen(S.SERVES, S.FOLLOWS)
    one = seen(found["one"], S.SERVES)
    assert one is not None
    said = list(ahead_of_standby(replace(found["one"], redis_version=version), one))
    assert [("upgrade other, hand over" in item) for item in said] == [True] * refused

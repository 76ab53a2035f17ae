"""Data that the next start of a role could not open, or would not load, as differences."""

from dataclasses import replace

import pytest

from tasks.catalogue.requested import Requests
from tasks.compare.data_files import data_user
from tasks.compare.difference import Remedy
from tasks.compare.fitness import unfit
from tasks.compare.host import compare
from tasks.desired.host import Host
from tasks.observed.state import FileState, Observed
from tests.unit.builders import as_desired, desired, stopped, with_file, with_server, with_unit, without_file

DIRECTORY = "/var/lib/redis/crypto"
LOG = f"{DIRECTORY}/appendonlydir"
USER = "redis-crypto"
INCR = f"{LOG}/appendonly.aof.1.incr.aof"


@pytest.fixture
def host() -> Host:
    return desired("crypto")


def with_stored(observed: Observed, path: str, kind: str, owner: str, group: str, mode: str) -> Observed:
    return replace(observed, stored={**observed.stored, path: FileState(kind, owner, group, mode, "")})


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize(
    ("path", "kind", "owner", "group", "mode", "shown"),
    [
        (INCR, "file", "root", USER, "0600", "appendonlydir/appendonly.aof.1.incr.aof is root:redis-crypto 0600"),
        (INCR, "file", USER, "root", "0600", "appendonlydir/appendonly.aof.1.incr.aof is redis-crypto:root 0600"),
        (INCR, "file", USER, USER, "0400", "appendonlydir/appendonly.aof.1.incr.aof is redis-crypto:redis-crypto 0400"),
        (INCR, "file", USER, USER, "0644", "appendonlydir/appendonly.aof.1.incr.aof is redis-crypto:redis-crypto 0644"),
        (LOG, "directory", "root", "root", "0700", "appendonlydir is root:root 0700"),
        (f"{DIRECTORY}/dump.rdb", "file", "root", "root", "0600", "dump.rdb is root:root 0600"),
    ],
)
def test_a_data_file_that_is_not_its_users_own_is_given_back(
    host: Host, running: bool, path: str, kind: str, owner: str, group: str, mode: str, shown: str
) -> None:
    right = as_desired(host) if running else stopped(as_desired(host), "crypto")
    found = [
        item for item in compare(host, with_stored(right, path, kind, owner, group, mode)) if item.name == DIRECTORY
    ]
    assert [(item.observed, str(item.remedy)) for item in found] == [(shown, "give its data back to its user")]


@pytest.mark.parametrize(
    ("path", "kind", "mode"),
    [
        (INCR, "file", "0640"),
        (LOG, "directory", "0750"),
        (f"{DIRECTORY}/lost+found", "directory", "0700"),  # of a file system that is mounted there
        (f"{DIRECTORY}/temp-17.rdb", "file", "0600"),
    ],
)
def test_what_the_next_start_can_open_or_does_not_open_may_be_as_it_is(
    host: Host, path: str, kind: str, mode: str
) -> None:
    owner = USER if path in (INCR, LOG) else "root"
    assert compare(host, with_stored(as_desired(host), path, kind, owner, owner, mode)) == []


def test_a_file_of_the_host_that_has_a_second_name_here_is_not_given_away(host: Host) -> None:
    """As a hard link to /etc/shadow is: the role's own it would be there, too."""
    planted = FileState("file", "root", "shadow", "0640", "", links=2)
    right = as_desired(host)
    (found,) = compare(host, replace(right, stored={**right.stored, f"{DIRECTORY}/dump.rdb": planted}))
    assert found.observed == "dump.rdb is root:shadow 0640 and has 2 names"
    assert found.to_do == (
        f"look which file of the host it is (find / -xdev -samefile {DIRECTORY}/dump.rdb), then rm {DIRECTORY}/dump.rdb"
    )


def test_a_log_of_which_somebody_made_a_backup_by_links_is_its_users_own(host: Host) -> None:
    right = as_desired(host)
    backup = FileState("file", USER, USER, "0600", "", links=2)
    assert compare(host, replace(right, stored={**right.stored, INCR: backup})) == []


def from_before(host: Host) -> Observed:
    """A tier that a version without users of roles has deployed and that runs since, its unit another one."""
    right = as_desired(host)
    old = {path: replace(state, owner="redis", group="redis") for path, state in right.stored.items()}
    right = replace(right, stored=old, started={**right.started, "redis-crypto.service": "older"})
    return with_file(right, DIRECTORY, owner="redis", group="redis")


def test_a_server_from_before_keeps_its_data_until_its_restart_which_is_due_and_says_why(host: Host) -> None:
    (found,) = compare(host, from_before(host))
    assert str(found) == "crypto: instance user: redis, the one of all roles → redis-crypto, its own (restart)"


def test_what_of_a_server_from_before_is_root_s_is_given_to_the_user_that_it_runs_as(host: Host) -> None:
    found = compare(host, with_stored(from_before(host), INCR, "file", "root", "root", "0600"))
    (wrong,) = [item for item in found if item.name == DIRECTORY]
    assert wrong.expected.startswith("all redis:redis, ")
    assert wrong.observed == "appendonlydir/appendonly.aof.1.incr.aof is root:root 0600"


@pytest.mark.parametrize("owner", ["redis", "root", "1234", "redis-gateway"])
@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("older", [True, False])
def test_only_what_runs_since_before_keeps_the_user_of_before(
    host: Host, owner: str, active: bool, older: bool
) -> None:
    right = as_desired(host)
    seen = with_file(right, DIRECTORY, owner=owner, group=owner)
    if older:
        seen = replace(seen, started=dict.fromkeys(right.started, "older"))
    seen = seen if active else stopped(seen, "crypto")
    keeps = owner == "redis" and active and older
    assert data_user(host.instances[0], seen) == ("redis" if keeps else USER)
    directory = [item for item in compare(host, seen) if item.name == DIRECTORY and item.subject == "file"]
    assert [str(item.remedy) for item in directory] == ([] if keeps else ["write"])


CUT = "1:M 26 Nov 2026 02:31:21.755 # !!! Truncating the AOF appendonly.aof.1.incr.aof at offset 1718 !!!"
SKIPPED = "1:M 26 Nov 2026 02:31:21.755 # == CRITICAL == This server is sending an error to its AOF-loading-client: 'x'"


def test_a_log_whose_end_a_start_has_cut_off_is_written_anew(host: Host) -> None:
    (found,) = compare(host, with_server(as_desired(host), "crypto", said=("healthy", CUT)))
    assert (found.subject, found.name, str(found.remedy)) == (
        "persistence",
        "end of the log",
        "write the append-only log anew",
    )
    assert "offset 1718" in found.observed


def test_a_log_that_was_cut_and_is_the_only_copy_of_skipped_writes_is_not_written_anew(host: Host) -> None:
    found = compare(host, with_server(as_desired(host), "crypto", said=(CUT, SKIPPED)))
    end = next(item for item in found if item.name == "end of the log")
    assert str(end.remedy).startswith("by hand: get back what its start skipped first")


def test_a_log_that_was_written_anew_since_its_end_was_cut_is_as_desired(host: Host) -> None:
    right = as_desired(host)
    info = {**right.servers["crypto"].info, "aof_last_rewrite_time_sec": "0"}
    assert compare(host, with_server(right, "crypto", said=(CUT,), info=info)) == []


# --- Data that is gone

SNAPSHOT = f"{DIRECTORY}/dump.rdb"
MANIFEST = f"{LOG}/appendonly.aof.manifest"


def gone(host: Host, *left: str) -> Observed:
    """The role has run here and is down, and of its data there is only this."""
    seen = stopped(as_desired(host), "crypto")
    files = {f"{DIRECTORY}/{name}": 5 for name in left}
    return replace(seen, data_files=files, stored={path: FileState("file", USER, USER, "0600", "") for path in files})


def refusals(host: Host, observed: Observed) -> list[str]:
    return [*unfit(host, observed, compare(host, observed))]


def test_a_role_that_has_run_and_has_no_data_is_refused_and_drift_says_the_same(host: Host) -> None:
    observed = gone(host)
    (refused,) = refusals(host, observed)
    assert refused.startswith(f"crypto: persistence {DIRECTORY}: gone, the directory is empty, expected its data")
    assert refused.endswith("to begin without it: --data begin_empty=crypto")
    found = [item for item in compare(host, observed) if item.subject == "persistence"]
    assert [item.to_do in refused for item in found] == [True]


def test_what_a_restore_put_aside_last_is_named_where_its_host_went_down_amid_it(host: Host) -> None:
    moments = [20260102030405, 20261127120000]
    names = [
        f"{name}.replaced-{moment}{end}"
        for moment in moments
        for name in ("appendonlydir", "dump.rdb")
        for end in ("", "-failed")
    ]
    observed = gone(host)
    aside = dict.fromkeys((f"{DIRECTORY}/{name}" for name in names), FileState("directory", USER, USER, "0700", ""))
    (refused,) = refusals(host, replace(observed, stored=aside))
    last = f"{DIRECTORY}/appendonlydir.replaced-20261127120000 {DIRECTORY}/appendonlydir"
    assert f"give what that had put aside its name again (mv -T {last}; mv -T " in refused
    assert "20260102" not in refused.partition("; else")[0].partition("put aside")[2]
    assert refused.endswith("to begin without it: --data begin_empty=crypto")


def test_a_role_that_is_to_begin_empty_is_not_refused(host: Host) -> None:
    host = replace(host, requests=Requests(begin_empty=("crypto",)))
    assert refusals(host, gone(host)) == []


def test_a_role_that_has_something_to_load_is_not_gone(host: Host) -> None:
    assert refusals(host, gone(host, "appendonlydir/appendonly.aof.manifest")) == []


def test_a_role_that_never_ran_here_begins_empty(host: Host) -> None:
    observed = without_file(gone(host), "/var/lib/caas-redis/crypto")
    assert refusals(host, observed) == []


def test_a_directory_that_went_away_under_a_running_server_is_refused_not_made(host: Host) -> None:
    observed = without_file(as_desired(host), DIRECTORY)
    (refused,), (found,) = refusals(host, observed), compare(host, observed)
    assert refused == (
        f"crypto: persistence {DIRECTORY}: gone, expected its data, for it runs: mount its disk again, or bring the "
        "directory back by its name; do not restart it before"
    )
    assert found.to_do in refused


@pytest.mark.parametrize("word", [False, True])
def test_a_directory_that_went_away_is_made_anew_only_for_a_role_that_is_to_begin_empty(host: Host, word: bool) -> None:
    host = replace(host, requests=Requests(begin_empty=("crypto",) if word else ()))
    observed = without_file(gone(host), DIRECTORY)
    assert any(item.remedy == Remedy.WRITE for item in compare(host, observed) if item.name == DIRECTORY) == word


# --- A snapshot where there was a log

LOGS = {
    "whole": [MANIFEST, INCR],
    "gone": [],
    "without its manifest": [INCR],
}
CONFIGURED = {"with a log": "appendonly yes", "without a log": "appendonly no", "not yet": None}
ENDED = 1000
ASIDE = {"nothing": None, "long ago": ENDED - 1, "since it was stopped": ENDED, "whenever, before a boot": 5000}


def left(host: Host, log: str, snapshot: bool, begun: bool, configured: str, aside: str) -> Observed:
    """A stopped role with this much of its data."""
    paths = [*LOGS[log], *([SNAPSHOT] if snapshot else [])]
    seen = gone(host, *(path.removeprefix(f"{DIRECTORY}/") for path in paths))
    if aside != "whenever, before a boot":
        seen = ended(seen, ENDED)
    when = ASIDE[aside]
    if when is not None:
        old = FileState("directory", USER, USER, "0750", "", when, when)
        seen = replace(seen, stored={**seen.stored, f"{LOG}.old": old})
    if not begun:
        seen = without_file(seen, "/var/lib/caas-redis/crypto")
    line = CONFIGURED[configured]
    if line is None:
        return without_file(seen, "/etc/redis/crypto.conf")
    return with_file(seen, "/etc/redis/crypto.conf", content=f"port 6383\n{line}\n")


@pytest.mark.parametrize("accepts", [False, True], ids=["", "accept_loss"])
@pytest.mark.parametrize("aside", ASIDE)
@pytest.mark.parametrize("configured", CONFIGURED)
@pytest.mark.parametrize("begun", [False, True], ids=["new", "has run"])
@pytest.mark.parametrize("snapshot", [False, True], ids=["no snapshot", "snapshot"])
@pytest.mark.parametrize("log", LOGS)
def test_no_snapshot_takes_the_place_of_a_log_unless_that_is_meant(
    host: Host, log: str, snapshot: bool, begun: bool, configured: str, aside: str, accepts: bool
) -> None:
    host = replace(host, instances=(replace(host.instances[0], accepts_loss=accepts),))
    observed = left(host, log, snapshot, begun, configured, aside)
    found = [item for item in compare(host, observed) if item.subject == "persistence"]
    meant = not begun or accepts or configured == "without a log" or aside == "since it was stopped"
    alone = snapshot and log == "gone"
    assert [item.remedy for item in found if item.remedy == Remedy.TO_LOG] == [Remedy.TO_LOG] * (alone and meant)
    by_hand = [item for item in found if not isinstance(item.remedy, Remedy)]
    refused = [text for text in refusals(host, observed) if "persistence" in text]
    assert [item.to_do in text for item, text in zip(by_hand, refused, strict=True)] == [True] * len(refused)
    lacks = log == "gone" and begun and not (snapshot and meant)
    assert len(refused) == int(lacks or log == "without its manifest")
    if alone and not meant:
        assert "is all there is, expected its log, for it has run here" in refused[0]
        assert refused[0].endswith("--data accept_loss=crypto")


def test_that_a_role_without_a_log_has_run_is_recorded_when_it_has_saved() -> None:
    host = desired("crypto", crypto={"appendonly": False})
    right = without_file(as_desired(host), "/var/lib/caas-redis/crypto")
    right = replace(right, data_files={}, stored={})
    assert [item.name for item in compare(host, right) if item.subject == "file"] == []
    saved = replace(right, data_files={f"{DIRECTORY}/dump.rdb": 5})
    assert [item.name for item in compare(host, saved) if item.subject == "file"] == ["/var/lib/caas-redis/crypto"]


# --- A snapshot that somebody put there


def put(observed: Observed, changed: int, modified: int, log: int = 100) -> Observed:
    """There is a dump.rdb that came there at `changed`; the log is of `log`."""
    stored = {
        **observed.stored,
        MANIFEST: FileState("file", USER, USER, "0600", "", log, log),
        SNAPSHOT: FileState("file", USER, USER, "0600", "", modified, changed),
    }
    return replace(observed, stored=stored, data_files={**observed.data_files, SNAPSHOT: 5})


def saved(host: Host, at: int, **info: str) -> Observed:
    right = as_desired(host)
    return with_server(right, "crypto", info={**right.servers["crypto"].info, "rdb_last_save_time": str(at), **info})


def strange(host: Host, observed: Observed) -> list[str]:
    return [item.observed for item in compare(host, observed) if item.name == SNAPSHOT]


@pytest.mark.parametrize(
    ("changed", "modified", "is_strange"),
    [
        (1000, 1000, False),  # the server's own
        (1001, 100, True),  # brought with cp -p or mv
        (1001, 1001, False),  # its own, written as the second began
        (1002, 1002, True),  # brought with cp
        (5000, 990, False),  # its own, to which somebody made a second name
    ],
)
def test_a_snapshot_that_is_newer_than_the_last_save_was_put_there(
    host: Host, changed: int, modified: int, is_strange: bool
) -> None:
    observed = put(saved(host, 1000), changed, modified)
    assert bool(strange(host, observed)) == is_strange
    assert bool([text for text in refusals(host, observed) if SNAPSHOT in text]) == is_strange


@pytest.mark.parametrize("word", ["loading", "rdb_bgsave_in_progress"])
def test_a_save_that_is_under_way_is_not_taken_for_somebody_else_s(host: Host, word: str) -> None:
    assert strange(host, put(saved(host, 1000, **{word: "1"}), 1001, 1001)) == []


def ended(observed: Observed, at: int, started: int = 0) -> Observed:
    return with_unit(
        observed, "redis-crypto.service", InactiveEnterTimestamp=f"@{at}", ExecMainStartTimestamp=f"@{started}"
    )


@pytest.mark.parametrize(
    ("changed", "log", "is_strange"),
    [
        (1000, 100, False),  # saved as it ended
        (1500, 100, True),
        (1500, 1501, False),  # the log was made from it
    ],
)
def test_a_snapshot_that_came_beside_the_log_of_a_stopped_role_was_put_there(
    host: Host, changed: int, log: int, is_strange: bool
) -> None:
    observed = put(ended(stopped(as_desired(host), "crypto"), 1000), changed, 100, log)
    assert bool(strange(host, observed)) == is_strange


@pytest.mark.parametrize(("changed", "is_strange"), [(1000, False), (1500, True), (2000, True)])
def test_a_snapshot_that_came_before_the_role_was_started_again_was_put_there(
    host: Host, changed: int, is_strange: bool
) -> None:
    assert bool(strange(host, put(ended(saved(host, 2000), 1000, 2000), changed, 100))) == is_strange


def test_of_a_stopped_role_whose_end_nobody_knows_nothing_is_said(host: Host) -> None:
    assert strange(host, put(stopped(as_desired(host), "crypto"), 1500, 100)) == []


@pytest.mark.parametrize(
    "left",
    [
        ["dump.rdb", "appendonlydir/appendonly.aof.1.incr.aof"],
        ["dump.rdb", "appendonlydir.bak/appendonly.aof.1.incr.aof"],
        ["appendonlydir/appendonly.aof.1.base.rdb"],
    ],
)
def test_of_a_log_that_lost_its_manifest_drift_and_deploy_say_the_same_and_nothing_is_made_of_the_snapshot(
    host: Host, left: list[str]
) -> None:
    observed = gone(host, *left)
    found = [item for item in compare(host, observed) if item.subject == "persistence"]
    (refused,) = refusals(host, observed)
    assert [item.to_do in refused for item in found] == [True]
    assert "keep a copy first" in refused


# --- Storage behind a link


@pytest.mark.parametrize("path", ["/var/lib/redis", DIRECTORY, LOG])
def test_storage_behind_a_link_is_refused_with_the_mount_that_does_and_drift_says_the_same(
    host: Host, path: str
) -> None:
    link = FileState("link", "root", "root", "0777", "/srv/x")
    right = as_desired(host)
    if path == LOG:
        observed = replace(right, stored={**right.stored, path: link})
    else:
        observed = replace(right, files={**right.files, path: link})
    (found,) = compare(host, observed)
    (refused,) = refusals(host, observed)
    assert found.to_do in refused
    assert f"'/srv/x {path} none bind 0 0' to /etc/fstab" in refused
    assert f"{path}: a link to /srv/x, expected a directory" in refused


# --- What the next boot would miss


@pytest.mark.parametrize(("value", "found"), [("0", ["0"]), ("1", []), ("31000", []), ("", [])])
def test_too_few_user_namespaces_for_the_next_start_are_a_difference(host: Host, value: str, found: list[str]) -> None:
    right = as_desired(host)
    observed = replace(right, sysctls={**right.sysctls, "user.max_user_namespaces": value})
    assert [item.observed for item in compare(host, observed)] == found


def test_too_few_user_namespaces_after_the_next_boot_are_a_difference_in_a_container_too(host: Host) -> None:
    line = {"user.max_user_namespaces": ("0", "/etc/sysctl.d/99-hard.conf")}
    right = as_desired(host)
    observed = replace(right, boot_sysctls={**right.boot_sysctls, **line}, container="lxc")
    (found,) = compare(host, observed)
    assert found.observed == "0 at boot, by /etc/sysctl.d/99-hard.conf"
    assert found.to_do == "remove the line from /etc/sysctl.d/99-hard.conf"

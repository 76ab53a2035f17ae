"""A role's row: what follows from what its host keeps of it."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.backup import Backup
from tasks.desired.paths import backup_record, proof_record
from tasks.observed.moment import Denied, HostNow
from tasks.observed.state import FileState, Observed, Unseen
from tasks.reports.model import HostReport
from tasks.reports.status_model import RoleRow, findings, row, wrong_passwords
from tasks.reports.status_table import refused
from tests.unit.builders import as_desired, desired, limits, stopped

HOST = desired("crypto", backup=Backup(repository="/mnt/backups", roles=("crypto",)))
(CRYPTO,) = HOST.instances
NOW = 1_795_800_000


def recorded(**records: str) -> RoleRow:
    """The row of crypto, whose backup's units have left these records."""
    paths = {"copy": backup_record("crypto"), "proof": proof_record("crypto")}
    files = {paths[name]: FileState("file", "root", "root", "0600", text) for name, text in records.items()}
    seen = as_desired(HOST)
    others = {path: state for path, state in seen.files.items() if path not in paths.values()}
    return row(CRYPTO, replace(seen, files={**others, **files}), HostNow(NOW), None, {}, limits())


def test_how_old_the_last_copy_and_its_proof_are_is_what_their_units_recorded_as_good() -> None:
    failed = f"result failed\nat {NOW}\ngood {NOW - 7200}\n"
    found = recorded(copy=failed, proof=f"result ok\nat {NOW - 86400}\ngood {NOW - 86400}\n")
    assert (found.copied, found.proved) == (7200, 86400)


def tried(count: int, proofs: int = 0, reason: str = "auth", age: int = 5) -> Denied:
    return Denied(reason, "crypto-service", count, age, "172.28.2.5:4711", proofs)


@pytest.mark.parametrize(
    ("counted", "denied", "most", "exact"),
    [
        (0, [], 0, True),
        (2, [tried(2, 2)], 0, True),
        (7, [tried(2, 2), tried(5)], 5, True),
        (500, [tried(500, 8)], 492, True),
        (7, [tried(2, 2), tried(5), tried(9, reason="command")], 5, True),
        (7, [tried(2, 2)], 5, False),
        (7, [], 7, False),
        (3, [tried(2, 2), tried(5)], 3, False),
        (0, [tried(2, 2), tried(5)], 0, True),
    ],
)
def test_refused_logins_are_those_of_others_and_where_not_all_are_known_at_most_so_many(
    counted: int, denied: list[Denied], most: int, exact: bool
) -> None:
    found = RoleRow("crypto", "up", **wrong_passwords(counted, denied, None))  # type: ignore[arg-type]
    assert (found.wrong_passwords, found.wrong_passwords_exact) == (most, exact)
    assert refused(found) == ("" if exact else "≤") + str(most)


@pytest.mark.parametrize(
    ("counted", "denied", "shown"),
    [
        (340, [tried(2, 2)] * 3, "0/5h"),  # by hourly verifies, which have turned the log over
        (340, [tried(2, 2), tried(3)], "3/5h"),
        (340, [tried(9, reason="command")], "0/5h"),
        (5, [tried(2, 2), tried(3)], "3"),
        (0, [], "0"),
    ],
)
def test_of_logins_that_the_log_no_longer_has_it_is_said_how_far_back_it_goes(
    counted: int, denied: list[Denied], shown: str
) -> None:
    assert refused(RoleRow("crypto", "up", **wrong_passwords(counted, denied, 5 * 3600 + 9))) == shown  # type: ignore[arg-type]


def test_what_proofs_tried_within_the_hour_is_told_and_no_more_of_it_than_proofs_try() -> None:
    hours_ago = replace(tried(2, 2), age=3601)
    assert wrong_passwords(9, [tried(2, 2), hours_ago, tried(5)], None)["proofs_tried"] == 2
    assert wrong_passwords(900, [tried(8, 8)] * 60, None)["proofs_tried"] == 16


@dataclass
class Refusing:
    """What a server counts and logs of what it refuses; alike tries within a minute are one entry of its log."""

    entries: int
    now: int = 0
    counted: int = 0
    log: list[tuple[str, int, int]] = field(default_factory=list)  # by whom, how often, when last; the newest first
    tries: list[tuple[str, int]] = field(default_factory=list)  # all of them, since the counter was set back

    def refuse(self, who: str) -> None:
        same = next((item for item in self.log if item[0] == who and self.now - item[2] <= 60), (who, 0, 0))
        self.log = [(who, same[1] + 1, self.now), *(item for item in self.log if item != same)][: self.entries]
        if who != "a command":
            self.counted += 1
            self.tries.append((who, self.now))

    def said(self) -> dict[str, object]:
        denied = [
            tried(count, min(count, 8), "auth", self.now - at)
            if who == "own"
            else tried(count, 0, "command" if who == "a command" else "auth", self.now - at)
            for who, count, at in self.log
        ]
        reach = max((self.now - at for _, _, at in self.log), default=None)
        return wrong_passwords(self.counted, denied, reach)

    def others(self, within: float = float("inf")) -> int:
        return sum(who != "own" and self.now - at <= within for who, at in self.tries)


EVENTS = st.sampled_from(["own", "own", "intruder", "service", "a command", "counter set back", "log set back"])


@given(entries=st.integers(1, 6), events=st.lists(st.tuples(EVENTS, st.integers(0, 4000)), max_size=40))
def test_whatever_a_server_has_forgotten_no_try_of_others_is_left_out_and_none_is_made_up(
    entries: int, events: list[tuple[str, int]]
) -> None:
    server = Refusing(entries)
    for what, later in events:
        server.now += later
        if what == "counter set back":
            server.counted, server.tries = 0, []
            server.now += 61  # who sets it back amid a minute of tries may have some of them counted as a proof's
        elif what == "log set back":
            server.log = []
        else:
            server.refuse(what)
    said = server.said()
    most, reach = int(str(said["wrong_passwords"])), said["wrong_passwords_reach"]
    assert most >= 0
    assert 0 <= int(str(said["proofs_tried"])) <= 16
    if reach is None:
        assert most >= server.others()
    else:
        assert most >= server.others(within=int(str(reach)) - 1)
    if said["wrong_passwords_exact"] and reach is None and all(count <= 8 for _, count, _ in server.log):
        assert most == server.others()


def test_of_a_server_that_says_nothing_no_refused_login_is_claimed() -> None:
    assert refused(RoleRow("crypto", "silent")) == "–"


def test_of_a_role_without_a_copy_or_with_a_record_of_somebody_else_s_nothing_is_claimed() -> None:
    assert (recorded().copied, recorded().proved) == (None, None)
    assert recorded(copy="result ok\nat x\ngood 5\n").copied is None
    assert recorded(copy=f"result failed\nat {NOW}\n").copied is None


def bare() -> Observed:
    """A host that carries nothing of the tier yet."""
    seen = stopped(as_desired(HOST), "crypto")
    units = {name: state for name, state in seen.units.items() if name != "redis-crypto.service"}
    return replace(seen, units=units, files={}, stored={}, data_files={})


def state(seen: Observed) -> str:
    return row(CRYPTO, seen, HostNow(NOW), None, {}, limits()).state


def test_a_role_of_a_host_that_was_never_deployed_is_absent_and_not_down() -> None:
    assert state(bare()) == "absent"
    assert state(stopped(as_desired(HOST), "crypto")) == "down"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/redis/crypto.conf",
        "/etc/redis/crypto.acl",
        "/var/lib/redis/crypto",
        "/etc/sysusers.d/redis-crypto.conf",
        "/var/lib/caas-redis/crypto.backup",
    ],
)
def test_a_role_of_which_anything_is_left_is_down(path: str) -> None:
    assert state(replace(bare(), files={path: FileState("file", "root", "root", "0600", "")})) == "down"


def test_a_role_whose_host_did_not_tell_all_is_down() -> None:
    assert state(replace(bare(), unseen={"disk": Unseen("df ended with 1")})) == "down"


def test_a_role_that_is_absent_warns_and_sends_to_the_first_deploy() -> None:
    report = HostReport("redis-5", "in_sync", "", ("crypto",), (), 1.0)
    (found,) = findings(report, (RoleRow("crypto", "absent"),))
    assert (found.level, found.role, found.read) == ("warning", "crypto", "docs/runbook.md#first-deploy")

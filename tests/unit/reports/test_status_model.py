"""A role's row: what follows from what its host keeps of it."""

from dataclasses import replace

import pytest

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


def tried(count: int, proofs: int = 0, reason: str = "auth") -> Denied:
    return Denied(reason, "crypto-service", count, 5, "172.28.2.5:4711", proofs)


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

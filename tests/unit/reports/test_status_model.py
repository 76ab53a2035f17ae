"""A role's row: what follows from what its host keeps of it."""

from dataclasses import replace

import pytest

from tasks.catalogue.backup import Backup
from tasks.desired.paths import backup_record, proof_record
from tasks.observed.moment import Denied, HostNow
from tasks.observed.state import FileState
from tasks.reports.status_model import RoleRow, row, wrong_passwords
from tasks.reports.status_table import refused
from tests.unit.builders import as_desired, desired, limits

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
    assert wrong_passwords(counted, denied) == (most, exact)
    found = RoleRow("crypto", "up", wrong_passwords=most, wrong_passwords_exact=exact)
    assert refused(found) == ("" if exact else "≤") + str(most)


def test_of_a_server_that_says_nothing_no_refused_login_is_claimed() -> None:
    assert refused(RoleRow("crypto", "silent")) == "–"


def test_of_a_role_without_a_copy_or_with_a_record_of_somebody_else_s_nothing_is_claimed() -> None:
    assert (recorded().copied, recorded().proved) == (None, None)
    assert recorded(copy="result ok\nat x\ngood 5\n").copied is None
    assert recorded(copy=f"result failed\nat {NOW}\n").copied is None

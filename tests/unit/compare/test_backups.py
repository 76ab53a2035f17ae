"""What is left of backups that a host is not to have, and passwords that nobody replaces."""

from dataclasses import replace

import pytest

from tasks.catalogue.backup import Backup
from tasks.catalogue.secret import Secret
from tasks.compare.backups import (
    backup_leftovers,
    lost_repository_passwords,
    unfinished_repositories,
    without_backup,
)
from tasks.compare.difference import Remedy
from tasks.compare.fitness import memory_needed
from tasks.compare.host import compare
from tasks.desired.backup import one_line, settings_text
from tasks.desired.host import Host
from tasks.desired.standby import oriented
from tasks.observed.state import FileState, Observed
from tests.unit.builders import BACKUP, as_desired, desired, pair_of, roles

HOST = desired("crypto", "gateway", backup=Backup(repository="/mnt/backups", roles=("crypto",)))
SEEN = as_desired(HOST)
WITHOUT = desired("crypto", "gateway")
BACKUPS = {"one": BACKUP, "other": BACKUP}  # of both hosts of a pair


def test_where_no_role_is_backed_up_nothing_is_there_for_it() -> None:
    assert "restic" not in WITHOUT.packages
    assert not [file.path for file in WITHOUT.files if "backup" in file.path]
    assert "reader" not in {user.name for instance in WITHOUT.instances for user in instance.users}
    assert compare(WITHOUT, as_desired(WITHOUT)) == []


def test_backups_that_are_turned_off_leave_no_timer_no_file_and_no_password() -> None:
    found = {item.name: item.remedy for item in backup_leftovers(WITHOUT, SEEN)}
    units = "/etc/systemd/system/caas-redis"
    assert found == {
        "caas-redis-backup-crypto.timer": Remedy.DISABLE,
        "caas-redis-proof-crypto.timer": Remedy.DISABLE,
        **{f"{units}-backup-crypto.{kind}": Remedy.REMOVE for kind in ("service", "timer")},
        **{f"{units}-proof-crypto.{kind}": Remedy.REMOVE for kind in ("service", "timer")},
        "/etc/redis/crypto.backup": Remedy.REMOVE,
        **{
            f"/usr/local/lib/caas-redis/{name}": Remedy.REMOVE
            for name in ("backup", "copy.pl", "moments.pl", "sample", "unpack.pl")
        },
    }


def test_what_a_proof_left_of_a_role_that_is_no_longer_backed_up_goes() -> None:
    state = FileState("directory", "root", "root", "0711", "")
    left = {f"/var/lib/caas-redis-proof/{role}": state for role in ("crypto", "gateway", "Other.one")}
    for host, names in ((WITHOUT, ["crypto", "gateway"]), (HOST, ["gateway"])):
        seen = as_desired(host)
        found = list(backup_leftovers(host, replace(seen, files={**seen.files, **left})))
        assert [item.name for item in found] == [f"/var/lib/caas-redis-proof/{name}" for name in names]
        assert {item.remedy for item in found} == {Remedy.REMOVE}


def test_files_of_an_administrator_that_are_called_so_are_left_alone() -> None:
    theirs = [f"/etc/redis/{name}.backup" for name in ("gateway", "redis.conf", "Crypto")]
    theirs += ["/usr/local/lib/caas-redis/own.sh", "/etc/systemd/system/caas-redis-backup-.service"]
    (ours,) = [state for path, state in SEEN.files.items() if path == "/etc/redis/crypto.backup"]
    seen = as_desired(WITHOUT)
    planted = replace(seen, files={**seen.files, **dict.fromkeys(theirs, ours)})
    assert list(backup_leftovers(WITHOUT, planted)) == []


def test_a_repository_password_that_was_lost_is_not_made_up_over_the_one_of_the_host() -> None:
    lacking = [("crypto", "backup"), ("gateway", "backup")]
    (problem,) = lost_repository_passwords(HOST, SEEN, "secrets.yaml", lacking)
    assert problem.startswith("crypto: secrets.yaml has no password of its repository of backups, and the host has one")
    assert list(lost_repository_passwords(HOST, replace(SEEN, files={}), "secrets.yaml", lacking)) == []


def test_the_file_for_root_alone_has_what_restic_needs_and_shows_itself_nowhere() -> None:
    (plan,) = HOST.backups
    known: dict[str, dict[str, str | None]] = {
        "crypto": {"backup": Secret("one"), "reader": Secret("two")},
        "RESTIC": {"AWS_SECRET_ACCESS_KEY": "three"},
    }
    text = settings_text(plan, known)
    assert text.splitlines()[1:] == [
        "RESTIC_REPOSITORY=/mnt/backups/crypto",
        "RESTIC_PASSWORD=one",
        "READER=two",
        "AWS_SECRET_ACCESS_KEY=three",
    ]
    assert settings_text(plan, {"crypto": {"backup": None, "reader": None}}) == ""
    (file,) = [file for file in HOST.files if file.path == "/etc/redis/crypto.backup"]
    assert (file.owner, file.mode, file.secret) == ("root", "0600", True)
    assert "secret-of-crypto" not in repr(HOST)


def test_the_password_before_the_newest_is_there_for_as_long_as_the_secrets_file_has_it() -> None:
    (plan,) = HOST.backups
    known: dict[str, dict[str, str | None]] = {"crypto": {"backup": Secret("new", ["old"]), "reader": Secret("two")}}
    assert settings_text(plan, known).splitlines()[2:4] == ["RESTIC_PASSWORD=new", "BEFORE=old"]


MADE = "result ok\nat 9\ngood 9\nfirst 1\n"  # behind the second that what it logs in with was written


def copied(host: Host, record: str | None, written: int = 5) -> tuple[Host, Observed]:
    """A host with this as what came of its last copy of crypto, and with what that logs in with of then."""
    here, settings = as_desired(host), "/etc/redis/crypto.backup"
    files = {settings: replace(here.files[settings], modified=written)} if settings in here.files else {}
    path = "/var/lib/caas-redis/crypto.backup"
    files |= {path: FileState("file", "root", "root", "0600", record)} if record is not None else {}
    others = {name: state for name, state in here.files.items() if name != path}
    return host, replace(here, files={**others, **files})


@pytest.mark.parametrize(
    ("record", "may"),
    [
        (None, False),
        (MADE, False),
        (f"{MADE}rotated yes\n", True),
        ("result failed\nat 10\ngood 9\nfirst 1\nrotated yes\n", True),
        ("result failed\nat 10\ngood 4\nfirst 1\nrotated yes\n", False),  # of the rotation before
        ("result ok\nat 4\ngood 4\nfirst 1\nrotated yes\n", False),
        ("result ok\nat 9\ngood 4\nfirst 1\nrotated yes\n", True),  # of a snapshot that was saved before
        ("rotated yes\n", False),
    ],
)
def test_no_password_goes_before_a_copy_was_made_with_the_newest(record: str | None, may: bool) -> None:
    problems = list(unfinished_repositories({"host-1": copied(HOST, record)}, ["crypto"]))
    assert (problems == []) == may
    assert all(problem.startswith("host-1: crypto: ") for problem in problems)
    assert all("tasks/backup.py --data backup=crypto" in problem for problem in problems)


@pytest.mark.parametrize("stands_by", ["one", "other"])
@pytest.mark.parametrize("backed_up", [("one", "other"), ("one",), ("other",)])
@pytest.mark.parametrize("rotated_on", ["one", "other"])
def test_of_a_pair_the_host_that_makes_the_copies_says_whether_one_was_made(
    stands_by: str, backed_up: tuple[str, ...], rotated_on: str
) -> None:
    both = len(backed_up) == 2
    makes = next(name for name in backed_up if not both or name != stands_by)
    backups = {name: BACKUPS[name] for name in backed_up}
    hosts = {name: oriented(host, {"crypto": name == stands_by}) for name, host in pair_of(backups=backups).items()}
    seen = {name: copied(host, f"{MADE}rotated yes\n" if name == rotated_on else None) for name, host in hosts.items()}
    problems = list(unfinished_repositories(seen, ["crypto"]))
    assert (problems == []) == (makes == rotated_on)
    assert all(problem.startswith(f"{makes}: crypto: ") for problem in problems)


def test_where_who_makes_the_copies_is_not_seen_no_password_goes() -> None:
    hosts = {name: oriented(host, {"crypto": name == "other"}) for name, host in pair_of(backups=BACKUPS).items()}
    (problem,) = unfinished_repositories({"other": copied(hosts["other"], f"{MADE}rotated yes\n")}, ["crypto"])
    assert problem.startswith("crypto: backup: no host that makes its copies was seen")


def test_the_proof_of_the_largest_role_counts_in_the_memory_of_a_host() -> None:
    several = [roles()["crypto"], roles()["socket"]]
    assert memory_needed(several, several) - memory_needed(several) == int(1.1 * (512 << 20))


def test_roles_without_a_backup_are_named() -> None:
    (line,) = without_backup([HOST])
    assert line.startswith("no backup off the host: gateway: ")
    assert without_backup([desired("crypto", backup=BACKUP)]) == []


def test_a_script_for_redis_cli_is_one_line_without_its_comments() -> None:
    assert one_line("-- why\nlocal a = 1\n  return a\n") == "local a = 1 return a\n"


def test_what_notes_a_first_save_is_there_for_roles_without_a_log_only() -> None:
    without_log = desired("crypto", crypto={"appendonly": False})
    units = "/etc/systemd/system/caas-redis-begun-crypto"
    assert compare(without_log, as_desired(without_log)) == []
    assert not [file.path for file in WITHOUT.files if "begun" in file.path]
    found = {item.name: item.remedy for item in backup_leftovers(desired("crypto"), as_desired(without_log))}
    assert found == {
        "caas-redis-begun-crypto.path": Remedy.DISABLE,
        f"{units}.path": Remedy.REMOVE,
        f"{units}.service": Remedy.REMOVE,
    }

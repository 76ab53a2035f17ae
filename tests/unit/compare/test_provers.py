"""Copies of another host that a host proves: what is there for it, what of it counts, what is not well with it."""

from dataclasses import replace

import pytest

from tasks.catalogue.backup import Backup, place_of
from tasks.compare.backups import backup_health, backup_leftovers, lost_repository_passwords
from tasks.compare.difference import Remedy
from tasks.compare.fitness import memory_needed, unfit
from tasks.compare.host import compare
from tasks.compare.provers import older_provers
from tasks.desired.backup import settings_text
from tasks.desired.host import Host
from tasks.desired.paths import PROVER, proof_record
from tasks.observed.state import FileState, Observed
from tasks.run.status_report import proofs_elsewhere
from tasks.run.survey import Look
from tests.unit.builders import NOW, as_desired, away, desired, roles

PLAN = Backup(repository="sftp:me@10.0.0.9:/srv", prove_on="host-1")
PROVES = desired("gateway", away=[away("crypto", PLAN)])
SEEN = as_desired(PROVES)
HOME = desired("crypto", backup=PLAN)
OWN = Backup(repository="/mnt/x")
PLACE = place_of("sftp:me@10.0.0.9:/srv/crypto")
UNITS = "/etc/systemd/system/caas-redis"


def with_proof(text: str, seen: Observed = SEEN) -> Observed:
    """What was seen, with this as what came of the last proof; without any where it is empty."""
    path = proof_record("crypto")
    others = {name: state for name, state in seen.files.items() if name != path}
    own = {path: FileState("file", "root", "root", "0600", text)} if text else {}
    return replace(seen, files={**others, **own})


def test_a_host_that_proves_has_the_proof_and_none_of_what_makes_copies() -> None:
    ours = {file.path for file in PROVES.files if "crypto" in file.path}
    assert ours == {"/etc/redis/crypto.backup", f"{UNITS}-proof-crypto.service", f"{UNITS}-proof-crypto.timer"}
    assert {"restic", "redis-server", "redis-tools"} <= PROVES.packages.keys()
    assert "caas-redis-proof-crypto.timer" in {unit.name for unit in PROVES.units}
    assert compare(PROVES, SEEN) == []


def test_the_host_that_makes_the_copies_has_no_proof_of_them() -> None:
    assert not [file.path for file in HOME.files if "-proof-" in file.path]
    assert [unit.name for unit in HOME.units if unit.name.startswith("caas-redis-proof")] == []
    assert HOME.proofs == ()


def test_who_proves_has_the_repositorys_password_and_none_of_the_roles_users() -> None:
    (plan,) = PROVES.proofs
    (file,) = [file for file in PROVES.files if file.path == "/etc/redis/crypto.backup"]
    assert (file.owner, file.group, file.mode, file.secret) == ("root", "root", "0600", True)
    assert file.content is not None
    assert [line.partition("=")[0] for line in file.content.splitlines()[1:]] == [
        "RESTIC_REPOSITORY",
        "RESTIC_PASSWORD",
    ]
    assert "secret-of-crypto-reader" not in file.content
    assert settings_text(plan, {"crypto": {"backup": None}}) == ""


def test_it_is_read_and_loaded_by_a_user_that_is_no_roles() -> None:
    (service,) = [file.content for file in PROVES.files if file.path == f"{UNITS}-proof-crypto.service"]
    assert service is not None
    assert 'Environment="user=caas-redis-proof"' in service
    assert "/var/lib/redis/crypto" not in service.replace('Environment="directory=/var/lib/redis/crypto"', "")
    seen = replace(SEEN, accounts=SEEN.accounts - {PROVER})
    (item,) = compare(PROVES, seen)
    assert (item.name, item.remedy) == ("caas-redis-proof-crypto.service", Remedy.ACCOUNT)


def test_turned_off_nothing_of_it_is_left() -> None:
    without = desired("gateway")
    found = {item.name: item.remedy for item in compare(without, SEEN)}
    assert found["caas-redis-proof-crypto.timer"] == Remedy.DISABLE
    for path in ("/etc/redis/crypto.backup", f"{UNITS}-proof-crypto.service", "/etc/sysusers.d/caas-redis-proof.conf"):
        assert found[path] == Remedy.REMOVE
    left = {"/var/lib/caas-redis-proof/crypto": FileState("directory", "root", "root", "0711", "")}
    assert not list(backup_leftovers(PROVES, replace(SEEN, files={**SEEN.files, **left})))
    (item,) = backup_leftovers(without, replace(as_desired(without), files=left))
    assert item.remedy == Remedy.REMOVE


def test_back_at_home_the_proof_is_there_again() -> None:
    names = {item.name for item in compare(desired("crypto", backup=replace_prover(None)), as_desired(HOME))}
    assert {f"{UNITS}-proof-crypto.timer", "caas-redis-proof-crypto.timer"} <= names


def replace_prover(name: str | None) -> Backup:
    return PLAN.model_copy(update={"prove_on": name})


# --- Memory


def test_its_memory_counts_where_it_runs_and_not_at_home() -> None:
    gateway, crypto = roles()["gateway"], roles()["crypto"]
    little = memory_needed([gateway], [crypto]) - 1
    (reason,) = unfit(PROVES, replace(SEEN, memory=little), [])
    assert "for the proof of backups of host-2)" in str(reason)
    assert unfit(PROVES, replace(SEEN, memory=little + 1), []) == []
    assert unfit(HOME, replace(as_desired(HOME), memory=memory_needed([crypto])), []) == []


# --- Versions


@pytest.mark.parametrize(("home", "prover", "may"), [("7.0", "7.0", True), ("8.0", "7.0", False), ("7.0", "8.0", True)])
def test_an_older_redis_proves_no_copies_of_a_newer_one(home: str, prover: str, may: bool) -> None:
    def on(host: Host, version: str) -> tuple[Host, Observed]:
        seen = as_desired(host)
        return host, replace(seen, packages={**seen.packages, "redis-server": f"5:{version}.15-1"})

    problems = list(older_provers({"host-1": on(PROVES, prover), "host-2": on(HOME, home)}))
    assert (problems == []) == may
    assert all(
        line.startswith("host-1: crypto: it is to prove copies of host-2, which has Redis 8.0") for line in problems
    )
    assert list(older_provers({"host-1": on(PROVES, prover)})) == []  # its proof says so


@pytest.mark.parametrize(("newer", "may"), [("host-2", False), ("host-3", False), ("", True)])
def test_a_pairs_copies_are_of_either_hosts_redis(newer: str, may: bool) -> None:
    def on(host: Host, version: str) -> tuple[Host, Observed]:
        seen = as_desired(host)
        return host, replace(seen, packages={**seen.packages, "redis-server": f"5:{version}.15-1"})

    hosts = {name: on(HOME, "8.0" if name == newer else "7.0") for name in ("host-2", "host-3")}
    problems = list(older_provers({"host-1": on(BOTH, "7.0"), **hosts}))
    assert (problems == []) == may
    assert all(line.startswith(f"host-1: crypto: it is to prove copies of {newer}, which has") for line in problems)


# --- Of a pair: copies of either host

BOTH = desired("gateway", away=[replace(away("crypto", PLAN), also="host-3")])


def test_who_proves_a_pair_is_told_both_of_its_hosts() -> None:
    (plan,) = BOTH.proofs
    assert (plan.homes, plan.parameters["host"], plan.parameters["also"]) == (("host-2", "host-3"), "host-2", "host-3")
    (service,) = [file.content for file in BOTH.files if file.path == f"{UNITS}-proof-crypto.service"]
    assert service is not None
    assert 'Environment="also=host-3"' in service
    assert "of host-2 or host-3" in service
    (alone,) = PROVES.proofs
    assert "also" not in alone.parameters


def test_what_came_of_it_is_said_to_be_of_both_and_shown_at_both() -> None:
    seen = with_proof(f"result failed\nat {NOW}\nsaid x\nwhere {PLACE}\n", as_desired(BOTH))
    (item,) = backup_health(BOTH, seen)
    assert item.observed.startswith("of host-2 or host-3: ")
    looks = {
        name: Look(host, {}, observed, ())
        for name, host, observed in (
            ("host-1", BOTH, seen),
            ("host-2", HOME, as_desired(HOME)),
            ("host-3", desired("crypto", backup=replace_prover(None)), None),
        )
    }
    found = proofs_elsewhere(looks)
    assert found["host-2"]["crypto"] is not None
    assert found["host-3"] == {}  # it proves at home what it makes


# --- What is not well


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"result ok\nat {NOW - 60}\ngood {NOW - 60}\nwhere {PLACE}\n", None),
        (f"result failed\nat {NOW}\ngood {NOW - 60}\nsaid x\nwhere {PLACE}\n", "PROOF-FAILED"),
        (f"result ok\nat 60\ngood 60\nwhere {PLACE}\n", "PROOF-OLD"),
        (f"result ok\nat {NOW + 900}\ngood {NOW + 900}\nwhere {PLACE}\n", "PROOF-OLD"),
        # None was made yet, or of another place: the file with the password is of NOW - 1, and no proof is missing.
        ("", None),
        (f"result failed\nat {NOW}\nsaid x\nwhere {'0' * 16}\n", None),
        (f"result ok\nat {NOW}\nkeys 0\nwhere {PLACE}\n", None),
    ],
)
def test_what_came_of_it_is_in_the_health_of_the_host_that_proves(text: str, code: str | None) -> None:
    path = "/etc/redis/crypto.backup"
    lately = replace(SEEN, files={**SEEN.files, path: replace(SEEN.files[path], modified=NOW - 1)})
    found = list(backup_health(PROVES, with_proof(text, lately)))
    assert [item.code.value for item in found] == ([] if code is None else [code])
    assert all(item.role == "crypto" and item.observed.startswith("of host-2: ") for item in found)


def test_a_proof_that_never_ran_is_missing_in_the_end() -> None:
    path = "/etc/redis/crypto.backup"
    long_ago = replace(SEEN, files={**SEEN.files, path: replace(SEEN.files[path], modified=60)})
    (item,) = backup_health(PROVES, with_proof("", long_ago))
    assert (item.code.value, item.severity) == ("PROOF-OLD", "warning")


def test_home_is_not_asked_for_a_proof_that_runs_elsewhere() -> None:
    seen = with_proof(f"result failed\nat {NOW}\nsaid of before\n", as_desired(HOME))
    assert list(backup_health(HOME, seen)) == []


def test_a_password_that_the_secrets_file_has_lost_is_not_made_up_where_only_the_prover_has_it() -> None:
    (problem,) = lost_repository_passwords(PROVES, SEEN, "secrets.yaml", [("crypto", "backup")])
    assert problem.startswith("crypto: secrets.yaml has no password of its repository of backups, and the host has one")

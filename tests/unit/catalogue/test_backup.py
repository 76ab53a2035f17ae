"""`redis_backup` at the door, and what the secrets source has for it."""

from typing import Any

import pytest

from tasks.catalogue.backup import Backup, backed_up, read_backup, setting_problems, with_login
from tasks.catalogue.secret import Secret
from tasks.catalogue.secrets_file import entries_of, missing
from tasks.catalogue.users import users_of
from tests.unit.builders import BACKUP, roles

KNOWN = ("crypto", "gateway")
GOOD: dict[str, Any] = {"repository": "sftp:backup@10.0.0.9:/srv/redis", "keep": {"hourly": 24}, "roles": ["crypto"]}


def test_backups_are_off_unless_they_are_set() -> None:
    source = read_backup("host-1", None, KNOWN)
    assert (source.backup, source.problems) == (None, ())
    (role,) = backed_up([roles()["crypto"]], None)
    assert not role.backed_up
    assert "reader" not in users_of(role)


def test_each_role_has_a_repository_of_its_own() -> None:
    backup = read_backup("host-1", GOOD, KNOWN).backup
    assert backup is not None
    assert backup.of("crypto") == "sftp:backup@10.0.0.9:/srv/redis/crypto"
    assert [item.backed_up for item in backed_up([roles()["crypto"], roles()["gateway"]], backup)] == [True, False]


def test_a_role_with_backups_needs_a_reader_and_the_password_of_its_repository() -> None:
    (role,) = backed_up([roles()["crypto"]], BACKUP)
    assert entries_of(role) == ("crypto-service", "operator", "reader", "backup")
    assert missing({"crypto": {"crypto-service": "x", "operator": "y"}}, [role]) == [
        ("crypto", "reader"),
        ("crypto", "backup"),
    ]


BAD: dict[str, tuple[object, str]] = {
    "no mapping": ("/mnt", "expected {'repository':"),
    "no repository": ({}, "repository: missing"),
    "a relative path": ({"repository": "backups"}, "than an absolute path, sftp:"),
    "a word that is none": (GOOD | {"shedule": "hourly"}, "shedule: unknown key"),
    "another period": (GOOD | {"schedule": "often"}, "write one of hourly, daily"),
    "nothing kept": (GOOD | {"keep": {}}, "keeps nothing"),
    "too few kept": (GOOD | {"keep": {"hourly": 0}}, "keep.hourly: 0 was given"),
    "no such role": (GOOD | {"roles": ["crypt"]}, "roles: crypt: no such role, expected one of crypto, gateway"),
}


@pytest.mark.parametrize(("value", "words"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_said_with_its_host(value: object, words: str) -> None:
    problems = read_backup("host-1", value, KNOWN).problems
    assert problems
    assert all(line.startswith("host-1: redis_backup: ") for line in problems)
    assert any(words in line for line in problems)


def test_all_problems_are_said_at_once() -> None:
    assert len(read_backup("host-1", {"repository": "x", "schedule": "y", "keep": {"daily": -1}}, KNOWN).problems) == 3


WITH_A_PASSWORD = (
    *("rest:https://me:tell-nobody@host/x", "s3:https://me:tell-nobody@host/x", "rest:https//me:tell-nobody@host/x"),
    *(
        "rest:https:/me:tell-nobody@host/x",
        "rest:me:tell-nobody@host",
        "https://me:tell-nobody@host",
        "me:tell-nobody@x",
    ),
    *(
        "rest:https://me:a/tell-nobody@host/x",
        "rest:https://me:tell nobody tell-nobody@host/x",
        "rclone:me:tell-nobody@x",
    ),
    *("sftp:me:tell-nobody@host:/x", "sftp://me:tell-nobody@host/x", "sftp:me@tell-nobody@host:/x"),
)


@pytest.mark.parametrize("repository", WITH_A_PASSWORD)
def test_a_password_in_the_inventory_is_refused_and_not_repeated(repository: str) -> None:
    (problem,) = read_backup("host-1", {"repository": repository}, KNOWN).problems
    assert "RESTIC_REST_PASSWORD" in problem or "ssh logs in by a key" in problem
    assert "tell-nobody" not in problem


@pytest.mark.parametrize(
    "repository", ["rest:tell-nobody", "rest:https:tell-nobody", "tell-nobody/x", "/x\ntell-nobody"]
)
def test_what_is_no_repository_is_not_repeated(repository: str) -> None:
    (problem,) = read_backup("host-1", {"repository": repository}, KNOWN).problems
    assert "tell-nobody" not in problem
    assert problem.endswith(": correct it")


IN_ANOTHER_FORM: tuple[object, ...] = (
    "rest:https://me:tell-nobody@host",
    ["rest:https://me:tell-nobody@host"],
    {"repository": ["rest:https://me:tell-nobody@host"]},
    {"repository": {"url": "rest:https://me:tell-nobody@host"}},
    {"repository": "rest:https://host/" + "x" * 1000 + "tell-nobody"},
)


@pytest.mark.parametrize("value", IN_ANOTHER_FORM, ids=range(5))
def test_a_repository_that_stands_in_another_form_is_not_repeated_either(value: object) -> None:
    problems = read_backup("host-1", value, KNOWN).problems
    assert problems
    assert not [line for line in problems if "tell-nobody" in line]


GOOD_PLACES = (
    *("/mnt/x", "/mnt/x@y", "sftp:me@10.0.0.9:/srv/x", "sftp://me@host:2222//srv/x", "sftp:alias:/srv/x"),
    *("rest:https://host:8000/x", "rest:http://10.0.0.9/", "s3:https://host/bucket", "s3:s3.amazonaws.com/bucket"),
    *("rclone:remote:path", "b2:bucket:path", "azure:name:/", "gs:name:/", "swift:name:/path"),
)


@pytest.mark.parametrize("repository", GOOD_PLACES)
def test_the_places_that_restic_has_are_taken(repository: str) -> None:
    assert read_backup("host-1", {"repository": repository}, KNOWN).problems == ()


def test_the_user_of_a_rest_server_comes_from_the_secrets() -> None:
    login = {"RESTIC_REST_USERNAME": "me", "RESTIC_REST_PASSWORD": "a/b@c"}
    assert with_login("rest:https://host/x", login) == "rest:https://me:a%2Fb%40c@host/x"
    assert with_login("/mnt/x", login) == "/mnt/x"
    assert with_login("rest:https://host/x", {}) == "rest:https://host/x"


def test_a_repository_may_have_the_password_before_the_newest() -> None:
    (role,) = backed_up([roles()["crypto"]], Backup(repository="/mnt/x"))
    assert list(setting_problems("secrets.yaml", {"crypto": {"backup": Secret("new", ["old"])}}, [role])) == []


def test_variables_that_are_not_restics_and_many_passwords_are_refused() -> None:
    (role,) = backed_up([roles()["crypto"]], Backup(repository="/mnt/x"))
    known: dict[str, dict[str, str]] = {
        "RESTIC": {"LD_PRELOAD": "/tmp/x.so", "AWS_ACCESS_KEY_ID": "x"},
        "crypto": {"backup": Secret("new", ["old", "older"])},
    }
    problems = list(setting_problems("secrets.yaml", known, [role]))
    assert [line.split(":")[1:3] for line in problems] == [[" RESTIC", " LD_PRELOAD"], [" crypto", " backup"]]
    assert not [line for line in problems if "x.so" in line or "old" in line]

"""`redis_backup` at the door, and what the secrets source has for it."""

from typing import Any

import pytest

from tasks.catalogue.backup import (
    Backup,
    backed_up,
    for_both,
    provers,
    read_backup,
    setting_problems,
    settings_of,
    with_login,
)
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
    assert list(setting_problems("secrets.yaml", {"crypto": {"backup": Secret("new", ["old"])}}, [role], KNOWN)) == []


def test_variables_that_are_not_restics_and_many_passwords_are_refused() -> None:
    (role,) = backed_up([roles()["crypto"]], Backup(repository="/mnt/x"))
    known: dict[str, dict[str, str]] = {
        "RESTIC": {"LD_PRELOAD": "/tmp/x.so", "AWS_ACCESS_KEY_ID": "x"},
        "crypto": {"backup": Secret("new", ["old", "older"])},
    }
    problems = list(setting_problems("secrets.yaml", known, [role], KNOWN))
    assert [line.split(":")[1:3] for line in problems] == [[" RESTIC", " LD_PRELOAD"], [" crypto", " backup"]]
    assert not [line for line in problems if "x.so" in line or "old" in line]


# --- A place of its own for each role

ONE_EACH: tuple[object, ...] = (
    "s3:https://host/redis-{role}",
    "sftp:backup-{role}@10.0.0.9:/srv/{role}/copies/",
    {"crypto": "s3:https://host/redis-crypto", "gateway": "/mnt/backups/gateway/"},
)


@pytest.mark.parametrize("repository", ONE_EACH, ids=["name", "login", "mapping"])
def test_a_repository_may_have_the_roles_name_in_it_or_be_one_for_each(repository: object) -> None:
    source = read_backup("host-1", {"repository": repository}, KNOWN, KNOWN)
    assert source.problems == ()
    assert source.backup is not None
    crypto, gateway = map(source.backup.of, KNOWN)
    assert "crypto" in crypto
    assert "gateway" in gateway
    assert not any(place.endswith(("/crypto/crypto", "/")) or "{" in place for place in (crypto, gateway))


NOT_ONE_EACH: dict[str, tuple[object, str]] = {
    "one that is lacking": ({"crypto": "/mnt/x"}, "repository: gateway: none, expected a place of its own"),
    "the same twice": (
        {"crypto": "/mnt/x", "gateway": "/mnt/x/"},
        "repository: crypto and gateway have the same, expected one for each role",
    ),
    "no such role": (
        {"crypto": "/mnt/x", "gateway": "/mnt/y", "crypt": "/mnt/z"},
        "repository: crypt: no such role, expected one of crypto, gateway",
    ),
    "another word in braces": ("/mnt/{roles}", "has other braces than {role}"),
    "a password": ({"crypto": "rest:https://me:tell-nobody@host/x", "gateway": "/mnt/y"}, "crypto: has a user or"),
    "an empty mapping": ({}, "repository: crypto: none"),
}


@pytest.mark.parametrize(("repository", "words"), NOT_ONE_EACH.values(), ids=NOT_ONE_EACH)
def test_a_role_without_a_place_of_its_own_is_refused(repository: object, words: str) -> None:
    problems = read_backup("host-1", {"repository": repository}, KNOWN, KNOWN).problems
    assert any(words in line for line in problems), problems
    assert not [line for line in problems if "tell-nobody" in line]


def test_a_place_is_asked_for_of_the_roles_only_that_the_host_carries_and_backs_up() -> None:
    given = {"repository": {"crypto": "/mnt/x"}}
    assert read_backup("host-1", given, KNOWN, ("crypto",)).problems == ()
    assert read_backup("host-1", given | {"roles": ["crypto"]}, KNOWN, KNOWN).problems == ()


def test_a_role_may_have_a_login_of_its_own_and_is_told_no_other() -> None:
    known: dict[str, dict[str, str]] = {
        "RESTIC": {"AWS_ACCESS_KEY_ID": "all", "AWS_SECRET_ACCESS_KEY": "of all"},
        "RESTIC-crypto": {"AWS_ACCESS_KEY_ID": "own"},
    }
    assert settings_of(known, "crypto") == {"AWS_ACCESS_KEY_ID": "own"}
    assert settings_of(known, "gateway") == known["RESTIC"]
    assert settings_of({}, "gateway") == {}


def test_what_is_wrong_with_the_login_of_one_role_is_said_without_it() -> None:
    (role,) = backed_up([roles()["crypto"]], Backup(repository="/mnt/x"))
    known: dict[str, dict[str, str]] = {
        "RESTIC-crypto": {"LD_PRELOAD": "/tmp/x.so", "AWS_ACCESS_KEY_ID": Secret("x", ["y"])},
        "RESTIC-crypt": {"AWS_ACCESS_KEY_ID": "x"},
    }
    problems = list(setting_problems("secrets.yaml", known, [role], KNOWN))
    assert [line.split(":")[1:3] for line in problems] == [
        [" RESTIC-crypt", " no such role, expected RESTIC or RESTIC-ROLE of one of crypto, gateway"],
        [" RESTIC-crypto", " AWS_ACCESS_KEY_ID"],
        [" RESTIC-crypto", " LD_PRELOAD"],
    ]
    assert not [line for line in problems if "x.so" in line]


# --- Who proves

CARRIED = {"one": ("crypto", "gateway"), "two": ("socket",), "bare": ()}


def proving(prove_on: object, **more: object) -> tuple[dict[str, list[tuple[str, str]]], list[str]]:
    """Who proves what of host `one`, and what is wrong with that."""
    source = read_backup("one", {"repository": "/mnt/x", "prove_on": prove_on} | more, ("crypto", "gateway", "socket"))
    assert source.problems == ()
    return provers(CARRIED, {"one": source.backup})


def test_a_role_is_proved_at_home_unless_another_host_is_named() -> None:
    assert proving(None) == ({}, [])
    assert proving("two") == ({"two": [("one", "crypto"), ("one", "gateway")]}, [])
    assert proving({"crypto": "two"}) == ({"two": [("one", "crypto")]}, [])
    assert proving("two", roles=["gateway"]) == ({"two": [("one", "gateway")]}, [])


NO_PROVERS: dict[str, tuple[object, str]] = {
    "no such host": ("twoo", "one: redis_backup: prove_on: twoo: no such host in the inventory, expected one of two"),
    "its own": (
        "one",
        "one: redis_backup: prove_on: one: is the host whose copies it would prove, expected one of two: ",
    ),
    "a host without roles": ("bare", "one: redis_backup: prove_on: bare: carries no role, expected one of two"),
}


@pytest.mark.parametrize(("prove_on", "words"), NO_PROVERS.values(), ids=NO_PROVERS)
def test_a_host_that_cannot_prove_is_refused_in_words(prove_on: object, words: str) -> None:
    found, problems = proving(prove_on)
    assert found == {}
    (problem,) = problems
    assert problem.startswith(words)


def test_one_host_proves_a_role_for_one_other_and_none_that_it_carries() -> None:
    three = {"one": ("crypto",), "two": ("crypto",), "three": ("gateway",)}
    elsewhere = {name: Backup(repository="/mnt/x", prove_on="three") for name in ("one", "two")}
    found, problems = provers(three, elsewhere)
    assert found == {"three": [("one", "crypto")]}
    assert problems == [
        "two: redis_backup: prove_on: three: proves crypto of one already, expected one host's copies of a role: "
        "name another"
    ]
    (problem,) = provers(three, {"one": Backup(repository="/mnt/x", prove_on="two")})[1]
    assert problem == (
        "one: redis_backup: prove_on: two: carries crypto itself, expected one that does not: its proof of that role "
        "is its own: name another"
    )


OF_A_PAIR = {"one": ("crypto",), "two": ("crypto",), "three": ("gateway",), "four": ("gateway",)}
PAIRED = {("one", "crypto"): "two", ("two", "crypto"): "one"}


@pytest.mark.parametrize(
    ("provers_of", "found"),
    [
        (("three", "three"), {"three": [("one", "crypto")]}),
        (("three", "four"), {"three": [("one", "crypto")], "four": [("two", "crypto")]}),
        (("three", None), {"three": [("one", "crypto")]}),
        ((None, "three"), {"three": [("two", "crypto")]}),
    ],
)
def test_of_a_pair_one_host_may_prove_what_either_makes(
    provers_of: tuple[str | None, str | None], found: dict[str, list[tuple[str, str]]]
) -> None:
    named = zip(("one", "two"), provers_of, strict=True)
    backups = {name: Backup(repository="/mnt/x", prove_on=prover) for name, prover in named}
    assert provers(OF_A_PAIR, backups, PAIRED) == (found, [])


def test_a_pair_that_is_proved_elsewhere_has_one_repository() -> None:
    backups = {
        "one": Backup(repository="/mnt/x", prove_on="three"),
        "two": Backup(repository="/mnt/y"),
    }
    found, (problem,) = provers(OF_A_PAIR, backups, PAIRED)
    assert found == {}
    assert problem == (
        "one: redis_backup: prove_on: three: crypto has another repository on two, its other host, expected the same "
        "on both: three would find no copies of whichever of the two does not serve: name one repository"
    )
    without = {"one": backups["one"], "two": Backup(repository="/mnt/y", roles=("gateway",))}
    assert provers(OF_A_PAIR, without, PAIRED) == ({"three": [("one", "crypto")]}, [])


def test_what_is_proved_for_both_hosts_of_a_pair_is_late_where_neither_is_due_any_more() -> None:
    one = Backup(repository="/mnt/x", schedule="hourly", prove="monthly", prove_on="three")
    two = Backup(repository="/mnt/x", schedule="daily", prove="weekly", prove_on="three")
    for first, other in ((one, two), (two, one)):
        both = for_both("crypto", first, other)
        assert (both.schedule, both.prove) == ("daily", "weekly")
    assert for_both("crypto", one, two.model_copy(update={"prove_on": None})).prove == "monthly"


@pytest.mark.parametrize("value", [7, ["two"], {"crypto": 7}, {"crypto": ""}])
def test_what_names_no_host_is_refused(value: object) -> None:
    (problem,) = read_backup("one", {"repository": "/mnt/x", "prove_on": value}, KNOWN).problems
    assert "prove_on: expected the name of a host, or ROLE → host" in problem


def test_a_role_that_is_none_is_proved_nowhere() -> None:
    (problem,) = read_backup("one", {"repository": "/mnt/x", "prove_on": {"crypt": "two"}}, KNOWN).problems
    assert (
        problem == "one: redis_backup: prove_on: crypt: no such role, expected one of crypto, gateway: correct the name"
    )

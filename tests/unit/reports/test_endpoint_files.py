"""What a service connects by (tasks/reports/endpoint_files.py)."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from tasks.catalogue.roles import Role
from tasks.catalogue.secret import Secret
from tasks.reports.endpoint_files import Access, accesses, as_json, environment_files
from tests.unit.builders import passwords, roles

SAFE = st.from_regex("[abcXYZ019._-][abcXYZ019._~-]{0,12}", fullmatch=True)
Passwords = dict[str, dict[str, dict[str, str | None]]]


def read(url: str) -> dict[str, Any]:
    """What redis-py makes of it."""
    found: dict[str, Any] = Redis.from_url(url).connection_pool.connection_kwargs
    return found


def everybody() -> tuple[list[tuple[str, Role]], Passwords]:
    """Every role of the tests' catalogue, each on a host of its own, with passwords as a run carries them."""
    carried = [(f"on-{name}", role) for name, role in roles().items()]
    known = {
        f"on-{name}": {name: {user: Secret(text) for user, text in (passwords(role)[name]).items() if text}}
        for name, role in roles().items()
    }
    return carried, known  # type: ignore[return-value]


def of(service: str, *, inner: bool = False) -> dict[str, str]:
    """The variables in a service's file."""
    carried, known = everybody()
    found, problems = accesses(carried, known)
    assert problems == []
    lines = environment_files(found, inner)[f"{service}.env"].splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))  # type: ignore[misc]


def test_a_role_that_speaks_tls_is_reached_by_rediss_with_the_files_that_a_client_needs() -> None:
    block = {"certificate": "a", "key": "b", "ca": "c"}

    def lines(inner: bool = False, **fields: Any) -> list[str]:
        role = roles(crypto=fields)["crypto"]
        files = {"CA": "/etc/keys/crypto.ca.crt", "CERTIFICATE": "/etc/keys/s.crt", "KEY": "/etc/keys/s.key"}
        access = Access("crypto-service", role, "on-crypto", "word", files)
        return environment_files([access], inner)["crypto-service.env"].splitlines()[1:]

    address = roles()["crypto"].address
    assert lines(tls=block)[0] == f"REDIS_CRYPTO_URL=rediss://crypto-service:word@{address}:6383/0"
    assert lines(tls=block)[5:] == [
        "REDIS_CRYPTO_CA=/etc/keys/crypto.ca.crt",
        "REDIS_CRYPTO_CERTIFICATE=/etc/keys/s.crt",
        "REDIS_CRYPTO_KEY=/etc/keys/s.key",
    ]
    assert len(lines()) == len(lines(inner=True, tls=block, plain_inner_port=True)) == 5
    assert lines(inner=True, tls=block)[0] == f"REDIS_CRYPTO_URL=rediss://crypto-service:word@{address}:6379/0"
    changing = lines(tls={**block, "port": 7383})
    assert changing[0] == f"REDIS_CRYPTO_URL=rediss://crypto-service:word@{address}:7383/0"


def test_a_service_has_five_values_for_each_of_its_roles_and_for_no_other() -> None:
    values, shared = of("gateway"), roles()["shared"]
    own = {f"REDIS_{name.upper()}" for name, role in roles().items() if "gateway" in role.services}
    assert {name.rpartition("_")[0] for name in values} == own
    assert len(values) == 5 * len(own)
    assert values["REDIS_SHARED_URL"] == (f"redis://gateway:secret-of-shared-gateway@{shared.address}:{shared.port}/0")
    assert {name: values[f"REDIS_SHARED_{name}"] for name in ("HOST", "PORT", "USERNAME", "PASSWORD")} == {
        "HOST": str(shared.address),
        "PORT": str(shared.port),
        "USERNAME": "gateway",
        "PASSWORD": "secret-of-shared-gateway",
    }


def test_the_inner_port_is_taken_where_a_role_has_one() -> None:
    for service in {name for role in roles().values() for name in role.services}:
        inner, assigned = of(service, inner=True), of(service)
        for role in roles().values():
            name = f"REDIS_{role.name.upper().replace('-', '_')}_PORT"
            if service in role.services:
                assert (assigned[name], inner[name]) == (str(role.port), str(role.inner_port or role.port))


@given(password=SAFE, name=st.from_regex("[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True))
def test_what_a_url_says_is_what_was_put_into_it(password: str, name: str) -> None:
    role = roles()["crypto"]
    text = environment_files([Access(name, role, "host", Secret(password))])[f"{name}.env"]
    url = next(line.partition("=")[2] for line in text.splitlines() if "_URL=" in line)
    found = read(url)
    assert (found["username"], found["password"]) == (name, password)
    assert (found["host"], found["port"], found["db"]) == (str(role.address), role.port, 0)


@given(password=SAFE)
def test_a_shell_reads_every_value_as_it_is(password: str) -> None:
    text = environment_files([Access("a-service", roles()["crypto"], "host", Secret(password))])["a-service.env"]
    done = subprocess.run(
        ["sh", "-c", 'eval "$1"; printf "%s\n%s" "$REDIS_CRYPTO_PASSWORD" "$REDIS_CRYPTO_URL"', "sh", text],
        capture_output=True,
        text=True,
        check=True,
    )
    said, url = done.stdout.split("\n")
    assert (said, read(url)["password"]) == (password, password)


@given(password=st.text(min_size=1).filter(lambda text: not re.fullmatch("[A-Za-z0-9._-][A-Za-z0-9._~-]*", text)))
def test_a_password_that_somebody_would_read_otherwise_is_refused_and_not_said(password: str) -> None:
    role = roles()["crypto"]
    known: Passwords = {"host": {"crypto": {"crypto-service": Secret(password)}}}
    _, (problem,) = accesses([("host", role)], known)
    assert problem.startswith(
        "crypto: the password of crypto-service has other characters than letters, digits and . _ -"
    )
    assert "--data rotate=crypto:crypto-service" in problem
    assert problem == accesses([("host", role)], {"host": {"crypto": {"crypto-service": Secret("@")}}})[1][0]


@pytest.mark.parametrize(
    "password", ["a@b", "a/b", "a:b", "a b", "a$b", "a#b", "a'b", 'a"b', "a%b", "a\\b", "ä", "a\n", "~"]
)
def test_each_of_these_is_such_a_password(password: str) -> None:
    known: Passwords = {"host": {"crypto": {"crypto-service": Secret(password)}}}
    assert len(accesses([("host", roles()["crypto"])], known)[1]) == 1


def test_a_password_that_nobody_knows_is_said_with_its_service() -> None:
    _, (problem,) = accesses([("host", roles()["crypto"])], {"host": {"crypto": {"crypto-service": None}}})
    assert problem == (
        "crypto: the secrets file has no password for crypto-service, expected one: bring the file back, or deploy"
    )


def test_where_a_command_prints_them_it_is_said_what_to_do_there() -> None:
    role = roles()["gateway"]
    known: Passwords = {"host": {"gateway": {"gateway": None, "auth-service": Secret("a b")}}}
    _, problems = accesses([("host", role)], known, {"host": "redis_secrets_command (pass show x)"})
    assert problems[0] == (
        "gateway: redis_secrets_command (pass show x) has no password for gateway, expected one: add it there, "
        "and deploy"
    )
    assert problems[1].endswith(
        "deploy with --data rotate=gateway:auth-service, which says how to put one of letters and digits first"
    )


def test_a_role_on_two_hosts_is_no_one_address() -> None:
    role = roles()["crypto"]
    known: Passwords = {name: {"crypto": {"crypto-service": "p"}} for name in ("one", "two")}
    _, problems = accesses([("one", role), ("two", role)], known)
    assert problems == ["crypto: one and two carry it, expected one host: name that by --limit"]


def test_two_roles_whose_variables_would_be_the_same_are_refused() -> None:
    both = [
        role.model_copy(update={"name": name})
        for role, name in ((roles()["crypto"], "a-b"), (roles()["crypto"], "a_b"))
    ]
    known: Passwords = {"host": {role.name: {"crypto-service": "p"} for role in both}}
    _, problems = accesses([("host", role) for role in both], known)
    assert problems == [
        "a-b and a_b: both would be REDIS_A_B_URL, expected names that differ by more than - and _",
    ]


def test_the_list_for_others_names_every_way_in_and_no_password() -> None:
    carried, known = everybody()
    text = as_json(accesses(carried, known)[0])
    services = json.loads(text)["services"]
    assert {(service, role) for service, own in services.items() for role in own} == {
        (service, role.name) for _, role in carried for service in role.services
    }
    assert services["crypto-service"]["crypto"] == {
        "host": "on-crypto",
        "address": "172.28.2.5",
        "port": 6383,
        "inner_port": 6379,
        "username": "crypto-service",
        "database": 0,
        "tls": None,
    }
    assert "secret-of" not in text


def test_no_password_is_in_what_a_way_in_shows_of_itself() -> None:
    carried, known = everybody()
    found = accesses(carried, known)[0]
    assert "secret-of" not in repr(found) + str(found) + repr(replace(found[0], password="secret-of-x"))


def test_systemd_takes_the_file_as_it_is(tmp_path: Path) -> None:
    carried, known = everybody()
    for name, text in environment_files(accesses(carried, known)[0]).items():
        lines = text.splitlines()
        assert lines[0].startswith("# Written by tasks/endpoints.py"), name
        assert all(line.split("=", 1)[1] and not set(line) & set(" \t'\"\\$`") for line in lines[1:]), name

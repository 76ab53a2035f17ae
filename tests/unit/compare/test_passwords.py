"""Passwords that the secrets file lost or that differ from it (compare/passwords.py): who is asked, and for what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.compare.difference import ByHand, Remedy
from tasks.compare.host import compare
from tasks.compare.passwords import password_problems
from tasks.compare.unknown import unknowns
from tasks.desired.build import desired_host
from tasks.desired.host import Host
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Observed, Server
from tests.unit.builders import (
    SYSCTLS,
    as_desired,
    desired,
    fresh,
    passwords,
    roles,
    secrets_of,
    sha256,
    stopped,
    with_file,
    with_server,
    with_user,
)

FILE = "secrets/prod.yaml"
HOST = desired("crypto", "gateway")
RIGHT = as_desired(HOST)
ALL = frozenset((role.name, user) for role in HOST.roles for user in (*role.services, "operator"))


def problems(observed: Observed, made_up: frozenset[tuple[str, str]] = frozenset(), host: Host = HOST) -> list[str]:
    return list(password_problems(host, observed, FILE, made_up))


def meant(*names: str, host: Host = HOST) -> Host:
    """The host with `new_passwords` for these roles."""
    return replace(host, instances=tuple(replace(item, new_passwords=item.name in names) for item in host.instances))


def refusing(cause: Cause) -> Observed:
    return replace(RIGHT, servers={**RIGHT.servers, "crypto": Server(refusal=Refusal(cause, "so it said"))})


def edited() -> Observed:
    """A host that was deployed with another password of one user: in the server, and by that in the ACL file."""
    other = with_user(RIGHT, "crypto", "crypto-service", passwords=[sha256("before")])
    return with_file(other, "/etc/redis/crypto.acl", content=sha256("the file before"))


def test_the_passwords_of_the_file_are_no_problem() -> None:
    assert problems(RIGHT) == []


def test_a_host_that_has_nothing_yet_gets_passwords_unasked() -> None:
    assert problems(fresh(HOST), ALL) == []


@pytest.mark.parametrize("cause", [Cause.WRONGPASS, Cause.NO_PASSWORD])
def test_a_lost_file_is_named_with_every_user_that_the_instance_has(cause: Cause) -> None:
    (said,) = problems(refusing(cause), ALL - {pair for pair in ALL if pair[0] == "gateway"})
    assert said == (
        "crypto: secrets/prod.yaml has no password for crypto-service, operator, and the instance has one "
        "(/etc/redis/crypto.acl), expected the same in both: bring the secrets file back that it was deployed with "
        "(its backup, another checkout, redis_secrets_file); to replace the passwords: --data new_passwords=crypto"
    )


def test_a_stopped_instance_is_known_by_its_acl_file() -> None:
    (said,) = problems(stopped(RIGHT, "crypto"), frozenset({("crypto", "operator")}))
    assert "has no password for operator" in said


def test_a_user_that_the_instance_lacks_gets_a_password_unasked() -> None:
    users = {name: user for name, user in RIGHT.servers["crypto"].users.items() if name != "crypto-service"}
    lacks = replace(
        with_server(RIGHT, "crypto", users=users),
        acl_users={**RIGHT.acl_users, "/etc/redis/crypto.acl": frozenset({"default", "operator"})},
    )
    assert problems(lacks, frozenset({("crypto", "crypto-service")})) == []


def test_a_file_of_another_tier_is_known_by_the_operator_that_is_refused() -> None:
    (said,) = problems(refusing(Cause.WRONGPASS))
    assert said.startswith(
        "crypto: operator: the running server refuses the password of secrets/prod.yaml (so it said)"
    )


@pytest.mark.parametrize("cause", [item for item in Cause if item not in (Cause.WRONGPASS, Cause.NO_PASSWORD)])
def test_no_other_refusal_says_anything_of_passwords(cause: Cause) -> None:
    assert problems(refusing(cause)) == []


def test_an_edited_password_is_asked_about_and_left_alone() -> None:
    (said,) = problems(edited())
    assert said.startswith("crypto: crypto-service: the running server has another password than secrets/prod.yaml")
    (acl,) = [item for item in compare(HOST, edited()) if item.subject == "acl"]
    assert isinstance(acl.remedy, ByHand)
    assert "--data new_passwords=crypto" in acl.to_do


def test_a_password_that_somebody_changed_in_the_server_alone_is_repaired() -> None:
    observed = with_user(RIGHT, "crypto", "crypto-service", passwords=[sha256("somebody's")])
    assert problems(observed) == []
    (found,) = compare(HOST, observed)
    assert found.remedy == Remedy.LIVE


def test_who_names_the_role_changes_its_passwords_live() -> None:
    host = meant("crypto")
    assert problems(edited(), host=host) == []
    (acl,) = [item for item in compare(host, edited()) if item.subject == "acl"]
    assert acl.remedy == Remedy.LIVE


@pytest.mark.parametrize("cause", [Cause.WRONGPASS, Cause.NO_PASSWORD])
def test_who_names_a_role_that_refuses_its_operator_restarts_it(cause: Cause) -> None:
    host, observed = meant("crypto"), refusing(cause)
    assert problems(observed, ALL - {pair for pair in ALL if pair[0] == "gateway"}, host) == []
    (found,) = compare(host, observed)
    assert (found.role, found.subject, found.name, found.remedy) == ("crypto", "acl", "operator", Remedy.RESTART)
    assert unknowns(host, observed) == []


def test_one_role_s_name_is_nobody_else_s() -> None:
    assert [said.split(":")[0] for said in problems(refusing(Cause.WRONGPASS), ALL, meant("gateway"))] == ["crypto"]


@pytest.mark.parametrize("cause", [item for item in Cause if item is not Cause.DENIED])
def test_only_a_refused_operator_is_restarted_for_new_passwords(cause: Cause) -> None:
    restarted = [item.name for item in compare(meant("crypto"), refusing(cause)) if item.remedy is Remedy.RESTART]
    assert restarted == (["operator"] if cause in (Cause.WRONGPASS, Cause.NO_PASSWORD) else [])


# Where nothing is generated: drift and verify


def without_passwords(*lost: str) -> Host:
    """The desired host of a run that lacks the passwords of these users of crypto."""
    built = roles()["crypto"]
    known: dict[str, Any] = passwords(built)
    return desired_host("host-1", [built], {"crypto": {**known["crypto"], **dict.fromkeys(lost)}}, SYSCTLS)


def test_a_lost_password_is_unknown_and_no_difference() -> None:
    host, observed = without_passwords("crypto-service", "operator"), as_desired(desired("crypto"))
    server = replace(observed, servers={"crypto": Server(refusal=Refusal(Cause.NO_PASSWORD, "not in the file"))})
    assert compare(host, server) == []
    assert [item.because for item in unknowns(host, server)] == ["not in the file"]
    halted = stopped(observed, "crypto")
    assert [item.subject for item in compare(host, halted)] == ["unit"]
    (found,) = unknowns(host, halted)
    assert found.because == "the secrets file has none for crypto-service, operator"


def test_of_a_lost_line_the_other_users_are_still_compared() -> None:
    host, observed = without_passwords("crypto-service"), as_desired(desired("crypto"))
    assert compare(host, observed) == []
    assert [item.because for item in unknowns(host, observed)] == ["the secrets file has none for crypto-service"]
    assert [item.name for item in compare(host, with_user(observed, "crypto", "crypto-service", flags=["off"]))] == [
        "crypto-service"
    ]


def test_an_acl_file_that_lacks_a_user_is_different_whatever_its_password() -> None:
    host, observed = without_passwords("crypto-service"), as_desired(desired("crypto"))
    lacks = replace(observed, acl_users={"/etc/redis/crypto.acl": frozenset({"default", "operator"})})
    assert [(item.subject, item.name) for item in compare(host, lacks)] == [("file", "/etc/redis/crypto.acl")]


def test_the_mode_of_an_acl_file_counts_without_passwords_too() -> None:
    host = without_passwords("crypto-service")
    (found,) = compare(host, with_file(as_desired(desired("crypto")), "/etc/redis/crypto.acl", mode="0644"))
    assert found.observed == "file root:redis 0644"


def test_no_password_and_no_hash_is_in_any_of_these_words() -> None:
    said = [*problems(edited()), *problems(refusing(Cause.WRONGPASS), ALL), *map(str, compare(HOST, edited()))]
    for secret in (*secrets_of(*HOST.roles), sha256("before")):
        assert all(secret not in text for text in said)

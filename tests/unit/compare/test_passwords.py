"""Passwords that the secrets file lost or that differ from it (compare/passwords.py): who is asked, and for what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasks.compare.difference import ByHand, Remedy
from tasks.compare.host import compare
from tasks.compare.passwords import password_problems
from tasks.compare.unknown import LOCKED_OUT, unknowns
from tasks.desired.build import desired_host
from tasks.desired.host import Host
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import FileUser, Observed, Server
from tasks.run.survey import Look
from tasks.steps.install import files_of
from tests.unit.builders import (
    SYSCTLS,
    as_desired,
    desired,
    fresh,
    password,
    passwords,
    roles,
    secrets_of,
    sha256,
    stopped,
    with_file,
    with_server,
    with_unit,
    with_user,
)

FILE = "secrets/prod.yaml"
PATH = "/etc/redis/crypto.acl"
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
    return other_file(with_user(RIGHT, "crypto", "crypto-service", passwords=[sha256("before")]), "crypto-service")


def other_file(observed: Observed, *names: str, passwords: tuple[str, ...] = (sha256("before")[:4],)) -> Observed:
    """The host with an ACL file that was written with other passwords of these users."""
    users = [replace(user, passwords=passwords) if user.name in names else user for user in observed.acl_users[PATH]]
    changed = with_file(observed, PATH, content=sha256("the file before"))
    return replace(changed, acl_users={**observed.acl_users, PATH: tuple(users)})


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
        acl_users={
            **RIGHT.acl_users,
            PATH: tuple(user for user in RIGHT.acl_users[PATH] if "service" not in user.name),
        },
    )
    assert problems(lacks, frozenset({("crypto", "crypto-service")})) == []


def test_a_file_of_another_tier_is_known_by_the_operator_that_is_refused() -> None:
    (said,) = problems(other_file(refusing(Cause.WRONGPASS), "operator", "crypto-service"))
    assert said.startswith(
        "crypto: operator: the running server refuses the password of secrets/prod.yaml (so it said), expected that it "
        "takes it: bring the secrets file back"
    )


def test_a_server_that_was_changed_alone_is_not_blamed_on_the_secrets_file() -> None:
    host, observed = HOST, refusing(Cause.WRONGPASS)
    way = (
        "somebody changed the running server alone: whoever can log in there as an administrator lets it load that "
        "file (ACL LOAD; on Redis 7.0 every client has to connect again); if nobody can, --data new_passwords=crypto "
        "restarts it, and changes no password that the file has"
    )
    assert problems(observed) == [
        "crypto: operator: the running server refuses the password of secrets/prod.yaml (so it said), which "
        f"/etc/redis/crypto.acl has, expected the same in both: {way}"
    ]
    (unknown,) = unknowns(host, observed)
    assert unknown.remedy == f"/etc/redis/crypto.acl has that password: {way}"


# What does not answer has the passwords of its ACL file

SILENT = {
    "stopped": lambda: stopped(RIGHT, "crypto"),
    "failed": lambda: with_unit(stopped(RIGHT, "crypto"), "redis-crypto.service", ActiveState="failed"),
    "tried again and again": lambda: with_unit(
        stopped(RIGHT, "crypto"), "redis-crypto.service", ActiveState="activating", NRestarts="283"
    ),
    **{cause.name: lambda cause=cause: refusing(cause) for cause in Cause if cause not in LOCKED_OUT},  # type: ignore[misc]
}


@pytest.mark.parametrize("state", SILENT.values(), ids=SILENT)
def test_an_instance_that_does_not_answer_and_has_the_passwords_of_the_file_is_no_problem(
    state: Callable[[], Observed],
) -> None:
    assert problems(state()) == []
    assert [str(item) for item in compare(HOST, state()) if "password" in str(item)] == []


@pytest.mark.parametrize("state", SILENT.values(), ids=SILENT)
def test_an_instance_that_does_not_answer_keeps_its_passwords_until_somebody_names_it(
    state: Callable[[], Observed],
) -> None:
    observed = other_file(state(), "crypto-service", "operator")
    assert problems(observed) == [
        "crypto: crypto-service, operator: /etc/redis/crypto.acl has another password than secrets/prod.yaml, expected "
        "the same: bring the secrets file back that it was deployed with (its backup, another checkout, "
        "redis_secrets_file); to replace the passwords: --data new_passwords=crypto"
    ]
    (file,) = [item for item in compare(HOST, observed) if item.name == PATH]
    assert file.observed == "other passwords of crypto-service, operator"
    assert "--data new_passwords=crypto" in file.to_do
    assert files_of(Look(HOST, {}, observed, (file,))) == []
    assert problems(observed, host=meant("crypto")) == []
    (file,) = [item for item in compare(meant("crypto"), observed) if item.name == PATH]
    assert file.remedy == Remedy.WRITE


@pytest.mark.parametrize("passwords", [(), (">",), ("0000",), ("0000", sha256(password("crypto", "operator"))[:4])])
def test_whatever_else_its_file_gives_a_user_is_another_password(passwords: tuple[str, ...]) -> None:
    (said,) = problems(other_file(stopped(RIGHT, "crypto"), "operator", passwords=passwords))
    assert said.startswith("crypto: operator: /etc/redis/crypto.acl has another password")


def test_a_stopped_instance_of_which_only_rules_or_users_changed_is_deployed_unasked() -> None:
    changed = with_file(stopped(RIGHT, "crypto"), PATH, content=sha256("other rules"))
    gone = replace(changed, acl_users={**RIGHT.acl_users, PATH: (*RIGHT.acl_users[PATH], FileUser("old", ("abcd",)))})
    lacking = replace(changed, acl_users={**RIGHT.acl_users, PATH: (FileUser("default"),)})
    for observed in (changed, gone, lacking):
        assert problems(observed) == []
        (file,) = [item for item in compare(HOST, observed) if item.name == PATH]
        assert file.remedy == Remedy.WRITE


def test_a_password_that_the_file_has_is_given_back_to_the_server_also_while_rules_change() -> None:
    observed = with_user(RIGHT, "crypto", "crypto-service", passwords=[sha256("somebody's")])
    assert problems(with_file(observed, PATH, content=sha256("other rules"))) == []


def test_a_file_that_was_edited_under_a_server_that_has_the_right_passwords_is_written_again() -> None:
    observed = other_file(RIGHT, "crypto-service")
    assert problems(observed) == []
    (file,) = compare(HOST, observed)
    assert file.remedy == Remedy.WRITE


STATES = {
    **SILENT,
    **{cause.name: lambda cause=cause: refusing(cause) for cause in LOCKED_OUT},  # type: ignore[misc]
    "answers": lambda: RIGHT,
    "answers, with another password": lambda: with_user(
        RIGHT, "crypto", "crypto-service", passwords=[sha256("before")]
    ),
}
FILES = {
    "as rendered": lambda observed: observed,
    "other rules": lambda observed: with_file(observed, PATH, content=sha256("other rules")),
    "another password": lambda observed: other_file(observed, "crypto-service"),
    "no password": lambda observed: other_file(observed, "crypto-service", passwords=()),
    "one password more": lambda observed: other_file(
        observed, "operator", passwords=(sha256(password("crypto", "operator"))[:4], "abcd")
    ),
    "nobody": lambda observed: replace(with_file(observed, PATH, content=""), acl_users={PATH: ()}),
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_no_password_that_somebody_logs_in_with_is_replaced_unasked(
    state: Callable[[], Observed], file: Callable[[Observed], Observed]
) -> None:
    """Whatever an instance does and whatever its file says: a deploy that would change one is refused."""
    observed = file(state())
    server = observed.servers.get("crypto")
    answers = server is not None and server.refusal is None
    in_file = {user.name: user.passwords for user in observed.acl_users[PATH]}
    wanted = {user: sha256(password("crypto", user)) for user in ("crypto-service", "operator")}
    if server is not None and answers:
        in_use = {name: user["passwords"] != [wanted[name]] for name, user in server.users.items() if name in wanted}
        kept = {name for name, other in in_use.items() if other and in_file.get(name) != (wanted[name][:4],)}
    else:
        kept = {name for name, begun in in_file.items() if name in wanted and begun != (wanted[name][:4],)}
    locked_out = server is not None and server.refusal is not None and server.refusal.cause in LOCKED_OUT
    assert bool(problems(observed)) == bool(kept or locked_out)
    assert problems(observed, host=meant("crypto")) == []


def test_a_password_that_a_rotation_cut_off_before_its_file_has_brought_is_not_taken_by_a_plain_deploy() -> None:
    """The secrets file was put back by hand: the server has the new one, its file has not."""
    own = sha256(password("crypto", "crypto-service"))
    rotated = replace(
        HOST, instances=tuple(replace(item, rotated=frozenset({"crypto-service"})) for item in HOST.instances)
    )
    for beside in ([sha256("new"), own], [own, sha256("new"), sha256("newer")]):
        observed = with_user(RIGHT, "crypto", "crypto-service", passwords=beside)
        (said,) = problems(observed, host=rotated)
        assert said.startswith("crypto: crypto-service: the running server takes passwords that secrets/prod.yaml")
        (acl,) = [item for item in compare(rotated, observed) if item.subject == "acl"]
        assert isinstance(acl.remedy, ByHand)
        # Of one that was never rotated from here it is somebody else's.
        assert problems(observed) == []
        (acl,) = [item for item in compare(HOST, observed) if item.subject == "acl"]
        assert acl.remedy is Remedy.LIVE


def test_a_second_line_of_default_is_seen_with_and_without_the_passwords() -> None:
    twice = (*RIGHT.acl_users[PATH], FileUser("default"))
    observed = with_file(replace(RIGHT, acl_users={**RIGHT.acl_users, PATH: twice}), PATH, content=sha256("more"))
    for host in (HOST, without_passwords("crypto-service", "operator")):
        found = [item for item in compare(host, observed) if item.remedy is Remedy.REPLAY]
        assert [(item.role, item.observed) for item in found] == [
            ("crypto", "named twice: no start would take the file")
        ]


def test_any_user_that_is_there_twice_is_a_difference_without_the_passwords_too() -> None:
    twice = (*RIGHT.acl_users[PATH], FileUser("operator", ("abcd",)))
    observed = with_file(replace(RIGHT, acl_users={PATH: twice}), PATH, content=sha256("more"))
    names = [item.name for item in compare(without_passwords("crypto-service", "operator"), observed)]
    assert PATH in names


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
    lacks = replace(observed, acl_users={PATH: (FileUser("default"), FileUser("operator", ("abcd",)))})
    assert [(item.subject, item.name) for item in compare(host, lacks)] == [("file", "/etc/redis/crypto.acl")]


def test_who_asks_for_new_passwords_sees_in_a_plan_which_are_replaced() -> None:
    """A plan makes none up: what a deploy would make up is another one all the same."""
    host, observed = meant("crypto", host=without_passwords("crypto-service")), as_desired(desired("crypto"))
    assert [(item.subject, item.name, item.remedy) for item in compare(host, observed)] == [
        ("acl", "crypto-service", Remedy.LIVE),
        ("file", PATH, Remedy.WRITE),
    ]
    assert unknowns(host, observed) == []
    halted = compare(host, stopped(observed, "crypto"))
    assert [(item.subject, item.remedy) for item in halted] == [("file", Remedy.WRITE), ("unit", Remedy.START)]
    assert unknowns(host, stopped(observed, "crypto")) == []


def test_the_mode_of_an_acl_file_counts_without_passwords_too() -> None:
    host = without_passwords("crypto-service")
    (found,) = compare(host, with_file(as_desired(desired("crypto")), "/etc/redis/crypto.acl", mode="0644"))
    assert found.observed == "file root:redis-crypto 0644"


def test_no_password_and_no_hash_is_in_any_of_these_words() -> None:
    said = [*problems(edited()), *problems(refusing(Cause.WRONGPASS), ALL), *map(str, compare(HOST, edited()))]
    for secret in (*secrets_of(*HOST.roles), sha256("before")):
        assert all(secret not in text for text in said)

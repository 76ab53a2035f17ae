"""What a client must meet (tasks/prove/behaviour.py), and how replies are judged."""

import ast

import pytest

from tasks.catalogue.roles import RESERVED_PREFIX
from tasks.observed.exchange import Reply, ReplyError
from tasks.prove.behaviour import (
    ADMINISTRATION,
    COUNTERS,
    Check,
    evicted_meanwhile,
    judge,
    key,
    reading_checks,
    same_instance,
    writing_checks,
)
from tests.unit.builders import EVERY, passwords, roles

STRANGER = "compliance-service"
DANGEROUS = ("FLUSH", "CONFIG SET", "SHUTDOWN", "DEBUG", "SAVE", "ACL SET", "ACL DEL", "REPLICAOF", "CLIENT KILL")


def checks_of(role: str) -> list[Check]:
    """Every check of both connections of a role."""
    built = roles()[role]
    known = passwords(built)[role]
    return [*writing_checks(built, known, STRANGER, "t0k3n"), *reading_checks(built, known, "t0k3n")]


def keys_of(command: tuple[str, ...]) -> tuple[str, ...]:
    """The keys that a command touches."""
    if command[0] == "EVAL":
        return command[3 : 3 + int(command[2])]
    return command[1:2] if command[0] == "SET" else command[1:]


def good_reply(check: Check) -> Reply:
    """A reply that satisfies a check; a list as a server sends it."""
    if check.expected.startswith("["):
        reply: Reply = ast.literal_eval(check.expected)
        return reply
    kind = check.expected.removeprefix("error ")
    return ReplyError(f"{kind} and some words") if check.expected.startswith("error ") else check.expected


@pytest.mark.parametrize("role", EVERY)
def test_replies_as_expected_are_no_finding(role: str) -> None:
    checks = checks_of(role)
    assert judge(roles()[role], 6379, checks, [good_reply(check) for check in checks]) == []


@pytest.mark.parametrize("role", EVERY)
def test_each_single_wrong_reply_is_one_finding_that_names_its_check(role: str) -> None:
    checks = checks_of(role)
    for at, check in enumerate(checks):
        if check.expected:
            replies = [good_reply(item) for item in checks]
            replies[at] = "something else"
            (finding,) = judge(roles()[role], 6390, checks, replies)
            assert finding.what == f"{check.what} on {roles()[role].address}:6390"
            assert (finding.role, finding.expected, finding.observed) == (role, check.expected, "something else")


@pytest.mark.parametrize(
    ("expected", "reply"),
    [
        ("OK", ReplyError("OK is not what I say")),
        ("error NOAUTH", "NOAUTH Authentication required."),
        ("error NOAUTH", ReplyError("DENIED Redis is running in protected mode")),
        ("error NOPERM", ReplyError("LOADING Redis is loading")),
        ("0", 1),
        ("t0k3n", None),
    ],
)
def test_a_reply_of_another_kind_is_a_finding(expected: str, reply: Reply) -> None:
    assert len(judge(roles()["crypto"], 6383, [Check("it", ("X",), expected)], [reply])) == 1


def test_a_number_reply_is_compared_by_its_text() -> None:
    assert judge(roles()["crypto"], 6383, [Check("it", ("DEL", "k"), "1")], [1]) == []


def test_a_finding_says_in_words_what_was_met_and_what_was_expected() -> None:
    (finding,) = judge(
        roles()["crypto"], 6383, [Check("a client without a password", ("PING",), "error NOAUTH")], ["PONG"]
    )
    assert str(finding) == (
        "crypto: a client without a password on 172.28.2.5:6383: observed PONG, expected error NOAUTH"
    )


def test_a_value_that_is_not_there_is_said_so() -> None:
    (finding,) = judge(roles()["crypto"], 6383, [Check("x reads", ("GET", "k"), "t")], [None])
    assert finding.observed == "no value"


def test_fewer_replies_than_checks_are_a_fault_of_the_program() -> None:
    with pytest.raises(ValueError, match="shorter"):
        judge(roles()["crypto"], 6383, [Check("it", ("X",), "OK")], [])


@pytest.mark.parametrize("role", EVERY)
def test_every_service_of_a_role_logs_in_writes_and_reads_what_all_others_wrote(role: str) -> None:
    commands = [check.command for check in checks_of(role)]
    services = roles()[role].services
    for service in services:
        assert commands.count(("AUTH", service, f"secret-of-{role}-{service}")) == 2
    reads = [command for command in commands if command[0] in ("GET", "MGET")]
    assert len(reads) == len(services) + 3 * len(services) ** 2


@pytest.mark.parametrize("role", EVERY)
def test_every_service_also_writes_two_keys_in_a_transaction_and_two_by_a_script(role: str) -> None:
    built = roles()[role]
    checks = writing_checks(built, passwords(built)[role], STRANGER, "t0k3n")
    for service in built.services:
        name = f"{RESERVED_PREFIX}t0k3n:{role}:{service}"
        said = {check.what: (check.command, check.expected) for check in checks if check.what.startswith(service)}
        assert said[f"{service} writes in a transaction"] == (("EXEC",), "['OK', 'OK']")
        command, expected = said[f"{service} writes by a script"]
        assert command[2:] == ("2", f"{name}:script:1", f"{name}:script:2", "t0k3n", "60")
        assert expected == "2"


def test_what_others_wrote_in_a_transaction_must_be_there_in_full() -> None:
    role = roles()["crypto"]
    name = "crypto-service reads what crypto-service wrote in a transaction"
    (check,) = [item for item in checks_of("crypto") if item.what == name]
    (finding,) = judge(role, 6383, [check], [["t0k3n", None]])
    assert (finding.expected, finding.observed) == ("['t0k3n', 't0k3n']", "['t0k3n', None]")


@pytest.mark.parametrize("role", EVERY)
def test_strangers_are_tried_before_anybody_is_logged_in(role: str) -> None:
    first = checks_of(role)[:3]
    assert [check.expected for check in first] == ["error WRONGPASS", "error NOAUTH", "error WRONGPASS"]
    assert first[2].command == ("AUTH", STRANGER, "wrong-t0k3n")


@pytest.mark.parametrize("role", EVERY)
def test_every_service_is_refused_administration(role: str) -> None:
    refused = [check.command for check in checks_of(role) if check.expected == "error NOPERM"]
    assert refused == [*ADMINISTRATION] * len(roles()[role].services)


@pytest.mark.parametrize("role", EVERY)
def test_no_check_could_harm_data_were_it_allowed(role: str) -> None:
    for check in checks_of(role):
        text = " ".join(check.command)
        assert not text.startswith(DANGEROUS)
        if check.command[0] in ("SET", "DEL", "GET", "MGET", "EXISTS", "EVAL"):
            keys = keys_of(check.command)
            assert all(name.startswith(RESERVED_PREFIX) for name in keys)


@pytest.mark.parametrize("role", EVERY)
def test_every_key_that_is_written_goes_by_itself_and_is_removed(role: str) -> None:
    checks = checks_of(role)
    written = [check.command for check in checks if check.command[0] in ("SET", "EVAL")]
    assert all(command[-2:] == ("EX", "60") for command in written if command[0] == "SET")
    assert all(command[-1] == "60" for command in written if command[0] == "EVAL")
    (removed,) = [check.command[1:] for check in checks if check.command[0] == "DEL"]
    assert sorted(removed) == sorted(name for command in written for name in keys_of(command))


# --- A full role evicts the keys of the proof


STATS = "# Stats\r\nevicted_keys:{}\r\nevicted_clients:99\r\n"


@pytest.mark.parametrize(
    ("check", "reply"),
    [
        (Check("reads", ("GET", "k"), "t0k3n", of_keys=True), None),
        (Check("reads", ("MGET", "a", "b"), "['t0k3n', 't0k3n']", of_keys=True), ["t0k3n", None]),
        (Check("removes", ("DEL", "a", "b"), "2", of_keys=True), 0),
    ],
)
def test_a_key_that_the_role_may_have_evicted_is_missing_and_no_finding(check: Check, reply: Reply) -> None:
    assert judge(roles()["socket"], 6380, [check], [reply], evicted=True) == []
    assert len(judge(roles()["socket"], 6380, [check], [reply])) == 1


@pytest.mark.parametrize(
    ("check", "reply"),
    [
        (Check("reads", ("GET", "k"), "t0k3n", of_keys=True), "another's"),
        (Check("reads", ("MGET", "a", "b"), "['t0k3n', 't0k3n']", of_keys=True), ["another's", None]),
        (Check("removes", ("DEL", "a", "b"), "2", of_keys=True), 3),
        (Check("writes", ("SET", "k", "t0k3n"), "OK"), None),
        (Check("reads", ("GET", "k"), "t0k3n", of_keys=True), ReplyError("NOPERM no")),
    ],
)
def test_eviction_explains_no_other_value_no_refusal_and_no_write(check: Check, reply: Reply) -> None:
    assert len(judge(roles()["socket"], 6380, [check], [reply], evicted=True)) == 1


@pytest.mark.parametrize(
    ("role", "counts", "evicted"), [("socket", (7, 7), False), ("socket", (7, 8), True), ("crypto", (7, 8), False)]
)
def test_eviction_is_judged_by_the_counter_and_the_policy(role: str, counts: tuple[int, int], evicted: bool) -> None:
    built = roles()[role]
    first, last = (checks_of(role) for _ in range(2))

    def replies(checks: list[Check], count: int) -> list[Reply]:
        return [STATS.format(count) if check.command == COUNTERS else good_reply(check) for check in checks]

    assert evicted_meanwhile(built, (first, replies(first, counts[0])), (last, replies(last, counts[1]))) is evicted


def test_two_services_two_roles_and_two_proofs_never_share_a_key() -> None:
    gateway, shared = roles()["gateway"], roles()["shared"]
    keys = {key(gateway, "gateway", "1"), key(gateway, "auth-service", "1"), key(shared, "gateway", "1")}
    assert len(keys | {key(gateway, "gateway", "2")}) == 4


@pytest.mark.parametrize("role", EVERY)
def test_no_password_is_in_what_a_check_says(role: str) -> None:
    assert not [check for check in checks_of(role) if "secret-of" in check.what or "its-password" in check.what]


def test_two_connections_to_one_server_are_no_finding() -> None:
    info = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\n"
    assert same_instance(roles()["crypto"], info, info) == []


@pytest.mark.parametrize("other", ["run_id:def\r\n", "", ReplyError("NOAUTH x"), None])
def test_two_connections_to_different_servers_are_a_finding(other: Reply) -> None:
    (finding,) = same_instance(roles()["crypto"], "run_id:abc\r\n", other)
    assert finding.expected == "the same instance"


def test_two_connections_that_do_not_say_who_answers_are_a_finding() -> None:
    assert len(same_instance(roles()["crypto"], "x", "x")) == 1

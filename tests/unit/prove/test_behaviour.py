"""What a client must meet (tasks/prove/behaviour.py), and how replies are judged."""

import ast

import pytest

from tasks.catalogue.acl_rules import RESERVED_PREFIX
from tasks.observed.exchange import Reply, ReplyError
from tasks.prove.behaviour import (
    ADMINISTRATION,
    COUNTERS,
    TAKEN,
    Check,
    evicted_meanwhile,
    judge,
    key,
    let_in,
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
            replies[at] = "something else" if check.expected != TAKEN else ReplyError("NOPERM no")
            (finding,) = judge(roles()[role], 6390, checks, replies)
            assert finding.what == f"{check.what} on {roles()[role].address}:6390"
            assert (finding.role, finding.expected, finding.observed) == (
                role,
                check.expected,
                "something else" if check.expected != TAKEN else "error NOPERM no",
            )


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
def test_strangers_are_tried_before_a_service_is_logged_in_by_a_connection_that_says_whose_it_is(role: str) -> None:
    first = checks_of(role)[:5]
    assert [check.expected for check in first] == ["error NOAUTH", "", "", "error WRONGPASS", "error WRONGPASS"]
    assert [check.command[:2] for check in first[1:3]] == [("AUTH", "operator"), ("CLIENT", "SETNAME")]
    assert first[2].command[2] == "caas-verify:proof"
    assert first[4].command == ("AUTH", STRANGER, "wrong-t0k3n")


def test_strangers_are_tried_also_where_nobody_knows_the_operator_s_password() -> None:
    found = writing_checks(roles()["crypto"], {"operator": None, "crypto-service": "x"}, STRANGER, "t0k3n")
    assert [check.expected for check in found[:3]] == ["error NOAUTH", "error WRONGPASS", "error WRONGPASS"]


def test_the_tool_s_own_login_is_no_service_s() -> None:
    found = writing_checks(roles()["crypto"], passwords(roles()["crypto"])["crypto"], STRANGER, "t0k3n")
    assert let_in(found[:3], ["", "OK", "OK"]) == frozenset()


@pytest.mark.parametrize("role", EVERY)
def test_every_service_is_refused_administration(role: str) -> None:
    refused = [check.command for check in checks_of(role) if check.expected == "error NOPERM"]
    assert refused == [*ADMINISTRATION] * len(roles()[role].services)


LESS = {"keys": ["session:*"], "channels": ["news:[ab]?"], "scripts": False, "functions": False}


def limits(**rights: object) -> dict[str, str]:
    """What crypto's service, with these rights, asks and must be told, but for what it writes."""
    role = roles(crypto=rights)["crypto"]
    found = writing_checks(role, passwords(role)["crypto"], STRANGER, "t0k3n")
    checks = found[[check.command[0] for check in found].index("PING") + 5 : -1]
    return {" ".join(check.command): check.expected for check in checks}


def test_a_service_with_every_right_is_refused_only_administration() -> None:
    told = limits()
    refused = [words for words, expected in told.items() if expected == "error NOPERM"]
    assert refused == [" ".join(words) for words in ADMINISTRATION]
    for words in ("EXISTS t0k3n", "PUBLISH t0k3n t0k3n", "FCALL no-such-function-t0k3n 0"):
        assert told[words] == TAKEN


def test_one_of_each_kind_that_a_service_may_not_is_refused_and_one_that_it_may_is_not() -> None:
    told = limits(**LESS)
    for words in ("EXISTS session:t0k3n", "PUBLISH caas-verify:t0k3n t0k3n", "PUBLISH news:at t0k3n"):
        assert told[words] == TAKEN
    for words in (
        *("EXISTS t0k3n", "PUBLISH t0k3n t0k3n", "EVAL return 1 0", "FCALL no-such-function-t0k3n 0"),
        *("SCRIPT HELP", "FUNCTION STATS", "CONFIG GET port"),
    ):
        assert told[words] == "error NOPERM"
    assert not [words for words in told if words.startswith("EVAL for")]


def test_a_service_that_may_not_write_is_refused_a_write_and_proved_by_what_it_reads() -> None:
    told = limits(commands="+@all -@admin -@dangerous -@write +info")
    (write,) = [words for words in told if words.startswith("SET ")]
    assert (told[write], told["EXISTS t0k3n"]) == ("error NOPERM", TAKEN)
    assert "MULTI" not in told


def test_a_service_that_may_not_read_is_refused_a_read() -> None:
    told = limits(commands="-@all +@write +@connection +info -@admin -@dangerous +info")
    assert [told[words] for words in told if words.startswith("GET ")] == ["error NOPERM"]


def test_the_keys_of_a_proof_are_removed_by_a_service_that_may() -> None:
    role = roles(gateway={"services": {"auth-service": {"commands": "+@all -@admin -@dangerous +info -del"}}})[
        "gateway"
    ]
    checks = reading_checks(role, passwords(role)["gateway"], "t0k3n")
    logins = [check.command[1] for check in checks if check.command[0] == "AUTH"]
    assert logins == ["auth-service", "gateway"]
    nobody = roles(crypto={"commands": "+@all -@admin -@dangerous +info -del"})["crypto"]
    assert "DEL" not in [item.command[0] for item in reading_checks(nobody, passwords(nobody)["crypto"], "t0k3n")]


@pytest.mark.parametrize("role", EVERY)
def test_no_check_could_harm_data_were_it_allowed(role: str) -> None:
    for check in checks_of(role):
        text = " ".join(check.command)
        assert not text.startswith(DANGEROUS)
        if check.command[0] in ("SET", "DEL", "EVAL"):
            keys = keys_of(check.command)
            assert all(name.startswith(RESERVED_PREFIX) for name in keys)
        if check.command[0] in ("GET", "MGET", "EXISTS", "PUBLISH", "FCALL"):
            assert "t0k3n" in text  # of nobody


@pytest.mark.parametrize("role", EVERY)
def test_every_key_that_is_written_goes_by_itself_and_is_removed(role: str) -> None:
    checks = checks_of(role)
    written = [check.command for check in checks if keys_of(check.command) and check.command[0] in ("SET", "EVAL")]
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

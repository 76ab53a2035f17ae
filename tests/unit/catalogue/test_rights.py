"""What a service may do (tasks/catalogue/rights.py): what the door refuses, and the ACL rules of the rest."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.acl_rules import COMMANDS, may
from tasks.catalogue.glob import example, matches
from tasks.catalogue.roles import RESERVED_USERS, build_roles
from tests.unit.builders import EVERY, catalogue, roles

DEFAULT = "+@all -@admin -@dangerous +info"


def problems_of(**fields: Any) -> list[str]:
    """What is said when gateway carries these fields."""
    return build_roles(catalogue(), {"gateway": fields}, "here")[1]


def rules(**fields: Any) -> str:
    """The rules of gateway's first service when gateway carries these fields."""
    role = roles(gateway=fields)["gateway"]
    return role.rights_of(role.services[0]).rules


@pytest.mark.parametrize("role", EVERY)
def test_unless_a_role_says_otherwise_its_services_may_all_but_administer(role: str) -> None:
    built = roles()[role]
    for service in built.services:
        mine = built.rights_of(service)
        assert mine.rules.startswith(f"~* &* {DEFAULT} ")
        assert mine.may("get", "set", "publish", "eval", "evalsha", "script|load", "script|exists", "fcall", "fcall_ro")
        for command in ("script|flush", "script|kill", "script|debug", "script|help", "config|get", "client|kill"):
            assert not mine.may(command)
        assert not [name for name in COMMANDS if name.startswith("function|") and mine.may(name)]


@pytest.mark.parametrize(("scripts", "functions"), [(True, False), (False, True), (False, False)])
def test_scripts_and_functions_are_given_one_by_one(scripts: bool, functions: bool) -> None:
    given = rules(scripts=scripts, functions=functions)
    assert [may(given, name) for name in ("eval", "evalsha_ro", "script|load")] == [scripts] * 3
    assert [may(given, name) for name in ("fcall", "fcall_ro")] == [functions] * 2


def test_the_keys_and_channels_of_a_proof_are_always_granted_and_a_star_stands_alone() -> None:
    given = rules(keys=["session:*", "caas-verify:*"], channels=[])
    assert given.startswith("~caas-verify:* ~session:* &caas-verify:* +@all")
    assert rules(keys=["session:*", "*"]).startswith("~* &* +@all")  # Redis takes no other beside it


def test_a_service_may_have_rights_of_its_own_and_the_others_keep_those_of_the_role() -> None:
    role = roles(gateway={"scripts": False, "services": {"gateway": {"keys": ["a:*"]}}})["gateway"]
    assert role.services == ("gateway", "auth-service")
    own, other = (role.rights_of(service) for service in role.services)
    assert (own.keys, own.scripts, other.keys, other.scripts) == (("a:*",), False, ("*",), False)


@pytest.mark.parametrize("services", [{"gateway": None, "auth-service": {}}, ["gateway", "auth-service"]])
def test_a_list_of_names_and_a_mapping_without_rights_are_the_same(services: Any) -> None:
    assert roles(gateway={"services": services}) == roles()


def test_a_mapping_over_a_list_removes_no_service_and_a_list_over_a_mapping_no_right() -> None:
    catalogued = catalogue().model_copy(deep=True)
    catalogued.roles["gateway"]["services"] = {"gateway": {"scripts": False}, "auth-service": {}}
    built, problems = build_roles(catalogued, {"gateway": {"services": ["gateway"]}}, "here")
    assert problems == []
    assert built["gateway"].services == ("gateway",)
    assert not built["gateway"].rights_of("gateway").scripts


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"commands": "+@all"}, "commands: grants acl|deluser"),
        ({"commands": "-@all +@read +@slow +ping"}, "commands: grants acl|deluser"),
        ({"commands": f"{DEFAULT} +@admin"}, "commands: grants acl|deluser"),
        ({"commands": f"{DEFAULT} +@dangerous"}, "commands: grants acl|deluser"),
        *(
            ({"commands": f"{DEFAULT} +{name}"}, "which is administration and the operator's: end it with -@admin")
            for name in (
                *("acl", "config", "config|set", "debug", "module", "shutdown", "replicaof", "slaveof", "client|kill"),
                *("monitor", "save", "bgsave", "bgrewriteaof", "failover", "psync", "cluster", "latency", "slowlog"),
                *("migrate", "restore-asking", "client", "acl|setuser", "config|rewrite", "client|list"),
            )
        ),
        ({"commands": "+@all -@admin -@dangerous"}, "commands: lacks info, which clients and the proof ask: add +info"),
        ({"commands": "-@all +get"}, "commands: lacks ping, info, which clients and the proof ask: add +ping +info"),
        ({"commands": ""}, "commands: lacks ping, info"),
        ({"commands": f"{DEFAULT} -gett"}, "commands: '-gett' names no command of Redis, is -get meant?"),
        ({"commands": f"{DEFAULT} -@strign"}, "'-@strign' names no category of Redis, is -@string meant?"),
        ({"commands": f"{DEFAULT} -client|lits"}, "is -client|list meant?"),
        ({"commands": f"{DEFAULT} ~*"}, "commands: '~*' is no rule of commands, expected +NAME, -NAME"),
        ({"commands": f"{DEFAULT} nopass"}, "commands: 'nopass' is no rule of commands"),
        ({"commands": f"{DEFAULT} +eval"}, "commands: '+eval': scripts and functions have fields of their own"),
        ({"commands": f"{DEFAULT} -@scripting"}, "'-@scripting': scripts and functions have fields of their own"),
        ({"commands": f"{DEFAULT} +function|load"}, "'+function|load': scripts and functions have fields of their own"),
        ({"commands": f"{DEFAULT} +flushall", "keys": ["a:*"]}, "flushall would take every key"),
        ({"keys": ["~a:*"]}, "keys.0: '~a:*' is a rule of an ACL, expected the pattern alone: 'a:*'"),
        ({"keys": ["a b"]}, "keys.0: 'a b' is no pattern"),
        ({"channels": ["a\nuser x on nopass"]}, "channels.0: "),
        ({"keys": "*"}, "keys: '*' was given"),
        ({"keys": "*"}, "input should be a list"),
        ({"keys": [1]}, "keys.0: 1 was given"),
        ({"keys": ["a\ud800"]}, "keys.0: "),
        ({"services": ["a" * 129]}, "at most 128 characters"),
        ({"services": {"gateway": "all"}}, "'all' was given: input should be a mapping"),
        ({"name": "other"}, "here: gateway: name: unknown key: correct its spelling or remove it"),
        ({"services (rights)": {}}, "here: gateway: services (rights): unknown key"),
        ({"scripts": "yes"}, "scripts: 'yes' was given"),
        ({"functions": 1}, "functions: 1 was given"),
        ({"services": {"gateway": {"script": True}}}, "services.gateway.script: unknown key: "),
        ({"services": {"gateway": {"keys": ["&a"]}}}, "services.gateway.keys.0: '&a' is a rule of an ACL"),
        ({"services": {"gateway": {"commands": "+@all"}}}, "services.gateway.commands: grants acl|deluser"),
        ({"services": {"gateway": "all"}}, "services.gateway: 'all' was given"),
        ({"services": {"gate way": {}}}, "'gate way' was given"),
        *(({"services": [name]}, f"services: {name} is a user of Redis or of this tool") for name in RESERVED_USERS),
        *(
            ({"services": {name: {}}}, f"services: {name} is a user of Redis or of this tool")
            for name in RESERVED_USERS
        ),
    ],
)
def test_rights_that_no_service_may_have_or_that_are_none_are_refused_at_the_door(
    fields: dict[str, Any], said: str
) -> None:
    found = problems_of(**fields)
    assert found
    assert said in "\n".join(found)


ADMINISTRATION = sorted(name for name, categories in COMMANDS.items() if "admin" in categories)
WORDS = st.lists(
    st.tuples(st.sampled_from("+-"), st.sampled_from(["@all", "@read", "@slow", "@connection", *sorted(COMMANDS)])),
    max_size=6,
).map(lambda words: " ".join(sign + name for sign, name in words))


@given(WORDS)
def test_whatever_commands_says_no_service_administers(words: str) -> None:
    built, problems = build_roles(catalogue(), {"gateway": {"commands": f"{words} +ping +info"}}, "here")
    if not problems:
        assert not [name for name in ADMINISTRATION if built["gateway"].may(name)]


@pytest.mark.parametrize("dangerous", ["keys", "sort", "restore", "flushdb"])
def test_what_is_dangerous_to_its_own_role_only_may_be_granted(dangerous: str) -> None:
    assert may(rules(commands=f"{DEFAULT} +{dangerous}"), dangerous)


@pytest.mark.parametrize(
    ("pattern", "name", "matching"),
    [
        *(("*", "a:b", True), ("a:*", "a:b", True), ("a:*", "b:a:", False), ("a:?", "a:b", True), ("a:?", "a:", False)),
        *(
            ("[ab]c", "bc", True),
            ("[^ab]c", "bc", False),
            ("[a-c]", "b", True),
            ("[c-a]", "b", True),
            ("a\\*", "a*", True),
        ),
        *(("a\\*", "ab", False), ("a.c", "abc", False), ("(a", "(a", True), ("", "a", False), ("a", "A", False)),
    ],
)
def test_patterns_match_as_redis_matches_them(pattern: str, name: str, matching: bool) -> None:
    assert matches(pattern, name) is matching


def every_way(pattern: str, name: str) -> bool:
    """Whether a pattern of `*`, `?` and letters matches, by trying all."""
    if pattern[:1] == "*":
        return any(every_way(pattern[1:], name[at:]) for at in range(len(name) + 1))
    return not name if not pattern else bool(name) and pattern[0] in ("?", name[0]) and every_way(pattern[1:], name[1:])


@given(st.text("ab*?", max_size=7), st.text("ab", max_size=7))
def test_stars_match_whatever_lies_between(pattern: str, name: str) -> None:
    assert matches(pattern, name) == every_way(pattern, name)


def test_many_stars_are_no_burden() -> None:
    assert not matches(f"{'*a' * 40}*b", "a" * 2000)
    assert not matches(f"{'*' * 200}x", "a" * 200)


@given(st.text("ab*?[]^-\\:", min_size=1, max_size=8))
def test_an_example_of_a_pattern_matches_it(pattern: str) -> None:
    name = example(pattern, "t0k3n")
    assert name is None or matches(pattern, name)

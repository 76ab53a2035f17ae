"""The catalogue at its door (tasks/catalogue/roles.py): what is refused, in which words, and what merges how."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.catalogue.roles import build_roles, merge, read_catalogue, same_endpoint
from tasks.desired.build import desired_host
from tests.unit.builders import EVERY, ROLES_FILE, SYSCTLS, catalogue, desired, passwords, roles


def problems_of(**fields: Any) -> list[str]:
    """What is said when gateway carries these fields."""
    return build_roles(catalogue(), {"gateway": fields}, "here")[1]


def edited(**roles_fields: Mapping[str, Any]) -> str:
    """roles.yaml with fields of some roles laid over it."""
    return yaml.safe_dump(merge(yaml.safe_load(ROLES_FILE.read_text()), {"roles": roles_fields}))


def test_the_tests_own_catalogue_has_no_problem() -> None:
    assert read_catalogue(ROLES_FILE.read_text())[1] == []


def test_an_unknown_key_is_refused() -> None:
    assert problems_of(maxmemroy="256mb") == [
        "here: gateway: maxmemroy: unknown key: correct its spelling or remove it"
    ]


@pytest.mark.parametrize("size", ["256 mb", "256mib", "0.5gb", "50%", "lots", 2.5, True, None])
def test_a_memory_size_with_an_unknown_unit_is_refused(size: object) -> None:
    (problem,) = problems_of(maxmemory=size)
    assert problem.startswith(f"here: gateway: maxmemory: {size!r} is not a Redis memory size: write a whole number")


def test_a_memory_size_that_forgot_its_unit_is_refused() -> None:
    (problem,) = problems_of(maxmemory=256)
    assert problem.startswith("here: gateway: maxmemory: 256 was given: ")
    assert "greater than or equal to 1048576" in problem


def test_an_unknown_eviction_policy_is_refused_with_the_known_ones() -> None:
    (problem,) = problems_of(maxmemory_policy="allkeys-lruu")
    assert problem.startswith("here: gateway: maxmemory_policy: 'allkeys-lruu' was given: ")
    assert all(policy in problem for policy in ("noeviction", "allkeys-lru", "volatile-lru", "volatile-ttl"))


@pytest.mark.parametrize("field", ["port", "inner_port"])
@pytest.mark.parametrize("number", [0, -1, 65536, "6379", 6379.5, True])
def test_a_port_that_is_none_is_refused(field: str, number: Any) -> None:
    problems = problems_of(**{field: number})
    assert problems
    assert all(line.startswith(f"here: gateway: {field}") and repr(number) in line for line in problems)


@pytest.mark.parametrize("address", ["172.28.2", "172.28.2.256", "redis-1", "0.0.0.0", "127.0.0.1", "224.0.0.1", "::1"])
def test_an_address_that_is_not_one_host_s_is_refused(address: str) -> None:
    (problem,) = problems_of(address=address)
    assert problem.startswith("here: gateway: address: ")
    assert address in problem


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("appendfsync", "sometimes"),
        ("appendonly", "yes"),
        ("save", "3600"),
        ("client_output_buffer_limit", {"normal": "64mb 32mb"}),
        ("client_output_buffer_limit", {"master": "0 0 0"}),
        ("maxmemory_clients", "a lot"),
        ("appenddirname", "../elsewhere"),
        ("hz", 501),
        ("loglevel", "loud"),
        ("propagation_error_behavior", "stop"),
        ("maxmemory_samples", 0),
        ("tcp_backlog", 0),
        ("services", ["gate way"]),
        ("services", "gateway"),
        ("stores", "everything"),
        ("purpose", 1),
        ("notify_keyspace_events", False),
    ],
)
def test_a_value_that_redis_or_this_tool_would_not_take_is_refused(field: str, value: Any) -> None:
    problems = problems_of(**{field: value})
    assert problems
    assert all(line.startswith(f"here: gateway: {field}") for line in problems)


def test_a_role_without_services_is_refused() -> None:
    assert problems_of(services=[]) == ["here: gateway: services: empty: list at least one"]


def test_a_service_listed_twice_is_refused() -> None:
    assert problems_of(services=["a", "b", "a"]) == [
        "here: gateway: services: a is listed twice: list each service once"
    ]


@pytest.mark.parametrize("user", ["default", "operator", "reader", "metrics", "backup", "replication"])
def test_a_service_named_like_a_user_of_redis_or_of_this_tool_is_refused(user: str) -> None:
    assert problems_of(services=[user]) == [
        f"here: gateway: services: {user} is a user of Redis or of this tool: rename it"
    ]


ROLES = "  a: {port: 1, purpose: x}\n  b: {port: 2, timeout: 7}\n"


def about(text: str, field: str) -> list[str]:
    """The problems with one field of a catalogue."""
    return [line for line in read_catalogue(text)[1] if f" {field}: " in line]


def test_what_defaults_have_wrong_is_said_of_them_once() -> None:
    wrong = about("defaults: {hz: soon}\nroles:\n" + ROLES, "hz")
    assert [line.partition(" was given")[0] for line in wrong] == ["roles.yaml: defaults: hz: 'soon'"]
    assert about("defaults: {timeoutt: 0}\nroles:\n" + ROLES, "timeoutt") == [
        "roles.yaml: defaults: timeoutt: unknown key: correct its spelling or remove it"
    ]


def test_what_every_role_lacks_is_said_of_defaults_once_and_what_one_lacks_of_it() -> None:
    assert about("roles:\n" + ROLES, "databases") == [
        "roles.yaml: defaults: databases: missing: add it to the role or to defaults"
    ]
    assert about("roles:\n" + ROLES, "timeout") == [
        "roles.yaml: a: timeout: missing: add it to the role or to defaults"
    ]


@pytest.mark.parametrize("text", ["", "# all gone\n", "---\n"])
def test_an_empty_file_is_said_to_be_empty(text: str) -> None:
    assert read_catalogue(text)[1] == [
        "roles.yaml: nothing is in it, expected `defaults` and `roles`: bring the file back"
    ]


def test_a_field_that_nothing_gives_is_named() -> None:
    without_port = {name: value for name, value in catalogue().roles["gateway"].items() if name != "port"}
    _, problems = read_catalogue(yaml.safe_dump({"defaults": catalogue().defaults, "roles": {"gateway": without_port}}))
    assert problems == ["roles.yaml: gateway: port: missing: add it to the role or to defaults"]


def test_overrides_for_a_role_that_does_not_exist_are_refused_with_the_names_there_are() -> None:
    _, problems = build_roles(catalogue(), {"gatway": {"port": 1}}, "here")
    assert problems == [
        "here: gatway: overrides name a role that roles.yaml does not have "
        f"(roles: {', '.join(sorted(EVERY))}): correct the name"
    ]


def test_an_override_that_is_no_mapping_is_refused() -> None:
    _, problems = build_roles(catalogue(), {"gateway": "64mb"}, "here")
    assert problems == ["here: gateway: '64mb' is not a mapping of fields to values"]


def test_all_problems_of_all_roles_are_reported_at_once() -> None:
    text = edited(
        gateway={"maxmemory": "256 mb", "maxmemory_policy": "lru", "port": 70000, "sevrices": ["x"]},
        crypto={"services": []},
    )
    _, problems = read_catalogue(text)
    assert [line.split(": ")[1:3] for line in problems] == [
        ["crypto", "services"],
        ["gateway", "maxmemory"],
        ["gateway", "maxmemory_policy"],
        ["gateway", "port"],
        ["gateway", "sevrices"],
    ]


@pytest.mark.parametrize("text", ["roles: [", "a: b: c", "\tx"])
def test_a_file_that_is_no_yaml_is_refused_in_one_line(text: str) -> None:
    read, problems = read_catalogue(text)
    assert read is None
    (problem,) = problems
    assert problem.startswith("roles.yaml: not readable as YAML: ")
    assert "\n" not in problem


@pytest.mark.parametrize("text", ["", "[]", "roles: 5", "roles: {gateway: 5}", "defaults: {}", "rolls: {}\nroles: {}"])
def test_a_file_of_another_shape_is_refused(text: str) -> None:
    read, problems = read_catalogue(text)
    assert read is None
    assert problems
    assert all(line.startswith("roles.yaml: ") for line in problems)


def test_two_roles_on_one_address_and_port_are_refused() -> None:
    built = roles(socket={"address": "172.28.2.3", "port": 6381, "inner_port": None})
    assert same_endpoint({"host-1": [built["socket"]], "host-2": [built["shared"]]}) == [
        "172.28.2.3:6381 is claimed by socket on host-1 and shared on host-2: "
        "give each role an address and port of its own"
    ]


def test_an_inner_port_equal_to_another_role_s_port_is_refused() -> None:
    built = roles(socket={"address": "172.28.2.1"})
    assert same_endpoint({"host-1": [built["gateway"], built["socket"]]}) == [
        "172.28.2.1:6379 is claimed by gateway on host-1 and socket on host-1: "
        "give each role an address and port of its own"
    ]


def test_one_role_on_two_hosts_is_refused() -> None:
    gateway = roles()["gateway"]
    (problem,) = same_endpoint({"host-2": [gateway], "host-1": [gateway]})
    assert "gateway on host-1 and gateway on host-2" in problem


def test_all_roles_share_a_host_without_sharing_an_endpoint() -> None:
    assert same_endpoint({"host-1": list(roles().values())}) == []


def test_an_override_replaces_one_value_and_leaves_the_others_but_the_clients_that_fit() -> None:
    plain, changed = roles()["gateway"], roles(gateway={"maxmemory": "64mb"})["gateway"]
    assert changed.maxmemory == 64 << 20
    assert changed.model_copy(update={"maxmemory": plain.maxmemory, "maxclients": plain.maxclients}) == plain


def test_an_override_of_one_role_leaves_the_other_roles() -> None:
    changed = roles(gateway={"address": "10.9.2.1", "maxmemory": "64mb"})
    assert {name: changed[name] for name in EVERY[1:]} == {name: roles()[name] for name in EVERY[1:]}


def test_an_override_inside_a_mapping_merges_deeply() -> None:
    changed = roles(gateway={"client_output_buffer_limit": {"pubsub": "1mb 1mb 10"}})["gateway"]
    assert changed.client_output_buffer_limit == (
        "normal 67108864 33554432 60 slave 268435456 67108864 60 pubsub 1048576 1048576 10"
    )


def test_an_override_of_a_list_replaces_it() -> None:
    assert roles(gateway={"services": ["one"]})["gateway"].services == ("one",)


def test_buffer_limits_that_leave_out_a_class_are_refused() -> None:
    # CONFIG GET always answers all three: what is left out would be drift that no deploy can mend.
    assert problems_of(client_output_buffer_limit="normal 64mb 32mb 60")


def test_a_key_written_twice_is_refused() -> None:
    _, problems = read_catalogue(ROLES_FILE.read_text().replace("    port: 6379\n", "    port: 6379\n    port: 6390\n"))
    assert problems


def test_every_field_of_a_role_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        roles()["gateway"].port = 1  # type: ignore[misc]


LEAVES = st.integers(0, 3) | st.sampled_from(["64mb", "yes"]) | st.lists(st.integers(0, 3), max_size=2)
KEYS = st.sampled_from("abc")
VALUES = LEAVES | st.dictionaries(KEYS, LEAVES | st.dictionaries(KEYS, LEAVES, max_size=2), max_size=3)
MAPPINGS = st.dictionaries(KEYS, VALUES, max_size=3)


@given(MAPPINGS)
def test_laying_nothing_or_the_same_over_a_mapping_changes_nothing(base: dict[str, Any]) -> None:
    assert merge(base, {}) == merge({}, base) == merge(base, base) == base


@given(MAPPINGS, MAPPINGS)
def test_what_is_laid_over_wins_and_what_it_does_not_name_stays(base: dict[str, Any], over: dict[str, Any]) -> None:
    merged = merge(base, over)
    assert merged.keys() == base.keys() | over.keys()
    assert all(merged[key] == value for key, value in over.items() if not isinstance(value, dict))
    assert all(merged[key] == value for key, value in base.items() if key not in over)


# As layers of a catalogue are: what is a mapping in one is a mapping in all of them.
LAYERS = st.fixed_dictionaries(
    {},
    optional={
        "port": LEAVES,
        "services": LEAVES,
        "limits": st.dictionaries(KEYS, LEAVES, max_size=3),
    },
)


@given(LAYERS, LAYERS, LAYERS)
def test_of_three_layers_it_does_not_matter_which_two_merge_first(
    base: dict[str, Any], group: dict[str, Any], host: dict[str, Any]
) -> None:
    assert merge(merge(base, group), host) == merge(base, merge(group, host))


@settings(max_examples=20)
@given(st.data())
def test_the_order_of_keys_in_yaml_does_not_change_the_desired_state(data: st.DataObject) -> None:
    original = yaml.safe_load(ROLES_FILE.read_text())
    shuffled = {
        "roles": {
            name: dict(data.draw(st.permutations(list(original["roles"][name].items()))))
            for name in data.draw(st.permutations(list(original["roles"])))
        },
        "defaults": dict(data.draw(st.permutations(list(original["defaults"].items())))),
    }
    read, problems = read_catalogue(yaml.safe_dump(shuffled, sort_keys=False))
    assert read is not None
    assert problems == []
    built, _ = build_roles(read, {}, "test")
    assert built == roles()
    carried = [built[name] for name in EVERY]
    assert desired_host("host-1", carried, passwords(*carried), SYSCTLS).files == desired(*EVERY).files


# Who may connect


@pytest.mark.parametrize(
    ("given", "networks"),
    [
        (["10.8.0.0/16"], ["10.8.0.0/16"]),
        (["10.9.1.7"], ["10.9.1.7/32"]),
        (["10.9.1.7/32", "10.8.0.0/16"], ["10.8.0.0/16", "10.9.1.7/32"]),
        (["10.0.0.0/9", "10.128.0.0/9", "10.3.0.0/16", "10.3.0.0/16"], ["10.0.0.0/8"]),
        (None, None),
    ],
)
def test_networks_are_kept_in_order_and_without_doubles(given: object, networks: list[str] | None) -> None:
    found = roles(gateway={"allow_from": given})["gateway"].allow_from
    assert (found if found is None else [str(network) for network in found]) == networks


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "[]: list the networks that may connect, as [10.8.0.0/16, 10.9.1.7], or leave it out"),
        ("10.8.0.0/16", "'10.8.0.0/16': list the networks"),
        ({"10.8.0.0/16": 1}, "list the networks"),
        (["10.8.0.1/16"], "'10.8.0.1/16' has bits of a host: write 10.8.0.0/16, or the one address without /"),
        (["0.0.0.0/0"], "'0.0.0.0/0' is everybody: leave allow_from out"),
        (["::/0"], "'::/0' is no IPv4 network: write it as 10.8.0.0/16, or one address as 10.9.1.7"),
        (["10.8/16"], "'10.8/16' is no IPv4 network"),
        (["10.8.0.0/255.255.0.0"], "'10.8.0.0/255.255.0.0' is no IPv4 network"),
        (["web.example"], "'web.example' is no IPv4 network"),
        (["10.8.0.0/16 accept"], "'10.8.0.0/16 accept' is no IPv4 network"),
        ([167772160], "167772160 is no IPv4 network"),
        ([True], "True is no IPv4 network"),
        ([None], "None is no IPv4 network"),
        ([["10.8.0.0/16"]], "['10.8.0.0/16'] is no IPv4 network"),
    ],
)
def test_what_is_no_list_of_networks_is_refused_in_words(given: object, said: str) -> None:
    (problem,) = problems_of(allow_from=given)
    assert problem.startswith("here: gateway: allow_from: ")
    assert said in problem


@pytest.mark.parametrize(("length", "fits"), [(25, True), (26, False)])
def test_a_role_s_name_leaves_room_for_the_name_of_its_user(length: int, fits: bool) -> None:
    name = "r" * length
    row = {**yaml.safe_load(ROLES_FILE.read_text())["roles"]["gateway"], "address": "172.28.2.99"}
    found = read_catalogue(edited(**{name: row}))[1]
    assert (found == []) == fits
    assert fits or "at most 25 characters" in found[0]

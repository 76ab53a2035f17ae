"""What the templates render is what was read and committed (tests/golden/files); a change of either shows here."""

import hashlib
import re
from itertools import pairwise

import pytest

from tasks.catalogue.directives import SECTIONS
from tasks.desired.build import desired_host
from tasks.desired.rendering import process_part, render
from tests.golden.rendered import UPDATE, committed, rendered
from tests.unit.builders import EVERY, FIVE, OTHERS, SYSCTLS, desired, passwords, roles, secrets_of

RENDERED = rendered()
COMMITTED = committed()
HOST_OF = {**dict.fromkeys(FIVE, "all-five"), **dict.fromkeys(OTHERS, "others")}
CONFS = {role: RENDERED[f"{host}/etc/redis/{role}.conf"] for role, host in HOST_OF.items()}
UNITS = {role: RENDERED[f"{host}/etc/systemd/system/redis-{role}.service"] for role, host in HOST_OF.items()}


@pytest.mark.parametrize("path", sorted(RENDERED.keys() | COMMITTED.keys()))
def test_a_rendered_file_is_the_committed_one(path: str) -> None:
    assert path in COMMITTED, f"not committed yet: read it, then run {UPDATE}"
    assert path in RENDERED, f"not rendered any more: run {UPDATE}"
    assert RENDERED[path] == COMMITTED[path], f"if this is meant, run {UPDATE} and commit the difference"


def test_what_is_rendered_twice_is_the_same() -> None:
    assert rendered() == RENDERED


# Whose form has no room for a comment, a note that nobody changes, and what is no file of a host.
BARE = (".acl", ".ca", ".pem", ".authorities", ".passwords", ".served", "state.txt")


@pytest.mark.parametrize("path", sorted(path for path in RENDERED if not path.endswith(BARE)))
def test_a_rendered_file_opens_with_where_to_change_it(path: str) -> None:
    assert "change group_data/ or templates/ there" in RENDERED[path].splitlines()[0]


@pytest.mark.parametrize("path", sorted(RENDERED))
def test_a_rendered_file_has_no_clock_no_trailing_blanks_and_one_last_newline(path: str) -> None:
    text = RENDERED[path]
    assert not re.search(r"\d\d:\d\d:\d\d|20\d\d-\d\d-\d\d", text)
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize("role", EVERY)
def test_a_role_s_files_are_the_same_on_a_host_of_its_own(role: str) -> None:
    alone = {file.path: file for file in desired(role).files if file.role}
    shared = {file.path: file for file in desired(*EVERY).files if file.role == role}
    assert alone == shared


@pytest.mark.parametrize("role", EVERY)
def test_a_redis_conf_says_every_directive_in_a_section_and_no_comment_behind_a_value(role: str) -> None:
    lines = CONFS[role].splitlines()
    values = [line for line in lines if line and not line.startswith("#")]
    names = {line.split()[0] for line in values}
    assert names == set(desired(role).instances[0].settings)
    assert names == {name for section in SECTIONS.values() for name in section}
    assert not [line for line in values if "#" in line]


@pytest.mark.parametrize("role", EVERY)
def test_a_redis_conf_repeats_only_directives_that_add_up(role: str) -> None:
    names = [line.split()[0] for line in CONFS[role].splitlines() if line and not line.startswith("#")]
    assert {name for name in names if names.count(name) > 1} <= {"save", "client-output-buffer-limit"}


@pytest.mark.parametrize("role", EVERY)
def test_a_redis_conf_binds_one_address_strictly_and_names_its_own_paths(role: str) -> None:
    built = roles()[role]
    lines = CONFS[role].splitlines()
    for line in (
        f"bind {built.address}",
        f"port {built.port}",
        "protected-mode yes",
        "supervised systemd",
        f"aclfile /etc/redis/{role}.acl",
        f"dir /var/lib/redis/{role}",
        f"pidfile /run/redis-{role}/redis.pid",
        'logfile ""',
        f"maxmemory {built.maxmemory}",
        f"maxmemory-policy {built.maxmemory_policy}",
        f"appendonly {'yes' if built.appendonly else 'no'}",
        f"appendfsync {built.appendfsync}",
    ):
        assert line in lines


@pytest.mark.parametrize("role", EVERY)
def test_save_is_always_written_one_pair_per_line(role: str) -> None:
    saves = [line for line in CONFS[role].splitlines() if line.startswith("save ")]
    three = ["save 3600 1", "save 300 100", "save 60 10000"]
    wanted = {"compliance": three, "crypto": three, "reports": ["save 900 1"], "ledger": ["save 3600 1"]}
    assert saves == wanted.get(role, ['save ""'])


def test_no_two_roles_share_a_path_a_port_or_a_unit() -> None:
    for first, second in pairwise(EVERY):
        for directive in ("dir", "pidfile", "aclfile", "bind", "port"):
            lines = [line for role in (first, second) for line in CONFS[role].splitlines()]
            assert len({line for line in lines if line.startswith(f"{directive} ")}) == 2


@pytest.mark.parametrize("role", EVERY)
def test_an_acl_file_shuts_the_default_user_first_and_holds_hashes_only(role: str) -> None:
    lines = RENDERED[f"{HOST_OF[role]}/etc/redis/{role}.acl"].splitlines()
    assert lines[0] == "user default off ~* &* +@all"
    assert [line.split()[1] for line in lines[1:]] == sorted([*roles()[role].services, "operator"])
    for line in lines[1:]:
        rules = r"%R~\* ~caas-verify:\* -@all " if line.startswith("user operator ") else r"~\* &\* \+@all "
        assert re.fullmatch(rf"user \S+ on #[0-9a-f]{{64}} {rules}.*", line)


def test_no_password_and_no_hash_is_outside_the_acl_files() -> None:
    hidden = secrets_of(*roles().values())
    others = {path: text for path, text in RENDERED.items() if not path.endswith(".acl")}
    assert [path for path, text in others.items() if any(secret in text for secret in hidden)] == []


def test_an_acl_file_is_not_rendered_while_a_password_is_missing() -> None:
    role = roles()["crypto"]
    known = passwords(role)
    known["crypto"]["operator"] = None
    host = desired_host("host-1", [role], known, SYSCTLS)
    (file,) = [file for file in host.files if file.path.endswith(".acl")]
    assert not file.content
    assert file.secret


@pytest.mark.parametrize("role", EVERY)
def test_a_unit_s_digest_is_that_of_its_text_without_the_digest(role: str) -> None:
    digest = desired(role).instances[0].unit_digest
    assert f"SetCredential=unit-digest:{digest}\n" in UNITS[role]
    without = UNITS[role].replace(f"unit-digest:{digest}", "unit-digest:")
    assert hashlib.sha256(process_part(without).encode()).hexdigest().startswith(digest)


def test_a_unit_s_digest_is_the_same_with_and_without_a_log_so_that_switching_it_restarts_nothing() -> None:
    with_log, without = (desired("crypto", crypto={"appendonly": on}).instances[0] for on in (True, False))
    assert with_log.unit_text != without.unit_text
    assert with_log.unit_digest == without.unit_digest


@pytest.mark.parametrize("role", EVERY)
def test_a_unit_grants_more_descriptors_than_clients_and_waits_as_long_as_it_takes(role: str) -> None:
    lines = UNITS[role].splitlines()
    (limit,) = [int(line.split("=")[1]) for line in lines if line.startswith("LimitNOFILE=")]
    assert limit >= roles()[role].maxclients + 32
    for line in ("Type=notify", "TimeoutStartSec=infinity", "StartLimitIntervalSec=0", "OOMPolicy=continue"):
        assert line in lines
    assert not [line for line in lines if line.startswith("Requires=")]


def test_more_clients_get_more_descriptors() -> None:
    (unit,) = [
        file.content or ""
        for file in desired("gateway", gateway={"maxclients": 100000, "maxmemory": "20gb"}).files
        if file.path.endswith("redis-gateway.service")
    ]
    assert "\nLimitNOFILE=101024\n" in unit


def test_the_inner_ports_are_led_in_both_directions_by_a_table_that_has_an_owner() -> None:
    text = RENDERED["all-five/etc/redis/inner-port.nft"]
    assert "\ntable ip redis_inner_port {\n\tflags owner\n" in text
    for role in ("socket", "shared", "compliance", "crypto"):
        built = roles()[role]
        rule = f"ip daddr {built.address} tcp dport 6379 dnat to {built.address}:{built.port}\n"
        assert text.count(rule) == 2
    assert "172.28.2.1" not in text


def test_no_start_stop_or_reload_of_another_unit_reaches_the_inner_port_and_nothing_stops_it_from_trying_again() -> (
    None
):
    unit = RENDERED["all-five/etc/systemd/system/redis-inner-port.service"]
    lines = {line for line in unit.splitlines() if not line.startswith("#")}
    assert {"Restart=always", "StartLimitIntervalSec=0", "Before=network-online.target"} <= lines
    ties = (
        "PartOf",
        "BindsTo",
        "Requires",
        "Requisite",
        "Conflicts",
        "ReloadPropagatedFrom",
        "StopPropagatedFrom",
        "After",
    )
    assert [line for line in lines if line.startswith(tuple(f"{tie}=" for tie in ties))] == []


def test_only_what_has_another_inner_port_is_led_and_from_that_port() -> None:
    text = RENDERED["others/etc/redis/inner-port.nft"]
    led = {line.strip() for line in text.splitlines() if "dnat to" in line}
    assert led == {
        "ip daddr 172.28.2.22 tcp dport 6379 dnat to 172.28.2.22:6384",
        "ip daddr 172.28.2.23 tcp dport 7000 dnat to 172.28.2.23:7001",
    }


def test_a_gateway_alone_has_nothing_to_lead() -> None:
    state = RENDERED["gateway-alone/state.txt"].splitlines()
    assert "absent /etc/redis/inner-port.nft" in state
    assert "unit redis-inner-port.service absent inactive" in state
    assert not [line for line in state if "nftables" in line]


def test_a_version_that_is_not_pinned_leaves_no_pin_behind() -> None:
    assert "absent /etc/apt/preferences.d/60-redis" in RENDERED["all-five/state.txt"].splitlines()
    assert "Pin: version 5:7.0.15-1~deb12u10" in RENDERED["crypto-alone-pinned/etc/apt/preferences.d/60-redis"]


def test_a_template_that_misses_a_variable_is_an_error() -> None:
    with pytest.raises(Exception, match="'thp' is undefined"):
        render("thp.conf.j2")

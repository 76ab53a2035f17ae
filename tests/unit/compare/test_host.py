"""The one list of differences (tasks/compare/host.py): each kind appears when its thing is broken, and only then."""

from dataclasses import replace

import pytest

from tasks.compare.difference import Difference, Remedy, chosen
from tasks.compare.fitness import unfit
from tasks.compare.host import compare, kernel_notices
from tasks.desired.host import Host
from tasks.observed.nft import takings
from tasks.observed.state import Observed
from tests.unit.builders import (
    EVERY,
    FIVE,
    OTHERS,
    as_desired,
    desired,
    differs,
    fresh,
    roles,
    secrets_of,
    sha256,
    stopped,
    with_file,
    with_listener,
    with_server,
    with_setting,
    with_unit,
    with_user,
    without_file,
)

CONF = "/etc/redis/crypto.conf"
ACL = "/etc/redis/crypto.acl"
MAY = roles()["crypto"].rules.removeprefix("~* &* ")
UNIT = "redis-crypto.service"


@pytest.fixture
def host() -> Host:
    """A host with one role whose inner port has to be led."""
    return desired("crypto")


@pytest.fixture
def right(host: Host) -> Observed:
    """The same host, exactly as desired."""
    return as_desired(host)


def only(differences: list[Difference]) -> tuple[str | None, str, str, str, str, str]:
    """The one difference there is, as a tuple; fails when there are none or more."""
    assert len(differences) == 1, [str(item) for item in differences]
    item = differences[0]
    return item.role, item.subject, item.name, item.expected, item.observed, str(item.remedy)


@pytest.mark.parametrize("names", [("gateway",), ("crypto",), ("socket", "compliance"), FIVE, OTHERS, EVERY])
def test_a_host_that_is_right_has_no_difference(names: tuple[str, ...]) -> None:
    host = desired(*names)
    assert compare(host, as_desired(host)) == []


def test_a_host_pinned_to_a_version_that_it_has_has_no_difference() -> None:
    host = desired("crypto", version="5:7.0.15-1~deb12u10")
    assert compare(host, as_desired(host)) == []


def test_values_that_only_look_different_are_no_difference(host: Host, right: Observed) -> None:
    observed = with_setting(right, "crypto", "maxmemory", "256mb")
    assert compare(host, with_setting(observed, "crypto", "appendonly", "YES")) == []


# Packages


def test_a_missing_package_is_to_be_installed(host: Host, right: Observed) -> None:
    packages = {name: version for name, version in right.packages.items() if name != "redis-tools"}
    found = only(compare(host, replace(right, packages=packages)))
    assert found == (None, "package", "redis-tools", "installed", "not installed", "install")


def test_another_version_than_the_pinned_one_is_a_difference() -> None:
    host = desired("gateway", version="5:7.0.15-1~deb12u10")
    right = as_desired(host)
    observed = replace(right, packages={**right.packages, "redis-server": "5:7.0.15-1~deb12u7"})
    found = only(compare(host, observed))
    assert found == (None, "package", "redis-server", "5:7.0.15-1~deb12u10", "5:7.0.15-1~deb12u7", "install")


def test_without_a_pin_every_installed_version_is_right(host: Host, right: Observed) -> None:
    assert compare(host, replace(right, packages=dict.fromkeys(right.packages, "5:7.4.0-1"))) == []


# Files


def test_a_missing_file_is_to_be_written(host: Host, right: Observed) -> None:
    found = only(compare(host, without_file(right, CONF)))
    assert found == ("crypto", "file", CONF, "file root:redis-crypto 0640", "absent", "write")


def test_another_line_in_a_file_is_shown(host: Host, right: Observed) -> None:
    changed = right.files[CONF].content.replace("maxmemory 268435456", "maxmemory 1048576")
    found = only(compare(host, with_file(right, CONF, content=changed)))
    shown = "has 'maxmemory 1048576', lacks 'maxmemory 268435456'"
    assert found == ("crypto", "file", CONF, "content as rendered", shown, "write")


def test_of_many_other_lines_four_are_shown_and_the_rest_counted(host: Host, right: Observed) -> None:
    added = "".join(f"hz {number}\n" for number in range(7))
    content = right.files[CONF].content + added
    (found,) = compare(host, with_file(right, CONF, content=content))
    assert found.observed == "has 'hz 0', has 'hz 1', has 'hz 2', has 'hz 3' and 3 more lines"


def test_lines_in_another_order_are_a_difference(host: Host, right: Observed) -> None:
    content = "\n".join(reversed(right.files[CONF].content.splitlines())) + "\n"
    (found,) = compare(host, with_file(right, CONF, content=content))
    assert found.observed == "other order or blank lines"


def test_of_a_secret_file_only_is_said_that_it_differs(host: Host, right: Observed) -> None:
    content = right.files[ACL].content + f"user intruder on #{sha256('x')} ~* +@all\n"
    (found,) = compare(host, with_file(right, ACL, content=content))
    assert (found.name, found.observed) == (ACL, "other content")


@pytest.mark.parametrize(
    ("changes", "observed"),
    [
        ({"owner": "redis-crypto"}, "file redis-crypto:redis-crypto 0640"),
        ({"group": "root"}, "file root:root 0640"),
        ({"mode": "0644"}, "file root:redis-crypto 0644"),
        ({"kind": "link", "content": "/etc/passwd"}, "link root:redis-crypto 0640"),
    ],
)
def test_another_owner_group_mode_or_kind_of_a_file_is_a_difference(
    host: Host, right: Observed, changes: dict[str, str], observed: str
) -> None:
    found = only(compare(host, with_file(right, CONF, **changes)))
    assert found == ("crypto", "file", CONF, "file root:redis-crypto 0640", observed, "write")


def test_another_mode_of_a_directory_is_a_difference(host: Host, right: Observed) -> None:
    found = only(compare(host, with_file(right, "/var/lib/redis/crypto", mode="0755")))
    expected = "directory redis-crypto:redis-crypto 0750"
    assert found == (
        "crypto",
        "file",
        "/var/lib/redis/crypto",
        expected,
        "directory redis-crypto:redis-crypto 0755",
        "write",
    )


def test_a_file_that_no_role_needs_any_more_is_to_be_removed() -> None:
    host = desired("gateway")  # its assigned port is the inner one: nothing to lead
    right = as_desired(host)
    leftover = as_desired(desired("crypto")).files["/etc/redis/inner-port.nft"]
    observed = replace(right, files={**right.files, "/etc/redis/inner-port.nft": leftover})
    found = only(compare(host, observed))
    assert found == (None, "file", "/etc/redis/inner-port.nft", "absent", "present", "remove")


def test_a_directory_mode_that_an_upgrade_would_reset_is_a_difference(host: Host, right: Observed) -> None:
    expected = "dpkg-statoverride root root 711"
    for path in host.statoverrides:
        left = {name: rule for name, rule in host.statoverrides.items() if name != path}
        found = only(compare(host, replace(right, statoverrides=left)))
        assert found == (None, "file", path, expected, "none", "write")
    assert [*host.statoverrides] == ["/etc/redis", "/var/lib/redis"]


# Units


def test_a_stopped_instance_is_to_be_started_and_none_of_its_consequences_is_listed(
    host: Host, right: Observed
) -> None:
    found = only(compare(host, stopped(right, "crypto")))
    assert found == ("crypto", "unit", UNIT, "active", "inactive", "start")


def test_an_instance_that_keeps_failing_says_how_often(host: Host, right: Observed) -> None:
    failing = with_unit(stopped(right, "crypto"), UNIT, ActiveState="activating", NRestarts="7", Result="exit-code")
    (found,) = compare(host, failing)
    assert (found.observed, str(found.remedy)) == ("activating (exit-code, 7 restarts)", "start")


def test_an_instance_that_would_not_start_at_boot_is_to_be_enabled(host: Host, right: Observed) -> None:
    found = only(compare(host, with_unit(right, UNIT, UnitFileState="disabled")))
    assert found == ("crypto", "unit", UNIT, "enabled", "disabled", "enable")


def test_a_unit_that_systemd_has_not_read_again_is_to_be_reloaded(host: Host, right: Observed) -> None:
    found = only(compare(host, with_unit(right, UNIT, NeedDaemonReload="yes")))
    assert found == ("crypto", "unit", UNIT, "loaded as on disk", "changed on disk", "reload systemd")


def test_somebody_s_drop_in_is_named_and_left_to_a_person(host: Host, right: Observed) -> None:
    path = "/etc/systemd/system/redis-crypto.service.d/limits.conf"
    (found,) = compare(host, with_unit(right, UNIT, DropInPaths=f"/etc/systemd/system/service.d/all.conf {path}"))
    assert (found.role, found.expected, found.observed) == ("crypto", "no drop-in", path)
    assert str(found.remedy).startswith("by hand: remove it")


def test_drop_ins_for_every_service_are_the_host_s_business(host: Host, right: Observed) -> None:
    path = "/usr/lib/systemd/system/service.d/10-timeout-abort.conf"
    assert compare(host, with_unit(right, UNIT, DropInPaths=path)) == []


@pytest.mark.parametrize("state", [{"LoadState": "loaded", "UnitFileState": "enabled"}, {"LoadState": "not-found"}])
def test_the_packaged_service_is_to_be_masked(host: Host, right: Observed, state: dict[str, str]) -> None:
    unit = {"UnitFileState": "", **state}
    found = only(compare(host, with_unit(right, "redis-server.service", **unit)))
    observed = state.get("UnitFileState", "not-found")
    assert found == (None, "unit", "redis-server.service", "masked", observed, "mask")


def test_a_masked_packaged_service_that_still_runs_is_to_be_stopped(host: Host, right: Observed) -> None:
    found = only(compare(host, with_unit(right, "redis-server.service", ActiveState="active")))
    assert found == (None, "unit", "redis-server.service", "inactive", "active", "mask")


def test_the_running_packaged_service_is_one_difference_not_two(host: Host, right: Observed) -> None:
    running = with_unit(
        right,
        "redis-server.service",
        LoadState="loaded",
        UnitFileState="enabled",
        ActiveState="active",
        MainPID="600",
    )
    found = compare(host, with_listener(running, "127.0.0.1", 6379, "redis-server", 600))
    assert [str(item.remedy) for item in found] == ["mask"]


def test_the_inner_port_s_unit_is_to_go_where_no_role_needs_it() -> None:
    host = desired("gateway")
    left = with_unit(
        as_desired(host),
        "redis-inner-port.service",
        LoadState="loaded",
        UnitFileState="enabled",
        ActiveState="active",
    )
    found = only(compare(host, left))
    assert found == (None, "unit", "redis-inner-port.service", "absent", "active", "stop and disable")


# Kernel


def test_another_kernel_value_is_set_live(host: Host, right: Observed) -> None:
    sysctls = {**right.sysctls, "vm.overcommit_memory": "0"}
    found = only(compare(host, replace(right, sysctls=sysctls)))
    assert found == (None, "kernel", "vm.overcommit_memory", "1", "0", "set live")


def test_huge_pages_that_are_on_are_switched_off(host: Host, right: Observed) -> None:
    found = only(compare(host, replace(right, thp="[always] madvise never")))
    assert found == (None, "kernel", "transparent_hugepage", "never", "[always] madvise never", "set live")


def test_a_kernel_value_that_does_not_exist_is_said_so(host: Host, right: Observed) -> None:
    (found,) = compare(host, replace(right, sysctls={"vm.overcommit_memory": "1"}))
    assert (found.name, found.observed) == ("net.core.somaxconn", "not known to this kernel")


def in_container(observed: Observed) -> Observed:
    """The same in a container whose kernel says something else."""
    bare = without_file(without_file(observed, "/etc/sysctl.d/60-redis.conf"), "/etc/tmpfiles.d/60-redis-thp.conf")
    sysctls = {**observed.sysctls, "vm.overcommit_memory": "0"}
    return replace(bare, container="lxc", sysctls=sysctls, thp="[always] madvise never")


def test_kernel_values_in_a_container_are_no_difference(host: Host, right: Observed) -> None:
    assert compare(host, in_container(right)) == []


def test_kernel_values_in_a_container_are_notices(host: Host, right: Observed) -> None:
    assert kernel_notices(host, in_container(right)) == [
        "vm.overcommit_memory is 0, wanted 1: the kernel belongs to the lxc host, set it there",
        "transparent huge pages are [always] madvise never, wanted never: "
        "the kernel belongs to the lxc host, set it there",
    ]


def test_a_container_whose_kernel_is_right_gives_no_notice(host: Host, right: Observed) -> None:
    assert kernel_notices(host, replace(right, container="lxc")) == []


def test_a_machine_with_its_own_kernel_gives_no_notice(host: Host, right: Observed) -> None:
    assert kernel_notices(host, replace(right, thp="[always] madvise never")) == []


# Addresses and listeners


def test_a_missing_address_is_left_to_a_person(host: Host, right: Observed) -> None:
    (found,) = compare(host, replace(right, addresses=frozenset({"127.0.0.1"})))
    assert (found.role, found.subject, found.name) == ("crypto", "address", "172.28.2.5")
    assert (found.expected, found.observed) == ("on this host", "absent")
    assert str(found.remedy).startswith("by hand: give the host this address")


def test_an_instance_that_does_not_listen_where_it_should_is_restarted(host: Host, right: Observed) -> None:
    listeners = tuple(item for item in right.listeners if item.port != 6383)
    found = only(compare(host, replace(right, listeners=listeners)))
    assert found == ("crypto", "listener", "172.28.2.5:6383", "listens", "does not listen", "restart")


def test_an_instance_that_listens_somewhere_else_as_well_is_restarted(host: Host, right: Observed) -> None:
    pid = right.pid(UNIT)
    found = only(compare(host, with_listener(right, "127.0.0.1", 6383, "redis-server", pid)))
    assert found == ("crypto", "listener", "127.0.0.1:6383", "not listened on", "listens", "restart")


def test_an_instance_bound_elsewhere_is_one_difference_in_its_setting(host: Host, right: Observed) -> None:
    pid = right.pid(UNIT)
    elsewhere = with_listener(right, "127.0.0.1", 6383, "redis-server", pid)
    elsewhere = replace(elsewhere, listeners=tuple(i for i in elsewhere.listeners if i.address != "172.28.2.5"))
    found = only(compare(host, with_setting(elsewhere, "crypto", "bind", "127.0.0.1")))
    assert found == ("crypto", "setting", "bind", "172.28.2.5", "127.0.0.1", "set live")


@pytest.mark.parametrize("process", ["redis-server", "redis-sentinel"])
def test_a_redis_that_belongs_to_no_role_is_named(host: Host, right: Observed, process: str) -> None:
    (found,) = compare(host, with_listener(right, "172.28.2.5", 7000, process, 999))
    assert (found.role, found.subject, found.name) == (None, "listener", "172.28.2.5:7000")
    assert found.observed == f"{process}, pid 999"
    assert str(found.remedy).startswith("by hand: stop that process")


def test_other_processes_may_listen(host: Host, right: Observed) -> None:
    assert compare(host, with_listener(right, "0.0.0.0", 9100, "node_exporter")) == []


@pytest.mark.parametrize(
    ("forwards", "observed"),
    [
        (set(), "not led anywhere"),
        ({("output", "172.28.2.5", 6379, "172.28.2.5:6383")}, "output to 172.28.2.5:6383"),
        (
            {(chain, "172.28.2.5", 6379, "172.28.2.5:6380") for chain in ("output", "prerouting")},
            "output to 172.28.2.5:6380, prerouting to 172.28.2.5:6380",
        ),
    ],
)
def test_an_inner_port_that_leads_nowhere_or_elsewhere_is_a_difference(
    host: Host, right: Observed, forwards: set[tuple[str, str, int, str]], observed: str
) -> None:
    found = only(compare(host, replace(right, forwards=frozenset(forwards))))
    expected = "led to 172.28.2.5:6383"
    remedy = "load the inner port's rules"
    assert found == ("crypto", "listener", "172.28.2.5:6379", expected, observed, remedy)


INNER_UNIT = "redis-inner-port.service"
TABLE = "table ip redis_inner_port"


def test_rules_that_nobody_owns_get_an_owner(host: Host, right: Observed) -> None:
    found = only(compare(host, replace(right, forwards_owner="")))
    assert found[:3] == (None, "listener", TABLE)
    assert found[3:] == (
        f"owned by {INNER_UNIT}",
        "owned by nobody, so that a flush takes it",
        "load the inner port's rules",
    )


def test_rules_of_somebody_else_s_process_are_left_to_a_person_and_the_unit_is_started(
    host: Host, right: Observed
) -> None:
    """The kernel lets one process own a table: while that one has it, the unit's own is refused, and tries again."""
    state = {"ActiveState": "activating", "SubState": "auto-restart", "MainPID": "0", "NRestarts": "7"}
    found = compare(host, with_unit(replace(right, forwards_owner="nft"), INNER_UNIT, **state))
    assert [(item.name, item.observed.split(" (")[0], str(item.remedy)[:7]) for item in found] == [
        (TABLE, "owned by a process nft of somebody else's", "by hand"),
        (INNER_UNIT, "activating", "start"),
    ]


def test_an_inner_port_whose_process_is_gone_is_started_and_its_rules_are_missed(host: Host, right: Observed) -> None:
    gone = replace(with_unit(right, INNER_UNIT, ActiveState="failed", MainPID="0"), forwards=frozenset())
    found = compare(host, replace(gone, forwards_owner=""))
    assert [(item.name, str(item.remedy)) for item in found] == [
        (INNER_UNIT, "start"),
        ("172.28.2.5:6379", "load the inner port's rules"),
    ]


@pytest.mark.parametrize("digest", ["", "0123456789abcdef"])
def test_an_inner_port_started_from_another_unit_is_started_from_the_new_one(
    host: Host, right: Observed, digest: str
) -> None:
    found = only(compare(host, replace(right, started={**right.started, INNER_UNIT: digest})))
    assert found[2:5] == (INNER_UNIT, "started from the unit as it is", "started before it changed")


def test_a_unit_of_before_that_had_no_process_is_one_difference(host: Host, right: Observed) -> None:
    state = {"ActiveState": "active", "SubState": "exited", "MainPID": "0"}
    before = replace(with_unit(right, INNER_UNIT, **state), forwards_owner="", started={UNIT: right.started[UNIT]})
    assert only(compare(host, before))[2] == INNER_UNIT


def test_a_foreign_rule_in_our_table_is_a_difference(host: Host, right: Observed) -> None:
    rule = ("prerouting", "tcp dport 80 accept", 0, "")
    found = only(compare(host, replace(right, forwards=right.forwards | {rule})))
    assert found[:4] == (None, "listener", "tcp dport 80 accept", "not led anywhere")


# Settings


def test_a_setting_changed_in_the_running_server_is_set_live(host: Host, right: Observed) -> None:
    found = only(compare(host, with_setting(right, "crypto", "maxmemory", "536870912")))
    assert found == ("crypto", "setting", "maxmemory", "256mb", "512mb", "set live")


@pytest.mark.parametrize("directive", ["maxmemory-policy", "appendfsync", "save", "timeout", "protected-mode"])
def test_what_redis_changes_live_is_changed_live(host: Host, right: Observed, directive: str) -> None:
    found = only(compare(host, with_setting(right, "crypto", directive, "other")))
    assert (found[1:3], found[5]) == (("setting", directive), "set live")


@pytest.mark.parametrize("directive", ["tcp-backlog", "databases", "io-threads", "disable-thp", "dir", "aclfile"])
def test_what_redis_does_not_change_live_needs_a_restart(host: Host, right: Observed, directive: str) -> None:
    found = only(compare(host, with_setting(right, "crypto", directive, "other")))
    assert (found[1:3], found[5]) == (("setting", directive), "restart")


def test_an_emptied_setting_is_shown_as_empty(host: Host, right: Observed) -> None:
    (found,) = compare(host, with_setting(right, "crypto", "save", ""))
    assert (found.expected, found.observed) == ("3600 1 300 100 60 10000", '""')


def test_a_setting_this_version_does_not_know_is_left_to_a_person(host: Host, right: Observed) -> None:
    config = {name: value for name, value in right.servers["crypto"].config.items() if name != "latency-tracking"}
    (found,) = compare(host, with_server(right, "crypto", config=config))
    assert (found.name, found.observed) == ("latency-tracking", "unknown to this version")
    assert str(found.remedy) == "by hand: remove latency_tracking from group_data/roles.yaml"


def test_every_setting_of_the_file_is_compared_with_the_running_server(host: Host, right: Observed) -> None:
    config = dict.fromkeys(host.instances[0].settings, "something else entirely")
    found = compare(host, with_server(right, "crypto", config=config))
    assert {item.name for item in found if item.subject == "setting"} == set(host.instances[0].settings)


# Users


def test_a_user_that_is_missing_is_made_live(host: Host, right: Observed) -> None:
    users = {name: user for name, user in right.servers["crypto"].users.items() if name != "crypto-service"}
    found = only(compare(host, with_server(right, "crypto", users=users)))
    expected = f"on, ~* &* {MAY}"
    assert found == ("crypto", "acl", "crypto-service", expected, "no such user", "set live")


def test_a_user_nobody_asked_for_is_deleted_live(host: Host, right: Observed) -> None:
    found = only(compare(host, with_user(right, "crypto", "intruder", flags=["on", "nopass"])))
    assert found == ("crypto", "acl", "intruder", "no such user", "a user", "set live")


def test_a_default_user_that_may_log_in_is_a_difference(host: Host, right: Observed) -> None:
    found = only(compare(host, with_user(right, "crypto", "default", flags=["on", "nopass"])))
    assert found == ("crypto", "acl", "default", "off, ~* &* +@all", "on, needs no password", str(Remedy.REPLAY))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"commands": "-@all", "keys": "", "channels": ""}, "may -@all"),
        ({"commands": "+@all -eval"}, "may ~* &* +@all -eval"),
        ({"keys": "~app:*"}, "may ~app:* &* +@all"),
        ({"channels": ""}, "may ~*  +@all"),
        ({"passwords": ["0" * 64]}, "has a password"),
        ({"selectors": [[]]}, "has 1 selectors"),
        ({"flags": ["off", "nopass"]}, "needs no password"),
    ],
)
def test_a_default_user_that_may_not_replay_every_write_is_a_difference(
    host: Host, right: Observed, changes: dict[str, object], found: str
) -> None:
    wanted = ("crypto", "acl", "default", "off, ~* &* +@all", found, str(Remedy.REPLAY))
    assert only(compare(host, with_user(right, "crypto", "default", **changes))) == wanted


def test_an_acl_file_that_could_not_replay_the_log_is_a_difference_of_its_own(host: Host, right: Observed) -> None:
    others = right.replayable - {"/etc/redis/crypto.acl"}
    role, subject, name, _, found, remedy = only(compare(host, replace(right, replayable=others)))
    assert (role, subject, name, remedy) == ("crypto", "acl", "default in /etc/redis/crypto.acl", str(Remedy.REPLAY))
    assert "would drop" in found


@pytest.mark.parametrize(
    ("changes", "observed"),
    [
        ({"flags": ["off"]}, "off"),
        ({"flags": ["on", "nopass"], "passwords": []}, "needs no password, has another password"),
        ({"passwords": [sha256("stolen")]}, "has another password"),
        ({"passwords": []}, "has another password"),
        ({"commands": "+@all"}, "may ~* &* +@all"),
        ({"commands": "+@all -@admin -@dangerous"}, "may ~* &* +@all -@admin -@dangerous"),
        ({"keys": "~app:*"}, f"may ~app:* &* {MAY}"),
        ({"channels": ""}, f"may ~*  {MAY}"),
        ({"selectors": [["commands", "+@all"]]}, "has 1 selectors"),
    ],
)
def test_a_user_who_may_something_else_is_a_difference(
    host: Host, right: Observed, changes: dict[str, object], observed: str
) -> None:
    found = only(compare(host, with_user(right, "crypto", "crypto-service", **changes)))
    assert (found[:3], found[4:]) == (("crypto", "acl", "crypto-service"), (observed, "set live"))


def test_a_second_password_beside_the_right_one_is_a_difference(host: Host, right: Observed) -> None:
    known = right.servers["crypto"].users["crypto-service"]["passwords"]
    assert isinstance(known, list)
    found = only(compare(host, with_user(right, "crypto", "crypto-service", passwords=[*known, sha256("other")])))
    assert found[4] == "has other passwords, too"


def test_the_same_rules_in_a_server_s_own_words_are_no_difference(host: Host, right: Observed) -> None:
    # redis 7.0.15 answers with the commands one by one, in an order of its own.
    dangerous = right.servers["crypto"].categories["dangerous"] - {"info"}
    spelled = "+@all -@admin " + " ".join(f"-{name}" for name in sorted(dangerous, reverse=True))
    spelled += " -@scripting +evalsha +fcall +eval_ro +evalsha_ro +eval +script|load +script|exists +fcall_ro"
    assert compare(host, with_user(right, "crypto", "crypto-service", commands=spelled)) == []


# Instances


def test_an_instance_that_still_runs_a_removed_binary_is_restarted(host: Host, right: Observed) -> None:
    process = "/usr/bin/redis-check-rdb (deleted)"
    found = only(compare(host, replace(right, binaries={right.pid(UNIT): process})))
    observed = "/usr/bin/redis-check-rdb (deleted)"
    assert found == ("crypto", "instance", "binary", "the installed redis-server", observed, "restart")


@pytest.mark.parametrize("started", [{}, {UNIT: "0123456789abcdef"}])
def test_an_instance_started_before_its_unit_changed_is_restarted(
    host: Host, right: Observed, started: dict[str, str]
) -> None:
    found = only(compare(host, replace(right, started={**right.started, UNIT: ""} | started)))
    expected = "started from the unit as it is"
    assert found == ("crypto", "instance", "unit", expected, "started before it changed", "restart")


@pytest.mark.parametrize("field", ["aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"])
def test_a_failed_write_of_the_log_is_left_to_a_person(host: Host, right: Observed, field: str) -> None:
    info = {**right.servers["crypto"].info, field: "err"}
    (found,) = compare(host, with_server(right, "crypto", info=info))
    assert (found.role, found.subject, found.name) == ("crypto", "persistence", field)
    assert (found.expected, found.observed) == ("ok", "err")
    assert str(found.remedy).startswith("by hand: free disk space")


def foreign_file(observed: Observed, kind: str) -> Observed:
    """`observed` with a file of somebody else that undoes at boot what this tool sets."""
    if kind == "sysctl":
        return replace(observed, boot_sysctls={"vm.overcommit_memory": ("0", "/etc/sysctl.d/99-other.conf")})
    return replace(observed, boot_thp={**observed.boot_thp, "/etc/tmpfiles.d/thp.conf": "always"})


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("sysctl", "vm.overcommit_memory", "/etc/sysctl.d/99-other.conf"),
        ("tmpfiles", "transparent_hugepage", "/etc/tmpfiles.d/thp.conf"),
    ],
)
def test_a_file_that_would_undo_the_kernel_values_at_boot_is_named(
    host: Host, right: Observed, kind: str, name: str, path: str
) -> None:
    (found,) = compare(host, foreign_file(right, kind))
    assert (found.role, found.subject, found.name) == (None, "kernel", name)
    assert path in found.observed
    assert str(found.remedy) == f"by hand: remove the line from {path}"


def test_a_unit_of_a_role_that_the_host_no_longer_carries_is_retired_and_its_data_kept() -> None:
    host = desired("gateway")
    both = as_desired(desired("gateway", "socket"))
    right = as_desired(host)
    units = {**right.units, "redis-socket.service": both.units["redis-socket.service"]}
    listeners = tuple(item for item in both.listeners if item.port != 6379)
    observed = replace(right, units=units, our_units=("redis-gateway.service", "redis-socket.service"))
    observed = replace(observed, listeners=(*right.listeners, *(item for item in listeners if item.port == 6380)))
    found = only(compare(host, observed))
    assert found[:4] == ("socket", "unit", "redis-socket.service", "absent")
    assert found[4:] == ("active, with data in /var/lib/redis/socket", "stop and remove, its data is kept")


def test_a_directive_that_no_role_sets_is_compared_with_its_version_s_default(host: Host, right: Observed) -> None:
    found = only(compare(host, with_setting(right, "crypto", "acllog-max-len", "7")))
    assert found == ("crypto", "setting", "acllog-max-len", "128", "7", "set live")


def test_of_a_password_directive_only_is_said_that_it_is_set(host: Host, right: Observed) -> None:
    found = only(compare(host, with_setting(right, "crypto", "requirepass", "in-clear")))
    assert found == ("crypto", "setting", "requirepass", "not set", "set", "set live")


# The list as a whole


def test_the_differences_of_a_bare_host_are_those_of_its_files_units_packages_and_kernel(host: Host) -> None:
    found = compare(host, fresh(host))
    assert {item.subject for item in found} == {"file", "unit", "package", "kernel"}
    assert {str(item.remedy) for item in found} == {
        "write",
        "install",
        "mask",
        "enable",
        "start",
        "set live",
    }


def everything_wrong(host: Host) -> Observed:
    """A host on which something of every kind is broken, with other passwords in the servers."""
    right = as_desired(host)
    for role in [instance.name for instance in host.instances]:
        for user in right.servers[role].users:
            right = with_user(right, role, user, passwords=[sha256("other")], flags=["on"], commands="+@all")
        right = with_file(right, f"/etc/redis/{role}.acl", content=f"user x on #{sha256('other')} +@all\n")
        right = with_file(right, f"/etc/redis/{role}.conf", content="hz 1\n")
        right = with_setting(right, role, "requirepass", "in-clear")
    return replace(right, packages={}, addresses=frozenset(), forwards=frozenset(), statoverrides={}, started={})


def test_no_password_and_no_hash_appears_in_any_difference() -> None:
    host = desired(*EVERY)
    hidden = [*secrets_of(*host.roles), sha256("other"), "in-clear"]
    text = "\n".join(f"{item} {item!r}" for item in compare(host, everything_wrong(host)))
    assert len(text.splitlines()) > 40
    assert [secret for secret in hidden if secret in text] == []


@pytest.mark.parametrize("line", ["requirepass {}", "masterauth {}", "user x on >{}", "tls-key-file-pass {}"])
def test_a_password_somebody_wrote_into_a_file_is_not_shown(host: Host, right: Observed, line: str) -> None:
    content = right.files[CONF].content + line.format("hunter2") + "\n"
    (found,) = compare(host, with_file(right, CONF, content=content))
    assert "hunter2" not in str(found)


def test_the_list_is_sorted_by_role_and_subject_whatever_the_order_of_roles() -> None:
    host, other = desired(*EVERY), desired(*reversed(EVERY))
    keys = [(item.role or "", item.subject, item.name) for item in compare(host, fresh(host))]
    assert keys == sorted(keys)
    assert keys == [(item.role or "", item.subject, item.name) for item in compare(other, fresh(other))]


def test_a_broken_role_is_the_only_one_listed() -> None:
    host = desired(*FIVE)
    found = only(compare(host, with_setting(as_desired(host), "shared", "maxmemory", "1048576")))
    assert found == ("shared", "setting", "maxmemory", "512mb", "1mb", "set live")


def test_a_difference_reads_as_one_line_for_people() -> None:
    item = differs("crypto", "file", "/etc/redis", "directory", "absent", "write")
    assert str(item) == "crypto: file /etc/redis: absent → directory (write)"
    assert str(replace(item, role=None)) == "file /etc/redis: absent → directory (write)"


def test_a_setting_says_first_whether_it_changes_live_or_by_a_restart() -> None:
    item = differs("crypto", "setting", "maxmemory", "256mb", "512mb", "set live")
    assert str(item) == "crypto: live: maxmemory 512mb → 256mb"
    assert str(replace(item, name="databases", remedy=Remedy.RESTART)) == "crypto: restart: databases 512mb → 256mb"


def test_differences_are_chosen_by_subject_and_remedy(host: Host) -> None:
    found = compare(host, fresh(host))
    assert {item.subject for item in chosen(found, "unit", "kernel")} == {"unit", "kernel"}
    assert {str(item.remedy) for item in chosen(found, "unit", remedy=Remedy.START)} == {"start"}


def test_more_clients_restart_only_where_the_unit_has_to_grant_more_descriptors() -> None:
    many = desired("crypto", crypto={"maxclients": 70000, "maxmemory": "16gb"})
    few = desired("crypto", crypto={"maxclients": 20000, "maxmemory": "16gb"})
    for host, remedy in ((many, "restart"), (few, "set live")):
        seen = with_setting(as_desired(host), "crypto", "maxclients", "10000")
        seen = replace(seen, started={"redis-crypto.service": desired("crypto").instances[0].unit_digest})
        (found,) = [item for item in compare(host, seen) if item.name == "maxclients"]
        assert str(found.remedy) == remedy


def test_a_manifest_that_is_gone_is_told_before_a_restart_begins_empty(host: Host, right: Observed) -> None:
    files = {path: size for path, size in right.data_files.items() if not path.endswith("crypto/" + MANIFEST)}
    (found,) = compare(host, replace(right, data_files=files))
    assert (found.role, found.subject, found.name) == ("crypto", "persistence", MANIFEST)
    assert str(found.remedy) == "write the append-only log anew"


def test_a_process_that_began_from_an_edited_unit_restarts(host: Host, right: Observed) -> None:
    edited = with_file(right, "/etc/systemd/system/redis-crypto.service", content="[Service]\n", modified=100)
    began_after = with_unit(edited, "redis-crypto.service", ExecMainStartTimestamp="@200")
    assert ("crypto", "instance", "unit", "restart") in summary(compare(host, began_after))
    began_before = with_unit(edited, "redis-crypto.service", ExecMainStartTimestamp="@50")
    assert ("crypto", "instance", "unit", "restart") not in summary(compare(host, began_before))


def test_a_drop_in_for_every_redis_unit_is_told_and_one_for_every_service_is_not(host: Host, right: Observed) -> None:
    own = with_unit(right, "redis-crypto.service", DropInPaths="/etc/systemd/system/redis-.service.d/nice.conf")
    assert [item.observed for item in compare(host, own)] == ["/etc/systemd/system/redis-.service.d/nice.conf"]
    all_services = with_unit(right, "redis-crypto.service", DropInPaths="/etc/systemd/system/service.d/x.conf")
    assert compare(host, all_services) == []


def test_a_rule_of_another_table_that_takes_a_roles_port_is_told(host: Host, right: Observed) -> None:
    rule = "ip daddr 172.28.2.5 tcp dport 6379 dnat to 172.28.2.1:6379"
    led = takings({"elsewhere": ["chain pre {", "type nat hook prerouting priority dstnat; policy accept;", rule]})
    (found,) = compare(host, replace(right, takings=tuple(led)))
    assert (found.role, found.subject, found.name) == ("crypto", "listener", "172.28.2.5:6379")
    assert str(found.remedy).startswith("by hand: ")


def summary(found: list[Difference]) -> list[tuple[str | None, str, str, str]]:
    return [(item.role, item.subject, item.name, str(item.remedy)) for item in found]


MANIFEST = "appendonlydir/appendonly.aof.manifest"


# --- What takes descriptors or packages away

SERVICE_D = "/etc/systemd/system/service.d/limits.conf"


def test_a_drop_in_for_every_service_that_lowers_the_open_files_is_named() -> None:
    host = desired("crypto")
    seen = with_unit(as_desired(host), "redis-crypto.service", LimitNOFILE="1024", DropInPaths=SERVICE_D)
    (found,) = compare(host, seen)
    assert (found.role, found.subject, found.expected) == ("crypto", "unit", "LimitNOFILE=65535")
    assert found.observed == f"LimitNOFILE=1024, by {SERVICE_D}"
    assert str(found.remedy) == "by hand: let that drop-in leave LimitNOFILE out, or raise it there"


@pytest.mark.parametrize("limit", ["65535", "1048576", "infinity"])
def test_a_drop_in_for_every_service_that_lowers_nothing_is_the_host_s_business(limit: str) -> None:
    host = desired("crypto")
    assert (
        compare(host, with_unit(as_desired(host), "redis-crypto.service", LimitNOFILE=limit, DropInPaths=SERVICE_D))
        == []
    )


@pytest.mark.parametrize(
    ("granted", "most", "remedy"),
    [
        ("65535", 1048576, "restart"),
        ("infinity", 1048576, "restart"),
        ("1024", 1048576, "by hand: mend the drop-in that lowers LimitNOFILE"),
        ("65535", 1024, "by hand: let the host grant more than the 1024 of its first process"),
    ],
)
def test_a_process_with_too_few_open_files_restarts_only_where_that_cures_it(
    granted: str, most: int, remedy: str
) -> None:
    host = desired("crypto")
    seen = with_setting(as_desired(host), "crypto", "maxclients", "992")
    seen = replace(seen, descriptors={1: most, seen.pid("redis-crypto.service"): 1024})
    (found,) = compare(host, with_unit(seen, "redis-crypto.service", LimitNOFILE=granted))
    assert (found.subject, found.name, found.expected, found.observed) == (
        *("instance", "open files", "1453 or more", "1024"),
    )
    assert str(found.remedy).startswith(remedy)


def test_a_process_that_may_open_as_many_files_as_its_clients_need_is_right_whatever_the_unit_grants() -> None:
    host = desired("crypto")
    seen = as_desired(host)
    assert compare(host, replace(seen, descriptors={seen.pid("redis-crypto.service"): 1453})) == []


def test_packages_that_an_autoremove_may_take_along_are_kept() -> None:
    host = desired("crypto")
    (found,) = compare(host, replace(as_desired(host), automatic=frozenset({"redis-tools", "libc6"})))
    assert (found.subject, found.name, found.remedy) == ("package", "redis-tools", Remedy.KEEP)
    assert "/var/lib/redis" in found.observed


# --- Restarts that would be refused


NOT_NOW = {
    "aof_last_write_status": "not restarted: aof_last_write_status is err, expected ok: free disk space",
    "aof_last_bgrewrite_status": "not restarted: aof_last_bgrewrite_status is err, expected ok: free disk space",
}


@pytest.mark.parametrize("status", NOT_NOW)
def test_a_restart_that_its_gate_would_refuse_is_not_promised(status: str) -> None:
    host = desired("crypto", crypto={"databases": 32})
    right = as_desired(desired("crypto"))
    sick = with_server(right, "crypto", info={**right.servers["crypto"].info, status: "err"})
    (promised,) = [item for item in compare(host, right) if item.name == "databases"]
    (refused,) = [item for item in compare(host, sick) if item.name == "databases"]
    assert promised.remedy == Remedy.RESTART
    assert str(refused.remedy).startswith(f"by hand: {NOT_NOW[status]}")
    # Nor is anything else of it done: its files would speak of what it is not.
    assert [refused.to_do in text for text in unfit(host, sick, compare(host, sick))] == [True]


@pytest.mark.parametrize(("keys", "promised"), [("keys=3,expires=0", False), ("keys=0,expires=0", True)])
def test_a_restart_that_would_lose_keys_which_are_nowhere_on_disk_is_not_promised(keys: str, promised: bool) -> None:
    nowhere = {"appendonly": False, "save": ""}
    right = as_desired(desired("crypto", crypto=nowhere))
    seen = with_server(right, "crypto", info={**right.servers["crypto"].info, "db0": keys})
    wanted = desired("crypto", crypto={**nowhere, "databases": 32})
    (item,) = [item for item in compare(wanted, seen) if item.name == "databases"]
    assert (item.remedy == Remedy.RESTART) == promised
    assert ("it keeps nothing on disk, a restart would lose its keys (3)" in str(item.remedy)) == (not promised)


# Users


def test_a_user_that_somebody_deleted_is_made_again(host: Host, right: Observed) -> None:
    found = only(compare(host, replace(right, accounts=frozenset())))
    unit = "redis-crypto.service"
    assert found == ("crypto", "unit", unit, "its user and group redis-crypto", "absent", "make the user")


def test_of_a_user_that_nothing_makes_yet_only_what_makes_it_is_listed(host: Host, right: Observed) -> None:
    path = "/etc/sysusers.d/redis-crypto.conf"
    found = only(compare(host, replace(without_file(right, path), accounts=frozenset())))
    assert found == ("crypto", "file", path, "file root:root 0644", "absent", "write")

"""A snapshot's text becomes an observed state (tasks/observed.py), or is refused as unreadable."""

from dataclasses import replace
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from tasks.acl import allowed
from tasks.exchange import Reply, ReplyError
from tasks.observe import HostSnapshot, endpoint, read_server
from tasks.observed import FileState, Listener, Observed, Process
from tasks.snapshot import parse_snapshot
from tests.unit.builders import CATEGORIES, FIVE, as_desired, desired, fresh, with_file, with_listener, with_unit
from tests.unit.snapshot import snapshot_text

# Printed on a Debian 12 container that carries crypto, by the script of tasks/observe.py; ACL hashes replaced.
RECORDED = (Path(__file__).parent / "snapshot-bookworm.txt").read_text()


@pytest.fixture(scope="module")
def recorded() -> Observed:
    """The state of the recorded host."""
    return parse_snapshot(RECORDED.splitlines())


def with_lines(part: str, *lines: str) -> Observed:
    """The state of the recorded host, had one part of its snapshot had more lines."""
    return parse_snapshot(RECORDED.replace(f"@@ {part}\n", "\n".join((f"@@ {part}", *lines, ""))).splitlines())


def test_the_system_of_a_real_host_is_read(recorded: Observed) -> None:
    assert (recorded.os["ID"], recorded.os["VERSION_ID"]) == ("debian", "12")
    assert (recorded.systemd, recorded.container, recorded.uid) == (True, "systemd-nspawn", 0)
    assert recorded.memory == 24684084 * 1024


def test_the_packages_of_a_real_host_are_read(recorded: Observed) -> None:
    assert recorded.packages == {
        "nftables": "1.0.6-2+deb12u2",
        "redis-server": "5:7.0.15-1~deb12u10",
        "redis-tools": "5:7.0.15-1~deb12u10",
    }
    assert recorded.candidate == ""


def test_disk_and_data_of_a_real_host_are_read_in_bytes(recorded: Observed) -> None:
    assert recorded.disk_free == 78731484 * 1024
    assert recorded.data_used == {"/var/lib/redis/crypto": 24 * 1024}
    assert recorded.data_files["/var/lib/redis/crypto/appendonlydir/appendonly.aof.manifest"] == 88
    assert len(recorded.data_files) == 4


def test_addresses_and_listeners_of_a_real_host_are_read(recorded: Observed) -> None:
    assert recorded.addresses == {"127.0.0.1", "172.28.2.5"}
    assert recorded.listeners == (
        Listener("0.0.0.0", 22, "sshd", 35),
        Listener("172.28.2.5", 6383, "redis-server", 591),
        Listener("::", 22, "sshd", 35),
    )


def test_the_kernel_of_a_real_host_is_read(recorded: Observed) -> None:
    assert recorded.sysctls == {"net.core.somaxconn": "4096", "vm.overcommit_memory": "0"}
    assert recorded.thp == "always [madvise] never"


def test_units_and_processes_of_a_real_host_are_read(recorded: Observed) -> None:
    assert recorded.unit("redis-server.service")["LoadState"] == "masked"
    assert recorded.is_active("redis-crypto.service")
    assert not recorded.is_active("redis-server.service")
    assert not recorded.is_active("redis-inner-port.service")  # it has done its work and has no process
    assert recorded.pid("redis-crypto.service") == 591
    assert recorded.processes == {591: Process("/usr/bin/redis-check-rdb", "1")}
    assert recorded.started == {"redis-crypto.service": "da538db672045d82"}


def test_overrides_and_forwards_of_a_real_host_are_read(recorded: Observed) -> None:
    assert recorded.statoverrides["/etc/redis"] == "root redis 750"
    assert recorded.forwards == {(chain, "172.28.2.5", 6379, "172.28.2.5:6383") for chain in ("prerouting", "output")}


def test_the_files_of_a_real_host_are_read_with_owner_mode_and_content(recorded: Observed) -> None:
    acl = recorded.files["/etc/redis/crypto.acl"]
    assert (acl.kind, acl.owner, acl.group, acl.mode) == ("file", "root", "redis", "0640")
    assert acl.content.splitlines()[0] == "user default off"
    assert recorded.files["/etc/redis"] == FileState("directory", "root", "redis", "0750", "")
    assert "/etc/apt/preferences.d/60-redis" not in recorded.files


@pytest.mark.parametrize("names", [("gateway",), ("crypto",), FIVE])
def test_a_written_snapshot_reads_back_as_the_same_state(names: tuple[str, ...]) -> None:
    host = desired(*names)
    for state in (as_desired(host), fresh(host), replace(as_desired(host), container="lxc", uid=1000)):
        assert parse_snapshot(snapshot_text(state).splitlines()) == replace(state, servers={})


def test_links_and_files_that_are_no_text_are_read() -> None:
    state = with_file(as_desired(desired()), "/etc/redis/gateway.conf", kind="link", content="/etc/passwd")
    assert parse_snapshot(snapshot_text(state).splitlines()).files == state.files


@pytest.mark.parametrize("until", ["@@ facts", "@@ units", "@@ files", "@@ end"])
def test_a_snapshot_that_was_cut_off_is_refused(until: str) -> None:
    with pytest.raises(ValueError, match="the snapshot is cut off"):
        parse_snapshot(RECORDED[: RECORDED.index(until)].splitlines())


def test_an_unreadable_snapshot_fails_its_host_only() -> None:
    with pytest.raises(FactProcessError, match="snapshot of the host is not readable"):
        HostSnapshot().process(RECORDED.replace("self/status:Uid:\t0\t0", "self/status:Uid:\t0\troot").splitlines())


def test_a_snapshot_with_a_damaged_archive_fails_its_host_only() -> None:
    before, _, rest = RECORDED.partition("@@ files\n")
    with pytest.raises(FactProcessError):
        HostSnapshot().process([*before.splitlines(), "@@ files", rest.splitlines()[0], "@@ end"])


def test_an_address_with_a_peer_is_on_the_host() -> None:
    line = "2: eth0    inet 172.28.2.5 peer 172.28.2.254/32 scope global eth0\\       valid_lft forever"
    text = RECORDED.replace("2: host0    inet 172.28.2.5/24", line + "\n3: x    inet 10.0.0.1/24")
    assert "172.28.2.5" in parse_snapshot(text.splitlines()).addresses


def test_an_address_of_an_interface_and_an_ipv6_listener_are_read_bare() -> None:
    text = RECORDED.replace("@@ units", 'LISTEN 0 5 [fe80::1%eth0]:53 [::]:* users:(("named",pid=9,fd=3))\n@@ units')
    assert Listener("fe80::1%eth0".split("%")[0], 53, "named", 9) in parse_snapshot(text.splitlines()).listeners


def test_a_package_that_is_only_configured_is_not_installed() -> None:
    text = RECORDED.replace("redis-tools 5:7.0.15-1~deb12u10 installed", "redis-tools 5:7.0.15-1~deb12u10 config-files")
    assert "redis-tools" not in parse_snapshot(text.splitlines()).packages


def test_a_rule_of_another_form_in_our_table_is_kept_as_text() -> None:
    text = RECORDED.replace("ip daddr 172.28.2.5 tcp dport 6379 dnat to 172.28.2.5:6383", "counter drop", 1)
    assert ("prerouting", "counter drop", 0, "") in parse_snapshot(text.splitlines()).forwards


def test_lines_that_were_found_by_the_pattern_of_another_part_are_left_out(recorded: Observed) -> None:
    stray = (
        "/etc/sysctl.d/60-redis.conf:# Written by the CAAS Redis repository: vm.overcommit_memory = 1",
        "/etc/sysctl.d/60-redis.conf:vm.overcommit_memory = 1",
        "/usr/lib/tmpfiles.d/x.conf:# CAAS Redis repository: /sys/kernel/mm/transparent_hugepage/enabled - never",
        "/usr/lib/tmpfiles.d/x.conf:f /run/x - - - - vm.overcommit_memory = 7",
        "/etc/systemd/system/redis-other.service:ExecStart=/bin/x vm.overcommit_memory=7",
    )
    observed = with_lines("matches", *stray)
    assert observed.boot_sysctls == {"vm.overcommit_memory": ("1", "/etc/sysctl.d/60-redis.conf")}
    assert (observed.boot_thp, observed.our_units) == ({}, recorded.our_units)


def test_a_setting_in_etc_hides_the_file_of_the_same_name_elsewhere() -> None:
    lines = ("/etc/sysctl.d/9.conf:-vm/overcommit_memory =  1", "/usr/lib/sysctl.d/9.conf:vm.overcommit_memory=0")
    assert with_lines("matches", *lines).boot_sysctls == {"vm.overcommit_memory": ("1", "/etc/sysctl.d/9.conf")}


def test_the_user_that_counts_is_the_effective_one() -> None:
    text = RECORDED.replace("self/status:Uid:\t0\t0", "self/status:Uid:\t1000\t0")
    assert parse_snapshot(text.splitlines()).uid == 0


def test_a_file_with_two_names_takes_its_space_once() -> None:
    top = "/var/lib/redis/crypto"
    lines = [f"f {depth} 70000 144 83:7 {top} {top}/{name}\t" for depth, name in ((1, "a b"), (2, "d/c"), (3, "d/e/f"))]
    observed = with_lines("found", *lines)
    assert observed.data_used == {top: (24 + 72) * 1024}
    assert observed.data_files[f"{top}/a b"] == 70000
    assert f"{top}/d/e/f" not in observed.data_files


def test_a_binary_that_was_replaced_while_it_ran_is_known_by_its_whole_path() -> None:
    text = RECORDED.replace("\t/usr/bin/redis-check-rdb", "\t/usr/bin/redis-check-rdb (deleted)")
    assert parse_snapshot(text.splitlines()).processes[591].executable == "/usr/bin/redis-check-rdb (deleted)"


def test_a_process_that_went_away_while_the_host_was_read_has_no_binary() -> None:
    lines = [line for line in RECORDED.splitlines() if "/proc/591/" not in line]
    assert parse_snapshot(lines).processes == {591: Process("", "")}


def test_files_that_a_host_does_not_have_are_read_as_empty() -> None:
    gone = ("/run/systemd/container:", "/sys/kernel/mm/", "/run/credentials/", "/var/lib/dpkg/", "/etc/systemd/system/")
    observed = parse_snapshot([line for line in RECORDED.splitlines() if not line.startswith(gone)])
    assert (observed.container, observed.thp) == ("", "")
    assert (observed.started, observed.statoverrides, observed.our_units) == ({}, {}, ())


def test_a_unit_nobody_asked_for_counts_as_absent(recorded: Observed) -> None:
    assert recorded.unit("redis-other.service")["LoadState"] == "not-found"
    assert recorded.pid("redis-other.service") == 0


# Where a running instance is spoken to, and what it answers


def test_an_instance_is_spoken_to_where_it_should_listen() -> None:
    host = desired("crypto")
    assert endpoint(host.instances[0], as_desired(host)) == ("172.28.2.5", 6383)


def test_an_instance_that_listens_elsewhere_is_spoken_to_there() -> None:
    host = desired("crypto")
    moved = replace(as_desired(host), listeners=())
    moved = with_listener(moved, "10.0.0.9", 6390, "redis-server", moved.pid("redis-crypto.service"))
    assert endpoint(host.instances[0], moved) == ("10.0.0.9", 6390)


def test_an_instance_that_listens_everywhere_is_spoken_to_on_its_own_address() -> None:
    host = desired("crypto")
    wide = replace(as_desired(host), listeners=())
    wide = with_listener(wide, "0.0.0.0", 6383, "redis-server", wide.pid("redis-crypto.service"))
    assert endpoint(host.instances[0], wide) == ("172.28.2.5", 6383)


def test_an_instance_without_a_socket_is_asked_where_it_should_be() -> None:
    host = desired("crypto")
    silent = with_unit(replace(as_desired(host), listeners=()), "redis-crypto.service", SubState="start")
    assert endpoint(host.instances[0], silent) == ("172.28.2.5", 6383)


USER: list[Reply] = [
    "flags",
    ["on"],
    "passwords",
    ["0" * 64],
    "commands",
    "+@all",
    "keys",
    "~*",
    "channels",
    "&*",
    "selectors",
    [],
]


def test_the_replies_of_an_instance_become_its_state() -> None:
    server = read_server(
        ["dangerous"],
        ["default", "operator"],
        ["OK", ["hz", "10"], "# Server\r\nrun_id:abc\r\n", ["operator", "odd"], ["keys", "info"], None, USER],
    )
    assert server.refusal is None
    assert (server.config, server.info) == ({"hz": "10"}, {"run_id": "abc"})
    assert server.categories == {"dangerous": frozenset({"keys", "info"})}
    assert server.users["operator"]["commands"] == "+@all"
    assert server.users["odd"] == {}


@pytest.mark.parametrize("at", range(4))
def test_an_instance_that_refuses_is_known_by_its_words(at: int) -> None:
    replies: list[object] = ["OK", [], "", []]
    replies[at] = ReplyError("LOADING Redis is loading the dataset in memory")
    server = read_server([], [], replies)  # type: ignore[arg-type]
    assert server.refusal == "LOADING Redis is loading the dataset in memory"


def test_the_builders_categories_tell_a_service_from_an_operator() -> None:
    assert allowed("+@all -@admin -@dangerous +info", CATEGORIES) != allowed("+@all", CATEGORIES)

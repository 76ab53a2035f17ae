"""A snapshot's text becomes an observed state (tasks/observed/state.py), or is refused as unreadable."""

import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.catalogue.acl_rules import allowed
from tasks.observed.exchange import Reply, ReplyError
from tasks.observed.leftover import unseen_leftover
from tasks.observed.look import endpoint, read_server
from tasks.observed.reader import UNREADABLE, parse_look
from tasks.observed.records import Unreadable
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.script import script
from tasks.observed.state import PASSWORD_DIGITS, FileState, FileUser, Leftover, Listener, Observed
from tests.unit.builders import (
    CATEGORIES,
    FIVE,
    OTHERS,
    as_desired,
    desired,
    fresh,
    sha256,
    with_file,
    with_listener,
    with_unit,
)
from tests.unit.observed.printed import MARK, look_text, record

# Printed on a Debian 12 container that carries crypto, by templates/scripts/look.sh; ACL hashes replaced, every zero
# byte made visible, each record of find on a line of its own.
FILE = (Path(__file__).parent / "printed-bookworm.txt").read_text()
RECORDED = FILE.replace("␀\n", "\0").replace("␀", "\0").replace("MARK", MARK)


@pytest.fixture(scope="module")
def recorded() -> Observed:
    """The state of the recorded host."""
    return parse_look(RECORDED, MARK)


def begin(part: str) -> str:
    """How a part begins."""
    return f"\0{MARK} {part}\n"


def with_text(part: str, text: str) -> str:
    """What the recorded host prints, had one part begun with more."""
    return RECORDED.replace(begin(part), begin(part) + text)


def with_lines(part: str, *lines: str) -> Observed:
    """The state of the recorded host, had one part of its look had more lines."""
    return parse_look(with_text(part, "".join(f"{line}\n" for line in lines)), MARK)


def without_lines(*texts: str) -> Observed:
    """The state of the recorded host, had it not printed the lines that begin so."""
    kept = [line for line in RECORDED.split("\n") if not line.startswith(texts)]
    return parse_look("\n".join(kept), MARK)


def found_record(kind: str, size: int, path: str) -> str:
    """What find says of a file of root and redis with mode 2640."""
    return record(f"{kind} 0 {size} 8 92:1 2640 1 7.25 8.25", "root", "redis", path, path, "")


def with_file_on_disk(content: str, size: int) -> FileState:
    """A file of `size` bytes as it is read when grep prints the lines of `content`."""
    path = "/etc/redis/x.conf"
    lines = "".join(f"{path}:{line}\n" for line in (content.removesuffix("\n").split("\n") if content else []))
    text = with_text("texts", lines).replace(begin("found"), begin("found") + found_record("f", size, path))
    return parse_look(text, MARK).files[path]


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


def test_packages_that_nobody_asked_for_are_read_from_apt_and_lose_no_version() -> None:
    stanzas = "Package: redis-tools\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: libc6\nAuto-Installed: 1\n"
    text = RECORDED.replace(f"\0{MARK} candidate", f"{stanzas}\0{MARK} candidate")
    seen = parse_look(text, MARK)
    assert seen.automatic == {"redis-tools"}
    assert seen.packages == parse_look(RECORDED, MARK).packages
    assert parse_look(text.replace("Auto-Installed: 1", "Auto-Installed: 0"), MARK).automatic == frozenset()


def test_how_many_files_a_process_may_open_is_read_from_its_limits() -> None:
    line = "/proc/430/limits:Max open files            1024                 65535                files     \n"
    text = RECORDED.replace("/proc/meminfo:MemTotal", f"{line}/proc/meminfo:MemTotal")
    assert parse_look(text, MARK).descriptors == {430: 65535}
    with pytest.raises(Unreadable, match="how many files a process may open"):
        parse_look(text.replace("65535  ", "many  "), MARK)


def test_the_room_on_every_disk_is_read_by_directory() -> None:
    text = RECORDED.replace("81042596 /var/lib\n", "81042596 /var/lib/redis\n40960 /var/lib/redis/crypto\n")
    seen = parse_look(text, MARK)
    assert (seen.disk_free, seen.free_of) == (81042596 * 1024, {"/var/lib/redis/crypto": 40960 * 1024})


@pytest.mark.parametrize("line", ["81042596", "lots /var/lib", ""])
def test_room_on_a_disk_that_df_does_not_say_in_numbers_is_not_known(line: str) -> None:
    seen = parse_look(RECORDED.replace("81042596 /var/lib\n", f"{line}\n"), MARK)
    assert "the free disk space" in seen.unseen["disk"].because
    assert seen.disk_free == 0


def test_disk_and_data_of_a_real_host_are_read_in_bytes(recorded: Observed) -> None:
    assert recorded.disk_free == 81042596 * 1024
    assert recorded.data_used == {"/var/lib/redis/crypto": 20 * 1024}
    assert recorded.data_files["/var/lib/redis/crypto/appendonlydir/appendonly.aof.manifest"] == 88
    assert len(recorded.data_files) == 3


def test_addresses_and_listeners_of_a_real_host_are_read(recorded: Observed) -> None:
    assert recorded.addresses == {"127.0.0.1", "172.28.2.5"}
    assert recorded.listeners == (
        Listener("0.0.0.0", 22, "sshd", 35),
        Listener("172.28.2.5", 6383, "redis-server", 430),
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
    assert recorded.pid("redis-crypto.service") == 430
    assert recorded.binaries == {430: "/usr/bin/redis-check-rdb"}
    assert recorded.started == {"redis-crypto.service": "da538db672045d82"}


def test_overrides_and_forwards_of_a_real_host_are_read(recorded: Observed) -> None:
    assert recorded.statoverrides["/etc/redis"] == "root redis 750"
    assert recorded.forwards == {(chain, "172.28.2.5", 6379, "172.28.2.5:6383") for chain in ("prerouting", "output")}


def test_the_files_of_a_real_host_are_read_with_owner_mode_and_content(recorded: Observed) -> None:
    acl = recorded.files["/etc/redis/crypto.acl"]
    assert (acl.kind, acl.owner, acl.group, acl.mode) == ("file", "root", "redis", "0640")
    assert re.fullmatch("[0-9a-f]{64}", acl.content)
    assert recorded.files["/etc/redis"] == FileState("directory", "root", "redis", "0750", "", 1795417946, 1795417946)
    assert "/etc/apt/preferences.d/60-redis" not in recorded.files


@pytest.mark.parametrize("names", [("gateway",), ("crypto",), FIVE, OTHERS])
@pytest.mark.parametrize("fenced", [(), ("gateway", "crypto")])
def test_a_written_snapshot_reads_back_as_the_same_state(names: tuple[str, ...], fenced: tuple[str, ...]) -> None:
    lists: dict[str, Any] = {role: {"allow_from": ["10.8.0.0/16", "10.9.1.7"]} for role in fenced}
    host = desired(*names, **lists)
    for state in (as_desired(host), fresh(host), replace(as_desired(host), container="lxc", uid=1000)):
        assert parse_look(look_text(state), MARK) == replace(state, servers={})


def test_links_and_files_that_are_no_text_are_read() -> None:
    state = with_file(as_desired(desired()), "/etc/redis/gateway.conf", kind="link", content="/etc/passwd")
    assert parse_look(look_text(state), MARK).files == state.files


@pytest.mark.parametrize("until", ["facts", "units", "found", "end"])
def test_a_look_that_was_cut_off_is_refused(until: str) -> None:
    with pytest.raises(Unreadable, match="it is cut off"):
        parse_look(RECORDED[: RECORDED.index(begin(until))], MARK)


@pytest.mark.parametrize("end", ["\n", "", "\r\n", "\n\n", " \n"])
def test_a_file_is_read_to_the_last_character(end: str) -> None:
    content = f"a: b\n\n\tä\\n{end}"
    assert with_file_on_disk(content, len(content.encode())).content == content


def test_an_empty_file_is_read_as_empty() -> None:
    assert with_file_on_disk("", 0).content == ""


def test_a_file_that_was_not_read_whole_is_like_no_other() -> None:
    assert with_file_on_disk("port 6383\n", 23).content == f"port 6383\n{UNREADABLE}"


def test_the_content_of_what_is_no_file_does_not_count() -> None:
    text = with_text("texts", "/etc/redis/x.conf:port 1\n")
    text = text.replace(begin("found"), begin("found") + found_record("p", 0, "/etc/redis/x.conf"))
    assert parse_look(text, MARK).files["/etc/redis/x.conf"] == FileState("other", "root", "redis", "2640", "", 7, 8)


TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 10.0.0.0
        /24 link UNICAST
        /32 link BROADCAST
     |-- 10.0.0.7
        /32 host LOCAL
        /25 link UNICAST
     |-- 127.0.0.0
        /8 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 172.28.2.254
        /32 link UNICAST
     |-- 10.0.0.255
        /32 link BROADCAST"""


def with_routes(*lines: str) -> frozenset[str]:
    """The addresses of the recorded host, had its kernel these routes."""
    kept = [line for line in RECORDED.split("\n") if not line.startswith("/proc/net/fib_trie:")]
    added = "".join(f"/proc/net/fib_trie:{line}\n" for line in lines)
    return parse_look("\n".join(kept).replace(begin("texts"), begin("texts") + added), MARK).addresses


def test_only_the_hosts_own_addresses_are_on_the_host() -> None:
    """Not networks, broadcast addresses, neighbours, or all that 127/8 answers to."""
    assert with_routes(*TRIE.splitlines()) == {"10.0.0.7", "127.0.0.1"}


def test_an_address_with_a_peer_is_on_the_host() -> None:
    peer = ("  |-- 172.28.2.254", "     /32 link UNICAST")
    assert with_routes(*peer, "  |-- 172.28.2.5", "     /32 host LOCAL", *peer) == {"172.28.2.5"}


def test_an_address_of_an_interface_and_an_ipv6_listener_are_read_bare() -> None:
    observed = with_lines("listeners", 'LISTEN 0 5 [fe80::1%eth0]:53 [::]:* users:(("named",pid=9,fd=3))')
    assert Listener("fe80::1", 53, "named", 9) in observed.listeners


@pytest.mark.parametrize(
    "status", ["deinstall ok config-files", "install reinstreq half-installed", "install ok unpacked"]
)
def test_a_package_that_is_not_wholly_installed_does_not_count(status: str) -> None:
    text = RECORDED.replace(
        "Package: redis-tools\nStatus: install ok installed", f"Package: redis-tools\nStatus: {status}"
    )
    assert "redis-tools" not in parse_look(text, MARK).packages


def test_a_held_package_is_installed() -> None:
    text = RECORDED.replace("Package: redis-tools\nStatus: install", "Package: redis-tools\nStatus: hold")
    assert "redis-tools" in parse_look(text, MARK).packages


@pytest.mark.parametrize(
    ("stanza", "version"),
    [
        (("Status: install ok installed", "Version: 9.9-1"), "9.9-1"),
        (("Status: install reinstreq half-installed", "Version: 9.9-1"), None),
        (("Status: purge ok not-installed",), None),
    ],
)
def test_what_an_interrupted_dpkg_had_done_counts(stanza: tuple[str, ...], version: str | None) -> None:
    added = "".join(f"{line}\n" for line in ("--", "Package: redis-tools", *stanza))
    text = RECORDED.replace(begin("candidate"), added + begin("candidate"))
    assert parse_look(text, MARK).packages.get("redis-tools") == version


def test_the_package_below_a_short_one_is_not_taken_for_it(recorded: Observed) -> None:
    text = RECORDED.replace("Suggests: firewalld", "Package: nginx\nStatus: install ok installed\nVersion: 1.22")
    assert parse_look(text, MARK).packages == recorded.packages


def test_a_rule_of_another_form_in_our_table_is_kept_as_text() -> None:
    text = RECORDED.replace("\n\t\tip daddr 172.28.2.5 tcp dport 6379 dnat to 172.28.2.5:6383", "\n\t\tcounter drop", 1)
    assert ("prerouting", "counter drop", 0, "") in parse_look(text, MARK).forwards


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
    assert parse_look(text, MARK).uid == 0


def test_a_file_with_two_names_takes_its_space_once() -> None:
    top = "/var/lib/redis/crypto"
    names = ((1, "a b"), (2, "d/c"), (3, "d/e/f"))
    records = [
        record(f"f {depth} 70000 144 83:7 600 1 0.0 0.0", "redis", "redis", top, f"{top}/{name}", "")
        for depth, name in names
    ]
    observed = parse_look(with_text("found", "".join(records)), MARK)
    assert observed.data_used == {top: (20 + 72) * 1024}
    assert observed.data_files[f"{top}/a b"] == 70000
    assert f"{top}/d/e/f" not in observed.data_files


def test_a_binary_that_was_replaced_while_it_ran_is_known_by_its_whole_path() -> None:
    text = RECORDED.replace("=/usr/bin/redis-check-rdb\0", "=/usr/bin/redis-check-rdb (deleted)\0")
    assert parse_look(text, MARK).binaries[430] == "/usr/bin/redis-check-rdb (deleted)"


def test_a_process_that_went_away_while_the_host_was_read_has_no_binary() -> None:
    (gone,) = [line.replace("␀", "\0") for line in FILE.split("\n") if "/proc/430/" in line]
    assert parse_look(RECORDED.replace(gone, ""), MARK).binaries == {430: ""}


def test_files_that_a_host_does_not_have_are_read_as_empty() -> None:
    gone = ("/run/systemd/container:", "/sys/kernel/mm/", "/run/credentials/", "/var/lib/dpkg/", "/etc/systemd/system/")
    observed = without_lines(*gone)
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
    moved = replace(as_desired(host), listeners=(), addresses=frozenset({"10.0.0.9"}))
    moved = with_listener(moved, "10.0.0.9", 6390, "redis-server", moved.pid("redis-crypto.service"))
    assert endpoint(host.instances[0], moved) == ("10.0.0.9", 6390)


def test_an_instance_that_listens_everywhere_is_spoken_to_on_its_own_address() -> None:
    host = desired("crypto")
    wide = replace(as_desired(host), listeners=())
    wide = with_listener(wide, "0.0.0.0", 6383, "redis-server", wide.pid("redis-crypto.service"))
    assert endpoint(host.instances[0], wide) == ("172.28.2.5", 6383)


def test_an_instance_that_was_not_seen_to_listen_is_not_asked() -> None:
    host = desired("crypto")
    silent = with_unit(replace(as_desired(host), listeners=()), "redis-crypto.service", SubState="start")
    refused = endpoint(host.instances[0], silent)
    assert isinstance(refused, Refusal)
    assert refused.cause is Cause.NOT_ITS_OWN


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
    assert server.refusal == Refusal(Cause.LOADING, "LOADING Redis is loading the dataset in memory")


def test_the_builders_categories_tell_a_service_from_an_operator() -> None:
    assert allowed("+@all -@admin -@dangerous +info", CATEGORIES) != allowed("+@all", CATEGORIES)


# What is there of users, and of roles that the host carries no more


def test_the_users_of_an_acl_file_are_read_with_how_the_hashes_of_their_passwords_begin(recorded: Observed) -> None:
    users = FileUser("default"), FileUser("crypto-service", ("51e5",)), FileUser("operator", ("a3c8",))
    assert recorded.acl_users == {"/etc/redis/crypto.acl": users}


@pytest.mark.parametrize("line", ["  user \t odd", "user odd", "user\todd"])
def test_a_user_is_read_however_its_line_is_spaced(line: str) -> None:
    assert with_lines("users", f"/etc/redis/odd.acl:{line}").acl_users["/etc/redis/odd.acl"] == (FileUser("odd"),)


def test_a_user_that_is_there_twice_and_one_with_several_passwords_are_read_as_such() -> None:
    lines = [f"/etc/redis/a.acl:{text}" for text in ("user one", " #abcd", "\t>", "user two", "user one", " #0123")]
    users = FileUser("one", ("abcd", ">")), FileUser("two"), FileUser("one", ("0123",))
    assert with_lines("users", *lines).acl_users["/etc/redis/a.acl"] == users


def test_the_look_prints_of_a_password_nothing_but_how_its_hash_begins(tmp_path: Path) -> None:
    """The line of the script itself, on a file as the server takes it."""
    hashes = [sha256(text) for text in ("one", "two", "three")]
    file = tmp_path / "x.acl"
    file.write_text(
        f"user default off ~* &* +@all\nuser one on #{hashes[0]} +@all\n\tuser two on #{hashes[1]} >plain#0123 ~*"
        f" #{hashes[2]}\nuser three off nopass <gone\nuser one on\n"
    )
    (line,) = re.findall("(?m)^grep .*user.*$", script("look", secrets=[str(file)], digits=PASSWORD_DIGITS))
    shell = f"secrets={file}; digits={PASSWORD_DIGITS}; {line}"
    said = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True, timeout=60).stdout
    begin = [text[:PASSWORD_DIGITS] for text in hashes]
    read = with_lines("users", *said.splitlines()).acl_users[str(file)]
    users = FileUser("one", (begin[0],)), FileUser("two", (begin[1], ">", begin[2])), FileUser("three"), FileUser("one")
    assert read == (FileUser("default"), *users)
    assert [text for text in (*(item[: PASSWORD_DIGITS + 1] for item in hashes), "plain", "gone") if text in said] == []


def test_what_one_role_s_other_host_says_hides_no_other_role(tmp_path: Path) -> None:
    """The loop of the script itself, on programs of which some do not end their line, or do not come to an end."""
    says = {
        "crypto": "yes x | tr -d '\\n' | head -c 4096",
        "socket": "printf 'WRONGPASS'",
        "shared": "printf 'slave 10.0.0.1 6383\\nforged 1\\n'",
        "gateway": ":",
        "compliance": "yes 'master 1'",
    }
    for role, program in says.items():
        (tmp_path / f"guard-{role}").write_text(f"tells=yes\n{program}\n")
    (loop,) = re.findall(r"(?ms)^for file in \$guards; do\n.*?^wait$", script("look"))
    (bounded,) = re.findall(r"(?m)^bounded\(\) .*$", script("look"))
    guards = shlex.quote(" ".join(str(path) for path in sorted(tmp_path.iterdir())))
    shell = f"patience=9; guards={guards}; {bounded}\n{loop}"
    said = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True, timeout=60).stdout
    assert with_lines("heard", *said.splitlines()).heard == {
        "crypto": "x" * 400,
        "socket": "WRONGPASS",
        "shared": "slave 10.0.0.1 6383",
        "compliance": "master 1",
    }


def test_a_password_before_any_user_is_nobody_s() -> None:
    lines = "/etc/redis/a.acl: #abcd", "/etc/redis/a.acl:user one"
    assert with_lines("users", *lines).acl_users["/etc/redis/a.acl"] == (FileUser("one"),)


def test_where_a_role_listens_by_its_file_is_read(recorded: Observed) -> None:
    assert recorded.configured == {"crypto": ("172.28.2.5", 6383)}


@pytest.mark.parametrize(
    "lines",
    [
        ("bind 127.0.0.1",),
        ("port 6379",),
        ("bind ", "port 6379"),
        ("bind ::1", "port 6379"),
        ("bind 127.0.0.1", "port x"),
    ],
)
def test_a_configuration_of_another_form_says_nothing(lines: tuple[str, ...]) -> None:
    found = with_lines("matches", *(f"/etc/redis/old.conf:{line}" for line in lines))
    assert found.configured == {"crypto": ("172.28.2.5", 6383)}


UNIT = "redis-old.service"


def leftover(*listens: tuple[str, int], configured: bool = True, pid: str = "77") -> Leftover:
    """What is seen of the unit of a role that the host carries no more."""
    observed = as_desired(desired("crypto"))
    unit = {"LoadState": "loaded", "ActiveState": "active" if pid != "0" else "inactive", "MainPID": pid}
    observed = replace(
        observed,
        our_units=(*observed.our_units, UNIT),
        addresses=observed.addresses | {"172.28.2.9"},
        units={**observed.units, UNIT: unit},
        configured={"old": ("172.28.2.9", 6390)} if configured else {},
    )
    for address, port in listens:
        observed = with_listener(observed, address, port, "redis-server", 77)
    return unseen_leftover(UNIT, observed)


def test_a_leftover_is_spoken_to_where_its_own_process_listens_only() -> None:
    assert leftover(("172.28.2.9", 6390)) == Leftover("old", True, ("172.28.2.9", 6390))
    assert leftover(("172.28.2.9", 7000)).endpoint == ("172.28.2.9", 7000)
    assert leftover(("0.0.0.0", 6390)).endpoint == ("172.28.2.9", 6390)
    nowhere = leftover()
    assert (nowhere.endpoint, nowhere.because) == (None, "its own process was not seen to listen anywhere")


def test_of_a_leftover_that_does_not_run_its_file_says_where_it_would_listen() -> None:
    assert leftover(pid="0") == Leftover("old", False, ("172.28.2.9", 6390), because="it does not run")
    assert leftover(pid="0", configured=False).endpoint is None

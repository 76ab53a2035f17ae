"""The container lab itself: its hosts are what the other tests take them for, and it leaves nothing behind."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import cgroups, records
from tests.lab.container import Container, await_ready
from tests.lab.containers import REPOSITORY, ContainerLab, HostSpec, require_root
from tests.lab.debian import LabError

pytestmark = pytest.mark.hosts

BOOKWORM = HostSpec("lab-bookworm", ("172.28.2.11", "172.28.2.13"), "bookworm")
TRIXIE = HostSpec("lab-trixie", ("172.28.2.12",), "trixie")
HOSTS = pytest.mark.parametrize("host", [BOOKWORM.name, TRIXIE.name])

# A lab in a process of its own: boots, says its name, waits for its end.
LONELY_LAB = """
import time
from tests.lab.containers import ContainerLab, HostSpec
with ContainerLab([HostSpec("lonely", ("172.28.2.14",))]) as lab:
    print(lab.netns, flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[ContainerLab]:
    with ContainerLab([BOOKWORM, TRIXIE]) as lab:
        yield lab


def traces(name: str) -> list[str]:
    """All that this machine still has of lab `name`, found without the lab's own code."""
    found = [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if name in line]
    found += [f"file {path}" for top in ("/run/netns", "/run/systemd/nspawn") for path in Path(top).rglob(f"{name}*")]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").rglob(name)]
    found += [f"file {path}" for path in records.Record(name, (), None).file.parent.glob(f"{name}*")]
    processes = subprocess.run(["pgrep", "--full", name], capture_output=True, text=True).stdout.split()
    return found + [f"process {pid}" for pid in processes]


def ways_out(lab: ContainerLab) -> list[str]:
    """What could carry a packet out of the lab's network: routes beyond the bridge, interfaces besides its own."""
    routes = lab.run(["ip", "route", "show", "table", "all"]).stdout.splitlines()
    links = lab.run(["ip", "-brief", "link"]).stdout.splitlines()
    return [route for route in routes if "via" in route or route.startswith("default")] + [
        link for link in links if not link.startswith(("lo ", "br0 ", "vb-"))
    ]


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "not true within 20 s"
        time.sleep(0.01)


@HOSTS
def test_a_host_boots_its_suite_completely(lab: ContainerLab, host: str) -> None:
    container = lab.hosts[host]
    assert container.sh("systemctl is-system-running", check=False).strip() == "running"
    assert f"lab-{container.sh('. /etc/os-release; echo $VERSION_CODENAME').strip()}" == host
    assert container.sh("hostname").strip() == host


@HOSTS
def test_a_host_is_bare(lab: ContainerLab, host: str) -> None:
    assert lab.hosts[host].sh("type -P python3 redis-server redis-cli nft", check=False) == ""
    assert lab.hosts[host].sh("type -P sshd") != "", "the check above finds what is there"


def test_a_host_has_all_its_addresses(lab: ContainerLab) -> None:
    shown = lab.hosts[BOOKWORM.name].sh("ip -4 -brief address show dev host0")
    assert shown.split()[2:] == [f"{address}/24" for address in BOOKWORM.addresses]


@HOSTS
def test_only_the_key_opens_root_and_the_sudo_user(lab: ContainerLab, host: str) -> None:
    as_root = lab.run([*lab.ssh_argv(host), "id -un"])
    as_admin = lab.run([*lab.ssh_argv(host, user="admin"), "id -un; sudo -n id -un"])
    known = f"UserKnownHostsFile={lab.home}/.ssh/known_hosts"
    keyless = ["ssh", "-F", "none", "-o", known, "-o", "IdentityFile=/nonexistent", "-o", "BatchMode=yes"]
    without_key = lab.run([*keyless, lab.ssh_argv(host)[-1], "id -un"])
    assert (as_root.stdout, as_admin.stdout) == ("root\n", "admin\nroot\n")
    assert without_key.returncode == 255
    assert "Permission denied (publickey)" in without_key.stderr


def test_pyinfra_needs_no_setting_to_log_in(lab: ContainerLab) -> None:
    done = lab.pyinfra("172.28.2.11,172.28.2.12", "exec", "--", "hostname", timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"[172.28.2.11] {BOOKWORM.name}" in done.stderr
    assert f"[172.28.2.12] {TRIXIE.name}" in done.stderr


@HOSTS
def test_apt_installs_the_tier_without_a_network(lab: ContainerLab, host: str) -> None:
    container = lab.hosts[host]
    try:
        container.sh("apt-get update && apt-get install -y redis-server nftables")
        assert container.sh("redis-cli ping") == "PONG\n"
        assert container.sh("nft add table ip t && nft list tables") == "table ip t\n"
        assert container.call("apt-get install -y nginx").returncode, "nothing else can be installed"
    finally:
        container.reset()


def test_every_version_of_redis_can_be_pinned(lab: ContainerLab) -> None:
    container = lab.hosts[BOOKWORM.name]
    versions = container.sh("apt-cache madison redis-server | cut -d'|' -f2").split()
    assert len(versions) > 1, "bookworm has one in the archive and one in security"
    try:
        for version in reversed(versions):
            container.sh(f"apt-get install -y redis-server={version} redis-tools={version}")
            assert container.sh("dpkg-query -W -f '${Version}' redis-server") == version
    finally:
        container.reset()


def test_the_lab_has_no_way_out(lab: ContainerLab) -> None:
    assert ways_out(lab) == []
    for change in ("route add default via 172.28.2.11", "link add uplink type bridge"):
        lab.run(["ip", *change.split()], check=True)
        assert ways_out(lab) != [], change
        lab.run(["ip", *change.replace(" add", " delete").split()], check=True)
    assert ways_out(lab) == []


def test_this_machine_has_no_way_in(lab: ContainerLab) -> None:
    own = subprocess.run(["ip", "address"], capture_output=True, text=True).stdout
    own += subprocess.run(["ip", "route", "show", "table", "all"], capture_output=True, text=True).stdout
    assert "172.28.2." not in own
    assert "172.28.2." in lab.run(["ip", "address"]).stdout, "the check above finds what is there"


def test_commands_run_in_a_clean_environment(lab: ContainerLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_LEAK", "1")
    container = lab.hosts[TRIXIE.name]
    assert "LAB_LEAK" not in container.sh("env")
    assert container.sh("cat", input="given\n") == "given\n"
    with pytest.raises(LabError, match=r"`exit 3` ended with 3, expected 0"):
        container.sh("exit 3")


@HOSTS
def test_the_disk_survives_stop_and_kill_but_not_reset(lab: ContainerLab, host: str) -> None:
    container = lab.hosts[host]
    container.sh("echo kept > /root/mark")
    for end in (container.kill, container.stop):  # in this order: kernel state of a kill outlived one boot
        end()
        assert not container.running
        assert container.path("/root/mark").read_text() == "kept\n"
        container.boot()
        assert container.path("/root/mark").read_text() == "kept\n"
    container.reset()
    assert not container.path("/root/mark").exists()


def test_a_host_that_shut_itself_down_can_be_booted(lab: ContainerLab) -> None:
    container = lab.hosts[TRIXIE.name]
    container.sh("echo kept > /root/mark; systemctl reboot")
    await_true(lambda: not container.running)
    container.boot()
    assert container.sh("cat /root/mark") == "kept\n"


def test_only_stop_lets_services_end_in_order(lab: ContainerLab) -> None:
    container = lab.hosts[TRIXIE.name]
    unit = "systemd-run --unit=witness --property=ExecStop='touch /root/ended' sleep infinity"
    for end, in_order in ((container.kill, False), (container.stop, True)):
        container.sh(unit)
        end()
        assert container.path("/root/ended").exists() == in_order
        container.boot()
    container.reset()


def test_a_host_without_ssh_is_reported_with_its_console(lab: ContainerLab) -> None:
    container = lab.hosts[TRIXIE.name]
    container.sh("systemctl mask ssh.service")
    container.kill()
    container.start()
    with pytest.raises(LabError, match=r"(?s)lab-trixie: no ssh within 2 s.*Reached target .*multi-user"):
        await_ready([container], timeout=2)
    container.reset()


def test_a_host_that_cannot_boot_is_reported_with_its_console(lab: ContainerLab) -> None:
    container = lab.hosts[BOOKWORM.name]
    container.sh("rm /sbin/init /lib/systemd/systemd")
    container.kill()
    with pytest.raises(LabError, match=r"(?s)lab-bookworm: systemd-nspawn ended with 1.*No such file"):
        container.boot()
    container.reset()


def test_nothing_is_left_after_the_body_even_when_it_raises() -> None:
    with pytest.raises(ZeroDivisionError), ContainerLab([HostSpec("brief", ("172.28.2.14",))]) as lab:
        kinds = {trace.split()[0] for trace in traces(lab.netns)}
        assert kinds == {"mount", "file", "cgroup", "process"}, "the check below finds what is there"
        raise ZeroDivisionError
    assert traces(lab.netns) == []


def test_nothing_is_left_of_a_lab_that_does_not_come_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lab.containers.await_ready", lambda hosts: await_ready(hosts, timeout=0))
    lab = ContainerLab([HostSpec("late", ("172.28.2.14",))])
    with pytest.raises(LabError, match="late: no ssh within 0 s"):
        lab.start()
    assert traces(lab.netns) == []


@pytest.fixture
def lonely() -> Iterator[subprocess.Popen[str]]:
    """A process that makes a lab; killed with -9 at the latest here, and its lab removed."""
    command = [sys.executable, "-c", LONELY_LAB]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()
    records.remove_abandoned()


def lab_of(process: subprocess.Popen[str]) -> str | None:
    """The lab that `process` owns, from the moment on at which a process runs in it."""
    for record in records.all_records():
        if record.owner and record.owner.pid == process.pid and cgroups.populated(cgroups.path(record.name)):
            return record.name
    return None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_when_a_signal_ends_the_boot(lonely: subprocess.Popen[str], number: signal.Signals) -> None:
    await_true(lambda: lab_of(lonely) is not None)
    name = lab_of(lonely)
    assert name
    lonely.send_signal(number)
    assert lonely.wait(timeout=20) != 0
    assert traces(name) == []


def test_nothing_is_left_when_ctrl_c_is_pressed_twice(lonely: subprocess.Popen[str]) -> None:
    assert lonely.stdout
    name = lonely.stdout.readline().strip()
    lonely.send_signal(signal.SIGINT)
    time.sleep(0.03)
    lonely.send_signal(signal.SIGINT)
    lonely.wait(timeout=20)
    assert traces(name) == []


def test_the_next_lab_removes_what_a_killed_one_left(lab: ContainerLab, lonely: subprocess.Popen[str]) -> None:
    assert lonely.stdout
    name = lonely.stdout.readline().strip()
    assert records.abandoned(records.all_records()) == [], "a lab whose owner lives is not abandoned"
    lonely.kill()
    lonely.wait()
    assert traces(name) != []
    with ContainerLab([HostSpec("next", ("172.28.2.14",))]):
        assert traces(name) == []
    assert all(container.running for container in lab.hosts.values()), "labs of the living are left alone"


def test_a_later_process_with_the_same_pid_is_not_the_owner() -> None:
    myself = records.myself()
    record = records.Record("caaslab-x", (), records.Owner(myself.pid, myself.started - 1))
    assert records.abandoned([record]) == [record]
    assert records.abandoned([records.Record("caaslab-x", (), myself)]) == []


def test_only_root_can_make_a_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    require_root()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root: use sudo"):
        require_root()


def test_a_running_host_is_not_booted_twice(lab: ContainerLab) -> None:
    container: Container = lab.hosts[TRIXIE.name]
    with pytest.raises(LabError, match="is up, expected it down"):
        container.boot()


@pytest.fixture
def names() -> Iterator[tuple[str, str]]:
    """Names of two labs of people, which are gone afterwards."""
    token = secrets.token_hex(2)
    names = (f"one-{token}", f"two-{token}")
    yield names
    for name in names:
        command_of(name, "down")


def command_of(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m tests.lab --lab NAME WORDS`, which `make lab-up LAB=NAME` and its like run."""
    argv = [sys.executable, "-m", "tests.lab", "--lab", name, *words]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


def test_labs_of_several_people_stand_side_by_side_and_go_one_by_one(names: tuple[str, str]) -> None:
    for name in names:
        done = command_of(name, "up", "--layout", "onebox")
        assert done.returncode == 0, done.stderr
        assert f"make lab-ssh LAB={name} HOST=redis-1" in done.stdout
        assert f"/run/netns/caaslab-{name} " in done.stdout
        assert f"--data redis_secrets_file={records.Record(f'caaslab-{name}', (), None).directory}/" in done.stdout
    for name in names:
        assert command_of(name, "ssh", "redis-1", f"echo {name} >/root/mine").returncode == 0
    said = command_of(names[0], "status").stdout
    assert all(f"caaslab-{name}, until down" in said for name in names)
    one, two = names
    assert command_of(one, "down").returncode == 0
    assert traces(f"caaslab-{one}") == []
    assert command_of(two, "ssh", "redis-1", "cat /root/mine").stdout == f"{two}\n"
    down = command_of(one, "ssh", "redis-1", "true")
    assert (down.returncode, down.stderr) == (
        1,
        f"Error: lab {one}: is down, expected it up: make lab-up LAB={one}\n",
    )


def test_the_lab_of_a_test_is_nobody_s_to_take_down(lab: ContainerLab) -> None:
    name = lab.netns.removeprefix("caaslab-")  # may begin with a digit, and is no name for a person's lab then
    done = command_of(name, "down")
    assert done.returncode == 1
    assert ("is a test's, owned by process" if name[0].isalpha() else "names no lab") in done.stderr
    assert all(container.running for container in lab.hosts.values())


@pytest.mark.parametrize("name", ["", "../x", "Upper", "a" * 21, "a b"])
def test_a_name_that_could_not_be_that_of_a_machine_is_refused(name: str) -> None:
    done = command_of(name, "up")
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: {name!r} names no lab, expected small letters, digits and -, at most 20: choose such a name\n"
    )

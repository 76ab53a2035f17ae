"""The lab's virtual machines are what their users rely on: real, at their address, shut in, and gone afterwards."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.hosts.conftest import wait_for
from tests.lab import vm as vm_module
from tests.lab import vm_layouts, vm_qemu, vms
from tests.lab.debian import LabError, cache_dir
from tests.lab.vm import Vm, free_ports
from tests.lab.vm_image import vm_image
from tests.lab.vm_layouts import VmSpec
from tests.lab.vm_process import Process, record_myself
from tests.lab.vm_qemu import EMULATION, check_addresses, kvm_boots
from tests.lab.vmctl import main
from tests.lab.vms import REPOSITORY, VmLab
from tests.tree import tree

vm = pytest.mark.vm
soak = pytest.mark.soak  # what boots a machine of the lab for itself: test_kernel needs the same of its own

SPEC = VmSpec("lab-vm", ("172.28.2.1", "172.28.2.5"), forwards=(("172.28.2.5", 6383),))
BOOTED = r"Reached target.*\bmulti-user\.target"

ENDING = 180  # seconds for the end of an owner, of which it takes one; a disk that is busy may hold QEMU's for long
# Starts a lab and says where it is; what ends it is the test's choice. One that does not end says where it hangs.
OWNER = f"""import faulthandler
faulthandler.dump_traceback_later({ENDING - 10})
from tests.lab.vms import VmLab, VmSpec
lab = VmLab([VmSpec("owned", ("172.28.2.1",))])
print(lab.directory, flush=True)
with lab:
    raise SystemExit("booted too fast to be interrupted")
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[VmLab]:
    with VmLab([SPEC]) as started:
        yield started


@pytest.fixture
def host(lab: VmLab) -> Vm:
    return lab.vms[SPEC.name]


def processes_in(directory: Path) -> list[int]:
    """PIDs of the processes that work in `directory`, found without the lab's own records."""
    links = [link for link in Path("/proc").glob("[0-9]*/cwd") if _target(link).startswith(str(directory))]
    return [int(link.parent.name) for link in links]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def seconds_since_boot(host: Vm, unit: str, pattern: str) -> float:
    """When `unit` first wrote a line with `pattern` on this boot."""
    lines = host.sh(f"journalctl --boot --output=short-monotonic {unit}").splitlines()
    first = next(line for line in lines if re.search(pattern, line))
    return float(first.strip("[ ").split("]")[0])


@vm
@soak
def test_root_logs_in_and_admin_may_do_everything_with_sudo(host: Vm) -> None:
    assert host.sh("whoami") == "root\n"
    assert host.sh("whoami; sudo --non-interactive whoami", user="admin") == "admin\nroot\n"


@vm
@soak
def test_a_failed_command_is_an_error_that_names_host_command_and_status(host: Vm) -> None:
    with pytest.raises(LabError, match="lab-vm: `exit 3` ended with 3"):
        host.sh("exit 3")
    assert host.sh("cat; exit 3", check=False, input="seen") == "seen"


@vm
@soak
def test_the_machine_has_its_name_its_addresses_and_nothing_failed(host: Vm) -> None:
    assert host.sh("hostname") == "lab-vm\n"
    assert "172.28.2.1/24 172.28.2.5/24" in host.sh("ip -brief address show eth0")
    assert host.sh("systemctl is-system-running --wait") == "running\n"


@vm
@soak
def test_it_has_a_kernel_of_its_own(host: Vm) -> None:
    before = Path("/proc/sys/vm/overcommit_memory").read_text()
    assert host.sh("sysctl --quiet vm.overcommit_memory=2; cat /proc/sys/vm/overcommit_memory") == "2\n"
    assert Path("/proc/sys/vm/overcommit_memory").read_text() == before
    host.sh("sysctl vm.overcommit_memory=0")


@vm
@soak
def test_nothing_outside_is_reached_not_even_this_machines_loopback(host: Vm) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1)
        port = listener.getsockname()[1]
        assert host.call(f"timeout 5 bash -c '</dev/tcp/172.28.2.254/{port}'").returncode != 0
        with pytest.raises(TimeoutError):
            listener.accept()


def pings(port: int) -> bool:
    """Whether a Redis answers there; QEMU takes the connection before anybody listens, and resets it."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"PING\r\n")
            return client.recv(100) == b"+PONG\r\n"
    except OSError:
        return False


@vm
@soak
def test_redis_and_nftables_install_offline_and_a_forwarded_port_answers(host: Vm) -> None:
    host.sh("apt-get update && apt-get --yes install redis-server nftables", timeout=300)
    host.sh("nft add table ip lab && nft delete table ip lab")
    host.sh("redis-server --bind 172.28.2.5 --port 6383 --protected-mode no --daemonize yes")
    wait_for(lambda: pings(host.forwarded["172.28.2.5", 6383]), "a forwarded port answers")  # it goes on to start


@vm
@soak
def test_pyinfra_finds_its_key_and_the_host_key_in_the_labs_home(lab: VmLab, host: Vm, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.py"
    data = {"ssh_port": host.ssh_port, "ssh_user": "admin", "ssh_strict_host_key_checking": "yes"}
    inventory.write_text(f"hosts = [('127.0.0.1', {data})]\n")
    done = lab.pyinfra(inventory, "exec", "--sudo", "--", "whoami", timeout=120)
    assert done.returncode == 0, done.stderr
    assert "[127.0.0.1] root" in done.stderr
    (tmp_path / "stranger").mkdir()
    stranger = lab.pyinfra(inventory, "exec", "--", "whoami", env={"HOME": str(tmp_path / "stranger")}, timeout=120)
    assert stranger.returncode != 0


@vm
@soak
def test_without_its_link_it_does_not_answer_and_with_it_again(host: Vm) -> None:
    host.set_link(False)
    assert host.boot_id() is None
    host.set_link(True)
    assert host.sh("whoami") == "root\n"


@vm
@soak
def test_a_reboot_is_over_when_a_new_boot_answers(host: Vm) -> None:
    before = host.boot_id()
    host.reboot()
    assert host.boot_id() not in (before, None)


@vm
@soak
def test_a_power_cut_loses_what_was_not_synced_and_the_link_may_come_late(host: Vm) -> None:
    booted = seconds_since_boot(host, "_PID=1", BOOTED)
    host.sh("echo kept > /root/synced && sync && echo lost > /root/unsynced")
    host.power_cut()
    assert not host.running
    host.start(link_down_for=10 + 1.3 * booted)
    assert host.sh("cat /root/synced /root/unsynced", check=False) == "kept\n"
    carrier = seconds_since_boot(host, "--unit=systemd-networkd", "eth0: Gained carrier")
    assert carrier > seconds_since_boot(host, "_PID=1", BOOTED)


@vm
def test_a_machine_that_does_not_come_up_is_an_error_with_its_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm_module, "BOOT_TIMEOUT", 4)
    monkeypatch.setattr(vm_qemu, "KERNEL_ARGUMENTS", "root=/dev/absent console=ttyS0")
    lab = VmLab([VmSpec("stuck", ("172.28.2.1",))])
    with pytest.raises(LabError, match=r"(?s)stuck: no ssh after 4 s.*\n\[ +\d+\.\d+\] "), lab:
        pass
    assert not processes_in(lab.directory)
    assert not lab.directory.exists()


@vm
def test_a_kernel_panic_is_an_error_without_waiting_for_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm_qemu, "KERNEL_ARGUMENTS", "console=ttyS0 quiet rdinit=/absent root=/dev/absent")
    with pytest.raises(LabError, match=r"(?s)panicked, .*Unable to mount root"), VmLab([SPEC]):
        pass


@vm
def test_a_port_in_use_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lab = VmLab([VmSpec("late-comer", ("172.28.2.1",), ssh_port=port)])
        with pytest.raises(LabError, match=rf"(?s)late-comer: .*{port}"), lab:
            pass
    assert not lab.directory.exists()


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[str]]:
    """Another process that is about to boot a lab of its own; see machine_of."""
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    yield process
    process.kill()
    process.wait()


def machine_of(owner: subprocess.Popen[str]) -> Path:
    """The directory of the owner's lab, once its machine has power."""
    assert owner.stdout is not None
    directory = Path(owner.stdout.readline().strip())
    deadline = time.monotonic() + 60
    while not (directory / "machines/owned/qmp.sock").exists():
        assert time.monotonic() < deadline, f"no machine in {directory}"
        time.sleep(0.05)
    assert processes_in(directory)
    return directory


@vm
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_of_a_lab_that_was_told_to_end(owner: subprocess.Popen[str], number: signal.Signals) -> None:
    directory = machine_of(owner)
    owner.send_signal(number)
    assert owner.wait(timeout=ENDING) != 0
    assert not processes_in(directory)
    assert not directory.exists()


@vm
@soak
def test_what_a_killed_owner_left_is_removed_and_nothing_else(owner: subprocess.Popen[str], lab: VmLab) -> None:
    directory = machine_of(owner)
    owner.kill()
    owner.wait()
    assert processes_in(directory)
    assert vms.remove_abandoned() == [directory]
    assert not processes_in(directory)
    assert not directory.exists()
    assert processes_in(lab.directory)


@pytest.fixture
def one_staging_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A staging of its own with one machine; it shares the images with every other cache."""
    images = cache_dir() / "images"
    images.mkdir(parents=True, exist_ok=True)
    (tmp_path / "images").symlink_to(images)
    monkeypatch.setenv("CAAS_LAB_CACHE", str(tmp_path))
    machine = replace(vm_layouts.staging(tree())["gateway"], ssh_port=free_ports(1)[0])
    monkeypatch.setattr(vm_layouts, "staging", lambda: {"gateway": machine})
    yield tmp_path
    CliRunner().invoke(main, ["down"])


@vm
@soak
def test_staging_comes_up_once_stays_and_goes(one_staging_machine: Path) -> None:
    def run(command: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, command.split(), catch_exceptions=False)
        return result.exit_code, result.output

    assert run("status")[0] == 1
    code, text = run("up")
    assert code == 0, text
    assert "pyinfra inventory/staging.py deploy.py" in text
    begun = processes_in(one_staging_machine)
    assert run("up")[0] == 0
    assert processes_in(one_staging_machine) == begun != []
    code, text = run("status")
    assert (code, text.split()[:2]) == (0, ["staging-gateway", "up"])
    assert run("up --suite trixie")[0] == 1
    assert vms.staging_key().stat().st_mode & 0o777 == 0o600
    key = vms.staging_key().read_text()
    assert run("down")[0] == 0
    assert not processes_in(one_staging_machine)
    assert vms.staging_key().read_text() == key


@vm
def test_the_probe_for_kvm_tells_a_kernel_that_boots_from_one_that_does_not() -> None:
    image = vm_image("bookworm")
    assert kvm_boots(image, EMULATION, timeout=60)
    assert not kvm_boots(image, (*EMULATION, "-S"), timeout=2)


@pytest.mark.parametrize("address", ["172.28.3.1", "10.0.0.1", "172.28.2.0", "172.28.2.240", "172.28.2.254"])
def test_an_address_whose_packets_would_leave_or_that_qemu_has_is_refused(address: str) -> None:
    with pytest.raises(LabError, match=f"address {address}, expected one of 172.28.2.1 to 172.28.2.239"):
        check_addresses(VmSpec("outside", (address,)))


def test_a_process_that_only_has_the_same_pid_is_not_killed(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as sleep:
        record = tmp_path / "process"
        record_myself(record)
        mine = Process.read(record)
        assert mine is not None
        assert mine.alive
        other = replace(mine, pid=sleep.pid)
        other.kill()
        time.sleep(0.1)
        assert sleep.poll() is None
        assert not other.alive
        assert not replace(mine, boot="an earlier one").alive
        sleep.kill()

"""How QEMU is started for a virtual machine, with or without KVM, and how a running one is told something."""

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TextIO

from tests.lab.debian import LabError, cache_dir
from tests.lab.vm_image import SEED, Image
from tests.lab.vm_layouts import VmSpec
from tests.lab.vm_process import BOOT_ID

QEMU = "qemu-system-x86_64"
QMP_TIMEOUT = 10  # seconds for an answer on the control socket
KVM_TIMEOUT = 6  # seconds for a kernel to come up; a working KVM needs about one

# QEMU's own end of the user-mode network, out of the way of 172.28.2.1 to .5, which are roles.
NETWORK = ip_network("172.28.2.0/24")
FIRST_OWN = 240
OWN_ADDRESSES = {"dhcpstart": f"172.28.2.{FIRST_OWN}", "dns": "172.28.2.253", "host": "172.28.2.254"}

# The serial line is slow under emulation, so the kernel says only what is wrong. eth0 is what the seed configures.
# no_timer_check: on a busy machine the emulated timer fails the check (seen), and the kernel panics.
# mitigations=off: each of their detours is emulated, too. With that and four levels of page tables in place of
# five a boot took 51 seconds of a processor, 61 before.
KERNEL_ARGUMENTS = (
    "root=/dev/vda rootfstype=ext4 rw console=ttyS0 quiet loglevel=4 net.ifnames=0 no_timer_check mitigations=off"
)

KVM = ("-accel", "kvm", "-cpu", "host")
# The default cache of translated code is a gigabyte per machine: an eighth boots as fast.
EMULATION = ("-accel", "tcg,thread=multi,tb-size=128", "-cpu", "max,-la57")


def qemu_command(
    spec: VmSpec, image: Image, acceleration: Sequence[str], forwards: Sequence[tuple[int, str, int]]
) -> list[str]:
    """The command line of a machine, to be run in its own directory.

    `forwards` are (port on 127.0.0.1, address, port) triples. The NIC is user-mode and restricted: what the machine
    sends reaches QEMU and nothing beyond it. cache=unsafe skips only fsync on this machine: what the guest flushed
    is in a file here, so killing QEMU loses what the guest had not flushed and no more, as a power cut does.
    """
    network = [f"user,id=network,ipv6=off,restrict=on,net={NETWORK}"]
    network += [f"{name}={address}" for name, address in OWN_ADDRESSES.items()]
    network += [f"hostfwd=tcp:127.0.0.1:{here}-{address}:{there}" for here, address, there in forwards]
    command = [QEMU, "-name", spec.name, *acceleration, "-machine", "q35", "-smp", str(spec.cpus)]
    command += ["-m", str(spec.memory_mb), "-nodefaults", "-no-user-config", "-display", "none"]
    command += ["-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", KERNEL_ARGUMENTS]
    command += ["-drive", "if=none,id=disk,file=disk.qcow2,format=qcow2,cache=unsafe"]
    command += ["-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"]
    command += ["-netdev", ",".join(network), "-device", "virtio-net-pci,id=nic,netdev=network,romfile="]
    # A credential of the machine's systemd: systemd.exec(5), CREDENTIALS.
    command += ["-fw_cfg", f"name=opt/io.systemd.credentials/{SEED},file=seed.tar"]
    command += ["-chardev", "file,id=console,path=console.log", "-serial", "chardev:console"]
    return [*command, "-qmp", "unix:qmp.sock,server=on,wait=off"]


def check_addresses(spec: VmSpec) -> None:
    """LabError for an address outside the network that QEMU keeps to itself, or one that QEMU has in it."""
    for address in spec.addresses:
        if ip_address(address) not in NETWORK or not 0 < int(address.rpartition(".")[2]) < FIRST_OWN:
            raise LabError(f"{spec.name}: address {address}, expected one of 172.28.2.1 to 172.28.2.{FIRST_OWN - 1}")


def acceleration(image: Image) -> tuple[str, ...]:
    """QEMU's arguments for the fastest way that works here: /dev/kvm may open and still boot nothing, so boot once.

    The answer is kept until this machine boots again.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return EMULATION
    answer = cache_dir() / "vms" / f"kvm-{BOOT_ID.read_text().strip()}"
    if not answer.exists():
        answer.parent.mkdir(parents=True, exist_ok=True)
        for outdated in answer.parent.glob("kvm-*"):
            outdated.unlink(missing_ok=True)
        answer.write_text("works" if kvm_boots(image) else "fails")
    return KVM if answer.read_text() == "works" else EMULATION


def kvm_boots(image: Image, acceleration: Sequence[str] = KVM, timeout: float = KVM_TIMEOUT) -> bool:
    """Whether a kernel gets as far as missing its disk: the last thing that it does without one."""
    command = [QEMU, *acceleration, "-machine", "q35", "-m", "512", "-nodefaults", "-no-user-config"]
    command += ["-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", str(image.kernel)]
    command += ["-append", "console=ttyS0 panic=-1"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return False
    return b"Unable to mount root fs" in done.stdout


def qmp(directory: Path, command: str, **arguments: object) -> object:
    """The answer of the QEMU that runs in `directory` to one command of its control protocol."""
    handle = os.open(directory, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(QMP_TIMEOUT)
            connection.connect(f"/proc/self/fd/{handle}/qmp.sock")  # unix(7): a longer path than 107 bytes is refused
            with connection.makefile("rw", encoding="utf-8") as stream:
                stream.readline()  # the greeting
                _execute(stream, "qmp_capabilities", {})
                return _execute(stream, command, arguments)
    finally:
        os.close(handle)


def _execute(stream: TextIO, command: str, arguments: dict[str, object]) -> object:
    stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    stream.flush()
    for line in stream:
        answer = json.loads(line)
        if "event" not in answer:
            break
    else:
        raise LabError(f"QEMU: closed the control socket during {command}, expected an answer")
    if "error" in answer:
        raise LabError(f"QEMU: {command} was refused: {answer['error']['desc']}")
    return answer["return"]

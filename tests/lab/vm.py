"""One virtual machine of a lab: start it, run commands in it, reboot it, cut its power or its network link."""

import random
import socket
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from json import dumps
from pathlib import Path
from shutil import rmtree
from sys import stderr

from tests.lab.debian import LabError
from tests.lab.vm_image import Image, vm_image
from tests.lab.vm_layouts import VmSpec
from tests.lab.vm_process import BOOT_ID, RECORDED, Process
from tests.lab.vm_qemu import acceleration, check_addresses, qemu_command, qmp
from tests.lab.vm_seed import write_seed

BOOT_TIMEOUT = 600  # seconds; five at once take about 90 under emulation on two cores, more on a busy machine
SPAWN_TIMEOUT = 20  # seconds until QEMU has opened its control socket
COMMAND_TIMEOUT = 120  # seconds, unless the caller says otherwise

FREE_PORTS = range(20000, 30000)  # below the ports that the kernel gives to outgoing connections


class Vm:
    """A QEMU machine in `directory`. Its disk survives power_cut() and start(), and goes with its lab.

    `ssh_port` is on 127.0.0.1; `forwarded` maps each (address, port) of the spec's `forwards` to its port there.
    `console` is the file with all that the machine wrote on its serial line since it got power.
    """

    def __init__(self, directory: Path, spec: VmSpec, ssh_config: Path) -> None:
        self.name = spec.name
        self.addresses = spec.addresses
        self.spec = spec
        ports = free_ports(1 + len(spec.forwards))
        self.ssh_port = spec.ssh_port or ports[0]
        self.forwarded = dict(zip(spec.forwards, ports[1:], strict=True))
        self.directory = directory
        self.console = directory / "console.log"
        self._ssh_config = ssh_config
        self._qemu: subprocess.Popen[bytes] | None = None

    def sh(
        self,
        command: str,
        check: bool = True,
        input: str | None = None,
        *,
        user: str = "root",
        timeout: float = COMMAND_TIMEOUT,
    ) -> str:
        """Standard output of a shell command run in the machine; `check`: LabError unless it exits 0."""
        done = self.call(command, input=input, user=user, timeout=timeout)
        if check and done.returncode:
            raise LabError(f"{self.name}: `{command}` ended with {done.returncode}, expected 0:\n{done.stderr}")
        return done.stdout

    def call(
        self, command: str, *, input: str | None = None, user: str = "root", timeout: float = COMMAND_TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the machine over ssh; an exit status never raises, and 255 may be ssh's own."""
        # An empty text, not nothing: ssh then sees the end of its input at once.
        argv = [*self.ssh_argv(user), command]
        return subprocess.run(argv, input=input or "", capture_output=True, text=True, timeout=timeout)

    def ssh_argv(self, user: str = "root", *options: str) -> list[str]:
        """The ssh command that logs in to the machine. (ssh itself does not read $HOME.)"""
        return ["ssh", "-F", str(self._ssh_config), "-l", user, *options, self.name]

    def boot_id(self, patience: int = 5) -> str | None:
        """Tells one boot of the machine from another; None when it does not accept ssh within `patience` seconds."""
        argv = [*self.ssh_argv("root", "-o", f"ConnectTimeout={patience}"), f"cat {BOOT_ID}"]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=4 * patience)
        except subprocess.TimeoutExpired:
            return None
        return done.stdout.strip() or None

    @property
    def running(self) -> bool:
        """Whether the machine has power: its QEMU runs."""
        process = self._process
        return process is not None and process.alive

    def start(self, *, link_down_for: float = 0) -> None:
        """The machine is up and answers on ssh; its link came `link_down_for` seconds after its power."""
        self.spawn()
        self._keep_link_down(link_down_for)
        await_up([self])

    def reboot(self, *, link_down_for: float = 0) -> None:
        """The machine is up on a new boot; its link came `link_down_for` seconds after the request to reboot."""
        before = self.sh(f"cat {BOOT_ID}").strip()
        self.call("systemctl --no-block reboot")
        self._keep_link_down(link_down_for)
        self.await_boot(other_than=before)

    def power_cut(self) -> None:
        """The machine stopped between two instructions. What it had not flushed to its disk is lost."""
        if process := self._process:
            process.kill()
        if self._qemu:
            self._qemu.kill()  # it may have had no time to write its record
            self._qemu.wait()

    def set_link(self, up: bool) -> None:
        """The machine's network cable is plugged in, or not. While it is not, ssh does not answer either."""
        qmp(self.directory, "set_link", name="nic", up=up)

    def _keep_link_down(self, seconds: float) -> None:
        if seconds:
            self.set_link(False)
            time.sleep(seconds)
            self.set_link(True)

    def tail(self, lines: int = 25) -> str:
        """What QEMU complained about, and the last lines of the console."""
        texts = [file.read_text(errors="replace") for file in self._logs if file.exists()]
        return "\n".join(line for text in texts for line in text.splitlines()[-lines:])

    def create(self, *, login_key: Path, host_key: Path) -> None:
        """The machine has a disk and what makes it itself; what a machine that exists has stays."""
        check_addresses(self.spec)
        wanted, made = dumps(asdict(self.spec)), self.directory / "spec.json"
        if made.exists() and made.read_text() == wanted:
            return
        if self.running:
            raise LabError(f"{self.name}: runs as {made.read_text()}, expected {wanted}: run vmctl down first")
        rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self._make_disk(vm_image(self.spec.suite))
        write_seed(self.directory / "seed.tar", self.spec, login_key=login_key, host_key=host_key)
        made.write_text(wanted)

    def _make_disk(self, image: Image) -> None:
        """The disk is an overlay: it keeps to the image, and the kernel beside it, that it was made from."""
        (self.directory / "image").symlink_to(image.directory)
        backing = ["-b", str(image.disk), "-F", "raw"]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, self.directory / "disk.qcow2"], check=True)

    def spawn(self) -> None:
        """The machine has power; see await_up. It runs on when this process ends."""
        if self.running:
            raise LabError(f"{self.name}: is running, expected it off: power_cut() it first")
        image = Image((self.directory / "image").resolve())
        forwards = [(self.ssh_port, self.addresses[0], 22)]
        forwards += [(here, address, port) for (address, port), here in self.forwarded.items()]
        command = qemu_command(self.spec, image, acceleration(image), forwards)
        self._socket.unlink(missing_ok=True)
        with (self.directory / "qemu.log").open("wb") as log:
            self._qemu = subprocess.Popen(
                [*RECORDED, "process", *command],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._await_socket(self._qemu)

    def _await_socket(self, qemu: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + SPAWN_TIMEOUT
        while not self._socket.exists():
            if qemu.poll() is not None or time.monotonic() > deadline:
                self.power_cut()
                raise LabError(f"{self.name}: QEMU did not start, expected its control socket:\n{self.tail()}")
            time.sleep(0.02)

    def await_boot(self, *, other_than: str | None = None) -> None:
        """The machine answers on ssh, on another boot than `other_than`; LabError with the console's tail if not."""
        start = time.monotonic()
        while (boot := self.boot_id(_patience(time.monotonic() - start))) in (None, other_than):
            if self._died():
                raise LabError(f"{self.name}: QEMU ended or its kernel panicked, expected a boot:\n{self.tail()}")
            if time.monotonic() > start + BOOT_TIMEOUT:
                seen = f"still boot {boot}" if boot else "no ssh"
                raise LabError(f"{self.name}: {seen} after {BOOT_TIMEOUT} s, expected a boot:\n{self.tail()}")
            time.sleep(0.3)
        print(f"{self.name}: up after {time.monotonic() - start:.0f} s", file=stderr)

    def _died(self) -> bool:
        return not self.running or "Kernel panic" in self.console.read_text(errors="replace")

    @property
    def _process(self) -> Process | None:
        return Process.read(self.directory / "process")

    @property
    def _socket(self) -> Path:
        return self.directory / "qmp.sock"

    @property
    def _logs(self) -> tuple[Path, Path]:
        return self.directory / "qemu.log", self.console


def await_up(machines: Sequence[Vm]) -> None:
    """Every machine answers on ssh. When one does not, or on Ctrl-C, all of them lose their power."""
    with ThreadPoolExecutor(max_workers=len(machines) or 1) as pool:
        try:
            for waiting in [pool.submit(machine.await_boot) for machine in machines]:
                waiting.result()
        except BaseException:
            for machine in machines:
                machine.power_cut()  # which also ends the threads that wait for it
            raise


def _patience(waited: float) -> int:
    """Seconds for one attempt. Short ones notice the end of a fast boot; on a busy machine sshd itself takes long."""
    return 3 + int(waited / 10)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing uses."""
    candidates = random.sample(FREE_PORTS, k=len(FREE_PORTS))
    return list(islice(filter(_is_free, candidates), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

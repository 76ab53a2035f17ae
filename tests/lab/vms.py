"""Real Debian hosts as QEMU machines, each with its own kernel and a role's real address, none with a way out."""

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import debian, vm_layouts
from tests.lab.debian import LabError, Suite, cache_dir
from tests.lab.vm import Vm, await_up
from tests.lab.vm_layouts import Layout
from tests.lab.vm_layouts import VmSpec as VmSpec
from tests.lab.vm_process import Process, record_myself
from tests.lab.vm_seed import make_key, public
from tests.lab.warm import Warm

REPOSITORY = Path(__file__).parents[2]
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Program → the Debian package that brings it.
NEEDED_PROGRAMS = {
    "apt-ftparchive": "apt-utils",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",  # to build an image without root
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
}


def missing_packages() -> list[str]:
    """Debian packages that a lab of virtual machines needs and this machine lacks, sorted."""
    return debian.missing_packages(NEEDED_PROGRAMS)


class VmLab:
    """Machines that boot on entry, answer on ssh inside the body, and are gone without a trace afterwards.

    `vms` are the machines by name; `home` is a HOME whose ssh key opens root and admin on every machine.
    With `directory` the lab is that one of possibly many processes, and stays until remove().
    Raises LabError with the console's tail when a machine does not come up.
    """

    def __init__(self, specs: Sequence[VmSpec], directory: Path | None = None) -> None:
        self._own = directory is None
        self.directory = directory or _labs() / f"lab-{secrets.token_hex(4)}"
        self.home = self.directory / "home"
        config = self.home / ".ssh/config"
        self.vms = {spec.name: Vm(self.directory / "machines" / spec.name, spec, config) for spec in specs}
        self._warm: dict[Path, Warm] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGHUP):  # end as Ctrl-C does, through every `with` and fixture
            signal.signal(number, signal.default_int_handler)
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def start(self) -> None:
        """Every machine answers on ssh. Those that ran already are left alone; when one fails, those begun stop."""
        if missing := missing_packages():
            raise LabError(f"lab of virtual machines: missing {' '.join(missing)}: run `apt-get install` for them")
        remove_abandoned()
        with self._locked():
            begun = self._begin()
        await_up(begun)
        for vm in self.vms.values():
            if vm not in begun:
                vm.await_boot()

    def _begin(self) -> list[Vm]:
        """Every machine has power; returns those that had none before."""
        if self._own:
            record_myself(self.directory / "owner")
        self._make_home()
        begun = [vm for vm in self.vms.values() if not vm.running]
        try:
            for vm in self.vms.values():
                vm.create(login_key=self._login_key, host_key=self._host_key(vm))
            for vm in begun:
                vm.spawn()
        except BaseException:
            for vm in begun:
                vm.power_cut()
            raise
        return begun

    def remove(self) -> None:
        """No machine of the lab is left, nor its disk. A second Ctrl-C waits until that is done."""
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
        try:
            while self._warm:
                self._warm.popitem()[1].close()
            with self._locked():
                for vm in self.vms.values():
                    vm.power_cut()
                remove_machines(self.directory)
            if self._own:
                shutil.rmtree(self.directory)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two `up` at the same time must not both start a machine."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def pyinfra(
        self,
        *args: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = REPOSITORY,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run this environment's pyinfra as an operator would, in the repository, with the lab's HOME."""
        return subprocess.run(
            [Path(sys.executable).with_name("pyinfra"), *args],
            env=self._environment | dict(env or {}),
            cwd=cwd,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def pyinfra_warm(
        self, *args: str | Path, cwd: Path, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """What `pyinfra` does, without the second of its start: `cwd` has the code of the repository."""
        if cwd not in self._warm:
            self._warm[cwd] = Warm(cwd)
        return self._warm[cwd].run(args, self._environment, timeout)

    @property
    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
        return inherited | {"HOME": str(self.home)}

    @property
    def _login_key(self) -> Path:
        return self.home / ".ssh/id_ed25519"

    def _host_key(self, vm: Vm) -> Path:
        return self.home / "host_keys" / vm.name

    def _make_home(self) -> None:
        """Keys that exist stay: staging hosts are the same to ssh after every `down` and `up`."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_key(self._login_key, "lab")
        for vm in self.vms.values():
            make_key(self._host_key(vm), vm.name)
        known = [f"[127.0.0.1]:{vm.ssh_port} {public(self._host_key(vm))}" for vm in self.vms.values()]
        (self.home / ".ssh/known_hosts").write_text("".join(known))
        (self.home / ".ssh/config").write_text(self._ssh_config())

    def _ssh_config(self) -> str:
        hosts = [f"Host {vm.name}\n  HostName 127.0.0.1\n  Port {vm.ssh_port}\n" for vm in self.vms.values()]
        ssh = self.home / ".ssh"
        common = f"""Host *
  BatchMode yes
  ConnectTimeout 30
  IdentitiesOnly yes
  IdentityFile "{self._login_key}"
  LogLevel ERROR
  StrictHostKeyChecking yes
  UserKnownHostsFile "{ssh / "known_hosts"}"
"""
        return "".join(hosts) + common


def remove_machines(directory: Path) -> None:
    """No machine of the lab in `directory` is left, whoever started it."""
    machines = directory / "machines"
    for record in machines.glob("*/process"):
        if process := Process.read(record):
            process.kill()
    if machines.exists():
        shutil.rmtree(machines)


def remove_abandoned() -> list[Path]:
    """The labs whose owner was killed before it could remove them are gone; returns where they were."""
    owners = {record.parent: Process.read(record) for record in _labs().glob("*/owner")}
    abandoned = [directory for directory, owner in owners.items() if owner and not owner.alive]
    for directory in abandoned:
        remove_machines(directory)
        shutil.rmtree(directory, ignore_errors=True)  # another process may be removing it, too
    return abandoned


def staging(suite: Suite = "bookworm", layout: Layout = "each") -> VmLab:
    """The machines of inventory/staging.py or staging_one.py: one lab per user, found again by every process."""
    specs = dict.fromkeys(vm_layouts.STAGING[layout]().values())
    return VmLab([replace(spec, suite=suite) for spec in specs], directory=staging_directory(layout))


def staging_directory(layout: Layout = "each") -> Path:
    return _labs() / {"each": "staging", "one": "staging-one"}[layout]


def staging_key(layout: Layout = "each") -> Path:
    """The private key that opens root and admin on the staging machines; there after the first `vmctl up`."""
    return staging_directory(layout) / "home/.ssh/id_ed25519"


def staging_known_hosts(layout: Layout = "each") -> Path:
    """The known_hosts file with the host keys of the staging machines; there after the first `vmctl up`."""
    return staging_key(layout).with_name("known_hosts")


def _labs() -> Path:
    return cache_dir() / "vms"

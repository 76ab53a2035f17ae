"""Real Debian hosts as systemd-nspawn containers, on a bridge in a network namespace without any uplink."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import records
from tests.lab.container import Container, await_ready
from tests.lab.debian import LabError
from tests.lab.layouts import REPOSITORY as REPOSITORY
from tests.lab.layouts import HostSpec as HostSpec
from tests.lab.recipe import container_tree
from tests.lab.records import PREFIX, Record
from tests.lab.warm import Warm

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_PER_HOST = 12  # a booted host holds about half; the rest is for what tests start there


class ContainerLab:
    """Hosts that boot on entry, answer on ssh inside the body, and are gone without a trace afterwards.

    `netns` is the network namespace's name, `home` a HOME whose ssh key opens root and admin on every host,
    `hosts` the containers by name. Raises LabError with the console's tail when a host does not come up.
    """

    def __init__(self, hosts: Sequence[HostSpec], *, name: str | None = None) -> None:
        """With a `name` the lab is found again by it, and stays until remove()."""
        owner = None if name else records.myself()
        self._open(Record(f"{PREFIX}{name or secrets.token_hex(3)}", tuple(hosts), owner))

    def _open(self, record: Record) -> None:
        self.record = record
        self.netns = record.name
        self.home = record.directory / "home"
        self.hosts = {spec.name: Container(record, spec) for spec in record.hosts}
        self._warm: dict[Path, Warm] = {}

    @classmethod
    def attach(cls, record: Record) -> Self:
        """The lab that another process started."""
        lab = cls.__new__(cls)
        lab._open(record)
        return lab

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def start(self) -> None:
        """Every host answers on ssh; when one does not, nothing of the lab is left."""
        require_root()
        for number in (signal.SIGTERM, signal.SIGHUP):  # end as Ctrl-C does, through every `with` and fixture
            signal.signal(number, signal.default_int_handler)
        for suite in {spec.suite for spec in self.record.hosts}:
            container_tree(suite)
        records.remove_abandoned()
        try:
            self._start()
        except BaseException:
            self.remove()
            raise

    def _start(self) -> None:
        records.write(self.record)
        _make_ssh_home(self.home)
        _make_network(self.record)
        _allow_inotify(len(self.hosts))
        for container in self.hosts.values():
            container.create(self.home)
            container.start()
        await_ready(list(self.hosts.values()))

    def remove(self) -> None:
        """Nothing of the lab is left. A second Ctrl-C waits until that is done."""
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
        try:
            while self._warm:
                self._warm.popitem()[1].close()
            records.remove(self.record)
            for container in self.hosts.values():
                container.reap()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = REPOSITORY,
        timeout: float | None = None,
        check: bool = False,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of this machine in the lab's network, with the lab's HOME; `env` is added to it."""
        return subprocess.run(
            [*self._into, *argv],
            env=self._environment | dict(env or {}),
            cwd=cwd,
            timeout=timeout,
            check=check,
            input=input,
            capture_output=True,
            text=True,
        )

    def pyinfra(
        self,
        *args: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = REPOSITORY,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run this environment's pyinfra as an operator would, in the repository."""
        return self.run([Path(sys.executable).with_name("pyinfra"), *args], env=env, cwd=cwd, timeout=timeout)

    def pyinfra_warm(
        self, *args: str | Path, cwd: Path, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """What `pyinfra` does, without the second of its start: `cwd` has the code of the repository."""
        if cwd not in self._warm:
            self._warm[cwd] = Warm(cwd, self._into)
        return self._warm[cwd].run(args, self._environment, timeout)

    @property
    def _into(self) -> list[str]:
        return ["nsenter", f"--net={self.record.netns}", "--"]

    @property
    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
        return inherited | {"HOME": str(self.home)}

    def ssh_argv(self, host: str, user: str = "root") -> list[str]:
        """The ssh command for a host, to be run in the lab's network. (ssh itself does not read $HOME.)"""
        return ["ssh", "-F", str(self.home / ".ssh/config"), f"{user}@{self.hosts[host].addresses[0]}"]


def require_root() -> None:
    """Namespaces, mounts and cgroups of hosts are root's: LabError for anybody else."""
    if os.geteuid():
        raise LabError(f"container lab: run as uid {os.geteuid()}, needs root: use sudo")


def _make_ssh_home(home: Path) -> None:
    """A private HOME that pyinfra finds its key in, without any setting in the inventory."""
    ssh = home / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    key = ssh / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", key], check=True)
    (ssh / "config").write_text(f"IdentityFile {key}\nUserKnownHostsFile {ssh / 'known_hosts'}\n")


def _make_network(record: Record) -> None:
    """The namespace has a bridge and loopback, and no way out."""
    networks = {ip_network(f"{address}/24", strict=False) for spec in record.hosts for address in spec.addresses}
    commands = ["link set lo up", "link add br0 type bridge", "link set br0 up"]
    commands += [f"address add {network[254]}/24 dev br0" for network in sorted(networks)]
    subprocess.run(["ip", "netns", "add", record.name], check=True)
    subprocess.run(["ip", "-n", record.name, "-batch", "-"], input="\n".join(commands), text=True, check=True)


def _allow_inotify(hosts: int) -> None:
    """Debian's limit of 128 ends at about twenty hosts. Raised, never lowered: other labs may need it."""
    if int(INOTIFY_INSTANCES.read_text()) < 100 + hosts * INOTIFY_PER_HOST:
        INOTIFY_INSTANCES.write_text(str(100 + hosts * INOTIFY_PER_HOST))

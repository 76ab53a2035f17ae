"""One lab host: boot it, run commands in it, stop it, cut its power, throw its disk away."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab import cgroups, records
from tests.lab.debian import LabError
from tests.lab.layouts import HostSpec
from tests.lab.recipe import container_tree
from tests.lab.records import Record

BOOT_TIMEOUT = 90  # seconds; forty hosts on two cores take under 20
STOP_TIMEOUT = 60  # seconds for an orderly shutdown
LINK_TIMEOUT = 20  # seconds until a host's interface of its last boot has gone
COMMAND_TIMEOUT = 120  # seconds, unless the caller says otherwise

CLEAN_ENV = ["env", "-i", "HOME=/root", "USER=root", "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
NSPAWN_ENV = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",  # systemd 257 no longer runs on version 1
    "SYSTEMD_NSPAWN_LOCK": "0",  # the lock file would outlive a power cut
}
NAMESPACES = ("-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--")
ENTER_CGROUP = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'
SSH_LISTENS = re.compile(r":0016 \S+ 0A ")  # port 22, state LISTEN: proc_pid_net(5)
BANNER = 'read -r -t 2 line <"/dev/tcp/$1/22" && [[ $line == SSH-2.0-* ]]'
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Container:
    """One systemd-nspawn host. Its disk, an overlay over the shared tree, survives stop and kill.

    A reboot from inside only ends it (systemd-nspawn --keep-unit): wait until it is not `running`, then boot().
    """

    def __init__(self, record: Record, spec: HostSpec) -> None:
        self.name = spec.name
        self.addresses = spec.addresses
        self._spec = spec
        self._record = record
        self._directory = record.directory / spec.name
        self._root = self._directory / "root"
        self._cgroup = f"{record.name}/{spec.name}"
        self._process: subprocess.Popen[bytes] | None = None

    def sh(self, command: str, check: bool = True, input: str | None = None) -> str:
        """Standard output of a bash command run as root in the host; `check`: LabError unless it exits 0."""
        done = self.call(command, input=input)
        if check and done.returncode:
            raise LabError(f"{self.name}: `{command}` ended with {done.returncode}, expected 0:\n{done.stderr}")
        return done.stdout

    def call(
        self, command: str, *, input: str | None = None, timeout: float = COMMAND_TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run a bash command as root in the host, in a clean environment; exit statuses never raise."""
        into = ["nsenter", f"--target={self.leader}", *NAMESPACES]
        stdin = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run(
            [*into, *CLEAN_ENV, "bash", "-c", command],
            capture_output=True,
            text=True,
            timeout=timeout,
            start_new_session=True,  # `kill 0` there, of a process that is gone, would reach the tests' own group
            **stdin,
        )

    def path(self, path: str | Path) -> Path:
        """A path of the host as this machine sees it; while the host is down, on its disk.

        An absolute symbolic link on the way leads to this machine's files: name the target itself.
        """
        leader = cgroups.leader(self._group)
        root = Path(f"/proc/{leader}/root") if leader else self._root
        return root / str(path).lstrip("/")

    @property
    def running(self) -> bool:
        """Whether any process of the host is left."""
        return cgroups.populated(self._group)

    @property
    def leader(self) -> int:
        """PID of the host's init on this machine; LabError while the host is down."""
        leader = cgroups.leader(self._group)
        if leader is None:
            raise LabError(f"{self.name}: is down, expected it to run: boot() it first")
        return leader

    def boot(self) -> None:
        """The host is up and answers on ssh."""
        self.start()
        await_ready([self])

    def stop(self) -> None:
        """The host was shut down in order, its services first. The disk stays."""
        os.kill(self.leader, signal.SIGRTMIN + 4)  # systemd(1): start poweroff.target
        in_order = cgroups.emptied(self._group, STOP_TIMEOUT)
        self.kill()
        if not in_order:
            raise LabError(f"{self.name}: still up after {STOP_TIMEOUT} s of shutdown, now killed:\n{self.console()}")

    def kill(self) -> None:
        """Every process of the host is gone at once, as by a power cut (but what the kernel cached stays)."""
        cgroups.kill(self._group)
        self.reap()

    def reset(self) -> None:
        """The host runs as it did on its first boot, on a fresh disk."""
        self.kill()
        subprocess.run(["umount", self._root], check=True)
        for part in ("upper", "work"):
            shutil.rmtree(self._directory / part)
        self._mount()
        self.boot()

    def create(self, home: Path) -> None:
        """The host has a disk, an ssh identity that `home` knows, and lets the key of `home` in."""
        self._directory.mkdir()
        key = self._directory / "ssh_host_ed25519_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", key], check=True)
        names = ",".join((self.name, *self.addresses))
        with (home / ".ssh/known_hosts").open("a") as known_hosts:
            known_hosts.write(f"{names} {key.with_suffix('.pub').read_text()}")
        (self._directory / "machine-id").write_text(f"{secrets.token_hex(16)}\n")
        shutil.copy(home / ".ssh/id_ed25519.pub", self._directory / "authorized_keys")
        self._mount()

    def _mount(self) -> None:
        """A fresh overlay over the shared tree holds what makes this host itself."""
        for part in ("upper", "work", "root"):
            (self._directory / part).mkdir(exist_ok=True)
        layers = {"lowerdir": container_tree(self._spec.suite)}
        layers |= {f"{part}dir": self._directory / part for part in ("upper", "work")}
        options = ",".join(f"{name}={path}" for name, path in layers.items())
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self._root], check=True)
        self._write_identity()

    def _write_identity(self) -> None:
        etc = self._root / "etc"
        shutil.copy(self._directory / "machine-id", etc)  # none would make it a first boot, with all its presets
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
        (etc / "systemd/network/10-lab.network").write_text(_network(self.addresses))
        for key in self._directory.glob("ssh_host_*"):
            shutil.copy(key, etc / "ssh")
        for user in ("root", "home/admin"):
            self._allow_login(self._root / user)

    def _allow_login(self, user_home: Path) -> None:
        ssh = user_home / ".ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)  # the tree has root's
        keys = Path(shutil.copy(self._directory / "authorized_keys", ssh))
        for made in (ssh, keys):
            os.chown(made, user_home.stat().st_uid, user_home.stat().st_gid)

    def start(self) -> None:
        """systemd-nspawn is starting the host, detached from this terminal; see await_ready.

        The kernel takes the network interface of the last boot away a moment after its processes: until then the name
        is taken, and systemd-nspawn ends.
        """
        deadline = time.monotonic() + LINK_TIMEOUT
        while True:
            written = self._console_file.stat().st_size if self._console_file.exists() else 0
            self._begin()
            if not (written and self._found_its_link_taken(written)) or time.monotonic() > deadline:
                return
            time.sleep(0.2)

    def _found_its_link_taken(self, written: int) -> bool:
        """Whether it ended for that; `written`: bytes on its console before."""
        deadline = time.monotonic() + LINK_TIMEOUT
        while cgroups.leader(self._group) is None and time.monotonic() < deadline:
            if self.exited() is not None:
                return "veth interfaces" in self._console_file.read_bytes()[written:].decode(errors="replace")
            time.sleep(0.02)
        return False

    def _begin(self) -> None:
        if cgroups.populated(self._group):
            raise LabError(f"{self.name}: is up, expected it down: stop() or kill() it first")
        # Never into the last boot's cgroups: after cgroup.kill, Linux 6.18 kills what systemd 257 forks from one of
        # them into a new one (seen as `ssh.service: code=killed, status=9/KILL` on the boot after the next).
        cgroups.remove(self._cgroup)
        group = cgroups.create(self._cgroup)
        into = ["sh", "-c", ENTER_CGROUP, "sh", str(group), "nsenter", f"--net={self._record.netns}"]
        nspawn = ["systemd-nspawn", f"--directory={self._root}", "--boot", "--register=no", "--keep-unit"]
        nspawn += [f"--machine={records.machine(self._record, self._spec)}", f"--hostname={self.name}"]
        nspawn += ["--network-bridge=br0", "--resolv-conf=off", "--console=read-only"]
        with self._console_file.open("ab") as console:
            self._process = subprocess.Popen(
                [*into, *nspawn],
                env=NSPAWN_ENV,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ready(self) -> bool:
        """Whether the host has finished booting and its sshd answers, asked from the lab's network."""
        leader = cgroups.leader(self._group)
        if leader is None or not _ssh_listens(leader) or self.path("/run/nologin").exists():
            return False
        probe = ["nsenter", f"--net={self._record.netns}", "timeout", "3", "bash", "-c", BANNER, "bash"]
        if subprocess.run([*probe, self.addresses[0]], stderr=subprocess.DEVNULL).returncode:
            return False
        return self.call("systemctl is-system-running").stdout.strip() in ("running", "degraded")

    def console(self, lines: int = 25) -> str:
        """The last lines that the host wrote on its console."""
        text = ANSI.sub("", self._console_file.read_text(errors="replace"))
        return "\n".join(text.splitlines()[-lines:])

    def exited(self) -> int | None:
        """Exit status of systemd-nspawn; None while it runs."""
        return self._process.poll() if self._process else None

    def reap(self) -> None:
        if self._process:
            self._process.wait(timeout=STOP_TIMEOUT)

    @property
    def _group(self) -> Path:
        return cgroups.path(self._cgroup)

    @property
    def _console_file(self) -> Path:
        return self._directory / "console.log"


def await_ready(containers: Sequence[Container], timeout: float = BOOT_TIMEOUT) -> None:
    """Every host answers on ssh; LabError with the console's tail for the first that ended or is late."""
    deadline = time.monotonic() + timeout
    waiting = list(containers)
    while waiting:
        for container in waiting:
            if container.exited() is not None:
                raise LabError(
                    f"{container.name}: systemd-nspawn ended with {container.exited()}, expected it to run:\n"
                    f"{container.console()}"
                )
        waiting = [container for container in waiting if not container.ready()]
        if waiting and time.monotonic() > deadline:
            late = ", ".join(container.name for container in waiting)
            raise LabError(f"{late}: no ssh within {timeout} s; console of the first:\n{waiting[0].console()}")
        time.sleep(0.05)


def _ssh_listens(leader: int) -> bool:
    """A cheap look before the real one, because forty hosts are asked twenty times a second."""
    try:
        return any(SSH_LISTENS.search(Path(f"/proc/{leader}/net/{table}").read_text()) for table in ("tcp", "tcp6"))
    except (FileNotFoundError, ProcessLookupError, OSError):
        return False


def _network(addresses: Sequence[str]) -> str:
    lines = ["[Match]", "Name=host0", "[Network]", "LinkLocalAddressing=no", "LLMNR=no", "IPv6AcceptRA=no"]
    return "\n".join([*lines, *(f"Address={address}/24" for address in addresses), ""])

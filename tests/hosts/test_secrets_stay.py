"""Through a tier's whole life no password, hash or private key is where somebody else could read it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.certificates import Files
from tests.hosts.conftest import TABLE, Finished, Tier, layout, output, overriding, wait_for
from tests.lab.containers import ContainerLab
from tests.tree import copy_of_tree

pytestmark = pytest.mark.hosts

ROLE = "crypto"
SEALED = "socket"  # speaks TLS
NO_OVERRIDES: Mapping[str, Mapping[str, Any]] = {}
LOUD = ("-vvv", "--debug", "--diff")
AS_ADMIN = ("--ssh-user", "admin", "--sudo")
PLACES = "/etc /home /opt /root /run /srv /tmp /usr/local /var"  # of a host's files, those that somebody writes
HASHES = r"#([0-9a-f]{64})"
SHORTEST = 12  # characters of a secret: nothing else is equal to it by chance
# All that is ever in an argument list or environment, of every process, while the file is there.
SAMPLE = (
    "while [ -e /run/sampling ]; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; sleep 0.01; done "
    ">/run/sampled 2>/dev/null"
)


@dataclass
class Life:
    """A tier and whoever watches it: what its runs print, what this machine's processes are told, and the host's."""

    tier: Tier
    home: Path  # where the runs' temporary files go
    files: Files  # of the role that speaks TLS
    printed: list[str] = field(default_factory=list)
    sampled: set[bytes] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)

    def words(self, *options: str, overrides: Mapping[str, Mapping[str, Any]] = NO_OVERRIDES) -> list[str]:
        """The options of a loud run."""
        roles = overriding({SEALED: {"tls": self.files.block()}, **overrides})
        secrets = ("--data", f"redis_secrets_file={self.tier.secrets}")
        return [*LOUD, "-y", *self.tier.options, *secrets, *roles, *options]

    def run(self, file: str, *options: str, overrides: Mapping[str, Mapping[str, Any]] = NO_OVERRIDES) -> Finished:
        """A loud run; what it printed is kept, and the secrets that there are after it."""
        words, temporary = self.words(*options, overrides=overrides), {"TMPDIR": str(self.home)}
        done = self.tier.lab.pyinfra(
            *words, self.tier.inventory, file, cwd=self.tier.repository, env=temporary, timeout=300
        )
        self.printed.append(output(done))
        self.learn()
        return done

    def learn(self) -> None:
        """Every secret that exists now is one that nobody may ever see."""
        with suppress(yaml.YAMLError, OSError):
            self.secrets |= {word for users in self.tier.passwords.values() for word in users.values()}
        self.secrets |= set(re.findall(HASHES, self.tier.host(ROLE).sh("cat /etc/redis/*.acl 2>/dev/null || true")))
        _, _, *key, _ = (self.tier.lab.home / ".ssh/id_ed25519").read_text().splitlines()
        self.secrets |= {*key}  # but for the first line, which all keys of this kind begin with
        _, *key, _ = (self.files.directory / "server.key").read_text().splitlines()
        self.secrets |= {*key}

    def sample(self) -> None:
        """What this machine's processes are told; this one is the test itself."""
        for process in Path("/proc").glob("[0-9]*"):
            if process.name == str(os.getpid()):
                continue
            for name in ("cmdline", "environ"):
                try:
                    self.sampled.add((process / name).read_bytes())
                except OSError:
                    continue


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """A bare host; from now on it is watched, as this machine is. By sudo, which logs what it runs."""
    directory = tmp_path_factory.mktemp("life")
    (directory / "tmp").mkdir()
    with ContainerLab(layout("onebox", "bookworm")) as lab:
        tier = Tier(lab, "inventory/onebox.py", directory / "secrets.yaml", AS_ADMIN)
        files = Files(directory / "files", TABLE[SEALED]["address"]).renew()
        life, ended = Life(tier, directory / "tmp", files), threading.Event()
        host = lab.hosts["redis-1"]
        host.sh(f"touch /run/sampling; systemd-run -q --collect --unit=sampling sh -c '{SAMPLE}'")

        def watch() -> None:
            while not ended.wait(0.05):
                life.sample()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            live(life)
        finally:
            ended.set()
            watcher.join()
            host.sh("rm /run/sampling")
        yield life


def live(life: Life) -> None:
    """A first deploy, changes, looks, new passwords and certificates, wrong ones, and bad ends of the tool itself."""
    tier, reports = life.tier, life.home
    done = life.run("deploy.py")
    assert done.returncode == 0, output(done)
    told = ("--data", f"drift_report={reports}/drift.json", "--data", f"drift_page={reports}/drift.html")
    done = life.run("deploy.py", overrides={ROLE: {"databases": 17}})  # restarts it
    assert done.returncode == 0, output(done)
    life.files.renew()
    for file, *options in (
        ("deploy.py", "--data", f"new_passwords={ROLE}"),
        ("deploy.py", "--data", f"rotate={ROLE}"),
        ("tasks/verify.py",),
        ("deploy.py", "--data", f"rotate_finish={ROLE}"),
        ("deploy.py", "--data", f"rotate_undo={ROLE}"),
        ("deploy.py", "--data", f"rotate_finish={ROLE}"),
        ("tasks/verify.py",),
        ("tasks/drift.py", *told),
        ("tasks/endpoints.py",),
        ("tasks/endpoints.py", "--data", f"endpoints_dir={tier.secrets.parent}/endpoints"),
    ):
        done = life.run(file, *options)
        assert done.returncode == 0 or file == "tasks/drift.py", output(done)
    right = tier.secrets.read_text()
    wrong = yaml.safe_load(right)
    wrong[ROLE]["operator"] = wrong["gateway"]["operator"] = "not-the-password-of-any-operator"
    tier.secrets.write_text(yaml.safe_dump(wrong))
    for file in ("tasks/verify.py", "deploy.py"):
        assert life.run(file).returncode != 0
    tier.secrets.write_text(f"{right}\n  crypto: [not YAML any more: {wrong[ROLE]['crypto-service']}")
    assert life.run("deploy.py").returncode != 0
    tier.secrets.write_text(right)
    for crash in CRASHES.values():
        tier.host(ROLE).sh("sed -i '/crypto-service/s/ +info//' /etc/redis/crypto.acl; rm -f /etc/redis/gateway.acl")
        crash(life)
    done = life.run("deploy.py")
    assert done.returncode == 0, output(done)


def a_fault_of_ours(life: Life) -> None:
    """The step that sends passwords raises what nobody has thought of, with all that it has at hand."""
    copy = copy_of_tree(life.home.parent / "faulty")
    exchange = copy / "tasks/observed/exchange.py"
    line = "        replies: list[Reply] = []\n"
    assert line in exchange.read_text()
    exchange.write_text(exchange.read_text().replace(line, f"{line}        raise LookupError(commands)\n", 1))
    tier = Tier(life.tier.lab, life.tier.inventory, life.tier.secrets, life.tier.options, copy)
    other = Life(tier, life.home, life.files)
    assert other.run("deploy.py").returncode != 0
    assert "LookupError" in other.printed[0]
    life.printed += other.printed


def ended_by(number: int) -> Callable[[Life], None]:
    """The tool is ended in the midst of its work."""

    def crash(life: Life) -> None:
        words = [
            *(f"--net=/run/netns/{life.tier.lab.netns}", "--", str(Path(sys.executable).with_name("pyinfra"))),
            *(*life.words(), life.tier.inventory, "deploy.py"),
        ]
        home = {"HOME": str(life.tier.lab.home), "TMPDIR": str(life.home), "PYTHONFAULTHANDLER": "1"}
        log = life.home / f"{signal.Signals(number).name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["nsenter", *words],
                cwd=life.tier.repository,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **home},
            )
            wait_for(lambda: b"Starting operation: " in log.read_bytes() or process.poll() is not None, "it works", 60)
            process.send_signal(number)
            process.wait(60)
        life.printed.append(log.read_text(errors="replace"))
        life.learn()

    return crash


CRASHES: dict[str, Callable[[Life], None]] = {
    "a fault of ours": a_fault_of_ours,
    **{signal.Signals(number).name: ended_by(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGABRT)},
}


def leaked(life: Life, text: str) -> list[str]:
    """The secrets in a text, shortened."""
    return sorted(f"{secret[:4]}…" for secret in life.secrets if secret in text)


def test_there_are_secrets_to_be_found(life: Life) -> None:
    users = sum(len(row["services"]) + 1 for row in TABLE.values())
    assert len(life.secrets) > 2 * users
    assert min(map(len, life.secrets)) >= SHORTEST


def test_no_run_prints_one(life: Life) -> None:
    printed = "".join(life.printed)
    assert "redis-crypto.service" in printed
    assert leaked(life, printed) == []


def test_none_is_in_an_argument_list_or_environment_of_either_machine(life: Life) -> None:
    here = b"\0".join(life.sampled).decode(errors="replace")
    there = life.tier.host(ROLE).sh("tr '\\0' ' ' </run/sampled; rm /run/sampled")
    assert "deploy.py" in here
    assert "redis-server" in there
    assert leaked(life, here + there) == []


def test_none_is_in_a_file_of_the_host_but_the_hashes_in_the_acl_files_and_the_key(life: Life) -> None:
    host = life.tier.host(ROLE)
    found = host.sh(f"grep -rlaFf - {PLACES} 2>/dev/null || true", input="\n".join(life.secrets))
    acl_files = {f"/etc/redis/{role}.acl" for role in TABLE}
    assert set(found.split()) == {*acl_files, f"/etc/redis/{SEALED}.pem"}
    assert leaked(life, host.sh("journalctl --no-pager -o export; dmesg 2>/dev/null || true")) == []


def test_none_is_in_a_file_of_the_controller_but_where_it_was_asked_for(life: Life) -> None:
    ours = [life.home, life.tier.lab.home, life.tier.repository]
    command = ["grep", "-rlaFf", "-", *map(str, ours)]
    found = subprocess.run(command, input="\n".join(life.secrets), capture_output=True, text=True).stdout.split()
    assert found == [str(life.tier.lab.home / ".ssh/id_ed25519")]

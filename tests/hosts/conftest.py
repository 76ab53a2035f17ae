"""Real hosts for the tests: labs of containers, deployed to by the production commands."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import redis
import yaml
from redis.connection import Connection

from tests.hosts import figures
from tests.hosts.clients import WithEveryRight, client
from tests.lab import layouts
from tests.lab.container import Container
from tests.lab.containers import ContainerLab
from tests.lab.debian import Suite
from tests.lab.layouts import HostSpec
from tests.lab.vm import Vm
from tests.lab.vm_layouts import VmSpec
from tests.lab.vms import VmLab
from tests.tree import catalogue, has_our_code, tree

FIVE = ("gateway", "socket", "shared", "compliance", "crypto")
# The rows of the tests' own catalogue, of the roles that inventory/prod.py and onebox.py have.
TABLE = {name: row for name, row in catalogue()["roles"].items() if name in FIVE}
ROLES = tuple(TABLE)
INNER_PORT = catalogue()["defaults"]["inner_port"]
Finished = CompletedProcess[str]
OF_MACHINE = ("gateway", "crypto")  # what a virtual machine carries
INVENTORY_OF_MACHINE = """
_vm = [("vm", {{"ssh_hostname": "127.0.0.1", "ssh_port": {port}, "ssh_user": "root"}})]
redis_gateway = _vm
redis_crypto = _vm
"""


class Answering:
    """Whatever has roles that redis-py can speak to."""

    def client(self, role: str, user: str) -> "redis.Redis":
        """redis-py logged in as `user` of the role."""
        raise NotImplementedError

    def answers(self, role: str) -> bool:
        """Whether the role answers its operator."""
        try:
            with self.client(role, "operator") as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False


@dataclass(frozen=True)
class Tier(Answering):
    """A lab and the way the tool is pointed at it."""

    lab: ContainerLab
    inventory: str
    secrets: Path
    options: tuple[str, ...] = ()
    repository: Path = field(default_factory=tree)
    warm: bool = True  # runs begin as tests/lab/warm.py says, where nobody has changed the code

    def run(self, file: str, *options: str, yes: bool = True) -> Finished:
        """`pyinfra [-y] INVENTORY FILE` as an operator in the tests' tree would run it, without a terminal."""
        words = [*(["-y"] if yes else []), *self.options, "--data", f"redis_secrets_file={self.secrets}", *options]
        pyinfra = self.lab.pyinfra_warm if self.warm and has_our_code(self.repository) else self.lab.pyinfra
        return pyinfra(*words, self.inventory, file, cwd=self.repository, timeout=300)

    def deploy(self, *options: str) -> Finished:
        """A deploy that must succeed."""
        done = self.run("deploy.py", *options)
        assert done.returncode == 0, output(done)
        return done

    def deploy_json(self, *options: str) -> dict[str, Any]:
        """What a deploy prints with --json."""
        done = self.run("deploy.py", "--json", *options)
        assert done.returncode == 0, output(done)
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def host(self, role: str) -> Container:
        """The container that carries a role."""
        return self.lab.hosts.get(f"redis-{role}") or self.lab.hosts["redis-1"]

    @property
    def passwords(self) -> dict[str, dict[str, str]]:
        """Passwords by role and user, as the secrets file hands them out now."""
        known = yaml.safe_load(self.secrets.read_text())
        return {
            role: {user: own[0] if isinstance(own, list) else own for user, own in users.items()}
            for role, users in known.items()
        }

    def client(
        self, role: str, user: str | None = None, port: int | None = None, every_right: bool = False
    ) -> "redis.Redis":
        """redis-py logged in as `user` with its own password; nobody when None."""
        password = self.passwords[role][user] if user else None
        row = TABLE[role]
        return client(self.lab.netns, row["address"], port or row["port"], user, password, every_right=every_right)

    def operator(self, role: str) -> "redis.Redis":
        """redis-py of who administers the role and, for a test's set-up, may do everything else, too."""
        return self.client(role, "operator", every_right=True)

    def is_busy(self, role: str) -> bool:
        """Whether a script has run for longer than busy-reply-threshold, so that everybody is told so.

        Until then nobody is answered, and a client gives up about when the server begins to say it.
        """
        try:
            with self.client(role, "operator") as client:
                return not client.ping()
        except redis.exceptions.ResponseError as error:
            return "BUSY" in str(error)
        except redis.exceptions.RedisError:
            return False

    def pid(self, role: str) -> int:
        """The main process of a role."""
        return int(self.host(role).sh(f"systemctl show -P MainPID redis-{role}.service"))


def layout(name: str, suite: Suite) -> tuple[HostSpec, ...]:
    """The hosts of inventory/NAME.py of the tests' tree."""
    return layouts.layout(name, suite, tree())


def overriding(overrides: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The options that change fields of roles in one run."""
    return ("--data", f"redis_overrides={json.dumps(overrides)}")


def output(done: Finished) -> str:
    """Everything a command printed."""
    return f"exit {done.returncode}\n{done.stdout}{done.stderr}"


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Return when `condition` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)


def operations(done: Finished) -> list[str]:
    """Names of the operations that a run executed, in order."""
    return [name.strip() for name in re.findall(r"--> Starting operation: (.*)", output(done))]


@pytest.fixture(scope="module")
def onebox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """All five roles on one Debian 12 host, deployed; a test that breaks it mends it by a deploy."""
    with ContainerLab(layout("onebox", "bookworm")) as lab:
        tier = Tier(lab, "inventory/onebox.py", tmp_path_factory.mktemp("onebox") / "secrets.yaml")
        tier.deploy()
        yield tier


@contextmanager
def two_roles(directory: Path, *roles: str) -> Iterator[Tier]:
    """These roles on one Debian 12 host, deployed."""
    with ContainerLab(layout("onebox", "bookworm")) as lab:
        host = '[("redis-1", {"ssh_hostname": "172.28.2.1", "ssh_user": "root"})]'
        inventory = directory / "box.py"
        inventory.write_text("".join(f"redis_{role} = {host}\n" for role in roles))
        tier = Tier(lab, str(inventory), directory / "secrets.yaml")
        tier.deploy()
        yield tier


@dataclass(frozen=True)
class Machine(Answering):
    """A VM with two roles, and the tool pointed at it."""

    lab: VmLab
    vm: Vm
    inventory: Path
    secrets: Path
    repository: Path = field(default_factory=tree)

    def run(self, file: str, *options: str) -> Finished:
        secrets = ("--data", f"redis_secrets_file={self.secrets}")
        words = ("-y", *secrets, *options, str(self.inventory), file)
        return self.lab.pyinfra_warm(*words, cwd=self.repository, timeout=900)

    def must(self, file: str, *options: str) -> Finished:
        done = self.run(file, *options)
        assert done.returncode == 0, output(done)
        return done

    def client(self, role: str, user: str, kind: type[Connection] = Connection) -> "redis.Redis":
        """redis-py as a user of the role, through a port of 127.0.0.1 that QEMU forwards."""
        port = self.vm.forwarded[TABLE[role]["address"], TABLE[role]["port"]]
        password = yaml.safe_load(self.secrets.read_text())[role][user]
        login = {"username": user, "password": password, "decode_responses": True}
        return redis.Redis(
            connection_pool=redis.ConnectionPool(connection_class=kind, host="127.0.0.1", port=port, **login)
        )

    def operator(self, role: str) -> "redis.Redis":
        """Who may do everything, for a test's set-up."""
        return self.client(role, "operator", WithEveryRight)

    def wait(self) -> None:
        wait_for(lambda: all(self.answers(role) for role in OF_MACHINE), "both roles answer", 180)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp("vm")
    endpoints = tuple((TABLE[role]["address"], TABLE[role]["port"]) for role in OF_MACHINE)
    addresses = tuple(address for address, _ in endpoints)
    with VmLab([VmSpec("vm", addresses, memory_mb=2048, forwards=endpoints)]) as lab:
        vm = lab.vms["vm"]
        inventory = directory / "inventory.py"
        inventory.write_text(INVENTORY_OF_MACHINE.format(port=vm.ssh_port))
        machine = Machine(lab, vm, inventory, directory / "secrets.yaml")
        machine.must("deploy.py")
        yield machine


@pytest.hookimpl(trylast=True)  # when those that nobody asked for are gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One sentence instead of an error for each test."""
    containers = [item for item in items if item.get_closest_marker("hosts") and not item.get_closest_marker("vm")]
    if containers and os.geteuid():
        raise pytest.UsageError(
            f"{len(containers)} of these tests boot containers, which needs root: run make test or make hosts, or with "
            "sudo; without root: make fast, make vms"
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests measured, also when all of them passed."""
    if lines := figures.lines():
        terminalreporter.section("measured")
        terminalreporter.write("\n".join([*lines, ""]))

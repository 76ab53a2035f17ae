"""A role with a standby on two containers: who takes writes, who follows, and what somebody tells a server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.bench.handover import LIBRARY
from tests.hosts.clients import client
from tests.hosts.conftest import Tier
from tests.hosts.placing import ADDRESS, NEW, OLD, at, placed
from tests.lab.containers import ContainerLab

KEYS = {f"kept:{number}": str(number) for number in range(2000)}
SERVICE = "crypto-service"
PORT = 6383
HANDOVER = ("tasks/handover.py", "--data", "handover=crypto")


def filled(lab: ContainerLab, here: Path) -> Tier:
    """Role crypto on the first of two hosts, with keys; a role on the second, whose standby is there from the first."""
    tier = placed(Tier(lab, str(here / "two.py"), here / "secrets.yaml"), crypto=OLD, socket=(NEW, OLD))
    tier.deploy()
    with at(tier, OLD) as known:
        known.mset(KEYS)
        known.function_load(LIBRARY)
    return tier


def paired(tier: Tier) -> Tier:
    """The second host is the standby of the first one's role, and the first one serves."""
    tier = placed(tier, crypto=(OLD, NEW), socket=(NEW, OLD))
    tier.deploy()
    return tier


def takers(tier: Tier) -> list[str]:
    """The hosts whose server takes a service's write."""
    found = []
    for host, address in ADDRESS.items():
        try:
            with client(tier.lab.netns, address, PORT, SERVICE, tier.passwords["crypto"][SERVICE]) as service:
                service.set("test:taker", host)
                found.append(host)
        except redis.RedisError:
            pass
    return found


def is_in_sync(tier: Tier, host: str, role: str = "crypto", port: int = PORT) -> bool:
    """Whether the server on a host follows, and is linked."""
    try:
        with at(tier, host, port, role) as known:
            info = known.info("replication")
            return (info["role"], info.get("master_link_status")) == ("slave", "up")
    except redis.RedisError:
        return False


def told(tier: Tier, host: str, *command: "str | int") -> None:
    """Somebody who may do everything tells a server something."""
    told_at(tier, ADDRESS[host], *command)


def told_at(tier: Tier, address: str, *command: "str | int") -> None:
    """The same, of the server at an address."""
    operator = ("operator", tier.passwords["crypto"]["operator"])
    with client(tier.lab.netns, address, PORT, *operator, every_right=True) as known:
        known.acl_setuser("test", enabled=True, passwords=["+a-password"], keys=["*"], categories=["+@all"])
        with client(tier.lab.netns, address, PORT, "test", "a-password", every_right=True) as anybody:
            anybody.execute_command(*command)
        known.acl_deluser("test")


@contextmanager
def under_way(tier: Tier, file: str, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """A command of the tool that is under way while the body runs."""
    words = ("-y", "--data", f"redis_secrets_file={tier.secrets}", *options, tier.inventory, file)
    program = Path(sys.executable).with_name("pyinfra")
    process = subprocess.Popen(
        ["nsenter", f"--net={tier.lab.record.netns}", "--", str(program), *words],
        env=os.environ | {"HOME": str(tier.lab.home)},
        cwd=tier.repository,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()

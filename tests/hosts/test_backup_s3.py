"""Copies in a server that speaks S3: made, listed, proved, restored; gone, its loss is said and harms nobody."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.hosts.conftest import Tier, layout, output, wait_for
from tests.hosts.proving import proves
from tests.lab import tools
from tests.lab.containers import ContainerLab

pytestmark = [pytest.mark.hosts, pytest.mark.soak]

ROLE = "crypto"
WHERE, PORT = "172.28.2.254", "9000"  # this machine in the lab's network
LOGIN = {"AWS_ACCESS_KEY_ID": "caas", "AWS_SECRET_ACCESS_KEY": "in-the-way"}  # this server takes any
PLAN = {"repository": f"s3:http://{WHERE}:{PORT}/copies/redis", "roles": [ROLE]}


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    with ContainerLab(layout("onebox", "bookworm")) as lab:
        secrets = tmp_path_factory.mktemp("s3") / "secrets.yaml"
        secrets.write_text(yaml.safe_dump({"RESTIC": LOGIN}))
        secrets.chmod(0o600)
        yield Tier(lab, "inventory/onebox.py", secrets, ("--data", f"redis_backup={json.dumps(PLAN)}"))


@pytest.fixture(scope="module")
def store(tier: Tier, tmp_path_factory: pytest.TempPathFactory) -> Iterator["subprocess.Popen[bytes]"]:
    directory: Path = tmp_path_factory.mktemp("moto")
    speaks = [sys.executable, "-m", "moto.server", "-H", WHERE, "-p", PORT]
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{tier.lab.netns}", *speaks],
            env={**os.environ, "PYTHONPATH": str(tools.moto())},
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: f":{PORT}" in tier.lab.run(["ss", "-Hltn"]).stdout, "the server of S3 listens")
        yield server
    finally:
        server.kill()
        server.wait()


def listed(tier: Tier) -> int:
    done = tier.run("tasks/backup.py", "--data", "list=true")
    assert done.returncode == 0, output(done)
    return sum(line.startswith(f"{ROLE} ") for line in done.stdout.splitlines())


def test_copies_go_to_s3_are_proved_and_come_back(tier: Tier, store: "subprocess.Popen[bytes]") -> None:
    tier.deploy()
    service = f"{ROLE}-service"
    with tier.client(ROLE, service) as client, client.pipeline(transaction=True) as block:
        block.set("test:one", 1).set("test:two", 2).execute()
    before = listed(tier)
    done = tier.run("tasks/backup.py")
    assert done.returncode == 0, output(done)
    assert listed(tier) == before + 1
    assert proves(tier.host(ROLE), ROLE)
    with tier.client(ROLE, service) as client:
        client.delete("test:one")
    restored = tier.run("tasks/restore.py", "--data", f"restore={ROLE}")
    assert restored.returncode == 0, output(restored)
    with tier.client(ROLE, service) as client:
        assert client.mget("test:one", "test:two") == ["1", "2"]


def test_a_store_that_is_gone_is_said_and_harms_nobody(tier: Tier, store: "subprocess.Popen[bytes]") -> None:
    store.kill()
    store.wait()
    failed = tier.run("tasks/backup.py")
    assert failed.returncode == 1
    assert "its repository cannot be read" in output(failed)
    assert "in-the-way" not in output(failed)
    assert tier.answers(ROLE)
    assert tier.run("tasks/verify.py").returncode == 0  # one try that failed is a warning

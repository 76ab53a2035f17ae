"""A host that is destroyed under load is replaced by a deploy and a restore; Debian 13, copies behind sftp."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.hosts.conftest import Tier, layout, output, wait_for
from tests.hosts.proving import proves
from tests.hosts.test_backup import Pairs
from tests.lab.containers import ContainerLab
from tests.lab.layouts import HostSpec

pytestmark = pytest.mark.hosts

ROLE = "crypto"
STORE = "172.28.2.250"
PLAN = {"repository": f"sftp:root@{STORE}:/srv/backups", "roles": [ROLE]}


def open_the_way(lab: ContainerLab) -> None:
    """Root of the tier's host may log in to the host that stores the copies, and knows it."""
    host, store = lab.hosts["redis-1"], lab.hosts["store"]
    key = "/root/.ssh/id_ed25519"
    host.sh(f"mkdir -p -m 0700 /root/.ssh; test -e {key} || ssh-keygen -q -t ed25519 -N '' -f {key}")
    public = host.sh(f"cat {key}.pub")
    store.sh("mkdir -p -m 0700 /root/.ssh /srv/backups; cat >>/root/.ssh/authorized_keys", input=public)
    host.sh(f"ssh-keyscan -t ed25519 {STORE} >/root/.ssh/known_hosts 2>/dev/null")


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    with ContainerLab((*layout("onebox", "trixie"), HostSpec("store", (STORE,)))) as lab:
        secrets: Path = tmp_path_factory.mktemp("lost") / "secrets.yaml"
        tier = Tier(lab, "inventory/onebox.py", secrets, ("--data", f"redis_backup={json.dumps(PLAN)}"))
        open_the_way(lab)
        tier.deploy()
        yield tier


def test_a_destroyed_host_is_replaced_by_two_commands(tier: Tier) -> None:
    host = tier.host(ROLE)
    with Pairs(tier, ROLE) as pairs:
        copied_until = pairs.acknowledged
        done = tier.run("tasks/backup.py")
        assert done.returncode == 0, output(done)
        host.kill()
    host.reset()
    open_the_way(tier.lab)
    deployed = tier.run("deploy.py")
    assert deployed.returncode == 0, output(deployed)
    with tier.client(ROLE, f"{ROLE}-service") as client:
        client.set("test:meanwhile", "a service was quicker than the restore")
    restored = tier.run("tasks/restore.py", "--data", f"restore={ROLE}")
    assert restored.returncode == 0, output(restored)
    assert "the last one from before the role began anew on this host" in output(restored), output(restored)
    with tier.client(ROLE, f"{ROLE}-service") as client:
        one, two = int(client.get("pair:one") or 0), int(client.get("pair:two") or 0)
    assert one == two >= copied_until
    assert tier.run("tasks/drift.py").returncode == 0
    again = tier.run("tasks/restore.py", "--data", f"restore={ROLE}", "--dry", yes=False)
    assert "from before the role began anew" not in output(again), output(again)


REST = ("--data", f"redis_backup={json.dumps(PLAN | {'repository': f'rest:http://{STORE}:8000/redis'})}")


@pytest.mark.soak
def test_copies_go_to_a_rest_server_with_a_password_and_come_back(tier: Tier) -> None:
    """Debian's rclone serves what restic calls REST."""
    store = tier.lab.hosts["store"]
    store.sh("apt-get -qq install --no-install-recommends rclone >/dev/null; mkdir -p /srv/rest")
    serve = f"rclone serve restic /srv/rest --addr {STORE}:8000 --user caas --pass in/the@way"
    store.sh(f"systemd-run --quiet --unit=rest {serve}")
    wait_for(lambda: ":8000" in store.sh("ss -Hltn"), "the REST server listens")
    known = yaml.safe_load(tier.secrets.read_text())
    known["RESTIC"] = {"RESTIC_REST_USERNAME": "caas", "RESTIC_REST_PASSWORD": "in/the@way"}
    tier.secrets.write_text(yaml.safe_dump(known))
    there = Tier(tier.lab, tier.inventory, tier.secrets, REST)
    there.deploy()
    assert proves(there.host(ROLE), ROLE)
    listed = there.run("tasks/backup.py", "--data", "list=true")
    assert listed.returncode == 0, output(listed)
    assert "in/the@way" not in output(listed)
    restored = there.run("tasks/restore.py", "--data", f"restore={ROLE}")
    assert restored.returncode == 0, output(restored)
    store.sh("systemctl stop rest")
    failed = there.run("tasks/backup.py")
    assert failed.returncode == 1
    assert "its repository cannot be read" in output(failed)
    assert "in/the@way" not in output(failed)
    assert there.run("tasks/verify.py").returncode == 0  # one try that failed is a warning

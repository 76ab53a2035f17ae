"""What goes wrong with a backup: a host that dies in the middle, a full repository, one that somebody else works in."""

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.hosts.conftest import Tier, layout, output, wait_for
from tests.hosts.test_backup import Pairs
from tests.lab.containers import ContainerLab

pytestmark = [pytest.mark.hosts, pytest.mark.soak]

ROLE = "crypto"
UNIT = f"caas-redis-backup-{ROLE}.service"
DATA = f"/var/lib/redis/{ROLE}"


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    with ContainerLab(layout("onebox", "bookworm")) as lab:
        plan = {"repository": "/srv/backups", "roles": [ROLE]}
        secrets = tmp_path_factory.mktemp("faults") / "secrets.yaml"
        tier = Tier(lab, "inventory/onebox.py", secrets, ("--data", f"redis_backup={json.dumps(plan)}"))
        lab.hosts["redis-1"].sh("mkdir -m 0700 /srv/backups")
        tier.deploy()
        yield tier


def restic(tier: Tier, words: str) -> str:
    password = yaml.safe_load(tier.secrets.read_text())[ROLE]["backup"]
    return f"RESTIC_PASSWORD={password} restic -r /srv/backups/{ROLE} {words}"


def listed(tier: Tier) -> int:
    done = tier.run("tasks/backup.py", "--data", "list=true")
    assert done.returncode == 0, output(done)
    return sum(line.startswith(f"{ROLE} ") for line in done.stdout.splitlines())


def fill(tier: Tier, mebibytes: int) -> None:
    """Values that nobody can make smaller."""
    with tier.operator(ROLE) as client:
        for number in range(mebibytes):
            client.set(f"test:fill:{number}", open("/dev/urandom", "rb").read(1 << 20))  # noqa: PTH123, SIM115


def test_a_host_that_dies_in_the_middle_leaves_nothing_behind(tier: Tier) -> None:
    host, before = tier.host(ROLE), listed(tier)
    fill(tier, 60)
    with Pairs(tier, ROLE):
        host.sh(f"systemctl start --no-block {UNIT}")
        wait_for(lambda: "restic" in host.sh("ps -eo args | grep '[r]estic.*--stdin' || true"), "restic stores it")
        host.kill()
    host.boot()
    wait_for(lambda: tier.answers(ROLE), "the role serves again", 120)
    assert listed(tier) == before
    names = host.sh(f"find {DATA} -mindepth 1 -printf '%P\\n'").split()
    assert [name for name in names if not name.startswith(("appendonlydir", "dump.rdb"))] == []
    done = tier.run("tasks/backup.py")
    assert done.returncode == 0, output(done)
    assert listed(tier) == before + 1
    assert tier.run("tasks/drift.py").returncode == 0


def test_a_full_repository_is_said_and_offers_no_half_copy(tier: Tier) -> None:
    host, before = tier.host(ROLE), listed(tier)
    fill(tier, 30)
    host.sh("cp -a /srv/backups /srv/kept; rm -rf /srv/backups/*")
    host.sh("mount -t tmpfs -o size=$(($(du -sm /srv/kept | cut -f1) + 8))m none /srv/backups")
    host.sh("cp -a /srv/kept/. /srv/backups/")
    failed = tier.run("tasks/backup.py")
    assert failed.returncode == 1
    assert "not stored: " in output(failed)
    assert "no space left on device" in output(failed)
    assert listed(tier) == before
    host.sh("umount /srv/backups; cp -a /srv/kept/. /srv/backups/")
    done = tier.run("tasks/backup.py")
    assert done.returncode == 0, output(done)


def test_a_repository_that_somebody_works_in_still_takes_the_copy(tier: Tier) -> None:
    host, before = tier.host(ROLE), listed(tier)
    host.sh(f"systemd-run --quiet --unit=other bash -c 'sleep 300 | {restic(tier, 'backup --stdin')}'")
    wait_for(lambda: host.sh("ls /srv/backups/crypto/locks").strip(), "the other one has its lock")
    done = tier.run("tasks/backup.py")
    assert done.returncode == 0, output(done)
    assert listed(tier) == before + 1
    verified = tier.run("tasks/verify.py")
    assert verified.returncode == 0, output(verified)
    assert f"{ROLE}: warning BACKUP-FAILED: older copies could not be forgotten" in output(verified)
    host.sh("systemctl kill --signal=SIGKILL other; systemctl stop other || true")
    assert tier.run("tasks/backup.py").returncode == 0
    assert "BACKUP-FAILED" not in output(tier.run("tasks/verify.py"))


def renew(tier: Tier) -> None:
    """Other values in the same keys, and a log of nothing else: a copy has nothing in common with the one before."""
    fill(tier, 8)
    with tier.operator(ROLE) as client:
        client.bgrewriteaof()
        signs = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
        wait_for(lambda: not any(client.info()[sign] for sign in signs), "the log was written anew")


def test_a_repository_that_is_full_of_what_was_forgotten_takes_copies_again(tier: Tier) -> None:
    host = tier.host(ROLE)
    with tier.operator(ROLE) as client:
        client.flushall()
    host.sh(f"mv /srv/backups /srv/kept-by; mkdir -m 0700 /srv/backups; rm /var/lib/caas-redis/{ROLE}.backup")
    host.sh("mount -t tmpfs -o size=150m none /srv/backups")
    for _ in range(24):
        renew(tier)
        done = tier.run("tasks/backup.py")
        if done.returncode:
            break
    assert "no space left on device" in output(done)
    assert listed(tier) >= 6
    again = tier.run("tasks/backup.py")
    assert again.returncode == 0, output(again)
    host.sh(
        f"umount /srv/backups; rm -rf /srv/backups; mv /srv/kept-by /srv/backups; rm /var/lib/caas-redis/{ROLE}.backup"
    )

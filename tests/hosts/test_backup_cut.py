"""A restore that is cut off: its host goes down amid it, or its network. The role serves what it had, or the copy."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hosts.conftest import Tier, layout, operations, output, wait_for
from tests.hosts.placing import OLD, at
from tests.hosts.test_backup import REPOSITORY
from tests.hosts.test_backup_odd import MOMENTS, restoring
from tests.lab.containers import ContainerLab

pytestmark = pytest.mark.hosts

ROLE = "crypto"
LONGEST = 280  # seconds until a restore has come so far
DATA = f"/var/lib/redis/{ROLE}"
WATCH, AT_BOOT = f"caas-redis-restore-{ROLE}.service", f"caas-redis-unrestored-{ROLE}.service"
INVENTORY = f"""redis_crypto = [("{OLD}", {{"ssh_hostname": "172.28.2.1", "ssh_user": "root",
    "redis_overrides": {{"crypto": {{"address": "172.28.2.1"}}}}}})]
"""


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """One host with one role, whose copies are in a directory."""
    directory: Path = tmp_path_factory.mktemp("cut")
    (directory / "one.py").write_text(INVENTORY)
    with ContainerLab(layout("prod", "bookworm")[:1]) as lab:
        lab.hosts[OLD].sh(f"mkdir -m 0700 {REPOSITORY}")
        options = ("--data", f"redis_backup={json.dumps({'repository': REPOSITORY})}")
        tier = Tier(lab, str(directory / "one.py"), directory / "secrets.yaml", options)
        tier.deploy()
        yield tier


def begun(tier: Tier, moment: str) -> str:
    """The role has other values than its newest copy; returns the shell's words for that moment of a restore."""
    with at(tier, OLD) as client:
        with client.pipeline(transaction=True) as block:
            block.set("test:one", "copied").set("test:two", "copied").execute()
        done = tier.run("tasks/backup.py")
        assert done.returncode == 0, output(done)
        with client.pipeline(transaction=True) as block:
            block.set("test:one", "later").set("test:two", "later").execute()
    count = tier.lab.hosts[OLD].sh(f"ls -d {DATA}/*.replaced-* 2>/dev/null | wc -l").strip()
    came = MOMENTS.get(moment, MOMENTS["its data was set aside"]).format(role=ROLE, count=count)
    return f"timeout {LONGEST} sh -c 'until {came}; do sleep 0.01; done'"


def serves_one_of_both(tier: Tier, said: str) -> None:
    """The role serves what it had, or the copy, as the words say; and nothing of the restore is left undone."""

    def values() -> object:
        with suppress(Exception), at(tier, OLD) as client:
            return client.mget("test:one", "test:two")
        return None

    wait_for(lambda: values() is not None, "the role serves", 120)
    # Where its network was down it did not start at once, and does when its address is back.
    words = ("what was there before runs again", "what was there before is in place", "its data is as it was")
    kept = any(item in said for item in words)
    assert values() == ["later" if kept else "copied"] * 2, said
    left = "ls /var/lib/caas-redis/*.restoring /etc/systemd/system/*unrestored* 2>/dev/null || true"
    assert tier.lab.hosts[OLD].sh(left) == ""
    drift = tier.run("tasks/drift.py")
    assert drift.returncode == 0, output(drift)
    assert operations(tier.deploy()) == ["Prove the tier"]


SHARE = "amid the two renames"
CUTS = ("it was stopped", "its data was set aside", SHARE)


@pytest.mark.parametrize(
    "moment", [pytest.param(name, marks=[] if name == SHARE else pytest.mark.soak) for name in CUTS]
)
def test_a_host_that_goes_down_amid_a_restore_ends_it_at_its_next_boot(tier: Tier, moment: str) -> None:
    host, came = tier.lab.hosts[OLD], begun(tier, moment)
    with restoring(tier, ROLE) as run:
        host.call(came, timeout=LONGEST + 10)
        host.kill()
        if moment == SHARE:
            log = host.path(f"{DATA}/appendonlydir")
            if log.exists():
                log.rename(log.with_name("appendonlydir.new"))
        host.boot()
        controller = run.communicate(timeout=300)[0]
    assert "Traceback" not in controller, controller
    wait_for(lambda: host.call(f"test -e /var/lib/caas-redis/{ROLE}.restoring").returncode, "it has ended it", 180)
    said = host.sh(f"journalctl -q --no-pager -o cat -u {AT_BOOT}")
    assert f"{ROLE}: its host went down amid its restore: " in said
    serves_one_of_both(tier, said)


@pytest.mark.soak
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_network_that_is_cut_amid_a_restore_leaves_a_role_that_serves(tier: Tier, moment: str) -> None:
    host, came, since = tier.lab.hosts[OLD], begun(tier, moment), int(time.time())
    with restoring(tier, ROLE) as run:
        host.call(f"{came}; ip link set host0 down", timeout=LONGEST + 10)
        with suppress(subprocess.TimeoutExpired):
            run.wait(timeout=40)
        host.sh("ip link set host0 up")
        controller = run.communicate(timeout=400)[0]
    assert "Traceback" not in controller, controller
    wait_for(lambda: host.call(f"systemctl is-active {WATCH}").returncode, "its host has ended it", 180)
    serves_one_of_both(tier, controller + host.sh(f"journalctl -q --no-pager -o cat --since=@{since} -u {WATCH}"))

"""Copies of a role that has a standby, proved on a third host: whoever of the two serves, its copy is proved."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.conftest import Tier, layout, operations, output
from tests.hosts.pair import HANDOVER
from tests.hosts.placing import NEW, OLD, at, placed
from tests.hosts.proving import proves
from tests.hosts.test_backup import DAMAGES
from tests.hosts.test_backup import ROLE as THEIRS
from tests.hosts.test_backup_elsewhere import REPOSITORY, ROLE, STORE, open_the_way
from tests.lab.containers import ContainerLab
from tests.lab.debian import Suite
from tests.lab.layouts import HostSpec

pytestmark = [pytest.mark.hosts, pytest.mark.soak]

PROVER = "redis-shared"
THIRD = f"""
redis_shared = [("{PROVER}", {{"ssh_hostname": "172.28.2.3", "ssh_user": "root"}})]
"""
PLAN = {"repository": REPOSITORY, "roles": [ROLE], "prove_on": {ROLE: PROVER}}


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def tier(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Tier]:
    """crypto on one host, with a standby on another one, whose copies a third one proves."""
    suite: Suite = request.param
    directory: Path = tmp_path_factory.mktemp("pair")
    with ContainerLab((*layout("prod", suite)[:3], HostSpec("store", (STORE,)))) as lab:
        for name in (OLD, NEW, PROVER):
            open_the_way(lab, name)
        options = ("--data", f"redis_backup={json.dumps(PLAN)}")
        tier = Tier(lab, str(directory / "three.py"), directory / "secrets.yaml", options)
        inventory = Path(placed(tier, crypto=(OLD, NEW), socket=NEW).inventory)
        inventory.write_text(inventory.read_text() + THIRD)
        tier.deploy()
        yield tier


def copied(tier: Tier, host: str, value: str) -> tuple[str, int]:
    """Who serves has this, as clients write it, and is copied: the run, and how many keys there are."""
    with at(tier, host) as client:
        with client.pipeline(transaction=True) as block:
            block.set("test:one", value).set("test:two", value).execute()
        client.eval("redis.call('SET', 'test:' .. ARGV[1], ARGV[1]) return redis.call('INCR', 'test:count')", 0, value)
        count = client.dbsize()
    done = tier.run("tasks/backup.py")
    assert done.returncode == 0, output(done)
    (run,) = re.findall(rf"{ROLE}: a copy of .* run ([0-9a-f]{{16}})", output(done))
    return run, count


def proved(tier: Tier) -> tuple[int, str]:
    """How the unit ended that proves, and what it noted."""
    host = tier.lab.hosts[PROVER]
    ended = not proves(host, ROLE)
    return int(ended), host.sh(f"cat /var/lib/caas-redis/{ROLE}.proof")


def is_proved(tier: Tier, host: str, value: str) -> None:
    """The next proof is green, and of the copy that a host makes now."""
    run, count = copied(tier, host, value)
    ended, noted = proved(tier)
    assert ended == 0, noted
    assert {"result ok", f"run {run}", f"keys {count}"} <= {*noted.splitlines()}


def test_the_next_proof_after_a_handover_is_of_what_the_other_host_copies_and_is_green(tier: Tier) -> None:
    is_proved(tier, OLD, "before")
    for host, value in ((NEW, "handed over"), (OLD, "handed back")):
        done = tier.run(*HANDOVER)
        assert done.returncode == 0, output(done)
        is_proved(tier, host, value)
        for file in ("tasks/verify.py", "tasks/drift.py"):
            done = tier.run(file)
            assert done.returncode == 0, output(done)
            assert "PROOF" not in output(done)
        assert operations(tier.deploy()) == ["Prove the tier"]


def test_a_copy_that_the_other_host_made_and_that_was_changed_in_one_byte_is_red(tier: Tier) -> None:
    done = tier.run(*HANDOVER)
    assert done.returncode == 0, output(done)
    store = tier.lab.hosts["store"]
    store.sh(f"mv /srv/backups/{ROLE} /srv/kept")
    tier.lab.hosts[NEW].sh(f"rm -f /var/lib/caas-redis/{ROLE}.backup")
    copied(tier, NEW, "damaged")
    store.sh(f"chmod -R u+w /srv/backups/{ROLE}; {DAMAGES['changed in one byte'].replace(THEIRS, ROLE)}")
    ended, noted = proved(tier)
    assert ended != 0
    assert "result failed" in noted
    done = tier.run("tasks/verify.py")
    assert done.returncode == 1
    assert f"{ROLE}: critical PROOF-FAILED: of {OLD} or {NEW}: " in output(done)

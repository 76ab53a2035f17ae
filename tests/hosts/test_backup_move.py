"""A role that moves with its backups on: its copies go on from those of the old host, and are restored and proved."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.hosts.conftest import Tier, layout, operations, output, wait_for
from tests.hosts.placing import NEW, OLD, at, placed
from tests.hosts.proving import proves
from tests.hosts.test_backup_elsewhere import REPOSITORY, ROLE, STORE, open_the_way
from tests.lab.containers import ContainerLab
from tests.lab.layouts import HostSpec

pytestmark = [pytest.mark.hosts, pytest.mark.soak]


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    directory: Path = tmp_path_factory.mktemp("moves")
    with ContainerLab((*layout("prod", "bookworm")[:2], HostSpec("store", (STORE,)))) as lab:
        for name in (OLD, NEW):
            open_the_way(lab, name)
        plan = {"repository": REPOSITORY, "roles": [ROLE]}
        options = ("--data", f"redis_backup={json.dumps(plan)}")
        tier = Tier(lab, str(directory / "two.py"), directory / "secrets.yaml", options)
        placed(tier, crypto=OLD, socket=NEW).deploy()
        yield tier


def written(tier: Tier, host: str, **values: str) -> None:
    """These keys are written in one transaction, as clients do."""
    with at(tier, host) as client, client.pipeline(transaction=True) as block:
        for key, value in values.items():
            block.set(key, value)
        block.execute()


def copied(tier: Tier) -> str:
    """The run of a copy that a person makes."""
    done = tier.run("tasks/backup.py")
    assert done.returncode == 0, output(done)
    return output(done).rpartition("run ")[2].split()[0]


def restores(tier: Tier, *words: str) -> str:
    """What a restore would take."""
    done = tier.run("tasks/restore.py", "--dry", "--data", f"restore={ROLE}", *words, yes=False)
    assert done.returncode == 0, output(done)
    return output(done)


def test_a_role_that_moves_with_its_backups_has_its_copies_where_it_goes(tier: Tier) -> None:
    written(tier, OLD, one="before", two="before")
    first = copied(tier)
    began = datetime.now(UTC)
    wait_for(lambda: (datetime.now(UTC) - began).total_seconds() > 3, "it is later than the copy")
    at_that = f"at={datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    wait_for(lambda: (datetime.now(UTC) - began).total_seconds() > 5, "it is later than that")
    written(tier, OLD, one="moved", two="moved")
    moved = placed(tier, crypto=NEW, socket=NEW)
    done = moved.deploy()
    assert f"{ROLE}: moved from {OLD}" in output(done)
    old, new = tier.lab.hosts[OLD], tier.lab.hosts[NEW]
    assert ROLE not in old.sh("ls /etc/redis/*.backup 2>/dev/null || true")
    assert "caas-redis" not in old.sh("systemctl list-timers --all")
    assert "caas-redis-backup-crypto" in new.sh("systemctl list-timers --all")
    # What was copied at the old host before the move is of the same data: it is chosen by its time, and not named.
    written(moved, NEW, one="after", two="after")
    own = copied(moved)
    assert own != first
    assert f"run {own}" in restores(moved)
    assert f"run {first}" in restores(moved, "--data", at_that)
    assert proves(new, ROLE)
    done = moved.run("tasks/restore.py", "--data", f"restore={ROLE}", "--data", at_that)
    assert done.returncode == 0, output(done)
    with at(moved, NEW) as client:
        assert client.mget("one", "two") == ["before", "before"]
    for file in ("tasks/verify.py", "tasks/drift.py"):
        done = moved.run(file)
        assert done.returncode == 0, output(done)
    assert operations(moved.deploy()) == ["Prove the tier"]
    # Its next copies are of what was restored, and a restore takes those.
    third = copied(moved)
    assert f"run {third}" in restores(moved)
    assert proves(new, ROLE)

"""From an inventory: who proves the copies of a role that has a standby."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import State
from pyinfra.context import ctx_state
from pyinfra_cli.inventory import make_inventory_from_files

from tasks.run.tier import Tier, build_tier
from tests.tree import copy_of_tree
from tests.unit.builders import sha256

PLACE = "sftp:me@10.0.0.9:/srv"
INVENTORY = """
_there = {{"redis_overrides": {{"crypto": {{"address": "172.28.2.15"}}}}}}
redis_crypto = [("one", {{"redis_backup": {one}}})]
redis_crypto_standby = [("other", {{**_there, "redis_backup": {other}}})]
redis_gateway = ["third"]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = copy_of_tree(tmp_path / "tree")
    (directory / "secrets.yaml").write_text("{}")
    (directory / "secrets.yaml").chmod(0o600)
    monkeypatch.chdir(directory)
    with ctx_state.use(State()):
        yield directory


def built(here: Path, one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> tuple[Tier, list[str]]:
    text = INVENTORY.format(one=one, other=other)
    name = f"inventory/pair_{sha256(text)[:8]}.py"  # pyinfra reads a file of a name once
    (here / name).write_text(text)
    hosts = make_inventory_from_files(name, {"redis_secrets_file": "secrets.yaml"}, str(here))
    return build_tier(hosts, name, new_passwords=False)


def test_one_host_proves_for_both_what_either_makes(here: Path) -> None:
    plan = {"repository": PLACE, "prove_on": "third"}
    tier, problems = built(here, plan, {**plan, "schedule": "daily"})
    assert problems == []
    (proof,) = [item for item in tier.hosts["third"].proofs if item.of]
    assert (proof.homes, proof.backup.schedule) == (("one", "other"), "daily")
    assert proof.parameters["late"] == str(3 * 86400)


def test_of_a_pair_with_backups_on_one_host_its_copies_alone_are_proved(here: Path) -> None:
    tier, problems = built(here, None, {"repository": PLACE, "prove_on": "third"})
    assert problems == []
    (proof,) = [item for item in tier.hosts["third"].proofs if item.of]
    assert proof.homes == ("other",)


def test_two_repositories_of_a_pair_are_refused_with_a_prover(here: Path) -> None:
    _, problems = built(here, {"repository": PLACE, "prove_on": "third"}, {"repository": f"{PLACE}/more"})
    assert [line for line in problems if line.startswith("one: redis_backup: prove_on: third: crypto has another")]

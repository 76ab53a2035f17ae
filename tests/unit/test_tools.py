"""What tests need beside the labs is pinned, and named to who sets a machine up."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.lab import tools
from tests.tree import REPOSITORY

LOCK = tools.PINNED / "package-lock.json"


def test_the_lock_of_ioredis_pins_every_package_by_its_hash_and_names_no_registry() -> None:
    packages = {name: each for name, each in json.loads(LOCK.read_text())["packages"].items() if name}
    assert "node_modules/ioredis" in packages
    assert {name for name, each in packages.items() if not each["integrity"].startswith("sha512-")} == set()
    assert {name for name, each in packages.items() if "resolved" in each} == set()


def test_the_lock_of_moto_pins_every_package_by_its_hash_and_names_no_registry() -> None:
    lines = [line for line in tools.PINNED_S3.read_text().splitlines() if not line.startswith(" ")]
    assert any(line.startswith("moto==") for line in lines)
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==\S+ \\", line)] == []


def test_ioredis_runs_on_the_oldest_node_that_debian_has_here() -> None:
    """Debian 12 has Node.js 18; ioredis from 6 on needs 20."""
    wanted = json.loads(LOCK.read_text())["packages"]["node_modules/ioredis"]["engines"]["node"]
    assert int(wanted.lstrip(">=").partition(".")[0]) <= 18


def test_packages_that_a_machine_lacks_are_named_to_what_sets_it_up(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "tests.lab", "packages"],
        cwd=REPOSITORY,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},  # a machine without any program
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {"age", "gnupg", "mmdebstrap", "nodejs", "npm", "pass"} <= set(said.split())

"""The whole rehearsal, by the operator's command, of a platform that has a role more than production's."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.copies.changes import Copy, add_a_role
from tests.lab.debian import cache_dir

pytestmark = [pytest.mark.vm, pytest.mark.soak]


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    """A copy of the repository with a sixth role; its machines are gone afterwards."""
    copy = Copy.at(tmp_path / "repository")
    add_a_role(copy)
    yield copy
    run(copy, tmp_path, "tests.lab.vmctl", "down")


def run(copy: Copy, cache: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A program of the copy whose lab is its own, but for the images."""
    images = cache / "images"
    if not images.exists():
        (cache_dir() / "images").mkdir(parents=True, exist_ok=True)
        images.symlink_to(cache_dir() / "images")
    environment = {**os.environ, "CAAS_LAB_CACHE": str(cache)}
    argv = [sys.executable, "-m", *words]
    return subprocess.run(argv, cwd=copy.directory, env=environment, capture_output=True, text=True)


def test_a_sixth_role_is_deployed_drilled_and_verified_with_the_others(copy: Copy, tmp_path: Path) -> None:
    done = run(copy, tmp_path, "tests.lab.rehearsal", "--each")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "boot 6 VMs" in done.stdout
    assert "6 roles on 6 hosts" in done.stdout + done.stderr
    assert "The rehearsal went as promised" in done.stdout

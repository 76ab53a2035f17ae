"""Tests that need root say so once (tests/hosts/conftest.py)."""

import subprocess
import sys

import pytest

from tests.tree import REPOSITORY

AS_SOMEBODY = "import os, sys, pytest; os.geteuid = lambda: 1000; sys.exit(pytest.main(sys.argv[1:]))"


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        (("tests/hosts/test_look.py",), True),
        (("tests/hosts", "-m", "vm and not soak"), False),
        (("tests/unit/run",), False),
    ],
    ids=["containers", "machines", "pure"],
)
def test_without_root_tests_of_containers_are_refused_in_one_sentence(asked: tuple[str, ...], refused: bool) -> None:
    command = [sys.executable, "-c", AS_SOMEBODY, "-q", "-p", "no:cacheprovider", "--collect-only", *asked]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == refused, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert ("of these tests boot containers, which needs root: run make test or make hosts" in said) == refused
    assert "Traceback" not in said

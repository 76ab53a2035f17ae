"""pyinfra_cli patches the standard library for gevent when it is imported: first of all, then, not halfway."""

import pyinfra_cli  # noqa: F401 I001

from pathlib import Path

import pytest

from tests.plan.harness import write_secrets


@pytest.fixture
def secrets_file(tmp_path: Path) -> Path:
    """A secrets file with a password for everybody."""
    return write_secrets(tmp_path / "prod.yaml")

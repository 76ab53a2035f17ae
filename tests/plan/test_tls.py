"""A role's certificates at the door of a run: what is wrong with them stops it before anybody is contacted."""

import json
from pathlib import Path

import pytest

from tests.certificates import Authority, Files, write
from tests.plan.harness import Site, run
from tests.plan.hosts import production
from tests.unit.builders import fresh, roles

CRYPTO = str(roles()["crypto"].address)


@pytest.mark.parametrize("command", ["deploy.py", "tasks/drift.py"])
def test_files_that_do_not_fit_are_said_all_at_once_and_no_host_is_contacted(
    tmp_path: Path, secrets_file: Path, command: str
) -> None:
    files = Files(tmp_path / "tls", "10.1.2.3").renew()
    write(files.directory / "ca.crt", Authority("another").pem)
    (files.directory / "server.key").unlink()
    overrides = ("--data", f"redis_overrides={json.dumps({'crypto': {'tls': files.block()}})}")
    sites = production(crypto=Site([fresh]))
    result = run(sites, "-y", *overrides, secrets_file=secrets_file, command=command)
    assert result.exit_code != 0
    assert "The data of this run cannot be used" in result.output
    said = " ".join(result.output.split())
    for what in ("is not for 172.28.2.5 (its IP addresses: 10.1.2.3)", "is not signed by what", "No such file"):
        assert said.count(f"{what}") == 1
    assert result.events == []
    assert CRYPTO == "172.28.2.5"

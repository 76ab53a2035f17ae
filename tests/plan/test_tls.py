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


def test_the_directory_of_endpoints_has_what_a_client_checks_a_server_by_and_shows_it(
    tmp_path: Path, secrets_file: Path
) -> None:
    users = roles()["crypto"].services
    files = Files(tmp_path / "tls", CRYPTO).renew().give("operator", *users)
    block = files.block(client_auth="yes", clients=str(files.directory / "clients"))
    overrides = ("--data", f"redis_overrides={json.dumps({'crypto': {'tls': block}})}")
    where = tmp_path / "endpoints"
    asked = (*overrides, "--data", f"endpoints_dir={where}")
    result = run(production(), "-y", *asked, secrets_file=secrets_file, command="tasks/endpoints.py")
    assert result.exit_code == 0, result.output
    values = dict(line.split("=", 1) for line in (where / f"{users[0]}.env").read_text().splitlines()[1:])
    assert values["REDIS_CRYPTO_URL"].startswith(f"rediss://{users[0]}:")
    modes = {}
    for end, kept in (("CA", "ca.crt"), ("CERTIFICATE", f"clients/{users[0]}.crt"), ("KEY", f"clients/{users[0]}.key")):
        path = Path(values[f"REDIS_CRYPTO_{end}"])
        assert path.parent == where
        assert path.read_bytes() == (files.directory / kept).read_bytes()
        modes[end] = oct(path.stat().st_mode & 0o777)
    assert modes == {"CA": "0o644", "CERTIFICATE": "0o644", "KEY": "0o600"}
    assert "PRIVATE" not in result.output

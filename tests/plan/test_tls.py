"""A role's certificates at the door of a run: what is wrong with them stops it before anybody is contacted."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.desired.host import Host
from tasks.desired.paths import tls_files
from tasks.observed import exchange, tls
from tasks.observed.connection import open_tunnel
from tasks.observed.state import Observed, Served
from tests.certificates import Authority, Files, write
from tests.plan.harness import Site, run
from tests.plan.hosts import production
from tests.unit.builders import SERVED, as_desired, desired, fresh, roles, with_file

CRYPTO = str(roles()["crypto"].address)


@pytest.mark.parametrize("command", ["deploy.py", "tasks/drift.py"])
def test_files_that_do_not_fit_are_said_all_at_once_and_no_host_is_contacted(
    tmp_path: Path, secrets_file: Path, command: str
) -> None:
    files = Files(tmp_path / "tls", "10.1.2.3").renew()
    write(files.directory / "ca.crt", Authority("another").pem)
    (files.directory / "server.key").unlink()
    overrides = _overriding(files.block())
    sites = production(crypto=Site([fresh]))
    result = run(sites, "-y", *overrides, secrets_file=secrets_file, command=command)
    assert result.exit_code != 0
    assert "The data of this run cannot be used" in result.output
    said = " ".join(result.output.split())
    for what in ("is not for 172.28.2.5 (its IP addresses: 10.1.2.3)", "is not signed by what", "No such file"):
        assert said.count(f"{what}") == 1
    assert result.events == []
    assert CRYPTO == "172.28.2.5"


def _shows(*where: Any, **_: Any) -> tuple[Any, Served]:
    """In place of a handshake with the servers of these tests, which speak in clear."""
    return open_tunnel(*where[:3]), SERVED


def _overriding(block: dict[str, Any]) -> tuple[str, ...]:
    """The options that give crypto a `tls` block."""
    return ("--data", f"redis_overrides={json.dumps({'crypto': {'tls': block}})}")


def _where_clients_show_theirs(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *users: str
) -> tuple[Files, tuple[str, ...]]:
    """Files of crypto, certificates of these users and the operator among them, and the options that name them all."""
    monkeypatch.setattr(exchange, "open_stream", _shows)
    files = Files(directory / "tls", CRYPTO).renew().give("operator", *users)
    return files, _overriding(files.block(client_auth="yes", clients=str(files.directory / "clients")))


def test_before_the_deploy_of_a_second_port_nobody_is_sent_there(
    tmp_path: Path, secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "trust_at", lambda *_: None)  # the server of these tests speaks in clear
    files = Files(tmp_path / "tls", CRYPTO).renew()
    overrides = _overriding(files.block(port=7383))
    asked = (*overrides, "--data", f"endpoints_dir={tmp_path / 'endpoints'}")
    sites = production(crypto=Site([lambda _: as_desired(desired("crypto"))]))
    result = run(sites, "-y", *asked, secrets_file=secrets_file, command="tasks/endpoints.py")
    assert result.exit_code != 0
    assert "crypto: port 7383 is not listened on" in " ".join(result.output.split())
    assert not (tmp_path / "endpoints").exists()


def test_the_directory_of_endpoints_has_what_a_client_checks_a_server_by_and_shows_it(
    tmp_path: Path, secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = roles()["crypto"].services
    files, overrides = _where_clients_show_theirs(tmp_path, monkeypatch, *users)
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
    known = json.loads((where / "endpoints.json").read_text())["services"][users[0]]["crypto"]
    assert known["tls"] == {
        "ports": [6383, 6379],
        "client_auth": "yes",
        "ca": "crypto.ca.crt",
        # No name of a role or service has an @: those of a role `ca` are no other role's ca.
        "certificate": f"{users[0]}@crypto.crt",
        "key": f"{users[0]}@crypto.key",
    }
    assert "PRIVATE" not in result.output


def test_keys_that_no_service_of_the_tier_shows_any_more_are_named_and_only_ours(
    tmp_path: Path, secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = roles()["crypto"].services
    _, overrides = _where_clients_show_theirs(tmp_path, monkeypatch, *users)
    where = tmp_path / "endpoints"
    asked = ("--data", f"endpoints_dir={where}")
    run(production(), "-y", *overrides, *asked, secrets_file=secrets_file, command="tasks/endpoints.py")
    (where / "gone.env").write_text((where / f"{users[0]}.env").read_text().replace(users[0], "gone"))
    (where / "gone@crypto.key").write_text("a key\n")
    (where / "mine@crypto.key").write_text("a key\n")
    limited = (*overrides, *asked, "--limit", "redis-crypto")
    result = run(production(), "-y", *limited, secrets_file=secrets_file, command="tasks/endpoints.py")
    assert result.exit_code == 0, result.output
    notes = [line.partition("note: ")[2] for line in result.output.splitlines() if "rm -- " in line]
    assert notes == [
        f"{where}/gone.env: no role names this service any more: once it has ended: rm -- {where}/gone.env",
        f"{where}/gone@crypto.key: no service shows it or checks by it any more: rm -- {where}/gone@crypto.key",
    ]
    in_clear = run(production(), "-y", *asked, secrets_file=secrets_file, command="tasks/endpoints.py")
    assert in_clear.exit_code == 0, in_clear.output
    for name in ("crypto.ca.crt", f"{users[0]}@crypto.crt", f"{users[0]}@crypto.key"):
        assert f"{where}/{name}: no service shows it or checks by it any more: rm -- {where}/{name}" in in_clear.output
    assert "mine@" not in in_clear.output


@pytest.mark.parametrize("given", [False, True], ids=["files", "secrets"])
def test_a_certificate_that_a_service_which_left_would_be_given_again_is_named(
    tmp_path: Path, secrets_file: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    # That of a service of another role may lie beside them.
    users = (*roles()["crypto"].services, "gateway", "old-service")
    files, overrides = _where_clients_show_theirs(tmp_path, monkeypatch, *users)
    clients = files.directory / "clients"
    # What has no key is no client's, and what a block names is a server's.
    write(clients / "ca.crt", files.authority.pem)
    for name in ("server.crt", "server.key"):
        (clients / name).symlink_to(files.directory / name)
    if given:
        for name in ("ca.crt", "server.crt", "server.key"):
            (clients / name).unlink()
        overrides = _overriding(files.block(client_auth="yes"))
        known = yaml.safe_load(secrets_file.read_text())
        pairs = {path.stem: (path.read_text(), path.with_suffix(".key").read_text()) for path in clients.glob("*.crt")}
        known["crypto"]["tls"] = {
            "clients": {name: {"certificate": certificate, "key": key} for name, (certificate, key) in pairs.items()}
        }
        secrets_file.write_text(yaml.safe_dump(known))
    asked = ("--data", f"endpoints_dir={tmp_path / 'endpoints'}")
    result = run(production(), "-y", *overrides, *asked, secrets_file=secrets_file, command="tasks/endpoints.py")
    assert result.exit_code == 0, result.output
    (note,) = [line.partition("note: ")[2] for line in result.output.splitlines() if "is called so again" in line]
    again = "and one that is called so again would be handed out what it has: remove it there"
    if given:
        what = f"{secrets_file}: crypto: tls: clients: 2 entries beside those of its users (crypto-service, operator)"
        what += ": a service that left"
    else:
        what = f"tls.clients: {clients}/old-service.crt and its key: no service of the tier is called so"
    assert note == f"{what}, {again}"
    assert "PRIVATE" not in result.output


def test_paths_of_certificates_that_nobody_reads_alike_are_refused(
    tmp_path: Path, secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path / "tls", CRYPTO).renew()
    overrides = _overriding(files.block())
    where = tmp_path / "with blanks"
    monkeypatch.setattr(exchange, "open_stream", _shows)
    asked = ("--data", f"endpoints_dir={where}")
    refused = run(production(), "-y", *overrides, *asked, secrets_file=secrets_file, command="tasks/endpoints.py")
    assert refused.exit_code != 0
    assert f"{where}: has other characters than" in " ".join(refused.output.split())
    assert not where.exists()
    # In clear no path stands in a file.
    result = run(production(), "-y", *asked, secrets_file=secrets_file, command="tasks/endpoints.py")
    assert result.exit_code == 0, result.output


def test_a_new_certificate_and_its_key_get_into_their_place_in_one_step_and_are_loaded_then(
    tmp_path: Path, secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "trust_at", lambda *_: None)  # the server of these tests speaks in clear
    files = Files(tmp_path / "tls", CRYPTO).renew()
    overrides = _overriding(files.block())
    pair, ca = tls_files("crypto")

    def before(host: Host) -> Observed:
        return with_file(as_desired(host), pair, content="of the one before")

    sites = production(crypto=Site([before, as_desired], {f"write {pair} root:redis-crypto 0640": ""}))
    result = run(sites, "-y", *overrides, secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert result.commands("redis-crypto") == [f"write {pair} root:redis-crypto 0640"]
    assert [name for name in result.names() if name in (WRITE, LOAD)] == [WRITE, LOAD]
    (loaded,) = [event.text for event in result.events if "CONFIG SET" in event.text]
    assert loaded == f"crypto: CONFIG SET tls-cert-file {pair} tls-key-file {pair} tls-ca-cert-file {ca}"
    assert "PRIVATE" not in result.output


WRITE, LOAD = "Write certificates and keys", "Change settings and users live"

"""A role's certificates at the door: what is wrong with their files, each in a sentence, all at once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding

from tasks.catalogue.given_tls import GivenTls
from tasks.catalogue.roles import build_roles
from tasks.catalogue.secret import Secret
from tasks.catalogue.secrets_text import as_yaml, parse_secrets
from tasks.catalogue.tls import Tls, read_credentials
from tasks.compare.fitness import unfit
from tests.certificates import DAY, Authority, Files, signed, write
from tests.unit.builders import TLS, as_desired, catalogue, desired, roles

ADDRESS = "172.28.2.5"
USERS = ("crypto-service", "operator")
AUTHORITY = Authority()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Files with which nothing is wrong."""
    return Files(tmp_path / "tls", ADDRESS, AUTHORITY).renew().give(*USERS)


def problems(files: Files, **more: Any) -> list[str]:
    """What is said of them, without the directory of this test."""
    block = Tls.model_validate(files.block(**more))
    found, said = read_credentials(block, IPv4Address(ADDRESS), USERS, datetime.now(UTC))
    assert (found is None) == bool(said)
    return [text.replace(f"{files.directory}/", "") for text in said]


def test_files_that_fit_are_taken_and_show_no_key(files: Files) -> None:
    assert problems(files) == []
    found, _ = read_credentials(
        Tls.model_validate(files.block(clients=str(files.directory / "clients"), client_auth="yes")),
        IPv4Address(ADDRESS),
        USERS,
        datetime.now(UTC),
    )
    assert found is not None
    assert set(found.clients) == set(USERS)
    assert "PRIVATE" not in f"{found!r}{found.key}{found.key!r}"


def absent(files: Files) -> None:
    (files.directory / "server.crt").unlink()


def no_pem(files: Files) -> None:
    write(files.directory / "server.key", b"\x30\x82")


def another_key(files: Files) -> None:
    write(files.directory / "server.key", files.authority.issue("another")[1])


def another_address(files: Files) -> None:
    Files(files.directory, "172.28.2.4", files.authority).renew()


def another_authority(files: Files) -> None:
    write(files.directory / "ca.crt", Authority().pem)


def over(files: Files) -> None:
    files.renew(ends=-DAY)


def readable(files: Files) -> None:
    (files.directory / "server.key").chmod(0o640)


def broken(files: Files) -> None:
    write(files.directory / "ca.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (absent, ["tls.certificate: server.crt: No such file or directory, expected a file in PEM"]),
        (no_pem, ["tls.key: server.key: is not PEM, expected"]),
        (another_key, ["tls.certificate: server.crt: server.key is the key of another certificate, expected its own"]),
        (another_address, ["tls.certificate: server.crt: is not for 172.28.2.5 (its IP addresses: 172.28.2.4)"]),
        (another_authority, ["tls.certificate: server.crt: is not signed by what ca.crt holds, expected a chain"]),
        (readable, ["tls.key: server.key: server.key: mode is 0640, expected 0600"]),
        (broken, ["tls.ca: ca.crt: holds no certificate that can be read"]),
    ],
)
def test_what_is_wrong_with_a_file_is_a_sentence(
    files: Files, change: Callable[[Files], None], said: list[str]
) -> None:
    change(files)
    found = problems(files)
    assert len(found) == len(said)
    for text, begins in zip(found, said, strict=True):
        assert text.startswith(begins)


def test_a_certificate_that_has_ended_keeps_a_deploy_from_beginning_and_no_check(files: Files) -> None:
    over(files)
    found, said = read_credentials(Tls.model_validate(files.block()), IPv4Address(ADDRESS), USERS, datetime.now(UTC))
    assert said == []
    assert found is not None
    assert [text.replace(f"{files.directory}/", "")[:51] for text in found.over] == [
        "tls.certificate: server.crt: CN=a server ran out on"
    ]
    host = desired("crypto", crypto={"tls": TLS})
    ended = replace(host, instances=tuple(replace(item, credentials=found) for item in host.instances))
    assert unfit(ended, as_desired(host), []) == [f"crypto: {found.over[0]}"]
    assert unfit(host, as_desired(host), []) == []


def test_all_that_is_wrong_is_said_at_once(files: Files) -> None:
    another_address(files)
    another_key(files)
    another_authority(files)
    (files.directory / "clients" / "operator.crt").unlink()
    found = problems(files, clients=str(files.directory / "clients"))
    assert [text.partition(", expected")[0] for text in found] == [
        "tls.certificate: server.crt: server.key is the key of another certificate",
        "tls.certificate: server.crt: is not signed by what ca.crt holds",
        "tls.certificate: server.crt: is not for 172.28.2.5 (its IP addresses: 172.28.2.4)",
        "tls.clients: clients/crypto-service.crt: is not signed by what ca.crt holds",
        "tls.clients: clients/operator.crt: No such file or directory",
    ]


def test_a_chain_over_another_authority_is_followed(files: Files) -> None:
    root = Authority("the root")
    between = signed(AUTHORITY.name, AUTHORITY.key, root.name, root.key, 90 * DAY, True, ())
    server = (files.directory / "server.crt").read_bytes()
    write(files.directory / "ca.crt", root.pem)
    assert "is not signed" in problems(files)[0]
    write(files.directory / "server.crt", server + between.public_bytes(Encoding.PEM))
    assert problems(files) == []


def test_what_names_no_file_and_stands_not_among_the_secrets_is_said(files: Files) -> None:
    said = read_credentials(Tls(), IPv4Address(ADDRESS), USERS, datetime.now(UTC))[1]
    assert [text.partition(",")[0] for text in said] == [
        f"tls.{name}: no file is named and the secrets have none" for name in ("certificate", "key", "ca")
    ]
    assert "let the role's block there have tls: {key: PEM}" in said[1]
    assert problems(files, client_auth="yes")[0].startswith("tls.clients: missing, and client_auth is yes: name the")


def given(files: Files, *clients: str) -> GivenTls:
    """What the files hold, as it stands among the secrets."""
    names = {"certificate": "server.crt", "key": "server.key", "ca": "ca.crt"}
    texts = {part: (files.directory / name).read_text() for part, name in names.items()}
    own = {
        user: {
            part: (files.directory / "clients" / f"{user}.{end}").read_text()
            for part, end in (("certificate", "crt"), ("key", "key"))
        }
        for user in clients
    }
    text = yaml.dump({"crypto": {"operator": "a-password", "tls": {**texts, "clients": own}}})
    secrets, said = parse_secrets("a source", text.encode())
    assert (said, secrets.passwords) == ([], {"crypto": {"operator": "a-password"}})
    assert yaml.safe_load(as_yaml(secrets)) == yaml.safe_load(text)
    return secrets.tls["crypto"]


def test_what_the_secrets_give_is_taken_as_files_are_and_shows_no_key(files: Files) -> None:
    moment = datetime.now(UTC)
    block = files.block(client_auth="yes", clients=str(files.directory / "clients"))
    by_files, said = read_credentials(Tls.model_validate(block), IPv4Address(ADDRESS), USERS, moment)
    assert said == []
    texts = given(files, *USERS)
    for path in files.directory.rglob("*.key"):
        path.unlink()  # nothing of it is read
    found, said = read_credentials(Tls(client_auth="yes"), IPv4Address(ADDRESS), USERS, moment, texts)
    assert said == []
    assert found is not None
    assert by_files is not None
    assert replace(found, endings=()) == replace(by_files, endings=())
    assert "PRIVATE" not in f"{texts!r}{texts}{found!r}{found.clients}"
    another = replace(texts, parts={**texts.parts, "key": Secret(files.authority.issue("x")[1].decode())})
    (text,) = read_credentials(Tls(), IPv4Address(ADDRESS), USERS, moment, another)[1]
    assert "the key of the secrets is the key of another certificate" in text
    lacking = replace(texts, clients={"operator": texts.clients["operator"]})
    said = read_credentials(Tls(), IPv4Address(ADDRESS), USERS, moment, lacking)[1]
    assert [item.partition(",")[0] for item in said] == [
        f"tls.clients: crypto-service: {part}: no file is named and the secrets have none"
        for part in ("certificate", "key")
    ]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("PEM", "expected certificate, key, ca and clients"),
        ({"key": "hidden-one"}, "tls: key: expected PEM"),
        ({"hidden -----BEGIN x": "x"}, "tls: a name: no such part"),
        ({"key": ["-----BEGIN hidden"]}, "tls: key: expected PEM"),
        ({"clients": "hidden-one"}, "tls: clients: expected {USER:"),
        ({"clients": {"operator": "hidden-one"}}, "tls: clients: expected {USER:"),
        ({"clients": {"operator": {"ca": "hidden-one"}}}, "tls: clients: operator: ca: no such part"),
    ],
)
def test_a_block_among_the_secrets_that_is_none_is_said_and_not_shown(block: object, said: str) -> None:
    _, found = parse_secrets("a source", yaml.dump({"crypto": {"tls": block}}).encode())
    assert any(said in text for text in found), found
    assert "hidden" not in " ".join(found)


def test_what_ends_is_known_of_every_certificate_that_a_connection_needs(files: Files, tmp_path: Path) -> None:
    root = Authority("the root")
    between = signed(AUTHORITY.name, AUTHORITY.key, root.name, root.key, 5 * DAY, True, ())
    chain = between.public_bytes(Encoding.PEM)
    write(files.directory / "ca.crt", root.pem)
    for name in ("server.crt", *(f"clients/{user}.crt" for user in USERS)):
        write(files.directory / name, (files.directory / name).read_bytes() + chain)
    block = Tls.model_validate(files.block(clients=str(files.directory / "clients")))
    found, said = read_credentials(block, IPv4Address(ADDRESS), USERS, datetime.now(UTC))
    assert said == []
    assert found is not None
    soon = {item.what.replace(f"{files.directory}/", "") for item in found.endings if item.left < 6 * 86400}
    assert soon == {
        f"tls.{what}: CN={AUTHORITY.name}"
        for what in ("certificate: server.crt", *(f"clients: clients/{user}.crt" for user in USERS))
    }
    rest = {item.what.replace(f"{files.directory}/", "") for item in found.endings if item.left >= 6 * 86400}
    assert rest == {"tls.ca: ca.crt: CN=the root", *(f"tls.clients: clients/{user}.crt: CN={user}" for user in USERS)}


def refused(role: str = "crypto", **fields: Any) -> list[str]:
    """What the catalogue says of a role with these fields."""
    return build_roles(catalogue(), {role: fields}, "test")[1]


BLOCK = {"certificate": "a", "key": "b", "ca": "c"}


@pytest.mark.parametrize(
    ("role", "fields", "said"),
    [
        ("crypto", {"tls": {**BLOCK, "client_auth": "maybe"}}, "test: crypto: tls.client_auth: 'maybe' was given"),
        ("crypto", {"tls": {**BLOCK, "port": 6383}}, "test: crypto: tls.port: 6383 is a port of the role in clear"),
        ("crypto", {"plain_inner_port": True}, "test: crypto: plain_inner_port: true, and the role has no tls"),
        ("gateway", {"plain_inner_port": True, "tls": BLOCK}, "test: gateway: plain_inner_port: true, and inner and"),
        ("crypto", {"plain_inner_port": True, "tls": {**BLOCK, "port": 7}}, "test: crypto: plain_inner_port and"),
    ],
)
def test_a_block_that_does_not_fit_is_refused(role: str, fields: dict[str, Any], said: str) -> None:
    assert any(text.startswith(said) for text in refused(role, **fields)), refused(role, **fields)


def test_which_port_speaks_tls_follows_from_the_block() -> None:
    def ports(**fields: Any) -> tuple[tuple[int, ...], int | None, int | None, list[int]]:
        role = roles(crypto=fields)["crypto"]
        return role.listens_on, role.plain_port, role.tls_port, [port for port in role.ports if role.speaks_tls(port)]

    assert ports() == ((6383,), 6383, None, [])
    assert ports(tls=BLOCK) == ((6383,), None, 6383, [6383, 6379])
    assert ports(tls=BLOCK, plain_inner_port=True) == ((6383, 6379), 6379, 6383, [6383])
    assert ports(tls={**BLOCK, "port": 7383}) == ((6383, 7383), 6383, 7383, [7383])


KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wonly-here\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "tls",
    [{**BLOCK, "key": KEY}, {**BLOCK, "key": KEY.replace("\n", " ")}, KEY, {**BLOCK, "client_auth": KEY}, [KEY]],
    ids=["as it is", "folded", "in the place of the block", "in another field", "in a list"],
)
def test_a_key_in_the_place_of_its_file_s_name_is_refused_and_not_repeated(tls: object) -> None:
    said = refused(tls=tls)
    assert said
    assert "only-here" not in " ".join(said)


def test_an_authority_that_has_ended_keeps_a_deploy_from_beginning(tmp_path: Path) -> None:
    ended = Authority()
    ended.certificate = signed(ended.name, ended.key, ended.name, ended.key, -DAY, True, ())
    files = Files(tmp_path / "tls", ADDRESS, ended).renew()
    found, said = read_credentials(Tls.model_validate(files.block()), IPv4Address(ADDRESS), USERS, datetime.now(UTC))
    assert said == []
    assert found is not None
    assert ["tls.ca" in text and "ran out on" in text for text in found.over] == [True]

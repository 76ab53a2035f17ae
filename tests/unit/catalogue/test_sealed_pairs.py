"""Certificates of a role with a standby: whether its two servers may speak TLS to each other, said at the door."""

from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from tasks.catalogue.sealed_pairs import sealed_pair_problems
from tasks.catalogue.tls import Credentials, Tls, read_credentials
from tests.certificates import Authority, Files, write

HOSTS = [("one", "172.28.2.1"), ("other", "172.28.2.2")]
USERS = ("crypto-service", "operator")


def own(here: Path, authority: Authority, usage: str | None = None, more: bytes = b"") -> list[Files]:
    """The files of both hosts, of one authority; `more`: what else stands in the ca of the second one."""
    found = [Files(here / name, address, authority).renew(usage=usage).give(*USERS) for name, address in HOSTS]
    ca = found[1].directory / "ca.crt"
    write(ca, more + ca.read_bytes())
    return found


def read(files: Files, ask: str) -> Credentials:
    block = files.block(client_auth=ask, clients=str(files.directory / "clients"))
    found, problems = read_credentials(Tls(**block), IPv4Address(files.address), USERS, datetime.now(UTC))
    assert found is not None, problems
    return found


def problems(files: list[Files], ask: str = "no") -> list[str]:
    speaking = {name: read(item, ask) for (name, _), item in zip(HOSTS, files, strict=True)}
    return list(sealed_pair_problems("crypto", HOSTS, speaking))


def test_each_with_a_certificate_of_its_own_by_one_authority_is_a_pair(tmp_path: Path) -> None:
    files = own(tmp_path, Authority())
    assert [problems(files, ask) for ask in ("no", "optional", "yes")] == [[], [], []]


def test_one_that_may_not_be_shown_by_a_client_is_refused_on_each_host_where_clients_show_theirs(
    tmp_path: Path,
) -> None:
    files = own(tmp_path, Authority(), usage="server")
    assert problems(files) == []
    for ask in ("optional", "yes"):
        found = problems(files, ask)
        assert [text.partition(": ")[0] for text in found] == ["one", "other"]
        assert all("issued for clientAuth" in text for text in found)
    assert problems(own(tmp_path / "both", Authority(), usage="both"), "yes") == []


def test_another_ca_is_refused_whoever_has_signed(tmp_path: Path) -> None:
    authority, another = Authority(), Authority("another")
    (said,) = problems(own(tmp_path, authority, more=another.pem))
    assert said.startswith("other: crypto: tls.ca of its standby is not that of one, expected the same of both")


def test_two_authorities_in_one_file_are_one_ca_in_whatever_order(tmp_path: Path) -> None:
    authority, another = Authority(), Authority("another")
    files = own(tmp_path, authority, more=another.pem)
    ca = files[0].directory / "ca.crt"
    write(ca, ca.read_bytes() + another.pem)
    assert problems(files, "yes") == []


def test_of_files_that_could_not_be_read_nothing_more_is_said(tmp_path: Path) -> None:
    files = own(tmp_path, Authority())
    assert list(sealed_pair_problems("crypto", HOSTS, {"one": read(files[0], "yes")})) == []
    assert list(sealed_pair_problems("crypto", HOSTS, {})) == []

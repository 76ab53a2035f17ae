"""TLS through a stream of ours: who is spoken to, who is not, and what of a certificate is kept."""

import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tasks.catalogue.tls import Credentials, Tls, may_follow, read_credentials
from tasks.desired.build import host_without_roles
from tasks.observed.connection import ConnectionBroken
from tasks.observed.leftover import leftover_trusts, unseen_leftover
from tasks.observed.reader import _configured, _sealed
from tasks.observed.tls import TlsStream, Untrusted, served, trusts
from tests.certificates import DAY, Authority, Files
from tests.unit.builders import CREDENTIALS, TLS, as_desired, desired, with_file

ADDRESS = "172.28.2.5"
AUTHORITY = Authority()


class Server:
    """The other side of a stream, in memory: it answers what it has read, backwards."""

    def __init__(self, files: Files, asks: bool = False) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.directory / "server.crt", files.directory / "server.key")
        context.load_verify_locations(cadata=files.authority.pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
        self.come, self.go = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.come, self.go, server_side=True)
        self.told = b""
        self.shook = False

    def send(self, data: bytes) -> None:
        """Bytes for it."""
        self.come.write(data)

    def receive(self) -> bytes:
        """What it says to that; nothing when it has nothing to say any more."""
        try:
            if not self.shook:
                self.tls.do_handshake()
                self.shook = True
            data = self.tls.read(100)
            self.told += data
            self.tls.write(data[::-1])
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            return self.go.read()
        return self.go.read()

    def close(self) -> None:
        """Nothing is kept open."""


class InClear(Server):
    """One that knows no TLS."""

    def receive(self) -> bytes:
        """What Redis says to a first line that is no command."""
        return b"-ERR unknown command\r\n"


class Gone(Server):
    """One that hangs up."""

    def receive(self) -> bytes:
        """The end."""
        return b""


def credentials(files: Files, clients: bool = False) -> Credentials:
    block = files.block(**({"clients": str(files.directory / "clients"), "client_auth": "yes"} if clients else {}))
    found, problems = read_credentials(Tls.model_validate(block), IPv4Address(ADDRESS), ["operator"], datetime.now(UTC))
    assert found is not None, problems
    return found


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Those of the role."""
    return Files(tmp_path / "own", ADDRESS, AUTHORITY).renew().give("operator")


def test_what_is_sent_and_received_goes_through_and_the_certificate_is_seen(files: Files) -> None:
    stream = TlsStream(Server(files), credentials(files), ADDRESS)
    stream.send(b"abc")
    assert stream.receive() == b"cba"
    assert stream.served.digest == credentials(files).digest
    assert timedelta(days=89) < timedelta(seconds=stream.served.left) <= timedelta(days=90)


def test_a_certificate_that_has_ended_is_seen_and_said_not_refused(files: Files, tmp_path: Path) -> None:
    over = Files(tmp_path / "over", ADDRESS, AUTHORITY).renew(ends=-DAY)
    stream = TlsStream(Server(over), credentials(files), ADDRESS)
    assert stream.served.left < 0


OTHERS: dict[str, tuple[Callable[[Path], Files], str]] = {
    "of another authority": (
        lambda path: Files(path, ADDRESS, Authority("another")).renew(),
        "its certificate is not the role's: ",
    ),
    "of another authority of the same name": (
        lambda path: Files(path, ADDRESS, Authority()).renew(),
        "its certificate is not the role's: ",
    ),
    "for another address": (
        lambda path: Files(path, "172.28.2.4", AUTHORITY).renew(),
        "its certificate is not the role's: ",
    ),
}


@pytest.mark.parametrize(("make", "said"), OTHERS.values(), ids=OTHERS)
def test_who_shows_another_certificate_is_told_nothing(
    files: Files, tmp_path: Path, make: Callable[[Path], Files], said: str
) -> None:
    other = Server(make(tmp_path / "other"))
    with pytest.raises(Untrusted, match=said):
        TlsStream(other, credentials(files), ADDRESS)
    assert other.told == b""


def test_who_knows_no_tls_is_told_nothing(files: Files) -> None:
    other = InClear(files)
    with pytest.raises(Untrusted, match="no TLS with it"):
        TlsStream(other, credentials(files), ADDRESS)
    assert b"operator" not in other.come.read()


def test_who_hangs_up_has_broken_the_connection(files: Files) -> None:
    with pytest.raises(ConnectionBroken):
        TlsStream(Gone(files), credentials(files), ADDRESS)


def test_a_server_that_asks_for_a_certificate_gets_the_operators_or_the_refusal_is_said(files: Files) -> None:
    stream = TlsStream(Server(files, asks=True), credentials(files, clients=True), ADDRESS)
    stream.send(b"abc")
    assert stream.receive() == b"cba"
    with pytest.raises(Untrusted, match="no TLS with it"):
        without = TlsStream(Server(files, asks=True), credentials(files), ADDRESS)
        without.send(b"abc")
        without.receive()


def test_bytes_that_are_no_certificate_are_untrusted() -> None:
    with pytest.raises(Untrusted):
        served(b"no", time.time())


def test_a_port_is_spoken_to_by_tls_where_the_file_and_the_role_agree_and_tried_first_where_they_do_not() -> None:
    host = desired("crypto", crypto={"tls": TLS})
    (instance,), seen = host.instances, as_desired(host)
    assert {place: trust.is_certain for place, trust in trusts(instance, seen).items()} == {
        (ADDRESS, 6383): True,
        (ADDRESS, 6379): True,
    }
    before = with_file(seen, "/etc/redis/crypto.conf", content="port 6383\n")
    assert not any(trust.is_certain for trust in trusts(instance, before).values())
    elsewhere = trusts(instance, before, (ADDRESS, 7000))
    assert not elsewhere[ADDRESS, 7000].is_certain
    plain = desired("crypto")
    assert trusts(plain.instances[0], as_desired(plain)) == {}


def test_a_server_is_asked_by_tls_at_the_address_that_it_is_about_to_leave() -> None:
    before = desired("crypto", crypto={"tls": TLS})
    (moved,) = desired("crypto", crypto={"tls": TLS, "address": "172.28.2.99"}).instances
    found = trusts(moved, as_desired(before), (ADDRESS, 6383))
    assert found[ADDRESS, 6383].is_certain


def test_a_server_of_a_role_that_is_gone_and_that_speaks_tls_is_told_nothing() -> None:
    seen = replace(as_desired(desired("crypto", crypto={"tls": TLS})), sealed=frozenset({"crypto"}))
    found = unseen_leftover("redis-crypto.service", seen)
    assert (found.endpoint, found.because) == (None, "it speaks TLS")


def test_a_server_that_speaks_tls_and_has_left_is_asked_where_its_role_is_elsewhere_by_the_name_of_its_own_place() -> (
    None
):
    carried = desired("crypto", crypto={"tls": TLS})
    seen = replace(as_desired(carried), sealed=frozenset({"crypto"}), configured={"crypto": (ADDRESS, 6383)})
    found = unseen_leftover("redis-crypto.service", seen, ("crypto",))
    assert (found.endpoint, found.because, found.sealed) == ((ADDRESS, 6383), "", True)
    left = replace(host_without_roles("host-1"), leaving={"crypto": CREDENTIALS})
    # When its address has gone along without it, too.
    for endpoint in ((ADDRESS, 6383), ("127.28.2.5", 6383)):
        trusted = leftover_trusts([replace(found, endpoint=endpoint)], left, seen)
        assert {place: (trust.is_certain, trust.name) for place, trust in trusted.items()} == {
            endpoint: (True, ADDRESS)
        }
    assert leftover_trusts([replace(found, sealed=False)], left, seen) == {}
    assert leftover_trusts([found], host_without_roles("host-1"), seen) == {}


@pytest.mark.parametrize(
    ("lines", "endpoint", "is_sealed"),
    [
        (["bind 10.0.0.1", "port 6383"], 6383, False),
        (["bind 10.0.0.1", "port 0", "tls-port 6383"], 6383, True),
        (["bind 10.0.0.1", "port 6379", "tls-port 6383"], 6379, False),
    ],
)
def test_where_a_role_of_before_listens_and_whether_by_tls_alone_is_in_its_file(
    lines: list[str], endpoint: int, is_sealed: bool
) -> None:
    texts = {"/etc/redis/crypto.conf": lines}
    assert dict(_configured(texts)) == {"crypto": ("10.0.0.1", endpoint)}
    assert list(_sealed(texts)) == ["crypto"] * is_sealed


@pytest.mark.parametrize(("usage", "may"), [(None, True), ("server", False), ("both", True)])
def test_a_server_follows_one_that_asks_for_certificates_only_with_one_that_clients_may_show(
    tmp_path: Path, usage: str | None, may: bool
) -> None:
    files = Files(tmp_path, ADDRESS, AUTHORITY).renew(usage=usage)
    assert may_follow(credentials(files), ADDRESS) is may

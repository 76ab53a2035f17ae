"""The `tls` block of a role, and its files on the controller: read once, before any contact, and judged all at once."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tasks.catalogue.directives import Port
from tasks.catalogue.private_files import exposed
from tasks.catalogue.secret import Secret

# Why these: docs/decisions/0024.
PROTOCOLS = "TLSv1.2 TLSv1.3"
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)  # of TLS 1.2
SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"  # of TLS 1.3

# What is raised for certificates and keys of odd forms.
ODD = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.UnsupportedGeneralNameType, x509.DuplicateExtension),
)
CHAIN = 6  # certificates between a server's and its ca, more than anybody has
NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h
PEM = "-----BEGIN "


def _yes_or_no(value: object) -> object:
    """What YAML makes of a plain yes or no."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _no_content(value: str) -> str:
    """A name of a file; not what is in one, which may be a key and is not repeated."""
    if PEM.strip() in value or len(value) > LONGEST:
        raise ValueError("is what a file holds, expected the path of the file")
    return value


LONGEST = 4096  # characters of a path
FilePath = Annotated[str, Field(strict=True, min_length=1, pattern=r"^[^\x00-\x1f]+$"), AfterValidator(_no_content)]
ClientAuth = Annotated[Literal["no", "optional", "yes"], BeforeValidator(_yes_or_no)]


class Tls(BaseModel):
    """Files of the controller, relative to the repository, and who has to show a certificate of its own.

    `clients`: a directory with USER.crt and USER.key for the operator and each service. `port`: TLS answers there, and
    the role's own ports stay in clear, for as long as its services change over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate: FilePath
    key: FilePath
    ca: FilePath
    client_auth: ClientAuth = "no"
    clients: FilePath | None = None
    port: Port | None = None

    @model_validator(mode="after")
    def _clients_have_certificates(self) -> Tls:
        if self.client_auth == "yes" and self.clients is None:
            raise ValueError(
                "clients is missing, and client_auth is yes: name the directory that has USER.crt and USER.key for "
                "operator and each service"
            )
        return self


@dataclass(frozen=True)
class Credentials:
    """The certificates of one role, as its files had them. `not_after`: seconds since the epoch.

    `clients`: every user's own, certificate and key; this tool shows the operator's. `over`: what is not valid now, in
    words, for which no deploy begins; a check of a tier goes on.
    """

    certificate: str
    key: Secret = field(repr=False)
    ca: str
    digest: str  # SHA-256 of the server's own certificate as it is served
    not_after: int
    client_auth: str = "no"
    clients: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)
    over: tuple[str, ...] = ()


def digest(der: bytes) -> str:
    """What tells one certificate from another."""
    return hashlib.sha256(der).hexdigest()


def server_settings(client_auth: str, certificate: str, key: str, ca: str) -> dict[str, str]:
    """The directives of a server that speaks TLS with the files at these paths of its host, but its port."""
    return {
        "tls-cert-file": certificate,
        "tls-key-file": key,
        "tls-ca-cert-file": ca,
        "tls-auth-clients": client_auth,
        "tls-protocols": PROTOCOLS,
        "tls-ciphers": CIPHERS,
        "tls-ciphersuites": SUITES,
    }


def read_credentials(
    tls: Tls, address: IPv4Address, users: Sequence[str], now: datetime
) -> tuple[Credentials | None, list[str]]:
    """A role's certificates, or None and everything that is wrong with their files: `tls.FIELD: PATH: …`.

    `users`: who has to have a certificate where clients show one. Reads files only.
    """
    problems: list[str] = []
    chain = _certificates(f"tls.certificate: {tls.certificate}", Path(tls.certificate), problems)
    key = _key(f"tls.key: {tls.key}", Path(tls.key), problems)
    ca = _certificates(f"tls.ca: {tls.ca}", Path(tls.ca), problems)
    problems += _about(f"tls.certificate: {tls.certificate}", chain, key, tls.key, ca, tls.ca)
    over = [*_over(f"tls.certificate: {tls.certificate}", chain, now)]
    over += _over(f"tls.ca: {tls.ca}", [root for root in ca if any(_issued(one, root) for one in chain)], now)
    if chain and str(address) not in _addresses(chain[0]):
        names = ", ".join(_addresses(chain[0])) or "none"
        problems.append(
            f"tls.certificate: {tls.certificate}: is not for {address} (its IP addresses: {names}), expected that "
            "address as a subject alternative name: have it issued anew"
        )
    clients = _clients(tls, users, ca, now, problems, over)
    if problems or not chain or key is None or not ca:
        return None, problems
    found = Credentials(
        certificate=_pem(chain),
        key=Secret(key.decode()),
        ca=_pem(ca),
        digest=digest(chain[0].public_bytes(Encoding.DER)),
        not_after=int(chain[0].not_valid_after_utc.timestamp()),
        client_auth=tls.client_auth,
        clients=clients,
        over=tuple(over),
    )
    problem = _handshake(tls, found, address)
    return (None, [f"tls: {problem}"]) if problem else (found, [])


def _clients(
    tls: Tls, users: Sequence[str], ca: Sequence[x509.Certificate], now: datetime, problems: list[str], over: list[str]
) -> dict[str, tuple[Path, Path]]:
    """Every user's certificate and key, and what is wrong with them."""
    if tls.clients is None:
        return {}
    found = {user: (Path(tls.clients) / f"{user}.crt", Path(tls.clients) / f"{user}.key") for user in users}
    for certificate, key_file in found.values():
        what = f"tls.clients: {certificate}"
        chain = _certificates(what, certificate, problems)
        key = _key(f"tls.clients: {key_file}", key_file, problems)
        problems += _about(what, chain, key, str(key_file), ca, tls.ca)
        over += _over(what, chain, now)
    return found


def _read(what: str, path: Path, problems: list[str]) -> bytes | None:
    try:
        text = path.read_bytes()
    except OSError as error:
        problems.append(f"{what}: {error.strerror or error}, expected a file in PEM: bring it, or correct the path")
        return None
    if PEM.encode() not in text:
        problems.append(f"{what}: is not PEM, expected it to have a line that begins with {PEM}: convert it")
        return None
    return text


def _certificates(what: str, path: Path, problems: list[str]) -> list[x509.Certificate]:
    text = _read(what, path, problems)
    if text is None:
        return []
    try:
        return x509.load_pem_x509_certificates(text)
    except ODD:
        problems.append(f"{what}: holds no certificate that can be read, expected certificates in PEM: bring it anew")
        return []


def _key(what: str, path: Path, problems: list[str]) -> bytes | None:
    """The private key, in one form whatever it was in."""
    text = _read(what, path, problems)
    if text is None:
        return None
    if problem := exposed(path):
        problems.append(f"{what}: {problem}")
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except TypeError:
        problems.append(f"{what}: is locked by a passphrase, expected one without: openssl pkey -in OLD -out NEW")
        return None
    except ODD:
        problems.append(f"{what}: holds no private key that can be read, expected one in PEM: bring it anew")
        return None
    return key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _about(
    what: str,
    chain: Sequence[x509.Certificate],
    key: bytes | None,
    key_path: str,
    ca: Sequence[x509.Certificate],
    ca_path: str,
) -> Iterator[str]:
    """What is wrong with a certificate, its key and who signed it; of what could not be read that is said already."""
    if chain and key is not None and not _belong_together(chain[0], key):
        yield f"{what}: {key_path} is the key of another certificate, expected its own: bring both anew"
    if chain and ca and not _signed(chain, ca):
        yield (
            f"{what}: is not signed by what {ca_path} holds, expected a chain to it: put the certificates in between "
            "behind it, or correct tls.ca"
        )


def _over(what: str, chain: Sequence[x509.Certificate], now: datetime) -> Iterator[str]:
    """Certificates that are not valid now."""
    for certificate in chain:
        name = _name(certificate)
        if certificate.not_valid_after_utc <= now:
            yield f"{what}: {name} ran out on {_day(certificate.not_valid_after_utc)}, expected a valid one: renew it"
        if certificate.not_valid_before_utc > now:
            begins = _day(certificate.not_valid_before_utc)
            yield f"{what}: {name} is valid from {begins} only, expected now: wait, or see to this machine's clock"


def _name(certificate: x509.Certificate) -> str:
    """Whose it is; old authorities write names in letters that nobody can read."""
    try:
        return certificate.subject.rfc4514_string() or "a certificate of it"
    except ODD:
        return "a certificate of it"


def _day(when: datetime) -> str:
    return when.astimezone(UTC).date().isoformat()


def _belong_together(certificate: x509.Certificate, key: bytes) -> bool:
    private = serialization.load_pem_private_key(key, password=None)
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        return private.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)
    except ODD:
        return False


def _signed(chain: Sequence[x509.Certificate], ca: Sequence[x509.Certificate]) -> bool:
    """Whether a way leads from the first of the chain over others of it to one of the ca."""
    at = chain[0]
    for _ in range(CHAIN):
        if any(_issued(at, root) for root in ca):
            return True
        above = next((one for one in chain[1:] if one != at and _issued(at, one)), None)
        if above is None:
            return False
        at = above
    return False


def _issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (*ODD, InvalidSignature):
        return False
    return True


def _addresses(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, *ODD):
        return []
    return [str(address) for address in names.value.get_values_for_type(x509.IPAddress)]


def _pem(certificates: Sequence[x509.Certificate]) -> str:
    """The certificates alone, without what people write around them."""
    return "".join(item.public_bytes(Encoding.PEM).decode() for item in certificates)


def _handshake(tls: Tls, found: Credentials, address: IPv4Address) -> str:
    """What OpenSSL has against these files, as a client of such a server would meet it; empty when nothing."""
    try:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.minimum_version = ssl.TLSVersion.TLSv1_2
        server.set_ciphers(CIPHERS)
        server.load_cert_chain(tls.certificate, tls.key)
        server.load_verify_locations(cadata=found.ca)
        server.verify_mode = ssl.CERT_REQUIRED if found.clients else ssl.CERT_NONE
        server.verify_flags = ssl.VerifyFlags(server.verify_flags | NO_CHECK_TIME)
        for user in found.clients or [""]:
            meet(server, client_context(found, user), str(address))
    except (ssl.SSLError, OSError) as error:
        return (
            f"{tls.certificate}: OpenSSL says {error}, expected a client with {tls.ca} to be served: have it reissued"
        )
    return ""


def client_context(found: Credentials, user: str = "") -> ssl.SSLContext:
    """What a client trusts who knows the role's ca, and shows the certificate of `user`, if there is one.

    Whether a certificate has run out is for a person to be told: its server must still be given a new one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=found.ca)
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | NO_CHECK_TIME)
    if user in found.clients:
        context.load_cert_chain(*map(str, found.clients[user]))
    return context


def meet(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """Both sides shake hands, in memory. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for side in list(sides):
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                pass
        if not sides:
            return
    raise ssl.SSLError("the two sides do not come to an end")

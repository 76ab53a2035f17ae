"""The `tls` block of a role, and its certificates: read once, before any contact, and judged all at once.

They are files of the controller, or stand among the secrets (tasks/catalogue/given_tls.py).
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tasks.catalogue.directives import Port
from tasks.catalogue.given_tls import CLIENTS, NOTHING_GIVEN, PARTS, PEM, TLS, GivenTls
from tasks.catalogue.private_files import exposed, replaceable
from tasks.catalogue.secret import Secret, revealed

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

    What names no file is taken from the secrets. `clients`: a directory with USER.crt and USER.key for the operator and
    each service. `port`: TLS answers there, and the role's own ports stay in clear, for as long as its services change
    over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate: FilePath | None = None
    key: FilePath | None = None
    ca: FilePath | None = None
    client_auth: ClientAuth = "no"
    clients: FilePath | None = None
    port: Port | None = None


@dataclass(frozen=True)
class Pair:
    """A certificate, those in between behind it, and its key, in PEM."""

    certificate: str
    key: Secret = field(repr=False)


@dataclass(frozen=True)
class Ending:
    """When a certificate ends that no server shows by itself: its day, and the seconds until then."""

    what: str
    ends: str
    left: int


@dataclass(frozen=True)
class Credentials:
    """The certificates of one role, as they were read. `not_after`: seconds since the epoch.

    `clients`: every user's own, certificate and key; this tool shows the operator's. `over`: what is not valid now, in
    words, for which no deploy begins; a check of a tier goes on. `endings`: of all but the server's own certificate.
    `other_files`, `given_others`: certificates and keys beside those, of users that the role has not.
    """

    certificate: str
    key: Secret = field(repr=False)
    ca: str
    digest: str  # SHA-256 of the server's own certificate as it is served
    not_after: int
    client_auth: str = "no"
    clients: Mapping[str, Pair] = field(default_factory=dict)
    over: tuple[str, ...] = ()
    endings: tuple[Ending, ...] = ()
    other_files: tuple[Path, ...] = ()
    given_others: tuple[str, ...] = ()


def digest(der: bytes) -> str:
    """What tells one certificate from another."""
    return hashlib.sha256(der).hexdigest()


def server_settings(client_auth: str, pair: str, ca: str) -> dict[str, str]:
    """The directives of a server that speaks TLS with the files at these paths of its host, but its port.

    `pair`: of certificate and key; Redis reads of it what it looks for.
    """
    return {
        "tls-cert-file": pair,
        "tls-key-file": pair,
        "tls-ca-cert-file": ca,
        "tls-auth-clients": client_auth,
        "tls-protocols": PROTOCOLS,
        "tls-ciphers": CIPHERS,
        "tls-ciphersuites": SUITES,
    }


@dataclass(frozen=True)
class _Text:
    """One part of a block: how it is called, and what it holds; None where it could not be had, which is said."""

    what: str
    text: bytes | None
    path: str  # or where it stands
    is_file: bool = True


def read_credentials(
    tls: Tls, address: IPv4Address, users: Sequence[str], now: datetime, given: GivenTls = NOTHING_GIVEN
) -> tuple[Credentials | None, list[str]]:
    """A role's certificates, or None and everything that is wrong with them: `tls.FIELD: PATH: …`.

    `users`: who has to have a certificate where clients show one; `given`: what stands among the secrets. Reads files
    only.
    """
    problems: list[str] = []
    texts = {name: _part(name, getattr(tls, name), given.parts.get(name), problems) for name in PARTS}
    own, key_text, ca_text = texts["certificate"], texts["key"], texts["ca"]
    chain, key, ca = _certificates(own, problems), _key(key_text, problems), _certificates(ca_text, problems)
    problems += _about(own.what, chain, key, key_text.path, ca, ca_text.path)
    over = [*_over(own.what, chain, now)]
    if chain and str(address) not in _addresses(chain[0]):
        names = ", ".join(_addresses(chain[0])) or "none"
        problems.append(
            f"{own.what}: is not for {address} (its IP addresses: {names}), expected that "
            "address as a subject alternative name: have it issued anew"
        )
    clients, chains = _clients(tls, users, given, (ca, ca_text.path), problems)
    over += [text for what, certificates in chains for text in _over(what, certificates, now)]
    signed = [certificate for certificates in (chain, *(item for _, item in chains)) for certificate in certificates]
    roots = [root for root in ca if any(_issued(one, root) for one in signed)]
    over += _over(ca_text.what, roots, now)
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
        endings=tuple(_endings([(own.what, chain[1:]), (ca_text.what, roots), *chains], now)),
        other_files=tuple(_other_files(tls, users)),
        given_others=tuple(sorted(given.clients.keys() - {*users})),
    )
    problem = _handshake(found, address, own.path, ca_text.path)
    return (None, [f"tls: {problem}"]) if problem else (found, [])


def _part(name: str, path: str | None, text: Secret | None, problems: list[str], where: str = "") -> _Text:
    """A part that is a file at `path`, or stands among the secrets as `text`; a file that is named counts."""
    if path is not None:
        what = f"tls.{where or name}: {path}"
        return _Text(what, _read(what, Path(path), problems), path)
    inside = f"{CLIENTS}: {{{where}: {{{name}: PEM}}}}" if where else f"{name}: PEM"
    what = f"tls.{CLIENTS}: {where}: {name}" if where else f"tls.{name}"
    if text is None:
        problems.append(
            f"{what}: no file is named and the secrets have none, expected one of both: name it, or let the role's "
            f"block there have {TLS}: {{{inside}}} (docs/secrets.md)"
        )
        return _Text(what, None, what, is_file=False)
    return _Text(f"{what} of the secrets", text.encode(), f"the {name} of the secrets", is_file=False)


def _clients(
    tls: Tls,
    users: Sequence[str],
    given: GivenTls,
    ca: tuple[Sequence[x509.Certificate], str],
    problems: list[str],
) -> tuple[dict[str, Pair], list[tuple[str, Sequence[x509.Certificate]]]]:
    """Every user's certificate and key, and each one's chain by what it is called."""
    if tls.clients is None and not given.clients:
        if tls.client_auth == "yes":
            problems.append(
                "tls.clients: missing, and client_auth is yes: name the directory that has USER.crt and USER.key for "
                f"operator and each service, or give them among the secrets, as {TLS}: {{{CLIENTS}: …}}"
            )
        return {}, []
    found: dict[str, Pair] = {}
    chains: list[tuple[str, Sequence[x509.Certificate]]] = []
    for user in users:
        paths = (None, None) if tls.clients is None else [str(Path(tls.clients) / f"{user}.{end}") for end in ENDS]
        where = user if tls.clients is None else CLIENTS
        own = given.clients.get(user, {})
        text, key_text = (
            _part(name, path, own.get(name), problems, where) for name, path in zip(PARTS[:2], paths, strict=True)
        )
        chain, key = _certificates(text, problems), _key(key_text, problems)
        problems += _about(text.what, chain, key, key_text.path, *ca)
        chains.append((text.what, chain))
        if chain and key is not None:
            found[user] = Pair(_pem(chain), Secret(key.decode()))
    return found, chains


ENDS = ("crt", "key")


def _other_files(tls: Tls, users: Sequence[str]) -> list[Path]:
    """What lies in the directory of clients' certificates and is none of these users'; of no role, perhaps."""
    if tls.clients is None:
        return []
    found = (path for end in ENDS for path in Path(tls.clients).glob(f"*.{end}"))
    return sorted(path for path in found if path.stem not in users)


def _endings(named: Sequence[tuple[str, Sequence[x509.Certificate]]], now: datetime) -> Iterator[Ending]:
    for what, certificates in named:
        for certificate in certificates:
            ends = certificate.not_valid_after_utc
            yield Ending(f"{what}: {_name(certificate)}", _day(ends), int((ends - now).total_seconds()))


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


def _certificates(part: _Text, problems: list[str]) -> list[x509.Certificate]:
    if part.text is None:
        return []
    if part.is_file and (problem := replaceable(Path(part.path))):
        problems.append(f"{part.what}: {problem}")  # whoever puts his own authority in there is trusted by all
    try:
        return x509.load_pem_x509_certificates(part.text)
    except ODD:
        problems.append(
            f"{part.what}: holds no certificate that can be read, expected certificates in PEM: bring it anew"
        )
        return []


def _key(part: _Text, problems: list[str]) -> bytes | None:
    """The private key, in one form whatever it was in."""
    if part.text is None:
        return None
    if part.is_file and (problem := exposed(Path(part.path))):
        problems.append(f"{part.what}: {problem}")
    try:
        key = serialization.load_pem_private_key(part.text, password=None)
    except TypeError:
        problems.append(f"{part.what}: is locked by a passphrase, expected one without: openssl pkey -in OLD -out NEW")
        return None
    except ODD:
        problems.append(f"{part.what}: holds no private key that can be read, expected one in PEM: bring it anew")
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


def _handshake(found: Credentials, address: IPv4Address, path: str, ca_path: str) -> str:
    """What OpenSSL has against these files, as a client of such a server would meet it; empty when nothing."""
    try:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.minimum_version = ssl.TLSVersion.TLSv1_2
        server.set_ciphers(CIPHERS)
        load_pair(server, Pair(found.certificate, found.key))
        server.load_verify_locations(cadata=found.ca)
        server.verify_mode = ssl.CERT_REQUIRED if found.clients else ssl.CERT_NONE
        server.verify_flags = ssl.VerifyFlags(server.verify_flags | NO_CHECK_TIME)
        for user in found.clients or [""]:
            meet(server, client_context(found, user), str(address))
    except (ssl.SSLError, OSError) as error:
        return f"{path}: OpenSSL says {error}, expected a client with {ca_path} to be served: have it reissued"
    return ""


def may_follow(found: Credentials, address: str) -> bool:
    """Whether a server of these files may be a client of another one that asks for certificates: it shows its own.

    An authority may issue for servers alone (extended key usage).
    """
    pair = Pair(found.certificate, found.key)
    try:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_pair(server, pair)
        server.load_verify_locations(cadata=found.ca)
        server.verify_mode = ssl.CERT_REQUIRED
        server.verify_flags = ssl.VerifyFlags(server.verify_flags | NO_CHECK_TIME)
        client = client_context(found)
        load_pair(client, pair)
        meet(server, client, address)
    except (ssl.SSLError, OSError):
        return False
    return True


def client_context(found: Credentials, user: str = "") -> ssl.SSLContext:
    """What a client trusts who knows the role's ca, and shows the certificate of `user`, if there is one.

    Whether a certificate has run out is for a person to be told: its server must still be given a new one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=found.ca)
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | NO_CHECK_TIME)
    if user in found.clients:
        load_pair(context, found.clients[user])
    return context


def load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    """The context shows this certificate. OpenSSL reads both from memory: a key of the secrets is never on a disk."""
    with _in_memory(pair.certificate) as certificate, _in_memory(revealed(pair.key)) as key:
        context.load_cert_chain(certificate, key)


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """The name of a file that has this text and is on no disk."""
    descriptor = os.memfd_create("pem")
    try:
        with os.fdopen(os.dup(descriptor), "w", encoding="ascii") as file:
            file.write(text)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


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

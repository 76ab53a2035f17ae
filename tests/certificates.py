"""Certificates for tests: an authority that issues whatever a test asks for, by `cryptography`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
USAGES = {
    "server": (ExtendedKeyUsageOID.SERVER_AUTH,),
    "both": (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
}


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Authority:
    """A certificate authority of a test's own."""

    name: str = "a test's authority"
    key: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        self.certificate = signed(self.name, self.key, self.name, self.key, 3650 * DAY, True, ())

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self, name: str, *addresses: str, ends: timedelta = 90 * DAY, usage: str | None = None
    ) -> tuple[bytes, bytes]:
        """A certificate and its key, in PEM, which ends so long from now. `usage`: for a `server` alone, or `both`."""
        key = _new_key()
        certificate = signed(name, key, self.name, self.key, ends, False, addresses, USAGES.get(usage or "", ()))
        return certificate.public_bytes(Encoding.PEM), pem_key(key)


def pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as it lies in a file."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    by: ec.EllipticCurvePrivateKey,
    ends: timedelta,
    is_authority: bool,
    addresses: tuple[str, ...],
    usages: tuple[x509.ObjectIdentifier, ...] = (),
) -> x509.Certificate:
    """A certificate for `key`, signed with the key `by` of `issuer`; `usages`: extended ones, any without."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + ends) - DAY)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if is_authority:
        usage = dict.fromkeys(
            ("content_commitment", "data_encipherment", "encipher_only", "decipher_only", "key_encipherment"), False
        )
        usage |= {"digital_signature": True, "key_cert_sign": True, "crl_sign": True, "key_agreement": False}
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    if addresses:
        names = [x509.IPAddress(IPv4Address(address)) for address in addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(by, hashes.SHA256())


def write(path: Path, text: bytes) -> Path:
    """A file that nobody else can read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(text)
    return path


@dataclass
class Files:
    """A role's files on the controller, as its `tls` block names them."""

    directory: Path
    address: str
    authority: Authority = field(default_factory=Authority)

    def renew(self, ends: timedelta = 90 * DAY, usage: str | None = None) -> Files:
        """The server has a new certificate and key."""
        certificate, key = self.authority.issue("a server", self.address, ends=ends, usage=usage)
        write(self.directory / "server.crt", certificate)
        write(self.directory / "server.key", key)
        write(self.directory / "ca.crt", self.authority.pem)
        return self

    def give(self, *users: str) -> Files:
        """Each of these users has a certificate of its own."""
        for user in users:
            certificate, key = self.authority.issue(user)
            write(self.directory / "clients" / f"{user}.crt", certificate)
            write(self.directory / "clients" / f"{user}.key", key)
        return self

    def block(self, **more: Any) -> dict[str, Any]:
        """The `tls` block."""
        names = {"certificate": "server.crt", "key": "server.key", "ca": "ca.crt"}
        return {field: str(self.directory / name) for field, name in names.items()} | more

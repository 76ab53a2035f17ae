"""TLS through a host's SSH connection: a server shows whose it is before anybody tells it a password.

Its name and chain are checked as any client of the role checks them. Not when it ends: that is for a person to be told
(tasks/compare/certificates.py), and a server whose certificate has run out must still be given a new one.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Protocol
from weakref import WeakKeyDictionary

from cryptography import x509
from pyinfra.api.host import Host as PyinfraHost

from tasks.catalogue.acl_rules import OPERATOR
from tasks.catalogue.printable import excerpt
from tasks.catalogue.tls import ODD, Credentials, client_context, digest
from tasks.desired.host import Instance
from tasks.desired.paths import config_file
from tasks.observed.bounds import EXCHANGE, Bound
from tasks.observed.connection import ConnectionBroken, open_tunnel
from tasks.observed.state import Observed, Served

Endpoint = tuple[str, int]
PIECE = 65536  # bytes that are taken at once
PORTS = re.compile(r"^(port|tls-port) ([0-9]{1,5})$", re.MULTILINE)


class Untrusted(Exception):
    """The server did not show that it is the role's, or would not have this client; the message says how."""


@dataclass(frozen=True)
class Trust:
    """How a server is spoken to by TLS. `is_certain`: not where it may still be in clear, before or amid a change.

    `name`: the address that its certificate is for, where that is not the one where it is spoken to.
    """

    credentials: Credentials
    is_certain: bool
    name: str = ""


class Stream(Protocol):
    """Bytes to and from a server, in clear or not. Whatever breaks it raises ConnectionBroken or Untrusted."""

    def send(self, data: bytes) -> None:
        """All of `data` is on its way."""

    def receive(self) -> bytes:
        """What has come, at least a byte; nothing when the other side has closed."""

    def close(self) -> None:
        """The other side sees the end."""


# What the last look showed of a host's own servers. A process that is asked elsewhere is asked in clear.
_trusted: WeakKeyDictionary[PyinfraHost, dict[Endpoint, Trust]] = WeakKeyDictionary()


def learn(host: PyinfraHost, trusted: Mapping[Endpoint, Trust]) -> None:
    """From here on the servers at these addresses and ports of the host are spoken to by TLS, and no others are."""
    if trusted or host in _trusted:
        _trusted[host] = dict(trusted)


def learn_more(host: PyinfraHost, trusted: Mapping[Endpoint, Trust]) -> None:
    """From here on those at these places are spoken to by TLS, too, until the next look."""
    _trusted[host] = {**_trusted.get(host, {}), **trusted}


def trust_at(host: PyinfraHost, address: str, port: int) -> Trust | None:
    """How whoever answers there is spoken to; None in clear."""
    return _trusted.get(host, {}).get((address, port))


def trusts(instance: Instance, observed: Observed, also: Endpoint | None = None) -> dict[Endpoint, Trust]:
    """Where the instance is spoken to by TLS, now or after this run; `also`: where its process listens now. Pure."""
    if instance.credentials is None:
        return {}
    role, now = instance.role, spoken_by_file(instance, observed)
    wanted = {name: instance.settings.get(name, "0") for name in ("port", "tls-port")}
    is_certain = not now or now == wanted
    ports = {port for port in role.ports if role.speaks_tls(port)}
    if not is_certain:
        ports |= {*role.ports, int(now["port"]), int(now["tls-port"])}
    found = {(instance.address, port): Trust(instance.credentials, is_certain) for port in ports - {0}}
    if also is None or also in found:
        return found
    # Where it listens until a change, as another address: by its own file it speaks TLS there, or may.
    is_sealed = is_certain and str(also[1]) == now.get("tls-port", "0")
    return {**found, also: Trust(instance.credentials, is_sealed)}


def spoken_by_file(instance: Instance, observed: Observed) -> dict[str, str]:
    """The ports that root's own file on the host gives the server; nothing where there is no such file. Pure."""
    file = observed.files.get(config_file(instance.name))
    if file is None or file.kind != "file":
        return {}
    return {"port": "0", "tls-port": "0", **dict(PORTS.findall(file.content))}


def open_stream(
    host: PyinfraHost, address: str, port: int, bound: Bound = EXCHANGE, in_clear: bool = False
) -> tuple[Stream, Served | None]:
    """A stream to whoever answers at `address:port`, and the certificate that was shown; None in clear.

    Raises TunnelRefused, ConnectionBroken or Untrusted.
    """
    trust = None if in_clear else trust_at(host, address, port)
    if trust is None or not (trust.is_certain or _speaks_tls(host, address, port)):
        return open_tunnel(host, address, port, bound), None
    channel = open_tunnel(host, address, port, bound)
    try:
        stream = TlsStream(channel, trust.credentials, trust.name or address)
        return stream, stream.served
    except BaseException:
        channel.close()
        raise


def meet_from(host: PyinfraHost, where: Endpoint, trust: Trust) -> None:
    """Who answers at `where`, seen from a host, has shown that it is the role's. Nothing else is said to it.

    Raises TunnelRefused, ConnectionBroken or Untrusted.
    """
    channel = open_tunnel(host, *where)
    try:
        TlsStream(channel, trust.credentials, trust.name or where[0])
    finally:
        channel.close()


def _speaks_tls(host: PyinfraHost, address: str, port: int) -> bool:
    """Whether the server takes a PING in clear for no TLS: nothing that is secret is said."""
    channel = open_tunnel(host, address, port)
    try:
        channel.send(b"PING\r\n")
        return channel.receive()[:1] not in (b"+", b"-")
    except ConnectionBroken:
        return True
    finally:
        channel.close()


class TlsStream:
    """A stream inside another one. Shakes hands when it is made. Raises ConnectionBroken or Untrusted."""

    def __init__(self, inner: Stream, credentials: Credentials, name: str) -> None:
        self._inner = inner
        self._come, self._go = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            context = client_context(credentials, OPERATOR)
            self._tls = context.wrap_bio(self._come, self._go, server_hostname=name)
            while True:
                try:
                    self._tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self._exchange()
            self._flush()
        except ssl.SSLCertVerificationError as error:
            raise Untrusted(f"its certificate is not the role's: {excerpt(error.verify_message)}") from error
        except (ssl.SSLError, OSError) as error:
            raise Untrusted(f"no TLS with it: {excerpt(said(error))}") from error
        self.served = served(self._tls.getpeercert(binary_form=True) or b"", time.time())

    def send(self, data: bytes) -> None:
        """All of `data` is on its way."""
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise Untrusted(f"no TLS with it: {excerpt(said(error))}") from error
        self._flush()

    def receive(self) -> bytes:
        """What has come, at least a byte; nothing when the other side has closed."""
        while True:
            try:
                return self._tls.read(PIECE)
            except ssl.SSLWantReadError:
                self._flush()
                data = self._inner.receive()
                if not data:
                    return b""
                self._come.write(data)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                raise Untrusted(f"no TLS with it: {excerpt(said(error))}") from error

    def close(self) -> None:
        """The other side sees the end."""
        self._inner.close()

    def _exchange(self) -> None:
        self._flush()
        data = self._inner.receive()
        if not data:
            raise ConnectionBroken("it closed the connection as TLS began")
        self._come.write(data)

    def _flush(self) -> None:
        data = self._go.read()
        if data:
            self._inner.send(data)


def said(error: OSError) -> str:
    """What OpenSSL names the trouble, without its own places in C."""
    return str(getattr(error, "reason", None) or error)


def served(der: bytes, now: float) -> Served:
    """What is to be known of a certificate that a server has shown. Raises Untrusted for one that cannot be read."""
    try:
        ends = x509.load_der_x509_certificate(der).not_valid_after_utc.astimezone(UTC)
    except ODD as error:
        raise Untrusted("its certificate cannot be read") from error
    return Served(digest(der), ends.date().isoformat(), int(ends.timestamp() - now))

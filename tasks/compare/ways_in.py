"""Whether a client gets in by what its file is about to say: the port, how it is spoken there, its certificates. Pure.

What the catalogue says is what a deploy will make true; a service reads its file now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasks.compare.certificates import settings_by_file
from tasks.desired.host import Host, Instance
from tasks.desired.paths import tls_files, trusted_file
from tasks.observed.refusal import Cause
from tasks.observed.state import Observed, Server

DEPLOY = "deploy to the end first, then write the files"


def closed_ways(
    desired: Host, instance: Instance, observed: Observed | None, *, inner: bool, because: str
) -> list[str]:
    """Why the files of an instance's services would not open a connection, or why nobody knows; empty where they do.

    `inner`: by the inner port; `because`: why the host was not seen.
    """
    role, name = instance.role, instance.name
    port = role.way_in(inner)
    if observed is None:
        return [
            f"{name}: whether it answers on {port} is not known ({because}), expected that it was seen: mend that first"
        ]
    server = observed.servers.get(name)
    tells = server is not None and server.refusal is None
    if server is not None and server.refusal is not None and server.refusal.cause is Cause.CERTIFICATE:
        return [_untrusted(instance, str(server.refusal))]
    config = server.config if server is not None and tells else settings_by_file(instance, observed)
    if config is None:
        return [f"{name}: it never ran here, expected a server on {port}: {DEPLOY}"]
    if problem := _other_port(instance, config, observed, port):
        return [problem]
    if not role.speaks_tls(port):
        return []
    return [
        *_not_shown(instance, server, port),
        *(f"{name}: {text}" for text in (instance.credentials.over if instance.credentials else ())),
        *_not_taken(desired, instance, config, observed),
    ]


def _untrusted(instance: Instance, said: str) -> str:
    return (
        f"{instance.name}: {said}, expected a server that clients with its role's tls.ca trust: let its tls block be "
        "the one that it was deployed with; a new ca comes beside the old one first (README, TLS)"
    )


def _other_port(instance: Instance, config: Mapping[str, str], observed: Observed, port: int) -> str:
    """Why nobody answers as the role says on its port; empty where its server does."""
    if port == instance.role.forwarded_port and "forwards" in observed.unseen:
        said = observed.unseen["forwards"].because
        return f"{instance.name}: where port {port} leads is not known ({said}), expected that it was seen: mend that"
    spoken = _spoken(instance, config, observed)
    wanted = instance.role.speaks_tls(port)
    if spoken.get(port) == wanted:
        return ""
    found = ", ".join(f"{number} {_how(tls)}" for number, tls in spoken.items()) or "no port"
    is_what = f"speaks {_how(spoken[port])}" if port in spoken else "is not listened on"
    expected = "TLS there" if wanted else "a port in clear there"
    return f"{instance.name}: port {port} {is_what} (its server: {found}), expected {expected}: {DEPLOY}"


def _how(tls: bool) -> str:
    return "with TLS" if tls else "in clear"


def _spoken(instance: Instance, config: Mapping[str, str], observed: Observed) -> dict[int, bool]:
    """The ports by which clients of other machines come to the server, and whether TLS is spoken there."""
    found = {
        int(value): name == "tls-port"
        for name in ("port", "tls-port")
        if (value := config.get(name, "0")).isdecimal() and int(value)
    }
    for chain, address, port, target in sorted(observed.forwards):
        place, _, number = target.rpartition(":")
        is_here = (chain, address, place) == ("prerouting", instance.address, instance.address)
        if is_here and number.isdecimal() and int(number) in found:
            found.setdefault(port, found[int(number)])
    return found


def _not_shown(instance: Instance, server: Server | None, port: int) -> Iterator[str]:
    """What is wrong with the certificate that is served on a port, so far as it was seen."""
    said = "it does not run" if server is None else str(server.other or server.refusal or "TLS was not tried")
    if server is not None and server.other is not None and server.other.cause is Cause.CERTIFICATE:
        yield _untrusted(instance, said)
    elif server is None or server.certificate is None or server.refusal is not None or server.other is not None:
        yield (
            f"{instance.name}: what it shows on {port} is not known ({said}), expected a certificate that its tls.ca "
            "signed: mend that first"
        )
    elif server.certificate.left <= 0:
        yield (
            f"{instance.name}: its certificate ended on {server.certificate.ends}, expected a valid one: put a new one "
            "into the files of its tls block and deploy"
        )


def _not_taken(desired: Host, instance: Instance, config: Mapping[str, str], observed: Observed) -> Iterator[str]:
    """What is wrong with the certificates that clients show, so far as the host tells."""
    clients = instance.credentials.clients if instance.credentials is not None else {}
    lacking = [name for name in instance.role.services if name not in clients]
    if config.get("tls-auth-clients", "no") == "yes" and lacking:
        yield (
            f"{instance.name}: its server asks for certificates, and there is none for {', '.join(lacking)}, expected "
            "one: name tls.clients with them, or deploy client_auth first"
        )
    ca, record = tls_files(instance.name)[1], trusted_file(instance.name)
    wanted = {file.path: file.observable for file in desired.files if file.path in (ca, record)}
    found = {path: state.content for path in wanted if (state := observed.files.get(path)) is not None}
    if clients and found.get(ca) != wanted.get(ca):
        yield (f"{instance.name}: {ca} is another than tls.ca, expected the one that signs what clients show: {DEPLOY}")
    elif clients and found != wanted:
        yield (
            f"{instance.name}: whether its server checks clients by {ca} is not recorded, expected that it is: {DEPLOY}"
        )

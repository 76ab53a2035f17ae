"""Compare the TLS of an instance with its role's: what it serves, when that ends, who would be locked out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from tasks.compare.difference import ByHand, Difference, Remedy
from tasks.compare.unwell import Code, Health
from tasks.desired.host import Host, Instance
from tasks.desired.paths import tls_files
from tasks.observed.refusal import Cause
from tasks.observed.state import Observed, Server

DAY = 86400  # seconds
SOON = 30 * DAY  # before a certificate ends
SHOWN = 16  # digits of a certificate's SHA-256
# Read together: a certificate belongs to its key.
FILES = ("tls-cert-file", "tls-key-file", "tls-ca-cert-file")


class RefusedSwitch(ByHand):
    """A change that would lock out who connects as before: `advice` is the plan to do it."""


def certificate_differences(instance: Instance, server: Server, other: Collection[str]) -> Iterator[Difference]:
    """What a server that speaks TLS has loaded and should not have; `other`: files that are not as they are to be."""
    own, shown = instance.credentials, server.certificate
    if own is None or server.config.get("tls-port", "0") == "0":
        return
    if shown is not None and shown.digest != own.digest:
        found = f"{shown.digest[:SHOWN]}, until {shown.ends}"
        yield Difference(instance.name, "setting", SERVED, own.digest[:SHOWN], found, Remedy.LIVE)
    elif any(path in other for path in tls_files(instance.name)):
        yield Difference(instance.name, "setting", SERVED, "with its files as they are to be", "before", Remedy.LIVE)


SERVED = "certificate that is served"


def switch_refusal(instance: Instance, config: Mapping[str, str]) -> RefusedSwitch | None:
    """The plan to change over where somebody who connects as before would be locked out; None where nobody is."""
    role = instance.role
    plain, tls = (config.get(name, "0") for name in ("port", "tls-port"))
    inner = role.inner_port if role.inner_port != role.port else None
    locked_out = []
    if plain not in ("0", str(role.plain_port)) and role.tls is not None:
        also = f" or {inner}" if inner is not None and plain != str(inner) and role.speaks_tls(inner) else ""
        locked_out.append(f"who connects in clear on {plain}{also}")
    if tls not in ("0", str(role.tls_port)) and (role.tls is None or tls == str(role.plain_port) or plain != "0"):
        locked_out.append(f"who connects with TLS on {tls}")
    if inner is not None and tls != "0" and plain == "0" and not role.speaks_tls(inner):
        locked_out.append(f"who connects with TLS on {inner}")
    if not locked_out or instance.switches_tls:
        return None
    return RefusedSwitch(
        f"that locks out {' and '.join(locked_out)}: give the role a second port first (tls: {{port: N}}: TLS there, "
        "its own ports in clear), let its services change over (README, TLS), and when nobody uses the old one: "
        f"--data tls_switch={role.name}"
    )


def lost_blocks(desired: Host, observed: Observed) -> Iterator[str]:
    """Roles whose server speaks TLS and nothing else, and that have no tls any more: nobody here can speak to it."""
    for instance in desired.instances:
        refusal = observed.servers.get(instance.name, Server()).refusal
        if instance.credentials is None and refusal is not None and refusal.cause is Cause.CERTIFICATE:
            yield (
                f"{instance.name}: tls: none, and its server speaks TLS, expected the block that it was deployed with: "
                "bring it back; to speak TLS no more, give it tls.port first (README, TLS)"
            )


def certificate_health(instance: Instance, server: Server) -> Iterator[Health]:
    """A served certificate that has ended, or soon does."""
    shown = server.certificate
    if shown is None or shown.left > SOON:
        return
    is_over = shown.left <= 0
    observed = f"its certificate ended on {shown.ends}" if is_over else f"its certificate ends on {shown.ends}"
    yield Health(
        instance.name,
        Code.CERTIFICATE_ENDS,
        "critical" if is_over else "warning",
        observed,
        "its end" if is_over else f"{SOON // DAY} days before",
        "put a new certificate into the files of its tls block and deploy: no client is cut off",
    )


def clear_notes(desired: Host) -> list[str]:
    """Ports that stay in clear beside TLS, for the plan."""
    notes = []
    for role in desired.roles:
        if role.plain_inner_port:
            notes.append(f"{role.name}: port {role.inner_port} stays in clear (plain_inner_port), passwords too")
        elif role.tls is not None and role.plain_port is not None:
            also = "" if role.forwarded_port is None else f" and {role.forwarded_port}"
            notes.append(
                f"{role.name}: port {role.plain_port}{also} in clear, TLS on {role.tls_port}, for a change over"
            )
    return notes


def stale_files(desired: Host, observed: Observed) -> Iterator[Difference]:
    """Certificates and keys of a role that speaks TLS no more; not what somebody else put there by that name."""
    for instance in desired.instances:
        ours = ("file", "root", instance.user, "0640")
        for path in tls_files(instance.name) if instance.credentials is None else ():
            state = observed.files.get(path)
            if state is not None and (state.kind, state.owner, state.group, state.mode) == ours:
                yield Difference(instance.name, "file", path, "absent", "present", Remedy.REMOVE)

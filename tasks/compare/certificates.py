"""Compare the TLS of an instance with its role's: what it serves, when that ends, who would be locked out. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations

from tasks.compare.difference import ByHand, Difference, Remedy
from tasks.compare.unwell import Code, Health
from tasks.desired.host import Host, Instance, sha256
from tasks.desired.paths import config_file, old_tls_files, tls_files, trusted_file
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
    if server.other is not None and server.other.cause is Cause.CERTIFICATE:
        yield Difference(instance.name, "setting", SERVED, own.digest[:SHOWN], str(server.other), Remedy.LIVE)
    elif shown is not None and shown.digest != own.digest:
        found = f"{shown.digest[:SHOWN]}, until {shown.ends}"
        yield Difference(instance.name, "setting", SERVED, own.digest[:SHOWN], found, Remedy.LIVE)
    elif any(path in other for path in tls_files(instance.name)):
        yield Difference(instance.name, "setting", SERVED, AS_WANTED, "before", Remedy.LIVE)
    elif trusted_file(instance.name) in other:
        found = "whether with this ca nobody has recorded"
        yield Difference(instance.name, "setting", SERVED, AS_WANTED, found, Remedy.LIVE)


SERVED = "certificate that is served"
AS_WANTED = "with its files as they are to be"


# What of a server's settings decides who may speak to it, and how.
PORTS = ("port", "tls-port")
SPEAKS = (*PORTS, "tls-auth-clients")
BY_FILE = re.compile(rf"^({'|'.join(SPEAKS)}) ([a-z0-9]{{1,9}})$", re.MULTILINE)


def settings_by_file(instance: Instance, observed: Observed) -> dict[str, str] | None:
    """How a server that does not run spoke when it did, by root's own file; None where it never ran here."""
    file = observed.files.get(config_file(instance.name))
    if file is None or file.kind != "file":
        return None
    return {"port": "0", "tls-port": "0", "tls-auth-clients": "no", **dict(BY_FILE.findall(file.content))}


def switch_refusal(instance: Instance, config: Mapping[str, str], observed: Observed) -> RefusedSwitch | None:
    """The plan to change over where somebody who connects as before would be locked out; None where nobody is.

    `config`: the settings of its server, running or not.
    """
    locked_out = [*_locked_out(instance, config, observed)]
    if not locked_out or instance.switches_tls:
        return None
    ways = dict.fromkeys(way for _, way in locked_out)
    return RefusedSwitch(
        f"that locks out {' and '.join(who for who, _ in locked_out)}: {'; '.join(ways)}: "
        f"--data tls_switch={instance.name}"
    )


SECOND_PORT = (
    "give the role a second port first (tls: {port: N}: TLS there, its own ports in clear), let its services change "
    "over (README, TLS), and when nobody uses the old one"
)
GIVE_THEM = (
    "give its services their certificates first (client_auth: optional takes who shows one and who does not; README, "
    "TLS), and when each of them shows one"
)


def _locked_out(instance: Instance, config: Mapping[str, str], observed: Observed) -> Iterator[tuple[str, str]]:
    """Who connects now and could not any more, and the way there that locks nobody out."""
    role = instance.role
    now, after = _spoken(instance, config, observed), {port: role.speaks_tls(port) for port in role.ports}
    own = {port: now[port] for name in PORTS if (port := _number(config, name))}
    lost = {port for port in now if after.get(port, now[port]) != now[port]}
    if role.tls is not None:  # else a port that moves is no change of how it speaks
        lost |= {port for port, speaks in own.items() if not speaks and port not in after}
    if role.tls is None or len({*own.values()}) > 1:
        lost |= {port for port, speaks in own.items() if speaks and port not in after}
    for speaks, how in ((False, "in clear"), (True, "with TLS")):
        if ports := [port for port in now if port in lost and now[port] == speaks]:
            yield f"who connects {how} on {_listed(ports)}", SECOND_PORT
    asked, asks = (settings.get("tls-auth-clients", "no") == "yes" for settings in (config, instance.settings))
    kept = [port for port, speaks in now.items() if speaks and after.get(port)]
    if kept and asks and not asked:
        yield f"who shows no certificate on {_listed(kept)}", GIVE_THEM


def _spoken(instance: Instance, config: Mapping[str, str], observed: Observed) -> dict[int, bool]:
    """The ports that answer now, those of the server first, and whether TLS is spoken there."""
    plain, tls = (_number(config, name) for name in PORTS)
    found = {port: port == tls for port in (plain, tls) if port}
    led = {rule[2]: rule[3] for rule in observed.forwards if rule[1] == instance.address}
    inner = instance.role.forwarded_port
    if not led and inner is not None:
        led = {inner: f"{instance.address}:{plain or tls}"}  # a host that is down has no rules
    for port, target in sorted(led.items()):
        number = target.rpartition(":")[2]
        if port and number.isdigit() and int(number) in found:
            found.setdefault(port, found[int(number)])
    return found


def _number(config: Mapping[str, str], name: str) -> int:
    """A port of a server's settings; 0 for what is none."""
    value = config.get(name, "0")
    return int(value) if value.isdecimal() else 0


def _listed(ports: Iterable[int]) -> str:
    return " or ".join(map(str, ports))


def refused_switches(desired: Host, observed: Observed) -> dict[str, RefusedSwitch]:
    """Files that lock somebody out: at the next start of a server that tells nothing, or by a new ca."""
    found: dict[str, RefusedSwitch] = {}
    for instance in desired.instances:
        known = settings_by_file(instance, observed)
        server = observed.servers.get(instance.name)
        tells_nothing = server is None or server.refusal is not None
        if known is not None and tells_nothing and (refusal := switch_refusal(instance, known, observed)):
            found[config_file(instance.name)] = refusal
        config = known if server is None or tells_nothing else server.config
        if config is not None and _takes_a_ca_away(instance, config, observed):
            found[_changing_ca(instance, observed)] = RefusedSwitch(
                "that locks out who shows a certificate of a ca that is not in it any more: let tls.ca hold the old "
                "one and the new one, give its services certificates of the new one (README, TLS), and when each of "
                f"them shows one: --data tls_switch={instance.name}"
            )
    return found


def _takes_a_ca_away(instance: Instance, config: Mapping[str, str], observed: Observed) -> bool:
    """Whether clients that show certificates now may show one of a ca that the role's lacks, without anybody's word.

    Of what was deployed only the digest is known: that of some of the new ones, in their order, or of others.
    """
    own, before = instance.credentials, _deployed_ca(instance, observed)
    if own is None or before is None or instance.switches_tls or not instance.asks_certificates:
        return False
    if config.get("tls-auth-clients", "no") == "no":
        return False
    return before not in {sha256(text) for text in _parts(own.ca)}


def _changing_ca(instance: Instance, observed: Observed) -> str:
    """The file that a new ca changes: where somebody has put it there himself, only the record of the one before."""
    ca = tls_files(instance.name)[1]
    there, own = observed.files.get(ca), instance.credentials
    is_there = there is not None and own is not None and there.content == sha256(own.ca)
    return trusted_file(instance.name) if is_there else ca


DIGEST = re.compile(r"([0-9a-f]{64})\n?")


def _deployed_ca(instance: Instance, observed: Observed) -> str | None:
    """The digest of the ca that the last deploy left, by root's record of it, whatever somebody has put there since.

    Where none is recorded, as amid a change, it is that of what is there.
    """
    record, there = (observed.files.get(path) for path in (trusted_file(instance.name), tls_files(instance.name)[1]))
    if record is not None and record.kind == "file" and (found := DIGEST.fullmatch(record.content)):
        return found[1]
    return there.content if there is not None and there.kind == "file" else None


def forgets_ca(instance: Instance, observed: Observed) -> bool:
    """Whether what is recorded of its ca is about to be so no more: another one comes."""
    own = instance.credentials
    return (
        own is not None
        and instance.asks_certificates
        and trusted_file(instance.name) in observed.files
        and _deployed_ca(instance, observed) != sha256(own.ca)
    )


def _parts(ca: str) -> Iterator[str]:
    """What the file may have been before others came to it: every choice of its certificates, of many only itself."""
    each = [f"{text}{END}" for text in ca.split(END) if text.strip()] if END in ca else [ca]
    sizes = range(1, len(each) + 1) if len(each) <= MANY else ()
    yield ca
    for size in sizes:
        yield from ("".join(some) for some in combinations(each, size))


END = "-----END CERTIFICATE-----\n"
MANY = 10  # certificates: a thousand choices


def lost_blocks(desired: Host, observed: Observed) -> Iterator[str]:
    """Roles whose server speaks TLS and nothing else, and that have no tls any more: nobody here can speak to it."""
    for instance in desired.instances:
        refusal = observed.servers.get(instance.name, Server()).refusal
        if instance.credentials is None and refusal is not None and refusal.cause is Cause.CERTIFICATE:
            yield (
                f"{instance.name}: tls: none, and its server speaks TLS, expected the block that it was deployed with: "
                "bring it back; to speak TLS no more, give it tls.port first (README, TLS)"
            )


def certificate_health(instance: Instance, server: Server | None) -> Iterator[Health]:
    """Certificates that have ended, or soon do: the one that is served, and all others that a connection needs."""
    shown = server.certificate if server is not None else None
    ends = [("its certificate", shown.ends, shown.left)] if shown is not None else []
    if instance.credentials is not None:
        ends += [(item.what, item.ends, item.left) for item in instance.credentials.endings]
    due = sorted((item for item in ends if item[2] <= SOON), key=lambda item: item[2])
    if not due:
        return
    is_over = due[0][2] <= 0
    said = [f"{what} ended on {day}" if left <= 0 else f"{what} ends on {day}" for what, day, left in due]
    more = f" and {len(said) - ENDS_SHOWN} more" if len(said) > ENDS_SHOWN else ""
    yield Health(
        instance.name,
        Code.CERTIFICATE_ENDS,
        "critical" if is_over else "warning",
        "; ".join(said[:ENDS_SHOWN]) + more,
        "its end" if is_over else f"{SOON // DAY} days before",
        "put a new certificate into the files of its tls block and deploy: no client is cut off",
    )


ENDS_SHOWN = 5  # certificates that are named


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
    """Certificates and keys that a role reads no more, and the record of a ca; not what somebody else put there."""
    for instance in desired.instances:
        ours = ("file", "root", instance.user, "0640")
        unread = () if instance.credentials is not None else tls_files(instance.name)
        for path in (*unread, *old_tls_files(instance.name)):
            state = observed.files.get(path)
            if state is not None and (state.kind, state.owner, state.group, state.mode) == ours:
                yield Difference(instance.name, "file", path, "absent", "present", Remedy.REMOVE)
        if not instance.asks_certificates and trusted_file(instance.name) in observed.files:
            yield Difference(instance.name, "file", trusted_file(instance.name), "absent", "present", Remedy.REMOVE)

"""What makes a role's server the standby of the one on another host, and which of the two a host has. Pure.

A standby is a copy for good: the drop-in and the file of a move (docs/decisions/0029) serve for it, too. All else
of it is as its primary has it, so that the two can take each other's place at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address, IPv4Network, collapse_addresses

from tasks.catalogue.acl_rules import REPLICATION
from tasks.catalogue.roles import Role
from tasks.catalogue.secret import newest, revealed
from tasks.desired.host import File, Host, Instance, Pair, Passwords
from tasks.desired.paths import config_file, copy_drop_in, copy_file
from tasks.desired.rendering import MANAGED

# What a server has that follows none, of what a standby has otherwise; of every version, for a handover to set.
OF_NONE = {
    "masteruser": "",
    "masterauth": "",
    "bind-source-addr": "",
    "replica-serve-stale-data": "yes",
    "rdb-del-sync-files": "no",
}
# Tells it from the copy of a move, which has never served (templates/scripts/start-copy.sh).
IS_A_STANDBY = "# While this is here the server is a standby:"
DROP_IN = f"""\
# {{managed}}
{IS_A_STANDBY} it replicates the role's server on another host.
[Service]
ExecStart=
ExecStart=/usr/bin/redis-server {{file}}
"""


def with_pairs(host: Host, pairs: Sequence[Pair], passwords: Passwords) -> Host:
    """A host some of whose roles have a standby, or are one."""
    instances = {item.name: item for item in host.instances}
    made = (_filled(pair, instances[pair.role], passwords[pair.role].get(REPLICATION)) for pair in pairs)
    return _as_they_are(replace(host, pairs=tuple(made)))


def oriented(host: Host, standby: Mapping[str, bool]) -> Host:
    """A host whose servers of these roles are standbys, or are not; of others as it was."""
    pairs = tuple(replace(pair, is_standby=standby.get(pair.role, pair.is_standby)) for pair in host.pairs)
    return _as_they_are(replace(host, pairs=pairs))


def with_peer(networks: Sequence[IPv4Network], role: str, pairs: Sequence[Pair]) -> tuple[IPv4Network, ...]:
    """Who may connect to a role, the other host of its pair among them.

    That is its server, by the role's address there, and what asks for it, by that host's own address and the one that
    SSH goes to: as far as the inventory names them by number.
    """
    named = [(pair.there[0], pair.ssh_there, pair.own_there) for pair in pairs if pair.role == role]
    own = [text for texts in named for text in texts]
    return tuple(collapse_addresses([*networks, *(IPv4Network(item) for text in own for item in _number(text))]))


def _number(text: str) -> list[IPv4Address]:
    try:
        return [IPv4Address(text)]
    except AddressValueError:
        return []


def _filled(pair: Pair, instance: Instance, password: str | None) -> Pair:
    """A pair with what makes a standby of this host's server; a file without text while its password is none yet."""
    says = following(instance, pair, password)
    path, drop_in = copy_file(pair.role), copy_drop_in(pair.role)
    text = copy_text(pair, says) if password else ""
    files = (
        File(path, text, "root", instance.user, "0640", pair.role, secret=True),
        File(drop_in.rpartition("/")[0], None, mode="0755", role=pair.role),
        File(drop_in, DROP_IN.format(managed=MANAGED, file=path), role=pair.role),
    )
    return replace(pair, says=says, files=files)


def following(instance: Instance, pair: Pair, password: str | None) -> dict[str, str]:
    """What a standby says of itself beside its role's settings, as CONFIG GET does: directive → value.

    It comes from where it listens: who lets that in lets it in. It answers nobody with what its primary may have
    changed since. One whose data does not outlive it keeps nothing of what came over the network.
    """
    persistent = instance.role.appendonly or bool(instance.role.save)
    says = {
        "replicaof": f"{pair.there[0]} {pair.there[1]}",
        "masteruser": REPLICATION,
        "masterauth": newest(password) if password else "",
        "bind-source-addr": instance.role.reached,
        "replica-serve-stale-data": "no",
    }
    if instance.role.own_address is not None:
        says["bind"] = instance.role.reached  # the role's address is where it is served
    return says if persistent else {**says, "rdb-del-sync-files": "yes"}


def copy_text(pair: Pair, says: Mapping[str, str]) -> str:
    """What a standby is started from: its role's configuration, and whom it follows."""
    lines = [f'{name} "{revealed(text)}"' if name == "masterauth" else f"{name} {text}" for name, text in says.items()]
    head = (f"# {MANAGED}", f"# The standby of {pair.role} on {pair.peer}.", f"include {config_file(pair.role)}")
    return "\n".join((*head, *lines, ""))


def _as_they_are(host: Host) -> Host:
    own = {file.path for pair in host.pairs for file in pair.files}
    standbys = {pair.role: pair for pair in host.pairs if pair.is_standby}
    files = [file for file in host.files if file.path not in own]
    files += [file for pair in standbys.values() for file in pair.files]
    instances = tuple(
        replace(item, following=standbys[item.name].says if item.name in standbys else {}) for item in host.instances
    )
    addresses = tuple(replace(plan, there=_goes_to(plan.role, standbys)) for plan in host.addresses)
    files = sorted(files, key=lambda file: file.path)
    return replace(host, files=tuple(files), instances=instances, addresses=addresses)


def _goes_to(role: Role, standbys: Mapping[str, Pair]) -> str:
    """The host that has a role's address, where this one's server is the standby and it goes along; else empty."""
    return standbys[role.name].peer if role.name in standbys and role.own_address is not None else ""

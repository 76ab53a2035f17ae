"""Certificates and keys that stand among the secrets, in the place of files of the controller. Pure.

`ROLE: {tls: {certificate: PEM, key: PEM, ca: PEM, clients: {USER: {certificate: PEM, key: PEM}}}}`, all of it optional.
What a role's `tls` block names no file for is taken from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tasks.catalogue.secret import Secret, revealed

TLS = "tls"  # in the place of a user's name; no user is called so
PARTS = ("certificate", "key", "ca")
CLIENTS = "clients"
PEM = "-----BEGIN "


@dataclass(frozen=True)
class GivenTls:
    """PEM texts by what they are; those of a user below its name. A key shows itself nowhere."""

    parts: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    clients: Mapping[str, Mapping[str, Secret]] = field(default_factory=dict, repr=False)

    def as_data(self) -> dict[str, object]:
        """As it stands in a file."""
        clients = {user: _plain(parts) for user, parts in self.clients.items()}
        return {**_plain(self.parts), **({CLIENTS: clients} if clients else {})}


NOTHING_GIVEN = GivenTls()


def _plain(parts: Mapping[str, Secret]) -> dict[str, str]:
    return {name: revealed(text) for name, text in parts.items()}


def malformed_tls(where: str, data: object) -> Iterator[str]:
    """What is wrong with such a block; shows none of it."""
    if not isinstance(data, Mapping):
        yield f"{where}: expected {', '.join(PARTS)} and {CLIENTS} with their PEM texts: correct it"
        return
    yield from _malformed_parts(where, {name: text for name, text in data.items() if name != CLIENTS}, PARTS)
    clients = data.get(CLIENTS, {})
    if not isinstance(clients, Mapping) or not all(isinstance(item, Mapping) for item in clients.values()):
        yield f"{where}: {CLIENTS}: expected {{USER: {{certificate: PEM, key: PEM}}}}: correct it"
        return
    for user, parts in clients.items():
        yield from _malformed_parts(f"{where}: {CLIENTS}: {_name(user)}", parts, PARTS[:2])


def _malformed_parts(where: str, parts: Mapping[object, object], known: tuple[str, ...]) -> Iterator[str]:
    for name, text in parts.items():
        if name not in known:
            yield f"{where}: {_name(name)}: no such part, expected {', '.join(known)}: correct it"
        elif not isinstance(text, str) or PEM not in text or not text.isascii():
            yield f"{where}: {name}: expected PEM, a line that begins with {PEM}: put it there with `{name}: |`"


def _name(name: object) -> str:
    """What stands in the place of a name, which may be a piece of a key."""
    return name if isinstance(name, str) and len(name) <= 64 and name.isprintable() and PEM not in name else "a name"


def given_tls(data: Mapping[str, object]) -> GivenTls:
    """The block with which nothing is wrong."""
    clients = data.get(CLIENTS, {})
    assert isinstance(clients, Mapping)
    return GivenTls(
        {name: Secret(str(text)) for name, text in data.items() if name != CLIENTS},
        {str(user): {name: Secret(str(text)) for name, text in parts.items()} for user, parts in clients.items()},
    )

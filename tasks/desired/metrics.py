"""What must be true of a host whose roles are measured: the exporter, its unit, and what it logs in with. Pure.

Nothing of it where no role is (docs/decisions/0030).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from tasks.catalogue.metrics import METRICS, Metrics
from tasks.catalogue.secret import revealed
from tasks.catalogue.tls import Credentials, Pair
from tasks.desired.host import Exporter, File, Instance, Passwords, Unit
from tasks.desired.paths import (
    EXPORTER_CA,
    EXPORTER_PAIR,
    EXPORTER_PASSWORDS,
    EXPORTER_ROOT,
    METRICS_UNIT,
    PACKAGED_EXPORTER,
    UNITS,
)
from tasks.desired.rendering import render, unit_digest

PACKAGE = "prometheus-redis-exporter"
NO_UNIT = Unit(METRICS_UNIT, "absent", "inactive")


def exporter(metrics: Metrics, instances: Sequence[Instance], passwords: Passwords) -> Exporter:
    """The exporter of a host that measures these instances."""
    sealed = [item.credentials for item in instances if item.credentials is not None]
    pairs = [pair for item in sealed if (pair := own_pair(item)) is not None]
    files = {"passwords": _file(EXPORTER_PASSWORDS, passwords_text(instances, passwords))}
    if sealed:
        # One list for all of them: the exporter takes no other.
        files["ca"] = _file(EXPORTER_CA, "".join(dict.fromkeys(item.ca for item in sealed)))
    if pairs:
        files["pair"] = _file(EXPORTER_PAIR, pairs[0].certificate + revealed(pairs[0].key))
    return Exporter(metrics.host, metrics.port, {item.name: target(item) for item in instances}, files)


def own_pair(credentials: Credentials) -> Pair | None:
    """The certificate and key that the exporter shows a server which asks for them."""
    return None if credentials.client_auth == "no" else credentials.clients.get(METRICS)


def pair_problems(credentials: Mapping[str, Credentials]) -> Iterator[str]:
    """Roles of a host that are to be shown different certificates: the exporter has one. `credentials`: by role."""
    shown = {name: pair for name, item in sorted(credentials.items()) if (pair := own_pair(item)) is not None}
    if len({(pair.certificate, revealed(pair.key)) for pair in shown.values()}) > 1:
        yield (
            f"{', '.join(shown)}: tls.clients: each has another certificate of {METRICS}, expected one for all: "
            "the exporter shows no other: give it the same everywhere"
        )


def target(instance: Instance) -> str:
    """How a scrape names an instance."""
    role = instance.role
    if instance.credentials is None:
        return f"redis://{role.reached}:{role.port}"
    return f"rediss://{role.reached}:{role.tls_port}"


def passwords_text(instances: Sequence[Instance], passwords: Passwords) -> str:
    """Target → password, without the user (Debian 12 looks it up so) and with it (13); empty while one is lacking."""
    known: dict[str, str] = {}
    for instance in instances:
        password = passwords.get(instance.name, {}).get(METRICS)
        if password is None:
            return ""
        scheme, _, place = target(instance).partition("://")
        newest = revealed(password)
        known |= {f"{scheme}://{place}": newest, f"{scheme}://{METRICS}@{place}": newest}
    return json.dumps(known, indent=1, sort_keys=True) + "\n"


def exporter_files(item: Exporter) -> Iterator[File]:
    """The files of a host's exporter."""
    yield from item.files.values()
    yield File(f"{UNITS}/{METRICS_UNIT}", _unit_text(item, exporter_digest(item)))


def no_exporter_files(item: Exporter | None) -> list[str]:
    """Where files of an exporter are that a host with this one, or with none, is not to have."""
    wanted = set() if item is None else {f"{UNITS}/{METRICS_UNIT}", *(file.path for file in item.files.values())}
    every = (EXPORTER_CA, EXPORTER_PAIR, EXPORTER_PASSWORDS, f"{UNITS}/{METRICS_UNIT}")
    return [path for path in every if path not in wanted]


def exporter_units(item: Exporter) -> list[Unit]:
    """The exporter's unit; the package's own never runs: it would ask as nobody, for everybody."""
    return [
        Unit(PACKAGED_EXPORTER, "masked", "inactive"),
        Unit(METRICS_UNIT, "enabled", "active", digest=exporter_digest(item)),
    ]


def exporter_digest(item: Exporter) -> str:
    """Which text of its unit the exporter has to be started from."""
    return unit_digest(_unit_text(item, ""))


def _file(path: str, content: str) -> File:
    return File(path, content, mode="0600", secret=True)


def _unit_text(item: Exporter, digest: str) -> str:
    return render(
        "metrics.service.j2",
        address=f"{item.address}:{item.port}",
        user=METRICS,
        root=EXPORTER_ROOT,
        ca="ca" in item.files,
        pair="pair" in item.files,
        credentials={name: file.path for name, file in item.files.items()},
        digest=digest,
    )

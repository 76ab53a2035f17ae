"""Everything that the templates render for the tests' catalogue, as path → text, with passwords that are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tasks.catalogue.backup import Backup
from tasks.compare.pairs import orient
from tasks.desired.host import Host
from tests.unit.builders import (
    BACKUP,
    FIVE,
    METRICS,
    OTHERS,
    TLS,
    VERSION,
    as_desired,
    away,
    desired,
    pair_of,
    with_server,
)

FILES = Path(__file__).parent / "files"
UPDATE = "python -m tests.golden.update"

FENCED: dict[str, Any] = {
    "gateway": {"allow_from": ["10.8.0.0/16", "10.9.1.7"]},
    "crypto": {"allow_from": ["172.28.2.0/25", "172.28.2.128/25"]},
}
PROVED_ELSEWHERE = Backup(repository="sftp:{role}@10.0.0.9:/srv/{role}", prove_on="host-2")
ASKS = {**TLS, "client_auth": "yes", "clients": "tls/clients"}
# One host with all five roles shows every file there is; the next ones what depends on the roles and on the host.
HOSTS: dict[str, Callable[[], Host]] = {
    "all-five": lambda: desired(*FIVE),
    "others": lambda: desired(*OTHERS),
    "gateway-alone": lambda: desired("gateway"),
    "fenced": lambda: desired("gateway", "crypto", **FENCED),
    "tls": lambda: desired("crypto", crypto={"tls": TLS, "plain_inner_port": True, "allow_from": ["10.8.0.0/16"]}),
    "measured": lambda: desired("crypto", "gateway", metrics=METRICS, crypto={"tls": TLS}),
    "backed-up": lambda: desired("crypto", backup=BACKUP),
    "proves": lambda: desired("crypto", backup=PROVED_ELSEWHERE, away=[away("gateway", BACKUP)]),
    "own-address": lambda: desired("crypto", interface="eth0"),
    "serving": lambda: _pair()["one"],
    "standby": lambda: _pair()["other"],
    "serving-by-tls": lambda: _pair(tls=ASKS)["one"],
    "standby-by-tls": lambda: _pair(tls=ASKS)["other"],
    "crypto-alone-pinned": lambda: desired("crypto", version=VERSION),
}


def _pair(**overrides: Any) -> dict[str, Host]:
    """The two hosts of a role with a standby, as a deploy finds them."""
    hosts = pair_of(**overrides)
    seen = {name: as_desired(host) for name, host in hosts.items()}
    seen["one"] = with_server(seen["one"], "crypto", info={**seen["one"].servers["crypto"].info, "role": "master"})
    return orient({name: (host, seen[name]) for name, host in hosts.items()})[0]


def rendered() -> dict[str, str]:
    """The text of every golden file, by its path inside files/."""
    texts: dict[str, str] = {}
    for name, make in HOSTS.items():
        host = make()
        texts |= {f"{name}/{path}": text for path, text in _of_host(host)}
    return texts


def _of_host(host: Host) -> Iterator[tuple[str, str]]:
    yield "state.txt", "".join(f"{line}\n" for line in _state(host))
    for file in host.files:
        if file.content is not None:
            yield file.path.lstrip("/"), file.content


def _state(host: Host) -> Iterator[str]:
    """What is true of the host beside the text of its files."""
    for file in sorted(host.files, key=lambda item: item.path):
        kind = "directory" if file.content is None else "file"
        secret = " secret" if file.secret else ""
        yield f"{kind} {file.path} {file.owner}:{file.group} {file.mode}{secret}"
    yield from (f"absent {path}" for path in sorted(host.absent))
    yield from (f"override {path} {rule}" for path, rule in sorted(host.statoverrides.items()))
    yield from (f"package {name} {version or 'any'}" for name, version in sorted(host.packages.items()))
    yield from (f"unit {unit.name} {unit.enabled} {unit.active}" for unit in host.units)
    yield from (f"kernel {name} {value}" for name, value in sorted(host.sysctls.items()))
    yield f"huge pages {host.thp}"
    for item in host.forwards:
        yield f"forward {item.address}:{item.inner_port} to {item.address}:{item.port}"
    for plan in host.addresses:
        yield f"address {plan.role.address} on {plan.interface} by {plan.unit}"
    for fence in host.fences:
        yield f"{fence.address}:{fence.port} open to {' '.join(fence.networks)}"


def committed() -> dict[str, str]:
    """The text of every golden file that is in the repository, by its path inside files/."""
    return {str(path.relative_to(FILES)): path.read_text() for path in sorted(FILES.rglob("*")) if path.is_file()}

"""What services that left have behind them: files that an earlier run wrote, and what a service of the name would have.

None of it is removed here: a service may still run with it, or another inventory write to the same directory.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tasks.catalogue.given_tls import CLIENTS, TLS
from tasks.catalogue.roles import RESERVED_USERS
from tasks.catalogue.secrets_file import entries_of
from tasks.desired.host import Host, Instance
from tasks.reports.endpoint_files import OURS
from tasks.run.session import Run

NAMED = re.compile(r"^REDIS_[A-Z0-9_]+_(?:CA|CERTIFICATE|KEY)=(.+)$", re.MULTILINE)


def named_copies(directory: Path) -> dict[Path, set[str]]:
    """Copies of certificates and keys beside files of ours → the names of those files, which name them."""
    found: dict[Path, set[str]] = {}
    for file in directory.glob("*.env"):
        if file.is_file() and _is_ours(file):
            for text in NAMED.findall(file.read_text(encoding="utf-8", errors="replace")):
                found.setdefault(Path(text), set()).add(file.name)
    return {path: names for path, names in found.items() if path.parent == directory.absolute() and path.is_file()}


def left_over(run: Run, directory: Path, before: Iterable[Path]) -> Iterator[str]:
    """Files that an earlier run wrote and nobody needs now, in words; not those of roles that this run leaves out.

    `before`: copies that files of services named before this run.
    """
    services = {
        f"{service}.env" for host in run.tier.hosts.values() for role in host.roles for service in role.services
    }
    for path in sorted(directory.glob("*.env")):
        if path.name not in services and path.is_file() and _is_ours(path):
            yield f"{path}: no role names this service any more: once it has ended: {_removal(path)}"
    now = named_copies(directory)
    for path in sorted({*before, *now}):
        if path.is_file() and not now.get(path, set()) & services:
            yield f"{path}: no service shows it or checks by it any more: {_removal(path)}"


def _removal(*paths: Path) -> str:
    return f"rm -- {shlex.join(map(str, paths))}"


def handed_out_again(run: Run, hosts: Sequence[Host]) -> Iterator[str]:
    """Passwords and keys of services that left, where those are kept: one of that name would have them again.

    No name that stands among the secrets is shown: it may be a password in the place of one.
    """
    again = "one that is called so again would be handed out what it has: remove it there"
    for host in hosts:
        source = run.tier.sources[host.name]
        for instance in host.instances:
            role, own = instance.role, instance.credentials
            users = entries_of(role)
            known = {*users, *RESERVED_USERS}
            found = {
                "": run.tier.passwords[host.name][role.name],
                f"{TLS}: {CLIENTS}: ": own.given_others if own else (),
            }
            for where, names in found.items():
                if count := sum(name not in known for name in names):
                    entries = "an entry" if count == 1 else f"{count} entries"
                    yield (
                        f"{source}: {role.name}: {where}{entries} beside those of its users ({', '.join(users)}): a "
                        f"service that left, and {again}"
                    )
    for path in sorted({path for host in hosts for path in _other_pairs(run, host.instances)}):
        yield f"tls.{CLIENTS}: {path} and its key: no service of the tier is called so, and {again}"


def _other_pairs(run: Run, instances: Iterable[Instance]) -> Iterator[Path]:
    """Certificates beside those of clients, each with its key, that are nobody's of the tier, no server's and no ca."""
    roles = [role for host in run.tier.hosts.values() for role in host.roles]
    services = {service for role in roles for service in role.services}
    blocks = [role.tls for role in roles if role.tls is not None]
    named = {Path(path).resolve() for tls in blocks for path in (tls.certificate, tls.key, tls.ca) if path is not None}
    for instance in instances:
        for path in instance.credentials.other_files if instance.credentials else ():
            key = path.with_suffix(".key")
            is_pair = path.suffix == ".crt" and key.exists() and not {path.resolve(), key.resolve()} & named
            if is_pair and path.stem not in services:
                yield path


def _is_ours(path: Path) -> bool:
    try:
        return bool(OURS.match(path.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return False  # what this user may not read an earlier run of his has not written

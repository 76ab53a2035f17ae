"""Which password of a service its server takes by now: only such a one is handed out. Pure.

A deploy writes a password on the controller first, then into the server, then into its ACL file, which the next start
loads. Until it has ended well the newest may be refused, or be gone after a restart: what was there before still works.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.catalogue.secret import all_of, newest
from tasks.compare.acl_file import users_in_file
from tasks.desired.host import Instance, sha256
from tasks.observed.state import PASSWORD_DIGITS, Observed


@dataclass
class HandedOut:
    """Of one instance: user → what is handed out; why that of others is not, and what a person should know."""

    passwords: dict[str, str | None] = field(default_factory=dict, repr=False)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def handed_out(
    instance: Instance, passwords: dict[str, str | None], observed: Observed | None, because: str
) -> HandedOut:
    """What of the `passwords` of an instance's services is handed out; `because`: why its host was not seen."""
    found = HandedOut(dict(passwords))
    unseen = because if observed is None else _unseen(instance, observed)
    for service in instance.role.services:
        own = all_of(passwords.get(service))
        if unseen and len(own) > 1:
            found.problems.append(
                f"{instance.name}: {service}: which of its {len(own)} passwords the server takes is not known "
                f"({unseen}), expected that it is: mend that first"
            )
        elif own and observed is not None and unseen and _in_file(instance, service, own[0], observed) is False:
            found.problems.append(
                f"{instance.name}: {service}: its ACL file has another password than the secrets, and its server tells "
                f"nothing ({unseen}), expected the same: bring the right secrets, or mend that first"
            )
        elif own and not unseen and observed is not None:
            _choose(found, instance, service, own, observed)
    if unseen and not found.problems:
        found.notes.append(f"{instance.name}: {unseen}: nobody has seen that it takes what is handed out")
    return found


def _choose(found: HandedOut, instance: Instance, service: str, own: tuple[str, ...], observed: Observed) -> None:
    taken = [item for item in own if _is_taken(instance, service, item, observed)]
    if not taken:
        found.problems.append(
            f"{instance.name}: {service}: its server does not take its password yet, expected that it does: deploy to "
            "the end first"
        )
        return
    found.passwords[service] = newest(taken[0])
    if taken[0] != own[0]:
        found.notes.append(
            f"{instance.name}: {service}: gets the password before its newest, which the server takes only when a "
            "deploy has ended well: deploy, then write the files anew"
        )


def _unseen(instance: Instance, observed: Observed) -> str:
    """Why nobody knows what the instance takes; one that does not run takes what its ACL file has."""
    server = observed.servers.get(instance.name)
    return str(server.refusal) if server is not None and server.refusal is not None else ""


def _in_file(instance: Instance, service: str, password: str, observed: Observed) -> bool | None:
    """Whether the ACL file lets the service in by it; None where it was not read, or does not name the service."""
    file = users_in_file(instance, observed).get(service)
    return None if file is None else (sha256(password) or "")[:PASSWORD_DIGITS] in file.passwords


def _is_taken(instance: Instance, service: str, password: str, observed: Observed) -> bool:
    """Whether the running server and the next start let the service in by it."""
    if not _in_file(instance, service, password, observed):
        return False
    server, digest = observed.servers.get(instance.name), sha256(password)
    hashes = server.users.get(service, {}).get("passwords") if server is not None else [digest]
    return isinstance(hashes, list) and digest in hashes

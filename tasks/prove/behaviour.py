"""What a client must meet on a role: the commands of a proof and the replies they must get. Pure.

Nothing here could harm data if a permission were wrong: administration is tried with commands that only read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.catalogue.roles import RESERVED_PREFIX, Role
from tasks.observed.exchange import Reply, ReplyError

KEY_LIFE = "60"  # seconds; should a check be cut off, its keys go by themselves
ERROR = "error "  # opens an expectation that is an error reply of this kind
ADMINISTRATION = (("CONFIG", "GET", "port"), ("ACL", "USERS"), ("CLIENT", "LIST"))


@dataclass(frozen=True)
class Check:
    """One command of a client, what it shows, and the reply it must get."""

    what: str
    command: tuple[str, ...]
    expected: str


@dataclass(frozen=True)
class Finding:
    """A check that failed, on one role."""

    role: str
    what: str
    expected: str
    observed: str

    def __str__(self) -> str:
        return f"{self.role}: {self.what}: observed {self.observed}, expected {self.expected}"


def key(role: Role, service: str, token: str) -> str:
    """The key that a service writes in one proof."""
    return f"{RESERVED_PREFIX}{token}:{role.name}:{service}"


def writing_checks(
    role: Role, passwords: Mapping[str, str | None], stranger: tuple[str, str], token: str
) -> list[Check]:
    """On the assigned port: strangers are refused; each service logs in, writes, reads, and administers nothing."""
    first = role.services[0]
    checks = [
        Check(f"{first} with a wrong password", ("AUTH", first, f"wrong-{token}"), f"{ERROR}WRONGPASS"),
        Check("a client without a password", ("PING",), f"{ERROR}NOAUTH"),
        Check(f"{stranger[0]}, a service of another role", ("AUTH", *stranger), f"{ERROR}WRONGPASS"),
    ]
    for service in role.services:
        name = key(role, service, token)
        checks += [
            Check(f"{service} logs in", ("AUTH", service, passwords.get(service) or ""), "OK"),
            Check(f"{service} writes", ("SET", name, token, "EX", KEY_LIFE), "OK"),
            Check(f"{service} reads what it wrote", ("GET", name), token),
            *(Check(f"{service} asks {' '.join(words)}", words, f"{ERROR}NOPERM") for words in ADMINISTRATION),
        ]
    return [*checks, Check("the instance's run id", ("INFO", "server"), "")]


def reading_checks(role: Role, passwords: Mapping[str, str | None], token: str) -> list[Check]:
    """On another connection, to the inner port if there is one: each service at once sees what all others wrote."""
    keys = [key(role, service, token) for service in role.services]
    checks = []
    for service in role.services:
        checks.append(Check(f"{service} logs in", ("AUTH", service, passwords.get(service) or ""), "OK"))
        checks += [
            Check(f"{service} reads what {writer} wrote", ("GET", name), token)
            for writer, name in zip(role.services, keys, strict=True)
        ]
    return [
        *checks,
        Check("the check removes its keys", ("DEL", *keys), str(len(keys))),
        Check("nothing is left of the check", ("EXISTS", *keys), "0"),
        Check("the instance's run id", ("INFO", "server"), ""),
    ]


def judge(role: Role, port: int, checks: Sequence[Check], replies: Sequence[Reply]) -> list[Finding]:
    """The checks whose reply is not the expected one."""
    return [
        Finding(role.name, f"{check.what} on {role.address}:{port}", check.expected, _said(reply))
        for check, reply in zip(checks, replies, strict=True)
        if check.expected and not _matches(check.expected, reply)
    ]


def _matches(expected: str, reply: Reply) -> bool:
    if isinstance(reply, ReplyError):
        return expected.startswith(ERROR) and str(reply).startswith(expected.removeprefix(ERROR))
    return not expected.startswith(ERROR) and str(reply) == expected


def _said(reply: Reply) -> str:
    return f"{ERROR}{reply}" if isinstance(reply, ReplyError) else "no value" if reply is None else str(reply)[:80]


def same_instance(role: Role, on_assigned: Reply, on_other: Reply) -> list[Finding]:
    """Both connections reached the same server."""
    ids = [_run_id(on_assigned), _run_id(on_other)]
    if ids[0] == ids[1] != "none":
        return []
    return [Finding(role.name, "assigned and inner port", "the same instance", f"run ids {ids[0]} and {ids[1]}")]


def _run_id(reply: Reply) -> str:
    lines = str(reply).splitlines()
    return next((line.split(":", 1)[1] for line in lines if line.startswith("run_id:")), "none")

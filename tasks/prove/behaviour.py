"""What a client must meet on a role: the commands of a proof and the replies they must get. Pure.

Nothing here could harm data if a permission were wrong: administration is tried with commands that only read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.catalogue.acl_rules import OPERATOR, PROOF, RESERVED_PREFIX
from tasks.catalogue.glob import example
from tasks.catalogue.printable import printable
from tasks.catalogue.rights import Rights
from tasks.catalogue.roles import Role
from tasks.observed.exchange import Reply, ReplyError
from tasks.observed.refusal import Cause, Refusal, refusal
from tasks.steps.witness import SCRIPT_SHA1, Witness, by_a_script, in_a_transaction, keys, plain, readable, writable

KEY_LIFE = 60  # seconds; should a check be cut off, its keys go by themselves
COUNTERS = ("INFO", "stats")
ERROR = "error "  # opens an expectation that is an error reply of this kind
PASSING = (Cause.LOADING, Cause.BUSY, Cause.MAXCLIENTS)  # what a server says to everybody, whoever asks
NOPERM = f"{ERROR}NOPERM"
TAKEN = "any reply but NOPERM"  # an expectation: the command is allowed, whatever comes of it
ADMINISTRATION = (
    *(("CONFIG", "GET", "port"), ("ACL", "USERS"), ("CLIENT", "LIST")),
    *(("SCRIPT", "HELP"), ("FUNCTION", "STATS")),  # of what other services have loaded
)
LOOKING = ("exists", "get", "type", "ttl", "strlen")  # commands that look at one key, of which most services have one


@dataclass(frozen=True)
class Check:
    """One command of a client, what it shows, and the reply it must get.

    `of_keys`: the reply shows keys that the proof wrote before, which a full role may have evicted in between.
    """

    what: str
    command: tuple[str, ...] = field(repr=False)
    expected: str
    of_keys: bool = False


RUN_ID = Check("the instance's run id", ("INFO", "server"), "")


@dataclass(frozen=True)
class Finding:
    """A check that failed, on one role."""

    role: str
    what: str
    expected: str
    observed: str

    def __str__(self) -> str:
        return printable(f"{self.role}: {self.what}: observed {self.observed}, expected {self.expected}")


def key(role: Role, service: str, token: str, way: str = "plain") -> str:
    """A key that a service writes in one proof."""
    return f"{RESERVED_PREFIX}{token}:{role.name}:{service}:{way}"


def written(role: Role, service: str, token: str) -> list[Witness]:
    """What a service writes in one proof: plainly, in a transaction and by a script of two effects, where it may."""
    two = {
        way: [key(role, service, token, f"{way}:{number}") for number in (1, 2)] for way in ("transaction", "script")
    }
    ways = [
        plain(key(role, service, token), token, KEY_LIFE),
        in_a_transaction(two["transaction"], token, KEY_LIFE),
        by_a_script(two["script"], token, KEY_LIFE),
    ]
    return writable(ways, role.rights_of(service))


def writing_checks(role: Role, passwords: Mapping[str, str | None], stranger: str, token: str) -> list[Check]:
    """On the assigned port: strangers are refused; each service logs in, does what it may and is refused what not.

    `stranger`: a user who has no business here. Its password is made up, like that of the first check: a real one is
    nobody's but the server's that it is for. A service without a known password is left out.
    """
    checks = _strangers(role, passwords, stranger, token)
    for service in known_services(role, passwords):
        own = written(role, service, token)
        checks += [
            _login(service, passwords),
            Check("what was evicted before", COUNTERS, ""),
            *(
                Check(f"{service} writes {item.what}", command, str(item.answer) if command == item.writes[-1] else "")
                for item in own
                for command in item.writes
            ),
            *_reads(f"{service} reads what it wrote", readable(own, role.rights_of(service))[:1]),
            *_limits(role, service, token),
            *(Check(f"{service} asks {' '.join(words)}", words, NOPERM) for words in ADMINISTRATION),
        ]
    return [*checks, RUN_ID]


def _strangers(role: Role, passwords: Mapping[str, str | None], stranger: str, token: str) -> list[Check]:
    """Nobody comes in without a password, with a wrong one, or as a service of another role."""
    first, made_up = role.services[0], f"wrong-{token}"
    return [
        Check("a client without a password", ("PING",), f"{ERROR}NOAUTH"),
        *_marked(passwords),
        Check(f"{first} with a wrong password", ("AUTH", first, made_up), f"{ERROR}WRONGPASS"),
        Check(f"{stranger}, a service of another role", ("AUTH", stranger, made_up), f"{ERROR}WRONGPASS"),
    ]


def standby_checks(role: Role, passwords: Mapping[str, str | None], stranger: str, token: str) -> list[Check]:
    """On a standby: strangers are refused as on its primary, and who may write there is told that nobody may here."""
    checks = _strangers(role, passwords, stranger, token)
    for service in known_services(role, passwords):
        plainly = [item for item in written(role, service, token) if len(item.writes) == 1][:1]
        checks += [_login(service, passwords)]
        checks += [
            Check(f"{service} writes on the standby", command, f"{ERROR}READONLY")
            for item in plainly
            for command in item.writes
        ]
    return checks


def _marked(passwords: Mapping[str, str | None]) -> Iterator[Check]:
    """What gives this connection a name, so that ACL LOG tells its tries from those of others (tasks/observed/now.py).

    Only who has logged in has a name. A server that refuses it is no finding of a proof.
    """
    if passwords.get(OPERATOR):
        yield Check("this tool logs in", ("AUTH", OPERATOR, passwords[OPERATOR] or ""), "")
        yield Check("this tool says who it is", ("CLIENT", "SETNAME", PROOF), "")


def _limits(role: Role, service: str, token: str) -> Iterator[Check]:
    """One thing that a service may and one that it may not, of each kind. Nothing here changes anything."""
    rights = role.rights_of(service)
    if not rights.may("set"):
        words = ("SET", key(role, service, token), token, "EX", str(KEY_LIFE))
        yield Check(f"{service} writes, which it may not", words, NOPERM)
    look = next((name.upper() for name in LOOKING if rights.may(name)), "")
    if look:
        allowed, refused = _names(rights.keys, rights.has_key, token)
        for name in allowed:
            yield Check(f"{service} looks at a key of its patterns, {name}", (look, name), TAKEN)
        for name in refused:
            yield Check(f"{service} looks at a key outside of its patterns, {name}", (look, name), NOPERM)
    else:
        yield Check(f"{service} reads, which it may not", ("GET", key(role, service, token)), NOPERM)
    yield from _channels(rights, service, token)
    no_keys = ("return 1", "0")
    yield Check(f"{service} runs a script", ("EVAL", *no_keys), "1" if rights.scripts else NOPERM)
    yield _may(rights.scripts, f"{service} asks for a script", ("SCRIPT", "EXISTS", SCRIPT_SHA1))
    yield _may(rights.functions, f"{service} calls a function", ("FCALL", f"no-such-function-{token}", "0"))


def _channels(rights: Rights, service: str, token: str) -> Iterator[Check]:
    """Messages on channels that nobody has."""
    own = f"{RESERVED_PREFIX}{token}"
    yield _may(rights.may("publish"), f"{service} sends to {own}", ("PUBLISH", own, token))
    if rights.may("publish"):
        allowed, refused = _names(rights.channels, rights.has_channel, token)
        for name in allowed:
            yield Check(f"{service} sends to a channel of its patterns, {name}", ("PUBLISH", name, token), TAKEN)
        for name in refused:
            yield Check(f"{service} sends to a channel outside of its patterns", ("PUBLISH", name, token), NOPERM)


def _may(allowed: bool, what: str, command: tuple[str, ...]) -> Check:
    return Check(what, command, TAKEN if allowed else NOPERM)


def _names(patterns: Sequence[str], has: Callable[[str], bool], token: str) -> tuple[list[str], list[str]]:
    """A name within the first pattern, and one outside of all; none of it is anybody's, for `token` is random."""
    within = example(patterns[0], token) if patterns else None
    outside = next((name for name in (token, f"other:{token}", f"{token}-other") if not has(name)), None)
    return [within] if within else [], [outside] if outside else []


def reading_checks(role: Role, passwords: Mapping[str, str | None], token: str) -> list[Check]:
    """On another connection, to the inner port if there is one: each service at once sees what all others wrote.

    The last one removes it, if any service may; else the keys go by themselves.
    """
    services = sorted(known_services(role, passwords), key=lambda name: role.rights_of(name).may("del"))
    own = {service: written(role, service, token) for service in services}
    names = keys([item for items in own.values() for item in items])
    checks = []
    for service in services:
        checks.append(_login(service, passwords))
        for writer, items in own.items():
            checks += _reads(f"{service} reads what {writer} wrote", readable(items, role.rights_of(service)))
    if names and role.rights_of(services[-1]).may("del"):
        checks.append(Check("the check removes its keys", ("DEL", *names), str(len(names)), of_keys=True))
        if role.rights_of(services[-1]).may("exists"):
            checks.append(Check("nothing is left of the check", ("EXISTS", *names), "0"))
    return [
        *checks,
        Check("what was evicted until now", COUNTERS, ""),
        RUN_ID,
    ]


def known_services(role: Role, passwords: Mapping[str, str | None]) -> list[str]:
    """The services that can log in; of the others a look says that nobody here knows their passwords."""
    return [service for service in role.services if passwords.get(service)]


def _login(service: str, passwords: Mapping[str, str | None]) -> Check:
    return Check(f"{service} logs in", ("AUTH", service, passwords.get(service) or ""), "OK")


def _reads(what: str, items: Sequence[Witness]) -> list[Check]:
    return [
        Check(f"{what} {item.what}", command, str(reply), of_keys=True)
        for item in items
        for command, reply in item.reads
    ]


def judge(
    role: Role, port: int, checks: Sequence[Check], replies: Sequence[Reply], evicted: bool = False
) -> list[Finding]:
    """The checks whose reply is not the expected one, and no consequence beside its cause.

    After a login that failed nothing shows what its service may do. `evicted`: the role dropped keys meanwhile, as it
    may: a key that is missing shows nothing, another value does.
    """
    findings, shut_out = [], False
    for check, reply in zip(checks, replies, strict=True):
        if is_login(check):
            shut_out = not _matches(check.expected, reply)
        elif shut_out or (evicted and check.of_keys and _is_missing(check.expected, reply)):
            continue
        if check.expected and not _matches(check.expected, reply):
            findings.append(Finding(role.name, f"{check.what} on {role.address}:{port}", check.expected, _said(reply)))
    return findings


def is_login(check: Check) -> bool:
    """Whether a service logs in by this check."""
    return check.command[0] == "AUTH" and check.expected == "OK"


def let_in(checks: Sequence[Check], replies: Sequence[Reply]) -> frozenset[str]:
    """The services whose login succeeded."""
    pairs = zip(checks, replies, strict=True)
    return frozenset(check.command[1] for check, reply in pairs if is_login(check) and reply == check.expected)


def turned_away(replies: Iterable[Reply]) -> Refusal | None:
    """Why the server served nobody for a while, if it said so to any command: nothing is shown of it then."""
    said = (refusal(reply) for reply in replies if isinstance(reply, ReplyError))
    return next((item for item in said if item.cause in PASSING), None)


def evicted_meanwhile(
    role: Role, first: tuple[Sequence[Check], Sequence[Reply]], last: tuple[Sequence[Check], Sequence[Reply]]
) -> bool:
    """Whether the role evicted keys between the first and the last time it was asked, and may do so."""
    counts = [
        _counter(reply, "evicted_keys")
        for checks, replies in (first, last)
        for check, reply in zip(checks, replies, strict=True)
        if check.command == COUNTERS
    ]
    return role.maxmemory_policy != "noeviction" and bool(counts) and max(counts) > min(counts)


def _counter(reply: Reply, field: str) -> int:
    found = re.search(rf"^{field}:(\d+)", str(reply), re.MULTILINE)
    return int(found[1]) if found else 0


def _is_missing(expected: str, reply: Reply) -> bool:
    """Whether the reply lacks keys and has no other value."""
    if isinstance(reply, list):
        return None in reply and all(item is None or str(item) in expected for item in reply)
    return reply is None or (isinstance(reply, int) and expected.isdigit() and reply < int(expected))


def _matches(expected: str, reply: Reply) -> bool:
    if expected == TAKEN:
        return not (isinstance(reply, ReplyError) and str(reply).startswith("NOPERM"))
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

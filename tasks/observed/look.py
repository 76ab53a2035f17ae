"""Observe one host: one remote command for the host, one pipelined exchange per running instance."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import DEFAULT_LINE, OPERATOR, categories_in
from tasks.catalogue.ignored import is_unit
from tasks.catalogue.limits import Limits
from tasks.catalogue.printable import excerpt, printable
from tasks.desired.guard import files_of_a_pair
from tasks.desired.host import USER_NAMESPACES, Host, Instance, Passwords
from tasks.desired.paths import (
    CONFIG_DIRECTORY,
    DATA_ROOT,
    LOCK_FILE,
    METRICS_UNIT,
    NEW,
    backup_record,
    copy_drop_in,
    copy_file,
    credential,
    data_directory,
    guard_file,
    log_directory,
    marker_file,
    moved_file,
    old_tls_files,
    peer_file,
    proof_record,
    rotation_file,
    tls_files,
    trusted_file,
)
from tasks.observed.bounds import PROGRAM
from tasks.observed.connection import (
    ConnectionBroken,
    TunnelForbidden,
    TunnelRefused,
    begin,
    heard,
    is_carried,
    open_tunnel,
    read_host,
)
from tasks.observed.counters import are_many
from tasks.observed.exchange import ExchangeError, Reply, ReplyError, cause_of, converse, info_fields
from tasks.observed.foreign import with_foreign
from tasks.observed.journal import reaches_start, said_since_start
from tasks.observed.leftover import leftover_trusts, with_leftovers
from tasks.observed.login import operator_login
from tasks.observed.own_server import Endpoint, exchange_as, is_its_own, own_endpoint, sockets_of
from tasks.observed.reader import MANAGED, PACKAGES, parse_look
from tasks.observed.refusal import Cause, Refusal, refusal
from tasks.observed.refused import LOG, read_refusals
from tasks.observed.replies import StrangeReply, pairs, require_numbers, texts
from tasks.observed.script import Parameter
from tasks.observed.state import (
    PASSWORD_DIGITS,
    Client,
    Observed,
    Served,
    Server,
    Unseen,
    tells_of_a_cut,
    tells_of_skips,
)
from tasks.observed.tls import Trust, Untrusted, learn, open_stream, spoken_by_file, trusts

UNIT_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,MainPID,NeedDaemonReload,NRestarts,Result,DropInPaths,"
    "ExecMainStartTimestamp,InactiveEnterTimestamp,LimitNOFILE"
)


# What is to be begun as soon as a server has answered, while others may keep the look waiting.
Answered = Callable[[Instance, Server, Observed], None]


def observe(
    state: State, host: PyinfraHost, desired: Host, passwords: Passwords, answered: Answered | None = None
) -> Observed:
    """The state of `host`, its running instances asked as `operator`. Raises Unobserved when it cannot be read.

    `answered` is called with what the host itself has said when an instance has told how it is.
    """
    seen = with_foreign(state, host, desired, _look_at(state, host, desired), passwords)
    seen = with_leftovers(host, desired, seen, passwords)
    running = [instance for instance in desired.instances if seen.is_active(instance.unit)]
    known = {item.name: operator_login(item.name, passwords[item.name].get(OPERATOR), seen) for item in running}
    found = {item.name: endpoint(item, seen) for item in running}
    own = {place: trust for item in desired.instances for place, trust in trusts_of(item, seen, found).items()}
    learn(host, {**leftover_trusts(seen.leftovers, desired, seen), **own})

    def ask(instance: Instance) -> Server:
        server = observe_server(host, instance, found[instance.name], known[instance.name])
        server = with_own_tries(host, instance.unit, server, known[instance.name], desired.limits, seen.addresses)
        if answered is not None and server.refusal is None:
            answered(instance, server, seen)
        return server

    jobs = {item.name: begin(partial(ask, item)) for item in running}
    servers = {name: job.result() for name, job in jobs.items()}
    # One that is silent has been waited for once.
    telling = [item for item in running if not is_silent(servers[item.name])]
    shown = {item.name: begin(partial(second_port, host, item, seen)) for item in telling if has_second_port(item)}
    for name, job in shown.items():
        served, other = job.result()
        servers[name] = replace(servers[name], certificate=served or servers[name].certificate, other=other)
    sizes = {item.name: log_size(item, seen) for item in running}
    unseen = seen.unseen if running or not desired.instances else {**seen.unseen, **_no_way(host, desired.instances[0])}
    servers = with_journals(state, host, running, servers, sizes)
    return replace(seen, servers=servers, unseen=unseen, is_carried=is_carried(host), asked_at=int(time.time()))


def trusts_of(instance: Instance, seen: Observed, found: Mapping[str, Endpoint | Refusal]) -> dict[Endpoint, Trust]:
    """Where an instance is spoken to by TLS; `found`: where each running one is. Pure."""
    where = found.get(instance.name)
    return trusts(instance, seen, None if isinstance(where, Refusal) else where)


def _no_way(host: PyinfraHost, instance: Instance) -> dict[str, Unseen]:
    """Why an instance could not be spoken to once it runs, found out before anything is begun; empty when it could."""
    try:
        open_tunnel(host, "127.0.0.1", instance.role.port).close()
    except (TunnelForbidden, ConnectionBroken) as error:
        return {"way": Unseen(str(error))}
    except TunnelRefused:
        pass  # by the host itself: nothing listens there yet
    return {}


def log_size(instance: Instance, seen: Observed) -> int:
    """Bytes of an instance's append-only log on disk: its base and what was written since."""
    name = f"{log_directory(instance.role)}/{instance.role.appendfilename}"
    part = re.compile(rf"{re.escape(name)}\.[0-9]+\.(base|incr)\.(rdb|aof)")
    return sum(size for path, size in seen.data_files.items() if part.fullmatch(path))


def with_journals(
    state: State,
    host: PyinfraHost,
    instances: Sequence[Instance],
    servers: Mapping[str, Server],
    log_sizes: Mapping[str, int],
) -> dict[str, Server]:
    """The servers, with what those said while they started whose counters give a reason to ask."""
    asked = {
        item.name: item.unit
        for item in instances
        if tells_of_skips(servers[item.name].info) or tells_of_a_cut(servers[item.name].info, log_sizes[item.name])
    }
    said = said_since_start(state, host, list(asked.values())) if asked else {}
    return {
        name: replace(server, said=said.get(asked[name], ()), said_from_start=reaches_start(said.get(asked[name], ())))
        if name in asked
        else server
        for name, server in servers.items()
    }


def _look_at(state: State, host: PyinfraHost, desired: Host) -> Observed:
    roles = [role.name for role in desired.roles]
    secrets = {file.path for file in desired.files if file.secret}
    # Of one that speaks TLS no more, too.
    secrets |= {path for role in roles for path in (*tls_files(role), *old_tls_files(role))}
    secrets |= {path for role in roles for path in (copy_file(role), copy_file(role) + NEW, peer_file(role))}
    if desired.exporter is not None:
        secrets |= {credential(METRICS_UNIT, name) for name in desired.exporter.files}  # which it was started with
    own = {*(file.path for file in desired.files), *desired.absent, *map(marker_file, roles)}
    own |= {CONFIG_DIRECTORY, DATA_ROOT, *map(rotation_file, roles), *map(moved_file, roles), *map(trusted_file, roles)}
    own |= set(map(copy_drop_in, roles))  # of a role of no pair, too: it says what its data is
    own |= {file.path for pair in desired.pairs for file in pair.files}  # whichever of the two it is found to be
    own |= {path for role in roles for path in files_of_a_pair(role)}
    own |= {backup_record(plan.role.name) for plan in desired.backups}
    own |= {proof_record(plan.role.name) for plan in (*desired.backups, *desired.proofs)}
    directories = {*map(data_directory, (*roles, *desired.requests.purge))}
    asked = parameters(
        files=sorted(own - secrets - directories),
        secrets=sorted(secrets),
        directories=sorted(directories),
        units=[item.name for item in desired.units]
        + [item.unit for item in desired.addresses]
        + [name for name in desired.ignored if is_unit(name)],
        sysctls=[*desired.sysctls, *([USER_NAMESPACES] if desired.roles else [])],
        guards=[guard_file(pair.role) for pair in desired.pairs],
    )
    seen = read_host(state, host, "look", [], parse_look, **asked)
    heard()
    return seen


def parameters(
    files: Sequence[str],
    secrets: Sequence[str],
    directories: Sequence[str],
    units: Sequence[str],
    sysctls: Sequence[str],
    guards: Sequence[str] = (),
) -> dict[str, Parameter]:
    """What look.sh is told to look at: everything of one host that the desired state speaks of. Pure.

    Of `directories`, which roles own, nothing is opened: root would follow what a role put there.
    """
    return {
        "root": DATA_ROOT,
        "lock": LOCK_FILE,
        "files": files,
        "secrets": secrets,
        "directories": directories,
        "units": units,
        "unit_properties": UNIT_PROPERTIES,
        "sysctls": [f"/proc/sys/{name.replace('.', '/')}" for name in sysctls],
        "sysctl_names": "|".join(name.replace(".", "[./]") for name in sysctls) or "none",
        "packages": "|".join(PACKAGES),
        "managed": MANAGED,
        "default_line": DEFAULT_LINE,
        "digits": PASSWORD_DIGITS,
        "patience": PROGRAM,
        "guards": guards,
    }


def endpoint(instance: Instance, seen: Observed) -> tuple[str, int] | Refusal:
    """Where a running instance is spoken to: as desired, or where it still listens before a change.

    A Refusal where another may answer: that one gets no password.
    """
    wanted = instance.where
    found = own_endpoint(seen.pid(instance.unit), wanted, sockets_of(seen))
    by_file = spoken_by_file(instance, seen)
    sealed = not isinstance(found, Refusal) and found[1] == int(by_file.get("tls-port", "0"))
    if instance.credentials is None and sealed:
        return Refusal(Cause.CERTIFICATE, "it speaks TLS, and its role has no tls, so that nobody knows its ca")
    return found


def is_silent(server: Server) -> bool:
    """Whether a server has said nothing at all."""
    return server.refusal is not None and server.refusal.cause is Cause.SILENT


def observe_server(
    host: PyinfraHost, instance: Instance, where: tuple[str, int] | Refusal, password: str | None
) -> Server:
    """What a running instance says of itself, in one exchange at `where`, its address and port."""
    if isinstance(where, Refusal):
        return Server(refusal=where)
    if password is None:
        return Server(refusal=Refusal(Cause.NO_PASSWORD, "its operator's password is not in the secrets file"))
    names = ["default", *(user.name for user in instance.users)]
    categories = categories_in(user.rules for user in instance.users)
    commands: list[tuple[str, ...]] = [
        ("AUTH", OPERATOR, password),
        ("CONFIG", "GET", "*"),
        ("INFO", "default", "commandstats"),
        ("ACL", "USERS"),
        *(("ACL", "CAT", name) for name in categories),
        *(("ACL", "GETUSER", name) for name in names),
        *([CLIENTS] if instance.finishing else []),
    ]
    try:
        replies, served = converse(host, *where, commands)
        found = read_server(categories, names, replies[: -1 if instance.finishing else None])
        clients = read_clients(replies[-1]) if instance.finishing and found.refusal is None else ()
        return replace(found, endpoint=where, clients=clients, certificate=served)
    except ExchangeError as error:
        return Server(refusal=error.refusal)
    except StrangeReply as error:
        return Server(refusal=Refusal(Cause.STRANGE, f"it does not speak as Redis does: {error}"))


def with_own_tries(
    host: PyinfraHost,
    unit: str,
    server: Server,
    password: str | None,
    limits: Limits | None,
    addresses: Collection[str],
) -> Server:
    """The server, with how many of the wrong passwords that it has refused were this tool's own, where that matters.

    One that does not tell has none: what nobody can tell apart is not taken off what alarms.
    """
    asks = password and limits and server.refusal is None and are_many(server.info, limits.refused_logins_warning)
    if not asks:
        return server
    try:
        _, (log,) = exchange_as(host, unit, server.endpoint, (OPERATOR, str(password)), [LOG])
        tries = sum(item.proofs for item in read_refusals(log, addresses))
    except (ExchangeError, StrangeReply):
        return server
    return replace(server, proofs_tried=tries)


def has_second_port(instance: Instance) -> bool:
    """Whether the instance is to speak TLS beside the port where its operator is in clear, for a change over."""
    return instance.credentials is not None and instance.role.tls_port != instance.role.port


def second_port(host: PyinfraHost, instance: Instance, seen: Observed) -> tuple[Served | None, Refusal | None]:
    """The certificate that is shown there, or why TLS did not begin. Nothing is said to the server, and nobody logs in.

    Neither where its own process does not listen there, or not alone: that is listed elsewhere.
    """
    where = (instance.address, instance.role.tls_port or 0)
    if not is_its_own(seen.pid(instance.unit), where, sockets_of(seen)):
        return None, None
    try:
        stream, served = open_stream(host, *where)
        stream.close()
    except (ConnectionBroken, TunnelRefused, Untrusted) as error:
        return None, Refusal(cause_of(error), f"no TLS with {where[0]}:{where[1]}: {error}")
    return served, None


def read_server(categories: Sequence[str], names: Sequence[str], replies: Sequence[Reply]) -> Server:
    """The replies to `observe_server`'s commands as a Server. Raises ExchangeError or StrangeReply for odd ones."""
    for reply in replies[:4]:
        if isinstance(reply, ReplyError):
            return Server(refusal=refusal(reply))
    _, config, info, users, *details = replies
    lists = dict(zip(categories, details, strict=False))
    described = dict(zip(names, details[len(categories) :], strict=True))
    settings = {name: str(value) for name, value in pairs(config, "CONFIG GET").items()}
    require_numbers(settings, "CONFIG GET")
    return Server(
        config=settings,
        info=info_fields(info),
        categories={name: frozenset(texts(commands, "ACL CAT")) for name, commands in lists.items()},
        users={user: pairs(described.get(user) or [], "ACL GETUSER") for user in texts(users, "ACL USERS")},
    )


CLIENTS = ("CLIENT", "LIST")
CLIENT_FIELD = re.compile(r"(?:^| )(addr|age|user|cmd)=(\S*)")


def read_clients(reply: Reply) -> tuple[Client, ...]:
    """Who is connected to a server and logged in, this look's own connection left out. Raises StrangeReply."""
    if not isinstance(reply, str):
        raise StrangeReply("CLIENT LIST is no text")
    found = []
    for line in reply.splitlines():
        said = dict(CLIENT_FIELD.findall(line))
        if not AGE.fullmatch(said.get("age", "")) or not {"addr", "user"} <= said.keys():
            raise StrangeReply(f"a line of CLIENT LIST is {excerpt(line)}")
        own = said.get("cmd") == "client|list" and int(said["age"]) < OWN_AGE
        if not own:
            found.append(Client(said["user"], printable(said["addr"])[:ADDRESS], int(said["age"])))
    return tuple(found)


AGE = re.compile("-?[0-9]{1,12}")  # seconds; negative where the host's clock was put back
ADDRESS = 64  # characters that are shown of one
OWN_AGE = 60  # seconds; a look is given up before

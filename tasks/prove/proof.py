"""Prove: observe a host again, demand no difference, then behave like the services that use it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from pyinfra import logger
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from tasks.catalogue.backup import is_of_settings
from tasks.catalogue.printable import printable
from tasks.catalogue.roles import RESERVED_USERS, Role
from tasks.catalogue.secret import newest
from tasks.compare.backups import without_backup
from tasks.compare.runbook import in_words
from tasks.compare.unknown import Unknown, way_out
from tasks.desired.host import Exporter, Instance, Passwords
from tasks.desired.paths import METRICS_UNIT, unit_name
from tasks.observed.connection import ConnectionBroken, TunnelRefused, begin
from tasks.observed.exchange import ExchangeError, cause_of, exchange
from tasks.observed.own_server import is_its_own, is_led_inward, sockets_of
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Server
from tasks.observed.tls import Trust, Untrusted, meet_from
from tasks.prove.behaviour import (
    Finding,
    evicted_meanwhile,
    judge,
    let_in,
    reading_checks,
    same_instance,
    standby_checks,
    turned_away,
    writing_checks,
)
from tasks.prove.scrape import scrape
from tasks.run.fault import fault
from tasks.run.network import try_from_others
from tasks.run.options import options
from tasks.run.session import Run, current, unreachable
from tasks.run.survey import Look, look, look_at_all, survey
from tasks.steps.retire import Proofs, before_the_end

NOT_SEEN = Server(refusal=Refusal(Cause.NOT_ITS_OWN, "it does not run"))


def findings(
    state: State,
    host: Host,
    run: Run,
    as_clients: bool = True,
    ends_later: bool = False,
    seen: Look | None = None,
    undecided: Sequence[Unknown] = (),
) -> list[str]:
    """Every way in which the host is not as it should be, is critical or does not behave so; empty when all is well.

    What only is a warning is said, and fails nothing. `ends_later`: roles that left the host are still to be retired,
    when all hosts are proved. `seen`: the look of this run, which is enough where nothing was done since. `undecided`:
    pairs of which that of both hosts could not tell who serves, and one of a single host cannot.
    Leaves nothing behind but entries of refused logins in ACL LOG.
    """
    result = seen if seen is not None and seen.still_holds else look(state, run, host, undecided=undecided)
    if result.observed is None:
        return [printable(f"could not be read: {result.error}")]
    serving = served(result) if as_clients else []
    clients = [begin(partial(_behave, host, result, item)) for item in serving]
    clients += [begin(partial(_scrape, host, item, instance)) for item in measuring(result) for instance in serving]
    differences = before_the_end(result).differences if ends_later else result.differences
    critical = [item for item in result.health if item.severity == "critical"]
    for warning in result.health:
        if warning not in critical:
            host.log_styled(in_words(warning), fg="yellow", log_func=logger.warning)
    problems = [*map(in_words, differences), *map(in_words, result.unknown), *map(in_words, critical)]
    for client in clients:
        problems += client.result()
    return problems


def served(seen: Look) -> list[Instance]:
    """The instances that a client may be sent to: their own process answers its operator where their services go.

    What is wrong with another one the look has said, and nobody logs in there.
    """
    servers = seen.observed.servers if seen.observed else {}
    known = {item.name: servers.get(item.name, NOT_SEEN) for item in seen.desired.instances}
    return [
        item
        for item in seen.desired.instances
        if known[item.name].refusal is None and known[item.name].endpoint == item.where
        if item.is_standby or _is_its_own(seen, item.role, item.role.port)
    ]


def measuring(seen: Look) -> list[Exporter]:
    """The exporter of the host, where its own process listens; else what is wrong with it is listed already."""
    item, observed = seen.desired.exporter, seen.observed
    if item is None or observed is None:
        return []
    pid = observed.pid(METRICS_UNIT)
    there = {(it.address, it.port) for it in observed.listeners if it.is_of(pid)}
    return [item] if (item.address, item.port) in there else []


def verify_tier(state: State) -> int:
    """Verify every host of the run at the same time, say what was found, and return the exit code."""
    run = current(state)
    return run.only_once("verify", lambda: _verify(state, run))


def verify_anew(state: State, role: str) -> int:
    """Whether a role is as it should be on the hosts where it runs now, and served by one; what was seen is forgotten.

    One that was stopped, for it cannot follow a newer one, is none of them.
    """
    run = current(state)
    looks = look_at_all(state, run)
    runs = {name for name, seen in looks.items() if seen.observed and seen.observed.is_active(unit_name(role))}
    serving = [name for name in runs if any(item.name == role for item in served(looks[name]) if not item.is_standby)]
    hosts = {host.name: host for host in state.inventory.get_active_hosts() if host.name in runs}
    jobs = {name: begin(partial(findings, state, host, run)) for name, host in sorted(hosts.items())}
    found = [f"{name}: {problem}" for name, job in jobs.items() for problem in job.result()]
    problems = [item for item in found if item.partition(": ")[2].startswith(f"{role}: ")]
    if not serving:
        problems.append(f"{role}: no host of it was seen to serve it")
    for problem in problems:
        logger.error(problem)
    return 1 if problems else 0


def _verify(state: State, run: Run) -> int:
    began = time.monotonic()
    as_clients = not options().get("dry")
    hosts = {host.name: host for host in state.inventory.get_active_hosts() if host.name in run.tier.hosts}
    looks = survey(state, run)
    from_others = begin(partial(try_from_others, state, looks))
    jobs = {
        name: begin(partial(findings, state, host, run, as_clients, seen=looks[name], undecided=looks[name].undecided))
        for name, host in sorted(hosts.items())
    }
    tried = from_others.result()
    problems = [f"{name}: {why}" for name, why in unreachable(state).items()]
    problems += [f"{name}: {problem}" for name, job in jobs.items() for problem in job.result()]
    for name in jobs:
        found = (*tried.differences.get(name, ()), *tried.unknown.get(name, ()))
        problems += [f"{name}: {in_words(item)}" for item in found]
    for problem in problems:
        logger.error(problem)
    unsaved = without_backup(run.tier.hosts[name] for name in hosts)
    for note in [*run.tier.notices(), *unsaved, *_of_hosts({name: looks[name].notes for name in jobs})]:
        logger.warning(f"note: {note}")
    roles = sum(len(run.tier.hosts[name].roles) for name in hosts)
    took = f"checked in {time.monotonic() - began:.1f} s"
    if problems or not hosts:
        logger.error(f"--> {len(problems)} findings, {took}")
        return 1
    logger.info(f"--> {roles} roles on {len(hosts)} hosts are as they should be, {took}")
    return 0


def _of_hosts(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """What a person should know of hosts: what is alike for several is one line."""
    alike: dict[str, list[str]] = {}
    for name, own in notes.items():
        for note in own:
            alike.setdefault(note, []).append(name)
    return [f"{', '.join(names)}: {note}" for note, names in alike.items()]


def _behave(host: Host, seen: Look, instance: Instance) -> list[str]:
    try:
        found = behave(host, seen, instance)
        return [in_words(item) if isinstance(item, Unknown) else str(item) for item in found]
    except Exception as error:
        return [f"{instance.name}: what a client meets: {fault(error)}"]


def _scrape(host: Host, exporter: Exporter, instance: Instance) -> list[str]:
    try:
        return scrape(host, exporter, instance)
    except Exception as error:
        return [f"{instance.name}: what Prometheus is told: {fault(error)}"]


def behave(host: Host, seen: Look, instance: Instance) -> list[Finding | Unknown]:
    """What the services of a role meet that they should not: on its own port and the inner one, in two connections.

    And on a port that its server has beside them, where TLS begins or ends, in two more.
    """
    role = instance.role
    if instance.is_standby:
        return _meet_standby(host, seen, instance)
    found = _meet(host, seen, instance, role.port, reading_port(seen, role))
    for port in role.listens_on[1:]:
        if _is_its_own(seen, role, port):
            found += _meet(host, seen, instance, port, port)
    return found


def _meet(host: Host, seen: Look, instance: Instance, port: int, other_port: int) -> list[Finding | Unknown]:
    """The same of clients that write on one port, and read that on the other."""
    role = instance.role
    own = {user: password and newest(password) for user, password in seen.passwords[instance.name].items()}
    token = secrets.token_hex(8)
    writing = writing_checks(role, own, stranger(role, seen.passwords), token)
    try:
        wrote = exchange(host, instance.address, port, [check.command for check in writing])
        inside = let_in(writing, wrote)
        reading = reading_checks(role, {user: own[user] for user in inside}, token) if inside else []
        read = exchange(host, instance.address, other_port, [check.command for check in reading]) if inside else []
    except ExchangeError as error:
        return [_unproved(instance, error.refusal)]
    if away := turned_away([*wrote, *read]):
        return [_unproved(instance, away)]
    if not inside:
        return [*judge(role, port, writing, wrote)]
    evicted = evicted_meanwhile(role, (writing, wrote), (reading, read))
    return [
        *judge(role, port, writing, wrote, evicted),
        *judge(role, other_port, reading, read, evicted),
        *same_instance(role, wrote[-1], read[-1]),
    ]


def _meet_standby(host: Host, seen: Look, instance: Instance) -> list[Finding | Unknown]:
    """What the services of a role meet on its standby that they should not: nobody writes there."""
    role, token = instance.role, secrets.token_hex(8)
    own = {user: password and newest(password) for user, password in seen.passwords[instance.name].items()}
    checks = standby_checks(role, own, stranger(role, seen.passwords), token)
    try:
        replies = exchange(host, *instance.where, [check.command for check in checks])
    except ExchangeError as error:
        return [_unproved(instance, error.refusal)]
    if away := turned_away(replies):
        return [_unproved(instance, away)]
    return [*judge(role, role.port, checks, replies), *_meet_primary(host, seen, instance)]


def _meet_primary(host: Host, seen: Look, instance: Instance) -> Iterator[Finding | Unknown]:
    """What is wrong with whom a standby follows by TLS: Redis looks at who signed its certificate, and no further.

    Nothing where it has no link, which its health says.
    """
    pair, server = seen.desired.pair_of(instance.name), seen.observed and seen.observed.servers.get(instance.name)
    if pair is None or not server or not instance.role.copies_by_tls or server.info.get("master_link_status") != "up":
        return
    there = next(item for item in current(host.state).tier.hosts[pair.peer].instances if item.name == pair.role)
    where = f"{pair.there[0]}:{pair.there[1]}"
    try:
        if there.credentials is not None:
            meet_from(host, pair.there, Trust(there.credentials, True, there.address))
    except Untrusted as error:
        yield Finding(instance.name, f"whom it follows at {where}", f"the certificate of {pair.peer}", str(error))
    except (ConnectionBroken, TunnelRefused) as error:
        way = f"let {host.name} reach {where} from the address that SSH goes to as well"
        yield Unknown(instance.name, "whom it follows", f"nobody answers at {where}: {error}", way, cause_of(error))


def reading_port(seen: Look, role: Role) -> int:
    """The inner port where it is shown to lead to the role's own; else what is wrong with it is listed already."""
    inner, address = role.forwarded_port, str(role.address)
    led = inner is not None and seen.observed is not None and is_led_inward(address, inner, role.port, seen.observed)
    return inner if led and inner is not None else role.port


def _is_its_own(seen: Look, role: Role, port: int) -> bool:
    """Whether it is shown that only the role's process answers there; else what is wrong with it is listed already."""
    found, where = seen.observed, (str(role.address), port)
    return found is not None and is_its_own(found.pid(unit_name(role.name)), where, sockets_of(found))


def _unproved(instance: Instance, why: Refusal) -> Unknown:
    return Unknown(instance.name, "what a client meets", str(why), way_out(instance, why), why.cause)


def stranger(role: Role, passwords: Passwords) -> str:
    """The name of a service that has no business on this role."""
    others = {
        user for name, users in passwords.items() if name != role.name and not is_of_settings(name) for user in users
    }
    return min(others - {*role.services, *RESERVED_USERS}, default="no-such-service")


@operation()
def prove(seen: Look) -> Iterator[FunctionCommand]:
    """The host has no difference left but what ends last, and serves its clients. No change when so, else a failure."""
    state, host = ctx_state.get(), ctx_host.get()
    if not state.is_executing:
        if seen.differences:
            yield FunctionCommand(fail, (), {"problems": [str(item) for item in seen.differences]})
        return
    problems = findings(state, host, current(state), ends_later=True, seen=seen)
    if problems:
        yield FunctionCommand(fail, (), {"problems": problems})
    else:
        current(state).kept(Proofs).proved.add(host.name)


def fail(state: State, host: Host, problems: list[str]) -> bool:
    """Say what is wrong on the host and fail it."""
    for problem in problems:
        host.log_styled(problem, fg="red", log_func=logger.error)
    return False

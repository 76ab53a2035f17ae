"""Drills with clients that do harm, and with many: a script without end, no place left, nobody reads, all at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from tasks.catalogue.acl_rules import OPERATOR
from tasks.drills.client import Client, DrillFailed
from tasks.drills.judge import Answer, curve, restart_problem, shares, slow_problem, unasked, waited
from tasks.drills.load import writer_of
from tasks.drills.outcome import Outcome, Steps, count, milliseconds, seconds
from tasks.drills.own_user import filled, is_rewriting, own_user, rewrite_ended, slowly
from tasks.drills.place import PREFIX, Place, wait_for
from tasks.drills.probe import asking
from tasks.observed.connection import begin
from tasks.observed.exchange import ExchangeError, ReplyError
from tasks.reports.rehearsal_model import Figure, Series

ENDLESS = "while true do end"
CROWD = 150  # clients that connect at once
MEGABYTE = 1 << 20
MESSAGES = 64  # of a megabyte each, at most, until a subscriber that reads none of them is cut off


def busy_script(place: Place) -> Steps:
    """EVAL of an endless loop by a service that may run scripts; where none may, each is refused."""
    yield from ()
    able = [name for name in place.role.services if place.role.rights_of(name).scripts]
    for name in place.role.services:
        if name not in able:
            (reply,) = place.ask(name, ("EVAL", "return 1", "0"))
            if not str(reply).startswith("NOPERM"):
                raise DrillFailed(f"{place.name}: {name} runs a script, expected NOPERM as the catalogue says")
    if not able:
        refused = {"refused": count(len(place.role.services), "services")}
        return Outcome("no service of it may run scripts: each tried, and was refused", refused)
    process = place.process()
    with place.client(able[0]) as looping:
        looping.send(("EVAL", ENDLESS, "0"))
        began = time.monotonic()
        wait_for(f"{place.name} does not say BUSY", lambda: _is_busy(place, able[0]), patience=60)
        said = place.said_of_it()
        if not any("unknown" in line and "BUSY" in line for line in said):
            raise DrillFailed(f"{place.name}: verify does not say BUSY: {'; '.join(said)[:300]}")
        place.operator("SCRIPT", "KILL")
        took = time.monotonic() - began
    place.wait_until_back()
    if problem := restart_problem(process, place.process(), "the script"):
        raise DrillFailed(f"{place.name}: {problem}")
    place.calm_down()
    place.must_be_well("SCRIPT KILL")
    return Outcome(
        f"{able[0]} ran a script without end: others were answered BUSY, verify said so and restarted nothing; SCRIPT "
        "KILL as operator ended it",
        {"busy for": seconds(took)},
        said=tuple(said),
    )


def _is_busy(place: Place, user: str) -> bool:
    """Whether somebody else is answered BUSY, to the login or behind it."""
    try:
        return str(place.ask(user, ("PING",))[0]).startswith("BUSY")
    except DrillFailed as error:
        return "BUSY" in str(error)


def maxclients(place: Place) -> Steps:
    """maxclients is lowered to what is connected and a few; services take what is left."""
    yield from ()
    service = place.role.services[0]
    with place.client(OPERATOR) as operator, place.client(service) as there, ExitStack() as held:
        limit = int(_field(operator, "clients", "connected_clients")) + 3
        operator.answer(("CONFIG", "SET", "maxclients", str(limit)))
        try:
            turned_away = ""
            for _ in range(limit + 2):
                try:
                    client = place.client(service, check=False)
                except ExchangeError as error:
                    turned_away = str(error)
                    break
                held.callback(client.close)
                if isinstance(client.greeting, ReplyError):
                    turned_away = str(client.greeting)
                    break
            if "max number of clients" not in turned_away:
                raise DrillFailed(f"{place.name}: {limit} clients may connect, and one more did: {turned_away or 'OK'}")
            said = place.said_of_it()
            if not any("unknown" in line and "max number of clients" in line for line in said):
                found = "; ".join(said)[:300] or "nothing"
                raise DrillFailed(f"{place.name}: verify does not say that no connection is left, it says: {found}")
            times = [there.timed("PING") for _ in range(20)]
            _must_be_answered(place, times, "while no connection was left")
        finally:
            held.close()
            operator.answer(("CONFIG", "SET", "maxclients", str(place.role.maxclients)))
    place.wait_until_back()
    place.calm_down()
    return Outcome(
        f"maxclients was lowered for this drill from {place.role.maxclients} to {limit}, what was connected and three "
        "more: the next client was turned away, who was there "
        "was served, verify said what is full and restarted nothing; with places again all is well",
        {
            "connected when the next was turned away": count(limit, "clients"),
            "who was there, slowest": milliseconds(1000 * max(times)),
        },
        said=tuple(said),
    )


def _field(client: Client, section: str, name: str) -> str:
    (info,) = client.answer(("INFO", section))
    return dict(line.split(":", 1) for line in str(info).splitlines() if ":" in line)[name].strip()


def slow_subscriber(place: Place) -> Steps:
    """Somebody subscribes and reads nothing, while megabytes are published."""
    yield from ()
    channel, service = f"{PREFIX}:news", place.role.services[0]
    publish = "return redis.call('PUBLISH', KEYS[1], string.rep('x', tonumber(ARGV[1])))"
    with own_user(place) as user, user.client() as deaf, user.client() as publisher, place.client(service) as other:
        deaf.send(("SUBSCRIBE", channel))
        wait_for(f"{place.name} has no subscriber", lambda: publisher.answer(("PUBLISH", channel, "x")) == [1], 30)
        sent, times = 0, list[float]()
        while sent < MESSAGES:
            # A script counts a channel among its keys for its rights.
            (heard,) = publisher.answer(("EVAL", publish, "1", channel, str(MEGABYTE)))
            times.append(other.timed("PING"))
            if heard == 0:
                break
            sent += 1
        else:
            raise DrillFailed(
                f"{place.name}: a subscriber that read nothing got {sent} MiB, expected that it is cut off"
            )
    _must_be_answered(place, times, "while a subscriber read nothing")
    place.calm_down()
    place.must_be_well("the subscriber was cut off")
    return Outcome(
        f"a client subscribed and read nothing while a megabyte after the other was published: the server cut it off, "
        f"and {service}, which was connected, was answered all the time",
        {
            "cut off after": Figure(sent * MEGABYTE, "bytes"),
            **_answers("a service", times),
        },
    )


def stampede(place: Place) -> Steps:
    """All clients of a service connect at once, as after a restart of it."""
    yield from ()
    service = place.role.services[0]
    crowd = min(CROWD, place.role.maxclients // 2)
    came, problems = list[Client](), list[str]()
    with place.client(service) as there, ExitStack() as held:
        before = [there.timed("PING") for _ in range(20)]
        began = time.monotonic()
        jobs = [begin(partial(_comes, place, service, held, came, problems)) for _ in range(crowd)]
        during = []
        while len(came) + len(problems) < crowd and time.monotonic() - began < 120:
            during.append(there.timed("PING"))
            time.sleep(0.01)
        for job in jobs:
            job.result()
        took = time.monotonic() - began
        cut_off = sum(not _is_there(client) for client in came)
    if problems:
        raise DrillFailed(f"{place.name}: {len(problems)} of {crowd} clients were not served: {problems[0]}")
    if cut_off:
        raise DrillFailed(f"{place.name}: {cut_off} of {crowd} clients were served and cut off, expected that all stay")
    _must_be_answered(place, during, f"while {crowd} clients connected")
    place.calm_down()
    return Outcome(
        f"{crowd} clients connected at once, logged in and asked; one that was there asked all the time (all of them "
        "through this tool's own SSH connection, which opens one after the other)",
        {
            "served": count(crowd, "clients"),
            "in": seconds(took),
            **_answers("who was there, before", before),
            **_answers("who was there, meanwhile", during),
        },
    )


def _comes(place: Place, service: str, held: ExitStack, came: list[Client], problems: list[str]) -> None:
    """One more client comes, asks and stays: one of `came`, or why it was not served."""
    try:
        client = place.client(service, check=False)
        held.callback(client.close)
        if isinstance(client.greeting, ReplyError):
            raise DrillFailed(f"its login: {client.greeting}")
        client.answer(("PING",))
    except (ExchangeError, DrillFailed) as error:
        problems.append(str(error))
    else:
        came.append(client)


def _is_there(client: Client) -> bool:
    """Whether a client that was served is served still."""
    try:
        return client.ask(("PING",)) == ["PONG"]
    except ExchangeError:
        return False


def _answers(who: str, times: Sequence[float]) -> dict[str, Figure]:
    """How many there were and how long they took."""
    found = {f"{who}, {share}": milliseconds(value) for share, value in shares(times).items()}
    return {f"{who}, asked": count(len(times), "times"), **found}


def _must_be_answered(place: Place, times: Sequence[float], when: str) -> None:
    """Raises DrillFailed when an answer took so long that clients give up."""
    if problem := slow_problem(times, when):
        raise DrillFailed(f"{place.name}: {problem}")


BALLAST = 24 << 20  # bytes, at most: a rewrite of them can be watched
PART = 4  # of maxmemory; and one that has less ballast is slowed down the more
DELAY = 2000  # microseconds for a key, of BALLAST bytes


def latency(place: Place) -> Steps:
    """PING and SET of a service before, during and after a rewrite of the log."""
    yield from ()
    service = writer_of(place)
    may_set = place.role.rights_of(service).may("set")
    commands = {"PING": ("PING",), **({"SET": ("SET", f"{PREFIX}:latency", "x")} if may_set else {})}
    size = min(BALLAST, place.role.maxmemory // PART)
    with own_user(place) as user, filled(place, user, size):
        began = time.monotonic()
        # By connections of their own: what the drill itself waits for, as for the fork, is when answers are slow.
        with asking(place, service, commands, began) as answers:
            time.sleep(4)
            with slowly(place, DELAY * BALLAST // size):
                seen = first = time.monotonic() - began
                place.operator("BGREWRITEAOF")
                while is_rewriting(place.info("persistence")) and time.monotonic() - began < first + 120:
                    seen = time.monotonic() - began
                    time.sleep(0.5)
                last = time.monotonic() - began
            rewrite_ended(place)
            time.sleep(3)
        place.operator("UNLINK", f"{PREFIX}:latency")
    place.calm_down()
    if seen - first < 0.5:
        raise DrillFailed(f"{place.name}: the rewrite was seen for {seen - first:.1f} s: too short to be measured")
    for name, found in answers.items():
        meanwhile = [item.took for item in waited(found, first, last)]
        _must_be_answered(place, meanwhile, f"({name}) while the log was rewritten")
    marks = ((first, "rewrite begins"), (last, "rewrite ends"))
    return Outcome(
        f"{service} asked {' and '.join(commands)}, each on a connection of its own, while a log of {size >> 20} MiB "
        "was rewritten, slowed down for this drill to be watched (rdb-key-save-delay), through this tool's own SSH "
        "connection",
        _latency_figures(answers, first, last),
        tuple(Series(name, "ms", curve(found), marks) for name, found in answers.items()),
    )


def _latency_figures(answers: Mapping[str, Sequence[Answer]], first: float, last: float) -> dict[str, Figure]:
    """Of each command: while the log was rewritten, before and after; a wait counts where any of it was."""
    found: dict[str, Figure] = {}
    for name, given in answers.items():
        spans = {
            "during": waited(given, first, last),
            "before": [item for item in given if item.ended < first],
            "after": [item for item in given if item.asked > last],
        }
        for span, items in spans.items():
            found |= _answers(f"{name} {span}", [item.took for item in items])
        found[f"{name} during, nobody asked for at most"] = seconds(unasked(given, first, last))
    return found

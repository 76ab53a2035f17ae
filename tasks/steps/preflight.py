"""Preflight: look at every host, and stop the whole run when one of them cannot carry its roles."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pyinfra import logger
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.output import echo
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from tasks.catalogue.backup import PASSWORD as REPOSITORY
from tasks.catalogue.data_names import CAME_FROM, FROM
from tasks.catalogue.printable import printable
from tasks.catalogue.requested import FINISH
from tasks.catalogue.rotation import ANYWAY, Edit, edits_to_paste
from tasks.catalogue.rotation import in_words as steps_in_words
from tasks.catalogue.secrets_file import lacking_problem
from tasks.compare.backups import unfinished_repositories
from tasks.compare.difference import Difference, Remedy
from tasks.compare.elsewhere import endings, known_beginnings, moved_roles, unseen_beginnings, unserved_roles
from tasks.compare.fitness import unfit
from tasks.compare.leftovers import nothing_to_purge
from tasks.compare.moving import Move, moves
from tasks.compare.packages import apt_problems, packages_due
from tasks.compare.pairs import undecided
from tasks.compare.passwords import password_problems
from tasks.compare.provers import older_provers
from tasks.compare.rotation import finish_notices, finish_problems
from tasks.compare.runbook import in_words
from tasks.compare.same_machine import same_machine
from tasks.compare.unfit import Unfit, of_kind
from tasks.compare.unknown import acted_on
from tasks.desired.host import Host
from tasks.observed.apt import look_at_apt
from tasks.observed.connection import Unobserved, begin
from tasks.observed.state import Observed
from tasks.run.ending import Refusal, fail_in_the_end, listed
from tasks.run.fault import fault
from tasks.run.options import only_plans, options
from tasks.run.session import current, unreachable
from tasks.run.survey import Look, survey
from tasks.steps.move import Moves


def check_fitness(state: State, host: PyinfraHost) -> Look | None:
    """Every host of the run is fit for its roles; returns what was seen of `host`, None when nothing is due there.

    That is so on a host without roles on which nothing of this tool is left.

    Read-only. Raises Refusal with the findings of all hosts together, before anything has been changed.
    """
    run = current(state)
    looks = survey(state, run)
    run.only_once("fitness", lambda: _refuse_unfit(state, looks))
    run.only_once("plan", lambda: _print_plan(looks, [*run.tier.notices(), *_notes(state, looks)], run.tier.to_paste()))
    run.only_once("moves", lambda: _print_moves(run.kept(Moves).due))
    if only_plans():
        # What is done instead ends with a proof, which fails for what is not known.
        fail_in_the_end(state, {name for name, item in looks.items() if item.unknown})
    seen = looks.get(host.name)
    if seen is None or not seen.is_due:
        return None
    return replace(seen, differences=acted_on(seen.desired, seen.observed, seen.differences, seen.unknown))


def check_rehearsal(state: State, host: PyinfraHost) -> Look | None:
    """Every host of the run is meant to be thrown away and is as deployed; returns what was seen of one with roles.

    Raises Refusal otherwise: a drill on a production host would cut off its clients.
    """
    run = current(state)
    run.only_once("meant for drills", lambda: _refuse_kept_hosts(state))
    looks = survey(state, run)
    if not any(host.data.get(name) for name in (FROM, CAME_FROM) for host in state.inventory):
        run.only_once("as deployed", lambda: _refuse_differences(looks))
    seen = looks.get(host.name)
    return seen if seen is not None and seen.desired.roles else None


def _refuse_kept_hosts(state: State) -> None:
    hosts = [host for host in state.inventory if state.is_host_in_limit(host)]
    kept = sorted(host.name for host in hosts if host.data.get("redis_rehearsal") is not True)
    if kept:
        findings = [f"{name}: redis_rehearsal is not True: choose an inventory of throw-away hosts" for name in kept]
        raise Refusal(listed("Nothing was drilled: drills kill servers and fill memory", findings))


def _refuse_differences(looks: dict[str, Look]) -> None:
    findings = [f"{name}: {item}" for name, seen in sorted(looks.items()) for item in seen.differences]
    findings += [f"{name}: could not be read: {seen.error}" for name, seen in looks.items() if seen.observed is None]
    findings += [f"{name}: {item}" for name, seen in sorted(looks.items()) for item in seen.unknown]
    if findings:
        raise Refusal(listed("Nothing was drilled: run deploy.py first", findings))


def _refuse_unfit(state: State, looks: dict[str, Look]) -> None:
    findings = [f"{name}: {why}: mend it or --exclude it" for name, why in unreachable(state).items()]
    unfinished = list(unfinished_repositories(read(looks), _repositories_ending(state, looks)))
    for name, seen in sorted(looks.items()):
        if seen.observed is None:
            findings.append(f"{name}: could not be read: {seen.error}")
        else:
            try:
                found = unfit(seen.desired, seen.observed, list(seen.differences), allow_eviction(state, name))
                passwords = password_problems(seen.desired, seen.observed, *_passwords_of(state, name))
                found += of_kind(Unfit.PASSWORDS, passwords)
                found += of_kind(Unfit.ROTATION, _of_rotation(state, name, seen, seen.observed, bool(unfinished)))
                reasons = [*map(in_words, found)]
            except Exception as error:
                reasons = [fault(error)]
            findings += [f"{name}: {reason}" for reason in reasons]
    findings += [f"{name}: {why}" for name, seen in sorted(looks.items()) for why in undecided(seen.unknown)]
    findings += _rotated_elsewhere(state, looks)
    findings += map(in_words, of_kind(Unfit.ROTATION, unfinished))
    findings += older_provers(read(looks))
    findings += _apt_problems(state, looks)
    findings += unserved_roles(read(looks), current(state).tier.placed(*_left_out(state, looks)))
    moving = current(state).kept(Moves)
    moving.due, wrong = moves(read(looks))
    findings += wrong
    findings += moved_roles(read(looks), [item.role for item in moving.due])
    names = same_machine({name: observed for name, (_, observed) in read(looks).items()})
    findings += [f"{name}: {item}" for name, item in names.items()]
    if findings:
        findings += unknown_beside(findings, looks)
        raise Refusal(listed("Nothing was changed: not every host can carry its roles", findings))


def _of_rotation(state: State, name: str, seen: Look, observed: Observed, is_refused: bool) -> list[str]:
    """Why steps of rotations must not be taken on a host: the file would say what its server may never learn.

    `is_refused`: something else keeps them from it, so that nobody is told to take them by hand.
    """
    made = current(state).tier.edits_of(name)
    asked = {edit.role: edit.word for edit in made}
    problems = [f"{asked[item.role]}={item.role}: {item}" for item in seen.unknown if item.role in asked]
    source = current(state).tier.sources[name]
    problems += finish_problems(seen.desired, observed, _is_meant(state, name, ANYWAY), isinstance(source, Path))
    if problems or is_refused or isinstance(source, Path):
        return problems
    return edits_to_paste(str(source), [edit for edit in made if edit.word == FINISH])


def _rotated_elsewhere(state: State, looks: Mapping[str, Look]) -> list[str]:
    """Roles whose passwords are to be rotated, on hosts that this run leaves out."""
    tier = current(state).tier
    return [
        f"{name}: {edit.word}={edit.role}: this run leaves the host out, expected that it takes part: change --limit"
        for name in _left_out(state, looks)
        for edit in {edit.role: edit for edit in [*tier.proved_edits_of(name), *tier.edits_of(name)]}.values()
    ]


def _repositories_ending(state: State, looks: Mapping[str, Look]) -> list[str]:
    """Roles whose repository is to lose all passwords but the newest."""
    made = [edit for name in looks for edit in current(state).tier.edits_of(name)]
    return sorted({edit.role for edit in made if (edit.word, edit.user) == (FINISH, REPOSITORY)})


def _apt_problems(state: State, looks: Mapping[str, Look]) -> list[str]:
    """Why packages could not be installed on the hosts that lack some: asked there only."""
    hosts = {host.name: host for host in state.inventory.get_active_hosts()}
    due = {name: packages_due(seen.desired, seen.differences) for name, seen in looks.items() if is_root(seen)}
    jobs = {name: begin(partial(_of_apt, state, hosts[name], due[name])) for name in sorted(due) if due[name]}
    return [f"{name}: {problem}" for name, job in jobs.items() for problem in job.result()]


def is_root(seen: Look) -> bool:
    """Whether the host was seen, by somebody who may install."""
    return seen.observed is not None and seen.observed.uid == 0


def _of_apt(state: State, host: PyinfraHost, packages: list[str]) -> list[str]:
    try:
        with ctx_state.use(state), ctx_host.use(host):
            return list(apt_problems(packages, look_at_apt(state, host, packages)))
    except Unobserved as error:
        return [f"apt: could not be looked at: {error}"]
    except Exception as error:
        return [f"apt: {fault(error)}"]


def unknown_beside(findings: Collection[str], looks: Mapping[str, Look]) -> list[str]:
    """What else is not known; not of a role that the findings speak of already: it may be the same thing. Pure."""
    return [
        f"{name}: {in_words(item)}"
        for name, seen in sorted(looks.items())
        for item in seen.unknown
        if not any(text.startswith(f"{name}: ") and text.endswith(f": {item}") for text in findings)
        and not (item.role and any(text.startswith(f"{name}: {item.role}: ") for text in findings))
    ]


def read(looks: Mapping[str, Look]) -> dict[str, tuple[Host, Observed]]:
    """What was desired and seen of every host that could be read."""
    return {name: (seen.desired, seen.observed) for name, seen in looks.items() if seen.observed is not None}


def _left_out(state: State, looks: Mapping[str, Look]) -> list[str]:
    """Hosts of the inventory that this run does not ask for."""
    return sorted(current(state).tier.hosts.keys() - looks.keys() - set(unreachable(state)))


def _notes(state: State, looks: Mapping[str, Look]) -> list[str]:
    lacking = {source: keys for source, keys in current(state).tier.lacking.items() if keys}
    moving = {item.role for item in current(state).kept(Moves).due}
    return [
        *(_lacking(source, keys) for source, keys in lacking.items()),
        *(note for source, made in current(state).tier.edits.items() for note in _rotation_in_words(source, made)),
        *(note for desired, observed in read(looks).values() for note in finish_notices(desired, observed)),
        *unseen_beginnings(read(looks), _left_out(state, looks), moving),
        *known_beginnings(read(looks), {role for keys in lacking.values() for role, _ in keys} | moving),
        *endings(read(looks)),
    ]


def _lacking(source: object, keys: Sequence[tuple[str, str]]) -> str:
    """What a person should know of passwords that are not there."""
    if isinstance(source, Path):
        return f"{source} lacks {counted(len(keys), 'password')}: a deploy makes up what is lacking"
    return lacking_problem(str(source), keys)


def _rotation_in_words(source: object, made: Collection[Edit]) -> list[str]:
    """What a run does to passwords that are there, or what a person has to do."""
    return steps_in_words(source, made) if isinstance(source, Path) else edits_to_paste(str(source), made)


def _passwords_of(state: State, name: str) -> tuple[str, Collection[tuple[str, str]]]:
    """The secrets file of a host, and what it lacks."""
    tier = current(state).tier
    source = tier.sources[name]
    return str(source), tier.lacking.get(source, ())


def allow_eviction(state: State, name: str) -> bool:
    """Whether `--data allow_eviction=true`, or that host's data, accepts the loss of keys to a smaller maxmemory."""
    return _is_meant(state, name, "allow_eviction")


def _is_meant(state: State, name: str, word: str) -> bool:
    """Whether a word of `--data`, or of that host's data, is true."""
    host = state.inventory.get_host(name)
    return bool(host is not None and host.data.get(word) is True)


def _print_plan(looks: dict[str, Look], notes: list[str], to_paste: list[str]) -> None:
    """All differences of all hosts, alike ones in one line, and what will restart; notes of the tier first.

    Lines `to_paste` begin a line of the terminal.
    """
    for note in notes:
        logger.info(f"note: {note}")
    for line in to_paste:
        echo(line, err=True)  # where the notes are, without their indentation
    for line in plan_lines(looks, folded=not options().get("verbosity")):
        logger.info(line)


def _print_moves(due: Sequence[Move]) -> None:
    for item in due:
        logger.info(printable(str(item)))


def plan_lines(looks: Mapping[str, Look], folded: bool = True) -> list[str]:
    """The plan as text: notes, health, differences grouped by the hosts that share them, and a summary. Pure.

    `folded`: what is alike for several roles but for their names is one line.
    """
    notes: dict[str, list[str]] = {}
    changes: dict[Difference, list[str]] = {}
    unknown: dict[str, list[str]] = {}
    for name, seen in sorted(looks.items()):
        for note in seen.notes:
            notes.setdefault(f"note: {note}", []).append(name)
        for sick in seen.health:
            notes.setdefault(in_words(sick), []).append(name)
        due = acted_on(seen.desired, seen.observed, seen.differences, seen.unknown)
        for difference in due:
            changes.setdefault(difference, []).append(name)
        for item in seen.unknown:
            unknown.setdefault(in_words(item), []).append(name)
        for difference in set(seen.differences) - set(due):
            unknown.setdefault(f"left as it is: {difference}", []).append(name)
    observed = [(seen.desired, seen.observed) for seen in looks.values() if seen.observed is not None]
    lines = [f"note: {note}" for note in nothing_to_purge(observed)]
    rows = [(hosts, text) for text, hosts in notes.items()]
    rows += [(hosts, text) for text, hosts in unknown.items()]
    in_order = sorted(changes.items(), key=_plan_order)
    rows += _folded(in_order, looks) if folded else [(hosts, str(item)) for item, hosts in in_order]
    lines += [f"{_hosts(hosts, len(looks))}: {text}" for hosts, text in rows]
    return [*map(printable, lines), _summary(looks)]


def _plan_order(item: tuple[Difference, list[str]]) -> tuple[int, list[str], str, str]:
    """What concerns many hosts first, then host by host."""
    difference, hosts = item
    return (-len(hosts) if len(hosts) > 1 else 0, hosts, difference.role or "", str(difference))


def _folded(changes: Iterable[tuple[Difference, list[str]]], looks: Mapping[str, Look]) -> list[tuple[list[str], str]]:
    """(hosts, text) of each difference, or of all that differ by the names of their roles only."""
    every = sorted({role.name for seen in looks.values() for role in seen.desired.roles})
    alike: dict[str, list[tuple[Difference, list[str]]]] = {}
    for item, hosts in changes:
        alike.setdefault(_without_role(item), []).append((item, hosts))
    rows = []
    for text, group in alike.items():
        roles = sorted({item.role for item, _ in group if item.role})
        where = sorted({host for _, hosts in group for host in hosts})
        if len(roles) < 2:
            rows += [(hosts, str(item)) for item, hosts in group]
        else:
            rows.append((where, f"{'each role' if roles == every else ', '.join(roles)}: {text}"))
    return rows


def _without_role(item: Difference) -> str:
    """The difference in words, ROLE for the name of its role."""
    text = str(replace(item, role=None))
    return re.sub(rf"\b{re.escape(item.role)}\b", "ROLE", text) if item.role else text


def _hosts(names: list[str], of: int) -> str:
    if len(names) == 1:
        return names[0]
    return f"all {of} hosts" if len(names) == of else ", ".join(names)


def _summary(looks: Mapping[str, Look]) -> str:
    due = {name: acted_on(seen.desired, seen.observed, seen.differences, seen.unknown) for name, seen in looks.items()}
    count = sum(map(len, due.values()))
    unseen = sum(len(seen.unknown) for seen in looks.values())
    not_known = f", {counted(unseen, 'thing')} not known, nothing is done about that" if unseen else ""
    if not count:
        return f"nothing to change on {counted(len(looks), 'host')}{not_known}"
    restarts = sorted(
        {
            f"{item.role} on {name}"
            for name, differences in due.items()
            for item in differences
            if item.remedy == Remedy.RESTART
        }
    )
    changed = sum(map(bool, due.values()))
    which = f": {', '.join(restarts)}" if restarts else ""
    return (
        f"{counted(count, 'difference')} on {counted(changed, 'host')}, "
        f"{counted(len(restarts), 'instance')} will restart{which}{not_known}"
    )


def counted(count: int, noun: str) -> str:
    """`1 host`, `2 hosts`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"

"""A rehearsal as one page that needs nothing else: did it pass, what was proved and how, and what was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.catalogue.moments import FORM
from tasks.catalogue.values import show_memory
from tasks.reports.markup import Mark, quoted, templates
from tasks.reports.rehearsal_model import DrillResult, Rehearsal, RehearsedRole, Step
from tasks.reports.rehearsal_picture import Box, Picture
from tasks.reports.rehearsal_picture import draw as draw_picture
from tasks.reports.rehearsal_plot import HEIGHT, Plot
from tasks.reports.rehearsal_plot import draw as draw_plot
from tasks.reports.rehearsal_words import (
    DRILLED,
    Gap,
    drill_title,
    duration,
    figure_text,
    gaps,
    kinds,
    machine,
    rehearsed,
    scaled,
    verdict,
    versions,
)
from tasks.reports.words import number

# What is promised by these settings, in the words of the drills that measure it; another value speaks for itself.
WHEN_FULL = {
    "allkeys-lru": "evicts the least recently used",
    "volatile-lru": "evicts keys with a TTL only",
    "noeviction": "refuses writes",
}
MAY_LOSE = {"always": "nothing", "everysec": "at most two seconds"}


@dataclass(frozen=True)
class Proof:
    """One promise: whether it held, how that was seen, its figures and its plot."""

    result: DrillResult
    anchor: str
    mark: Mark
    drill: str
    took: str
    figures: tuple[tuple[str, str], ...]
    plot: Plot | None
    folded: bool


@dataclass(frozen=True)
class Section:
    """A role, or all hosts: what it is and what was proved of it. `left_out`: what was not, in one line each."""

    title: str
    anchor: str
    status: str
    mark: Mark
    facts: tuple[tuple[str, str], ...]
    proofs: tuple[Proof, ...]
    left_out: tuple[Gap, ...] = ()


@dataclass(frozen=True)
class Row:
    """One drill in the overview, with a mark for each role of it."""

    drill: str
    marks: tuple[Mark, ...]


def to_html(rehearsal: Rehearsal) -> str:
    """A page for people, on a screen or on paper: the verdict and what is open first, each promise below."""
    ordered = sorted(rehearsal.drills, key=lambda item: rehearsal.drill_names.index(item.drill))
    proofs = tuple(_proof(item, f"proof-{place}") for place, item in enumerate(ordered, 1))
    roles = tuple(_role_section(rehearsal, role, proofs) for role in rehearsal.roles)
    template = templates().get_template("rehearsal.html.j2")
    return template.render(
        rehearsal=rehearsal,
        verdict=verdict(rehearsal),
        verdict_status="held" if rehearsal.passed else "failed",
        moments=[
            (item.strftime(FORM), item.strftime("%Y-%m-%dT%H:%M:%SZ")) for item in (rehearsal.began, rehearsal.ended)
        ],
        took=duration(rehearsal.seconds),
        rehearsed=rehearsed(rehearsal),
        versions=(*kinds(rehearsal.hosts), *versions(rehearsal.hosts)),
        hosts=[(item, machine(item)) for item in rehearsal.hosts],
        counts=_counts(rehearsal),
        failed=[item for item in proofs if not item.result.passed],
        failed_steps=rehearsal.failed_steps,
        gaps=gaps(rehearsal.not_proved, (role.name for role in rehearsal.roles)),
        scaled=scaled(rehearsal),
        picture=_picture(rehearsal, roles),
        narrow_picture=_narrow_picture(rehearsal, roles),
        picture_label=_picture_label(rehearsal),
        titles=[section.title for section in roles],
        rows=_rows(rehearsal, proofs),
        sections=(*roles, *_hosts_section(proofs)),
        steps=[(item, _step_mark(rehearsal, item)) for item in rehearsal.steps],
        not_tried=Mark("not_run", "not tried"),
        duration=duration,
        plot_height=HEIGHT,
    )


def _counts(rehearsal: Rehearsal) -> list[Mark]:
    held = len(rehearsal.drills) - len(rehearsal.failed)
    parts = (
        ("held", held, f"{held} held", "proofs"),
        ("failed", len(rehearsal.failed), f"{len(rehearsal.failed)} failed", "open"),
        ("failed", len(rehearsal.failed_steps), f"{number(len(rehearsal.failed_steps), 'step')} failed", "open"),
        ("not_run", rehearsal.untried, f"{rehearsal.untried} not tried", "open"),
        ("scaled", len(rehearsal.scaled), f"{number(len(rehearsal.scaled), 'setting')} scaled", "scaled"),
    )
    return [Mark(status, text, link) for status, count, text, link in parts if count]


def _step_mark(rehearsal: Rehearsal, step: Step) -> Mark:
    """How a command went; the one that is the drills has gone as they did."""
    if step.name == DRILLED and rehearsal.failed:
        return Mark("failed", f"{len(rehearsal.failed)} did not hold")
    return Mark("held", "passed") if step.passed else Mark("failed", "failed")


def _proof(result: DrillResult, anchor: str) -> Proof:
    return Proof(
        result,
        anchor,
        Mark("held", "held") if result.passed else Mark("failed", "failed"),
        drill_title(result.drill),
        duration(result.seconds),
        tuple((name.replace("_", " "), figure_text(figure)) for name, figure in result.figures.items()),
        draw_plot(result.series),
        result.passed,
    )


def _title(rehearsal: Rehearsal, role: RehearsedRole) -> str:
    several = sum(item.name == role.name for item in rehearsal.roles) > 1
    return f"{role.name} on {role.host}" if several else role.name


def _sum(proofs: Sequence[Proof]) -> Mark:
    """How many of them held."""
    if not proofs:
        return Mark("not_run", "nothing proved")
    failed = sum(not item.result.passed for item in proofs)
    return Mark("failed", f"{failed} of {len(proofs)} failed") if failed else Mark("held", f"{len(proofs)} held")


def _role_section(rehearsal: Rehearsal, role: RehearsedRole, proofs: Sequence[Proof]) -> Section:
    own = tuple(item for item in proofs if (item.result.role, item.result.host) == (role.name, role.host))
    mark = _sum(own)
    left_out = (item for item in rehearsal.not_proved if item.role == role.name)
    return Section(
        _title(rehearsal, role),
        f"role-{quoted(role.name)}/{quoted(role.host)}",
        mark.status,
        mark,
        _role_facts(role),
        own,
        gaps(left_out, ()),
    )


def _role_facts(role: RehearsedRole) -> tuple[tuple[str, str], ...]:
    inner = f", inside the platform :{role.inner_port}" if role.inner_port not in (None, role.port) else ""
    policy, lose = role.maxmemory_policy, "all of it: no log"
    if role.appendonly:
        lose = f"{MAY_LOSE.get(role.appendfsync, 'what is not on the disk')} (appendfsync {role.appendfsync})"
    return (
        ("answers at", f"{role.address}:{role.port}{inner}"),
        ("memory", show_memory(role.maxmemory) if role.maxmemory else "no limit"),
        ("when full", f"{WHEN_FULL[policy]} ({policy})" if policy in WHEN_FULL else policy),
        ("may lose at a power cut", lose),
        ("used by", ", ".join(role.services)),
        ("on host", role.host),
    )


def _hosts_section(proofs: Sequence[Proof]) -> tuple[Section, ...]:
    """What was proved of whole machines, if anything was."""
    own = tuple(item for item in proofs if item.result.role is None)
    mark = _sum(own)
    return (Section("The hosts themselves", "hosts", mark.status, mark, (), own),) if own else ()


def _rows(rehearsal: Rehearsal, proofs: Sequence[Proof]) -> tuple[Row, ...]:
    """Every drill that somebody spoke of, role by role; a result of the whole host counts for all of its roles."""
    spoken = {item.result.drill for item in proofs} | {item.drill for item in rehearsal.not_run}
    return tuple(
        Row(drill_title(drill), tuple(_cell(drill, role, proofs) for role in rehearsal.roles))
        for drill in rehearsal.drill_names
        if drill in spoken
    )


def _cell(drill: str, role: RehearsedRole, proofs: Sequence[Proof]) -> Mark:
    here = [item for item in proofs if (item.result.drill, item.result.host) == (drill, role.host)]
    found = [item for item in here if item.result.role == role.name] or [
        item for item in here if item.result.role is None
    ]
    if not found:
        return Mark("not_run", "not tried")
    times = f"{len(found)} " if len(found) > 1 else ""
    failed = [item for item in found if not item.result.passed]
    if failed:
        return Mark("failed", f"{len(failed)} of {times}failed" if times else "failed", failed[0].anchor)
    return Mark("held", f"{times}held", found[0].anchor)


def _picture(rehearsal: Rehearsal, sections: Sequence[Section]) -> Picture:
    """Services, roles and hosts beside each other."""
    pairs = zip(rehearsal.roles, sections, strict=True)
    boxes = [(_box(role, section), role.host, role.services) for role, section in pairs]
    hosts = [Box(host.name, (host.address, f"Debian {host.debian}", f"Redis {host.redis}")) for host in rehearsal.hosts]
    return draw_picture(boxes, hosts)


def _narrow_picture(rehearsal: Rehearsal, sections: Sequence[Section]) -> Picture:
    """The same where there is no room for three columns: each role says which host it is on."""
    pairs = zip(rehearsal.roles, sections, strict=True)
    boxes = [(_box(role, section, f"on {role.host}"), "", role.services) for role, section in pairs]
    return draw_picture(boxes, ())


def _box(role: RehearsedRole, section: Section, *more: str) -> Box:
    memory = f"{show_memory(role.maxmemory)} {role.maxmemory_policy}"
    state = f"{section.mark.symbol} {section.mark.text}"
    lines = (f"{role.address}:{role.port}", memory, *more, state)
    return Box(section.title, lines, section.status, section.anchor)


def _picture_label(rehearsal: Rehearsal) -> str:
    services = Counter(service for role in rehearsal.roles for service in role.services)
    counted = (number(len(services), "service"), number(len(rehearsal.roles), "role"))
    return f"{' use '.join(counted)} on {number(len(rehearsal.hosts), 'host')}"

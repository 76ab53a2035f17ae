"""The words that the page of a rehearsal and its summary share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.reports.rehearsal_model import DRILLS, DrillResult, Figure, NotRun, Rehearsal, RehearsedHost, Scaled
from tasks.reports.words import number

_BINARY = ("bytes", "KiB", "MiB", "GiB", "TiB")


DRILLED = "drills, one after the other, each on every role at once"  # the step that they all are


@dataclass(frozen=True)
class Gap:
    """What was not proved for one reason; `roles` is empty when it is so of all of them."""

    drills: tuple[str, ...]
    roles: tuple[str, ...]
    why: str

    @property
    def drill_words(self) -> str:
        """`power cut, busy script`."""
        return ", ".join(map(drill_title, self.drills))

    @property
    def role_words(self) -> str:
        """`gateway, socket`, or that it is so of every role."""
        return ", ".join(self.roles) or "every role"


def drill_title(drill: str) -> str:
    """How people call a drill; one that is not known here by its own name."""
    return DRILLS.get(drill) or drill.replace("_", " ") or "(without a name)"


def verdict(rehearsal: Rehearsal) -> str:
    """Whether it passed and how much it proved, in one line."""
    if not rehearsal.drills:
        failed = [f"{number(len(rehearsal.failed_steps), 'step')} failed"] if rehearsal.failed_steps else []
        return "; ".join(["Nothing was proved: no drill was run", *failed])
    proved = number(len(rehearsal.drills), "promise")
    if rehearsal.passed:
        return f"Passed: {proved} held" + (f", {rehearsal.untried} not tried" if rehearsal.untried else "")
    parts = [f"{len(rehearsal.failed)} of {proved} did not hold"] if rehearsal.failed else []
    if rehearsal.failed_steps:
        parts.append(f"{number(len(rehearsal.failed_steps), 'step')} failed")
    return f"Failed: {', '.join(parts)}"


def duration(seconds: float) -> str:
    """`0.4 s`, `41 s`, `14 min 32 s`, `1 h 02 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if rest else f"{minutes} min"


def ran(results: Iterable[DrillResult]) -> tuple[str, ...]:
    """Each drill with how many of its promises held, and how long the slowest of its places took."""
    drills: dict[str, list[DrillResult]] = {}
    for item in results:
        drills.setdefault(item.drill, []).append(item)
    return tuple(
        f"{drill_title(drill)}: {sum(item.passed for item in found)} of {len(found)} held, "
        f"{duration(max(item.seconds for item in found))}"
        for drill, found in drills.items()
    )


def quantity(value: float) -> str:
    """A number to be read: thousands apart, three digits of what is measured."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.3g}"


def scale(unit: str, largest: float) -> tuple[float, str]:
    """By what to divide and which unit to write when values reach `largest`: bytes become what people read."""
    if unit != _BINARY[0]:
        return 1, unit
    power = 0
    while power < len(_BINARY) - 1 and abs(largest) >= 1024 ** (power + 1):
        power += 1
    return 1024**power, _BINARY[power]


def figure_text(figure: Figure) -> str:
    """The value with its unit."""
    if isinstance(figure.value, str):
        return f"{figure.value} {figure.unit}".strip()
    divisor, unit = scale(figure.unit, figure.value)
    value = figure.value if divisor == 1 else figure.value / divisor
    if isinstance(value, int) and value == 1 and len(unit) > 2 and unit.isalpha():
        unit = unit.removesuffix("s")
    return f"{quantity(value)} {unit}".strip()


def gaps(items: Iterable[NotRun], roles: Iterable[str]) -> tuple[Gap, ...]:
    """What was not proved, as few lines as say it: for one reason, drills that lack for the same roles are together."""
    every = set(roles)
    lacking: dict[tuple[str, str], dict[str | None, None]] = {}
    for item in items:
        lacking.setdefault((item.drill, item.why), {})[item.role] = None
    together: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for (drill, why), names in lacking.items():
        of = () if None in names or every <= set(names) else tuple(name for name in names if name is not None)
        together.setdefault((of, why), []).append(drill)
    return tuple(Gap(tuple(drills), of, why) for (of, why), drills in together.items())


def scaled(rehearsal: Rehearsal) -> tuple[Scaled, ...]:
    """What was made smaller, alike ones of several roles as one whose role is all of their names."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for item in rehearsal.scaled:
        alike.setdefault((item.setting, item.wanted, item.used), []).append(item.role or "every host")
    return tuple(Scaled(", ".join(roles), *rest) for rest, roles in alike.items())


def rehearsed(rehearsal: Rehearsal) -> tuple[tuple[str, str], ...]:
    """What was rehearsed, each with a small word before it."""
    parts = (
        ("inventory", rehearsal.inventory),
        ("commit", rehearsal.commit),
        ("deployed over", rehearsal.came_from),
        ("catalogue of", rehearsal.like),
    )
    return tuple((name, text) for name, text in parts if text is not None)


# What systemd-detect-virt says of those that `make rehearse` and the tests have; QEMU without KVM is `qemu`.
MACHINES = {"qemu": "emulated VM", "kvm": "VM", "systemd-nspawn": "container", "none": "machine of its own"}


def machine(host: RehearsedHost) -> str:
    """What a host is: another kind of machine by its own name."""
    return MACHINES.get(host.machine, host.machine) or "not seen"


def kinds(hosts: Iterable[RehearsedHost]) -> tuple[tuple[str, str], ...]:
    """What the hosts are, which is what times are to be read by; and how many."""
    found = Counter(machine(host) for host in hosts)
    if len(found) == 1:
        ((kind, times),) = found.items()
        return (("hosts", f"{times} × {kind}"),)
    return (("hosts", _counted(found)),) if found else ()


def versions(hosts: Iterable[RehearsedHost]) -> tuple[tuple[str, str], ...]:
    """`Redis`, `Debian` and `kernel` with the versions that the hosts ran, and how many of them where they differ."""
    all_hosts = tuple(hosts)
    found = {
        "Redis": Counter(host.redis or "not seen" for host in all_hosts),
        "Debian": Counter(host.debian or "not seen" for host in all_hosts),
        "kernel": Counter(host.kernel or "not seen" for host in all_hosts),
    }
    return tuple((name, _counted(counter)) for name, counter in found.items() if counter)


def _counted(counter: Counter[str]) -> str:
    if len(counter) == 1:
        return next(iter(counter))
    return ", ".join(f"{value} ({number(times, 'host')})" for value, times in counter.items())

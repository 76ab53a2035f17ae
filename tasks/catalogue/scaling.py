"""The memory sizes of a rehearsal's roles made smaller by one factor, `--data scale=0.25`, each of them named. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

from tasks.catalogue.clients import FIT, client_problem
from tasks.catalogue.directives import Settings, declared, directive
from tasks.catalogue.roles import Catalogue, Role, build_roles, merge
from tasks.catalogue.values import BUFFER_LIMITS, BYTES, BYTES_OR_PERCENT, Form, show_memory

SCALE = "scale"  # the factor by which it makes every memory size of them smaller
SIZES: Mapping[str, Form] = {
    name.replace("-", "_"): item.form
    for name, item in declared(Settings).items()
    if item.form in (BYTES, BYTES_OR_PERCENT, BUFFER_LIMITS)
}
MIB = 1 << 20
LEAST = {"maxmemory": 64 * MIB}  # what every drill can be run with (NEEDED in tasks/drills/plan.py)
LEAST_OF_OTHERS = MIB  # below that redis-server refuses client-query-buffer-limit [conf]


@dataclass(frozen=True)
class Smaller:
    """A setting of a role that was made smaller, as people write both values."""

    role: str
    setting: str
    wanted: str
    used: str


def factor(value: object) -> tuple[float, list[str]]:
    """The factor that `scale` says, 1.0 when nothing; and what is wrong with it."""
    if value is None:
        return 1.0, []
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        return 1.0, [f"{SCALE}={value}: expected a number above 0 and at most 1, as {SCALE}=0.25: correct it"]
    return float(value), []


def scaled_size(size: int, scale: float, least: int = LEAST_OF_OTHERS) -> int:
    """`size` bytes times `scale`, in whole MiB, at least `least`; never more than `size`, and 0 (no limit) stays."""
    return min(size, max(least, int(size * scale) // MIB * MIB))


def smaller_fields(role: Role, scale: float) -> dict[str, Any]:
    """The fields of a role that `scale` makes smaller, as overrides of it."""
    fields: dict[str, Any] = {}
    for name, form in SIZES.items():
        value = getattr(role, name)
        used = _limits(value, scale) if form is BUFFER_LIMITS else _scaled(name, value, scale)
        if used != value:
            fields[name] = used
    memory, clients = (fields.get(name, getattr(role, name)) for name in ("maxmemory", "maxmemory_clients"))
    if fields and client_problem(role.maxclients, memory, clients):
        fields["maxclients"] = FIT
    return fields


def _scaled(name: str, value: int | str, scale: float) -> int | str:
    """A size; of a percentage, what it is of is smaller already."""
    if isinstance(value, int):
        return scaled_size(value, scale, LEAST.get(name, LEAST_OF_OTHERS))
    return str(scaled_size(int(value), scale)) if value.isdigit() else value


def _limits(value: str, scale: float) -> str:
    """Of each class its hard and its soft limit, not its seconds."""
    words = value.split()
    sizes = [str(scaled_size(int(word), scale)) if number % 4 in (1, 2) else word for number, word in enumerate(words)]
    return " ".join(sizes)


def scaled_roles(
    catalogue: Catalogue, overrides: Mapping[str, Any], roles: tuple[Role, ...], scale: float
) -> tuple[tuple[Role, ...], tuple[Smaller, ...], list[str]]:
    """The roles made smaller, which of their settings are, and why they cannot be that small."""
    if scale == 1:
        return roles, (), []
    fields = {role.name: smaller_fields(role, scale) for role in roles}
    built, problems = build_roles(catalogue, merge(overrides, fields), f"{SCALE}={scale}")
    used = tuple(built[role.name] for role in roles if role.name in built)
    return used, tuple(item for pair in zip(roles, used, strict=False) for item in made_smaller(*pair)), problems


def made_smaller(wanted: Role, used: Role) -> list[Smaller]:
    """Every setting in which the role that is used is not the one that was wanted."""
    found = []
    before, after = _shown(wanted), _shown(used)
    for name in before:
        if before[name] != after[name]:
            found.append(Smaller(wanted.name, name, before[name], after[name]))
    return found


def _shown(role: Role) -> dict[str, str]:
    """Settings as people write them, each class of output buffers by itself."""
    shown: dict[str, str] = {}
    for name, text in role.directives().items():
        written, form = name.replace("-", "_"), directive(name).form
        if form is BUFFER_LIMITS:
            for kind, hard, soft, seconds in zip(*[iter(text.split())] * 4, strict=True):
                called = "replica" if kind == "slave" else kind
                shown[f"{written} {called}"] = f"{_size(hard)} {_size(soft)} {seconds}"
        else:
            shown[written] = _size(text) if form in (BYTES, BYTES_OR_PERCENT) else form.show(text)
    return shown


def _size(text: str) -> str:
    return show_memory(int(text)) if text.isdigit() else text


def fitting_scale(sizes: Sequence[int], room: float, scale: float = 1.0) -> float | None:
    """The largest `scale=`, in hundredths, with which roles of these maxmemory have room (bytes); None where none has.

    `scale`: what they have been scaled by already.
    """
    for hundredths in range(floor(scale * 100 + 1e-9), 0, -1):
        more = hundredths / 100 / scale
        if sum(scaled_size(size, more, LEAST["maxmemory"]) for size in sizes) <= room:
            return hundredths / 100
    return None


def smaller_overrides(
    catalogue: Catalogue, overrides: Mapping[str, Any], names: Sequence[str], scale: float
) -> tuple[dict[str, Any], list[str]]:
    """The overrides of roles with what `scale` makes smaller laid over them, and why that is not known."""
    chosen = {name: overrides[name] for name in names if name in overrides}
    if scale == 1:
        return chosen, []
    roles, problems = build_roles(catalogue, chosen, "redis_overrides")
    fields = {name: smaller_fields(roles[name], scale) for name in names if name in roles}
    return merge(chosen, {name: own for name, own in fields.items() if own}), problems

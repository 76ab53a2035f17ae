"""What is not as it should be with the standby of a role, beside its settings and files. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tasks.catalogue.moments import in_utc
from tasks.catalogue.standby import is_older
from tasks.compare.data_files import pieces
from tasks.compare.difference import ByHand, Difference, Remedy
from tasks.compare.pairs import Stance, stance
from tasks.desired.host import Host, Instance, Pair
from tasks.desired.paths import (
    begun_file,
    data_directory,
    handed_over_drop_in,
    manifest_file,
    moved_file,
    promoted_file,
    snapshot_file,
)
from tasks.observed.state import Observed

MEANT = (Stance.FOLLOWS, Stance.COPY)  # of whose data is known that it is a copy of its primary's


def standby_differences(desired: Host, observed: Observed) -> Iterator[Difference]:
    """What keeps a standby from its next start, what says that it serves, and data that its primary has newer.

    It is removed when the standby is told to follow (tasks/steps/standby.py): until then it is what it was.
    """
    for instance in desired.instances:
        if not instance.is_standby:
            continue
        role = instance.name
        drop_ins = observed.unit(instance.unit).get("DropInPaths", "").split()
        if handed_over_drop_in(role) in drop_ins:
            found = "keeps it from its next start"
            yield Difference(role, "file", handed_over_drop_in(role), "absent", found, Remedy.FOLLOW)
        for path, found in ((begun_file(role), "says that it serves here"), (moved_file(role), "says that it moved")):
            if path in observed.files:
                yield Difference(role, "file", path, "absent", found, Remedy.FOLLOW)
        if sets_aside(instance, observed):
            yield _of_before(instance, observed)


def of_standbys(differences: list[Difference], desired: Host, observed: Observed) -> list[Difference]:
    """The differences, in which a standby is not started as any server is: it follows its primary, if it can."""
    found = []
    for item in differences:
        instance = next((one for one in desired.instances if one.name == item.role and one.is_standby), None)
        pair = desired.pair_of(item.role or "")
        if instance is None or pair is None or observed.is_active(instance.unit):
            found.append(item)
        elif problem := version_problem(desired, observed, pair):
            if item.remedy == Remedy.START and item.name == instance.unit:
                expected = f"Redis {pair.primary} or newer, as its primary on {pair.peer}"
                found.append(replace(item, expected=expected, observed=f"stopped, {problem[0]}", remedy=problem[1]))
            elif item.remedy not in BEGINS:
                found.append(item)
        elif item.remedy == Remedy.START and item.name == instance.unit:
            found.append(replace(item, expected=f"a standby of {pair.peer}", remedy=Remedy.FOLLOW))
        else:
            found.append(item)
    return found


BEGINS = (Remedy.FOLLOW, Remedy.RENEW, Remedy.ENABLE)  # nothing of these is done with one that could not follow


def version_problem(desired: Host, observed: Observed, pair: Pair) -> tuple[str, ByHand] | None:
    """What a host has that cannot follow its primary, and what to do; None where it can."""
    own = desired.redis_version or observed.packages.get("redis-server") or observed.candidate
    if not is_older(own, pair.primary):
        return None
    advice = (
        "it cannot read what its primary has: install the newer one here (a newer Debian), then deploy; until then the "
        "role has no standby"
    )
    return f"and {own} is installed", ByHand(advice)


def ahead_of_standby(desired: Host, observed: Observed) -> Iterator[str]:
    """Roles whose server would be upgraded under a standby that could not read what it has from then on."""
    for instance in desired.instances:
        pair, server = desired.pair_of(instance.name), observed.servers.get(instance.name)
        if pair is None or instance.is_standby or server is None:
            continue
        is_now = is_older(pair.primary, server.info.get("redis_version"))
        if is_older(pair.primary, desired.redis_version) and not is_now:
            yield (
                f"{instance.name}: redis_version {desired.redis_version} is to be installed where it is served, and "
                f"its standby on {pair.peer} runs {pair.primary}, which could not read it, expected that one first: "
                f"upgrade {pair.peer}, hand over, then upgrade this host"
            )


def sets_aside(instance: Instance, observed: Observed) -> bool:
    """Whether a stopped standby has data that is no copy of its primary's, or that it could not begin with."""
    if observed.is_active(instance.unit) or not pieces(instance.name, observed):
        return False
    role = instance.role
    cut = (
        role.appendonly
        and manifest_file(role) not in observed.data_files
        and snapshot_file(role) in observed.data_files
    )
    # What makes it a copy at its next start may outlive that it served: what it wrote then, no other one has.
    served = any(path in observed.files for path in (begun_file(role.name), promoted_file(role.name)))
    return stance(instance, observed) not in MEANT or served or cut


def _of_before(instance: Instance, observed: Observed) -> Difference:
    """Nothing of it is deleted: it may have writes that its primary has not."""
    files = pieces(instance.name, observed)
    size = sum(observed.data_files[path] for path in files)
    newest = max((observed.stored[path].modified for path in files if path in observed.stored), default=0)
    when = f", written last {in_utc(newest)}" if newest else ""
    found = f"data of its own ({size} bytes{when})"
    return Difference(
        instance.name, "persistence", data_directory(instance.name), "what its primary has", found, Remedy.RENEW
    )

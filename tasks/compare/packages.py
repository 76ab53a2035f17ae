"""What keeps packages from being installed, said before anything is changed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasks.compare.difference import Difference, Remedy, chosen
from tasks.desired.host import Host
from tasks.observed.state import Apt


def packages_due(desired: Host, differences: Sequence[Difference]) -> list[str]:
    """What apt-get is to install: NAME, or NAME=VERSION."""
    due = [item.name for item in chosen(differences, "package", remedy=Remedy.INSTALL)]
    return [f"{name}={version}" if (version := desired.packages[name]) else name for name in due]


def apt_problems(packages: Sequence[str], apt: Apt) -> Iterator[str]:
    """Why apt would not install these; `thing: observed, expected, what to do`.

    Where apt has no list yet nobody knows what it would say: a deploy has it load some. While another is at work it
    will be another answer: that one is waited for.
    """
    for path in apt.unwritable:
        yield (
            f"{path}: cannot be written (a file system that is read-only, or an immutable directory), expected to be: "
            f"see findmnt -T {path} and lsattr -d {path}"
        )
    if apt.is_interrupted and not apt.is_at_work:
        yield "dpkg: was interrupted, expected nothing due: run dpkg --configure -a"
    if apt.group_of_user and apt.group_of_user != apt.group:
        found = f"which is group redis ({apt.group})" if apt.group else "and there is no group redis"
        yield (
            f"user redis: its group has number {apt.group_of_user}, {found}, expected group redis: "
            f"{'usermod -g redis redis' if apt.group else 'groupadd --system redis && usermod -g redis redis'}"
        )
    names = [package.partition("=")[0] for package in packages]
    held = sorted(set(names) & set(apt.held))
    if held:
        yield (
            f"packages: {', '.join(held)} held, expected free to be installed: apt-mark unhold {' '.join(held)}, or "
            "leave them as they are by redis_version"
        )
    if not apt.has_lists or apt.is_at_work:
        return
    missing = list(_not_offered(packages, apt))
    yield from missing
    if not missing and not held and apt.refuses:
        yield (
            f"packages: apt would not install {' '.join(packages)}: {'; '.join(apt.refuses[:3])}: see apt-get "
            f"--simulate install {' '.join(packages)}"
        )


def _not_offered(packages: Sequence[str], apt: Apt) -> Iterator[str]:
    """No source has the package, or not in that version."""
    for package in packages:
        name, _, version = package.partition("=")
        versions = apt.offered.get(name, ())
        without = f"Package '{name}' has no installation candidate"
        if not versions or without in apt.refuses:
            yield (
                f"packages: no source of apt offers {name}, expected Debian's main: see apt-cache policy {name}, which "
                "shows sources and pins"
            )
        elif version and version not in versions:
            yield (
                f"packages: no source of apt offers {name} {version}, expected one of {', '.join(versions)}: correct "
                "redis_version"
            )

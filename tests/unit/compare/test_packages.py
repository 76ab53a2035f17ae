"""What keeps packages from being installed (tasks/compare/packages.py), and how it is read."""

from dataclasses import replace

import pytest

from tasks.compare.host import compare
from tasks.compare.packages import apt_problems, packages_due
from tasks.observed.apt import read_apt
from tasks.observed.records import Unreadable
from tasks.observed.state import Apt
from tests.unit.builders import VERSION, desired, fresh

OFFERED = dict.fromkeys(("redis-server", "redis-tools"), (VERSION, "5:7.0.11-1"))
WELL = Apt(True, OFFERED, (), False, (), (), "", "")
PACKAGES = ["redis-server", "redis-tools"]


def said(apt: Apt, *packages: str) -> list[str]:
    return list(apt_problems(packages or PACKAGES, apt))


@pytest.mark.parametrize(
    "apt",
    [
        WELL,
        replace(WELL, held=("linux-image-amd64",)),
        replace(WELL, group_of_user="112", group="112"),
        replace(WELL, group="112"),
        replace(WELL, is_interrupted=True, refuses=("Unmet dependencies",), is_at_work=True),
        replace(WELL, has_lists=False, offered={}, refuses=("Package 'redis-server' has no installation candidate",)),
    ],
    ids=["well", "others held", "user there", "group there", "another at work", "no list yet"],
)
def test_an_apt_that_will_install_is_no_problem(apt: Apt) -> None:
    assert said(apt) == []


REFUSED = {
    "held": (
        replace(WELL, held=("redis-tools", "redis-server"), refuses=("Held packages were changed",)),
        "apt-mark unhold",
    ),
    "no candidate": (
        replace(WELL, refuses=tuple(f"Package '{name}' has no installation candidate" for name in PACKAGES)),
        "no source of apt offers redis-server, expected Debian's main",
    ),
    "unknown": (replace(WELL, offered={}), "no source of apt offers redis-server, expected Debian's main"),
    "interrupted": (replace(WELL, is_interrupted=True), "dpkg: was interrupted, expected nothing due: run dpkg"),
    "broken": (replace(WELL, refuses=("Unable to correct problems",)), "Unable to correct problems: see apt-get"),
    "immutable": (replace(WELL, unwritable=("/etc/redis",)), "/etc/redis: cannot be written"),
    "no group": (replace(WELL, group_of_user="997"), "and there is no group redis, expected group redis: groupadd"),
    "other group": (replace(WELL, group_of_user="997", group="112"), "which is group redis (112), expected group"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_apt_that_would_not_is_said_with_what_to_do(case: str) -> None:
    apt, words = REFUSED[case]
    found = said(apt)
    assert len(found) == (2 if case in ("no candidate", "unknown") else 1), found
    assert words in found[0]


def test_a_version_that_no_source_has_is_said_with_those_that_are_there() -> None:
    assert said(WELL, "redis-server=5:9.9.9-1") == [
        f"packages: no source of apt offers redis-server 5:9.9.9-1, expected one of {VERSION}, 5:7.0.11-1: correct "
        "redis_version"
    ]
    assert said(WELL, f"redis-server={VERSION}") == []


def test_packages_are_named_as_apt_takes_them() -> None:
    host = desired("crypto")
    pinned = replace(host, packages={**host.packages, "redis-server": VERSION})
    assert packages_due(pinned, compare(pinned, fresh(pinned))) == [
        *(f"{name}={VERSION}" if name == "redis-server" else name for name in sorted(host.packages))
    ]


def text(**parts: str) -> str:
    """What the script says, of an apt that is well but for these parts."""
    usual = {
        "lists": "3\n",
        "offered": "redis-server | 5:7.0 | main\nredis-server | 5:7.0 | deb-src\n",
        "held": "a\nb\n",
    }
    rest = {"interrupted": "0\n", "simulated": "E: no\n", "unwritable": "", "user": "", "group": "112\n"}
    return "".join(f"\0m {name}\n{said}" for name, said in {**usual, **rest, **parts, "end": ""}.items())


def test_what_a_host_says_of_its_apt_is_read() -> None:
    assert read_apt(text(), "m") == Apt(True, {"redis-server": ("5:7.0",)}, ("a", "b"), False, ("no",), (), "", "112")


@pytest.mark.parametrize("parts", [{"lists": "many"}, {"interrupted": ""}, {"lists": "1 2"}])
def test_what_none_says_is_not_read(parts: dict[str, str]) -> None:
    with pytest.raises(Unreadable):
        read_apt(text(**parts), "m")

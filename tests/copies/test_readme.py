"""What README says about a limit, a role, a directive and a check, done on copies of the repository.

Each copy is changed as a person would change it, and every file that is changed is one that README names.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tree import REPOSITORY

pytestmark = pytest.mark.copies

LEFT_OUT = (".git", ".venv", "secrets", ".*_cache", ".hypothesis", "__pycache__")
FAST = ("tests/unit", "tests/golden", "tests/plan")
CONTRACT = "tests/unit/catalogue/test_roles_file.py"
ONE_RED = f"{CONTRACT}::test_the_roles_are_exactly_what_the_platform_asked_for"
MEANT = "the roles are what the platform means now"


@dataclass
class Copy:
    """A copy of the repository, and the names of the files that were changed in it."""

    directory: Path
    changed: list[str]

    def edit(self, name: str, old: str, new: str) -> None:
        """`new` stands in the place of `old`, which is there once or more; the first one is meant."""
        file = self.directory / name
        text = file.read_text()
        assert old in text, f"{name} has no {old!r}"
        file.write_text(text.replace(old, new, 1))
        self.changed.append(name)

    def append(self, name: str, text: str) -> None:
        """`text` stands at the end."""
        with (self.directory / name).open("a") as file:
            file.write(text)
        self.changed.append(name)

    def run(self, *words: str) -> "subprocess.Popen[str]":
        """Python in the copy, under way."""
        return subprocess.Popen(
            [sys.executable, *words], cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def test(self, *paths: str) -> "subprocess.Popen[str]":
        """These tests in the copy, under way."""
        return self.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *paths)


def change_a_limit(copy: Copy) -> None:
    copy.edit("group_data/roles.yaml", "maxmemory: 256mb\n", "maxmemory: 384mb\n")


def mean_the_limit(copy: Copy) -> None:
    copy.edit(CONTRACT, '"maxmemory": 256 * MB', '"maxmemory": 384 * MB')
    copy.edit("README.md", "| gateway | 172.28.2.1:6379 | 256 MB |", "| gateway | 172.28.2.1:6379 | 384 MB |")


SEARCH = """
  search:
    purpose: Results of searches
    address: 172.28.2.6
    port: 6384
    maxmemory: 128mb
    maxmemory_policy: allkeys-lru
    services: [search-service]
    stores: [results]
    reason: may be lost, must not push out anything else
"""
SEARCH_ASKED_FOR = """ASKED_FOR: dict[str, dict[str, Any]] = {
    "search": {
        "address": "172.28.2.6",
        "port": 6384,
        "maxmemory": 128 * MB,
        "maxmemory_policy": "allkeys-lru",
        "services": ("search-service",),
        "stores": ("results",),
        "reason": "may be lost, must not push out anything else",
    },
"""


def add_a_role(copy: Copy) -> None:
    copy.append("group_data/roles.yaml", SEARCH)
    copy.append("inventory/prod.py", 'redis_search = [("redis-search", {"ssh_hostname": "172.28.2.6", **_root})]\n')
    copy.append("inventory/onebox.py", "redis_search = _host\n")


def mean_the_role(copy: Copy) -> None:
    copy.edit(CONTRACT, SEARCH_ASKED_FOR.partition("\n")[0] + "\n", SEARCH_ASKED_FOR)
    copy.edit("README.md", "| gateway |", "| search | 172.28.2.6:6384 | 128 MB | … |\n| gateway |")


CHECK = """

def _docker(observed: Observed) -> Iterator[str]:
    if observed.container == "docker":
        yield "container: docker, expected a machine with systemd: choose another machine"
"""
TEST_OF_CHECK = """

def test_a_docker_container_is_refused() -> None:
    host = desired("crypto")
    assert reasons(host, replace(as_desired(host), container="docker")) == [
        "container: docker, expected a machine with systemd: choose another machine"
    ]
"""


def add_a_check(copy: Copy) -> None:
    copy.append("tasks/compare/fitness.py", CHECK)
    copy.append("tests/unit/compare/test_fitness.py", TEST_OF_CHECK)


def name_the_check(copy: Copy) -> None:
    copy.edit(
        "tasks/compare/fitness.py",
        "        *_system(desired, observed),\n",
        "        *_system(desired, observed),\n        *_docker(observed),\n",
    )


@dataclass(frozen=True)
class Change:
    """One of README's changes in two steps: after the first, the fast tests have only these failures; then none."""

    heading: str
    first: Callable[[Copy], None]
    red: str
    then: Callable[[Copy], None]
    again: str  # the tests that the second step concerns


CHANGES = {
    "a limit": Change("A limit", change_a_limit, ONE_RED, mean_the_limit, CONTRACT),
    "a role": Change("A role", add_a_role, ONE_RED, mean_the_role, CONTRACT),
    "a check": Change(
        "A check",
        add_a_check,
        "tests/unit/compare/test_fitness.py::test_a_docker_container_is_refused",
        name_the_check,
        "tests/unit/compare",
    ),
}


@pytest.fixture(scope="module")
def under_way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Copy, "subprocess.Popen[str]"]]]:
    """The fast tests on all copies at once, each after the first step of its change."""
    runs = {}
    for name, change in CHANGES.items():
        directory = tmp_path_factory.mktemp("copy") / "repository"
        shutil.copytree(REPOSITORY, directory, ignore=shutil.ignore_patterns(*LEFT_OUT))
        copy = Copy(directory, [])
        change.first(copy)
        runs[name] = copy, copy.test(*FAST)
    yield runs
    for _, process in runs.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", CHANGES)
def test_what_readme_says_is_all_there_is_to_do(
    under_way: dict[str, tuple[Copy, "subprocess.Popen[str]"]], name: str
) -> None:
    change, (copy, process) = CHANGES[name], under_way[name]
    said = process.communicate(timeout=600)[0]
    assert re.findall(r"^FAILED (\S+)", said, re.MULTILINE) == [change.red], said
    assert re.search(r"\n1 failed, \d{4,} passed", said), said
    change.then(copy)
    again = copy.test(change.again)
    said = again.communicate(timeout=300)[0]
    assert again.returncode == 0, said
    steps = steps_of(change.heading)
    assert {path for path in copy.changed if not named(path, steps)} == set()


def steps_of(heading: str) -> str:
    """The lines below one of README's headings, of which there are at most six."""
    text = (REPOSITORY / "README.md").read_text().partition(f"\n### {heading}\n\n")[2].partition("\n\n")[0]
    assert 1 <= len(text.splitlines()) <= 6, text
    return text


def named(path: str, steps: str) -> bool:
    """Whether the steps name a file, or its folder; README calls its own table so."""
    folder = f"`{path.rpartition('/')[0]}/`"
    return f"`{path}`" in steps or folder in steps or (path == "README.md" and "the table above" in steps)

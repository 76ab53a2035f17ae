"""A copy of the repository, and README's changes of it, each as a person would make it: in two steps.

After the first step one test is red, which says what the second one is.
"""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.changed_tree import copied, declare_directive

CONTRACT = "tests/unit/catalogue/test_roles_file.py"


@dataclass
class Copy:
    """A copy of the repository, and the names of the files that were changed in it."""

    directory: Path
    changed: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, directory: Path) -> "Copy":
        """A fresh one at `directory`, where nothing is yet."""
        return cls(copied(directory))

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
    take_the_rendered_files(copy)


def change_what_a_service_may_do(copy: Copy) -> None:
    copy.edit(
        "group_data/roles.yaml", "services: [crypto-service]\n", "scripts: false\n    services: [crypto-service]\n"
    )


def add_a_directive(copy: Copy) -> None:
    line = "lfu_decay_time: Annotated[Count, Directive(MEMORY)]"
    declare_directive(copy.directory, line, after="maxmemory_clients", value="lfu_decay_time: 2  # minutes [evict]")
    copy.changed += ["tasks/catalogue/directives.py", "group_data/roles.yaml"]


def take_the_rendered_files(copy: Copy) -> None:
    update = copy.run("-m", "tests.golden.update")
    said = update.communicate(timeout=60)[0]
    assert update.returncode == 0, said
    copy.changed += [line.split()[1] for line in said.splitlines()]


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
    first = "_system(desired, observed), "
    copy.edit("tasks/compare/fitness.py", first, f"{first}_docker(observed), ")

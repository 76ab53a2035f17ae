"""What README says about a limit, a role, a directive and a check, done on copies of the repository.

Each copy is changed as a person would change it, and every file that is changed is one that README names.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.copies.changes import (
    CONTRACT,
    Copy,
    add_a_check,
    add_a_directive,
    add_a_role,
    change_a_limit,
    change_what_a_service_may_do,
    mean_the_limit,
    mean_the_role,
    name_the_check,
    take_the_rendered_files,
)
from tests.tree import REPOSITORY

pytestmark = pytest.mark.copies

FAST = ("tests/unit", "tests/golden", "tests/plan")
PURE = ("tests/unit/catalogue", "tests/unit/reports", "tests/golden")
# What a check, and a directive, may concern; a role, which concerns everything, has all of them.
OF_CHECKS = ("tests/unit/compare", "tests/unit/run", "tests/unit/reports", "tests/unit/test_runbook.py")
OF_DIRECTIVES = (*PURE, "tests/unit/compare", "tests/unit/steps/test_throwaway.py")
ONE_RED = f"{CONTRACT}::test_the_roles_are_exactly_what_the_platform_asked_for"
RIGHTS = f"{CONTRACT}::test_the_page_about_rights_says_what_the_catalogue_does"
RENDERED = r"tests/golden/test_golden.py::test_a_rendered_file_is_the_committed_one\[.*/etc/redis/\w+\.conf\]"


@dataclass(frozen=True)
class Change:
    """One of README's changes in two steps: after the first, the fast tests have only these failures; then none."""

    heading: str
    first: Callable[[Copy], None]
    red: str  # what the name of every failure is; a regular expression
    then: Callable[[Copy], None]
    again: str  # the tests that the second step concerns
    fast: tuple[str, ...] = FAST  # fewer where the change reaches no others
    reds: int = 1  # how many tests are red; several of one kind where it is 0


CHANGES = {
    "a limit": Change("A limit", change_a_limit, ONE_RED, mean_the_limit, CONTRACT, PURE),
    "a role": Change("A role", add_a_role, f"{ONE_RED}|{RIGHTS}", mean_the_role, CONTRACT, reds=2),
    "rights": Change(
        "What a service may do", change_what_a_service_may_do, RIGHTS, take_the_rendered_files, CONTRACT, PURE
    ),
    "a directive": Change(
        "A directive", add_a_directive, RENDERED, take_the_rendered_files, "tests/golden", OF_DIRECTIVES, reds=0
    ),
    "a check": Change(
        "A check",
        add_a_check,
        "tests/unit/compare/test_fitness.py::test_a_docker_container_is_refused",
        name_the_check,
        "tests/unit/compare",
        OF_CHECKS,
    ),
}


class Runs:
    """The fast tests on a copy for each change, after its first step: two at a time, for there are clocks in them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.begun: dict[str, tuple[Copy, subprocess.Popen[str]]] = {}

    def of(self, name: str) -> tuple[Copy, "subprocess.Popen[str]"]:
        """The run of one change; that of the next is under way as well."""
        at = list(CHANGES).index(name)
        for coming in list(CHANGES)[at : at + 2]:
            if coming not in self.begun:
                copy = Copy.at(self.directory / coming.replace(" ", "-"))
                CHANGES[coming].first(copy)
                self.begun[coming] = copy, copy.test(*CHANGES[coming].fast)
        return self.begun[name]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs that nobody waits for end with the last test."""
    runs = Runs(tmp_path_factory.mktemp("copies"))
    yield runs
    for _, process in runs.begun.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", CHANGES)
def test_what_readme_says_is_all_there_is_to_do(runs: Runs, name: str) -> None:
    change, (copy, process) = CHANGES[name], runs.of(name)
    said = process.communicate(timeout=1800)[0]
    failed = re.findall(r"^FAILED (\S+)", said, re.MULTILINE)
    assert failed, said
    assert [test for test in failed if not re.fullmatch(change.red, test)] == [], said
    assert len(failed) == change.reds or not change.reds
    assert re.search(rf"\n{len(failed)} failed, \d{{4,}} passed", said), said  # the others ran
    change.then(copy)
    again = copy.test(change.again)
    said = again.communicate(timeout=900)[0]
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
    folders = [f"`{parent}/`" for parent in Path(path).parents]
    known = any(name in steps for name in (f"`{path}`", *folders))
    return known or (path == "README.md" and "the table above" in steps)

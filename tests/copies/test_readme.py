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
# They run pytest on files of their own, for half a minute, and know nothing of the tier.
LEFT_OUT = ("tests/unit/test_side_by_side.py", "tests/unit/test_without_root.py")
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
    concerns: tuple[str, ...]  # the tests that turn red, and green again, and those that another change turns red
    reds: int = 1  # how many tests are red; several of one kind where it is 0


CATALOGUE = (CONTRACT, "tests/golden")
CHANGES = {
    "a limit": Change("A limit", change_a_limit, ONE_RED, mean_the_limit, CATALOGUE),
    "a role": Change("A role", add_a_role, f"{ONE_RED}|{RIGHTS}", mean_the_role, CATALOGUE, reds=2),
    "rights": Change("What a service may do", change_what_a_service_may_do, RIGHTS, take_the_rendered_files, CATALOGUE),
    "a directive": Change("A directive", add_a_directive, RENDERED, take_the_rendered_files, CATALOGUE, reds=0),
    "a check": Change(
        "A check",
        add_a_check,
        "tests/unit/compare/test_fitness.py::test_a_docker_container_is_refused",
        name_the_check,
        ("tests/unit/compare",),
    ),
}


@pytest.fixture(scope="module")
def of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator["subprocess.Popen[str]"]:
    """All fast tests on a copy with the first step of every change: under way while the others are."""
    copy = Copy.at(tmp_path_factory.mktemp("copies") / "all")
    for change in CHANGES.values():
        change.first(copy)
    process = copy.test(*FAST, *(f"--ignore={path}" for path in LEFT_OUT))
    yield process
    process.kill()
    process.communicate()


def failures(said: str, passed: str) -> list[str]:
    """Names of the tests that failed, in what pytest printed; some did, and the others passed."""
    failed = re.findall(r"^FAILED (\S+)", said, re.MULTILINE)
    assert failed, said
    assert re.search(rf"\n{len(failed)} failed, {passed} passed", said), said  # no errors, and the others ran
    return failed


@pytest.mark.parametrize("name", CHANGES)
def test_what_readme_says_is_all_there_is_to_do(of_all: "subprocess.Popen[str]", tmp_path: Path, name: str) -> None:
    change, copy = CHANGES[name], Copy.at(tmp_path / "copy")
    change.first(copy)
    failed = failures(said := copy.test(*change.concerns).communicate(timeout=900)[0], r"\d{2,}")
    assert [test for test in failed if not re.fullmatch(change.red, test)] == [], said
    assert len(failed) == change.reds or not change.reds
    change.then(copy)
    again = copy.test(*change.concerns)
    said = again.communicate(timeout=900)[0]
    assert again.returncode == 0, said
    steps = steps_of(change.heading)
    assert {path for path in copy.changed if not named(path, steps)} == set()


def test_no_other_test_turns_red_by_any_of_the_changes(of_all: "subprocess.Popen[str]") -> None:
    said = of_all.communicate(timeout=1800)[0]
    known = "|".join(f"({change.red})" for change in CHANGES.values())
    assert [test for test in failures(said, r"\d{4,}") if not re.fullmatch(known, test)] == [], said


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

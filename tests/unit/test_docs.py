"""What README.md, CONTRIBUTING.md and docs/ call by name is there."""

import re
from pathlib import Path

import pytest

from tests.tree import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
ROOM = re.compile(r"^\| `(\w+)/` \|.*\| (.*) \|$", re.MULTILINE)
NAMED = re.compile(r"`([\w.]+\.py)`: ((?:`\w+`(?:, )?)+)")
PATH = re.compile(r"(?<![\w/.<])(?:tasks|tests|docs|group_data|inventory|templates)/[\w./-]*\w(?![\w*<{])")
IN_A_ROOM = re.compile(r"`((?:catalogue|desired|observed|compare|reports|run|steps|prove|drills)/\w+\.py)`")


def missing(text: str) -> list[str]:
    """Paths in a text that no file or folder of the repository has."""
    paths = [*PATH.findall(text), *(f"tasks/{name}" for name in IN_A_ROOM.findall(text))]
    return [path for path in paths if not list(REPOSITORY.glob(f"{path}*"))]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(REPOSITORY)) for page in PAGES])
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    assert missing(page.read_text()) == []


def test_a_path_that_is_not_there_is_found() -> None:
    assert missing("see tasks/nothing.py and `compare/nobody.py`, not `compare/host.py`") == [
        "tasks/nothing.py",
        "tasks/compare/nobody.py",
    ]


def test_the_way_of_a_setting_goes_through_every_room_in_order_and_names_what_is_there() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    rooms = dict(ROOM.findall(text))
    order = next(line.strip() for line in text.splitlines() if line.startswith("    catalogue →"))
    assert list(rooms) == order.split(" → ")
    for room, cell in rooms.items():
        found = NAMED.findall(cell)
        assert found, room
        for file, names in found:
            code = (REPOSITORY / "tasks" / room / file).read_text()
            for name in re.findall(r"`(\w+)`", names):
                assert re.search(rf"^(?:def|class) {name}\b", code, re.MULTILINE), f"{room}/{file}: no {name}"

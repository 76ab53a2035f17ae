"""Each of README's changes can be made: what the copies' tests find out after many minutes, in a second for each."""

from pathlib import Path

import pytest

from tests.copies.changes import Copy
from tests.copies.test_readme import CHANGES


@pytest.mark.parametrize("name", CHANGES)
def test_both_steps_of_a_change_find_what_they_edit(tmp_path: Path, name: str) -> None:
    copy = Copy.at(tmp_path / "copy")
    CHANGES[name].first(copy)
    CHANGES[name].then(copy)


def test_each_can_be_made_where_all_others_are(tmp_path: Path) -> None:
    copy = Copy.at(tmp_path / "copy")
    for change in CHANGES.values():
        change.first(copy)
    for change in CHANGES.values():
        change.then(copy)

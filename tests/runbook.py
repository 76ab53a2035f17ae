"""docs/runbook.md as data: its entries, the words that they quote, the commands that they give."""

import re
from dataclasses import dataclass

from tests.tree import REPOSITORY

RUN_BY = re.compile(r"^<!-- run by (\S+)::(\w+) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """One heading and what stands below it."""

    heading: str
    text: str

    @property
    def anchor(self) -> str:
        """As GitHub makes it of the heading."""
        return self.heading.lower().replace(" ", "-")

    @property
    def quotes(self) -> list[str]:
        """What one sees, each in one line."""
        return re.findall(r"^> (.*)$", self.text, re.MULTILINE)

    @property
    def commands(self) -> list[str]:
        """What one runs, in order."""
        return re.findall(r"^    (\S.*)$", self.text, re.MULTILINE)

    @property
    def edits(self) -> list[str]:
        """What is written into group_data/roles.yaml, indented as it stands there."""
        return re.findall(r"^    ( {2,}\S.*)$", self.text, re.MULTILINE)

    @property
    def inline(self) -> list[str]:
        """What stands between backticks in its sentences and tables."""
        return re.findall(r"`([^`\n]+)`", self.text)

    @property
    def run_by(self) -> list[tuple[str, str]]:
        """The tests that run it: file, name."""
        return RUN_BY.findall(self.text)


def fragments(quote: str) -> list[str]:
    """What of a quote is said word for word."""
    return [part.strip() for part in quote.split("…") if part.strip()]


def entries() -> dict[str, Entry]:
    """The runbook's entries by anchor."""
    _, *parts = re.split(r"^## ", (REPOSITORY / "docs" / "runbook.md").read_text(), flags=re.MULTILINE)
    found = [Entry(*part.split("\n", 1)) for part in parts]
    return {entry.anchor: entry for entry in found}

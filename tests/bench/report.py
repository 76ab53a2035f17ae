"""What the measured runs say: medians, spreads, ratios to pyinfra's floor, and the table of them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

FLOOR = "exec -- true"
TARGETS = {"deploy.py": 2.5, "tasks/drift.py": 2.0}  # at most so many times the floor, on 5 hosts and on 40
HEADINGS = ("", "median s", "min–max s", "× floor", "CPU s", "peak MiB")


@dataclass(frozen=True)
class Cost:
    """One run on the controller: seconds of wall clock, seconds of CPU (user and system), peak memory in MiB."""

    wall: float
    cpu: float
    peak: float


Costs = Mapping[str, Sequence[Cost]]  # command → its runs, the floor among them


def ratio(costs: Costs, command: str) -> float:
    """The median wall time of `command` in medians of the floor."""
    return median(cost.wall for cost in costs[command]) / median(cost.wall for cost in costs[FLOOR])


def missed(costs: Costs) -> list[str]:
    """One line per target that was not reached; a command that was not measured has none."""
    ratios = {command: (ratio(costs, command), most) for command, most in TARGETS.items() if command in costs}
    return [
        f"target missed: {command} took {found:.2f} × `{FLOOR}`, expected at most {most}"
        for command, (found, most) in ratios.items()
        if found > most
    ]


def table(costs: Costs) -> str:
    """One row per command, in the order given."""
    rows = [HEADINGS, *(_row(costs, command) for command in costs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _row(costs: Costs, command: str) -> tuple[str, ...]:
    walls = [cost.wall for cost in costs[command]]
    return (
        command,
        f"{median(walls):.2f}",
        f"{min(walls):.2f}–{max(walls):.2f}",
        f"{ratio(costs, command):.2f}",
        f"{median(cost.cpu for cost in costs[command]):.2f}",
        f"{max(cost.peak for cost in costs[command]):.0f}",
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])

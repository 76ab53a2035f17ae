"""How a run ends before pyinfra would end it: refused with all the reasons, or done with an exit code."""

from __future__ import annotations

from collections.abc import Iterable

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import State
from pyinfra_cli.exceptions import CliError

from tasks.catalogue.printable import printable


class Refusal(CliError, PyinfraError):
    """The run stops before anything is changed; the message says all the reasons.

    A PyinfraError so that no layer takes it for a fault of the program, a CliError so that it is shown without
    the place in the code that raised it.
    """


class Finished(CliError, PyinfraError):
    """The command is done: pyinfra disconnects and exits with this code, asking and executing nothing.

    Commands that only read end so: pyinfra would ask for confirmation, which needs a terminal.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code

    def show(self, file: object = None) -> None:
        """All has been said already."""


def fail_in_the_end(state: State, names: Iterable[str]) -> None:
    """The run exits non-zero for these hosts; everything else of it goes on as it would."""
    state.failed_hosts.update(host for host in state.inventory if host.name in names)


def listed(title: str, problems: list[str]) -> str:
    """`title`, the number of problems and one line for each: none of what came from outside begins another."""
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    return "\n    ".join([f"{title} ({count}):", *map(printable, problems)])

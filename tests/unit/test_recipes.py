"""README's units of status and of drift: the same but for their names, and each as often as alerts expect it.

That they work is tried on a host: tests/hosts/test_recipes.py.
"""

import re
import textwrap

import pytest

from tasks.reports.alerts import STATUS_AGE
from tests.tree import REPOSITORY

NAMES = {"status": "caas-redis-status.prom", "drift": "caas-redis.prom"}


def block(name: str) -> dict[str, str]:
    """The settings of the indented block of README that begins by naming the file; ExecStart and others once each."""
    text = (REPOSITORY / "README.md").read_text()
    (found,) = re.findall(rf"^    # (?:\S*/)?{re.escape(name)}\n((?:    .*\n)+)", text, re.MULTILINE)
    lines = [line for line in textwrap.dedent(found).splitlines() if not line.startswith(("#", "["))]
    return dict(line.partition("=")[::2] for line in lines)


def of_unit(what: str) -> dict[str, str]:
    """What both units say alike."""
    own = ("Description", "TimeoutStartSec", "RuntimeDirectory", "ExecStopPost")
    settings = block(f"caas-redis-{what}.service")
    return {
        name: value.partition(" --data")[0].replace(f"tasks/{what}.py", "tasks/IT.py")
        for name, value in settings.items()
        if name not in own
    }


def test_status_has_a_unit_as_drift_has_one() -> None:
    assert of_unit("status") == of_unit("drift")


@pytest.mark.parametrize("what", NAMES)
def test_what_is_written_is_what_the_collector_gets(what: str) -> None:
    settings = block(f"caas-redis-{what}.service")
    file = f"/run/{settings['RuntimeDirectory']}/{NAMES[what]}"
    assert settings["ExecStart"].endswith(f"tasks/{what}.py --data {what}_metrics={file}")
    assert f"install -m 0644 {file} .{NAMES[what].removesuffix('.prom')}.new " in settings["ExecStopPost"]
    assert settings["ExecStopPost"].endswith(f" {NAMES[what]}'")
    assert settings["ExecStopPost"].startswith("+/bin/sh -c ")


def test_status_runs_each_minute_and_not_at_random() -> None:
    timer = block("caas-redis-status.timer")
    assert timer == {"OnCalendar": "minutely", "AccuracySec": "1s", "WantedBy": "timers.target"}
    assert STATUS_AGE >= 5 * 60

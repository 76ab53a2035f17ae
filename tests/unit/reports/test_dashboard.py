"""monitoring/dashboard.json is what follows from the data of tasks/reports/dashboard.py."""

import json
import re
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

from tasks.reports import to_metrics
from tasks.reports.dashboard import DEPTH, GLANCE, WIDTH, to_dashboard
from tasks.reports.status_metrics import to_status_metrics
from tasks.reports.status_model import StatusReport
from tests.tree import REPOSITORY
from tests.unit.reports.preview import samples

DASHBOARD: dict[str, Any] = json.loads(to_dashboard())
QUERIES = [query for panel in (*GLANCE, *DEPTH) for query in panel.queries]


def test_the_file_is_as_it_is_rendered_now() -> None:
    assert (REPOSITORY / "monitoring" / "dashboard.json").read_text() == to_dashboard()


def test_no_panel_covers_another_and_each_is_within_the_grid() -> None:
    panels = DASHBOARD["panels"]
    places = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in panels)
    ]
    assert not [pair for pair in combinations(places, 2) if pair[0] & pair[1]]
    assert max(x for place in places for x, _ in place) == WIDTH - 1


def test_each_panel_has_a_number_of_its_own_and_says_what_it_shows() -> None:
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    assert all(panel["description"] for panel in DASHBOARD["panels"] if panel["type"] != "row")


def test_the_second_part_is_of_the_chosen_role_and_the_first_of_all() -> None:
    assert all('role="$role"' in query.expr for panel in DEPTH for query in panel.queries)
    assert not any("$role" in query.expr for panel in GLANCE for query in panel.queries)


def test_our_own_metrics_are_those_that_are_written() -> None:
    written = to_metrics(samples()["nobody"]) + to_status_metrics(StatusReport(datetime.now(UTC), (), 1))
    there = set(re.findall(r"^# TYPE (caas_redis_\w+) ", written, re.MULTILINE))
    named = {name for query in QUERIES for name in re.findall(r"caas_redis_\w+", query.expr)}
    assert named <= there
    assert len(named) > 15

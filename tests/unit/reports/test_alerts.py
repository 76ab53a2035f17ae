"""monitoring/alerts.yaml is what follows from the data of tasks/reports/alerts.py."""

import re
from datetime import UTC, datetime

import pytest

from tasks.compare.unwell import Code
from tasks.reports import to_metrics
from tasks.reports.alerts import ALERTS, WORDS, to_alerts
from tasks.reports.status_metrics import to_status_metrics
from tasks.reports.status_model import StatusReport
from tests.tree import REPOSITORY
from tests.unit.reports.preview import samples

NAMES = r"caas_redis_\w+"


def test_the_file_is_as_it_is_rendered_now() -> None:
    assert (REPOSITORY / "monitoring" / "alerts.yaml").read_text() == to_alerts()


def test_no_two_alerts_have_one_name() -> None:
    names = [item.name for item in ALERTS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("code", Code)
def test_every_health_code_has_its_alert(code: Code) -> None:
    assert code in WORDS
    assert [item for item in ALERTS if f'code="{code}"' in item.expr.split(" unless ")[0]]


def test_alerts_speak_only_of_metrics_that_there_are() -> None:
    written = to_metrics(samples()["nobody"]) + to_status_metrics(StatusReport(datetime.now(UTC), (), 1))
    there = set(re.findall(rf"^# TYPE ({NAMES}) ", written, re.MULTILINE))
    assert {name for item in ALERTS for name in re.findall(NAMES, item.expr)} <= there

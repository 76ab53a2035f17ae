"""monitoring/alerts.yaml is what follows from the data of tasks/reports/alerts.py."""

import pytest

from tasks.compare.unwell import Code
from tasks.reports.alerts import ALERTS, WORDS, to_alerts
from tests.tree import REPOSITORY


def test_the_file_is_as_it_is_rendered_now() -> None:
    assert (REPOSITORY / "monitoring" / "alerts.yaml").read_text() == to_alerts()


def test_no_two_alerts_have_one_name() -> None:
    names = [item.name for item in ALERTS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("code", Code)
def test_every_health_code_has_its_alert(code: Code) -> None:
    assert code in WORDS
    assert [item for item in ALERTS if f'code="{code}"' in item.expr.split(" unless ")[0]]

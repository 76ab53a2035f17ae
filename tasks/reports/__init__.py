"""The drift report: one model of what a check found, and a rendering for each reader of it.

Pure: no pyinfra, no clock. Every rendering says what the differences say and nothing besides. What a rehearsal
proved has a model and renderings of its own, `rehearsal_*.py`, and shares the look of the page.
"""

from tasks.reports.files import write_whole
from tasks.reports.json_text import to_json
from tasks.reports.metrics import to_metrics
from tasks.reports.model import DriftReport, HostReport, Status
from tasks.reports.page import to_html
from tasks.reports.table import to_table

__all__ = ["DriftReport", "HostReport", "Status", "to_html", "to_json", "to_metrics", "to_table", "write_whole"]

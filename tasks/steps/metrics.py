"""Metrics: the exporter runs as its unit and its files are now. After everything that it logs in to."""

from __future__ import annotations

from tasks.compare.difference import Remedy, chosen
from tasks.desired.paths import METRICS_UNIT, UNITS
from tasks.observed.script import script
from tasks.run.survey import Look
from tasks.steps.operations import run_commands

PATIENCE = 15  # seconds until it listens: it needs some milliseconds, and on a host that is busy a few seconds


def serve_metrics(seen: Look) -> None:
    """The exporter serves, started with what it should have. Its restart costs nobody more than one scrape."""
    item = seen.desired.exporter
    if item is not None and _is_due(seen):
        command = script("start-exporter", unit=METRICS_UNIT, address=item.address, port=item.port, patience=PATIENCE)
        run_commands(name="Start the exporter of metrics", commands=[command])


def _is_due(seen: Look) -> bool:
    units = [item for item in chosen(seen.differences, "unit") if item.name == METRICS_UNIT]
    started = any(item.remedy in (Remedy.START, Remedy.AFRESH) for item in units)
    # Whoever edits its unit may have started it with that.
    unit_file = any(item.name == f"{UNITS}/{METRICS_UNIT}" for item in chosen(seen.differences, "file"))
    return started or unit_file or bool(chosen(seen.differences, "listener", remedy=Remedy.AFRESH))

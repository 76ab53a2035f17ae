"""The tier in Grafana: data, and monitoring/dashboard.json as it follows from them (`make monitoring`). Pure.

It names no role: which ones there are, Prometheus is asked. What stands in the first part is what tasks/status.py and
tasks/drift.py write; the second part is of one role that is chosen, and has the exporter's series, too, where
`redis_metrics` is set: those of 1.45 (Debian 12) and 1.69 (13) alike, each with its role as a label.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tasks.compare.loading import END_OF_LOG
from tasks.reports.alerts import DRIFT_TIME, STATUS_AGE, STATUS_TIME

Kind = Literal["stat", "bargauge", "timeseries", "table"]
WIDTH = 24  # of Grafana's grid
SOURCE = {"type": "prometheus", "uid": "${source}"}
ALL, ONE = 'role=~".+"', 'role="$role"'
STATUS = "caas_redis_status_"
RATE = "[$__rate_interval]"
# Grafana's schema as of version 9, which later ones migrate by themselves.
SCHEMA = 36
BLUE, GREEN, YELLOW, RED = "blue", "green", "yellow", "red"
Steps = tuple[tuple[float | None, str], ...]  # from this value on, this colour
NO_STEPS: Steps = ((None, BLUE),)
GOOD_IS_ONE: Steps = ((None, RED), (1, GREEN))
BAD_IS_ONE: Steps = ((None, GREEN), (1, RED))


@dataclass(frozen=True)
class Query:
    """One query, and how its series are called. `plain`: its colour says nothing, whatever its value."""

    expr: str
    legend: str = "{{role}}"
    plain: bool = False


@dataclass(frozen=True)
class Panel:
    """One picture. `words`: what stands in place of a value. `w`, `h`: of the grid."""

    title: str
    says: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    unit: str = "short"
    steps: Steps = NO_STEPS
    words: Mapping[int, str] | None = None
    most: float | None = None
    names: bool = False  # of a stat: the series' name is what is to be read
    w: int = 8
    h: int = 7


def _of_role(metric: str, legend: str) -> Query:
    return Query(f"{STATUS}{metric}{{{ONE}}}", legend)


def _rate(metric: str, legend: str) -> Query:
    return Query(f"rate(redis_{metric}{{{ONE}}}{RATE})", legend)


GLANCE = (
    Panel(
        "Alerts",
        "What fires now; each names its entry of docs/runbook.md.",
        (Query('count by (alertname, severity, host, role) (ALERTS{alertname=~"Redis.+",alertstate="firing"})'),),
        "table",
        w=12,
    ),
    Panel(
        "Roles",
        "What each role does. One whose host was not looked at is missing here: see Hosts.",
        (
            Query(f'max by (role, state) ({STATUS}state{{state="up"}})', "{{role}} {{state}}"),
            Query(f'max by (role, state) ({STATUS}state{{state!="up"}}) - 1', "{{role}} {{state}}"),
        ),
        "stat",
        steps=GOOD_IS_ONE,
        names=True,
        w=12,
        h=4,
    ),
    Panel(
        "Hosts",
        "What the last look at each host ended with.",
        (
            Query(f'max by (host, status) ({STATUS}host{{status="in_sync"}})', "{{host}} {{status}}"),
            Query(f'max by (host, status) ({STATUS}host{{status!="in_sync"}}) - 1', "{{host}} {{status}}"),
        ),
        "stat",
        steps=GOOD_IS_ONE,
        names=True,
        w=12,
        h=3,
    ),
    Panel(
        "Memory of maxmemory",
        "A role that evicts any key is full by design, and blue; the others are to stay below.",
        (
            Query(f'{STATUS}memory_bytes{{policy!~"allkeys.*"}} / {STATUS}memory_limit_bytes'),
            Query(f'{STATUS}memory_bytes{{policy=~"allkeys.*"}} / {STATUS}memory_limit_bytes', plain=True),
        ),
        "bargauge",
        unit="percentunit",
        steps=((None, GREEN), (0.8, YELLOW), (0.95, RED)),
        most=1,
    ),
    Panel(
        "Clients of maxclients",
        "Beyond it nobody else gets in.",
        (Query(f"{STATUS}clients / {STATUS}clients_limit"),),
        "bargauge",
        unit="percentunit",
        steps=((None, GREEN), (0.8, YELLOW), (0.95, RED)),
        most=1,
    ),
    Panel(
        "Evictions",
        "Keys dropped for want of memory, a second.",
        (Query(f"rate({STATUS}evicted_keys[15m])"),),
        unit="cps",
    ),
    Panel(
        "Hit ratio",
        "Reads that found their key, since each server's start.",
        (Query(f"{STATUS}hit_ratio"),),
        "bargauge",
        unit="percentunit",
        most=1,
    ),
    Panel(
        "Log",
        "Whether Redis reports of its log or its snapshot that it could not be written.",
        (Query(f'max by (role) ({STATUS}broken{{what!="{END_OF_LOG}"}}) or max by (role) ({STATUS}state) * 0'),),
        "stat",
        steps=BAD_IS_ONE,
        words={0: "written", 1: "broken"},
    ),
    Panel(
        "Drift",
        "Whether each role was as desired when it was last compared.",
        (Query("min by (role) (caas_redis_in_sync)"),),
        "stat",
        steps=GOOD_IS_ONE,
        words={0: "drifted, or not seen", 1: "in sync"},
    ),
    Panel(
        "Age of copies off the host",
        "None is shown of a role that is not backed up.",
        (Query(f"{STATUS}backup_age_seconds"),),
        "bargauge",
        unit="s",
    ),
    Panel(
        "Age of proofs of copies",
        "When a server last loaded a copy.",
        (Query(f"{STATUS}proof_age_seconds"),),
        "bargauge",
        unit="s",
    ),
    Panel(
        "Age of what is shown here",
        "Status runs each minute, drift each hour.",
        (Query(f"time() - {STATUS_TIME}", "status"), Query(f"time() - {DRIFT_TIME}", "drift", plain=True)),
        "stat",
        unit="s",
        steps=((None, GREEN), (STATUS_AGE, RED)),
    ),
)
DEPTH = (
    Panel(
        "Not well",
        "Health codes: README, Watching for drift.",
        (Query(f"max by (code, severity) ({STATUS}health{{{ONE}}})"),),
        "table",
    ),
    Panel(
        "Up",
        "Since its start; restarts by systemd since somebody started it.",
        (_of_role("up_seconds", "up"),),
        "stat",
        unit="s",
        w=4,
    ),
    Panel("Restarts", "By systemd itself.", (_of_role("restarts", "restarts"),), "stat", steps=BAD_IS_ONE, w=4),
    Panel("Keys", "Of all databases.", (_of_role("keys", "keys"),)),
    Panel(
        "Memory",
        "What the server uses, and may.",
        (_of_role("memory_bytes", "used"), _of_role("memory_limit_bytes", "maxmemory")),
        unit="bytes",
    ),
    Panel(
        "Clients",
        "Connected, and those that wait for something (BLPOP and the like).",
        (
            _of_role("clients", "connected"),
            _of_role("clients_limit", "maxclients"),
            Query(f"redis_blocked_clients{{{ONE}}}", "blocked"),
        ),
    ),
    Panel("Commands", "A second.", (_rate("commands_processed_total", "commands"),), unit="ops"),
    Panel(
        "Commands by kind",
        "The ten that are sent most.",
        (Query(f"topk(10, rate(redis_commands_total{{{ONE}}}{RATE}))", "{{cmd}}"),),
        unit="ops",
    ),
    Panel(
        "Time of a command",
        "On average, of the ten that take most in all.",
        (
            Query(
                f"rate(redis_commands_duration_seconds_total{{{ONE}}}{RATE}) "
                f"/ rate(redis_commands_total{{{ONE}}}{RATE}) "
                f"and topk(10, rate(redis_commands_duration_seconds_total{{{ONE}}}{RATE}))",
                "{{cmd}}",
            ),
        ),
        unit="s",
    ),
    Panel(
        "Hit ratio",
        "Of the moment.",
        (
            Query(
                f"rate(redis_keyspace_hits_total{{{ONE}}}{RATE}) / (rate(redis_keyspace_hits_total{{{ONE}}}{RATE}) "
                f"+ rate(redis_keyspace_misses_total{{{ONE}}}{RATE}))",
                "hits",
            ),
        ),
        unit="percentunit",
        most=1,
    ),
    Panel(
        "Keys that go",
        "A second: dropped for want of memory, and expired.",
        (_rate("evicted_keys_total", "evicted"), _rate("expired_keys_total", "expired")),
        unit="cps",
    ),
    Panel(
        "Connections",
        "A second: taken, and turned away at maxclients.",
        (_rate("connections_received_total", "taken"), _rate("rejected_connections_total", "turned away")),
        unit="cps",
    ),
    Panel(
        "Network",
        "Received and sent.",
        (_rate("net_input_bytes_total", "received"), _rate("net_output_bytes_total", "sent")),
        unit="Bps",
    ),
    Panel(
        "Log and disk",
        "The log, what of it was written anew last, and the room that is left.",
        (
            Query(f"redis_aof_current_size_bytes{{{ONE}}}", "log"),
            Query(f"redis_aof_base_size_bytes{{{ONE}}}", "written anew"),
            _of_role("disk_free_bytes", "free"),
        ),
        unit="bytes",
    ),
    Panel(
        "Waiting for the disk",
        "Writes that wait now, and writes a second that had to.",
        (Query(f"redis_aof_pending_bio_fsync{{{ONE}}}", "wait now"), _rate("aof_delayed_fsync", "had to")),
    ),
    Panel(
        "Rewrites",
        "1 while the log is written anew: memory and disk are needed twice.",
        (Query(f"redis_aof_rewrite_in_progress{{{ONE}}}", "log"),),
        most=1,
    ),
)


def to_dashboard() -> str:
    """The dashboard as Grafana imports it."""
    panels = [*_row("All roles", GLANCE, 1, 0)]
    below = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)  # type: ignore[index]
    panels += _row("$role", DEPTH, len(panels) + 1, below)
    document = {
        "uid": "caas-redis",
        "title": "CAAS Redis tier",
        "description": "Written by make monitoring, from tasks/reports/dashboard.py: change it there.",
        "tags": ["redis"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [_source(), _role()]},
        "annotations": {"list": []},
        "panels": panels,
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _source() -> dict[str, object]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1}


def _role() -> dict[str, object]:
    return {
        "name": "role",
        "label": "Role",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": f"label_values({STATUS}memory_limit_bytes, role)", "refId": "role"},
        "refresh": 2,  # whenever the time changes: roles come and go
        "sort": 1,
    }


def _row(title: str, items: tuple[Panel, ...], first: int, y: int) -> Iterator[dict[str, object]]:
    """A row's heading and its panels, from left to right; a line is as high as the highest of it."""
    yield {
        "id": first,
        "type": "row",
        "title": title,
        "collapsed": False,
        "panels": [],
        "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
    }
    x, y, highest = 0, y + 1, 0
    for number, item in enumerate(items, first + 1):
        if x + item.w > WIDTH:
            x, y, highest = 0, y + highest, 0
        yield _panel(item, number, {"x": x, "y": y, "w": item.w, "h": item.h})
        x, highest = x + item.w, max(highest, item.h)


def _panel(item: Panel, number: int, place: Mapping[str, int]) -> dict[str, object]:
    defaults: dict[str, object] = {
        "unit": item.unit,
        "min": 0,
        "color": {"mode": "palette-classic" if item.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": name} for value, name in item.steps]},
    }
    if item.most is not None:
        defaults["max"] = item.most
    if item.words:
        texts = {str(value): {"text": text} for value, text in item.words.items()}
        defaults["mappings"] = [{"type": "value", "options": texts}]
    if item.kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "never"}
    names = [chr(ord("A") + place) for place in range(len(item.queries))]
    return {
        "id": number,
        "type": item.kind,
        "title": item.title,
        "description": item.says,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [_target(item, query, name) for query, name in zip(item.queries, names, strict=True)],
        "fieldConfig": {
            "defaults": defaults,
            "overrides": [_plain(name) for query, name in zip(item.queries, names, strict=True) if query.plain],
        },
        "options": _options(item),
        **({"transformations": [_columns()]} if item.kind == "table" else {}),
    }


def _target(item: Panel, query: Query, name: str) -> dict[str, object]:
    now = item.kind != "timeseries"
    return {
        "refId": name,
        "datasource": SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": now,
        "range": not now,
        "format": "table" if item.kind == "table" else "time_series",
    }


def _plain(name: str) -> dict[str, object]:
    fixed = {"id": "color", "value": {"mode": "fixed", "fixedColor": BLUE}}
    return {"matcher": {"id": "byFrameRefID", "options": name}, "properties": [fixed]}


def _columns() -> dict[str, object]:
    """A table is its labels; time and value say nothing."""
    return {"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True}}}


def _options(item: Panel) -> dict[str, object]:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match item.kind:
        case "stat":
            mode = "name" if item.names else "value_and_name"
            return {"reduceOptions": last, "colorMode": "background", "graphMode": "none", "textMode": mode}
        case "bargauge":
            return {"reduceOptions": last, "orientation": "horizontal", "displayMode": "basic"}
        case "table":
            return {"showHeader": True}
        case "timeseries":
            legend = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


if __name__ == "__main__":
    sys.stdout.write(to_dashboard())

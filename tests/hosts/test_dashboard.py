"""The dashboard: of Grafana's own schema, and each query answers what it should in Debian's Prometheus."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.reports.dashboard import DEPTH, GLANCE, Panel
from tests.lab.tools import grafana_schema, prometheus
from tests.tree import REPOSITORY

pytestmark = pytest.mark.hosts

DASHBOARD = REPOSITORY / "monitoring" / "dashboard.json"
SCHEMA = Path(__file__).parent / "grafana" / "schema.py"


def outside(text: str) -> str:
    """What of a dashboard is not of the schema."""
    words = [sys.executable, str(SCHEMA)]
    environment = {**os.environ, "PYTHONPATH": str(grafana_schema())}
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == bool(done.stdout), done.stderr
    return done.stdout


def test_it_is_of_grafana_s_schema() -> None:
    assert outside(DASHBOARD.read_text()) == ""


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('"textMode"', '"textMood"', "textMood: the schema has no such field"),
        ('"displayMode": "basic"', '"displayMode": "simple"', "'simple', expected one of"),
        ('"h": 7', '"h": "7"', "'7' is no int"),
        ('"type": "query"', '"type": "ask"', "'ask', expected one of"),
        ('"instant": true', '"instant": "yes"', "'yes' is no bool"),
    ],
)
def test_what_grafana_would_not_take_is_found(right: str, wrong: str, said: str) -> None:
    text = DASHBOARD.read_text()
    assert right in text
    assert said in outside(text.replace(right, wrong, 1))


# --- Queries

CRYPTO = 'host="redis-crypto",role="crypto",policy="noeviction"'
GATEWAY = 'host="redis-gateway",role="gateway",policy="allkeys-lru"'
OF_CRYPTO, OF_GATEWAY = (
    'instance="redis://172.28.2.5:6383",role="crypto"',
    'instance="redis://172.28.2.1:6379",role="gateway"',
)
COUNTED = "0+60x60"  # one a second


def of_status(name: str, crypto: str, gateway: str | None = None) -> dict[str, str]:
    both = {CRYPTO: crypto, GATEWAY: gateway}
    return {f"caas_redis_status_{name}{{{where}}}": value for where, value in both.items() if value is not None}


def of_exporter(name: str, crypto: str, labels: str = "") -> dict[str, str]:
    """Of crypto; gateway's is there, too, and another one."""
    return {f"redis_{name}{{{OF_CRYPTO}{labels}}}": crypto, f"redis_{name}{{{OF_GATEWAY}{labels}}}": "77+7x60"}


SERIES: Mapping[str, str] = {
    f'caas_redis_status_state{{{CRYPTO},state="up"}}': "1x60",
    f'caas_redis_status_state{{{GATEWAY},state="busy"}}': "1x60",
    'caas_redis_status_host{host="redis-crypto",status="in_sync"}': "1x60",
    'caas_redis_status_host{host="redis-socket",status="unreachable"}': "1x60",
    'ALERTS{alertname="RedisBusy",alertstate="firing",severity="critical",host="redis-gateway",role="gateway"}': "1x60",
    'ALERTS{alertname="RedisDrifted",alertstate="pending",severity="warning",host="redis-crypto"}': "1x60",
    'ALERTS{alertname="DiskOfAnother",alertstate="firing",severity="warning",host="web"}': "1x60",
    **of_status("memory_bytes", "100x60", "50x60"),
    **of_status("memory_limit_bytes", "400x60", "100x60"),
    **of_status("clients", "10x60", "90x60"),
    **of_status("clients_limit", "100x60", "100x60"),
    **of_status("evicted_keys", "0x60", COUNTED),
    **of_status("hit_ratio", "0.25x60", "1x60"),
    f'caas_redis_status_broken{{{CRYPTO},what="aof_last_write_status"}}': "1x60",
    'caas_redis_in_sync{host="redis-crypto",role="crypto"}': "0x60",
    'caas_redis_in_sync{host="redis-gateway",role="gateway"}': "1x60",
    **of_status("backup_age_seconds", "3600x60"),
    **of_status("proof_age_seconds", "86400x60"),
    "caas_redis_status_timestamp_seconds": "0+60x60",
    "caas_redis_drift_check_timestamp_seconds": "0x60",
    f'caas_redis_status_health{{{CRYPTO},code="MEM-FULL",severity="critical"}}': "1x60",
    f'caas_redis_status_health{{{GATEWAY},code="EVICTED",severity="warning"}}': "1x60",
    **of_status("up_seconds", "500x60", "600x60"),
    **of_status("restarts", "2x60", "0x60"),
    **of_status("keys", "7x60", "8x60"),
    **of_status("disk_free_bytes", "9000x60", "8000x60"),
    **of_exporter("blocked_clients", "3x60"),
    **of_exporter("commands_processed_total", COUNTED),
    **of_exporter("commands_total", COUNTED, ',cmd="get"'),
    **of_exporter("commands_duration_seconds_total", "0+30x60", ',cmd="get"'),
    **of_exporter("keyspace_hits_total", "0+180x60"),
    **of_exporter("keyspace_misses_total", COUNTED),
    **of_exporter("evicted_keys_total", "0x60"),
    **of_exporter("expired_keys_total", COUNTED),
    **of_exporter("connections_received_total", COUNTED),
    **of_exporter("rejected_connections_total", "0x60"),
    **of_exporter("net_input_bytes_total", "0+6000x60"),
    **of_exporter("net_output_bytes_total", "0+12000x60"),
    **of_exporter("aof_current_size_bytes", "4000x60"),
    **of_exporter("aof_base_size_bytes", "1000x60"),
    **of_exporter("aof_pending_bio_fsync", "1x60"),
    **of_exporter("aof_delayed_fsync", COUNTED),
    **of_exporter("aof_rewrite_in_progress", "1x60"),
}
Sample = tuple[str, float]


def whole(name: str, crypto: float) -> list[Sample]:
    return [(f"{name}{{{CRYPTO}}}", crypto)]


def status(name: str, crypto: float) -> list[Sample]:
    return whole(f"caas_redis_status_{name}", crypto)


def exporter(name: str, crypto: float) -> list[Sample]:
    return [(f"{name}{{{OF_CRYPTO}}}", crypto)]


BOTH = [f"{{{CRYPTO}}}", f"{{{GATEWAY}}}"]
# Part and panel → what each of its queries answers at minute 30, when crypto is the chosen role.
EXPECTED: dict[tuple[str, str], list[list[Sample]]] = {
    ("all", "Alerts"): [[('{alertname="RedisBusy",severity="critical",host="redis-gateway",role="gateway"}', 1)]],
    ("all", "Roles"): [[('{role="crypto",state="up"}', 1)], [('{role="gateway",state="busy"}', 0)]],
    ("all", "Hosts"): [
        [('{host="redis-crypto",status="in_sync"}', 1)],
        [('{host="redis-socket",status="unreachable"}', 0)],
    ],
    ("all", "Memory of maxmemory"): [[(BOTH[0], 0.25)], [(BOTH[1], 0.5)]],
    ("all", "Clients of maxclients"): [[(BOTH[0], 0.1), (BOTH[1], 0.9)]],
    ("all", "Evictions"): [[(BOTH[0], 0), (BOTH[1], 1)]],
    ("all", "Hit ratio"): [
        [(f"caas_redis_status_hit_ratio{BOTH[0]}", 0.25), (f"caas_redis_status_hit_ratio{BOTH[1]}", 1)]
    ],
    ("all", "Log"): [[('{role="crypto"}', 1), ('{role="gateway"}', 0)]],
    ("all", "Drift"): [[('{role="crypto"}', 0), ('{role="gateway"}', 1)]],
    ("all", "Age of copies off the host"): [status("backup_age_seconds", 3600)],
    ("all", "Age of proofs of copies"): [status("proof_age_seconds", 86400)],
    ("all", "Age of what is shown here"): [[("{}", 0)], [("{}", 1800)]],
    ("one", "Not well"): [[('{code="MEM-FULL",severity="critical"}', 1)]],
    ("one", "Up"): [status("up_seconds", 500)],
    ("one", "Restarts"): [status("restarts", 2)],
    ("one", "Keys"): [status("keys", 7)],
    ("one", "Memory"): [status("memory_bytes", 100), status("memory_limit_bytes", 400)],
    ("one", "Clients"): [status("clients", 10), status("clients_limit", 100), exporter("redis_blocked_clients", 3)],
    ("one", "Commands"): [exporter("", 1)],
    ("one", "Commands by kind"): [[(f'{{{OF_CRYPTO},cmd="get"}}', 1)]],
    ("one", "Time of a command"): [[(f'{{{OF_CRYPTO},cmd="get"}}', 0.5)]],
    ("one", "Hit ratio"): [exporter("", 0.75)],
    ("one", "Keys that go"): [exporter("", 0), exporter("", 1)],
    ("one", "Connections"): [exporter("", 1), exporter("", 0)],
    ("one", "Network"): [exporter("", 100), exporter("", 200)],
    ("one", "Log and disk"): [
        exporter("redis_aof_current_size_bytes", 4000),
        exporter("redis_aof_base_size_bytes", 1000),
        status("disk_free_bytes", 9000),
    ],
    ("one", "Waiting for the disk"): [exporter("redis_aof_pending_bio_fsync", 1), exporter("", 1)],
    ("one", "Rewrites"): [exporter("redis_aof_rewrite_in_progress", 1)],
}
PANELS: dict[tuple[str, str], Panel] = {
    (part, panel.title): panel for part, panels in (("all", GLANCE), ("one", DEPTH)) for panel in panels
}


def asked(expr: str) -> str:
    """A query as Grafana sends it for the chosen role."""
    return expr.replace("$role", "crypto").replace("$__rate_interval", "5m")


def answers(
    directory: Path, expected: Mapping[tuple[str, str], list[list[Sample]]]
) -> subprocess.CompletedProcess[str]:
    checks: list[dict[str, Any]] = [
        {
            "expr": asked(query.expr),
            "eval_time": "30m",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in samples],
        }
        for key, every in expected.items()
        for query, samples in zip(PANELS[key].queries, every, strict=True)
    ]
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": checks}
    file = directory / "tests.yaml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    words = [str(prometheus() / "promtool"), "test", "rules", str(file)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120)


def test_each_query_answers_what_its_panel_says(tmp_path: Path) -> None:
    assert EXPECTED.keys() == PANELS.keys()
    done = answers(tmp_path, EXPECTED)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_query_that_answers_otherwise_is_found(tmp_path: Path) -> None:
    done = answers(tmp_path, {("one", "Keys"): [status("keys", 8)]})
    assert done.returncode != 0


def test_what_the_dashboard_asks_is_what_was_tried() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    sent = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert sent == [query.expr for panel in (*GLANCE, *DEPTH) for query in panel.queries]


def test_the_choice_of_a_role_asks_for_a_metric_that_every_role_has() -> None:
    (role,) = [item for item in json.loads(DASHBOARD.read_text())["templating"]["list"] if item["name"] == "role"]
    assert role["query"]["query"] == "label_values(caas_redis_status_memory_limit_bytes, role)"

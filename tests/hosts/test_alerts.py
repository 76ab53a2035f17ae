"""The alerts in Debian's Prometheus: each fires for what it is about and nothing else; a healthy tier is quiet."""

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import redis
import yaml

from tasks.compare.runbook import OF_PERSISTENCE
from tasks.compare.unwell import Code
from tasks.reports.alerts import ALERTS, COUNTED, CRITICAL
from tests.hosts.conftest import TABLE, Tier, output, overriding, wait_for
from tests.hosts.test_status import looping
from tests.lab.tools import prometheus
from tests.runbook import entries
from tests.tree import REPOSITORY

pytestmark = pytest.mark.hosts

RULES = REPOSITORY / "monitoring" / "alerts.yaml"
SMALL = overriding({"crypto": {"maxmemory": "16mb", "maxclients": 80}})
WHERE = 'host="redis-5",role="crypto",policy="noeviction"'
CACHE = 'host="redis-1",role="gateway",policy="allkeys-lru"'
UP = f'caas_redis_status_state{{{WHERE},state="up"}}'
HOST_ERROR = 'caas_redis_status_host{host="redis-5",status="error"}'
HEALTHY = {
    "caas_redis_status_timestamp_seconds": "0+60x120",
    "caas_redis_drift_check_timestamp_seconds": "0+60x120",
    f'caas_redis_status_state{{{WHERE},state="up"}}': "1x120",
    'caas_redis_status_host{host="redis-5",status="in_sync"}': "1x120",
    'caas_redis_drift_host_status{host="redis-5",status="in_sync"}': "1x120",
}


def word(code: Code) -> str:
    return "Redis" + "".join(part.capitalize() for part in code.split("-"))


def health(code: Code, severity: str) -> dict[str, str]:
    return {f'caas_redis_status_health{{{WHERE},code="{code}",severity="{severity}"}}': "1x120"}


def counted(code: Code, values: str, limit: float = 1, where: str = WHERE) -> dict[str, str]:
    """What a server has counted since its start, and how much of it an hour is too much."""
    labels = f'{{{where},code="{code}"}}'
    return {f"caas_redis_status_counted{labels}": values, f"caas_redis_status_counted_limit{labels}": f"{limit}x120"}


def state(name: str) -> dict[str, str | None]:
    return {UP: None, f'caas_redis_status_state{{{WHERE},state="{name}"}}': "1x120"}


BROKEN = {f'caas_redis_status_broken{{{WHERE},what="aof_last_write_status"}}': "1x120"}
# Alert → the series that raise it, beside a tier that is well otherwise; None: the series that is not there.
CASES: dict[str, Mapping[str, str | None]] = {
    "RedisDown": state("down"),
    "RedisBusy": state("busy"),
    "RedisNoConnection": state("no room"),
    "RedisSilent": state("silent"),
    "RedisNotSeen": {**state("unknown"), f'caas_redis_status_not_told{{{WHERE},entry="secrets-lost"}}': "1x120"},
    "RedisLoadsLong": state("loading"),
    **{word(code): health(code, "critical") for code in CRITICAL},
    **{f"{word(code)}Warning": health(code, "warning") for code in Code if code not in COUNTED},
    **{f"{word(code)}Warning": counted(code, "0x30 2x30") for code in COUNTED},
    "RedisLogBroken": {**BROKEN, **counted(Code.WRITES_REFUSED, "0x30 2x30")},
    "RedisMemFull": {**health(Code.MEM_FULL, "critical"), **counted(Code.WRITES_REFUSED, "0x30 2x30")},
    "RedisClientsFull": {**health(Code.CLIENTS_FULL, "critical"), **counted(Code.REFUSED_CLIENTS, "0x30 2x30")},
    "RedisLogCutOff": {f'caas_redis_status_broken{{{WHERE},what="end of the log"}}': "1x120"},
    "RedisFlaps": {UP: "1 stale " * 60, f'caas_redis_status_state{{{WHERE},state="down"}}': "stale 1 " * 60},
    "RedisNeverUp": {
        UP: None,
        f'caas_redis_status_state{{{WHERE},state="starting"}}': "1 stale stale stale stale " * 24,
        f'caas_redis_status_state{{{WHERE},state="loading"}}': "stale 1 1 1 1 " * 24,
    },
    "RedisHostNotSeen": {'caas_redis_status_host{host="redis-5",status="unreachable"}': "1x120"},
    "RedisDrifted": {'caas_redis_drift_host_status{host="redis-5",status="drifted"}': "1x120"},
    "RedisNotKnown": {'caas_redis_not_known{host="redis-5",entry="secrets-lost"}': "1x120"},
    "RedisStatusOld": {"caas_redis_status_timestamp_seconds": "0x120"},
    "RedisDriftCheckOld": {"caas_redis_drift_check_timestamp_seconds": None},
}
HOURLY = {"RedisDrifted": "100m", "RedisNotKnown": "100m"}  # two checks, one an hour


def firing(count: Mapping[str, int], at: str) -> dict[str, Any]:
    samples = [{"labels": f'{{alertname="{name}"}}', "value": number} for name, number in count.items()]
    expr = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {"expr": expr, "eval_time": at, "exp_samples": samples}


def promtool(directory: Path, tests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    file = directory / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    words = [str(prometheus() / "promtool"), "test", "rules", str(file)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120)


def case(name: str, series: Mapping[str, str | None], expected: Mapping[str, int], at: str = "40m") -> dict[str, Any]:
    known = {**HEALTHY, **series}
    values = [{"series": key, "values": value} for key, value in known.items() if value is not None]
    checks = [firing({}, "0m"), firing(expected, at)] if name != "RedisStatusOld" else [firing(expected, at)]
    return {"name": name, "interval": "1m", "input_series": values, "promql_expr_test": checks}


def test_each_alert_fires_for_its_own_and_no_other_does(tmp_path: Path) -> None:
    assert CASES.keys() == {item.name for item in ALERTS}
    done = promtool(
        tmp_path, [case(name, series, {name: 1}, HOURLY.get(name, "40m")) for name, series in CASES.items()]
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_series_of_a_healthy_tier_raise_none_at_any_minute_of_an_hour(tmp_path: Path) -> None:
    healthy = case("healthy", {}, {})
    healthy["promql_expr_test"] = [firing({}, f"{minute}m") for minute in range(61)]
    done = promtool(tmp_path, [healthy])
    assert done.returncode == 0, done.stdout + done.stderr
    assert promtool(tmp_path, [case("healthy", CASES["RedisDown"], {})]).returncode != 0


# What happens → the series of it beside a tier that is well otherwise (None: none), and the alerts at minute 40.
HAPPENS: dict[str, tuple[Mapping[str, str | None], set[str]]] = {
    "a look at a host failed": ({HOST_ERROR: "1x120", UP: None}, {"RedisHostNotSeen"}),
    "a host is unreachable now, and its look fails then": (
        {
            HOST_ERROR: "1 stale " * 30,
            'caas_redis_status_host{host="redis-5",status="unreachable"}': "stale 1 " * 30,
            UP: None,
        },
        {"RedisHostNotSeen"},
    ),
    "one role of a host does not tell all": ({HOST_ERROR: "1x120"}, set()),
    "a role goes from one trouble to the next": (
        {
            UP: None,
            f'caas_redis_status_state{{{WHERE},state="down"}}': "1 1 stale stale " * 15,
            f'caas_redis_status_state{{{WHERE},state="silent"}}': "stale stale 1 1 " * 15,
        },
        {"RedisFlaps"},
    ),
    "a role is up at every other look": (
        {UP: "1 stale " * 30, f'caas_redis_status_state{{{WHERE},state="down"}}': "stale 1 " * 30},
        {"RedisFlaps"},
    ),
    "a role starts, loads and ends, again and again": (
        {
            UP: None,
            f'caas_redis_status_state{{{WHERE},state="starting"}}': "1 stale stale stale stale " * 12,
            f'caas_redis_status_state{{{WHERE},state="loading"}}': "stale 1 1 1 1 " * 12,
        },
        {"RedisNeverUp"},
    ),
    "a role was down for ten minutes, and is up": (
        {UP: "1x19 stale _x9 1x40", f'caas_redis_status_state{{{WHERE},state="down"}}': "_x20 1x10 stale"},
        set(),
    ),
    "a host was added and is not deployed yet": (state("absent"), set()),
    "a host was installed anew": (
        {UP: "1x9 stale", f'caas_redis_status_state{{{WHERE},state="absent"}}': "_x10 1x60"},
        {"RedisDown"},
    ),
    "one look meets a restart": (
        {UP: "1x38 stale _ 1x20", f'caas_redis_status_state{{{WHERE},state="down"}}': "_x39 1 1 stale"},
        set(),
    ),
    "two looks meet a full role": (
        {f'caas_redis_status_health{{{WHERE},code="MEM-FULL",severity="critical"}}': "_x39 1 1 stale"},
        set(),
    ),
    "one check finds a drift": (
        {'caas_redis_drift_host_status{host="redis-5",status="drifted"}': "_x4 1x60 _x120"},
        set(),
    ),
    "writes are refused after a hundred days": (
        counted(Code.WRITES_REFUSED, "5x30 2005x30"),
        {"RedisWritesRefusedWarning"},
    ),
    "a slow disk, less than the limit": (counted(Code.DISK_SLOW, "0+0.5x120", limit=60), set()),
    "a slow disk": (counted(Code.DISK_SLOW, "0+2x120", limit=60), {"RedisDiskSlowWarning"}),
    "a burst long ago, of which health still speaks": (
        {**counted(Code.REFUSED_CLIENTS, "1000x120"), **health(Code.REFUSED_CLIENTS, "warning")},
        set(),
    ),
    "counters set back": (counted(Code.WRITES_REFUSED, "2000x30 0x30"), set()),
    "a role that was full, and is no more": (
        {
            f'caas_redis_status_health{{{WHERE},code="MEM-FULL",severity="critical"}}': "_x9 1x9 stale",
            **counted(Code.WRITES_REFUSED, "0x9 50x50"),
        },
        set(),
    ),
    "a cache evicts as ever": (counted(Code.EVICTED, "0+2x120", 900, CACHE), set()),
    "a cache evicts far more than it holds": (counted(Code.EVICTED, "0+60x120", 900, CACHE), {"RedisEvictedWarning"}),
    "a cache that evicted once, and is idle": (
        {
            **counted(Code.EVICTED, "10000x120", 0.1, CACHE),
            f'caas_redis_status_health{{{CACHE},code="EVICTED",severity="warning"}}': "1x120",
        },
        set(),
    ),
    "keys that were to stay were dropped, whenever": (
        {**counted(Code.EVICTED, "3x120"), **health(Code.EVICTED, "warning")},
        {"RedisEvictedWarning"},
    ),
}


@pytest.mark.parametrize("what", OF_PERSISTENCE)
def test_what_redis_reports_of_its_files_raises_the_alert_of_the_entry_that_status_names(
    tmp_path: Path, what: str
) -> None:
    (alert,) = (item for item in ALERTS if "status_broken" in item.expr and item.entry == OF_PERSISTENCE[what])
    series = {f'caas_redis_status_broken{{{WHERE},what="{what}"}}': "1x120"}
    done = promtool(tmp_path, [case("happens", series, {alert.name: 1})])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("series", "expected"), HAPPENS.values(), ids=HAPPENS)
def test_what_happens_raises_these_alerts_and_no_other(
    tmp_path: Path, series: Mapping[str, str | None], expected: set[str]
) -> None:
    done = promtool(tmp_path, [case("happens", series, dict.fromkeys(expected, 1))])
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_names_an_entry_of_the_runbook_that_there_is() -> None:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    for rule in rules:
        where = rule["annotations"].get("runbook", "")
        if where.endswith("#{{ $labels.entry }}"):
            assert rule["alert"] in OF_CAUSE
            continue
        says_all = rule["alert"] in ("RedisStatusOld", "RedisDriftCheckOld", "RedisDiskSlowWarning")
        assert says_all or where.removeprefix("docs/runbook.md#") in entries(), rule["alert"]


OF_CAUSE = ("RedisNotSeen", "RedisNotKnown")


@pytest.mark.parametrize("name", OF_CAUSE)
def test_what_nobody_knows_names_the_entry_of_its_cause(tmp_path: Path, name: str) -> None:
    values = [{"series": key, "values": value} for key, value in CASES[name].items() if value is not None]
    (item,) = (item for item in ALERTS if item.name == name)
    role = {} if name == "RedisNotKnown" else {"role": "crypto", "policy": "noeviction"}
    who = f"{'crypto on ' if role else ''}redis-5"
    alert = {
        "exp_labels": {"severity": item.severity, "host": "redis-5", "entry": "secrets-lost", **role},
        "exp_annotations": {
            "summary": item.says.replace("{{ $labels.role }} on {{ $labels.host }}", who).replace(
                "{{ $labels.host }}", who
            ),
            "runbook": "docs/runbook.md#secrets-lost",
        },
    }
    check = [{"eval_time": "100m", "alertname": name, "exp_alerts": [alert]}]
    done = promtool(tmp_path, [{"interval": "1m", "input_series": values, "alert_rule_test": check}])
    assert done.returncode == 0, done.stdout + done.stderr


# --- A real Prometheus, fed by what status says of real servers


class Watched:
    """A Prometheus on 127.0.0.1 with the alerts, `for:` left out and an hour as ten seconds, and what it scrapes: a file that status writes."""

    def __init__(self, directory: Path, port: int) -> None:
        self.file, self.port = directory / "status.prom", port

    def firing(self) -> set[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/alerts", timeout=10) as answer:
            found = json.load(answer)["data"]["alerts"]
        return {item["labels"]["alertname"] for item in found if item["state"] == "firing"}


@pytest.fixture(scope="module")
def tier(onebox: Tier) -> Tier:
    onebox.deploy(*SMALL)
    return onebox


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp("prometheus")
    found = Watched(directory, 0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = found.file.read_text() if found.file.exists() else ""
            drift = f"caas_redis_drift_check_timestamp_seconds {time.time()}\n"
            self.send_response(200)
            self.end_headers()
            self.wfile.write((text + drift).encode())

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    rules = yaml.safe_load(RULES.read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "0s"
        rule["expr"] = rule["expr"].replace("[1h]", "[10s]")
    (directory / "rules.yaml").write_text(yaml.safe_dump(rules))
    scrape = {"job_name": "status", "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(directory / "rules.yaml")],
        "scrape_configs": [scrape],
    }
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with free_port() as port:
        found.port = port
    words = [
        str(prometheus() / "prometheus"),
        f"--config.file={directory / 'prometheus.yaml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{found.port}",
    ]
    with (directory / "log").open("w") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            yield found
        finally:
            process.terminate()
            server.shutdown()


@contextmanager
def free_port() -> Iterator[int]:

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


def is_firing(watched: Watched, expected: set[str]) -> bool:
    try:
        return watched.firing() == expected
    except OSError:
        return False


def raises(tier: Tier, watched: Watched, *expected: str) -> None:
    """One run of status, and exactly these alerts fire."""
    done = tier.run("tasks/status.py", "--data", f"status_metrics={watched.file}", *SMALL)
    assert "Traceback" not in output(done)
    wait_for(partial(is_firing, watched, set(expected)), f"{expected} and no other, {done.stdout}", 30)


def test_a_tier_that_is_well_raises_none(tier: Tier, watched: Watched) -> None:
    raises(tier, watched)


def test_a_stopped_server_raises_its_alert(tier: Tier, watched: Watched) -> None:
    tier.host("crypto").sh("systemctl stop redis-crypto.service")
    try:
        raises(tier, watched, "RedisDown")
    finally:
        tier.host("crypto").sh("systemctl start redis-crypto.service")
    wait_for(lambda: tier.answers("crypto"), "it is up")
    raises(tier, watched)


def test_a_busy_server_raises_its_alert(tier: Tier, watched: Watched) -> None:
    with looping(tier, "crypto"):
        raises(tier, watched, "RedisBusy")


def test_a_role_that_is_full_raises_its_alert(tier: Tier, watched: Watched) -> None:
    with tier.client("crypto", TABLE["crypto"]["services"][0]) as writer:
        for size in (100_000, 1_000):
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                for number in range(10_000):
                    writer.set(f"test:fill:{size}:{number}", "x" * size)
    try:
        raises(tier, watched, "RedisMemFull")
    finally:
        with tier.operator("crypto") as operator:
            operator.flushall()
            operator.config_resetstat()
    raises(tier, watched)


def test_a_server_that_was_killed_raises_its_alert(tier: Tier, watched: Watched) -> None:
    host, pid = tier.host("crypto"), tier.pid("crypto")
    host.sh(f"kill -9 {pid}")
    wait_for(lambda: tier.pid("crypto") not in (0, pid) and tier.answers("crypto"), "it is up again")
    raises(tier, watched, "RedisCrashedWarning")
    host.sh("systemctl reset-failed redis-crypto.service")
    raises(tier, watched)

"""The alerts in Debian's Prometheus: each fires for what it is about and nothing else; a healthy tier is quiet."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tasks.compare.runbook import OF_PERSISTENCE
from tasks.compare.unwell import Code
from tasks.reports.alerts import ALERTS, COUNTED, CRITICAL, FINDS
from tests.hosts.clients import client as stranger
from tests.hosts.conftest import FIVE, TABLE, Tier, output, overriding, wait_for
from tests.hosts.test_health import small_disk
from tests.hosts.test_runbook_troubles import deaf
from tests.hosts.test_status import looping
from tests.hosts.test_status_outages import loading
from tests.hosts.watching import RULES, Watched, watching
from tests.lab.tools import prometheus
from tests.runbook import entries

pytestmark = pytest.mark.hosts

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


def in_steps(series: Mapping[str, str]) -> dict[str, str]:
    """The same for ten days in steps of four minutes."""
    return {key: value.replace("x120", f"x{10 * 360}") for key, value in series.items()}


def state(name: str) -> dict[str, str | None]:
    return {UP: None, f'caas_redis_status_state{{{WHERE},state="{name}"}}': "1x120"}


OWN = f'caas_redis_status_counted_own{{{WHERE},code="PASSWORDS-REFUSED"}}'
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
    "RedisDiskFull": {**BROKEN, **health(Code.DISK_FULL, "critical")},
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


def promtool(directory: Path, tests: list[dict[str, Any]], every: str = "1m") -> subprocess.CompletedProcess[str]:
    file = directory / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": every, "tests": tests}))
    words = [str(prometheus() / "promtool"), "test", "rules", str(file)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120)


def case(name: str, series: Mapping[str, str | None], expected: Mapping[str, int], at: str = "40m") -> dict[str, Any]:
    known = {**HEALTHY, **series}
    values = [{"series": key, "values": value} for key, value in known.items() if value is not None]
    checks = [firing({}, "0m"), firing(expected, at)] if name != "RedisStatusOld" else [firing(expected, at)]
    return {"name": name, "interval": "1m", "input_series": values, "promql_expr_test": checks}


def test_each_alert_fires_for_its_own_and_no_other_does(tmp_path: Path) -> None:
    assert CASES.keys() | {FINDS.name} == {item.name for item in ALERTS}
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


ROOM = f"caas_redis_status_disk_free_bytes{{{WHERE}}}"
FULL = health(Code.DISK_FULL, "critical")
FULL_OF_ALL = {key.replace(WHERE, 'host="redis-5",role="",policy=""'): value for key, value in FULL.items()}
CRASHING = {**health(Code.CRASHED, "warning"), **health(Code.CRASHED, "critical")}
FLAPPING = {UP: "1 stale " * 60, f'caas_redis_status_state{{{WHERE},state="down"}}': "stale 1 " * 60}
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
    "a role ends at each write, for its disk is full": (
        {**FULL, **FLAPPING, **CRASHING, ROOM: "8192x120"},
        {"RedisDiskFull"},
    ),
    "a role ends at each write, for the disk of all roles is full": (
        {**FULL_OF_ALL, **state("down"), **CRASHING, ROOM: "0x120"},
        {"RedisDiskFull"},
    ),
    "its disk has had room again for half an hour": (
        {next(iter(FULL)): "1x9 stale", **health(Code.CRASHED, "warning"), ROOM: "8192x9 90000000x90"},
        set(),
    ),
    "a role is down, and its disk has little room": (
        {**FULL, **state("down"), ROOM: "9000000x120"},
        {"RedisDiskFull", "RedisDown"},
    ),
    "a role crashes, and the disk of another one is full": (
        {**CRASHING, next(iter(FULL)).replace("crypto", "gateway"): "1x120"},
        {"RedisDiskFull", "RedisCrashed", "RedisCrashedWarning"},
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
    "a verify every minute, and nobody else": (
        {**counted(Code.PASSWORDS_REFUSED, "0+2x120", 60), OWN: "0+2x30 60x90"},
        set(),
    ),
    "somebody guesses beside a verify each hour": (
        {**counted(Code.PASSWORDS_REFUSED, "0+2x120", 60), OWN: "2x120"},
        {"RedisPasswordsRefusedWarning"},
    ),
    "keys that were to stay were dropped, whenever": (
        {**counted(Code.EVICTED, "3x120"), **health(Code.EVICTED, "warning")},
        {"RedisEvictedWarning"},
    ),
}


# A cache is compared with its own week: what is looked up each four minutes, and where a tenth day begins.
STEP, DAY = 4, 360
FOUND, MISSED = 380, 20


def rising(*parts: tuple[int, int]) -> str:
    """A counter that grows by `each` so many times, part by part."""
    at, words = 0, []
    for each, times in parts:
        words.append(f"{at}+{each}x{times - 1}")
        at += each * times
    return " ".join(words)


def lookups(*parts: tuple[int, int, int], where: str = CACHE) -> dict[str, str]:
    """Reads that found their key and reads that did not, each four minutes, for so many of these."""
    name = "caas_redis_status_lookups"
    return {
        f'{name}{{{where},found="yes"}}': rising(*((yes, times) for yes, _, times in parts)),
        f'{name}{{{where},found="no"}}': rising(*((no, times) for _, no, times in parts)),
    }


def in_days(series: Mapping[str, str], expected: Mapping[str, set[str]]) -> dict[str, Any]:
    """A tier that is well otherwise, for ten days; `expected`: time → the alerts that fire then."""
    long = {key: f"0+{60 * STEP}x{10 * DAY}" if "seconds" in key else f"1x{10 * DAY}" for key in HEALTHY}
    values = [{"series": key, "values": value} for key, value in {**long, **series}.items()]
    checks = [firing(dict.fromkeys(names, 1), at) for at, names in expected.items()]
    return {"interval": f"{STEP}m", "input_series": values, "promql_expr_test": checks}


def nights(found: int, missed: int) -> list[tuple[int, int, int]]:
    """Nine days, in each of which one hour is another."""
    return [(FOUND, MISSED, DAY - 15), (found, missed, 15)] * 9


FELL = {"7d": set[str](), "8d2h": {FINDS.name}, "8d20h": {FINDS.name}}
QUIET = {f"{day}d{hour}h": set[str]() for day in (1, 4, 8) for hour in (1, 9, 23)}
USUAL = (FOUND, MISSED, 8 * DAY)
WEEKS: dict[str, tuple[dict[str, str], dict[str, set[str]]]] = {
    "it finds far less, and is said to for a day": (
        lookups(USUAL, (280, 120, 2 * DAY)),
        {**FELL, "9d20h": set()},
    ),
    "it finds a little less": (lookups(USUAL, (320, 80, 2 * DAY)), QUIET),
    "one hour of each night is as bad": (lookups(*nights(240, 160)), QUIET),
    "it was asked too little to say": (lookups((19, 1, 8 * DAY), (2, 18, 2 * DAY)), QUIET),
    "it is no cache": (lookups(USUAL, (280, 120, 2 * DAY), where=WHERE), QUIET),
    "it is there since yesterday": (
        lookups((0, 0, 7 * DAY), (FOUND, MISSED, DAY), (280, 120, 2 * DAY)),
        {"8d2h": set(), "8d9h": set()},
    ),
    "its server started anew": (
        {key: f"{value} {value}" for key, value in lookups((FOUND, MISSED, 4 * DAY)).items()},
        QUIET,
    ),
    "it drops what it should find": (
        {**lookups(USUAL, (280, 120, 2 * DAY)), **in_steps(counted(Code.EVICTED, "0+240x3600", 900, CACHE))},
        {"8d2h": {"RedisEvictedWarning"}},
    ),
}


@pytest.mark.parametrize(("series", "expected"), WEEKS.values(), ids=WEEKS)
def test_a_cache_that_finds_far_less_than_in_its_own_week_is_said_to_and_no_other(
    tmp_path: Path, series: dict[str, str], expected: dict[str, set[str]]
) -> None:
    done = promtool(tmp_path, [in_days(series, expected)], "1h")
    assert done.returncode == 0, done.stdout + done.stderr


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
        page, _, entry = rule["annotations"].get("runbook", "").partition("#")
        there = entry in entries() or (rule["alert"] in OF_CAUSE and entry == "{{ $labels.entry }}")
        assert (page, there) == ("docs/runbook.md", True), rule["alert"]


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


@pytest.fixture(scope="module")
def tier(onebox: Tier) -> Tier:
    onebox.deploy(*SMALL)
    return onebox


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watching(tmp_path_factory.mktemp("prometheus")) as found:
        yield found


def raises(tier: Tier, watched: Watched, *expected: str) -> str:
    """One run of status, and exactly these alerts fire: none of what the test before has broken. What it printed."""
    return watched.raises(partial(tier.run, "tasks/status.py", *SMALL), *expected)


def test_a_tier_that_is_well_raises_none(tier: Tier, watched: Watched) -> None:
    raises(tier, watched)


def test_a_stopped_server_raises_its_alert(tier: Tier, watched: Watched) -> None:
    tier.host("crypto").sh("systemctl stop redis-crypto.service")
    try:
        raises(tier, watched, "RedisDown")
    finally:
        tier.host("crypto").sh("systemctl start redis-crypto.service")
    wait_for(lambda: tier.answers("crypto"), "it is up")


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


def test_a_server_that_was_killed_raises_its_alert(tier: Tier, watched: Watched) -> None:
    host, pid = tier.host("crypto"), tier.pid("crypto")
    host.sh(f"kill -9 {pid}")
    wait_for(lambda: tier.pid("crypto") not in (0, pid) and tier.answers("crypto"), "it is up again")
    raises(tier, watched, "RedisCrashedWarning")
    host.sh("systemctl reset-failed redis-crypto.service")


def test_a_silent_server_raises_its_alert(tier: Tier, watched: Watched) -> None:
    host, pid = tier.host("crypto"), tier.pid("crypto")
    host.sh(f"kill -STOP {pid}")
    try:
        raises(tier, watched, "RedisSilent")
    finally:
        host.sh(f"kill -CONT {pid}")


def test_a_server_that_loads_raises_its_alert(tier: Tier, watched: Watched) -> None:
    with loading(tier, keys=40_000, delay=1000):
        raises(tier, watched, "RedisLoadsLong")
    with tier.operator("crypto") as operator:
        operator.flushall()


def test_a_server_without_a_connection_left_raises_its_alert(tier: Tier, watched: Watched) -> None:
    held = [tier.client("crypto", TABLE["crypto"]["services"][0]) for _ in range(100)]
    with suppress(redis.exceptions.RedisError):
        for client in held:
            client.ping()
    try:
        raises(tier, watched, "RedisNoConnection")
    finally:
        for client in held:
            client.connection_pool.disconnect()
        set_back(tier)


def test_a_stampede_shows_in_status_and_raises_none_while_all_are_served(tier: Tier, watched: Watched) -> None:
    with ExitStack() as held:
        for _ in range(40):  # half of those that it may have
            held.enter_context(tier.client("crypto", TABLE["crypto"]["services"][0])).ping()
        shown = raises(tier, watched)
    assert re.search(r"^crypto +up .* 4[0-9]/80$", shown, re.MULTILINE), shown


def test_a_stampede_of_more_than_it_may_have_raises_its_alert_when_all_are_gone(tier: Tier, watched: Watched) -> None:
    raises(tier, watched)
    held = [tier.client("crypto", TABLE["crypto"]["services"][0]) for _ in range(100)]
    for client in held:
        with suppress(redis.exceptions.RedisError):
            client.ping()
    for client in held:
        client.connection_pool.disconnect()
    wait_for(lambda: tier.answers("crypto"), "it answers")
    raises(tier, watched, "RedisRefusedClientsWarning")
    set_back(tier)


# The drills on a role's log: what a rehearsal does to it, and what status and Prometheus make of that.
LAST = "file=$(awk '$6 == \"i\" {name = $2} END {print name}' *.manifest)"
LOG = "/var/lib/redis/crypto/appendonlydir"
LOGS = {
    "its end is cut off": (f'cd {LOG} && {LAST} && truncate -s -7 "$file"', "RedisLogCutOff", "end of the log"),
    "its middle is damaged": (
        f'cd {LOG} && {LAST} && cp -a "$file" /root/whole && '
        'printf "%0200d" 0 | dd of="$file" bs=1 seek="$(($(stat -c %s "$file") / 2))" conv=notrunc status=none',
        "RedisDown",
        "critical crypto: ",
    ),
    "its files are root's": (f"chown -R root:root {LOG}", "RedisDown", "critical crypto: "),
}


# Two that keep a server from its start raise the same: the second one is for soak.
@pytest.mark.parametrize(
    ("command", "alert", "said"),
    [pytest.param(*case, marks=[pytest.mark.soak] if "root" in name else [], id=name) for name, case in LOGS.items()],
)
def test_what_is_done_to_a_log_shows_in_status_and_raises_its_alert(
    tier: Tier, watched: Watched, command: str, alert: str, said: str
) -> None:
    host, unit = tier.host("crypto"), "redis-crypto.service"
    with tier.operator("crypto") as operator:
        # The last file of the log begins anew: what other tests left there has values longer than the damage.
        operator.bgrewriteaof()
        wait_for(lambda: operator.info("persistence")["aof_rewrite_in_progress"] == 0, "the log is written anew")
    with tier.client("crypto", TABLE["crypto"]["services"][0]) as writer:
        for number in range(60):
            writer.set(f"test:log:{number}", "x" * 100)
    host.sh(f"systemctl stop {unit}; {command}")
    host.sh(f"systemctl start --no-block {unit}")
    restarts = f"systemctl show -P NRestarts {unit}"
    wait_for(lambda: tier.answers("crypto") or host.sh(restarts).strip() != "0", "it serves or was started again", 60)
    assert tier.answers("crypto") == (alert == "RedisLogCutOff")
    assert said in raises(tier, watched, alert)
    host.sh(f'systemctl stop {unit}; cd {LOG} && {LAST} && [ ! -e /root/whole ] || mv /root/whole "$file"')
    tier.deploy(*SMALL)
    with tier.operator("crypto") as operator:
        operator.flushall()


def set_back(tier: Tier) -> None:
    """What was counted is counted anew."""
    wait_for(lambda: tier.answers("crypto"), "it answers")
    with tier.operator("crypto") as operator:
        operator.config_resetstat()


@pytest.mark.soak
def test_an_address_that_comes_late_at_a_boot_shows_in_status_and_raises_one_alert(
    tier: Tier, watched: Watched
) -> None:
    host, unit, address = tier.host("crypto"), "redis-crypto.service", TABLE["crypto"]["address"]
    found = re.search(rf"^\d+: (\S+) +inet ({re.escape(address)}/\d+) ", host.sh("ip -o -4 addr"), re.MULTILINE)
    assert found
    device, prefix = found.groups()
    host.sh(f"ip addr del {prefix} dev {device}; systemctl restart --no-block {unit}")
    try:
        wait_for(lambda: host.sh(f"systemctl show -P NRestarts {unit}").strip() != "0", "it was started again", 60)
        assert "critical crypto: " in raises(tier, watched, "RedisDown")
    finally:
        host.sh(f"ip addr add {prefix} dev {device}")
    wait_for(lambda: tier.answers("crypto"), "it is up", 60)
    host.sh(f"systemctl reset-failed {unit}")


def test_clients_that_are_cut_off_raise_their_alert(tier: Tier, watched: Watched) -> None:
    raises(tier, watched)  # what was counted before
    with ExitStack() as stack, tier.client("crypto", TABLE["crypto"]["services"][0]) as publisher:
        for _ in range(8):
            stack.enter_context(deaf(tier)).sendall(b"SUBSCRIBE test:news\r\n")
        wait_for(lambda: publisher.publish("test:news", "x" * 200_000) and cut_off(publisher), "one is cut off", 60)
    raises(tier, watched, "RedisEvictedClientsWarning")
    set_back(tier)


def cut_off(client: "redis.Redis") -> bool:
    return bool(client.info("stats")["evicted_clients"])


def test_wrong_passwords_raise_their_alert(tier: Tier, watched: Watched) -> None:
    raises(tier, watched)
    row = TABLE["crypto"]
    for _ in range(100):
        with pytest.raises(redis.exceptions.AuthenticationError):
            stranger(tier.lab.netns, row["address"], row["port"], row["services"][0], "wrong").ping()
    raises(tier, watched, "RedisPasswordsRefusedWarning")
    set_back(tier)


def test_a_disk_without_room_raises_its_alert(tier: Tier, watched: Watched) -> None:
    with small_disk(tier, "crypto"):
        wait_for(lambda: tier.answers("crypto"), "it answers")
        raises(tier, watched, "RedisDiskFull")


def test_a_log_that_cannot_be_written_raises_one_alert_of_its_disk(tier: Tier, watched: Watched) -> None:
    with small_disk(tier, "gateway"), tier.client("gateway", TABLE["gateway"]["services"][0]) as writer:
        with pytest.raises(redis.exceptions.ResponseError, match="MISCONF"):
            for number in range(10_000):
                writer.set(f"test:fill:{number % 100}", "x" * 100_000)
        raises(tier, watched, "RedisDiskFull")
        tier.host("gateway").sh("mount -o remount,size=400m /var/lib/redis/gateway")
        wait_for(lambda: taken(writer), "it takes writes again", 60)
    with tier.operator("gateway") as operator:
        operator.flushall()
        operator.config_resetstat()


def test_a_server_that_ends_because_its_disk_is_full_raises_one_alert_of_that_disk(
    tier: Tier, watched: Watched
) -> None:
    """Its log is written before each answer: it ends at each write, and systemd starts it again and again."""
    host, unit = tier.host("crypto"), "redis-crypto.service"
    with small_disk(tier, "crypto"):
        wait_for(lambda: tier.answers("crypto"), "it answers")
        for _ in range(2):
            with tier.client("crypto", TABLE["crypto"]["services"][0]) as writer, suppress(redis.exceptions.RedisError):
                for number in range(10_000):
                    writer.set(f"test:fill:{number % 100}", "x" * 100_000)
            wait_for(lambda: tier.answers("crypto"), "it is started again")
        assert int(host.sh(f"systemctl show -P NRestarts {unit}")) > 0
        raises(tier, watched, "RedisDiskFull")
        host.sh("mount -o remount,size=400m /var/lib/redis/crypto")  # without room it does not end when it is told to
    host.sh(f"systemctl reset-failed {unit}")
    tier.deploy(*SMALL)


def test_a_rewrite_that_the_kernel_ends_for_want_of_memory_raises_its_alert(tier: Tier, watched: Watched) -> None:
    """What the kernel does to the process that rewrites a log: on a machine of its own, test_alerts_of_drills.py."""
    with tier.operator("crypto") as operator:
        operator.mset({f"test:rewrite:{number}": "x" for number in range(100)})
        operator.config_set("rdb-key-save-delay", 100_000)
        operator.bgrewriteaof()
        wait_for(lambda: operator.info("persistence")["aof_rewrite_in_progress"], "it rewrites its log")
        tier.host("crypto").sh(f"pkill -KILL -P {tier.pid('crypto')}")
        wait_for(lambda: not operator.info("persistence")["aof_rewrite_in_progress"], "the rewrite has ended")
        operator.config_set("rdb-key-save-delay", 0)
        raises(tier, watched, "RedisLogBroken")
        operator.bgrewriteaof()
        wait_for(lambda: operator.info("persistence")["aof_last_bgrewrite_status"] == "ok", "it is rewritten", 60)
        raises(tier, watched)
        operator.flushall()


def taken(writer: "redis.Redis") -> bool:
    try:
        return bool(writer.set("test:again", "x"))
    except redis.exceptions.ResponseError:
        return False


def test_a_setting_that_somebody_changed_raises_its_alert(tier: Tier, watched: Watched) -> None:
    with tier.operator("crypto") as operator:
        operator.config_set("timeout", 9)
    drift = partial(tier.run, "tasks/drift.py", "--data", f"drift_metrics={watched.drift}", *SMALL)
    try:
        drift()
        raises(tier, watched, "RedisDrifted")
        tier.deploy(*SMALL)
        drift()
        raises(tier, watched)
    finally:
        watched.drift.unlink()


def test_a_tier_under_load_raises_none_at_any_minute_of_an_hour(tier: Tier, watched: Watched, tmp_path: Path) -> None:
    kinds = {"crypto": "set,get,incr", "socket": "set,get,lpush,rpop", "gateway": "set,get,sadd"}
    working = {role: load(tier, role, commands) for role, commands in kinds.items()}
    said = []
    try:
        for _ in range(6):
            done = tier.run("tasks/status.py", "--data", f"status_metrics={watched.file}", *SMALL)
            assert done.returncode == 0, output(done)
            said.append(samples(watched.file.read_text()))
        assert tier.run("tasks/drift.py", "--data", f"drift_metrics={watched.drift}", *SMALL).returncode == 0
        drift = samples(watched.drift.read_text())
        watched.drift.unlink()
        busy = [max(value for name, value in look.items() if "operations_per_second" in name) for look in said]
        assert min(busy) > 100, busy
    finally:
        for role, process in working.items():
            tier.host(role).sh(f"kill {process}")
            wait_for(partial(tier.answers, role), "it answers")
            with tier.operator(role) as operator:
                operator.flushall()
                operator.config_resetstat()
    hour = simulated(said, drift)
    quiet = {"name": "load", "interval": "1m", "input_series": hour}
    checks = [firing({}, f"{minute}m") for minute in range(61)]
    done = promtool(tmp_path, [{**quiet, "promql_expr_test": checks}])
    assert done.returncode == 0, done.stdout + done.stderr
    fallen = [{**item, "values": "0x60"} if '"up"' in item["series"] else item for item in hour]
    fallen.append({"series": f'caas_redis_status_state{{{WHERE},state="down"}}', "values": "1x60"})
    assert promtool(tmp_path, [{**quiet, "input_series": fallen, "promql_expr_test": checks}]).returncode != 0


def load(tier: Tier, role: str, commands: str) -> int:
    """The process whose ten clients of a service work on few keys until it ends; of a lab, so its argv may tell all."""
    user = TABLE[role]["services"][0]
    place = f"-h {TABLE[role]['address']} -p {TABLE[role]['port']} --user {user} -a {tier.passwords[role][user]}"
    what = f"-t {commands} -c 10 -r 200 -d 100 -n 100000 -l -q"
    return int(tier.host(role).sh(f"redis-benchmark {place} {what} </dev/null >/dev/null 2>&1 & echo $!"))


def samples(text: str) -> dict[str, float]:
    """Series → value, of a textfile."""
    found = {}
    for family in text_string_to_metric_families(text):
        for item in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(item.labels.items()))
            found[f"{item.name}{{{labels}}}"] = item.value
    return found


def simulated(said: list[dict[str, float]], drift: dict[str, float]) -> list[dict[str, str]]:
    """An hour in which each minute has what one of the looks has said; only the time of the looks is another."""
    looks = [{**drift, **look} for look in said]
    names = sorted(set[str]().union(*looks))
    series = []
    for name in names:
        # What a server counts does not begin anew.
        at = [min(minute, len(looks) - 1) if "_counted{" in name else minute % len(looks) for minute in range(61)]
        values = [looks[number].get(name) for number in at]
        words = " ".join("_" if value is None else str(value) for value in values)
        series.append({"series": name, "values": "0+60x60" if "timestamp_seconds" in name else words})
    return series


def test_a_host_that_is_down_raises_its_alert(tier: Tier, watched: Watched) -> None:
    """The last one: what its host had mounted is gone."""
    tier.host("crypto").kill()
    try:
        raises(tier, watched, "RedisHostNotSeen")
    finally:
        tier.host("crypto").boot()
    wait_for(lambda: all(tier.answers(role) for role in FIVE), "all are back", 120)
    raises(tier, watched)

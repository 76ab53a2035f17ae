"""The alerts of the tier: data, and monitoring/alerts.yaml as it follows from them (`make monitoring`). Pure.

They need no list of roles: each series names its role and that role's policy, so that a sixth role has its alerts.
What full, slow or many means is decided where health is (tasks/compare/health.py): an alert and status never disagree.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import yaml

from tasks.compare.difference import Remedy
from tasks.compare.runbook import (
    DRIFT,
    FINDS_LESS,
    LOADS_LONG,
    NOT_CHECKED,
    OF_HEALTH,
    OF_PERSISTENCE,
    OF_REFUSAL,
    OF_REMEDY,
    PAGE,
    UNSEEN,
)
from tasks.compare.unwell import Code, Severity
from tasks.observed.refusal import Cause

STATUS_AGE, DRIFT_AGE = 600, 7200  # seconds; status runs each minute, drift each hour
# One look may meet a planned restart, and one check a deploy: these need the next one to see the same.
TWO_LOOKS, TWO_CHECKS = "2m30s", "70m"
STATUS_TIME, DRIFT_TIME = "caas_redis_status_timestamp_seconds", "caas_redis_drift_check_timestamp_seconds"
OF_CAUSE = "{{ $labels.entry }}"  # the entry of what is not known is a label: tasks/compare/runbook.py, where_to_begin


@dataclass(frozen=True)
class Alert:
    """One alert. `holds`: for how long its condition has to hold, so that what passes by itself wakes nobody."""

    name: str
    expr: str
    severity: Severity
    says: str
    entry: str  # of docs/runbook.md
    holds: str = "0s"


def _state(name: str, state: str, severity: Severity, says: str, entry: str, holds: str) -> Alert:
    expr = f'caas_redis_status_state{{state=~"{state}"}} == 1'
    return Alert(name, expr, severity, f"{{{{ $labels.role }}}} on {{{{ $labels.host }}}} {says}", entry, holds)


# A role ends, or does not start, for want of any room (`appendfsync always` ends it at its next write): that is its
# disk's alert, which is there as soon as a rewrite has no room. What has some room left is down for another cause.
NO_ROOM = f"unless on (host, role) caas_redis_status_disk_free_bytes < {1 << 20}"
# A role that is not deployed yet is no outage; one that was up within the week has lost its host.
GONE = 'caas_redis_status_state{state="absent"} == 1 and on (host, role) '
GONE += 'max_over_time(caas_redis_status_state{state="up"}[7d])'
STATES = (
    Alert(
        "RedisDown",
        f'(caas_redis_status_state{{state=~"down|starting"}} == 1 {NO_ROOM}) or {GONE}',
        "critical",
        "{{ $labels.role }} on {{ $labels.host }} does not run",
        OF_REMEDY[Remedy.START],
        TWO_LOOKS,
    ),
    _state("RedisBusy", "busy", "critical", "answers nobody: a script runs", OF_REFUSAL[Cause.BUSY], TWO_LOOKS),
    _state(
        "RedisNoConnection", "no room", "critical", "takes no more clients", OF_REFUSAL[Cause.MAXCLIENTS], TWO_LOOKS
    ),
    _state("RedisSilent", "silent", "critical", "does not answer", OF_REFUSAL[Cause.SILENT], TWO_LOOKS),
    Alert(
        "RedisNotSeen",
        "caas_redis_status_not_told == 1",
        "critical",
        "{{ $labels.role }} on {{ $labels.host }} does not tell how it is",
        OF_CAUSE,
        "5m",
    ),
    _state("RedisLoadsLong", "loading", "critical", "has not loaded its data yet", LOADS_LONG, "15m"),
)
# A state is a label, so that one which changes begins anew each time: these two are of whatever trouble there is.
PAGED = f'ALERTS{{alertname=~"{"|".join(item.name for item in STATES)}",alertstate="firing"}}'
TROUBLE = 'max by (host, role, policy) (caas_redis_status_state{state!~"up|loading|absent"})'
NOT_UP = 'max by (host, role, policy) (caas_redis_status_state{state!~"up|absent"})'
CHANGING = (
    Alert(
        "RedisFlaps",
        f"count_over_time(({TROUBLE})[20m:1m]) >= 7 unless on (host, role) max_over_time({PAGED}[20m]) {NO_ROOM}",
        "critical",
        "{{ $labels.role }} on {{ $labels.host }} was not up at a third of the last twenty looks, each time otherwise",
        OF_HEALTH[Code.CRASHED],
    ),
    Alert(
        "RedisNeverUp",
        f"count_over_time(({NOT_UP})[20m:1m]) >= 20 unless on (host, role) "
        f'({PAGED} or ALERTS{{alertname="RedisFlaps",alertstate="firing"}}) {NO_ROOM}',
        "critical",
        "{{ $labels.role }} on {{ $labels.host }} was not up at any of the last twenty looks",
        OF_HEALTH[Code.CRASHED],
    ),
)
WORDS: dict[Code, str] = {
    Code.MEM_FULL: "has used up its memory, or nearly, and has nothing to evict",
    Code.WITHOUT_TTL: "is full of keys that have no TTL",
    Code.EVICTED: "drops keys that should stay, or faster than a cache can bear",
    Code.WRITES_REFUSED: "has refused writes",
    Code.CLIENTS_FULL: "has nearly as many clients as it may",
    Code.REFUSED_CLIENTS: "has refused clients",
    Code.BUFFERS: "has clients that hold nearly all the memory they may",
    Code.EVICTED_CLIENTS: "has cut off clients",
    Code.PASSWORDS_REFUSED: "is asked again and again with a wrong password",
    Code.CRASHED: "was started again by systemd",
    Code.DISK_FULL: "has too little room on its disk",
    Code.DISK_SLOW: "waits for its disk",
    Code.CERTIFICATE_ENDS: "shows a certificate that ends soon",
    Code.BACKUP_OLD: "has no copy off its host that is recent enough",
    Code.BACKUP_FAILED: "could not be copied off its host",
    Code.PROOF_FAILED: "has a copy that cannot be restored",
    Code.PROOF_OLD: "has copies that nobody has tried to restore for too long",
    Code.TWO_SERVE: "is served by both of its hosts",
    Code.NONE_SERVES: "is served by neither of its hosts",
    Code.STANDBY_DOWN: "has a standby that does not replicate it",
    Code.STANDBY_LAG: "has a standby that lacks more than it should",
    Code.PAIR_UNHEARD: "could not ask its other host before a start, and would wait for ever",
    Code.HOST_MEMORY: "has hardly any memory left",
}


def _broken(entry: str) -> str:
    """What Redis reports of its files that this entry is about."""
    which = "|".join(name for name, anchor in OF_PERSISTENCE.items() if anchor == entry)
    return f'caas_redis_status_broken{{what=~"{which}"}}'


FULL_DISK = 'caas_redis_status_health{code="DISK-FULL",severity="critical"'
DISK_WAS_FULL = f"max_over_time({FULL_DISK}}}[1h])"
DISK_OF_ALL_WAS_FULL = f'max_over_time({FULL_DISK},role=""}}[1h])'  # one disk of several roles has no role
# What one thing brings along raises one alert: refused writes of a role that is full or was within the hour, refused
# clients of one that has no place, restarts of one that had no room for its log.
FULL = 'max_over_time(caas_redis_status_health{code="MEM-FULL",severity="critical"}[1h])'
NOT_WRITTEN = f"max_over_time({_broken('disk-full')}[1h])"
BROUGHT: dict[Code, str] = {
    Code.WRITES_REFUSED: f"unless on (host, role) ({FULL} or {NOT_WRITTEN})",
    Code.REFUSED_CLIENTS: 'unless on (host, role) max_over_time(caas_redis_status_health{code="CLIENTS-FULL"}[1h])',
    Code.CRASHED: f"unless on (host, role) {DISK_WAS_FULL} unless on (host) {DISK_OF_ALL_WAS_FULL}",
}
# What servers count is judged by how much was added within the hour: health, which has no memory of the look before,
# knows the average since the start only. Keys that were to stay and were dropped stay a loss whenever that was.
COUNTED = (
    Code.EVICTED,
    Code.WRITES_REFUSED,
    Code.REFUSED_CLIENTS,
    Code.EVICTED_CLIENTS,
    Code.PASSWORDS_REFUSED,
    Code.DISK_SLOW,
)
LOST = 'or caas_redis_status_health{code="EVICTED",policy="noeviction"} == 1'


def _counted_more(code: Code) -> str:
    """More was added within the hour than may be."""
    which = f'{{code="{code}"}}'
    more = f"increase(caas_redis_status_counted{which}[1h])"
    if code is Code.PASSWORDS_REFUSED:
        # What this tool's own proofs have tried is nobody's who guesses. A status of before does not tell.
        more = f"({more} - caas_redis_status_counted_own{which} or {more})"
    return f"{more} >= caas_redis_status_counted_limit{which}"


def _expression(code: Code, severity: Severity) -> str:
    brought = BROUGHT.get(code, "")
    if code not in COUNTED:
        return f'caas_redis_status_health{{code="{code}",severity="{severity}"}} == 1 {brought}'.strip()
    more = _counted_more(code)
    return f"max by (host, role, policy, code) ({more} {LOST})" if code is Code.EVICTED else f"{more} {brought}".strip()


# Those that may be of no role.
OF_WHOM = {
    Code.HOST_MEMORY: "{{ $labels.host }}",
    Code.DISK_FULL: "{{ if $labels.role }}{{ $labels.role }} on {{ end }}{{ $labels.host }}",
    Code.CRASHED: "{{ if $labels.role }}{{ $labels.role }}{{ else }}the exporter of metrics{{ end }} "
    "on {{ $labels.host }}",
}


def _of_health(code: Code, severity: Severity) -> Alert:
    name = "Redis" + "".join(part.capitalize() for part in code.split("-"))
    who = OF_WHOM.get(code, "{{ $labels.role }} on {{ $labels.host }}")
    soon = "" if severity == "critical" else "Warning"
    return Alert(
        f"{name}{soon}",
        _expression(code, severity),
        severity,
        f"{who} {WORDS[code]}",
        OF_HEALTH[code],
        TWO_LOOKS if severity == "critical" else "5m",
    )


# Those that are ever critical: tasks/compare/.
CRITICAL = (
    Code.MEM_FULL,
    Code.CLIENTS_FULL,
    Code.CRASHED,
    Code.DISK_FULL,
    Code.CERTIFICATE_ENDS,
    Code.BACKUP_OLD,
    Code.PROOF_FAILED,
    Code.TWO_SERVE,
    Code.NONE_SERVES,
    Code.STANDBY_DOWN,
    Code.HOST_MEMORY,
)
HEALTH = (
    *(_of_health(code, "critical") for code in CRITICAL),
    *(_of_health(code, "warning") for code in Code),
)
# A cache is judged by itself: against the worst of the hours in which it was asked enough, of a week that ends a day
# ago, so that what goes on is said for a day. A night's job that reads everything once each week has been there before.
FALLEN = 0.2  # of all reads; 0.95 → 0.75 is five times as many for the databases behind it
LOOKUPS, HOURS = 1000, 24  # in an hour, for its share to say something; such hours, for a week to
CACHES = 'caas_redis_status_lookups{policy=~"allkeys-.+"'


def _reads(which: str = "") -> str:
    return f"sum by (host, role, policy) (increase({CACHES}{which}}}[1h]))"


FOUND = f"""({_reads(',found="yes"')} / ({_reads()} >= {LOOKUPS}))"""
BEFORE = "[6d:1h] offset 1d"
EVICTS = f"max by (host, role, policy) ({_counted_more(Code.EVICTED)})"
FINDS = Alert(
    "RedisFindsLess",
    f"{FOUND} < min_over_time({FOUND}{BEFORE}) - {FALLEN} "
    f"and count_over_time({FOUND}{BEFORE}) >= {HOURS} unless {EVICTS}",
    "warning",
    "{{ $labels.role }} on {{ $labels.host }} finds far fewer of the keys that it is asked for than in the week before",
    FINDS_LESS,
    "5m",
)
# A log that cannot be written because its disk is full is that disk's alert.
OTHERS = (
    FINDS,
    Alert(
        "RedisLogBroken",
        f'{_broken("disk-full")} == 1 unless on (host, role) {FULL_DISK}}} unless on (host) {FULL_DISK},role=""}}',
        "critical",
        "{{ $labels.role }} on {{ $labels.host }} cannot write its log or its snapshot: {{ $labels.what }}",
        "disk-full",
        TWO_LOOKS,
    ),
    Alert(
        "RedisLogCutOff",
        f"{_broken('log-cut-off')} == 1",
        "critical",
        "{{ $labels.role }} on {{ $labels.host }} started without the end of its log: deploy before it restarts",
        "log-cut-off",
        TWO_LOOKS,
    ),
    Alert(
        "RedisHostNotSeen",
        # Of a host whose look failed no role has a state. One series a host, whichever of both it is.
        'max by (host) (caas_redis_status_host{status="unreachable"} or '
        '(caas_redis_status_host{status="error"} unless on (host) caas_redis_status_state)) == 1',
        "critical",
        "{{ $labels.host }} cannot be looked at",
        UNSEEN,
        TWO_LOOKS,
    ),
    Alert(
        "RedisDrifted",
        'caas_redis_drift_host_status{status="drifted"} == 1',
        "warning",
        "{{ $labels.host }} is not as desired",
        DRIFT,
        TWO_CHECKS,
    ),
    Alert(
        "RedisNotKnown",
        "caas_redis_not_known == 1",
        "warning",
        "not everything of {{ $labels.host }} could be looked at: tasks/drift.py says what, and why",
        OF_CAUSE,
        TWO_CHECKS,
    ),
    Alert(
        "RedisStatusOld",
        f"time() - {STATUS_TIME} > {STATUS_AGE} or absent({STATUS_TIME})",
        "critical",
        f"nobody has looked at the tier for {STATUS_AGE // 60} minutes: tasks/status.py does not run",
        NOT_CHECKED,
        "5m",
    ),
    Alert(
        "RedisDriftCheckOld",
        f"time() - {DRIFT_TIME} > {DRIFT_AGE} or absent({DRIFT_TIME})",
        "warning",
        f"drift was not checked for {DRIFT_AGE // 3600} hours: tasks/drift.py does not run",
        NOT_CHECKED,
        "5m",
    ),
)
ALERTS = (*STATES, *CHANGING, *HEALTH, *OTHERS)


def to_alerts(alerts: tuple[Alert, ...] = ALERTS) -> str:
    """The rules file of Prometheus."""
    rules = [_rule(item) for item in alerts]
    text = yaml.safe_dump({"groups": [{"name": "caas-redis", "rules": rules}]}, sort_keys=False, width=200)
    return f"# Written by make monitoring, from tasks/reports/alerts.py: change it there.\n{text}"


def _rule(item: Alert) -> dict[str, object]:
    return {
        "alert": item.name,
        "expr": item.expr,
        "for": item.holds,
        "labels": {"severity": item.severity},
        "annotations": {"summary": item.says, "runbook": f"{PAGE}#{item.entry}"},
    }


if __name__ == "__main__":
    sys.stdout.write(to_alerts())

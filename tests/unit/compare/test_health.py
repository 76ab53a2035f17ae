"""What is not well although it may be as desired (tasks/compare/health.py): every code seen once, and none for ever."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.compare.health import health, logins_refused
from tasks.compare.host import compare
from tasks.compare.server_health import evictable
from tasks.compare.unwell import Code, Health
from tasks.desired.host import Host
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Observed, Served, Unseen
from tests.unit.builders import (
    BACKUP,
    EVERY,
    FIVE,
    NOW,
    RECORD,
    as_desired,
    desired,
    limits,
    with_file,
    with_server,
    with_setting,
    with_unit,
)

Change = Callable[[Observed], Observed]
MIB = 1 << 20
HOUR = 3600


def info(role: str, **fields: object) -> Change:
    """A server that answers these to INFO."""
    words = {name: str(value) for name, value in fields.items()}
    return lambda seen: with_server(seen, role, info={**seen.servers[role].info, **words})


def used(role: str, size: int, **fields: object) -> Change:
    return info(role, used_memory=size, **fields)


def restarts(role: str, count: int, up: int) -> Change:
    return lambda seen: with_unit(info(role, uptime_in_seconds=up)(seen), f"redis-{role}.service", NRestarts=str(count))


def shows(left: int) -> Change:
    """A server whose certificate ends in so many seconds."""
    return lambda seen: with_server(seen, "crypto", certificate=Served("0" * 64, "2031-01-31", left))


def parts(**changes: Any) -> Change:
    return lambda seen: replace(seen, **changes)


def found(role: str, change: Change, **changed: int) -> list[Health]:
    """What is not well on a host that carries `role`; the tests' catalogue gives crypto 256mb and socket 512mb."""
    host = replace(desired(role), limits=limits(**changed))
    return health(host, change(as_desired(host)))


def codes(items: list[Health]) -> list[tuple[str, str]]:
    return [(item.code.value, item.severity) for item in items]


@pytest.mark.parametrize("host", [desired(*FIVE), desired(*EVERY)])
def test_a_tier_that_is_well_says_nothing(host: Host) -> None:
    assert health(host, as_desired(host)) == []


KEYS = {"db0": "keys=1000,expires=0,avg_ttl=0"}
SICK: dict[str, tuple[str, Change, str, str]] = {
    "refuses all writes": ("crypto", used("crypto", 256 * MIB), "MEM-FULL", "critical"),
    "refuses writes by its own word": (
        "crypto",
        info("crypto", current_eviction_exceeded_time=3),
        "MEM-FULL",
        "critical",
    ),
    "will refuse writes": ("crypto", used("crypto", 220 * MIB), "MEM-FULL", "warning"),
    "full of keys without TTL": ("socket", used("socket", 512 * MIB, **KEYS), "MEM-FULL", "critical"),
    "nearly full, hardly a TTL": (
        *("socket", used("socket", 450 * MIB, db0="keys=1000,expires=10,avg_ttl=0")),
        *("WITHOUT-TTL", "warning"),
    ),
    "keys evicted in vain": ("crypto", info("crypto", evicted_keys=1), "EVICTED", "warning"),
    "a cache that turns over": ("gateway", info("gateway", evicted_keys=240 * 101, **KEYS), "EVICTED", "warning"),
    "keys with a TTL that turn over": (
        *("socket", info("socket", evicted_keys=240 * 2, db0="keys=1000,expires=10,avg_ttl=0")),
        *("EVICTED", "warning"),
    ),
    "OOM": ("crypto", info("crypto", errorstat_OOM="count=240"), "WRITES-REFUSED", "warning"),
    "MISCONF": ("crypto", info("crypto", errorstat_MISCONF="count=240"), "WRITES-REFUSED", "warning"),
    "nearly no connection left": ("gateway", info("gateway", connected_clients=1200), "CLIENTS-FULL", "warning"),
    "no connection left": ("gateway", info("gateway", connected_clients=1420), "CLIENTS-FULL", "critical"),
    "clients refused": ("gateway", info("gateway", rejected_connections=240), "REFUSED-CLIENTS", "warning"),
    "clients with large buffers": ("gateway", info("gateway", mem_clients_normal=45 * MIB), "BUFFERS", "warning"),
    "clients cut off": ("gateway", info("gateway", evicted_clients=240), "EVICTED-CLIENTS", "warning"),
    "a wrong password": ("gateway", info("gateway", errorstat_WRONGPASS="count=20000"), "PASSWORDS-REFUSED", "warning"),
    "a slow disk": ("gateway", info("gateway", aof_delayed_fsync=20000), "DISK-SLOW", "warning"),
    "crashed and up again": ("crypto", restarts("crypto", 1, 2 * HOUR), "CRASHED", "warning"),
    "crashes over and over": ("crypto", restarts("crypto", 283, 60), "CRASHED", "critical"),
    "no room for a rewrite": ("crypto", parts(disk_free=63 * MIB, free_of={}), "DISK-FULL", "critical"),
    "less disk than planned": ("crypto", parts(disk_free=800 * MIB, free_of={}), "DISK-FULL", "warning"),
    "a certificate that ends soon": ("crypto", shows(29 * 86400), "CERTIFICATE-ENDS", "warning"),
    "a certificate that has ended": ("crypto", shows(-1), "CERTIFICATE-ENDS", "critical"),
    "hardly any memory": ("crypto", parts(memory_available=1 << 30), "HOST-MEMORY", "warning"),
    "no memory": ("crypto", parts(memory_available=100 * MIB), "HOST-MEMORY", "critical"),
}


@pytest.mark.parametrize(("role", "change", "code", "severity"), SICK.values(), ids=SICK)
def test_what_is_not_well_is_said_and_is_no_drift(role: str, change: Change, code: str, severity: str) -> None:
    (item,) = found(role, change)
    assert (item.code, item.severity) == (code, severity)
    assert item.role in (role, None)
    assert all((item.observed, item.limit, item.remedy))
    assert compare(desired(role), change(as_desired(desired(role)))) == []


def records(copy: str | None = RECORD, proof: str | None = RECORD) -> Change:
    """What the units of crypto's backups have recorded; None where they have not yet."""

    def change(seen: Observed) -> Observed:
        texts = {"/var/lib/caas-redis/crypto.backup": copy, "/var/lib/caas-redis/crypto.proof": proof}
        others = {path: state for path, state in seen.files.items() if path not in texts}
        own = {path: replace(seen.files[path], content=text) for path, text in texts.items() if text is not None}
        return replace(seen, files={**others, **own})

    return change


def ago(seconds: int, result: str = "ok", said: str = "") -> str:
    good = NOW - seconds
    return f"result {result}\nat {NOW - 9}\nfirst {good}\ngood {good}\nlife 00000000000000aa\n{said}"


UNSAVED: dict[str, tuple[Change, str, str]] = {
    "no copy at all": (records(copy=None), "BACKUP-OLD", "critical"),
    "none that succeeded": (records(copy="result failed\nat 1\nsaid no route\n"), "BACKUP-OLD", "critical"),
    "an old copy": (records(copy=ago(4 * HOUR)), "BACKUP-OLD", "critical"),
    "a copy of a time to come": (records(copy=ago(-2 * HOUR)), "BACKUP-OLD", "critical"),
    "a failed try after one of a time to come": (
        records(copy=ago(-2 * HOUR, "failed", "said no route\n")),
        "BACKUP-OLD",
        "critical",
    ),
    "a proof of a time to come": (records(proof=ago(-8 * 24 * HOUR)), "PROOF-OLD", "warning"),
    "a try that failed": (records(copy=ago(HOUR, "failed", "said no route\n")), "BACKUP-FAILED", "warning"),
    "older ones that stay": (records(copy=ago(HOUR, said="kept locked\n")), "BACKUP-FAILED", "warning"),
    "a copy that is not usable": (records(proof=ago(HOUR, "failed", "said cut\n")), "PROOF-FAILED", "critical"),
    "an old proof": (records(proof=ago(22 * 24 * HOUR)), "PROOF-OLD", "warning"),
    "never a proof": (records(copy=RECORD.replace(f"first {NOW - 60}", "first 1"), proof=None), "PROOF-OLD", "warning"),
}


@pytest.mark.parametrize(("change", "code", "severity"), UNSAVED.values(), ids=UNSAVED)
def test_a_copy_that_is_not_there_or_not_proved_is_said(change: Change, code: str, severity: str) -> None:
    host = desired("crypto", backup=BACKUP)
    (item,) = health(host, change(as_desired(host)))
    assert (item.role, item.code, item.severity) == ("crypto", code, severity)
    assert compare(host, change(as_desired(host))) == []


@pytest.mark.parametrize("record", [None, "result failed\nat 1\nsaid no route\n"], ids=["not tried", "failed"])
@pytest.mark.parametrize(
    ("age", "severity"),
    [(60, "warning"), (2 * HOUR, "warning"), (4 * HOUR, "critical"), (-2 * HOUR, "critical")],
    ids=["just turned on", "soon due", "too old", "a clock was ahead"],
)
def test_without_any_copy_it_is_critical_once_one_would_be_too_old(record: str | None, age: int, severity: str) -> None:
    host = desired("crypto", backup=BACKUP)
    seen = with_file(records(copy=record)(as_desired(host)), "/etc/redis/crypto.backup", modified=NOW - age)
    (item,) = health(host, seen)
    assert (item.code, item.severity) == ("BACKUP-OLD", severity)
    assert ("no route" in item.observed) == (record is not None)


def test_a_tier_with_backups_that_is_well_says_nothing() -> None:
    host = desired(*FIVE, backup=BACKUP)
    assert health(host, as_desired(host)) == []
    assert compare(host, as_desired(host)) == []


ONE, OTHER = "where 00000000000000aa\nrepository aa\n", "where 00000000000000aa\nrepository bb\n"


@pytest.mark.parametrize(
    ("copy", "proof", "codes"),
    [
        (RECORD + ONE + "since 1\n", RECORD + OTHER, ["PROOF-OLD"]),
        (RECORD + ONE + "since 1\n", RECORD, ["PROOF-OLD"]),
        (RECORD + ONE + "since 1\n", RECORD + ONE, []),
        (RECORD.replace(f"first {NOW - 60}", "first 1") + ONE + f"since {NOW - 60}\n", RECORD + OTHER, []),
        (RECORD + ONE + f"since {NOW - 60}\n", ago(HOUR, "failed", "said cut\n" + OTHER), []),
        (RECORD + ONE + f"since {NOW - 60}\n", ago(HOUR, "failed", "said cut\n" + ONE), ["PROOF-FAILED"]),
        (RECORD + ONE + f"since {NOW - 60}\n", ago(HOUR, "failed", "said cut\n"), ["PROOF-FAILED"]),
    ],
    ids=["other", "unknown", "same", "new", "failed in the other", "failed", "failed, unknown where"],
)
def test_a_proof_is_one_of_the_repository_that_copies_go_to(copy: str, proof: str, codes: list[str]) -> None:
    host = desired("crypto", backup=BACKUP)
    assert [item.code for item in health(host, records(copy, proof)(as_desired(host)))] == codes


def test_a_record_that_is_none_is_no_copy() -> None:
    host = desired("crypto", backup=BACKUP)
    (item,) = health(host, records(copy="result ok\nat tomorrow\n")(as_desired(host)))
    assert item.code == Code.BACKUP_OLD


def test_every_code_is_shown_by_one_of_these_tests() -> None:
    shown = {code for _, _, code, _ in SICK.values()} | {code for _, code, _ in UNSAVED.values()}
    assert shown | OF_PAIRS == set(Code)


OF_PAIRS = {
    Code.TWO_SERVE,
    Code.NONE_SERVES,
    Code.STANDBY_DOWN,
    Code.STANDBY_LAG,
    Code.PAIR_UNHEARD,
}  # test_standby_health.py


def test_the_codes_are_those_that_alerts_were_written_for() -> None:
    assert sorted(Code) == [
        *(
            "BACKUP-FAILED",
            "BACKUP-OLD",
            "BUFFERS",
            "CERTIFICATE-ENDS",
            "CLIENTS-FULL",
            "CRASHED",
            "DISK-FULL",
            "DISK-SLOW",
            "EVICTED",
            "EVICTED-CLIENTS",
            "HOST-MEMORY",
        ),
        *("MEM-FULL", "NONE-SERVES", "PAIR-UNHEARD", "PASSWORDS-REFUSED", "PROOF-FAILED", "PROOF-OLD"),
        *("REFUSED-CLIENTS", "STANDBY-DOWN", "STANDBY-LAG", "TWO-SERVE", "WITHOUT-TTL", "WRITES-REFUSED"),
    ]


def test_a_limit_of_group_data_decides() -> None:
    assert codes(found("crypto", used("crypto", 130 * MIB))) == []
    assert codes(found("crypto", used("crypto", 130 * MIB), memory_warning=50)) == [("MEM-FULL", "warning")]


# --- Memory


def test_a_full_cache_evicts_and_is_well() -> None:
    assert found("gateway", used("gateway", 256 * MIB, current_eviction_exceeded_time=2, **KEYS)) == []


def test_a_full_role_whose_keys_have_a_ttl_is_well() -> None:
    assert found("socket", used("socket", 512 * MIB, db0="keys=1000,expires=900,avg_ttl=9")) == []


def test_what_redis_does_not_count_towards_maxmemory_fills_nothing() -> None:
    assert found("crypto", used("crypto", 256 * MIB, mem_not_counted_for_evict=100 * MIB)) == []


def test_the_limit_that_the_server_has_now_counts() -> None:
    assert codes(found("crypto", lambda seen: with_setting(seen, "crypto", "maxmemory", "2000001"))) == [
        ("MEM-FULL", "critical")
    ]
    assert found("crypto", lambda seen: with_setting(seen, "crypto", "maxmemory", "0")) == []


@pytest.mark.parametrize(
    ("policy", "count"), [("noeviction", None), ("volatile-lru", 3), ("volatile-ttl", 3), ("allkeys-lfu", 7)]
)
def test_what_may_be_evicted_follows_from_the_policy(policy: str, count: int | None) -> None:
    assert evictable(policy, {"db0": "keys=7,expires=3,avg_ttl=0"}) == count


# --- Nothing alarms for ever


@pytest.mark.parametrize(
    "field",
    ["errorstat_OOM", "rejected_connections", "evicted_clients", "errorstat_WRONGPASS", "aof_delayed_fsync"],
)
def test_an_old_burst_fades_and_one_that_goes_on_stays(field: str) -> None:
    def burst(hours: int, count: int) -> Change:
        text = f"count={count}" if field.startswith("errorstat") else str(count)
        return info("gateway", uptime_in_seconds=hours * HOUR, **{field: text})

    assert len(found("gateway", burst(1, 600))) == 1
    assert found("gateway", burst(601, 600)) == []
    (lasting,) = found("gateway", burst(601, 600 * 601))
    assert "since its start 25 days ago" in lasting.observed


def test_a_cache_that_evicted_once_and_holds_nothing_now_is_well() -> None:
    change = info("gateway", uptime_in_seconds=720 * HOUR, evicted_keys=10_000, db0="keys=0,expires=0,avg_ttl=0")
    assert found("gateway", change) == []


def test_a_rate_since_the_start_is_said_to_be_an_average() -> None:
    (item,) = found("gateway", info("gateway", uptime_in_seconds=480 * HOUR, rejected_connections=1000))
    assert item.limit == "1 an hour on average"


def test_the_refusals_of_a_verify_every_hour_are_no_alarm() -> None:
    assert found("gateway", info("gateway", errorstat_WRONGPASS="count=480")) == []


def test_failed_logins_are_known_when_redis_stopped_counting_errors_by_kind() -> None:
    change = info("gateway", acl_access_denied_auth=20000, errorstat_WRONGPASS="count=3")
    assert codes(found("gateway", change)) == [("PASSWORDS-REFUSED", "warning")]


def many(count: int, proofs: int, hours: int) -> list[tuple[str, str]]:
    """What is said of a server that refused so many logins, of which its log has so many as a proof's."""
    fields = info("gateway", uptime_in_seconds=hours * HOUR, errorstat_WRONGPASS=f"count={count}")
    return codes(found("gateway", lambda seen: with_server(fields(seen), "gateway", proofs_tried=proofs)))


@given(rate=st.integers(55, 80), more=st.integers(-3, 3), proofs=st.integers(0, 1024), hours=st.integers(1, 60))
def test_what_proofs_of_this_tool_tried_alarms_nobody_and_hides_no_more_than_they_try(
    rate: int, more: int, proofs: int, hours: int
) -> None:
    count = rate * hours + more
    warned = bool(many(count, proofs, hours))
    assert warned == (count - min(proofs, count, 16 * hours) >= 60 * hours)
    assert not warned or many(count, 0, hours)  # what is taken off makes no alarm
    assert warned or count < (60 + 16) * hours  # and hides none of somebody who guesses as often as that


def test_a_server_that_many_proofs_asked_in_its_first_hour_is_well_and_a_warning_counts_them() -> None:
    assert many(70, 16, 1) == []
    assert many(70, 0, 1) == [("PASSWORDS-REFUSED", "warning")]
    change = info("gateway", uptime_in_seconds=HOUR, errorstat_WRONGPASS="count=500")
    (item,) = found("gateway", lambda seen: with_server(change(seen), "gateway", proofs_tried=9))
    assert "500 logins refused for a wrong password" in item.observed
    assert item.observed.endswith(", 9 of them by this tool's own proofs")


def test_somebodys_check_that_only_sends_ping_is_counted_and_is_no_alarm() -> None:
    host, change = desired("gateway"), info("gateway", errorstat_NOAUTH="count=1000000")
    assert found("gateway", change) == []
    assert logins_refused(host, change(as_desired(host))) == {"gateway": {"wrong_password": 0, "no_login": 1000000}}


def test_a_server_that_did_not_answer_has_no_number_of_refused_logins() -> None:
    host, silent = desired("gateway"), Refusal(Cause.SILENT, "no answer")
    assert logins_refused(host, with_server(as_desired(host), "gateway", refusal=silent)) == {}


def test_a_crash_is_spoken_of_for_a_week() -> None:
    assert codes(found("crypto", restarts("crypto", 283, 2 * HOUR))) == [("CRASHED", "warning")]
    assert found("crypto", restarts("crypto", 283, 169 * HOUR)) == []


def test_a_counter_alone_is_never_critical() -> None:
    names = ("rejected_connections", "evicted_clients", "evicted_keys", "aof_delayed_fsync")
    fields: dict[str, object] = dict.fromkeys(names, 10**9)
    errors: dict[str, object] = {f"errorstat_{kind}": "count=1000000000" for kind in ("OOM", "MISCONF", "WRONGPASS")}
    items = found("crypto", info("crypto", **fields, **errors))
    assert len(items) == 6
    assert {item.severity for item in items} == {"warning"}


# --- Disks


def test_a_disk_that_several_roles_share_is_said_once() -> None:
    host = desired(*FIVE)
    right = as_desired(host)
    (item,) = health(host, replace(right, free_of=dict.fromkeys(right.free_of, 10 * MIB)))
    assert (item.role, item.code, item.severity) == (None, "DISK-FULL", "critical")
    assert "gateway, shared, socket" in item.observed


def test_a_role_with_a_disk_of_its_own_is_named() -> None:
    host = desired(*FIVE)
    right = as_desired(host)
    (item,) = health(host, replace(right, free_of={**right.free_of, "/var/lib/redis/crypto": 10 * MIB}))
    assert (item.role, item.code) == ("crypto", "DISK-FULL")
    assert "/var/lib/redis/crypto" in item.remedy


def test_a_rewrite_of_a_full_role_needs_what_the_role_holds() -> None:
    def change(seen: Observed) -> Observed:
        return replace(used("crypto", 200 * MIB)(seen), free_of={"/var/lib/redis/crypto": 199 * MIB})

    assert codes(found("crypto", change)) == [("DISK-FULL", "critical")]


# --- What a rewrite needs


FORK = {"used_memory": 200 * MIB, "db0": "keys=1,expires=0,avg_ttl=0"}


def with_memory(left: int, **fields: object) -> Change:
    """So much RAM left of a host that has little, so that no percentage of it decides."""
    return lambda seen: replace(info("crypto", **FORK, **fields)(seen), memory=500 * MIB, memory_available=left * MIB)


def test_a_host_without_the_memory_that_a_rewrite_may_copy_warns() -> None:
    (item,) = found("crypto", with_memory(229))
    assert (item.role, item.code, item.severity) == (None, "HOST-MEMORY", "warning")
    assert "230 MiB" in item.limit
    assert "rewrite" in item.limit
    assert found("crypto", with_memory(231)) == []


@pytest.mark.parametrize("field", ["aof_rewrite_in_progress", "rdb_bgsave_in_progress"])
def test_what_a_rewrite_has_taken_already_is_not_missing(field: str) -> None:
    assert found("crypto", with_memory(229, **{field: 1})) == []


# --- What was not seen


def test_a_server_that_did_not_answer_has_no_health() -> None:
    silent = Refusal(Cause.SILENT, "no answer")
    assert found("crypto", lambda seen: with_server(used("crypto", 256 * MIB)(seen), "crypto", refusal=silent)) == []


def test_a_server_that_loads_has_no_health_yet() -> None:
    assert found("crypto", used("crypto", 256 * MIB, loading=1)) == []


def test_a_disk_that_was_not_seen_is_unknown_and_not_full() -> None:
    assert found("crypto", parts(unseen={"disk": Unseen("df ended with 1")}, disk_free=0, free_of={})) == []


def test_what_is_critical_comes_first() -> None:
    def change(seen: Observed) -> Observed:
        return replace(used("crypto", 256 * MIB)(seen), memory_available=1 << 30)

    assert codes(found("crypto", change)) == [("MEM-FULL", "critical"), ("HOST-MEMORY", "warning")]


def test_it_reads_as_one_line() -> None:
    (item,) = found("crypto", used("crypto", 256 * MIB))
    assert str(item).startswith(
        "crypto: critical MEM-FULL: 256 MiB of 256mb used (100 %), noeviction, nothing to evict"
    )

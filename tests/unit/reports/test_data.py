"""The drift report for programs: JSON and Prometheus, each read with the reader its users have."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tasks.compare.difference import ByHand, Difference, Remedy, Subject
from tasks.compare.host import compare
from tasks.compare.unknown import Kind, Unknown
from tasks.reports import DriftReport, HostReport, Status, to_html, to_json, to_metrics, to_table
from tests.unit.builders import FIVE, as_desired, desired, differs, roles, secrets_of, with_user
from tests.unit.reports.preview import CHECKED_AT, FULL, GATEWAY, SOCKET, host, report, samples

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
REMEDIES = st.sampled_from(Remedy) | st.builds(ByHand, TEXT)
DIFFERENCES = st.builds(Difference, st.none() | TEXT, st.sampled_from(get_args(Subject)), TEXT, TEXT, TEXT, REMEDIES)


@st.composite
def host_reports(draw: st.DrawFn) -> HostReport:
    """A host in any state that may be."""
    status: Status = draw(st.sampled_from(get_args(Status)))
    least, most = {"in_sync": (0, 0), "drifted": (1, 4)}.get(status, (0, 4))
    found = draw(st.lists(DIFFERENCES, min_size=least, max_size=most, unique=True))
    return HostReport(draw(TEXT), status, draw(TEXT), tuple(draw(st.sets(TEXT, max_size=3))), tuple(found), 0.1)


REPORTS = st.lists(host_reports(), max_size=4, unique_by=lambda item: item.host).map(lambda hosts: report(*hosts))


def metrics(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Metric name and labels → value, by the official parser."""
    samples_ = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples_}


def of(text: str, name: str) -> dict[tuple[str, ...], float]:
    """One metric: label values, in the order of the label names → value."""
    found = metrics(text).items()
    return {tuple(value for _, value in labels): number for (metric, labels), number in found if metric == name}


def test_the_json_has_the_schema_that_others_rely_on() -> None:
    unknown = (Unknown("crypto", "its data", "it loads", "wait", Kind.LOADING),)
    sample = report(
        replace(host("socket", "drifted", SOCKET[0]), health=(FULL,)),
        replace(host("crypto", "error", message="why"), unknown=unknown),
    )
    assert json.loads(to_json(sample)) == {
        "version": 1,
        "checked_at": "2026-03-09T04:15:07Z",
        "hosts": {
            "redis-crypto": {
                "status": "error",
                "message": "why",
                "unknown": [{"role": "crypto", "what": "its data", "because": "it loads", "remedy": "wait"}],
                "health": [],
                "differences": [],
            },
            "redis-socket": {
                "status": "drifted",
                "message": "",
                "unknown": [],
                "health": [
                    {
                        "role": "crypto",
                        "code": "MEM-FULL",
                        "severity": "critical",
                        "observed": FULL.observed,
                        "limit": "99 % of maxmemory",
                        "remedy": FULL.remedy,
                    }
                ],
                "differences": [
                    {
                        "role": "socket",
                        "subject": "unit",
                        "name": "redis-socket.service",
                        "expected": "active",
                        "observed": "failed (exit-code, 5 restarts)",
                        "remedy": "start",
                    }
                ],
            },
        },
    }


@given(sample=REPORTS)
def test_a_reader_of_the_json_gets_every_difference_back(sample: DriftReport) -> None:
    read = json.loads(to_json(sample))["hosts"]
    assert list(read) == sorted(item.host for item in sample.hosts)
    for item in sample.hosts:
        back = [differs(**fields) for fields in read[item.host]["differences"]]
        assert (read[item.host]["status"], read[item.host]["message"]) == (item.status, item.message)
        assert sorted(back, key=str) == sorted(item.differences, key=str)


def test_the_order_of_hosts_and_differences_does_not_change_a_byte() -> None:
    one = report(host("gateway", "drifted", *GATEWAY), host("socket"))
    other = report(host("socket"), host("gateway", "drifted", *reversed(GATEWAY)))
    assert to_json(one) == to_json(other)
    assert to_html(one) == to_html(other)
    assert to_table(one, 80) == to_table(other, 80)
    assert to_metrics(one) == to_metrics(other)


def test_a_part_of_a_second_does_not_show_in_the_time_of_the_json() -> None:
    sample = replace(report(), checked_at=datetime(2026, 3, 9, 4, 15, 7, 999_999, tzinfo=UTC))
    assert json.loads(to_json(sample))["checked_at"] == "2026-03-09T04:15:07Z"


def test_a_name_that_is_not_utf_8_leaves_json_that_strict_readers_take() -> None:
    item = differs(None, "file", "/etc/redis/\udcff", "absent", "present", "remove")
    text = to_json(report(host("gateway", "drifted", item)))
    assert json.loads(text)["hosts"]["redis-gateway"]["differences"][0]["name"] == "/etc/redis/\\udcff"


def test_a_role_in_sync_is_1_and_any_other_is_0() -> None:
    assert of(to_metrics(samples()["unreachable"]), "caas_redis_in_sync") == {
        ("redis-compliance", "compliance"): 0,
        ("redis-crypto", "crypto"): 0,
        ("redis-gateway", "gateway"): 1,
        ("redis-shared", "shared"): 1,
        ("redis-socket", "socket"): 0,
    }


def test_a_host_that_was_not_seen_has_no_number_of_differences() -> None:
    assert of(to_metrics(samples()["unreachable"]), "caas_redis_differences") == {
        ("redis-gateway",): 0,
        ("redis-shared",): 0,
        ("redis-socket",): 2,
    }


def test_what_was_seen_of_a_host_of_which_not_all_is_known_is_counted() -> None:
    text = to_metrics(samples()["not-known"])
    assert of(text, "caas_redis_differences") == {("redis-1",): 5}
    assert of(text, "caas_redis_unknown") == {("redis-1",): 1}


def test_a_host_that_was_not_seen_has_no_number_of_unknown_things() -> None:
    assert set(of(to_metrics(samples()["unreachable"]), "caas_redis_unknown")) == {
        *(("redis-gateway",), ("redis-shared",), ("redis-socket",))
    }


def test_what_is_not_well_is_1_by_host_role_code_and_severity() -> None:
    assert metrics(to_metrics(samples()["not-known"])).keys() >= {
        (
            "caas_redis_health",
            (("code", code), ("host", "redis-1"), ("role", role), ("severity", severity)),
        )
        for code, role, severity in (
            ("MEM-FULL", "crypto", "critical"),
            ("WRITES-REFUSED", "crypto", "warning"),
            ("DISK-FULL", "", "warning"),
        )
    }
    assert of(to_metrics(samples()["drifted"]), "caas_redis_health") == {}


def test_refused_logins_are_counted_by_host_role_and_reason() -> None:
    refused = {"crypto": {"wrong_password": 7, "no_login": 10_000}}
    sample = report(replace(host("crypto"), logins_refused=refused), host("socket"))
    assert (
        metrics(to_metrics(sample)).items()
        >= {
            ("caas_redis_refused_logins", (("host", "redis-crypto"), ("reason", reason), ("role", "crypto"))): count
            for reason, count in refused["crypto"].items()
        }.items()
    )
    assert len(of(to_metrics(sample), "caas_redis_refused_logins")) == 2


def test_every_host_has_its_status_as_a_label() -> None:
    found = of(to_metrics(samples()["unreachable"]), "caas_redis_drift_host_status")
    assert dict(found.keys()) == {  # type: ignore[arg-type]
        "redis-compliance": "unreachable",
        "redis-crypto": "error",
        "redis-gateway": "in_sync",
        "redis-shared": "in_sync",
        "redis-socket": "drifted",
    }
    assert set(found.values()) == {1}


def test_time_and_duration_of_the_check_are_in_seconds() -> None:
    text = to_metrics(samples()["in-sync"])
    assert of(text, "caas_redis_drift_check_seconds") == {(): 0.94}
    assert of(text, "caas_redis_drift_check_timestamp_seconds") == {(): CHECKED_AT.timestamp()}


@pytest.mark.parametrize("name", samples())
def test_every_metric_is_explained_and_typed(name: str) -> None:
    families = list(text_string_to_metric_families(to_metrics(samples()[name])))
    assert len(families) == 9
    assert all(family.documentation.endswith(".") and family.type == "gauge" for family in families)


@given(sample=REPORTS)
def test_the_official_parser_reads_back_any_name(sample: DriftReport) -> None:
    wanted = {(item.host, item.status) for item in sample.hosts}
    assert set(of(to_metrics(sample), "caas_redis_drift_host_status")) == wanted


def everything(sample: DriftReport) -> str:
    """The report in all its forms."""
    return "".join([to_json(sample), to_html(sample), to_table(sample, 80), to_table(sample, 140), to_metrics(sample)])


def test_no_form_shows_a_password_or_a_hash_even_when_every_password_differs() -> None:
    wanted = desired(*FIVE)
    observed = as_desired(wanted)
    for instance in wanted.instances:
        for user in instance.users:
            observed = with_user(observed, instance.name, user.name, passwords=["0" * 64])
    found = compare(wanted, observed)
    shown = everything(report(HostReport("redis-1", "drifted", "", FIVE, tuple(found), 0.1)))
    assert shown.count("has another password") >= len(found) > len(FIVE)
    assert not [secret for secret in (*secrets_of(*roles().values()), "0" * 64) if secret in shown]


def test_no_form_says_more_of_a_difference_than_its_six_fields() -> None:
    plain = differs("gateway", "setting", "name", "expected", "observed", "remedy")
    seen: list[Any] = json.loads(to_json(report(host("gateway", "drifted", plain))))["hosts"]["redis-gateway"][
        "differences"
    ]
    assert seen == [{**asdict(plain), "remedy": "by hand: remedy"}]


def test_what_concerns_the_tier_as_a_whole_stands_with_every_host() -> None:
    sample = replace(report(host("socket"), host("crypto", "error", message="why")), notes=("shared: no host",))
    hosts = json.loads(to_json(sample))["hosts"]
    assert [hosts[name]["message"] for name in sorted(hosts)] == ["why\nshared: no host", "shared: no host"]

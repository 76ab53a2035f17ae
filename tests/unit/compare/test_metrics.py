"""The exporter of metrics: what of it is a difference, and what is left of it where it is no longer wanted."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tasks.catalogue.metrics import Metrics, measured
from tasks.compare.difference import ByHand, Difference, Remedy
from tasks.compare.fitness import unfit
from tasks.compare.health import health
from tasks.compare.host import compare
from tasks.compare.network import tries
from tasks.compare.unwell import Code
from tasks.desired.build import desired_host, host_without_roles
from tasks.desired.host import CLOSED, Host, fence_chains, from_chain
from tasks.desired.metrics import passwords_text
from tasks.desired.paths import METRICS_UNIT, PACKAGED_EXPORTER, UNITS, credential
from tasks.observed.state import Listener, Observed
from tests.unit.builders import (
    METRICS,
    NOW,
    SYSCTLS,
    TLS,
    as_desired,
    desired,
    fresh,
    limits,
    passwords,
    roles,
    secrets_of,
)

HOST = desired("crypto", "gateway", metrics=METRICS)
SEEN = as_desired(HOST)
WITHOUT = desired("crypto", "gateway")
PID = SEEN.pid(METRICS_UNIT)
UNIT_FILE = f"{UNITS}/{METRICS_UNIT}"
EXPORTER = "prometheus-redi"


def with_unit(seen: Observed, name: str, **fields: str) -> Observed:
    return replace(seen, units={**seen.units, name: {**seen.units[name], **fields}})


def with_listeners(seen: Observed, *more: Listener, keep: bool = True) -> Observed:
    own = tuple(item for item in seen.listeners if keep or item.pid != PID)
    return replace(seen, listeners=(*own, *more))


def with_file(seen: Observed, path: str, content: str) -> Observed:
    state = replace(seen.files[path], content=content)
    return replace(seen, files={**seen.files, path: state})


def without_files(seen: Observed, *paths: str) -> Observed:
    return replace(seen, files={path: state for path, state in seen.files.items() if path not in paths})


def test_what_is_as_desired_has_no_difference() -> None:
    assert compare(HOST, SEEN) == []


BROKEN: dict[str, tuple[Callable[[Observed], Observed], str, object]] = {
    "it was stopped": (
        lambda seen: with_listeners(
            with_unit(seen, METRICS_UNIT, ActiveState="inactive", SubState="dead", MainPID="0"), keep=False
        ),
        f"unit {METRICS_UNIT}: inactive",
        Remedy.START,
    ),
    "it was disabled": (
        lambda seen: with_unit(seen, METRICS_UNIT, UnitFileState="disabled"),
        f"unit {METRICS_UNIT}: disabled",
        Remedy.ENABLE,
    ),
    "its unit was edited": (
        lambda seen: with_file(seen, UNIT_FILE, seen.files[UNIT_FILE].content + "Nice=0\n"),
        f"file {UNIT_FILE}: has 'Nice=0'",
        Remedy.WRITE,
    ),
    "it was started from another unit": (
        lambda seen: replace(seen, started={**seen.started, METRICS_UNIT: "0" * 16}),
        f"unit {METRICS_UNIT}: started before it changed",
        Remedy.AFRESH,
    ),
    "it was started with other passwords": (
        lambda seen: with_file(seen, credential(METRICS_UNIT, "passwords"), "0" * 64),
        f"unit {METRICS_UNIT}: started before they changed",
        Remedy.AFRESH,
    ),
    "it was started with none": (
        lambda seen: without_files(seen, credential(METRICS_UNIT, "passwords")),
        f"unit {METRICS_UNIT}: started before they changed",
        Remedy.AFRESH,
    ),
    "it listens elsewhere": (
        lambda seen: with_listeners(seen, Listener("172.28.2.1", 9122, EXPORTER, PID)),
        "listener 172.28.2.1:9122: listens",
        Remedy.AFRESH,
    ),
    "it does not listen": (
        lambda seen: with_listeners(seen, keep=False),
        "listener 172.28.2.1:9121: does not listen",
        Remedy.AFRESH,
    ),
    "its package is gone": (
        lambda seen: replace(
            seen, packages={name: text for name, text in seen.packages.items() if "exporter" not in name}
        ),
        "package prometheus-redis-exporter: not installed",
        Remedy.INSTALL,
    ),
    "the package's own unit is enabled": (
        lambda seen: with_unit(seen, PACKAGED_EXPORTER, LoadState="loaded", UnitFileState="enabled"),
        f"unit {PACKAGED_EXPORTER}: enabled",
        Remedy.MASK,
    ),
    "others may read its passwords": (
        lambda seen: replace(
            seen,
            files={
                **seen.files,
                "/etc/redis/metrics.passwords": replace(seen.files["/etc/redis/metrics.passwords"], mode="0644"),
            },
        ),
        "file /etc/redis/metrics.passwords: file root:root 0644",
        Remedy.WRITE,
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_each_thing_that_is_broken_is_one_difference(what: str) -> None:
    change, words, remedy = BROKEN[what]
    (found,) = compare(HOST, change(SEEN))
    assert str(found).startswith(words), found
    assert found.remedy == remedy


def test_somebody_else_in_its_place_is_said_before_anything_is_changed() -> None:
    taken = with_listeners(fresh(HOST), Listener("0.0.0.0", 9121, "node", 40))
    found = [item for item in compare(HOST, taken) if item.name == "0.0.0.0:9121"]
    assert [type(item.remedy) for item in found] == [ByHand]
    assert any("0.0.0.0:9121: node, pid 40" in str(item) for item in unfit(HOST, taken, compare(HOST, taken)))


def test_the_package_s_own_exporter_in_its_place_is_masked_and_hinders_nothing() -> None:
    there = with_unit(fresh(HOST), PACKAGED_EXPORTER, LoadState="loaded", ActiveState="active", MainPID="40")
    taken = with_listeners(there, Listener("*", 9121, EXPORTER, 40))
    assert [item.remedy for item in compare(HOST, taken) if item.name == PACKAGED_EXPORTER] == [Remedy.MASK]
    assert unfit(HOST, taken, compare(HOST, taken)) == unfit(HOST, fresh(HOST), compare(HOST, fresh(HOST)))


def test_an_address_that_the_host_has_not_is_refused() -> None:
    seen = replace(SEEN, addresses=SEEN.addresses - {"172.28.2.1"})
    assert any(
        "172.28.2.1" in str(item) and "redis_metrics" in str(item) for item in unfit(HOST, seen, compare(HOST, seen))
    )


def left(host: object) -> dict[str, Remedy | ByHand]:
    """What is to go of a host that was measured."""
    return {item.name: item.remedy for item in host if isinstance(item, Difference)}  # type: ignore[attr-defined]


def test_taken_away_again_it_leaves_no_unit_no_file_and_no_user() -> None:
    assert left(compare(WITHOUT, SEEN)) == {
        METRICS_UNIT: Remedy.DISABLE,
        UNIT_FILE: Remedy.REMOVE,
        "/etc/redis/metrics.passwords": Remedy.REMOVE,
        **{f"/etc/redis/{name}.acl": Remedy.WRITE for name in ("crypto", "gateway")},
        "metrics": Remedy.LIVE,
    }


def test_a_host_that_carries_no_role_any_more_has_no_exporter_either() -> None:
    nothing = host_without_roles("host-1")
    found = left(compare(nothing, SEEN))
    assert (found[METRICS_UNIT], found[UNIT_FILE]) == (Remedy.DISABLE, Remedy.REMOVE)
    assert found["/etc/redis/metrics.passwords"] == Remedy.REMOVE


def test_files_that_are_no_longer_wanted_go_with_the_tls_that_they_were_for() -> None:
    sealed = as_desired(desired("crypto", "gateway", metrics=METRICS, crypto={"tls": TLS}))
    seen = replace(
        SEEN, files={**SEEN.files, "/etc/redis/metrics.authorities": sealed.files["/etc/redis/metrics.authorities"]}
    )
    assert left(compare(HOST, seen)) == {"/etc/redis/metrics.authorities": Remedy.REMOVE}


def test_each_role_has_a_password_in_both_forms_and_none_is_in_a_difference_or_the_unit() -> None:
    text = passwords_text(HOST.instances, passwords(*HOST.roles))
    known = json.loads(text)
    assert known["redis://172.28.2.1:6379"] == known["redis://metrics@172.28.2.1:6379"] == "secret-of-gateway-metrics"
    assert len(known) == 4
    unit = next(file.content for file in HOST.files if file.path == UNIT_FILE)
    shown = f"{unit}{compare(HOST, fresh(HOST))}{HOST!r}"
    assert not [secret for secret in secrets_of(*HOST.roles) if secret in shown]


def test_while_a_password_is_to_be_generated_nothing_is_said_of_what_is_there() -> None:
    lacking = {
        role.name: {**users, "metrics": None}
        for role, users in zip(HOST.roles, passwords(*HOST.roles).values(), strict=True)
    }
    assert passwords_text(HOST.instances, lacking) == ""


def test_a_role_that_speaks_tls_is_named_so_and_its_ca_is_what_the_exporter_believes() -> None:
    host = desired("crypto", "gateway", metrics=METRICS, crypto={"tls": TLS})
    assert host.exporter is not None
    assert host.exporter.targets == {"crypto": "rediss://172.28.2.5:6383", "gateway": "redis://172.28.2.1:6379"}
    assert host.exporter.files["ca"].content == "an authority\n"
    assert compare(host, as_desired(host)) == []


def test_a_sixth_role_needs_no_code() -> None:
    assert set(roles()) > {"scratch"}
    host = desired("scratch", metrics=METRICS)
    assert compare(host, as_desired(host)) == []
    assert host.exporter is not None
    assert set(host.exporter.targets) == {"scratch"}


def test_who_may_scrape_is_in_the_owned_table_and_nobody_else_gets_in() -> None:
    metrics = Metrics.model_validate({"address": "172.28.2.5:9121", "allow_from": ["10.9.0.8"]})
    host = desired("crypto", metrics=metrics)
    assert [(item.address, item.port, item.networks) for item in host.fences] == [("172.28.2.5", 9121, ("10.9.0.8",))]
    assert compare(host, as_desired(host)) == []
    open_again = replace(as_desired(host), fences={})
    assert {item.remedy for item in compare(host, open_again)} == {Remedy.LEAD}


def called_metrics(allow_from: list[str] | None) -> Host:
    """A host whose role is called as the exporter's user is, and whose exporter lets in 10.9.0.8 alone."""
    metrics = Metrics.model_validate({"address": "172.28.2.5:9121", "allow_from": ["10.9.0.8"]})
    crypto = roles(crypto={"allow_from": allow_from})["crypto"]
    carried = measured([crypto.model_copy(update={"name": "metrics"})], metrics)
    return replace(desired_host("host-1", carried, passwords(*carried), SYSCTLS, metrics=metrics), limits=limits())


def test_a_role_called_metrics_lets_in_whom_it_names_and_the_exporter_whom_that_one_names() -> None:
    host = called_metrics(["10.8.0.0/16"])
    chains = fence_chains(host.fences)
    assert chains[from_chain("metrics")] == ("ip saddr 10.8.0.0/16 accept", CLOSED)
    assert ("ip saddr 10.9.0.8 accept", CLOSED) in chains.values()
    assert compare(host, as_desired(host)) == []


def test_a_role_called_metrics_is_open_to_everybody_where_it_names_nobody_whoever_may_scrape() -> None:
    host = called_metrics(None)
    planned = tries({"host-1": (host, as_desired(host)), "host-2": (WITHOUT, as_desired(WITHOUT))})["host-1"]
    assert set(planned.ports.values()) == {"metrics"}
    assert (planned.closed, planned.unsure) == (frozenset(), frozenset())


def crashed(ago: int) -> Observed:
    """The exporter was started by systemd again, so many seconds ago."""
    seen = with_unit(SEEN, METRICS_UNIT, NRestarts="3", ExecMainStartTimestamp=f"@{NOW - ago}")
    return replace(seen, asked_at=NOW)


def test_an_exporter_that_systemd_started_again_is_found_by_its_unit_and_is_no_difference() -> None:
    (found,) = [item for item in health(HOST, crashed(600)) if item.code is Code.CRASHED]
    assert (found.role, found.severity) == (None, "warning")
    assert f"{METRICS_UNIT}: 3 restarts by systemd, the last 10 minutes ago" in str(found)
    assert compare(HOST, crashed(600)) == []


def test_what_was_long_ago_and_the_exporter_of_a_host_that_has_none_are_no_finding() -> None:
    assert Code.CRASHED not in {item.code for item in health(HOST, crashed(30 * 86400))}
    assert Code.CRASHED not in {item.code for item in health(WITHOUT, crashed(600))}

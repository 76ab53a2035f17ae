"""Whether clients get in by what they are told: the port, its TLS and its certificates, as they are served now."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasks.catalogue.secret import Secret
from tasks.catalogue.tls import Pair
from tasks.compare.ways_in import closed_ways
from tasks.desired.host import Host
from tasks.desired.paths import tls_files, trusted_file
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Observed
from tests.unit.builders import (
    CREDENTIALS,
    SERVED,
    as_desired,
    stopped,
    with_file,
    with_server,
    with_setting,
    without_file,
)
from tests.unit.compare.test_certificates import FORMS, host

BLOCK_LOST = Refusal(Cause.CERTIFICATE, "it speaks TLS, and its role has no tls, so that nobody knows its ca")
SILENT = Refusal(Cause.SILENT, "it says nothing")


def closed(wanted: Host, observed: Observed | None, inner: bool = False) -> list[str]:
    return closed_ways(wanted, wanted.instances[0], observed, inner=inner, because="no way there")


def showing(form: str, **changes: Any) -> Host:
    """A host whose crypto has such certificates."""
    wanted = host(form)
    return replace(
        wanted,
        instances=tuple(replace(item, credentials=replace(CREDENTIALS, **changes)) for item in wanted.instances),
    )


WITH_CLIENTS = {"crypto-service": Pair("one\n", Secret("its key\n"))}


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("form", [form for form in FORMS if form != "clients show one"])
def test_where_all_is_as_desired_every_way_is_open(form: str, inner: bool) -> None:
    assert closed(host(form), as_desired(host(form)), inner) == []


def test_who_is_to_show_a_certificate_and_has_one_gets_in() -> None:
    wanted = showing("clients show one", clients=WITH_CLIENTS, client_auth="yes")
    assert closed(wanted, as_desired(wanted)) == []


@pytest.mark.parametrize("other", FORMS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("inner", [False, True])
def test_a_way_is_open_only_where_the_server_speaks_on_that_port_as_the_file_says(
    form: str, other: str, inner: bool
) -> None:
    wanted, before = host(form), host(other)
    role, had = wanted.instances[0].role, before.instances[0].role
    port = role.way_in(inner)
    wanted_certificate = "clients" in f"{other}" and other == "clients show one"
    is_open = port in had.ports and had.speaks_tls(port) == role.speaks_tls(port)
    is_open = is_open and not (wanted_certificate and role.speaks_tls(port))
    assert (closed(wanted, as_desired(before), inner) == []) == is_open


CASES: dict[str, tuple[Host, Callable[[Observed], Observed | None], str]] = {
    "before the deploy of a second port": (
        host("a port of its own"),
        lambda seen: as_desired(host("no TLS")),
        "crypto: port 7383 is not listened on (its server: 6383 in clear, 6379 in clear), expected TLS there: deploy",
    ),
    "a lost tls block": (
        host("no TLS"),
        lambda seen: with_server(seen, "crypto", refusal=BLOCK_LOST),
        "crypto: it speaks TLS, and its role has no tls, so that nobody knows its ca, expected a server that clients ",
    ),
    "another ca than that of what is served": (
        host("both ports"),
        lambda seen: with_server(seen, "crypto", refusal=Refusal(Cause.CERTIFICATE, "not signed by it")),
        "crypto: not signed by it, expected a server that clients with its role's tls.ca trust: ",
    ),
    "another ca on the second port": (
        host("a port of its own"),
        lambda seen: with_server(
            seen, "crypto", certificate=None, other=Refusal(Cause.CERTIFICATE, "no TLS: not signed by it")
        ),
        "crypto: no TLS: not signed by it, expected a server that clients with its role's tls.ca trust: ",
    ),
    "a second port of which nothing is known": (
        host("a port of its own"),
        lambda seen: with_server(seen, "crypto", certificate=None, other=SILENT),
        "crypto: what it shows on 7383 is not known (it says nothing), expected a certificate ",
    ),
    "a silent server": (
        host("both ports"),
        lambda seen: with_server(seen, "crypto", refusal=SILENT, certificate=None),
        "crypto: what it shows on 6383 is not known (it says nothing), expected a certificate ",
    ),
    "one that is down": (
        host("both ports"),
        lambda seen: stopped(seen, "crypto"),
        "crypto: what it shows on 6383 is not known (it does not run), expected a certificate ",
    ),
    "a certificate that has ended": (
        host("both ports"),
        lambda seen: with_server(seen, "crypto", certificate=replace(SERVED, ends="2026-01-01", left=-5)),
        "crypto: its certificate ended on 2026-01-01, expected a valid one: put a new one ",
    ),
    "a file that has run out": (
        showing("both ports", over=("tls.clients: crypto-service.crt: it ran out, expected a valid one: renew it",)),
        lambda seen: seen,
        "crypto: tls.clients: crypto-service.crt: it ran out, expected a valid one: renew it",
    ),
    "a file that has run out, of a second port": (
        showing("a port of its own", over=("tls.ca: it ran out, expected a valid one: renew it",)),
        lambda seen: seen,
        "crypto: tls.ca: it ran out, expected a valid one: renew it",
    ),
    "certificates of clients, and a ca that the server has not": (
        showing("clients may show one", clients=WITH_CLIENTS),
        lambda seen: with_file(seen, tls_files("crypto")[1], content="of before"),
        f"crypto: {tls_files('crypto')[1]} is another than tls.ca, expected the one that signs what clients show: ",
    ),
    "certificates of clients, and a ca of which nobody knows whether the server has loaded it": (
        showing("clients may show one", clients=WITH_CLIENTS),
        lambda seen: without_file(seen, trusted_file("crypto")),
        f"crypto: whether its server checks clients by {tls_files('crypto')[1]} is not recorded, expected that it is: ",
    ),
    "a server that asks for certificates by now": (
        host("both ports"),
        lambda seen: with_setting(seen, "crypto", "tls-auth-clients", "yes"),
        "crypto: its server asks for certificates, and there is none for crypto-service, expected one: ",
    ),
    "a host that nobody saw": (
        host("no TLS"),
        lambda seen: None,
        "crypto: whether it answers on 6383 is not known (no way there), expected that it was seen: mend that first",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_served_or_not_known_is_refused_in_words(case: str) -> None:
    wanted, change, words = CASES[case]
    (said,) = closed(wanted, change(as_desired(wanted)))
    assert said.startswith(words)


def test_an_inner_port_is_open_where_its_rule_leads_to_the_server_and_that_was_seen() -> None:
    wanted = host("no TLS")
    seen = as_desired(wanted)
    (said,) = closed(wanted, replace(seen, forwards=frozenset()), inner=True)
    assert said.startswith("crypto: port 6379 is not listened on (its server: 6383 in clear), expected ")
    elsewhere = frozenset((*rule[:3], "172.28.2.5:9999") for rule in seen.forwards)
    assert len(closed(wanted, replace(seen, forwards=elsewhere), inner=True)) == 1
    assert closed(wanted, replace(seen, forwards=frozenset())) == []


def test_one_in_clear_that_tells_nothing_is_known_by_its_file() -> None:
    for seen in (
        with_server(as_desired(host("no TLS")), "crypto", refusal=SILENT),
        stopped(as_desired(host("no TLS")), "crypto"),
    ):
        assert closed(host("no TLS"), seen) == []


def test_another_certificate_that_its_ca_signed_too_is_a_way_in() -> None:
    wanted = host("both ports")
    assert closed(wanted, with_server(as_desired(wanted), "crypto", certificate=replace(SERVED, digest="dead"))) == []

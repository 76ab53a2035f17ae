"""What a server that speaks TLS shows its clients, and whom a change of its ports would lock out."""

from dataclasses import replace
from typing import Any

import pytest

from tasks.catalogue.requested import Requests
from tasks.catalogue.tls import Ending
from tasks.compare.certificates import RefusedSwitch
from tasks.compare.difference import Difference, Remedy
from tasks.compare.fitness import unfit
from tasks.compare.health import health
from tasks.compare.host import compare, notices
from tasks.compare.unknown import unknowns
from tasks.desired.build import desired_host
from tasks.desired.host import Host
from tasks.desired.paths import tls_files, trusted_file
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Observed
from tasks.steps.live import live_commands
from tests.unit.builders import (
    CREDENTIALS,
    SERVED,
    SYSCTLS,
    TLS,
    as_desired,
    desired,
    limits,
    passwords,
    roles,
    sha256,
    stopped,
    with_file,
    with_server,
    without_file,
)

FORMS: dict[str, dict[str, Any]] = {
    "no TLS": {},
    "both ports": {"tls": TLS},
    "inner port in clear": {"tls": TLS, "plain_inner_port": True},
    "a port of its own": {"tls": {**TLS, "port": 7383}},
    "clients may show one": {"tls": {**TLS, "client_auth": "optional", "clients": "tls/clients"}},
    "clients show one": {"tls": {**TLS, "client_auth": "yes", "clients": "tls/clients"}},
}


def host(form: str, **requests: tuple[str, ...]) -> Host:
    """A host whose crypto speaks in one of these forms."""
    carried = [roles(crypto=FORMS[form])["crypto"]]
    own = {"crypto": CREDENTIALS} if carried[0].tls else {}
    asked = Requests(**requests)
    return desired_host("host-1", carried, passwords(*carried), SYSCTLS, requests=asked, credentials=own)


def differences(wanted: Host, seen: Observed) -> list[Difference]:
    return compare(wanted, seen)


@pytest.mark.parametrize("form", FORMS)
def test_a_role_that_is_as_desired_has_no_difference(form: str) -> None:
    assert differences(host(form), as_desired(host(form))) == []


def test_another_certificate_than_the_file_is_loaded_live_with_its_key() -> None:
    wanted = host("both ports")
    seen = with_server(as_desired(wanted), "crypto", certificate=replace(SERVED, digest="dead" * 16))
    (found,) = differences(wanted, seen)
    assert str(found) == f"crypto: live: certificate that is served {'dead' * 4}, until 2242-03-16 → {'c0ffee' * 2}c0ff"
    (command,) = live_commands(wanted.instances[0], [found], wanted.instances[0].settings)
    pair, ca = tls_files("crypto")
    files = ("tls-cert-file", pair, "tls-key-file", pair, "tls-ca-cert-file", ca)
    assert command == ("CONFIG", "SET", *files)


@pytest.mark.parametrize("path", tls_files("crypto"))
def test_a_file_that_somebody_swapped_is_named_written_and_loaded_and_shows_nothing(path: str) -> None:
    wanted = host("both ports")
    found = differences(wanted, with_file(as_desired(wanted), path, content="of somebody else"))
    assert [(item.name, item.remedy) for item in found] == [
        (path, Remedy.WRITE),
        ("certificate that is served", Remedy.LIVE),
    ]
    assert found[0].observed == "other content"


@pytest.mark.parametrize(
    ("change", "is_written"),
    [({"mode": "0644"}, True), ({"owner": "nobody"}, True), ({"modified": 99}, False)],
)
def test_owner_and_mode_of_a_key_are_kept_without_loading_it_anew(change: dict[str, Any], is_written: bool) -> None:
    wanted = host("both ports")
    found = differences(wanted, with_file(as_desired(wanted), tls_files("crypto")[0], **change))
    assert [item.remedy for item in found] == [Remedy.WRITE] * is_written


def test_the_key_is_in_no_text_of_the_desired_state() -> None:
    assert "a key" not in repr(host("both ports"))


LOCKED = {
    ("no TLS", "both ports"): "who connects in clear on 6383 or 6379",
    ("no TLS", "inner port in clear"): "who connects in clear on 6383",
    ("both ports", "no TLS"): "who connects with TLS on 6383 or 6379",
    ("both ports", "inner port in clear"): "who connects with TLS on 6379",
    ("both ports", "a port of its own"): "who connects with TLS on 6383 or 6379",
    ("a port of its own", "both ports"): "who connects in clear on 6383 or 6379 and who connects with TLS on 7383",
    ("a port of its own", "no TLS"): "who connects with TLS on 7383",
    ("inner port in clear", "both ports"): "who connects in clear on 6379",
}
FREE = [("no TLS", "a port of its own"), ("both ports", "clients may show one"), ("clients show one", "both ports")]


@pytest.mark.parametrize(("before", "after"), LOCKED)
@pytest.mark.parametrize("runs", [True, False], ids=["runs", "is down"])
def test_a_change_that_would_lock_somebody_out_is_refused_with_the_plan_until_it_is_asked_for(
    before: str, after: str, runs: bool
) -> None:
    seen, wanted = as_desired(host(before)), host(after)
    seen = seen if runs else stopped(seen, "crypto")
    found = [item for item in differences(wanted, seen) if isinstance(item.remedy, RefusedSwitch)]
    text = found[0].to_do
    assert text.startswith(f"that locks out {LOCKED[before, after]}: give the role a second port first")
    assert any(text in reason for reason in unfit(wanted, seen, differences(wanted, seen)))
    assert not any(isinstance(item.remedy, RefusedSwitch) for item in differences(host(before), seen))
    asked = host(after, tls_switch=("crypto",))
    ports = [item for item in differences(asked, seen) if item.name in ("port", "tls-port")]
    assert {item.remedy for item in ports} == ({Remedy.LIVE} if runs else set())
    assert Remedy.RESTART not in {item.remedy for item in differences(asked, seen)}
    assert unfit(asked, seen, differences(asked, seen)) == []


@pytest.mark.parametrize("cause", [Cause.WRONGPASS, Cause.DENIED, Cause.BUSY])
def test_a_server_that_tells_nothing_is_not_switched_over_by_its_next_start(cause: Cause) -> None:
    seen = with_server(as_desired(host("no TLS")), "crypto", refusal=Refusal(cause, "no"))
    found = [item for item in differences(host("both ports"), seen) if isinstance(item.remedy, RefusedSwitch)]
    assert [item.name for item in found] == ["/etc/redis/crypto.conf"]


@pytest.mark.parametrize("before", ["both ports", "clients may show one"])
@pytest.mark.parametrize("runs", [True, False], ids=["runs", "is down"])
def test_services_without_certificates_are_not_locked_out_unasked(before: str, runs: bool) -> None:
    seen, wanted = as_desired(host(before)), host("clients show one")
    seen = seen if runs else stopped(seen, "crypto")
    (text,) = [item.to_do for item in differences(wanted, seen) if isinstance(item.remedy, RefusedSwitch)]
    assert text.startswith("that locks out who shows no certificate on 6383 or 6379: give its services their certif")
    assert any(text in reason for reason in unfit(wanted, seen, differences(wanted, seen)))
    asked = host("clients show one", tls_switch=("crypto",))
    assert not any(isinstance(item.remedy, RefusedSwitch) for item in differences(asked, seen))


@pytest.mark.parametrize("runs", [True, False], ids=["runs", "is down"])
def test_tls_on_the_number_of_an_inner_port_of_before_is_refused(runs: bool) -> None:
    """Who was led from there in clear would meet TLS, whatever the role says of its inner port now."""
    seen = as_desired(host("no TLS"))
    seen = seen if runs else stopped(seen, "crypto")
    carried = roles(crypto={"tls": {**TLS, "port": 6379}, "inner_port": None})["crypto"]
    wanted = desired_host("host-1", [carried], passwords(carried), SYSCTLS, credentials={"crypto": CREDENTIALS})
    found = [item.to_do for item in differences(wanted, seen) if isinstance(item.remedy, RefusedSwitch)]
    assert [text.partition(":")[0] for text in set(found)] == ["that locks out who connects in clear on 6379"]


@pytest.mark.parametrize(("before", "after"), FREE)
def test_a_change_that_locks_nobody_out_is_made_live(before: str, after: str) -> None:
    found = differences(host(after), as_desired(host(before)))
    assert {item.remedy for item in found if item.name != trusted_file("crypto")} <= {Remedy.LIVE, Remedy.WRITE}
    assert found


@pytest.mark.parametrize(
    ("before", "after", "first"),
    [("no TLS", "both ports", "port"), ("both ports", "no TLS", "tls-port"), ("no TLS", "inner port in clear", "port")],
)
def test_a_port_is_left_before_the_other_kind_takes_it(before: str, after: str, first: str) -> None:
    wanted = host(after, tls_switch=("crypto",))
    settings = {"tls-port": "0", "tls-cert-file": "", "tls-key-file": "", "tls-ca-cert-file": ""}
    items = [item for item in differences(wanted, as_desired(host(before))) if item.subject == "setting"]
    command = live_commands(wanted.instances[0], items, {**settings, **DEFAULTS, **wanted.instances[0].settings})[0]
    assert command[:3] == ("CONFIG", "SET", first)
    assert {"port", "tls-port"} <= set(command)


DEFAULTS = {"tls-auth-clients": "yes", "tls-protocols": "", "tls-ciphers": "", "tls-ciphersuites": ""}


def test_a_port_that_stays_in_clear_is_said() -> None:
    assert notices(host("inner port in clear"), as_desired(host("inner port in clear"))) == [
        "crypto: port 6379 stays in clear (plain_inner_port), passwords too"
    ]
    assert notices(host("both ports"), as_desired(host("both ports"))) == []


def test_a_role_whose_block_is_gone_is_left_alone_and_no_deploy_begins() -> None:
    wanted = host("no TLS")
    seen = with_server(as_desired(wanted), "crypto", refusal=Refusal(Cause.CERTIFICATE, "it speaks TLS"))
    (unknown,) = unknowns(wanted, seen)
    assert "gets its tls block back" in unknown.remedy
    assert [text[:48] for text in unfit(wanted, seen, [])] == ["crypto: tls: none, and its server speaks TLS, ex"]


def test_files_of_a_role_that_speaks_tls_no_more_are_removed() -> None:
    wanted = host("no TLS")
    seen = as_desired(wanted)
    state = as_desired(host("both ports")).files
    left = replace(seen, files={**seen.files, **{path: state[path] for path in tls_files("crypto")}})
    assert {(item.name, item.remedy) for item in differences(wanted, left)} == {
        (path, Remedy.REMOVE) for path in tls_files("crypto")
    }
    assert differences(wanted, with_file(left, tls_files("crypto")[1], group="root")) == [
        item for item in differences(wanted, left) if item.name != tls_files("crypto")[1]
    ]


def test_a_list_of_who_may_connect_is_kept_on_every_port_that_the_server_listens_on() -> None:
    fenced = desired("crypto", crypto={**FORMS["inner port in clear"], "allow_from": ["10.8.0.0/16"]})
    assert [(fence.port, fence.networks) for fence in fenced.fences] == [
        (6383, ("10.8.0.0/16",)),
        (6379, ("10.8.0.0/16",)),
    ]
    assert compare(fenced, as_desired(fenced)) == []


def test_files_of_a_version_that_had_certificate_and_key_apart_are_removed_when_nothing_reads_them() -> None:
    wanted = host("both ports")
    seen = as_desired(wanted)
    state = seen.files[tls_files("crypto")[0]]
    left = replace(seen, files={**seen.files, "/etc/redis/crypto.crt": state, "/etc/redis/crypto.key": state})
    assert [(item.name, item.remedy) for item in differences(wanted, left)] == [
        ("/etc/redis/crypto.crt", Remedy.REMOVE),
        ("/etc/redis/crypto.key", Remedy.REMOVE),
    ]
    config = {**seen.servers["crypto"].config, "tls-cert-file": "/etc/redis/crypto.crt", "tls-key-file": "/x.key"}
    (instance,) = wanted.instances
    command = live_commands(
        instance, differences(wanted, with_server(seen, "crypto", config=config)), instance.settings
    )[0]
    pair, ca = tls_files("crypto")
    assert command[2:] == ("tls-cert-file", pair, "tls-key-file", pair, "tls-ca-cert-file", ca)


OLD_CA, NEW_CA = (f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n" for name in ("old", "new"))
ASKING = ("clients may show one", "clients show one")


def trusting(form: str, ca: str, **requests: tuple[str, ...]) -> Host:
    """A host whose crypto takes certificates that one of this ca signed."""
    carried = [roles(crypto=FORMS[form])["crypto"]]
    own, asked = {"crypto": replace(CREDENTIALS, ca=ca)}, Requests(**requests)
    return desired_host("host-1", carried, passwords(*carried), SYSCTLS, requests=asked, credentials=own)


def switches(wanted: Host, seen: Observed) -> list[Difference]:
    return [item for item in differences(wanted, seen) if isinstance(item.remedy, RefusedSwitch)]


@pytest.mark.parametrize("form", ASKING)
@pytest.mark.parametrize("runs", [True, False], ids=["runs", "is down"])
def test_a_ca_that_clients_certificates_may_be_of_is_taken_away_only_where_it_is_asked_for(
    form: str, runs: bool
) -> None:
    ca = tls_files("crypto")[1]
    for before, after in ((OLD_CA, NEW_CA), (OLD_CA + NEW_CA, NEW_CA)):
        seen = as_desired(trusting(form, before))
        seen = seen if runs else stopped(seen, "crypto")
        (found,) = switches(trusting(form, after), seen)
        assert found.name == ca
        assert found.to_do.startswith("that locks out who shows a certificate of a ca that is not in it any more: let ")
        assert found.to_do.endswith("--data tls_switch=crypto")
        wanted = trusting(form, after)
        assert any(found.to_do in reason for reason in unfit(wanted, seen, differences(wanted, seen)))
        asked = trusting(form, after, tls_switch=("crypto",))
        assert unfit(asked, seen, differences(asked, seen)) == []
        assert (ca, Remedy.WRITE) in [(item.name, item.remedy) for item in differences(asked, seen)]


@pytest.mark.parametrize("form", ASKING)
@pytest.mark.parametrize("after", [OLD_CA + NEW_CA, NEW_CA + OLD_CA])
def test_a_ca_beside_the_old_one_locks_nobody_out(form: str, after: str) -> None:
    assert switches(trusting(form, after), as_desired(trusting(form, OLD_CA))) == []


@pytest.mark.parametrize("form", [form for form in FORMS if "tls" in FORMS[form] and form not in ASKING])
def test_where_nobody_is_asked_for_a_certificate_a_new_ca_locks_nobody_out(form: str) -> None:
    assert switches(trusting(form, NEW_CA), as_desired(trusting(form, OLD_CA))) == []


@pytest.mark.parametrize("form", ASKING)
@pytest.mark.parametrize("runs", [True, False], ids=["runs", "is down"])
def test_a_ca_that_was_changed_on_the_host_is_repaired_and_needs_no_word(form: str, runs: bool) -> None:
    wanted, ca = trusting(form, OLD_CA), tls_files("crypto")[1]
    seen = with_file(as_desired(wanted), ca, content=sha256("of somebody else"))
    seen = seen if runs else stopped(seen, "crypto")
    assert switches(wanted, seen) == []
    assert (ca, Remedy.WRITE) in [(item.name, item.remedy) for item in differences(wanted, seen)]
    assert not any("tls_switch" in reason for reason in unfit(wanted, seen, differences(wanted, seen)))


@pytest.mark.parametrize("form", ASKING)
@pytest.mark.parametrize("there", ["of somebody else", NEW_CA, None], ids=["another", "the new one", "none"])
def test_a_new_ca_is_measured_by_what_was_deployed_and_not_by_what_somebody_put_there(
    form: str, there: str | None
) -> None:
    ca = tls_files("crypto")[1]
    seen = as_desired(trusting(form, OLD_CA))
    seen = without_file(seen, ca) if there is None else with_file(seen, ca, content=sha256(there))
    wanted = trusting(form, NEW_CA)
    assert any("locks out who shows a certificate of a ca" in item.to_do for item in switches(wanted, seen))
    assert any("--data tls_switch=crypto" in reason for reason in unfit(wanted, seen, differences(wanted, seen)))
    assert switches(trusting(form, OLD_CA + NEW_CA), seen) == []
    assert switches(trusting(form, NEW_CA, tls_switch=("crypto",)), seen) == []


def test_which_ca_was_deployed_is_forgotten_before_a_new_one_comes_and_is_loaded_before_it_is_recorded() -> None:
    """Cut off between, nothing is recorded: what lies there counts then, and is loaded whether it was or not."""
    wanted, record = trusting("clients show one", NEW_CA), trusted_file("crypto")
    interrupted = without_file(as_desired(wanted), record)
    found = {(item.name, item.remedy) for item in differences(wanted, interrupted)}
    assert found == {(record, Remedy.WRITE), ("certificate that is served", Remedy.LIVE)}
    assert switches(trusting("clients show one", OLD_CA), interrupted) != []


@pytest.mark.parametrize("form", FORMS)
def test_it_is_recorded_only_where_clients_show_certificates(form: str) -> None:
    record = trusted_file("crypto")
    assert (record in [file.path for file in host(form).files]) == (form in ASKING)
    left = replace(as_desired(host(form)), files={**as_desired(host("clients show one")).files})
    found = [item.remedy for item in differences(host(form), left) if item.name == record]
    assert found == ([] if form in ASKING else [Remedy.REMOVE])


@pytest.mark.parametrize("text", ["", "nonsense", "0" * 63, "Ä" * 64])
def test_a_record_that_is_none_says_nothing(text: str) -> None:
    wanted = trusting("clients show one", OLD_CA)
    seen = with_file(as_desired(wanted), trusted_file("crypto"), content=text)
    assert switches(wanted, seen) == []
    assert switches(trusting("clients show one", NEW_CA), seen) != []


# --- The second port of a change over


def test_what_the_second_port_serves_is_compared_and_watched() -> None:
    wanted = replace(host("a port of its own"), limits=limits())
    seen = as_desired(wanted)
    other = with_server(seen, "crypto", certificate=replace(SERVED, digest="dead" * 16, left=3 * 86400))
    assert [(item.name, item.remedy) for item in differences(wanted, other)] == [
        ("certificate that is served", Remedy.LIVE)
    ]
    assert [(item.code, item.severity) for item in health(wanted, other)] == [("CERTIFICATE-ENDS", "warning")]


def test_a_second_port_that_shows_somebody_elses_certificate_is_given_the_role_s() -> None:
    wanted = host("a port of its own")
    why = Refusal(Cause.CERTIFICATE, "no TLS with 172.28.2.5:7383: its certificate is not the role's: self-signed")
    seen = with_server(as_desired(wanted), "crypto", certificate=None, other=why)
    (found,) = differences(wanted, seen)
    assert (found.name, found.observed, found.remedy) == ("certificate that is served", str(why), Remedy.LIVE)
    assert unknowns(wanted, seen) == []


def test_a_second_port_that_does_not_answer_is_unknown() -> None:
    wanted = host("a port of its own")
    seen = with_server(as_desired(wanted), "crypto", certificate=None, other=Refusal(Cause.SILENT, "no TLS with it"))
    assert differences(wanted, seen) == []
    (unknown,) = unknowns(wanted, seen)
    assert (unknown.what, unknown.kind) == ("what its clients meet on 7383", Cause.SILENT)


# --- What ends


@pytest.mark.parametrize(
    ("left", "served", "severity", "said"),
    [
        (31, 31, "", ""),
        (29, 31, "warning", "tls.ca: ca.crt: CN=an authority ends on 2026-12-24"),
        (29, 28, "warning", "its certificate ends on 2242-03-16; tls.ca: ca.crt: CN=an authority ends on 2026-12-24"),
        (-1, 20, "critical", "tls.ca: ca.crt: CN=an authority ended on 2026-12-24; its certificate ends on 2242-03-16"),
    ],
)
@pytest.mark.parametrize("form", ["both ports", "a port of its own", "inner port in clear"])
def test_every_certificate_that_a_connection_needs_is_in_health(
    form: str, left: int, served: int, severity: str, said: str
) -> None:
    ending = Ending("tls.ca: ca.crt: CN=an authority", "2026-12-24", left * 86400)
    wanted = host(form)
    own = tuple(replace(item, credentials=replace(CREDENTIALS, endings=(ending,))) for item in wanted.instances)
    wanted = replace(wanted, instances=own, limits=limits())
    seen = with_server(as_desired(wanted), "crypto", certificate=replace(SERVED, left=served * 86400))
    found = health(wanted, seen)
    assert [(item.severity, item.observed) for item in found] == ([(severity, said)] if severity else [])
    # One that has ended keeps its server from answering us: it is said all the same.
    silent = with_server(seen, "crypto", refusal=Refusal(Cause.CERTIFICATE, "no TLS with it"))
    assert len(health(wanted, silent)) == (left <= 30)

"""What a server that speaks TLS shows its clients, and whom a change of its ports would lock out."""

from dataclasses import replace
from typing import Any

import pytest

from tasks.catalogue.requested import Requests
from tasks.compare.certificates import RefusedSwitch
from tasks.compare.difference import Difference, Remedy
from tasks.compare.fitness import unfit
from tasks.compare.host import compare, notices
from tasks.compare.unknown import unknowns
from tasks.desired.build import desired_host
from tasks.desired.host import Host
from tasks.desired.paths import tls_files
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
    passwords,
    roles,
    with_file,
    with_server,
)

FORMS: dict[str, dict[str, Any]] = {
    "no TLS": {},
    "both ports": {"tls": TLS},
    "inner port in clear": {"tls": TLS, "plain_inner_port": True},
    "a port of its own": {"tls": {**TLS, "port": 7383}},
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
    certificate, key, ca = tls_files("crypto")
    files = ("tls-cert-file", certificate, "tls-key-file", key, "tls-ca-cert-file", ca)
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
    found = differences(wanted, with_file(as_desired(wanted), tls_files("crypto")[1], **change))
    assert [item.remedy for item in found] == [Remedy.WRITE] * is_written


def test_the_key_is_in_no_text_of_the_desired_state() -> None:
    assert "a key" not in repr(host("both ports"))


LOCKED = {
    ("no TLS", "both ports"): "who connects in clear on 6383 or 6379",
    ("no TLS", "inner port in clear"): "who connects in clear on 6383",
    ("both ports", "no TLS"): "who connects with TLS on 6383 and who connects with TLS on 6379",
    ("both ports", "inner port in clear"): "who connects with TLS on 6379",
    ("both ports", "a port of its own"): "who connects with TLS on 6383 and who connects with TLS on 6379",
    ("a port of its own", "both ports"): "who connects in clear on 6383 or 6379 and who connects with TLS on 7383",
    ("a port of its own", "no TLS"): "who connects with TLS on 7383",
    ("inner port in clear", "both ports"): "who connects in clear on 6379",
}
FREE = [("no TLS", "a port of its own"), ("both ports", "clients show one")]


@pytest.mark.parametrize(("before", "after"), LOCKED)
def test_a_change_that_would_lock_somebody_out_is_refused_with_the_plan_until_it_is_asked_for(
    before: str, after: str
) -> None:
    seen, wanted = as_desired(host(before)), host(after)
    found = [item for item in differences(wanted, seen) if isinstance(item.remedy, RefusedSwitch)]
    assert found
    text = found[0].to_do
    assert text.startswith(f"that locks out {LOCKED[before, after]}: give the role a second port first")
    assert any(text in reason for reason in unfit(wanted, seen, differences(wanted, seen)))
    asked = host(after, tls_switch=("crypto",))
    ports = [item for item in differences(asked, seen) if item.name in ("port", "tls-port")]
    assert {item.remedy for item in ports} == {Remedy.LIVE}
    assert Remedy.RESTART not in {item.remedy for item in differences(asked, seen)}
    assert unfit(asked, seen, differences(asked, seen)) == []


@pytest.mark.parametrize(("before", "after"), FREE)
def test_a_change_that_locks_nobody_out_is_made_live(before: str, after: str) -> None:
    found = differences(host(after), as_desired(host(before)))
    assert {item.remedy for item in found} <= {Remedy.LIVE, Remedy.WRITE}
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

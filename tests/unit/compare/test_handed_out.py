"""Which password a service is given: one that its server takes now and after its next start (compare/handed_out.py)."""

from dataclasses import replace

import pytest

from tasks.catalogue.secret import Secret, all_of
from tasks.compare.handed_out import HandedOut, handed_out
from tasks.desired.paths import acl_file
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import FileUser, Observed
from tests.unit.builders import as_desired, desired, fresh, sha256, stopped, with_server, with_user

HOST = desired("crypto")
SERVICE = "crypto-service"
NEW, OLD = "the-new-one", "the-old-one"


def state(server: tuple[str, ...], file: tuple[str, ...]) -> Observed:
    """The host whose server and ACL file have these passwords of the service."""
    seen = with_user(as_desired(HOST), "crypto", SERVICE, passwords=[sha256(item) for item in server])
    users = (FileUser("operator", ("abcd",)), FileUser(SERVICE, tuple(sha256(item)[:4] for item in file)))
    return replace(seen, acl_users={acl_file("crypto"): users})


def given(observed: Observed | None, *own: str) -> HandedOut:
    return handed_out(HOST.instances[0], {SERVICE: Secret(own[0], own[1:]), "operator": "x"}, observed, "no way there")


@pytest.mark.parametrize(
    ("server", "file", "chosen"),
    [
        ((NEW, OLD), (NEW, OLD), NEW),
        ((NEW,), (NEW,), NEW),
        ((OLD,), (OLD,), OLD),  # cut off before the server
        ((NEW, OLD), (OLD,), OLD),  # and before its file: a restart would refuse the new one
    ],
)
def test_it_is_the_newest_that_server_and_file_have(
    server: tuple[str, ...], file: tuple[str, ...], chosen: str
) -> None:
    found = given(state(server, file), NEW, OLD)
    assert (found.passwords[SERVICE], found.problems) == (chosen, [])
    assert all_of(found.passwords[SERVICE]) == (chosen,)
    assert bool(found.notes) == (chosen != NEW)
    assert NEW not in f"{found!r}{found.notes}"


def test_one_that_nobody_takes_yet_is_not_handed_out() -> None:
    for seen in (fresh(HOST), state((OLD,), (OLD,)), state((NEW,), (OLD,))):
        (said,) = given(seen, NEW).problems
        assert said.startswith(
            "crypto: crypto-service: its server does not take its password yet, expected that it does"
        )


def test_a_server_that_is_down_takes_what_its_file_has() -> None:
    assert given(stopped(state((), (OLD,)), "crypto"), NEW, OLD).passwords[SERVICE] == OLD


def test_a_password_that_the_acl_file_has_not_is_not_handed_out_whatever_its_server_tells() -> None:
    for cause in (Cause.WRONGPASS, Cause.SILENT, Cause.BUSY):
        seen = with_server(state((NEW,), (NEW,)), "crypto", refusal=Refusal(cause, "no"))
        (said,) = given(seen, OLD).problems
        assert said.startswith("crypto: crypto-service: its ACL file has another password than the secrets")
        assert given(seen, NEW).problems == []


def test_of_a_server_that_nobody_has_seen_the_only_password_is_handed_out_and_said() -> None:
    silent = with_server(state((NEW,), (NEW,)), "crypto", refusal=Refusal(Cause.SILENT, "it says nothing"))
    for seen, why in ((silent, "it says nothing"), (None, "no way there")):
        found = given(seen, NEW)
        assert (found.passwords[SERVICE], found.problems) == (NEW, [])
        assert found.notes == [f"crypto: {why}: nobody has seen that it takes what is handed out"]
        (said,) = given(seen, NEW, OLD).problems
        assert said.startswith(
            f"crypto: crypto-service: which of its 2 passwords the server takes is not known ({why})"
        )

"""What could not be seen (tasks/compare/unknown.py): never a difference, never a remedy of the tool's, always said."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tasks.compare.difference import Remedy
from tasks.compare.host import compare
from tasks.compare.unknown import PARTS, Kind, Unknown, acted_on, part_in_words, unknowns, way_out
from tasks.desired.host import Host
from tasks.desired.paths import INNER_PORT_RULES as RULES
from tasks.desired.paths import INNER_PORT_UNIT, UNITS
from tasks.observed.exchange import ReplyError
from tasks.observed.refusal import Cause, Refusal, refusal
from tasks.observed.state import Observed, Server, Unseen
from tests.unit.builders import as_desired, desired, with_server, with_setting, with_unit, without_file

UNSEEN = [cause for cause in Cause if cause is not Cause.DENIED]
# Everything that 7.0.15 and 8.0.2 were seen to answer to AUTH and what follows it, and what others on the port may say.
REPLIES = {
    "LOADING Redis is loading the dataset in memory": Cause.LOADING,
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": Cause.BUSY,
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.": Cause.BUSY,
    "WRONGPASS invalid username-password pair or user is disabled.": Cause.WRONGPASS,
    "DENIED Redis is running in protected mode because protected mode is enabled": Cause.DENIED,
    "NOPERM this user has no permissions to run the 'config|get' command": Cause.NOPERM,
    "NOPERM User operator has no permissions to run the 'info' command": Cause.NOPERM,
    "ERR max number of clients reached": Cause.MAXCLIENTS,
    "ERR max number of clients + cluster connections reached": Cause.MAXCLIENTS,
    "NOAUTH Authentication required.": Cause.STRANGE,
    "ERR AUTH <password> called without any password configured for the default user.": Cause.STRANGE,
    "ERR unknown command 'AUTH', with args beginning with: 'operator'": Cause.STRANGE,
    "ERR wrong number of arguments for 'auth' command": Cause.STRANGE,
    "MISCONF Errors writing to the AOF file: No space left on device": Cause.STRANGE,
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": Cause.STRANGE,
    "OOM command not allowed when used memory > 'maxmemory'.": Cause.STRANGE,
    "CLUSTERDOWN Hash slot not served": Cause.STRANGE,
    "EXECABORT Transaction discarded because of previous errors.": Cause.STRANGE,
    "HTTP/1.1 400 Bad Request": Cause.STRANGE,
    "": Cause.STRANGE,
}


def refusing(why: Refusal, role: str = "crypto") -> Observed:
    """A host on which all is as desired but that one server did not tell."""
    right = as_desired(desired("gateway", "crypto"))
    return replace(right, servers={**right.servers, role: Server(refusal=why)})


@pytest.mark.parametrize(("said", "cause"), REPLIES.items())
def test_every_reply_has_one_cause_and_keeps_its_words(said: str, cause: Cause) -> None:
    assert refusal(ReplyError(said)) == Refusal(cause, said)


@pytest.mark.parametrize("said", [said for said, cause in REPLIES.items() if cause is not Cause.DENIED])
def test_no_reply_but_that_of_protected_mode_yields_an_action(said: str) -> None:
    observed = refusing(refusal(ReplyError(said)))
    assert compare(desired("gateway", "crypto"), observed) == []
    (found,) = unknowns(desired("gateway", "crypto"), observed)
    assert (found.role, found.because) == ("crypto", said)


@pytest.mark.parametrize("cause", [cause for cause in UNSEEN if cause is not Cause.NOT_ITS_OWN])
def test_no_way_in_which_a_look_fails_yields_an_action(cause: Cause) -> None:
    observed = refusing(Refusal(cause, "so it was"))
    assert compare(desired("gateway", "crypto"), observed) == []
    (found,) = unknowns(desired("gateway", "crypto"), observed)
    assert (found.role, found.because) == ("crypto", "so it was")
    assert found.remedy


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_way_out_that_destroys_nothing_first(cause: Cause) -> None:
    words = way_out(desired("crypto").instances[0], Refusal(cause, "x"))
    assert words
    assert not words.lower().startswith(("restart", "kill", "shutdown", "rm ", "delete", "empty"))


def test_a_default_that_somebody_opened_is_named_and_cured_by_a_restart() -> None:
    observed = refusing(refusal(ReplyError("DENIED Redis is running in protected mode")))
    (found,) = compare(desired("gateway", "crypto"), observed)
    assert (found.role, found.subject, found.name, found.remedy) == ("crypto", "acl", "default", Remedy.RESTART)
    assert found.observed.startswith("open to everybody: DENIED")
    assert unknowns(desired("gateway", "crypto"), observed) == []


def test_what_nobody_knows_hides_no_other_finding() -> None:
    observed = with_setting(refusing(Refusal(Cause.SILENT, "no answer")), "gateway", "timeout", "9")
    assert [(item.role, item.name) for item in compare(desired("gateway", "crypto"), observed)] == [
        ("gateway", "timeout")
    ]
    assert [item.role for item in unknowns(desired("gateway", "crypto"), observed)] == ["crypto"]


def test_nothing_is_done_about_a_role_of_which_something_is_not_known_but_for_its_next_start() -> None:
    host = desired("gateway", "crypto", gateway={"timeout": 9}, crypto={"timeout": 9})
    observed = replace(refusing(Refusal(Cause.SILENT, "no answer")), replayable=frozenset())
    due = acted_on(host, observed, compare(host, observed), unknowns(host, observed))
    assert [(item.subject, item.name) for item in due if item.role == "crypto"] == [
        ("acl", "default in /etc/redis/crypto.acl")
    ]
    assert {item.subject for item in due if item.role == "gateway"} == {"file", "setting", "acl"}


UNIT_FILE = f"{UNITS}/{INNER_PORT_UNIT}"
LEADING = {RULES, UNIT_FILE, INNER_PORT_UNIT, "nftables", "172.28.2.5:6379", "172.28.2.5:6390"}


def led(host: Host, observed: Observed) -> set[str]:
    """What a deploy would do about the inner ports."""
    due = acted_on(host, observed, compare(host, observed), unknowns(host, observed))
    return {item.name for item in due} & LEADING


@pytest.mark.parametrize(
    "change",
    [
        lambda seen: seen,
        lambda seen: with_unit(seen, INNER_PORT_UNIT, ActiveState="inactive", MainPID="0"),
        lambda seen: replace(seen, forwards=frozenset(), forwards_owner=""),
        lambda seen: replace(seen, packages={name: text for name, text in seen.packages.items() if name != "nftables"}),
        lambda seen: without_file(seen, UNIT_FILE),
    ],
)
def test_no_inner_port_is_led_to_where_a_server_that_tells_nothing_was_not_seen_to_listen(
    change: Callable[[Observed], Observed],
) -> None:
    """It may listen on the port of before: its inner port leads there until it tells, and all are one table."""
    wanted = desired("gateway", "crypto", crypto={"port": 6390})
    silent = refusing(Refusal(Cause.SILENT, "no answer"))
    assert led(wanted, change(silent)) == set()
    assert led(wanted, change(as_desired(desired("gateway", "crypto")))) != set()


def test_no_port_of_such_a_server_loses_who_may_connect_to_it() -> None:
    fenced = {"allow_from": ["10.8.0.0/16"]}
    silent = with_server(
        as_desired(desired("crypto", crypto=fenced)), "crypto", refusal=Refusal(Cause.SILENT, "no answer")
    )
    assert led(desired("crypto", crypto={**fenced, "port": 6390}), silent) == set()


def test_lost_rules_of_a_silent_server_that_listens_in_its_place_are_loaded() -> None:
    silent = replace(refusing(Refusal(Cause.SILENT, "no answer")), forwards=frozenset())
    assert led(desired("gateway", "crypto"), silent) == {"172.28.2.5:6379"}
    assert (
        led(desired("gateway", "crypto"), replace(silent, unseen={"listeners": Unseen("no ss")}, listeners=())) == set()
    )


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_look_that_failed_is_unknown(part: str) -> None:
    right = as_desired(desired("crypto"))
    found = unknowns(desired("crypto"), replace(right, unseen={part: Unseen("it failed")}))
    assert [(item.role, item.because) for item in found] == [(None, "it failed")]


def test_a_server_that_loads_is_neither_started_nor_restarted() -> None:
    right = as_desired(desired("crypto"))
    loading = with_server(right, "crypto", info={**right.servers["crypto"].info, "loading": "1"})
    observed = with_unit(loading, "redis-crypto.service", ActiveState="activating", SubState="start")
    assert compare(desired("crypto"), observed) == []
    assert [item.what for item in unknowns(desired("crypto"), observed)] == ["its data"]


def test_a_server_that_is_being_stopped_is_left_alone() -> None:
    observed = with_unit(as_desired(desired("crypto")), "redis-crypto.service", ActiveState="deactivating")
    assert compare(desired("crypto"), observed) == []
    assert [item.what for item in unknowns(desired("crypto"), observed)] == ["whether it serves"]


def test_a_server_seen_in_the_middle_of_one_more_failing_start_is_one_that_does_not_run() -> None:
    host = desired("crypto")
    again = {"ActiveState": "activating", "SubState": "start", "NRestarts": "7", "Result": "exit-code"}
    observed = with_unit(replace(as_desired(host), listeners=()), "redis-crypto.service", **again)
    observed = replace(observed, servers={"crypto": Server(refusal=Refusal(Cause.NOT_ITS_OWN, "it does not listen"))})
    (found,) = compare(host, observed)
    assert (found.remedy, found.observed) == (Remedy.START, "activating (exit-code, 7 restarts)")
    assert unknowns(host, observed) == []


def test_what_is_unknown_reads_as_one_line() -> None:
    found = Unknown("crypto", "its data", "it loads", "wait", Kind.LOADING)
    assert str(found) == "crypto: its data: unknown, because it loads: wait"


@pytest.mark.parametrize("part", ["listeners", "forwards"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_role_that_is_not_logged_in_to_for_an_unseen_part_is_told_what_makes_that_part_visible(
    part: str, missing: bool
) -> None:
    refused = refusing(Refusal(Cause.TAKEN, "who else may take its connections was not seen"))
    observed = replace(refused, unseen={part: Unseen("it failed", missing)})
    remedies = {item.remedy for item in unknowns(desired("gateway", "crypto"), observed)}
    assert remedies == {part_in_words(part, Unseen("it failed", missing))[1]}
    assert any("install iproute2" in text for text in remedies) == (missing and part == "listeners")
